"""What a notebook shows of a store: what it holds, and eight of its frames.

This room knows no kind of store. It asks each one for what it has: `cameras`, `parts` and `base` are those of a group,
a concatenation and a view.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.html import Child
from frame_store.notebook.parts import Figure, cut, error_text, facts_table, grid, output
from frame_store.notebook.shades import pictures_where_read, small
from frame_store.protocol import DecodesInGroups, FrameStore
from frame_store.shared import counted, counted_in_groups

MOST_PICTURES: Final = 8
MOST_SECONDS: Final = 2.0
"""No further frame is read after this time."""
MOST_VIDEOS: Final = 2000
"""A longer table of videos is not read for the names alone."""
_MOST_NAMES: Final = 12


class ShownInNotebooks:
    """A store that notebooks show with some of its frames."""

    def _repr_html_(self) -> str:
        """What IPython shows: the store's facts and eight frames at most. Never raises; damage is shown as text."""
        return output(self, lambda: store_html(self))


def store_html(store: Any) -> Child:  # noqa: ANN401 - any kind of store
    """What a notebook shows of a store."""
    cameras: Mapping[str, Any] | None = getattr(store, "cameras", None)
    noun = "frame" if cameras is None else "moment"
    facts: list[tuple[str, Any]] = [
        ("store", lambda: repr(store)),
        (f"{noun}s", lambda: f"{len(store):,}"),
        ("one frame", lambda: _shapes(store, cameras)),
        ("videos", lambda: f"{num_videos(store):,}"),
        ("shards", lambda: _shards(store)),
        ("columns", lambda: _names(list(store.columns))),
    ]
    return [facts_table(facts), _some_frames(store, cameras)]


def _shapes(store: FrameStore, cameras: Mapping[str, FrameStore] | None) -> str:
    if cameras is None:
        return _shape(store)
    return ", ".join(f"{name}: {_shape(camera)}" for name, camera in list(cameras.items())[:_MOST_NAMES])


def _shape(store: FrameStore) -> str:
    height, width, channels = store.frame_shape
    return f"{height} x {width}, {counted(channels, 'channel')}, {np.dtype(store.frame_dtype)}"


def _shards(store: FrameStore) -> str:
    sizes = np.asarray(store.shard_sizes)
    if not len(sizes):
        return "none"
    return f"{len(sizes):,}, of {sizes.min():,} to {counted_in_groups(int(sizes.max()), 'frame')}"


def _names(names: Sequence[str]) -> str | None:
    if not names:
        return "none"
    more = f" and {len(names) - _MOST_NAMES:,} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def num_videos(store: Any) -> int:  # noqa: ANN401 - any kind of store
    """Videos of a store, without its table of videos."""
    if (of_view := getattr(store, "video_ids", None)) is not None:
        return len(of_view)
    if (of_parts := getattr(store, "first_videos", None)) is not None:
        return int(of_parts[-1])
    return int(store.source_order.num_videos)


def video_name(store: Any, video_id: int) -> str | None:  # noqa: ANN401 - any kind of store
    """The path of a video; None where the table of videos is long and was not read yet."""
    if (base := getattr(store, "base", None)) is not None:
        return video_name(base, int(store.video_ids[video_id]))
    if (parts := getattr(store, "parts", None)) is not None:
        part = int(np.searchsorted(store.first_videos, video_id, side="right")) - 1
        return video_name(parts[part], video_id - int(store.first_videos[part]))
    leader = getattr(store, "leader", None)
    if leader is not None and leader is not store:
        return video_name(leader, video_id)
    is_read = "videos" in getattr(store, "__dict__", {})
    return store.videos[video_id].path if is_read or num_videos(store) <= MOST_VIDEOS else None


def _some_frames(store: Any, cameras: Mapping[str, Any] | None) -> Child:  # noqa: ANN401 - any kind of store
    if not len(store):
        return None
    shown: dict[str | None, Any] = {None: store}
    if cameras is not None:
        shown = dict(list(cameras.items())[:MOST_PICTURES])
    ids, said = _spread_ids(store, max(1, MOST_PICTURES // len(shown))), []
    read: dict[str | None, list[npt.NDArray[Any] | str]] = {name: [] for name in shown}
    started = time.monotonic()
    for done, frame_id in enumerate(ids):
        if done and time.monotonic() - started > MOST_SECONDS:
            said.append(f"{done} of {len(ids)}: reading more takes longer than {MOST_SECONDS:.0f} s")
            ids = ids[:done]
            break
        for name, frames in read.items():
            frames.append(_small_frame(shown[name], frame_id))
    captions = [caption_of(store, frame_id) for frame_id in ids]
    figures = []
    for name, frames in read.items():
        pictures, how = pictures_where_read(frames)
        label = "" if name is None else f"{name}, "
        said += [f"{name}: {how}" if name is not None else how] if how else []
        figures += [
            Figure(
                pictures=[picture],
                alt=f"{label}frame {frame_id}",
                caption=caption if name is None else [name, *caption],
            )
            for frame_id, picture, caption in zip(ids, pictures, captions, strict=True)
        ]
    return [grid(figures), facts_table([("pictures", "; ".join(said))]) if said else None]


def _spread_ids(store: Any, number: int) -> list[int]:  # noqa: ANN401 - any kind of store
    """Ids all over the store; where frames are decoded in groups, those that are decoded at once."""
    number = min(number, len(store))
    ids = [(2 * place + 1) * len(store) // (2 * number) for place in range(number)]
    if isinstance(store, DecodesInGroups):
        try:
            ids = np.unique(store.decode_groups(ids)).tolist()
        except Exception:  # noqa: BLE001 - reading says what is wrong
            return ids
    return ids


def _small_frame(store: FrameStore, frame_id: int) -> npt.NDArray[Any] | str:
    """A frame, made small, or why it cannot be shown."""
    try:
        return small(store.read_frames([frame_id])[0])
    except Exception as error:  # noqa: BLE001 - the other frames are worth to be seen
        return error_text(error)


def caption_of(store: Any, frame_id: int) -> list[str]:  # noqa: ANN401 - any kind of store
    """What stands below a frame: its id, its video, and where in it the frame lies."""
    lines = [f"id {frame_id:,}"]
    try:
        row = store.rows_of([frame_id])[0]
        lines += place_lines(
            video_id=int(row["video_id"]),
            name=video_name(store, int(row["video_id"])),
            frame_in_video=int(row["frame_in_video"]),
            seconds=float(row["pts_seconds"]),
        )
    except Exception as error:  # noqa: BLE001 - the picture is worth to be seen
        lines.append(cut(error_text(error)))
    return lines


def place_lines(*, video_id: int, name: str | None, frame_in_video: int, seconds: float) -> list[str]:
    """Where a frame lies, in two lines."""
    time_text = "" if np.isnan(seconds) else f", {seconds:.3f} s"
    return [f"video {video_id}" + (f": {name}" if name else ""), f"frame {frame_in_video:,}{time_text}"]
