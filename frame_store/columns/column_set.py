"""The columns of a store."""

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.columns.column import NO_TEXT, Column, ColumnPart, check_positions
from frame_store.columns.column_names import check_column_names
from frame_store.errors import ColumnError
from frame_store.shared import counted


class Columns(Mapping[str, Column]):
    """The columns of one store by name, in the order of names. They do not change."""

    def __init__(
        self, columns: Iterable[Column] = (), *, num_rows: int, num_videos: int, fingerprint: str
    ) -> None:
        """Columns of a store of `num_rows` decoded frames and `num_videos` videos, which has this `fingerprint`.

        Raises:
            ColumnError: names that are equal or differ by case alone, or a column of another length.
        """
        columns = list(columns)
        by_name = {column.name: column for column in columns}
        check_column_names([column.name for column in columns])
        self._columns = {name: by_name[name] for name in sorted(by_name)}
        self.num_rows = num_rows
        self.num_videos = num_videos
        self.fingerprint = fingerprint
        for column in columns:
            expected, noun = (num_rows, "decoded frame") if column.scope == "frame" else (num_videos, "video")
            if len(column) != expected:
                raise ColumnError(
                    f"column {column.name!r}: {counted(len(column), 'row')}, the store has {counted(expected, noun)}"
                )

    def __getitem__(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: there is none; the message lists the names.
        """
        if name not in self._columns:
            raise KeyError(self._unknown(name))
        return self._columns[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        return f"Columns({', '.join(map(repr, self)) or 'none'})"

    def select(self, names: Iterable[str]) -> "Columns":
        """Some of the columns.

        Raises:
            ColumnError: there is no column of that name, or a name occurs twice.
        """
        names = check_column_names(names)
        for name in names:
            if name not in self._columns:
                raise ColumnError(self._unknown(name))
        return Columns(
            [self._columns[name] for name in names],
            num_rows=self.num_rows,
            num_videos=self.num_videos,
            fingerprint=self.fingerprint,
        )

    def __or__(self, other: "Columns") -> "Columns":
        """The columns of both, which belong to one store.

        Raises:
            ColumnError: they belong to different stores, or have a name in common.
        """
        if not isinstance(other, Columns):
            return NotImplemented
        if not (self and other):
            return self or other
        if self.fingerprint != other.fingerprint:
            raise ColumnError(
                f"columns of different stores cannot be taken together: {self!r} of {self.fingerprint[:16]}, {other!r} "
                f"of {other.fingerprint[:16]}"
            )
        return Columns(
            [*self.values(), *other.values()],
            num_rows=self.num_rows,
            num_videos=self.num_videos,
            fingerprint=self.fingerprint,
        )

    def gather(self, rows: npt.ArrayLike, video_ids: npt.ArrayLike) -> dict[str, npt.NDArray[Any]]:
        """Values of all columns: of frames at `rows`, of videos at `video_ids`; each (*positions.shape, *shape).

        Raises:
            FrameIdError: a row outside [0, R), or a video outside [0, V).
        """
        of_scope = {
            "frame": check_positions(rows, self.num_rows, what="columns of frames"),
            "video": check_positions(video_ids, self.num_videos, what="columns of videos"),
        }
        gathered = {}
        for name, column in self._columns.items():
            positions = of_scope[column.scope]
            gathered[name] = np.empty((*positions.shape, *column.shape), column.dtype)
            column.gather_checked(positions, gathered[name])
        return gathered

    def _unknown(self, name: object) -> str:
        if not self._columns:
            return f"there is no column {name!r}: the store has no columns"
        near = difflib.get_close_matches(str(name), self._columns, n=3)
        those = ", ".join(map(repr, near or list(self._columns)[:10]))
        return f"there is no column {name!r}; {'near are' if near else 'there are'} {those}"


NO_COLUMNS: Final = Columns(num_rows=0, num_videos=0, fingerprint="")
"""What a store without columns has."""


def concat_columns(stores: Sequence[Columns], *, fingerprint: str) -> tuple[Columns, list[str]]:
    """Columns of stores whose rows and videos follow each other, and the names that not all of them have.

    Codes of texts are those of the union of the lists, in order of the first store that has the text. Codes are
    translated when they are gathered.

    Raises:
        ColumnError: one name with another scope, dtype or shape; the message has both.
    """
    names = sorted({name for store in stores for name in store})
    kept = [name for name in names if all(name in store for store in stores)]
    return (
        Columns(
            [_joined([store[name] for store in stores]) for name in kept],
            num_rows=sum(store.num_rows for store in stores),
            num_videos=sum(store.num_videos for store in stores),
            fingerprint=fingerprint,
        ),
        [name for name in names if name not in kept],
    )


def _joined(columns: Sequence[Column]) -> Column:
    first = columns[0]
    for number, column in enumerate(columns[1:], 1):
        of_both = [(each.scope, each.dtype, each.shape, each.strings is not None) for each in (first, column)]
        if of_both[0] != of_both[1]:
            raise ColumnError(
                f"column {first.name!r}: per {first.scope}, {first.kind_text} in store 0; per {column.scope}, "
                f"{column.kind_text} in store {number}"
            )
    if first.strings is None:
        parts = tuple(part for column in columns for part in column.parts)
        return Column(name=first.name, scope=first.scope, parts=parts)
    code_of: dict[str, int] = {}
    translated: list[ColumnPart] = []
    for column in columns:
        codes = [code_of.setdefault(text, len(code_of)) for text in column.strings or ()]
        table = np.array([*codes, NO_TEXT], np.int32)
        is_same = codes == list(range(len(codes)))
        for part in column.parts:
            translation = None if is_same else table
            if part.translation is not None:
                translation = table[part.translation]
            translated.append(ColumnPart(values=part.values, valid=part.valid, translation=translation))
    return Column(name=first.name, scope=first.scope, parts=tuple(translated), strings=tuple(code_of))
