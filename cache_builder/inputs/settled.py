"""The videos of decoded files: each file is one, or is cut into its episodes."""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from cache_builder.errors import VideoError
from cache_builder.findings import DecodedEpisode, DecodedVideo, EpisodeFile, LeftOutVideo
from cache_builder.inputs.episodes import cuts_of
from cache_builder.inputs.tables import Inputs, error_of
from cache_builder.plan import Cut
from cache_builder.sources import SourceVideo
from frame_store.manifest import VideoSpan

Settled: TypeAlias = DecodedVideo | DecodedEpisode | LeftOutVideo
"""A row of the table of videos, before it is written."""


def settled_alone(inputs: Inputs, decoded: Sequence[DecodedVideo | VideoError]) -> list[Settled]:
    """Each video by itself, whatever other cameras have. `decoded` has a row per file."""
    found: list[Settled] = []
    for row, video in enumerate(inputs.videos):
        scan, name = inputs.scan_of(row), video.relative_path
        of_file = scan if isinstance(scan, VideoError) else decoded[inputs.file_ids[row]]
        if isinstance(of_file, VideoError):
            error = of_file if of_file is scan else error_of(video, of_file)
            found.append(LeftOutVideo(name=name, reason=error.reason))
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
