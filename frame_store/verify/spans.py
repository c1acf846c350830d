"""Videos that are stretches of files: a file has one content, and no two of its stretches share a frame."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from frame_store.manifest import VideoEntry
from frame_store.shared import without_controls

MAX_FRAMES_OF_FILE: Final = 1 << 32
"""As of a video that is a file of its own, whose `frame_in_video` has four bytes."""


class _Stretch(NamedTuple):
    first: int
    end: int
    path: str


def find_span_problems(videos: Sequence[VideoEntry]) -> Iterator[str]:
    """One line for each file of a table of videos whose stretches contradict each other."""
    stretches: dict[str, list[_Stretch]] = {}
    contents: dict[str, tuple[str, str]] = {}
    for video in videos:
        file = video.path if video.span is None else video.span.file
        if video.sha256 is not None:
            first_path, sha256 = contents.setdefault(file, (video.path, video.sha256))
            if sha256 != video.sha256:
                yield (
                    f"videos {_shown(first_path)} and {_shown(video.path)} lie in {_shown(file)}, and state other "
                    "sha256 of it"
                )
        if video.num_frames_decoded:
            first = 0 if video.span is None else video.span.first_frame
            stretches.setdefault(file, []).append(
                _Stretch(first, first + video.num_frames_decoded, video.path)
            )
    for file, of_file in stretches.items():
        of_file.sort()
        for one, other in pairwise(of_file):
            if other.first < one.end:
                yield (
                    f"videos {_shown(one.path)} and {_shown(other.path)} share frames of {_shown(file)}: "
                    f"{one.first} to {one.end - 1}, and {other.first} to {other.end - 1}"
                )
        if of_file[-1].end > MAX_FRAMES_OF_FILE:
            yield f"video {_shown(of_file[-1].path)}: ends with frame {of_file[-1].end - 1} of {_shown(file)}"


def _shown(path: str) -> str:
    return repr(without_controls(path))
