"""The episodes in the files of a build."""

import numpy as np
import numpy.typing as npt

from cache_builder.inputs.tables import Inputs
from cache_builder.plan import Cut, cut_file
from cache_builder.sources import SourceVideo


def label(video: SourceVideo) -> str:
    """What messages call a video: its name, and its camera."""
    return video.relative_path if video.camera is None else f"{video.relative_path} of camera {video.camera}"


def cuts_of(
    inputs: Inputs, file_id: int, pts_seconds: npt.NDArray[np.float64]
) -> list[tuple[int, Cut | str]]:
    """(Row of the video, its frames in the file or why it cannot be cut out) for each episode of a file."""
    rows = [row for row in inputs.rows_in(file_id) if inputs.videos[row].span is not None]
    cuts = cut_file(pts_seconds, inputs.episodes()[file_id])
    file = inputs.files[file_id].relative_path
    return [
        (row, cut if isinstance(cut, Cut) else f"{cut} ({file})") for row, cut in zip(rows, cuts, strict=True)
    ]
