"""A column: a value of one kind for every decoded frame, or for every video."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from frame_store.columns.column_names import check_column_name, check_kind
from frame_store.columns.mapped_array import MappedArray
from frame_store.errors import ColumnError, FrameIdError, StoreDamagedError
from frame_store.shared import counted

ColumnScope: TypeAlias = Literal["frame", "video"]
"""`frame`: a value for each decoded frame, at its row (see `source_order`). `video`: one for each video, at its
video_id."""

Positions: TypeAlias = npt.NDArray[np.int64]
"""Rows of a column of frames, or video_ids of a column of videos; of any shape."""

NO_TEXT = -1
"""The code where a text is missing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnPart:
    """Values that lie together: those of a generation, or of a store of a `concat`."""

    values: npt.NDArray[Any] | MappedArray
    """Shape (n, *shape)."""
    valid: npt.NDArray[np.bool_] | MappedArray | None = None
    """Shape (n,): False where the value is missing. None where no value is missing."""
    translation: npt.NDArray[np.int32] | None = None
    """Code of the column for each code of this part, and `NO_TEXT` at its end; None where they are the same."""

    def __len__(self) -> int:
        return int(self.values.shape[0])

    def take(self, positions: Positions) -> npt.NDArray[Any]:
        """Values at positions. Raises IndexError for one of n or more."""
        values = _array(self.values).take(positions, axis=0)
        return values if self.translation is None else self._translated(values, self.translation)

    def take_into(self, positions: Positions, out: npt.NDArray[Any]) -> None:
        """As `take`, for positions that lie in [0, n), into memory of the right shape and dtype."""
        if self.translation is None:
            np.take(_array(self.values), positions, axis=0, out=out, mode="clip")  # "raise" would copy twice
        else:
            out[...] = self.take(positions)

    def take_valid(self, positions: Positions) -> npt.NDArray[np.bool_]:
        """Whether there is a value at positions that lie in [0, n)."""
        if self.valid is None:
            return np.ones(positions.shape, np.bool_)
        valid: npt.NDArray[np.bool_] = _array(self.valid).take(positions)
        return valid

    @staticmethod
    def _translated(
        codes: npt.NDArray[np.int32], translation: npt.NDArray[np.int32]
    ) -> npt.NDArray[np.int32]:
        check_codes(codes, len(translation) - 1, what="a column of texts")
        translated: npt.NDArray[np.int32] = translation[codes]
        return translated


def check_codes(codes: npt.NDArray[np.int32], num_strings: int, *, what: str) -> None:
    """Check that every code has a text, or is `NO_TEXT`.

    Raises:
        StoreDamagedError: one has not.
    """
    # As uint32, NO_TEXT is the largest number: one look finds every code that is right.
    if codes.size and codes.view(np.uint32).max() >= num_strings and not _all_known(codes, num_strings):
        code = codes[(codes >= num_strings) | (codes < NO_TEXT)].reshape(-1)[0]
        raise StoreDamagedError(
            f"{what}: code {code}, and the list has {counted(num_strings, 'text')}; run cache-verify, and write the "
            "columns again with cache-build --columns"
        )


def _all_known(codes: npt.NDArray[np.int32], num_strings: int) -> bool:
    return bool(codes.max() < num_strings and codes.min() >= NO_TEXT)


def _array(values: npt.NDArray[Any] | MappedArray) -> npt.NDArray[Any]:
    return values.array if isinstance(values, MappedArray) else values


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column of a store. Texts are kept as codes, int32, and a list."""

    name: str
    scope: ColumnScope
    parts: tuple[ColumnPart, ...]
    """In the order of rows or videos."""
    strings: tuple[str, ...] | None = None
    """The text of each code; None for a column of numbers or booleans."""

    def __post_init__(self) -> None:
        """Check the name, and that all parts hold values of one kind.

        Raises:
            ColumnError: a wrong name or kind, or parts that differ.
        """
        check_column_name(self.name)
        if not self.parts:
            raise ColumnError(f"column {self.name!r}: it has no parts")
        for part in self.parts:
            if (part.values.dtype, part.values.shape[1:]) != (self.dtype, self.shape):
                raise ColumnError(
                    f"column {self.name!r}: {self.kind_text} in one part, {part.values.dtype} of shape "
                    f"{part.values.shape[1:]} in another"
                )
            if part.valid is not None and (
                part.valid.shape != (len(part),) or part.valid.dtype != np.dtype(np.bool_)
            ):
                raise ColumnError(f"column {self.name!r}: valid must be booleans of shape ({len(part)},)")
        try:
            check_kind(self.dtype, self.shape)
        except ColumnError as error:
            raise ColumnError(f"column {self.name!r}: {error}") from error
        if self.strings is not None and (self.dtype != np.int32 or self.shape):
            raise ColumnError(
                f"column {self.name!r}: codes of texts are int32 of shape (), found {self.kind_text}"
            )

    @classmethod
    def of(
        cls,
        name: str,
        scope: ColumnScope,
        values: npt.NDArray[Any],
        *,
        valid: npt.NDArray[np.bool_] | None = None,
        strings: Sequence[str] | None = None,
    ) -> "Column":
        """A column of one part: `values` have shape (n, *shape), `valid` has (n,)."""
        return cls(
            name=name,
            scope=scope,
            parts=(ColumnPart(values=values, valid=valid),),
            strings=None if strings is None else tuple(strings),
        )

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the numbers; int32 for texts."""
        return self.parts[0].values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one value; () for a single number, boolean or text."""
        return tuple(self.parts[0].values.shape[1:])

    @property
    def kind_text(self) -> str:
        """Dtype and shape in words."""
        return f"{'text' if self.strings is not None else self.dtype} of shape {self.shape}"

    @property
    def may_miss_values(self) -> bool:
        """Whether a value can be missing."""
        return any(part.valid is not None for part in self.parts)

    @property
    def num_missing(self) -> int:
        """Values that are missing; reads all masks."""
        return sum(
            len(part) - int(np.count_nonzero(_array(part.valid)))
            for part in self.parts
            if part.valid is not None
        )

    @cached_property
    def _ends(self) -> Positions:
        return np.cumsum([len(part) for part in self.parts], dtype=np.int64)

    def __len__(self) -> int:
        """Rows of the column: decoded frames, or videos."""
        return int(self._ends[-1])

    def gather(self, positions: npt.ArrayLike, out: npt.NDArray[Any] | None = None) -> npt.NDArray[Any]:
        """Values at rows or video_ids, in request order: shape (*positions.shape, *shape).

        A missing value is 0, False or the code -1. `out`, if given, is a C-contiguous array of that shape and the
        dtype of the column; it is filled and returned.

        Raises:
            FrameIdError: a position outside [0, len(column)).
            StoreDamagedError: the file is missing or not what was written, or a code has no text.
            ValueError: another shape or dtype of `out`.
        """
        checked = check_positions(positions, len(self), what=f"column {self.name!r}")
        shape = (*checked.shape, *self.shape)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.flags.c_contiguous:
            raise ValueError(
                f"column {self.name!r}: out must be C-contiguous {self.dtype} of shape {shape}, found {out.dtype} "
                f"{out.shape}"
            )
        self.gather_checked(checked, out)
        return out

    def gather_checked(self, positions: Positions, out: npt.NDArray[Any]) -> None:
        """As `gather`, for positions and memory that were checked."""
        if len(self.parts) == 1:
            self.parts[0].take_into(positions, out)
        else:
            for part, is_of_part, local in self._split(positions):
                out[is_of_part] = part.take(local)
        self._check_codes(out)

    def take(self, positions: Positions) -> npt.NDArray[Any]:
        """As `gather`, for positions of 0 or more in int64; the quickest way for a batch.

        Raises:
            IndexError: a position of len(column) or more.
            StoreDamagedError: as `gather`.
        """
        if len(self.parts) == 1:
            values = self.parts[0].take(positions)
        else:
            values = np.empty((*positions.shape, *self.shape), self.dtype)
            for part, is_of_part, local in self._split(positions):
                values[is_of_part] = part.take(local)
        self._check_codes(values)
        return values

    def _check_codes(self, values: npt.NDArray[Any]) -> None:
        if self.strings is not None:
            check_codes(values, len(self.strings), what=f"column {self.name!r}")

    def gather_valid(self, positions: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Whether there is a value at each position: bool of the same shape.

        Raises:
            FrameIdError: as `gather`.
        """
        return self.take_valid(check_positions(positions, len(self), what=f"column {self.name!r}"))

    def take_valid(self, positions: Positions) -> npt.NDArray[np.bool_]:
        """As `gather_valid`, for positions of 0 or more in int64.

        Raises:
            IndexError: a position of len(column) or more.
        """
        if len(self.parts) == 1:
            return self.parts[0].take_valid(positions)
        valid = np.empty(positions.shape, np.bool_)
        for part, is_of_part, local in self._split(positions):
            valid[is_of_part] = part.take_valid(local)
        return valid

    def _split(self, positions: Positions) -> list[tuple[ColumnPart, npt.NDArray[np.bool_], Positions]]:
        """The parts that hold the positions, where these are in `positions`, and their places in the part."""
        numbers = np.searchsorted(self._ends, positions, side="right")
        found = []
        for number in np.unique(numbers).tolist():
            is_of_part = numbers == number
            part = self.parts[number]
            found.append((part, is_of_part, positions[is_of_part] - (self._ends[number] - len(part))))
        return found

    def text_of(self, code: int) -> str | None:
        """The text of a code; None for the code of a missing text.

        Raises:
            ValueError: a column of numbers or booleans.
            IndexError: no such code.
        """
        if self.strings is None:
            raise ValueError(f"column {self.name!r} has {self.kind_text}, not texts")
        if not NO_TEXT <= code < len(self.strings):
            raise IndexError(
                f"column {self.name!r} has {counted(len(self.strings), 'text')}, found code {code}"
            )
        return None if code == NO_TEXT else self.strings[code]

    def __repr__(self) -> str:
        return f"Column({self.name!r}, per {self.scope}, {self.kind_text}, {counted(len(self), 'row')})"


def check_positions(positions: npt.ArrayLike, length: int, *, what: str) -> Positions:
    """Positions as int64.

    Raises:
        FrameIdError: a position outside [0, length), or no whole number.
    """
    array = np.asarray(positions)
    if array.size == 0:
        return array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise FrameIdError(f"{what}: positions must be whole numbers, found {array.dtype}")
    if array.min() < 0 or array.max() >= length:
        outside = array[(array < 0) | (array >= length)].reshape(-1)[0]
        raise FrameIdError(f"{what}: position {outside} is outside [0, {length})")
    return array.astype(np.int64, copy=False)
