import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loader.batch_plan
from loader.batch_plan import BatchPlan
from loader.epoch_order import epoch_order
from loader.errors import SamplingError


def plan(sizes, *, batch_size=8, **options):
    return BatchPlan(sizes, batch_size=batch_size, **options)


def batches(sizes, *, epoch=0, **options):
    return [ids.tolist() for ids in plan(sizes, **options).batches(epoch)]


def test_batches_are_the_order_cut_in_pieces():
    order = epoch_order([11, 9], seed=3, epoch=5)
    assert batches([11, 9], seed=3, epoch=5) == [
        order.ids(0, 8).tolist(),
        order.ids(8, 16).tolist(),
        order.ids(16, 20).tolist(),
    ]
    assert batches([11, 9], seed=3, epoch=5, remainder="drop") == batches([11, 9], seed=3, epoch=5)[:2]


@given(
    num_frames=st.integers(1, 200),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 6),
    epoch=st.integers(0, 9),
)
def test_the_ranks_together_read_every_frame_exactly_once(num_frames, batch_size, world_size, epoch):
    world_size = min(world_size, num_frames)
    ranks = [
        batches([num_frames], batch_size=batch_size, rank=rank, world_size=world_size, epoch=epoch)
        for rank in range(world_size)
    ]
    assert sorted(i for rank in ranks for batch in rank for i in batch) == list(range(num_frames))


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"remainder": "drop"},
        {"remainder": "pad"},
        {"sampling": "iid"},
        {"sampling": "shards", "frames_per_visit": 2},
    ],
)
def test_blocks_do_not_show(monkeypatch, options, rank):
    options = {"rank": rank, "world_size": 3, "epoch": 4, **options}
    in_one_block = batches([100, 47], **options)
    assert len(in_one_block) == len(plan([100, 47], **{k: v for k, v in options.items() if k != "epoch"}))
    for positions_per_block in [1, 8, 17]:
        monkeypatch.setattr(loader.batch_plan, "MAX_FRAMES_PER_BLOCK", positions_per_block)
        assert batches([100, 47], **options) == in_one_block


@pytest.mark.parametrize(
    "options", [{"sampling": "iid"}, {"sampling": "shards", "frames_per_visit": 2}], ids=["iid", "shards"]
)
def test_draws_with_replacement_end_after_the_whole_batches(options):
    assert [len(batch) for batch in batches([20, 23], **options)] == [8] * 5
    for rank in [0, 1]:
        assert [len(batch) for batch in batches([20, 23], rank=rank, world_size=2, **options)] == [8] * 2


def test_the_visits_of_a_batch():
    for options in [
        {"shards_per_batch": 4},
        {"frames_per_visit": 2},
        {"shards_per_batch": 4, "frames_per_visit": 2},
    ]:
        drawn = np.array(batches([10] * 6, sampling="shards", **options))
        assert drawn.shape == (7, 8)
        shards = drawn.reshape(7, 4, 2) // 10
        assert (shards[..., 0] == shards[..., 1]).all()
        assert len({tuple(row) for row in shards[..., 0]}) > 1


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"shards_per_batch": 3}, "3 x 2 for 8"),
        ({"frames_per_visit": 3}, "2 x 3 for 8"),
        ({"shards_per_batch": 4, "frames_per_visit": 4}, "4 x 4 for 8"),
        ({"frames_per_visit": 9}, "0 x 9 for 8"),
        ({"shards_per_batch": 9}, "9 x 0 for 8"),
        ({"shards_per_batch": 0}, "0 x 8 for 8"),
        ({"shards_per_batch": -2, "frames_per_visit": -4}, "-2 x -4 for 8"),
    ],
)
def test_visits_that_do_not_make_a_batch_are_refused(options, found):
    with pytest.raises(
        SamplingError, match=f"shards_per_batch x frames_per_visit must be batch_size, found {found}"
    ):
        plan([50, 50], sampling="shards", **options)


def test_options_of_shards_are_refused_elsewhere():
    with pytest.raises(SamplingError, match=r"frames_per_visit belongs to sampling='shards'"):
        plan([50], shards_per_batch=4)
    with pytest.raises(SamplingError, match="needs frames_per_visit"):
        plan([50], sampling="shards")
    with pytest.raises(SamplingError, match="needs frames_per_visit of 1 or more, found 0"):
        plan([50], sampling="shards", frames_per_visit=0)


def test_uniform_choice_of_unequal_shards_warns_with_its_chi2():
    with pytest.warns(UserWarning, match=r"biased on shards of unequal size.*chi\^2 = 0\.3333"):
        plan([10, 30], sampling="shards", frames_per_visit=2, shard_choice="uniform")
    plan(
        [10, 10], sampling="shards", frames_per_visit=2, shard_choice="uniform"
    )  # equal: no bias, no warning


def test_an_epoch_without_a_batch_is_refused():
    with pytest.raises(
        SamplingError, match=r"7 frames holds no whole step of batch_size 8 x 1.*or another remainder"
    ):
        plan([7], remainder="drop")
    with pytest.raises(SamplingError, match=r"15 frames .* 8 x 2 ranks; take a smaller batch_size$"):
        plan([15], sampling="iid", world_size=2)
    assert batches([7]) == [epoch_order([7]).ids(0, 7).tolist()]


def test_a_rank_beyond_a_small_epoch_has_no_batch():
    assert batches([5], batch_size=2, rank=3, world_size=4) == []
    with pytest.raises(SamplingError, match="6 ranks cannot share an epoch of 5 frames"):
        plan([5], world_size=6)
