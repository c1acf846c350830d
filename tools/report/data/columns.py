"""Columns at a glance: how much is missing, the range, how often values occur, and curves along one video."""

from collections import Counter
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from frame_cache_tools.report.data.records import ColumnFacts, Curve
from frame_cache_tools.report.data.video_records import Bar

from frame_store import Column
from frame_store.columns import NO_TEXT
from frame_store.shared import counted_in_groups
from frame_store.source_order import SourceOrder
from frame_store.video_table import VideoTable

MAX_COLUMNS: Final = 40
MAX_VALUES: Final = 20_000
"""Values of a column that are read for range and bars; more rows are sampled evenly."""
MAX_CURVES: Final = 6
POINTS: Final = 160
NUM_BARS: Final = 20
MAX_TEXTS: Final = 8


def column_facts(column: Column, order: SourceOrder, videos: VideoTable) -> ColumnFacts:
    """A column at a glance.

    Raises:
        StoreDamagedError: its files are damaged.
    """
    number = len(column)
    width = max(1, int(np.prod(column.shape, dtype=np.int64)))
    at_most = max(1, MAX_VALUES // width)
    rows = np.arange(number) if number <= at_most else np.arange(at_most) * number // at_most
    values, valid = column.take(rows), column.take_valid(rows)
    facts: dict[str, Any] = {
        "name": column.name,
        "scope": column.scope,
        "kind": _kind_text(column),
        "num_rows": number,
        "num_missing": column.num_missing,
        "num_sampled": len(rows),
        "num_not_finite": 0,
        "minimum": None,
        "maximum": None,
        "mean": None,
        "bars": (),
        "num_other_texts": 0,
        "curves": (),
        "curves_of": "",
        "num_curves_left_out": 0,
    }
    if column.strings is not None:
        facts |= _texts(column, values)
    else:
        facts |= _numbers(values[valid])
        if column.scope == "frame":
            facts |= _curves(column, order, videos, width=width)
    return ColumnFacts(**facts)


def _kind_text(column: Column) -> str:
    """The type of a value, in words."""
    if column.strings is not None:
        return f"{counted_in_groups(len(column.strings), 'different text')}"
    shape = " x ".join(map(str, column.shape))
    return f"{shape} {column.dtype.name}" if shape else column.dtype.name


def _texts(column: Column, codes: npt.NDArray[Any]) -> dict[str, Any]:
    counts = Counter(codes.reshape(-1).tolist())
    counts.pop(NO_TEXT, None)
    texts = {code: column.text_of(code) or "" for code in counts}
    ranked = sorted(counts.items(), key=lambda item: (-item[1], texts[item[0]]))
    return {
        "bars": tuple(Bar(label=texts[code], count=count) for code, count in ranked[:MAX_TEXTS]),
        "num_other_texts": max(0, len(ranked) - MAX_TEXTS),
    }


def _numbers(values: npt.NDArray[Any]) -> dict[str, Any]:
    if values.dtype == np.bool_:
        true = int(values.sum())
        return {"bars": (Bar(label="False", count=values.size - true), Bar(label="True", count=true))}
    flat = values.reshape(-1).astype(np.float64)
    finite = flat[np.isfinite(flat)]
    facts: dict[str, Any] = {"num_not_finite": len(flat) - len(finite)}
    if not len(finite):
        return facts
    low, high = float(finite.min()), float(finite.max())
    facts |= {"minimum": low, "maximum": high, "mean": float(finite.mean())}
    different = np.unique(finite)
    if len(different) <= NUM_BARS and np.array_equal(different, np.rint(different)):
        counts = [(f"{value:g}", int((finite == value).sum())) for value in different.tolist()]
    elif np.isfinite(high - low) and high > low:
        held, edges = np.histogram(finite, bins=NUM_BARS, range=(low, high))
        pairs = zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
        counts = [
            (f"{start:.3g} to {end:.3g}", count)
            for (start, end), count in zip(pairs, held.tolist(), strict=True)
        ]
    else:
        counts = [(f"{low:.3g}", len(finite))]
    return facts | {"bars": tuple(Bar(label=label, count=count) for label, count in counts)}


def _curves(column: Column, order: SourceOrder, videos: VideoTable, *, width: int) -> dict[str, Any]:
    """The values along the video of middle length."""
    lengths = np.diff(order.first_row)
    if not len(lengths) or not lengths.max():
        return {}
    video_id = int(np.argsort(lengths, kind="stable")[len(lengths) // 2])
    if not lengths[video_id]:
        video_id = int(lengths.argmax())
    first, length = int(order.first_row[video_id]), int(lengths[video_id])
    count = min(length, POINTS)
    rows = first + np.arange(count, dtype=np.int64) * length // count
    values = column.take(rows).reshape(count, -1).astype(np.float64)
    values[~column.take_valid(rows)] = np.nan
    return {
        "curves": tuple(
            Curve(
                label=_index_text(column.shape, number),
                values=tuple(value if np.isfinite(value) else None for value in values[:, number].tolist()),
            )
            for number in range(min(width, MAX_CURVES))
        ),
        "curves_of": videos[video_id].path,
        "num_curves_left_out": max(0, width - MAX_CURVES),
    }


def _index_text(shape: tuple[int, ...], number: int) -> str:
    """The index of one number of a value: `[3]`, or `[0, 2]`; empty for a single number."""
    if not shape:
        return ""
    return f"[{', '.join(str(int(place)) for place in np.unravel_index(number, shape))}]"
