"""The findings of a build about its videos: damage, gaps, copies, and the verdict."""

from cache_builder.findings.copies import content_of, find_copies, find_copies_of, with_copies_noted
from cache_builder.findings.episode import DecodedEpisode, EpisodeFile
from cache_builder.findings.fidelity import joined_fidelity, measured_fidelity
from cache_builder.findings.frame_notes import FrameNotes
from cache_builder.findings.left_out import LeftOutVideo
from cache_builder.findings.receipt import FRAME_DTYPE, KEPT_DTYPE, SOURCE_DTYPE, UnitReceipt
from cache_builder.findings.spans import output_pts_seconds
from cache_builder.findings.verdict import ON_DEVICE_COUNT, DecodedVideo, unreadable_entry

__all__ = [
    "FRAME_DTYPE",
    "KEPT_DTYPE",
    "ON_DEVICE_COUNT",
    "SOURCE_DTYPE",
    "DecodedEpisode",
    "DecodedVideo",
    "EpisodeFile",
    "FrameNotes",
    "LeftOutVideo",
    "UnitReceipt",
    "content_of",
    "find_copies",
    "find_copies_of",
    "joined_fidelity",
    "measured_fidelity",
    "output_pts_seconds",
    "unreadable_entry",
    "with_copies_noted",
]
