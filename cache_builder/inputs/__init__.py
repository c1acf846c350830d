"""What a build works on: the videos of a source, their files with their scans, the episodes in them, their settings."""

from cache_builder.inputs.episodes import cuts_of, label, numbers_text
from cache_builder.inputs.expectation import (
    ExpectedBuild,
    ExpectedFrames,
    expected_build,
    expected_frames,
)
from cache_builder.inputs.of_cameras import camera_configs, configs_of_files, with_pixel_of
from cache_builder.inputs.preparation import chosen_decoders, foreseen_problems, scan_inputs, usable_backend
from cache_builder.inputs.settled import Settled, settled_alone
from cache_builder.inputs.tables import (
    NO_FILE,
    Inputs,
    content_of_entry,
    content_text,
    fingerprint,
    read_inputs,
    tables_of,
)

__all__ = [
    "NO_FILE",
    "ExpectedBuild",
    "ExpectedFrames",
    "Inputs",
    "Settled",
    "camera_configs",
    "chosen_decoders",
    "configs_of_files",
    "content_of_entry",
    "content_text",
    "cuts_of",
    "expected_build",
    "expected_frames",
    "fingerprint",
    "foreseen_problems",
    "label",
    "numbers_text",
    "read_inputs",
    "scan_inputs",
    "settled_alone",
    "tables_of",
    "usable_backend",
    "with_pixel_of",
]
