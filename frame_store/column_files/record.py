"""`columns.json`: which columns a generation has, and the hashes of their files (FORMAT.md section 4.2)."""

import hashlib
from pathlib import Path
from typing import Final

import numpy as np

from frame_store.columns import DTYPES, ColumnScope, check_column_names, check_kind
from frame_store.errors import StoreDamagedError
from frame_store.files import read_inside
from frame_store.frame_findings import Record
from frame_store.manifest import ColumnsEntry, FileEntry, JsonValue, decode_signed, encode_signed
from frame_store.names import COLUMNS_NAME
from frame_store.shared import raise_if_out_of_files

MAX_COLUMNS_BYTES: Final = 1 << 26
"""64 MiB, far more than 10,000 columns take."""
MAX_TEXTS_BYTES: Final = 1 << 29


def values_name(number: int) -> str:
    """Name of the file with the values of column `number`: `0000.npy`."""
    return f"{number:04d}.npy"


def codes_name(number: int) -> str:
    """Name of the file with the texts of its codes."""
    return f"{number:04d}.codes.json"


def valid_name(number: int) -> str:
    """Name of the file that marks missing values."""
    return f"{number:04d}.valid.npy"


class ColumnEntry(Record, frozen=True, kw_only=True):
    """A column and its files."""

    name: str
    scope: ColumnScope
    dtype: str
    """As numpy writes it, such as `<f4`."""
    shape: list[int]
    """Of one value."""
    num_missing: int
    values: FileEntry
    """Shape (R or V, *shape)."""
    codes: FileEntry | None
    """A JSON list of texts, without repeats: code k is the text k. None for numbers and booleans."""
    valid: FileEntry | None
    """Booleans, False where the value is missing; None where none is."""

    def __post_init__(self) -> None:
        """Refuse what no column is."""
        if self.dtype not in DTYPES:  # numpy must not parse it: some texts end the process
            raise ValueError(
                f"dtype of {self.name[:100]!r} must be one of {', '.join(sorted(DTYPES))}, found {self.dtype[:100]!r}"
            )
        check_kind(np.dtype(self.dtype), tuple(self.shape))
        if self.codes is not None and (self.dtype != "<i4" or self.shape):
            raise ValueError(
                f"codes of {self.name!r} must be <i4 of shape [], found {self.dtype} of {self.shape}"
            )
        if (self.valid is None) != (self.num_missing == 0) or self.num_missing < 0:
            raise ValueError(f"num_missing of {self.name!r} is {self.num_missing}, and valid does not fit it")

    @property
    def files(self) -> list[FileEntry]:
        """The files of the column."""
        return [entry for entry in (self.values, self.codes, self.valid) if entry is not None]


class ColumnsRecord(Record, frozen=True, kw_only=True):
    """The columns of a generation."""

    generation: str
    """Fingerprint of the generation."""
    num_rows: int
    """Decoded frames of the generation."""
    num_videos: int
    columns: list[ColumnEntry]
    """Sorted by name."""
    dataset: dict[str, JsonValue] | None
    """What the data set, whose columns these are, states about itself, such as LeRobot's `info`, `tasks` and `stats`;
    None for columns of plain tables. Informative."""

    def __post_init__(self) -> None:
        """Check names, and that each file has the name of its column."""
        names = check_column_names([column.name for column in self.columns])
        if names != sorted(names):
            raise ValueError("columns must be sorted by name")
        if not names:
            raise ValueError("there are no columns")
        if self.num_rows < 0 or self.num_videos < 1:
            raise ValueError(f"num_rows is {self.num_rows}, num_videos is {self.num_videos}")
        for number, column in enumerate(self.columns):
            expected = [
                values_name(number),
                *([codes_name(number)] if column.codes is not None else []),
                *([valid_name(number)] if column.valid is not None else []),
            ]
            found = [entry.name for entry in column.files]
            if found != expected:
                raise ValueError(
                    f"files of column {number} must be {expected}, found {[name[:100] for name in found]}"
                )

    @property
    def files(self) -> list[FileEntry]:
        """The files of all columns."""
        return [entry for column in self.columns for entry in column.files]


def encode_columns(record: ColumnsRecord) -> bytes:
    """The bytes of `columns.json`. Equal records give equal bytes."""
    return encode_signed(record)


def read_columns_record(store_path: Path, entry: ColumnsEntry) -> ColumnsRecord:
    """What `columns.json` of the folder `entry` of the cache at `store_path` states.

    Raises:
        StoreDamagedError: the file is missing, a link, cannot be read, or has another SHA-256 than the manifest states.
        StoreFormatError: a missing, unknown or ill-typed key, or values that contradict each other.
        OSError: no more files can be opened.
    """
    name = f"{entry.folder}/{COLUMNS_NAME}"
    path = store_path / name
    try:
        raw = read_inside(store_path, name, max_bytes=MAX_COLUMNS_BYTES)
    except OSError as error:
        raise_if_out_of_files(error)
        raise StoreDamagedError(f"{path}: {error.strerror}; {remedy(store_path)}") from error
    if hashlib.sha256(raw).hexdigest() != entry.digest:
        raise StoreDamagedError(f"{path}: sha256 differs from the manifest's; {remedy(store_path)}")
    return decode_signed(raw, ColumnsRecord, name=str(path))


def remedy(cache: Path | str) -> str:
    """What to do about damaged columns."""
    return f"run cache-verify on {cache}; cache-build --columns writes columns again"
