"""The episodes in the files of a build."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cache_builder.inputs.tables import Inputs
from cache_builder.plan import Cut, claimed_frames, cut_file
from cache_builder.sources import SourceVideo
from cache_builder.video.scan import VideoScan
from frame_store.shared import counted


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


def disagreements(inputs: Inputs) -> dict[int, str]:
    """Row of the first camera's video -> how many frames its cameras have, where packets prove that these differ.

    It is about videos that are files of their own: an episode has the frames that its source promises.
    """
    found: dict[int, str] = {}
    for rows in zip(*(inputs.rows_of(part) for part in inputs.parts), strict=True):
        scans = [inputs.scan_of(row) for row in rows]
        if len(rows) == 1 or any(inputs.videos[row].span is not None for row in rows):
            continue
        claims = [claimed_frames(scan) for scan in scans if isinstance(scan, VideoScan)]
        numbers = [len(claim.ticks) for claim in claims if claim.is_proved]
        if len(numbers) == len(rows) and len(set(numbers)) > 1:
            found[rows[0]] = numbers_text(inputs.parts, numbers)
    return found


def numbers_text(parts: Sequence[str | None], numbers: Sequence[int]) -> str:
    """How the cameras of a video disagree."""
    each = [f"{camera}: {counted(number, 'frame')}" for camera, number in zip(parts, numbers, strict=True)]
    return f"its cameras have different numbers of frames: {', '.join(each)}"
