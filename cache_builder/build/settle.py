"""Which videos are stored, once all files are decoded: episodes are cut out, and cameras must agree about each."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.findings import DecodedEpisode, DecodedVideo, EpisodeFile, LeftOutVideo
from cache_builder.inputs import Inputs, cuts_of, label
from cache_builder.plan import Cut
from cache_builder.settings import ErrorPolicy
from cache_builder.sources import SourceVideo
from cache_builder.video.scan import VideoFacts
from frame_store.manifest import VideoSpan
from frame_store.shared import counted

Settled: TypeAlias = DecodedVideo | DecodedEpisode | LeftOutVideo
"""A row of the table of videos, before it is written."""


def settle(
    inputs: Inputs, decoded: Sequence[DecodedVideo | VideoError], *, on_error: ErrorPolicy
) -> list[list[Settled]]:
    """The videos of each of `inputs.parts`. `decoded` has a row per file.

    An episode is stored with exactly the frames that its source promises, and only if all cameras have the same frames
    of it; else it is left out in every camera.

    Raises:
        VideosNotWholeError: the policy is `fail`, and an episode is left out or damaged, or cameras disagree.
    """
    found = _found(inputs, decoded)
    by_part = [[found[row] for row in inputs.rows_of(part)] for part in inputs.parts]
    problems = [
        str(VideoError(label(inputs.videos[row]), problem))
        for row, settled in enumerate(found)
        if on_error == "fail" and (problem := _problem(settled)) is not None
    ]
    for place, across in enumerate(zip(*by_part, strict=True)):
        at_fault = [number for number, settled in enumerate(across) if isinstance(settled, LeftOutVideo)]
        disagreement = None if at_fault else _disagreement(inputs.parts, across)
        if disagreement is not None and on_error == "fail":
            problems.append(str(VideoError(_name(across[0]), disagreement)))
        for number, settled in enumerate(across):
            if isinstance(settled, LeftOutVideo) or not (at_fault or disagreement is not None):
                continue
            reason = disagreement
            if reason is None:
                blamed = across[at_fault[0]]
                assert isinstance(blamed, LeftOutVideo)
                reason = f"left out because of camera {inputs.parts[at_fault[0]]}: {blamed.reason}"
            by_part[number][place] = LeftOutVideo(name=_name(settled), reason=reason, facts=_facts(settled))
    if problems:
        raise VideosNotWholeError(problems)
    return by_part


def _found(inputs: Inputs, decoded: Sequence[DecodedVideo | VideoError]) -> list[Settled]:
    """Each video by itself."""
    found: list[Settled] = []
    for row, video in enumerate(inputs.videos):
        scan, name = inputs.scan_of(row), video.relative_path
        of_file = scan if isinstance(scan, VideoError) else decoded[inputs.file_ids[row]]
        if isinstance(of_file, VideoError):
            found.append(LeftOutVideo(name=name, reason=of_file.reason))
        else:
            found.append(of_file if of_file.name == name else msgspec.structs.replace(of_file, name=name))
    for file_id in inputs.episodes():
        of_file = decoded[file_id]
        if isinstance(of_file, DecodedVideo):
            file = EpisodeFile(of_file)
            for row, cut in cuts_of(inputs, file_id, file.pts_seconds):
                found[row] = _episode(inputs.videos[row], cut, file)
    return found


def _episode(video: SourceVideo, cut: Cut | str, file: EpisodeFile) -> Settled:
    assert video.span is not None
    if isinstance(cut, str):
        return LeftOutVideo(name=video.relative_path, reason=cut, facts=file.video.scan.facts)
    return DecodedEpisode(
        file=file,
        name=video.relative_path,
        span=VideoSpan(
            file=video.file,
            first_frame=cut.first_frame,
            from_seconds=video.span.from_seconds,
            to_seconds=video.span.to_seconds,
        ),
        num_frames=cut.num_frames,
    )


def _problem(settled: Settled) -> str | None:
    """Why a video is not whole; None where it is, and for files that are one video: decoding has judged these."""
    if isinstance(settled, LeftOutVideo):
        return settled.reason
    if isinstance(settled, DecodedEpisode):
        return "; ".join(settled.problems) or None
    return None


def _disagreement(parts: Sequence[str | None], across: Sequence[Settled]) -> str | None:
    """How the frames of a video differ between cameras; None where all have the same."""
    numbers = [len(settled.pts_seconds) for settled in across]
    if len(set(numbers)) > 1:
        each = [
            f"{camera}: {counted(number, 'frame')}" for camera, number in zip(parts, numbers, strict=True)
        ]
        return f"its cameras have different numbers of frames: {', '.join(each)}"
    stored = [settled.sources(0)["frame_in_video"] for settled in across]
    for camera, frames in zip(parts[1:], stored[1:], strict=True):
        if not np.array_equal(stored[0], frames):
            return (
                f"of its cameras {parts[0]} keeps {counted(len(stored[0]), 'frame')} and {camera} other "
                f"{counted(len(frames), 'frame')}, since their timestamps differ; {{--stride}} keeps the same of each"
            )
    return None


def _name(settled: Settled) -> str:
    return (settled.name or settled.scan.facts.path) if isinstance(settled, DecodedVideo) else settled.name


def _facts(settled: DecodedVideo | DecodedEpisode) -> VideoFacts:
    return (settled.file.video if isinstance(settled, DecodedEpisode) else settled).scan.facts
