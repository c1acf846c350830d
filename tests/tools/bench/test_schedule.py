"""The schedule of `cache-bench` within its budget: important rows first, no overrun, and a reason for each lost row.

The clock is a number that fake rows advance, so no test waits.
"""

import math
from dataclasses import dataclass

import pytest
from frame_cache_tools.bench.measure.budget import Budget, Deadline
from frame_cache_tools.bench.measure.process import SourceFailedError, TimeUpError
from frame_cache_tools.bench.measure.rounds import Rounds
from frame_cache_tools.bench.measure.schedule import MOST_SECONDS_A_ROW, allow, run_rounds
from frame_cache_tools.bench.measure.slices import Slice
from hypothesis import given
from hypothesis import strategies as st


@dataclass(frozen=True)
class Row:
    """A row that takes `cost` seconds. From `tells_after` on it has a result, even if it is cut off."""

    name: str
    cost: float = 1.0
    priority: int = 0
    group: str = "cached"
    seconds_expected: float = 1.0
    tells_after: float = math.inf
    fails: bool = False


class Machine:
    """A clock, and rows that advance it."""

    def __init__(self, *, seconds=math.inf, overrun=0.0):
        self.now = 1000.0
        self.deadline = Deadline(at=self.now + seconds, clock=lambda: self.now)
        self.overrun = overrun
        self.asked = []
        """Round, name, seconds given."""
        self.rounds = Rounds()

    def run(self, rows, *, num_rounds=1, allowed=math.inf):
        numbers = {}

        def measure(row, seconds):
            self.asked.append((numbers["round"], row.name, seconds))
            self.now += min(row.cost, seconds) + self.overrun
            if row.fails:
                raise SourceFailedError("no such thing")
            if row.cost <= seconds:
                return Slice(images=10, seconds=row.cost, seconds_to_first_batch=None)
            if row.tells_after <= seconds:
                return Slice(images=4, seconds=seconds, seconds_to_first_batch=None, is_cut=True)
            raise TimeUpError(seconds)

        run_rounds(
            rows,
            measure,
            num_rounds=num_rounds,
            seconds_allowed=lambda row: allowed,
            deadline=self.deadline,
            into=self.rounds,
            say=lambda number, row: numbers.update(round=number),
        )
        return self.rounds

    @property
    def order(self):
        return [(number, name) for number, name, _ in self.asked]


def test_without_a_budget_rounds_are_interleaved_in_rotated_order():
    machine = Machine()
    rounds = machine.run([Row("a", priority=2), Row("b", priority=0)], num_rounds=2)
    assert machine.order == [(0, "a"), (0, "b"), (1, "b"), (1, "a")]
    assert {seconds for _, _, seconds in machine.asked} == {MOST_SECONDS_A_ROW}
    assert rounds.rates("a") == {0: 10.0, 1: 10.0}
    assert rounds.no_time == {}


@given(st.integers(1, 9), st.integers(1, 6))
def test_every_round_holds_every_row_once_in_the_same_circle(num_rows, num_rounds):
    names = [str(number) for number in range(num_rows)]
    machine = Machine()
    machine.run([Row(name) for name in names], num_rounds=num_rounds)
    starts = set()
    for number in range(num_rounds):
        order = [name for of_round, name in machine.order if of_round == number]
        start = names.index(order[0])
        assert order == names[start:] + names[:start]
        starts.add(start)
    assert len(starts) == min(num_rounds, num_rows)


def test_a_failed_row_is_reported_and_not_measured_again():
    machine = Machine()
    rounds = machine.run([Row("a"), Row("b", fails=True)], num_rounds=2)
    assert rounds.failures == {"b": "no such thing"}
    assert (1, "b") not in machine.order
    assert set(rounds.slices) == {"a"}


def test_a_slow_row_is_measured_once_at_least_and_no_more_when_its_time_is_used_up():
    machine = Machine()
    rounds = machine.run([Row("slow", cost=10.0), Row("fast")], num_rounds=5, allowed=15.0)
    assert len(rounds.slices["slow"]) == 2
    assert len(rounds.slices["fast"]) == 5


def test_an_interruption_leaves_what_was_measured():
    machine = Machine()
    rounds = machine.rounds

    def measure(row, seconds):
        if len(rounds.slices) == 2:
            raise KeyboardInterrupt
        return Slice(images=3, seconds=1.0, seconds_to_first_batch=None)

    with pytest.raises(KeyboardInterrupt):
        run_rounds(
            [Row("a"), Row("b"), Row("c")],
            measure,
            num_rounds=1,
            seconds_allowed=lambda row: math.inf,
            deadline=machine.deadline,
            into=rounds,
            say=lambda number, row: None,
        )
    assert set(rounds.slices) == {"a", "b"}


def test_what_matters_most_comes_first_and_then_the_quickest():
    machine = Machine(seconds=100)
    machine.run(
        [
            Row("mode", priority=2),
            Row("look-ahead", priority=1, seconds_expected=9),
            Row("raw", priority=1),
            Row("live", priority=0, seconds_expected=5),
            Row("limit", priority=0),
        ]
    )
    assert [name for _, name in machine.order] == ["limit", "live", "raw", "look-ahead", "mode"]


def test_later_rounds_are_rotated_among_rows_that_matter_alike():
    rows = [Row("a", priority=1), Row("b"), Row("c", priority=1), Row("d")]
    machine = Machine(seconds=100)
    machine.run(rows, num_rounds=2)
    assert [name for number, name in machine.order if number == 1] == ["d", "b", "c", "a"]
    machine = Machine(seconds=7.5)
    rounds = machine.run(rows, num_rounds=2)
    assert [name for number, name in machine.order if number == 1] == ["d", "b", "c"]
    assert rounds.no_time == {}  # each has a figure, of fewer rounds


def test_a_row_that_does_not_fit_is_named_with_what_it_would_take():
    machine = Machine(seconds=10)
    rounds = machine.run(
        [Row("most", cost=3.0), Row("slow", priority=1, seconds_expected=8), Row("quick", priority=2)]
    )
    assert rounds.no_time == {"slow": "it would take about 8 s, 7 s were left"}
    assert set(rounds.slices) == {"most", "quick"}


def test_what_rows_of_its_kind_took_counts_more_than_what_was_expected():
    machine = Machine(seconds=30)
    rows = [Row(str(number), cost=9.0, priority=1) for number in range(4)]
    rounds = machine.run(rows)
    # 1 s was expected of each, so the first may have three times that. It is cut; the others are judged by it.
    assert machine.asked[0][2] == 3.0
    assert rounds.no_time["0"] == "cut off after 3 s, before it gave a figure"
    assert machine.now <= 1030


def test_a_row_does_not_take_the_time_of_one_that_matters_more_and_is_still_to_come():
    less, most = Row("less", priority=1, seconds_expected=1.0), Row("most", seconds_expected=8.0)
    found = [allow(less, [most], left=left, round_number=1, so_far=Rounds()) for left in (8.5, 9.5, 30.0)]
    assert found[0].why_none == "it would take about 1 s, 0 s were left"
    assert [each.seconds for each in found[1:]] == [1.5, 3.0]


def test_a_row_that_hangs_is_cut_off_at_its_share_and_the_others_are_measured():
    rows = [
        Row("usual", cost=math.inf, group="usual loader", seconds_expected=8),
        Row("live", cost=5.0, group="live", seconds_expected=8.5),
        Row("cached"),
        Row("limit", group="limits"),
        Row("mode", priority=2),
    ]
    machine = Machine(seconds=60)
    rounds = machine.run(rows, num_rounds=2)
    assert {"live", "cached", "limit", "mode"} <= set(rounds.slices)
    assert rounds.no_time["usual"].startswith("cut off after ")
    assert max(seconds for number, name, seconds in machine.asked if number == 0) <= 0.3 * 60
    assert machine.now <= 1060


def test_a_row_cut_off_gives_what_it_measured_and_says_so():
    machine = Machine(seconds=20)
    rounds = machine.run([Row("live", cost=99.0, tells_after=2.0)])
    piece = rounds.slices["live"][0]
    assert piece.is_cut
    assert (piece.images, piece.seconds) == (4, 6.0)  # 0.3 of what was left, and nothing beyond
    assert "live" not in rounds.no_time


def test_a_row_that_gave_nothing_is_tried_again_with_what_is_left():
    machine = Machine(seconds=60)
    rounds = machine.run([Row("live", cost=25.0, seconds_expected=8)], num_rounds=2)
    assert rounds.slices["live"][1].images == 10
    assert rounds.no_time == {}


def test_no_time_at_all_names_every_row():
    machine = Machine(seconds=0.5)
    rounds = machine.run([Row("a"), Row("b", priority=1)], num_rounds=3)
    assert machine.asked == []
    assert rounds.no_time == {"a": "0 s were left", "b": "it would take about 1 s, 0 s were left"}


ROWS = st.lists(
    st.builds(
        Row,
        name=st.uuids().map(str),
        cost=st.one_of(st.floats(0.1, 30), st.just(math.inf)),
        priority=st.integers(0, 2),
        group=st.sampled_from(["usual loader", "live", "cached", "limits"]),
        seconds_expected=st.floats(0.5, 20),
        tells_after=st.floats(0.1, 30),
        fails=st.booleans(),
    ),
    max_size=12,
)


@given(ROWS, st.floats(0.1, 120), st.integers(1, 3), st.floats(0, 0.5))
def test_no_row_gets_a_second_that_is_not_there_and_none_is_lost_in_silence(
    rows, seconds, num_rounds, overrun
):
    machine = Machine(seconds=seconds, overrun=overrun)
    rounds = machine.run(rows, num_rounds=num_rounds)
    # It ends in time, except for the overrun of the last cut-off.
    assert machine.now - 1000 <= seconds + overrun + 1e-6
    for row in rows:
        told = [row.name in rounds.slices, row.name in rounds.failures, row.name in rounds.no_time]
        assert sum(told) == 1, told


@given(st.integers(0, 11), st.integers(1, 6))
def test_one_row_that_hangs_costs_no_row_that_matters_its_figure(hanging, num_rest):
    rows = [
        Row(
            f"{number}", cost=math.inf if number == hanging else 2.0, seconds_expected=4, priority=number // 6
        )
        for number in range(6 + num_rest)
    ]
    rounds = Machine(seconds=60).run(rows)
    assert {row.name for row in rows if row.priority == 0 and row.cost < math.inf} <= set(rounds.slices)


def test_a_budget_keeps_time_to_end():
    now = 0.0
    budget = Budget(seconds=120, started_at=0.0, clock=lambda: now)
    assert (budget.preparing.left(), budget.preparing_what_matters_most.left()) == (48, 66)
    assert budget.measuring.left() == 105
    assert Budget(seconds=20, started_at=0.0, clock=lambda: now).measuring.left() == 17.5
    now = 115.0
    assert (budget.preparing.left(), budget.measuring.left(), budget.spent()) == (0, 0, 115)
    endless = Budget(seconds=math.inf, started_at=0.0, clock=lambda: now)
    assert endless.measuring.is_never and endless.preparing.is_never
    assert not budget.measuring.is_never
