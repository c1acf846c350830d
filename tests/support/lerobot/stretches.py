"""Videos that are stretches of files, as a source of episodes gives them."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cache_builder.sources import EpisodeSpan, SourceVideo


def episode(path: Path, number: int, seconds: np.ndarray, **changes) -> SourceVideo:
    """A stretch of a file whose frames have these pts."""
    span = EpisodeSpan(
        from_seconds=float(seconds[0]),
        to_seconds=float(seconds[-1]) + 0.04,
        frame_seconds=seconds,
        tolerance_seconds=1e-4,
    )
    video = SourceVideo(
        relative_path=f"episode_{number:06d}", path=path, file_path=path.name, span=span, camera="front"
    )
    return replace(video, **changes)
