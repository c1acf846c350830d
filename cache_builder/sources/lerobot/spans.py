"""Where the videos of a camera lie in its files, compared with lengths, times, files and each other."""

import stat
from pathlib import Path
from typing import Final

import numpy as np

from cache_builder.sources.contents import EpisodeSpan
from cache_builder.sources.lerobot.episodes import EPISODES_FOLDER, Episodes
from cache_builder.sources.lerobot.examined import Examined
from cache_builder.sources.lerobot.rows import Seconds, overlaps
from frame_store.shared import raise_if_out_of_files

TOLERANCE_SECONDS: Final = 1e-4
"""LeRobot's own."""
_HALF_A_FRAME: Final = 0.5
"""How far a duration may be from a whole number of frames. A build then finds each frame by its pts."""


def check_spans(examined: Examined, seconds: list[Seconds | None]) -> dict[str, list[str]]:
    """Camera -> the file of each episode as a posix path below the root, "" where its metadata names none.

    `seconds` has the timestamps of each episode, None where its rows have a problem.
    """
    files = _Files(examined)
    names = {camera: files.of(camera) for camera in examined.info.cameras}
    for camera in examined.info.cameras:
        _check_times(examined, camera, names[camera], seconds)
    for (
        camera
    ) in examined.info.cameras:  # last: an episode that lasts too long overlaps others, which are fine
        _check_overlaps(examined, camera, names[camera])
    return names


def span_of(episodes: Episodes, camera: str, episode: int, seconds: Seconds) -> EpisodeSpan:
    """The stretch of an episode without problems."""
    spans = episodes.cameras[camera]
    start = float(spans.from_timestamp[episode])
    return EpisodeSpan(
        from_seconds=start,
        to_seconds=float(spans.to_timestamp[episode]),
        frame_seconds=start + seconds,
        tolerance_seconds=TOLERANCE_SECONDS,
    )


class _Files:
    def __init__(self, examined: Examined) -> None:
        self._examined = examined

    def of(self, camera: str) -> list[str]:
        """The file of each episode; a file that is not there is a problem."""
        spans = self._examined.episodes.cameras[camera]
        found: dict[tuple[int, int], tuple[str, str | None]] = {}
        names = []
        for episode, place in enumerate(
            zip(spans.chunk_index.tolist(), spans.file_index.tolist(), strict=True)
        ):
            if place not in found:
                found[place] = self._file(camera, *place)
            name, problem = found[place]
            if problem is not None:
                self._examined.problems.add(episode, f"camera {camera!r}: {problem}")
            names.append(name)
        return names

    def _file(self, camera: str, chunk: int, number: int) -> tuple[str, str | None]:
        """Name of a file, "" if there is none, and what is wrong with it."""
        place = {"chunk_index": chunk, "file_index": number}
        try:
            name = self._examined.info.video_path.path({"video_key": camera}, place)
        except ValueError as error:
            return "", f"{EPISODES_FOLDER}: {error}"
        return name, None if _is_file(self._examined.root / name) else f"{name} does not exist or is no file"


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError as error:
        raise_if_out_of_files(error)
        return False


def _check_times(examined: Examined, camera: str, names: list[str], seconds: list[Seconds | None]) -> None:
    spans, fps, problems = examined.episodes.cameras[camera], examined.info.fps, examined.problems
    starts, ends = spans.from_timestamp, spans.to_timestamp
    with np.errstate(invalid="ignore"):
        is_stretch = np.isfinite(starts) & np.isfinite(ends) & (starts >= 0) & (ends > starts)
    for episode in np.flatnonzero(~is_stretch).tolist():
        problems.add(
            episode,
            f"camera {camera!r}: {names[episode]}: from_timestamp is {starts[episode]} and to_timestamp "
            f"{ends[episode]}, expected 0 or more, and a later time",
        )
    for episode, times in enumerate(seconds):
        if times is None or not is_stretch[episode]:
            continue
        duration = float(ends[episode] - starts[episode])
        is_regular = bool((np.abs(times - np.arange(len(times)) / fps) <= TOLERANCE_SECONDS).all())
        if is_regular and abs(duration * fps - len(times)) > _HALF_A_FRAME:
            problems.add(
                episode,
                f"camera {camera!r}: {names[episode]}: from {starts[episode]} s to {ends[episode]} s are "
                f"{duration * fps:.6g} / {fps:g} s, expected {len(times)} / {fps:g} s, as the length is {len(times)}",
            )
        elif times[0] < -TOLERANCE_SECONDS or times[-1] > duration + TOLERANCE_SECONDS:
            problems.add(
                episode,
                f"camera {camera!r}: {names[episode]}: timestamps go from {times[0]:.4f} s to {times[-1]:.4f} s, and "
                f"the video lasts {duration:.4f} s",
            )


def _check_overlaps(examined: Examined, camera: str, names: list[str]) -> None:
    spans = examined.episodes.cameras[camera]
    by_file: dict[str, list[int]] = {}
    for episode in examined.problems.fine().tolist():
        by_file.setdefault(names[episode], []).append(episode)
    for name, members in by_file.items():
        of_file = np.array(members)
        of_file = of_file[np.argsort(spans.from_timestamp[of_file], kind="stable")]
        starts, ends = spans.from_timestamp[of_file], spans.to_timestamp[of_file]
        for place, other in overlaps(starts, ends, least=_HALF_A_FRAME / examined.info.fps):
            for one, two in ((place, other), (other, place)):
                examined.problems.add(
                    int(of_file[one]),
                    f"camera {camera!r}: {name}: its stretch {starts[one]} s to {ends[one]} s overlaps that of episode "
                    f"{of_file[two]}, {starts[two]} s to {ends[two]} s",
                )
