"""Which videos are byte for byte the same."""

from collections.abc import Iterable, Sequence

import msgspec

from frame_store.manifest import VideoEntry


def find_copies(videos: Iterable[tuple[str, str | None]]) -> list[list[str]]:
    """Groups of two or more paths of the same content, in the order of their first paths, from (path, content) pairs.

    >>> find_copies([("a", "1"), ("b", "2"), ("c", "1"), ("d", None), ("e", None)])
    [['a', 'c']]
    """
    paths_of: dict[str, list[str]] = {}
    for path, sha256 in videos:
        if sha256 is not None:
            paths_of.setdefault(sha256, []).append(path)
    return [paths for paths in paths_of.values() if len(paths) > 1]


def find_copies_of(there: Iterable[VideoEntry], new: Iterable[VideoEntry]) -> list[list[str]]:
    """[path of a new video, path of the first video there of the same content], for each new video that has one."""
    first_there: dict[str, str] = {}
    for entry in there:
        content = content_of(entry)
        if content is not None:
            first_there.setdefault(content, entry.path)
    contents = [(entry.path, content_of(entry)) for entry in new]
    return [
        [path, first_there[content]]
        for path, content in contents
        if content is not None and content in first_there
    ]


def content_of(entry: VideoEntry) -> str | None:
    """What a video's frames are: its file's SHA-256, and its frames there; None where no frame of it is known."""
    if entry.verdict == "unreadable":
        return None
    if entry.span is None:
        return entry.sha256
    first = entry.span.first_frame
    return f"{entry.sha256} {first} to {first + entry.num_frames_decoded}"


def with_copies_noted(entries: Sequence[VideoEntry]) -> list[VideoEntry]:
    """The entries, with a note in each whose video is a copy of an earlier one."""
    first_of = {
        path: paths[0]
        for paths in find_copies((entry.path, content_of(entry)) for entry in entries)
        for path in paths[1:]
    }
    return [
        msgspec.structs.replace(
            entry, notes=[*entry.notes, f"byte for byte the same as {first_of[entry.path]!r}"]
        )
        if entry.path in first_of
        else entry
        for entry in entries
    ]
