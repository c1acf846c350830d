"""A case: one row of `cache-bench`, with what is measured, how, and what it is compared with."""

from dataclasses import dataclass
from typing import Literal

from frame_cache_tools.bench.measure.slices import ImageSource, SliceRule

Group = Literal["usual loader", "LeRobot", "live", "cached", "object store", "other loaders", "GPU", "limits"]

MOST, MORE, LESS = 0, 1, 2
"""Priorities where time is short: `MOST` for what every comparison needs."""


@dataclass(frozen=True, kw_only=True)
class BenchCase:
    """One row before it is measured."""

    name: str
    group: Group
    """The schedule assumes that rows of one group and priority take about the same time."""
    source: ImageSource
    rule: SliceRule
    limit: str | None = None
    """Name of the row that limits this one."""
    cache: str | None = None
    sampling: str | None = None
    augmented: bool = False
    effective_batch: float | None = None
    """The effective batch that `cache-bias` reports; None where it is not known."""
    images_to_first_batch: int | None = None
    """Usual loader: images made before the first batch is complete, one batch for each worker."""
    priority: int = LESS
    seconds_expected: float = 3.0
    """Time of a slice on a slow machine, set-up included, until a row like it has been measured."""
