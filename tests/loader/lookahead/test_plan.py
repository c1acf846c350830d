"""Plans of a look-ahead, checked by an executor that tracks the content of every slot and which steps may use it."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.lookahead.plan import NOWHERE, GroupRead, LookaheadStep, plan_lookahead
from tests.support.lookahead_cost import cost_of, num_decoded

GROUP_FRAMES = 6


def groups_of_six(ids):
    return ids - ids % GROUP_FRAMES


@st.composite
def orders(draw):
    """Batches of ids in [0, num_frames), with duplicates or without, the last one shorter."""
    num_frames = draw(st.integers(1, 60))
    if draw(st.booleans()):
        order = draw(st.permutations(range(num_frames)))
    else:
        order = draw(st.lists(st.integers(0, num_frames - 1), min_size=1, max_size=80))
    batch_size = draw(st.integers(1, 9))
    ids = np.array(order, np.int64)
    return [ids[i : i + batch_size] for i in range(0, len(ids), batch_size)]


class Executor:
    """Carries a plan out with `delay` steps under way at once, in the worst order that this allows."""

    def __init__(self, *, capacity: int, delay: int) -> None:
        self.delay = delay
        self.slots = np.full(capacity, -1, np.int64)  # frame ids instead of frames
        self.last_use = np.full(capacity, -(10**9), np.int64)

    def run(self, steps: list[LookaheadStep]) -> list[np.ndarray]:
        # The reads of each step come as early as possible: before the copies of the delay - 1 steps before it.
        results: list[np.ndarray] = []
        begun = 0
        for number, step in enumerate(steps):
            while begun < min(number + self.delay, len(steps)):
                results.append(self.decode(begun, steps[begun]))
                begun += 1
            for position, slot in zip(step.buffered_positions, step.buffered_slots, strict=True):
                assert results[number][position] == -1
                results[number][position] = self.slots[slot]
                self.last_use[slot] = number
        return results

    def decode(self, number: int, step: LookaheadStep) -> np.ndarray:
        batch = np.full(len(step.frame_ids), -1, np.int64)
        for read in step.reads:
            assert (np.diff(read.frame_ids) >= 0).all()
            for frame, position, slot in zip(read.frame_ids, read.batch_positions, read.slots, strict=True):
                assert (position == NOWHERE) != (slot == NOWHERE)
                if slot == NOWHERE:
                    assert batch[position] == -1
                    batch[position] = frame
                else:
                    assert self.last_use[slot] <= number - self.delay
                    self.slots[slot] = frame
                    self.last_use[slot] = number
        return batch


@given(orders(), st.integers(0, 12), st.integers(0, 40), st.integers(1, 4))
def test_every_batch_is_assembled_right(batches, lookahead, capacity, delay):
    steps = list(plan_lookahead(batches, groups_of_six, lookahead=lookahead, capacity=capacity, delay=delay))
    assert [step.frame_ids.tolist() for step in steps] == [batch.tolist() for batch in batches]
    for got, wanted in zip(Executor(capacity=capacity, delay=delay).run(steps), batches, strict=True):
        assert got.tolist() == wanted.tolist()


@pytest.mark.parametrize("delay", [2, 3, 5])
def test_a_full_buffer_gives_no_slot_away_too_soon(delay):
    rng = np.random.default_rng(delay)
    for _ in range(40):
        batches = list(rng.integers(0, 48, (40, rng.integers(1, 5))))
        capacity = int(rng.integers(2, 12))
        steps = list(plan_lookahead(batches, groups_of_six, lookahead=20, capacity=capacity, delay=delay))
        for got, wanted in zip(Executor(capacity=capacity, delay=delay).run(steps), batches, strict=True):
            assert got.tolist() == wanted.tolist()


@given(orders(), st.integers(0, 12), st.integers(0, 40), st.integers(1, 4))
def test_a_group_is_read_once_a_step_and_only_when_a_frame_is_due(batches, lookahead, capacity, delay):
    plan = plan_lookahead(batches, groups_of_six, lookahead=lookahead, capacity=capacity, delay=delay)
    for number, step in enumerate(plan):
        assert len({read.group for read in step.reads}) == len(step.reads)
        soon = {int(i) for batch in batches[number : number + lookahead + 1] for i in batch}
        for read in step.reads:
            assert (groups_of_six(read.frame_ids) == read.group).all()
            assert (read.batch_positions != NOWHERE).any()
            assert set(read.frame_ids.tolist()) <= soon


@given(orders(), st.integers(0, 12), st.integers(1, 4))
def test_a_group_is_decoded_once_a_window_where_the_window_fits(batches, lookahead, delay):
    num_frames = sum(len(batch) for batch in batches)
    plan = plan_lookahead(batches, groups_of_six, lookahead=lookahead, capacity=2 * num_frames, delay=delay)
    last_read: dict[int, int] = {}
    for number, step in enumerate(plan):
        for read in step.reads:
            assert number - last_read.get(read.group, -(10**9)) > lookahead
            last_read[read.group] = number


@given(orders(), st.integers(0, 30), st.integers(0, 6))
def test_batches_are_drawn_no_further_ahead_than_told(batches, lookahead, capacity):
    num_drawn = 0

    def drawn():
        nonlocal num_drawn
        for batch in batches:
            num_drawn += 1
            yield batch

    plan = plan_lookahead(drawn(), groups_of_six, lookahead=lookahead, capacity=capacity)
    for number, _ in enumerate(plan):
        assert num_drawn <= number + 1 + lookahead
        ahead = batches[number + 1 : num_drawn - 1]  # without the last one, which may reach beyond
        assert sum(len(batch) for batch in ahead) <= 2 * capacity


FIRST_WINDOW = [[60], [66], [72], [78]]  # groups of their own: the plan then has lost its staggered start


def test_the_frame_due_last_makes_room_for_one_due_sooner():
    batches = [np.array(ids) for ids in (*FIRST_WINDOW, [0], [6], [7, 1], [2])]
    steps = list(plan_lookahead(batches, groups_of_six, lookahead=3, capacity=2))[4:]
    assert frames_read(steps) == [[[0, 1, 2]], [[6, 7]], [], [[2]]]
    assert steps[1].reads[0].slots.tolist() == [NOWHERE, steps[0].reads[0].slots[2]]


def test_a_frame_that_is_due_later_than_all_others_finds_no_room():
    batches = [np.array(ids) for ids in (*FIRST_WINDOW, [0], [6], [2], [1], [7])]
    steps = list(plan_lookahead(batches, groups_of_six, lookahead=3, capacity=2))[4:]
    assert frames_read(steps) == [[[0, 1, 2]], [[6]], [], [], [[7]]]


def test_of_one_group_the_frames_due_first_are_taken_along():
    batches = [np.array(ids) for ids in (*FIRST_WINDOW, [0], [5], [1], [66], [66])]
    steps = list(plan_lookahead(batches, groups_of_six, lookahead=3, capacity=1))[4:7]
    assert frames_read(steps) == [[[0, 5]], [], [[1]]]


def test_first_visits_are_staggered_where_the_window_does_not_fit():
    batches = [np.array([group]) for group in range(0, 60, 6)]
    batches += [np.array([group + i]) for i in range(1, 4) for group in range(0, 60, 6)]
    first = list(plan_lookahead(batches, groups_of_six, lookahead=39, capacity=20))[:10]
    num_taken = [len(read.frame_ids) - 1 for step in first for read in step.reads]
    assert sorted(set(num_taken)) == [0, 1, 2, 3]
    everything = plan_lookahead(batches, groups_of_six, lookahead=39, capacity=39)
    assert [len(step.reads[0].frame_ids) for step in islice(everything, 10)] == [4] * 10


def frames_read(steps):
    return [[read.frame_ids.tolist() for read in step.reads] for step in steps]


def test_later_frames_do_not_push_out_earlier_ones():
    batches = [np.array(ids) for ids in ([0], [6], [1], [2], [7], [8])]
    steps = list(plan_lookahead(batches, groups_of_six, lookahead=5, capacity=5))
    assert [[read.frame_ids.tolist() for read in step.reads] for step in steps] == [
        [[0, 1, 2]],
        [[6, 7, 8]],
        *[[]] * 4,
    ]


def test_duplicates_within_a_batch_and_later():
    batches = [np.array([3, 3]), np.array([4, 3])]
    steps = list(plan_lookahead(batches, groups_of_six, lookahead=1, capacity=4))
    (read,) = steps[0].reads
    assert read.frame_ids.tolist() == [3, 3, 3, 4]
    assert sorted(read.batch_positions.tolist()) == [NOWHERE, NOWHERE, 0, 1]
    assert num_decoded(read) == 5
    assert steps[1].reads == ()
    assert steps[1].buffered_positions.tolist() == [0, 1]


def test_a_steady_window_costs_what_the_formula_says():
    """1 + G W / N frames a visit, W / 2 frames waiting: from the first window on, with a buffer of W / 2."""
    num_frames, group_frames, batch_size, capacity = 6000, 30, 20, 1200
    rng = np.random.default_rng(3)
    batches = rng.integers(0, num_frames, (1800, batch_size))
    steps = list(
        plan_lookahead(batches, lambda ids: ids - ids % group_frames, lookahead=10**6, capacity=capacity)
    )
    num_frames_a_visit = 1 + group_frames * 2 * capacity / num_frames
    steady = cost_of(steps[150:1500])
    assert steady.num_frames == 1350 * batch_size
    assert steady.num_frames / steady.num_reads == pytest.approx(num_frames_a_visit, rel=0.12)
    window = 2 * capacity // batch_size
    by_window = [cost_of(steps[i : i + window]).num_reads for i in range(window, 1500 - window, window)]
    assert max(by_window) < 1.6 * np.mean(by_window)


def test_the_cost_of_a_plan():
    ids = np.array([7, 9])
    read = GroupRead(group=6, frame_ids=ids, batch_positions=np.array([0, 1]), slots=np.array([-1, -1]))
    nothing = np.zeros(0, np.int64)
    step = LookaheadStep(frame_ids=ids, reads=(read,), buffered_positions=nothing, buffered_slots=nothing)
    cost = cost_of([step, step])
    assert (cost.num_frames, cost.num_decoded, cost.num_reads) == (4, 8, 2)
    assert cost.decoded_per_frame == 2
    assert np.isnan(cost_of([]).decoded_per_frame)


def test_longer_windows_cost_less():
    rng = np.random.default_rng(5)
    batches = rng.permutation(3000).reshape(-1, 25)
    costs = [
        cost_of(
            plan_lookahead(batches, lambda ids: ids - ids % 30, lookahead=lookahead, capacity=3000)
        ).decoded_per_frame
        for lookahead in (0, 4, 16, 64, 119)
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] == pytest.approx(1, abs=0.05)


def test_the_cost_of_an_epoch_of_twenty_groups():
    batches = [ids * 7 % 600 for ids in np.arange(600).reshape(-1, 20)]
    costs = [
        cost_of(plan_lookahead(batches, lambda ids: ids - ids % 30, lookahead=lookahead, capacity=600))
        for lookahead in (0, 5, 29)
    ]
    assert [round(cost.decoded_per_frame, 1) for cost in costs] == [6.6, 3.7, 1.0]


def test_groups_that_merge_on_the_way():
    merged = False

    def groups(ids):
        return ids - ids % (12 if merged else 6)

    batches = [np.array(ids) for ids in ([0, 7], [1, 8], [6, 2], [9, 3], [10, 4])]
    plan = plan_lookahead(batches, groups, lookahead=1, capacity=8)
    steps = list(islice(plan, 2))
    merged = True
    steps += plan
    for got, wanted in zip(Executor(capacity=8, delay=1).run(steps), batches, strict=True):
        assert got.tolist() == wanted.tolist()


def test_numbers_out_of_range():
    for wrong in ({"lookahead": -1}, {"capacity": -1}, {"delay": 0}):
        with pytest.raises(ValueError, match="lookahead and capacity must be 0 or more"):
            plan_lookahead([], groups_of_six, **{"lookahead": 1, "capacity": 1, **wrong})
