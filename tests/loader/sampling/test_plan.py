import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import loader.sampling.plan
from loader import FrameBatchSampler, FrameLoader
from loader.errors import SamplingError
from loader.sampling.orders.epoch import epoch_order
from loader.sampling.plan import make_plan, plan_batches
from tests.support.caches.array_store import ArrayStore


def plan(sizes, *, batch_size=8, **options):
    return make_plan(sizes, batch_size=batch_size, **options)


def batches(sizes, *, epoch=0, **options):
    return [ids.tolist() for ids in plan(sizes, **options).batches(epoch)]


def test_batches_are_the_order_cut_in_pieces():
    order = epoch_order([11, 9], seed=3, epoch=5)
    assert batches([11, 9], seed=3, epoch=5, remainder="uneven") == [
        order.ids(0, 8).tolist(),
        order.ids(8, 16).tolist(),
        order.ids(16, 20).tolist(),
    ]


@pytest.mark.parametrize(
    ("options", "same"),
    [
        ({"sampling": "permutation"}, "drop"),
        ({"sampling": "block", "shards_per_block": 1}, "drop"),
        ({"sampling": "sequential"}, "uneven"),
        ({"sampling": "iid"}, "drop"),
        ({"sampling": "shards", "frames_per_visit": 2}, "drop"),
    ],
)
@pytest.mark.parametrize("world_size", [1, 2])
def test_the_remainder_that_nobody_names_goes_with_the_sampling(options, same, world_size):
    where = {"batch_size": 4, "world_size": world_size, **options}
    for rank in range(world_size):
        by_default = batches([11, 20], rank=rank, **where)
        assert by_default == batches([11, 20], rank=rank, remainder=same, **where)
        if same == "drop":
            assert {len(batch) for batch in by_default} == {4}


@given(
    num_frames=st.integers(1, 60),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 6),
    options=st.sampled_from(
        [
            {"sampling": "permutation"},
            {"sampling": "block", "shards_per_block": 1},
            {"sampling": "iid"},
            {"sampling": "shards", "frames_per_visit": 2},
        ]
    ),
)
def test_an_epoch_smaller_than_a_step_is_one_smaller_batch_on_every_rank(
    num_frames, batch_size, world_size, options
):
    visit = options.get("frames_per_visit", 1)
    batch_size *= visit
    num_frames += visit
    where = {"batch_size": batch_size, "world_size": world_size, **options}
    available = num_frames // visit
    if available < world_size:
        with pytest.raises(SamplingError, match=f"{world_size} ranks cannot share .*holds {available} "):
            plan([num_frames], rank=0, **where)
        return
    plans = [plan([num_frames], rank=rank, **where) for rank in range(world_size)]
    shown = [[ids.tolist() for ids in each.batches(0)] for each in plans]
    is_small = available * visit < batch_size * world_size
    size = available // world_size * visit if is_small else batch_size
    assert {each.batch_size for each in plans} == {size}
    assert all(len(each) == len(of_rank) for each, of_rank in zip(plans, shown, strict=True))
    num_batches = 1 if is_small else available * visit // (batch_size * world_size)
    assert {len(of_rank) for of_rank in shown} == {num_batches}
    assert {len(batch) for of_rank in shown for batch in of_rank} == {size}
    assert all(bool(each.warnings) == is_small for each in plans)
    if options["sampling"] in {"permutation", "block"}:
        seen = [tuple(np.ravel(item)) for of_rank in shown for batch in of_rank for item in batch]
        assert len(seen) == len(set(seen)) == available - plans[0].num_positions_dropped
    if is_small:
        with pytest.raises(SamplingError, match=r"remainder='drop': an epoch of .* holds no whole step"):
            plan([num_frames], remainder="drop", **where)


def test_a_smaller_batch_is_said_once_where_the_loader_is_made_and_in_its_words():
    store = ArrayStore([4, 3])
    with pytest.warns(UserWarning, match="an epoch of 7 frames is less than a step") as warned:
        loader = FrameLoader(store, batch_size=8, rank=1, world_size=2)
    assert warned[0].filename == __file__ and len(warned) == 1
    assert "batch_size 8 x 2 ranks: it is one batch of 3 frames on each rank" in str(warned[0].message)
    assert [len(batch) for batch in loader] == [3] and len(loader) == 1
    assert "; 1 batch of 3 frames instead of 8 for rank 1 of 2; the last 1 of the order is dropped;" in repr(
        loader
    )
    assert "; 1 batch of up to 8 frames; next" in repr(FrameLoader(store, batch_size=8, remainder="uneven"))
    assert "; 1 frame is read again" in repr(FrameLoader(store, batch_size=8, remainder="pad"))
    with pytest.warns(UserWarning, match="an epoch of 7 frames"):
        assert list(map(len, FrameBatchSampler(store, batch_size=8))) == [7]
    with pytest.warns(UserWarning, match="an epoch of 6 windows"):
        assert [
            tuple(batch.frames.shape[:2]) for batch in FrameLoader(store, batch_size=8, clip_frames=2)
        ] == [(6, 2)]


def test_no_remainder_of_another_name():
    for sampling in ("permutation", "iid"):
        with pytest.raises(SamplingError, match="remainder must be one of drop, pad, uneven; found 'keep'"):
            plan([50], sampling=sampling, remainder="keep")


@given(
    num_frames=st.integers(1, 200),
    batch_size=st.integers(1, 20),
    world_size=st.integers(1, 6),
    epoch=st.integers(0, 9),
)
def test_the_ranks_together_read_every_frame_exactly_once(num_frames, batch_size, world_size, epoch):
    world_size = min(world_size, num_frames)
    ranks = [
        batches(
            [num_frames],
            batch_size=batch_size,
            rank=rank,
            world_size=world_size,
            epoch=epoch,
            remainder="uneven",
        )
        for rank in range(world_size)
    ]
    assert sorted(i for rank in ranks for batch in rank for i in batch) == list(range(num_frames))


@pytest.mark.parametrize("rank", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"remainder": "uneven"},
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
        monkeypatch.setattr(loader.sampling.plan, "MAX_FRAMES_PER_BLOCK", positions_per_block)
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
    options = {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "uniform"}
    with pytest.warns(UserWarning, match=r"biased on shards of unequal size.*chi\^2 = 0\.3333"):
        plan_batches(ArrayStore([10, 30]), batch_size=8, **options)
    assert plan([10, 10], **options).warnings == []  # equal: no bias, no warning


def test_an_epoch_without_a_batch_is_refused():
    with pytest.raises(
        SamplingError, match=r"7 frames holds no whole step of batch_size 8 x 1.*or leave remainder out"
    ):
        plan([7], remainder="drop")
    with pytest.raises(SamplingError, match=r"15 frames .* 8 x 2 ranks; take a smaller batch_size"):
        plan([15], sampling="iid", remainder="drop", rank=0, world_size=2)
    with pytest.raises(SamplingError, match=r"2 ranks cannot .* of 6 frames: it holds 1 visit of 6 frames"):
        plan([9], batch_size=6, sampling="shards", frames_per_visit=6, rank=0, world_size=2)
    assert batches([7]) == [epoch_order([7]).ids(0, 7).tolist()]


def test_a_rank_beyond_a_small_epoch_has_no_batch():
    assert batches([5], batch_size=2, rank=3, world_size=4, remainder="uneven") == []
    with pytest.raises(SamplingError, match="6 ranks cannot share an epoch of 5 frames"):
        plan([5], rank=0, world_size=6)
