"""How many frames of a video a build would decode and store, by its scan alone."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError
from cache_builder.inputs.episodes import cuts_of, disagreements
from cache_builder.inputs.tables import Inputs
from cache_builder.plan import Cut, Selection, claimed_frames, kept_of_episode, make_selection
from cache_builder.settings import BuildConfig
from cache_builder.video.packets import NO_PTS
from cache_builder.video.scan import VideoScan, ticks_to_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedFrames:
    """Frames of one video."""

    num_decoded: int
    num_stored: int
    is_proved: bool
    """Whether the packets prove the numbers; else each packet is taken for a frame. Damage inside of pictures, which
    only decoding shows, may still leave some out."""


def expected_frames(scan: VideoScan, config: BuildConfig) -> ExpectedFrames:
    """Count the frames of a video, and those that `config` keeps.

    Raises:
        VideoError: `fps` cannot choose frames of this video.
    """
    claimed = claimed_frames(scan)
    return ExpectedFrames(
        num_decoded=len(claimed.ticks),
        num_stored=_num_kept(claimed.ticks, make_selection(config, scan), config),
        is_proved=claimed.is_proved and not scan.damage_texts,
    )


def _num_kept(pts: npt.NDArray[np.int64], keeps: Selection, config: BuildConfig) -> int:
    if config.fps is None:
        return -(-len(pts) // config.stride)
    ticks = [None if tick == NO_PTS else tick for tick in pts.tolist()]
    shown = zip(ticks, [*ticks[1:], None], strict=True)
    return sum(keeps(ordinal, start, end) for ordinal, (start, end) in enumerate(shown))


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedBuild:
    """Frames of all files and videos of a build."""

    files: list[ExpectedFrames | None]
    """Of each file; None if it gives no frame."""
    stored: list[list[int]]
    """Of each of `Inputs.parts`, the stored frames of each video."""


def expected_build(inputs: Inputs, configs: Sequence[BuildConfig]) -> ExpectedBuild:
    """Count the frames of all files and videos. `configs` has a row per file."""
    files: list[ExpectedFrames | None] = []
    stored = [0] * len(inputs.videos)
    episodes = inputs.episodes()
    for file_id, (scan, config) in enumerate(zip(inputs.scans, configs, strict=True)):
        if isinstance(scan, VideoError):
            files.append(None)
        elif file_id in episodes:
            files.append(_expected_of_episodes(inputs, file_id, scan, config, stored))
        else:
            try:
                files.append(expected := expected_frames(scan, config))
            except VideoError:
                files.append(None)
            else:
                for row in inputs.rows_in(file_id):
                    stored[row] = expected.num_stored
    gone = {inputs.videos[row].relative_path for row in disagreements(inputs)}
    for row, video in enumerate(inputs.videos):
        stored[row] *= video.relative_path not in gone
    by_part = [[stored[row] for row in inputs.rows_of(part)] for part in inputs.parts]
    # An episode is stored where every camera has it.
    of_all = [[min(across)] * len(by_part) for across in zip(*by_part, strict=True)]
    return ExpectedBuild(files=files, stored=[list(counts) for counts in zip(*of_all, strict=True)])


def _expected_of_episodes(
    inputs: Inputs, file_id: int, scan: VideoScan, config: BuildConfig, stored: list[int]
) -> ExpectedFrames:
    """Frames of a file of episodes; writes those of each episode into `stored`."""
    claimed = claimed_frames(scan)
    pts_seconds = ticks_to_seconds(claimed.ticks, scan.time_base)
    for row, cut in cuts_of(inputs, file_id, pts_seconds):
        if isinstance(cut, Cut):
            frames = pts_seconds[cut.first_frame : cut.end_frame]
            stored[row] = int(kept_of_episode(frames, scan, config).sum())
    return ExpectedFrames(
        num_decoded=len(claimed.ticks),
        num_stored=sum(stored[row] for row in inputs.rows_in(file_id)),
        is_proved=claimed.is_proved and not scan.damage_texts,
    )
