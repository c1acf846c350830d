"""`split`: views that share the videos of a store, the same ones whatever is added to the store later."""

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from fractions import Fraction
from numbers import Rational, Real
from typing import Any, SupportsIndex

import numpy as np
import numpy.typing as npt

from frame_store.cameras import AlignedStore, CameraGroup
from frame_store.columns import NO_COLUMNS, Columns
from frame_store.errors import ViewError
from frame_store.protocol import FrameStore
from frame_store.shared import counted, listed, whole_number, without_controls
from frame_store.source_order import Int64s
from frame_store.video_table import VideoTable
from frame_store.views.joining import part_of_videos, parts_of
from frame_store.views.subset import select
from frame_store.views.view import View, check_is_store

_NUM_PLACES = 1 << 64
_SUM_TOLERANCE = Fraction(1, 10**9)


class Split(dict[str, View]):
    """The parts of a split by name. Its text has the shares that were asked for and those that came about."""

    def __init__(self, parts: Mapping[str, View], shares: Mapping[str, float]) -> None:
        """Parts in the order of `shares`."""
        super().__init__(parts)
        self.shares = dict(shares)
        """The share of each part that was asked for."""

    def __str__(self) -> str:
        """A line for each part."""
        num_videos = sum(len(view.video_ids) for view in self.values())
        num_frames = sum(len(view) for view in self.values())
        return "\n".join(
            f"{name}: {counted(len(view.video_ids), 'video')} ({len(view.video_ids) / num_videos:.1%}), "
            f"{counted(len(view), 'frame')} ({len(view) / num_frames:.1%}); asked for {self.shares[name]:.1%}"
            for name, view in self.items()
        )

    def __repr__(self) -> str:
        return f"Split({', '.join(f'{name}={view!r}' for name, view in self.items())})"


def split(
    store: FrameStore,
    shares: Mapping[str, float],
    *,
    seed: SupportsIndex = 0,
    group: str | Sequence[object] | npt.NDArray[Any] | None = None,
) -> Split:
    """Views that together have every frame of `store` once, each video in one of them.

    The part of a video is a hash of the seed and of the SHA-256 of its file (of its path where the file could not be
    read). So videos with the same bytes are in one part, and no video moves to another part when videos are added,
    removed or renamed. Where a file holds several videos, the part depends on the place in the file, too. An episode
    that cameras filmed goes by its name, so that every camera shares it the same way. The shares are therefore met on
    average over seeds, not exactly: `print` the result to see those that came about.

    Args:
        store: any store, also a view, a concatenation or a group of cameras.
        shares: the name of each part and the probability that a video is in it, for example
            `{"train": 0.9, "val": 0.1}`. The sum is 1. Another order of the names gives other parts.
        seed: another seed gives another split.
        group: the name of a column of videos, or a text or number for each video, shape (V,), such as the name of a
            scene or a robot. The videos of a group are in one part: its hash takes the place of that of the file.

    Raises:
        ViewError: no shares, one that is not positive, another sum than 1, a part without frames (the message names
            it), another number of groups than of videos, a column without a group for each video, or videos with the
            same bytes in groups of different parts.
    """
    bounds = _bounds(shares)
    check_is_store(store, taker="split")
    seed = whole_number("seed", seed, error=ViewError)
    if isinstance(group, str):
        group = _groups_of_column(store, group)
    keys = _keys(store, group)
    numbers = [_number(seed, key) for key in keys]
    names = list(shares)
    part_of = np.array(
        [next(part for part, bound in enumerate(bounds) if number < bound) for number in numbers], np.int64
    )
    if group is not None:
        _check_copies(store, keys, part_of, names)
    rows = {name: np.flatnonzero(part_of == part) for part, name in enumerate(names)}
    _check_none_empty(store.videos, rows, shares)
    return Split({name: select(store, videos=chosen) for name, chosen in rows.items()}, shares)


def _bounds(shares: Mapping[str, float]) -> list[int]:
    """The end of each part's range in [0, 2**64), exact."""
    if not isinstance(shares, Mapping) or not shares:
        raise ViewError(f'shares is a dict such as {{"train": 0.9, "val": 0.1}}, found {shares!r}')
    exact: list[Fraction] = []
    for name, share in shares.items():
        is_number = isinstance(share, Real) and not isinstance(share, bool)
        try:
            # numpy's smaller floats are no fractions to Python
            exact.append(Fraction(share if isinstance(share, Rational) else float(share)))
        except (TypeError, ValueError, OverflowError) as error:  # not a number, NaN, infinity
            raise ViewError(f"the share of {name!r} must be a number above 0, found {share!r}") from error
        if not is_number or exact[-1] <= 0:
            raise ViewError(f"the share of {name!r} must be a number above 0, found {share!r}")
    total = sum(exact, Fraction(0))
    if abs(total - 1) > _SUM_TOLERANCE:
        raise ViewError(f"the shares must sum to 1, found {float(total):g}")
    ends = [sum(exact[: part + 1], Fraction(0)) / total for part in range(len(exact))]
    return [round(end * _NUM_PLACES) for end in ends]


def _keys(store: FrameStore, group: Sequence[object] | npt.NDArray[Any] | None) -> list[str]:
    """What a video's part is a hash of."""
    table = store.videos
    if group is None:
        contents = _contents(store)
        return [
            f"path {row.path}" if content is None else content
            for row, content in zip(table, contents, strict=True)
        ]
    if not isinstance(group, Sequence | np.ndarray) or len(group) != len(table):
        found = counted(len(group), "entry", "entries") if hasattr(group, "__len__") else repr(group)
        raise ViewError(f"group= has one entry for each of {counted(len(table), 'video')}, found {found}")
    values = [value.item() if isinstance(value, np.generic) else value for value in group]
    for row, value in enumerate(values):
        if not isinstance(value, str | int):
            raise ViewError(
                f"group= has a text or a whole number for each video, found {value!r} for video {row}"
            )
    return [f"group {value}" for value in values]


def _contents(store: FrameStore) -> list[str | None]:
    """What names the content of each video; None where its file could not be read.

    All cameras of an episode have its name, also a camera that is opened alone: its file grows with the data set.
    """
    of_video = [_has_cameras(part) for part in parts_of(store)]
    part_of = part_of_videos(store)
    contents: list[str | None] = []
    for video_id, row in enumerate(store.videos):
        if of_video[0 if part_of is None else int(part_of[video_id])]:
            contents.append(f"episode {row.path}")
        elif row.sha256 is None:
            contents.append(None)
        elif row.first_frame_in_file is None:
            contents.append(f"sha256 {row.sha256}")
        else:
            contents.append(f"sha256 {row.sha256}, frames {row.first_frame_in_file} {row.num_frames_decoded}")
    return contents


def _has_cameras(part: FrameStore) -> bool:
    """Whether a store that is no view is a group of cameras, or one camera of a cache of cameras."""
    if isinstance(part, AlignedStore):
        return True
    return isinstance(part, CameraGroup) or isinstance(getattr(part, "camera", None), str)


def _groups_of_column(store: FrameStore, name: str) -> list[object]:
    """The value of a column for each video of the store."""
    columns: Columns = getattr(store, "columns", NO_COLUMNS)
    if name not in columns:
        near = get_close_matches(name, columns, n=3, cutoff=0.4)
        hint = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
        has = f"has {', '.join(columns)}" if columns else "has no columns"
        raise ViewError(f"group={name!r}: the store has no such column, it {has}{hint}")
    column = columns[name]
    if column.scope != "video" or column.shape or column.dtype.kind not in "iub":
        raise ViewError(
            f"group={name!r}: expected a column of videos with a text or a whole number each, found one of "
            f"{column.scope}s, {column.kind_text}"
        )
    videos = store.video_ids if isinstance(store, View) else np.arange(len(store.videos))
    lacks = ~column.gather_valid(videos)
    if lacks.any():
        path = without_controls(store.videos[int(np.argmax(lacks))].path)
        raise ViewError(
            f"group={name!r}: {counted(int(lacks.sum()), 'video has', 'videos have')} no value, the first is {path!r}"
        )
    values: list[object] = column.gather(videos).tolist()
    texts = column.strings
    return values if texts is None else [texts[code] for code in values if isinstance(code, int)]


def _number(seed: int, key: str) -> int:
    """A whole number in [0, 2**64), as if drawn at random."""
    hashed = hashlib.sha256(f"split {seed} {key}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(hashed[:8], "big")


def _check_copies(store: FrameStore, keys: list[str], part_of: Int64s, names: list[str]) -> None:
    """Refuse groups that put videos with the same bytes into two parts."""
    table = store.videos
    first_with: dict[str, int] = {}
    for row, (video, content) in enumerate(zip(table, _contents(store), strict=True)):
        if content is None:
            continue
        first = first_with.setdefault(content, row)
        if part_of[first] != part_of[row]:
            raise ViewError(
                f"{without_controls(table[first].path)!r} and {without_controls(video.path)!r} have the same bytes, "
                f"and their groups {keys[first].removeprefix('group ')!r} and {keys[row].removeprefix('group ')!r} "
                f"are in the parts {names[part_of[first]]!r} and {names[part_of[row]]!r}; give them one group"
            )


def _check_none_empty(table: VideoTable, rows: Mapping[str, Int64s], shares: Mapping[str, float]) -> None:
    stored = table.column("num_frames_stored")
    empty = [
        f"{name!r} (share {float(shares[name]):g}) has {counted(len(chosen), 'video')} and no frame"
        for name, chosen in rows.items()
        if not stored[chosen].sum()
    ]
    if empty:
        raise ViewError(
            listed(
                f"a part of the split of {counted(len(table), 'video')} is empty",
                empty,
                "take a larger share, another seed, or choose its videos by select(store, videos=...)",
            )
        )
