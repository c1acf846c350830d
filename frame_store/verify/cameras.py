"""The cameras of a cache against each other: that a video and a `frame_in_video` are one moment in all of them."""

from collections.abc import Iterator, Sequence

from frame_store.cameras import differing_videos
from frame_store.errors import StoreError
from frame_store.manifest import VideoEntry
from frame_store.names import GENERATION_NAME, VIDEOS_NAME
from frame_store.reader import CacheStore, differing_frames
from frame_store.shared import without_controls
from frame_store.video_table import VideoTable


def find_camera_problems(
    stores: Sequence[CacheStore], tables: Sequence[Sequence[VideoEntry] | None]
) -> Iterator[str]:
    """One line for each camera whose videos or frames are not those of the first one.

    Args:
        stores: the cameras, whose files of source order have their recorded hashes.
        tables: the table of videos of each; None where it cannot be read, which is reported elsewhere.
    """
    first, entries = stores[0], tables[0]
    for store, own in zip(stores[1:], tables[1:], strict=True):
        folder = store.tree.generations[0].folder
        if entries is not None and own is not None:
            problem = differing_videos(str(first.camera), _table(entries), str(store.camera), _table(own))
            if problem is not None:
                yield f"{folder}/{VIDEOS_NAME}: {problem}"
                continue
        try:
            file = differing_frames(first, store)
        except StoreError as error:
            yield str(error).removeprefix(f"{store.path}/")
            continue
        if [(part.num_frames, part.num_videos) for part in store.tree.parts] != [
            (part.num_frames, part.num_videos) for part in first.tree.parts
        ]:
            yield (
                f"{folder}/{GENERATION_NAME}: its parts have other frames or videos than those of camera "
                f"{without_controls(str(first.camera))!r}"
            )
        elif file is not None:
            yield (
                f"{folder}/{file}: differs from that of camera {without_controls(str(first.camera))!r}, so that the "
                "cameras store other frames"
            )


def _table(entries: Sequence[VideoEntry]) -> VideoTable:
    return VideoTable(entry.row for entry in entries)
