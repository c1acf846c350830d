"""The order of measurements and the time of each: interleaved rounds within a deadline.

Without a deadline, every round measures every row, in rotated order. With a deadline, rows of a higher priority come
first in every round. A row is begun only if the time that similar rows took still fits beside the rows of a higher
priority that are still to come. Each row gets a share of the remaining time and is cut off when it is used up.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from frame_cache_tools.bench.measure.budget import Deadline
from frame_cache_tools.bench.measure.case import BenchCase
from frame_cache_tools.bench.measure.process import SourceFailedError, TimeUpError
from frame_cache_tools.bench.measure.rounds import Rounds
from frame_cache_tools.bench.measure.slices import Slice

MOST_SECONDS_A_ROW = 1800.0
"""Limit of a row in a round, whatever the budget: a row that takes longer hangs."""
_MOST_OF_THE_REST = 0.3
"""Largest share of the remaining time for one row in the first round."""
_LEAST_SECONDS_OF_A_ROW = 1.0
_SLACK = 3.0
"""A row may take this many times the expected time, if there is as much time left."""


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """The time that a row may take, or why it gets none."""

    seconds: float = 0.0
    why_none: str | None = None


def run_rounds(
    rows: Sequence[BenchCase],
    measure: Callable[[BenchCase, float], Slice],
    *,
    num_rounds: int,
    seconds_allowed: Callable[[BenchCase], float],
    deadline: Deadline,
    into: Rounds,
    say: Callable[[int, BenchCase], None],
) -> None:
    """Measure all rows in `num_rounds` rounds, as far as time allows, and add the results to `into` one by one.

    `measure(row, seconds)` gives a slice within `seconds`, perhaps an incomplete one, or raises `TimeUpError`. A row
    is not measured again once it has failed, or has used up its allowed time over all rounds, set-up included.
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


def allow(
    row: BenchCase, to_come: Sequence[BenchCase], *, left: float, round_number: int, so_far: Rounds
) -> Allowance:
    """The seconds for a row, with `left` seconds until the deadline and `to_come` after it in this round."""
    if math.isinf(left):
        return Allowance(seconds=MOST_SECONDS_A_ROW)
    expected = seconds_of(row, so_far)
    kept = sum(seconds_of(other, so_far) for other in to_come if other.priority < max(1, row.priority))
    if row.priority == 0 and round_number == 0:
        if left < _LEAST_SECONDS_OF_A_ROW:
            return Allowance(why_none=f"{left:.0f} s were left")
        share = max(left * expected / (expected + kept), left - kept)
        return Allowance(seconds=min(share, max(_MOST_OF_THE_REST * left, _LEAST_SECONDS_OF_A_ROW)))
    if expected > left - kept or left < _LEAST_SECONDS_OF_A_ROW:
        return Allowance(
            why_none=f"it would take about {expected:.0f} s, {max(0.0, left - kept):.0f} s were left"
        )
    return Allowance(seconds=min(left - kept, max(_SLACK * expected, _LEAST_SECONDS_OF_A_ROW)))


def seconds_of(row: BenchCase, so_far: Rounds) -> float:
    """Time that a row is expected to take: its own last time, else the longest time of a similar row."""
    last = so_far.last_seconds.get(row.name)
    if last is not None:
        # A row in `no_time` was cut off before it gave a figure, so it takes longer than its last time.
        return 1.5 * last if row.name in so_far.no_time else last
    return so_far.slowest.get((row.group, row.priority), row.seconds_expected)


def _order(rows: Sequence[BenchCase], number: int, *, num_rounds: int, deadline: Deadline) -> list[BenchCase]:
    """Each round starts with another row. With a deadline, rows are then sorted by priority.

    In the first round before a deadline, rows of one priority are sorted by their expected time instead.
    """
    if number == 0 and not deadline.is_never:
        return sorted(rows, key=lambda row: (row.priority, row.seconds_expected))
    start = number * len(rows) // num_rounds
    rotated = [*rows[start:], *rows[:start]]
    return rotated if deadline.is_never else sorted(rotated, key=lambda row: row.priority)


def _measure(
    row: BenchCase,
    number: int,
    measure: Callable[[BenchCase, float], Slice],
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
