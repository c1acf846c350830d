"""Which columns the batches of a loader have."""

from collections.abc import Iterable
from typing import TypeAlias

from frame_store.columns import NO_COLUMNS, Columns
from frame_store.errors import ColumnError
from frame_store.protocol import FrameStore
from frame_store.views import Concatenation, JoinedGroup, base_of
from loader.errors import SamplingError, warn_caller
from loader.windows import WindowSpec

ColumnChoice: TypeAlias = Columns | Iterable[str] | None
"""Names of columns of the store, `()` for none; or what `join_columns` gave. None takes all that the store has."""


def chosen_columns(store: FrameStore, columns: ColumnChoice) -> Columns:
    """The columns that batches of `store` have.

    Warns where `columns` is None and a `concat` leaves out columns that not all of its stores have.

    Raises:
        SamplingError: no such column, columns that were joined to another store, or no names.
        StoreError: the columns of the cache are damaged.
    """
    base = base_of(store)
    own: Columns = getattr(base, "columns", NO_COLUMNS)
    if columns is None:
        if isinstance(base, Concatenation | JoinedGroup) and (dropped := base.dropped_columns):
            names = ", ".join(map(repr, dropped))
            warn_caller(f"columns that not all stores of the concat have are left out: {names}")
        return own
    if isinstance(columns, Columns):
        if columns and columns.fingerprint != base.fingerprint:
            raise SamplingError(
                f"columns={columns!r} were joined to another store (fingerprint {columns.fingerprint[:16]}, this "
                f"one has {base.fingerprint[:16]}); call join_columns with this store"
            )
        return columns
    if isinstance(columns, str) or not isinstance(columns, Iterable):
        raise SamplingError(
            f"columns must be a list of names, such as ['action'], or what join_columns gave; found {columns!r}"
        )
    try:
        return own.select(columns)
    except ColumnError as error:
        raise SamplingError(f"columns: {error}") from error


def check_column_offsets(columns: Columns, spec: WindowSpec) -> None:
    """Refuse offsets of a column that has one value for a video.

    Raises:
        SamplingError: there is such a column.
    """
    for option in ("column_offsets", "column_offsets_seconds"):
        for name in getattr(spec, option):
            if name in columns and columns[name].scope == "video":
                raise SamplingError(
                    f"{option}: column {name!r} has one value for a video; leave it out, and the batch has it without "
                    "offsets"
                )
