from itertools import chain

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loader.errors import SamplingError
from loader.sampling.rank_slice import RankSlice

WORLDS = {
    "num_positions": st.integers(0, 200),
    "batch_size": st.integers(1, 12),
    "world_size": st.integers(1, 9),
}


def every_rank(*, world_size, **options):
    return [RankSlice(rank=rank, world_size=world_size, **options) for rank in range(world_size)]


def positions_of(rank_slice):
    return list(chain.from_iterable(rank_slice.positions(step) for step in range(len(rank_slice))))


@given(**WORLDS)  # includes fewer positions than ranks
def test_the_ranks_together_read_every_position_exactly_once(**world):
    ranks = every_rank(remainder="uneven", **world)
    assert sorted(chain.from_iterable(map(positions_of, ranks))) == list(range(world["num_positions"]))


@given(**WORLDS)
def test_dropping_leaves_whole_steps_the_same_number_for_every_rank(**world):
    ranks = every_rank(remainder="drop", **world)
    per_step = world["batch_size"] * world["world_size"]
    num_steps = world["num_positions"] // per_step
    assert [len(rank_slice) for rank_slice in ranks] == [num_steps] * len(ranks)
    assert sorted(chain.from_iterable(map(positions_of, ranks))) == list(range(num_steps * per_step))


@given(**WORLDS, remainder=st.sampled_from(["drop", "uneven"]))
def test_ranks_in_turn_make_each_step_a_run_of_the_order(**world):
    ranks = every_rank(**world)
    for step in range(max(map(len, ranks))):
        batches = [rank_slice.positions(step) for rank_slice in ranks if step < len(rank_slice)]
        assert all(1 <= len(batch) <= world["batch_size"] for batch in batches)
        start = step * world["batch_size"] * world["world_size"]
        run = list(chain.from_iterable(batches))
        assert run == list(range(start, start + len(run)))


@given(**WORLDS, remainder=st.sampled_from(["drop", "pad", "uneven"]))
def test_steps_outside_the_epoch_are_refused(**world):
    for rank_slice in every_rank(**world):
        for step in [-1, len(rank_slice)]:
            with pytest.raises(IndexError, match=f"step {step} is outside"):
                rank_slice.positions(step)


@given(**WORLDS)
def test_padding_fills_the_last_step_from_the_start_of_the_order(**world):
    assume(world["num_positions"])
    ranks = every_rank(remainder="pad", **world)
    per_step = world["batch_size"] * world["world_size"]
    num_steps = -(-world["num_positions"] // per_step)
    assert [len(rank_slice) for rank_slice in ranks] == [num_steps] * len(ranks)
    read = [
        position
        for step in range(num_steps)
        for rank_slice in ranks
        for position in rank_slice.positions(step)
    ]
    assert read == [position % world["num_positions"] for position in range(num_steps * per_step)]


@given(**WORLDS, first=st.integers(0, 200), remainder=st.sampled_from(["drop", "pad", "uneven"]))
def test_what_is_left_of_an_epoch_ends_where_its_steps_say(first, **world):
    assume(first <= world["num_positions"])
    for rank_slice in every_rank(first_position=first, **world):
        assert rank_slice.position_after(rank_slice.num_steps - 1) == world["num_positions"]
        for step in range(rank_slice.num_steps - 1):
            assert rank_slice.position_after(step) == first + (step + 1) * rank_slice.positions_per_step


@given(**WORLDS)
def test_another_world_size_goes_on_where_the_first_stopped(**world):
    wide = every_rank(remainder="uneven", **world)
    assume(wide[-1].num_positions >= wide[0].positions_per_step)
    seen = list(chain.from_iterable(rank_slice.positions(0) for rank_slice in wide))
    assert seen == list(range(wide[0].positions_per_step))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, found 0"),
        ({"rank": 2}, r"rank must be in \[0, world_size\), found 2 of 2"),
        ({"rank": -1}, "found -1 of 2"),
        ({"rank": 0, "world_size": 0}, "found 0 of 0"),
        ({"remainder": "truncate"}, "remainder must be one of drop, pad, uneven; found 'truncate'"),
        ({"first_position": 10}, "an epoch of 9 positions cannot go on at 10"),
        ({"first_position": -1}, "an epoch of 9 positions cannot go on at -1"),
    ],
)
def test_ranks_and_batches_that_do_not_exist_are_refused(change, message):
    options = {"num_positions": 9, "batch_size": 2, "rank": 1, "world_size": 2, "remainder": "uneven"}
    with pytest.raises(SamplingError, match=message):
        RankSlice(**options | change)
