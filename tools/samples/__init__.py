"""Sample videos whose pixels spell their video and frame number."""

from frame_cache_tools.samples.numbered_videos import SpelledVideo, read_frame
from frame_cache_tools.samples.sample_videos import KINDS, main, sample_specs, write_samples

__all__ = ["KINDS", "SpelledVideo", "main", "read_frame", "sample_specs", "write_samples"]
