"""Which videos are stored, once all files are decoded: episodes are cut out, and cameras must agree about each."""

from collections.abc import Sequence

import numpy as np

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.findings import DecodedEpisode, DecodedVideo, LeftOutVideo
from cache_builder.inputs import Inputs, Settled, label, numbers_text, settled_alone
from cache_builder.settings import ErrorPolicy
from cache_builder.video.scan import VideoFacts
from frame_store.shared import counted


def settle(
    inputs: Inputs, decoded: Sequence[DecodedVideo | VideoError], *, on_error: ErrorPolicy
) -> list[list[Settled]]:
    """The videos of each of `inputs.parts`. `decoded` has a row per file.

    An episode is stored with exactly the frames that its source promises, and only if all cameras have the same frames
    of it; else it is left out in every camera.

    Raises:
        VideosNotWholeError: the policy is `fail`, and an episode is left out or damaged, or cameras disagree.
    """
    found = settled_alone(inputs, decoded)
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


def _problem(settled: Settled) -> str | None:
    """Why a video is not whole; None where it is, and for files that are one video: decoding has judged these."""
    if isinstance(settled, LeftOutVideo):
        return settled.reason
    if isinstance(settled, DecodedEpisode):
        return f"{'; '.join(problems)} ({settled.span.file})" if (problems := settled.problems) else None
    return None


def _disagreement(parts: Sequence[str | None], across: Sequence[Settled]) -> str | None:
    """How the frames of a video differ between cameras; None where all have the same."""
    numbers = [len(settled.pts_seconds) for settled in across]
    if len(set(numbers)) > 1:
        return numbers_text(parts, numbers)
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
