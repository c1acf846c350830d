"""Which row is measured when, and for how long: interleaved rounds within a deadline.

Without one, every round holds every row, in rotated order. With one, rows that matter most come first in every round,
and a row is begun only if what rows like it have taken so far still fits, beside the rows that matter more
and are still to come. Each may use its share of what is left, and is cut off then.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from frame_cache_tools.bench.measure.budget import Deadline
from frame_cache_tools.bench.measure.process import SourceFailedError, TimeUpError
from frame_cache_tools.bench.measure.rounds import Rounds, rotated_order
from frame_cache_tools.bench.measure.slices import Slice

MOST_SECONDS_A_ROW = 1800.0
"""Of a round, whatever the budget: what takes longer hangs."""
_MOST_OF_THE_REST = 0.3
"""Of what is left, for one row in the first round."""
_SECONDS_WORTH_BEGINNING = 1.0
_SLACK = 3.0
"""A row may take this many times as long as is expected, if that is there."""


class Schedulable(Protocol):
    """A row, as far as its place in a run goes."""

    @property
    def name(self) -> str:
        """Tells it from the others."""
        ...

    @property
    def group(self) -> str:
        """Rows of one group and priority take about as long as each other."""
        ...

    @property
    def priority(self) -> int:
        """0 for what matters most."""
        ...

    @property
    def seconds_expected(self) -> float:
        """Before anything like it has been measured."""
        ...


Row = TypeVar("Row", bound=Schedulable)


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The time that a row may take, or why it gets none."""

    seconds: float = 0.0
    why_none: str | None = None


def run_rounds(
    rows: Sequence[Row],
    measure: Callable[[Row, float], Slice],
    *,
    num_rounds: int,
    seconds_allowed: Callable[[Row], float],
    deadline: Deadline,
    into: Rounds,
    say: Callable[[int, Row], None],
) -> None:
    """Measure all rows in `num_rounds` rounds, as far as time allows, writing into `into` as it goes.

    `measure(row, seconds)` raises `TimeUpError` or gives a piece where it takes longer. A row that has used up what
    it is allowed over all rounds, set-up included, is not measured again, and neither is one that failed.
    """
    for number in range(num_rounds):
        waiting = [
            row
            for row in rows
            if row.name not in into.failures and into.seconds_spent.get(row.name, 0.0) < seconds_allowed(row)
        ]
        order = _order(waiting, number, num_rounds=num_rounds, deadline=deadline)
        for place, row in enumerate(order):
            allowance = allow(row, order[place + 1 :], left=deadline.left(), round_number=number, so_far=into)
            if allowance.why_none is not None:
                if row.name not in into.slices:
                    into.no_time.setdefault(row.name, allowance.why_none)
                continue
            say(number, row)
            _measure(row, number, measure, seconds=allowance.seconds, into=into, clock=deadline.clock)


def allow(row: Row, to_come: Sequence[Row], *, left: float, round_number: int, so_far: Rounds) -> Allowance:
    """The seconds for a row, with `left` until the deadline and the rows that follow it in this round."""
    if math.isinf(left):
        return Allowance(seconds=MOST_SECONDS_A_ROW)
    expected = seconds_of(row, so_far)
    kept = sum(seconds_of(other, so_far) for other in to_come if other.priority < max(1, row.priority))
    if row.priority == 0 and round_number == 0:
        if left < _SECONDS_WORTH_BEGINNING:
            return Allowance(why_none=f"{left:.0f} s were left")
        share = max(left * expected / (expected + kept), left - kept)
        return Allowance(seconds=min(share, max(_MOST_OF_THE_REST * left, _SECONDS_WORTH_BEGINNING)))
    if expected > left - kept or left < _SECONDS_WORTH_BEGINNING:
        return Allowance(
            why_none=f"it would take about {expected:.0f} s, {max(0.0, left - kept):.0f} s were left"
        )
    return Allowance(seconds=min(left - kept, max(_SLACK * expected, _SECONDS_WORTH_BEGINNING)))


def seconds_of(row: Schedulable, so_far: Rounds) -> float:
    """What a row is expected to take: as long as the last time, else as long as the slowest of its like took."""
    last = so_far.last_seconds.get(row.name)
    if last is not None:
        return (
            1.5 * last if row.name in so_far.no_time else last
        )  # it was cut off then, before it gave a figure
    kind = (row.group, row.priority)
    alike = so_far.slowest.get(kind)
    return row.seconds_expected if alike is None else alike


def _order(rows: Sequence[Row], number: int, *, num_rounds: int, deadline: Deadline) -> list[Row]:
    """Rotated from round to round; with a deadline, what matters most first, and in the first round the quickest."""
    if deadline.is_never:
        return rotated_order(rows, number, num_rounds=num_rounds)
    if number == 0:
        return sorted(rows, key=lambda row: (row.priority, row.seconds_expected))
    return sorted(rotated_order(rows, number, num_rounds=num_rounds), key=lambda row: row.priority)


def _measure(
    row: Row,
    number: int,
    measure: Callable[[Row, float], Slice],
    *,
    seconds: float,
    into: Rounds,
    clock: Callable[[], float],
) -> None:
    started = clock()
    try:
        piece = measure(row, seconds)
    except SourceFailedError as error:
        into.failures[row.name] = str(error)
        return
    except TimeUpError:
        if row.name not in into.slices:
            into.no_time[row.name] = f"cut off after {seconds:.0f} s, before it gave a figure"
    else:
        into.slices.setdefault(row.name, {})[number] = piece
        into.no_time.pop(row.name, None)
    took = clock() - started
    into.seconds_spent[row.name] = into.seconds_spent.get(row.name, 0.0) + took
    into.last_seconds[row.name] = took
    kind = (row.group, row.priority)
    into.slowest[kind] = max(took, into.slowest.get(kind, 0.0))
