"""Sample videos whose pixels show their video number and frame number."""

from frame_cache_tools.samples.numbered_videos import NumberedVideo, read_frame
from frame_cache_tools.samples.sample_videos import main, write_samples
from frame_cache_tools.samples.scheduling import scheduling_kept

__all__ = ["NumberedVideo", "main", "read_frame", "scheduling_kept", "write_samples"]
