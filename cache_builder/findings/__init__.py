"""The findings of a build about its videos: damage, gaps, copies, and the verdict."""

from cache_builder.findings.copies import find_copies, with_copies_noted
from cache_builder.findings.frame_notes import FrameNotes
from cache_builder.findings.receipt import FRAME_DTYPE, KEPT_DTYPE, SOURCE_DTYPE, UnitReceipt
from cache_builder.findings.verdict import ON_DEVICE_COUNT, DecodedVideo, measured_fidelity, unreadable_entry

__all__ = [
    "FRAME_DTYPE",
    "KEPT_DTYPE",
    "ON_DEVICE_COUNT",
    "SOURCE_DTYPE",
    "DecodedVideo",
    "FrameNotes",
    "UnitReceipt",
    "find_copies",
    "measured_fidelity",
    "unreadable_entry",
    "with_copies_noted",
]
