"""A plain folder whose paths say which camera filmed which episode."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from cache_builder.errors import InputFolderError
from cache_builder.sources.camera_pattern import CameraPattern
from cache_builder.sources.contents import SourceContents, SourceVideo
from frame_store.names import MAX_CAMERAS
from frame_store.shared import counted, listed

_NUM_PATHS_TOLD: Final = 3


def cameras_of(plain: SourceContents, folder: Path | str, pattern: CameraPattern) -> SourceContents:
    """The videos of a plain folder that the pattern matches, for each camera in the order of episodes.

    Videos are called by their episode; episodes and cameras are sorted by name. An episode that lacks a camera is the
    `problem` of its videos. Videos that the pattern does not match are counted.

    `folder` names it for messages.

    Raises:
        InputFolderError: no video matches, two are one camera's of one episode, or there are too many cameras.
    """
    found: dict[tuple[str, str], SourceVideo] = {}
    repeated: list[str] = []
    for video in plain.videos:
        key = pattern.match(video.relative_path)
        if key is None:
            continue
        first = found.setdefault(key, video)
        if first is not video:
            repeated.append(
                f"camera {key[1]!r} of episode {key[0]!r} is both {first.relative_path!r} and {video.relative_path!r}"
            )
    if not found:
        some = ", ".join(repr(video.relative_path) for video in plain.videos[:_NUM_PATHS_TOLD])
        raise InputFolderError(
            folder,
            f"the camera pattern {pattern.text!r} matches none of its {counted(len(plain.videos), 'video')}, such as "
            f"{some}",
        )
    if repeated:
        raise InputFolderError(
            folder,
            listed(
                f"the camera pattern {pattern.text!r} finds two videos for one",
                repeated[:_NUM_PATHS_TOLD],
                "use a pattern that matches one of them, or rename one",
            ),
        )
    episodes = sorted({episode for episode, _ in found})
    cameras = sorted({camera for _, camera in found})
    if len(cameras) > MAX_CAMERAS:
        raise InputFolderError(
            folder,
            f"the camera pattern {pattern.text!r} finds {len(cameras)} cameras, at most {MAX_CAMERAS} are stored: "
            f"{', '.join(map(repr, cameras[:_NUM_PATHS_TOLD]))} ...",
        )
    problems = {
        episode: _problem([camera for camera in cameras if (episode, camera) not in found], pattern)
        for episode in episodes
    }
    return SourceContents(
        videos=[
            _video(folder, found.get((episode, camera)), episode, camera, problems[episode])
            for camera in cameras
            for episode in episodes
        ],
        passed_over=msgspec.structs.replace(plain.passed_over, num_unmatched=len(plain.videos) - len(found)),
        cameras=tuple(cameras),
    )


def _problem(missing: list[str], pattern: CameraPattern) -> str | None:
    if not missing:
        return None
    names = ", ".join(map(repr, missing[:_NUM_PATHS_TOLD])) + (
        " ..." if len(missing) > _NUM_PATHS_TOLD else ""
    )
    return f"no file of {pattern.text!r} is of camera {names}; expected one of every camera"


def _video(
    folder: Path | str, found: SourceVideo | None, episode: str, camera: str, problem: str | None
) -> SourceVideo:
    if found is None:
        return SourceVideo(relative_path=episode, path=Path(folder), camera=camera, problem=problem)
    return replace(
        found, relative_path=episode, file_path=found.relative_path, camera=camera, problem=problem
    )
