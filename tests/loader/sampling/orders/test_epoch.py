import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store.shared import chi2_of_uniform_shards
from loader.errors import SamplingError
from loader.sampling.orders.epoch import epoch_order
from loader.sampling.spec import SamplingSpec
from tests.support.statistics.chi_squared import ALPHA, p_value
from tests.support.statistics.spread_orders import spread_shards

SEEDS = st.integers(0, 2**32 - 1)
SHARD_SIZES = st.lists(st.integers(0, 50), min_size=1, max_size=8).filter(any)

EVERY_SAMPLING = [
    {"sampling": "permutation"},
    {"sampling": "iid"},
    {"sampling": "sequential"},
    {"sampling": "shards", "frames_per_visit": 3},
    {"sampling": "shards", "frames_per_visit": 3, "shard_choice": "uniform"},
    {"sampling": "shards", "frames_per_visit": 3, "frames_with_replacement": True},
    {"sampling": "block", "shards_per_block": 2},
]

PINNED = {
    # If one of these values changes, a run that is repeated or resumed after the change trains on other batches.
    "permutation": [68, 104, 96, 75, 81, 11],
    "iid": [68, 11, 20, 60, 49, 101],
    "sequential": [0, 1, 2, 3, 4, 5],
    "shards-3": [58, 60, 42, 70, 74, 101],
    "shards-3-uniform": [88, 76, 92, 0, 20, 11],
    "shards-3-True": [58, 41, 50, 70, 79, 101],
    "block-2": [44, 5, 24, 113, 53, 10],
}


def order_of(sizes, *, seed=0, epoch=0, **options):
    return epoch_order(sizes, SamplingSpec(**options), seed=seed, epoch=epoch)


def name_of(options):
    return "-".join([options["sampling"], *map(str, list(options.values())[1:])])


def whole(order):
    return order.ids(0, len(order))


@pytest.mark.parametrize("options", EVERY_SAMPLING, ids=name_of)
def test_pinned(options):
    assert order_of([30, 40, 50], seed=1, epoch=2, **options).ids(0, 6).tolist() == PINNED[name_of(options)]


@given(
    SHARD_SIZES,
    SEEDS,
    SEEDS,
    st.sampled_from([EVERY_SAMPLING[0], EVERY_SAMPLING[2], {"sampling": "block", "shards_per_block": 1}]),
)
def test_an_epoch_without_replacement_is_every_frame_exactly_once(sizes, seed, epoch, options):
    order = order_of(sizes, seed=seed, epoch=epoch, **options)
    assert len(order) == sum(sizes)
    assert sorted(whole(order).tolist()) == list(range(sum(sizes)))


@pytest.mark.parametrize("options", EVERY_SAMPLING, ids=name_of)
@given(data=st.data())
@settings(max_examples=30)
def test_ids_do_not_depend_on_how_they_are_asked_for(options, data):
    sizes = data.draw(st.lists(st.integers(3, 3000), min_size=2, max_size=5))
    order = order_of(sizes, seed=data.draw(SEEDS), epoch=data.draw(SEEDS), **options)
    start, stop = sorted(data.draw(st.tuples(*[st.integers(0, len(order))] * 2)))
    assert np.array_equal(order.ids(start, stop), whole(order)[start:stop])
    positions = np.array(data.draw(st.lists(st.integers(0, len(order) - 1))), np.int64)
    ids = order.ids_at(positions)
    assert ids.dtype == np.int64
    assert np.array_equal(ids, whole(order)[positions])
    assert not np.shares_memory(ids, positions)


@pytest.mark.parametrize("options", EVERY_SAMPLING, ids=name_of)
def test_positions_outside_the_epoch_are_refused(options):
    order = order_of([30, 40], **options)
    for start, stop in [(-1, 3), (len(order) - 1, len(order) + 1)]:
        with pytest.raises(IndexError, match=f"inside \\[0, {len(order)}\\)"):
            order.ids(start, stop)
    assert order.ids(5, 5).shape == (0,)


@pytest.mark.parametrize("options", [o for o in EVERY_SAMPLING if o["sampling"] != "sequential"], ids=name_of)
def test_every_seed_and_epoch_has_an_order_of_its_own(options):
    orders = {
        tuple(whole(order_of([30, 40, 50], seed=seed, epoch=epoch, **options)))
        for seed in range(4)
        for epoch in range(4)  # seed + epoch would make 7 orders of these 16
    }
    assert len(orders) == 16


def test_every_process_has_the_same_order():
    code = "; ".join(
        ["from loader import SamplingSpec, epoch_order", "import sys"]
        + [
            f"print(epoch_order([300, 5000], SamplingSpec(**{o}), seed=7, epoch=3).ids(0, 50).tolist())"
            for o in EVERY_SAMPLING
        ]
        + ["assert 'torch' not in sys.modules"]
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": hash_seed}, capture_output=True, check=True
        ).stdout
        for hash_seed in ["1", "2"]
    }
    here = [str(order_of([300, 5000], seed=7, epoch=3, **o).ids(0, 50).tolist()) for o in EVERY_SAMPLING]
    assert [output.decode().splitlines() for output in outputs] == [here]


@pytest.mark.parametrize("options", EVERY_SAMPLING, ids=name_of)
def test_no_order_keeps_an_array_of_its_length(options):
    num_frames = 10**13  # an array of them would be 80 TB
    order = order_of([num_frames // 2, num_frames // 2], epoch=1, **options)
    ids = order.ids(len(order) - 1000, len(order))
    assert 0 <= ids.min() <= ids.max() < num_frames


# The laws. Draws with replacement: Pearson on draws that are independent of each other.


def test_iid_draws_every_frame_alike_and_independently():
    ids = np.concatenate([whole(order_of([20, 30], sampling="iid", epoch=epoch)) for epoch in range(1000)])
    assert p_value(np.bincount(ids, minlength=50), len(ids) / 50) > ALPHA
    pairs = ids[0::2] * 50 + ids[1::2]
    assert p_value(np.bincount(pairs, minlength=2500), len(pairs) / 2500) > ALPHA
    across_epochs = ids.reshape(1000, 50)[0::2] * 50 + ids.reshape(1000, 50)[1::2]
    assert p_value(np.bincount(across_epochs.ravel(), minlength=2500), len(pairs) / 2500) > ALPHA


SIZES = [4, 0, 9, 16, 25]
SHARD_OF = np.repeat(np.arange(5), SIZES)


def visits(*, shard_choice="proportional", frames_per_visit=4, num_epochs=2000):
    """int64 (visits, frames_per_visit)"""
    ids = [
        whole(
            order_of(
                SIZES,
                sampling="shards",
                frames_per_visit=frames_per_visit,
                shard_choice=shard_choice,
                epoch=epoch,
            )
        )
        for epoch in range(num_epochs)
    ]
    return np.concatenate(ids).reshape(-1, frames_per_visit)


@pytest.mark.parametrize("shard_choice", ["proportional", "uniform"])
def test_a_visit_is_different_frames_of_one_shard(shard_choice):
    drawn = visits(shard_choice=shard_choice, num_epochs=200)
    assert (SHARD_OF[drawn] == SHARD_OF[drawn[:, :1]]).all()
    assert (np.diff(np.sort(drawn), axis=1) > 0).all()


def frame_p_values(drawn, law):
    """One a slot: the frames in one slot of all visits are independent, those of one visit are not."""
    return [p_value(np.bincount(slot, minlength=54), len(slot) * law) for slot in drawn.T]


def test_proportional_choice_draws_every_frame_alike_in_every_slot():
    assert min(frame_p_values(visits(), np.full(54, 1 / 54))) > ALPHA


def test_uniform_choice_fails_the_same_test_and_follows_its_own_law():
    drawn = visits(shard_choice="uniform")
    assert max(frame_p_values(drawn, np.full(54, 1 / 54))) < ALPHA
    law = 1 / (4 * np.repeat(SIZES, SIZES))
    assert min(frame_p_values(drawn, law)) > ALPHA
    assert chi2_of_uniform_shards(SIZES) == pytest.approx(54 * (law**2).sum() - 1, rel=1e-12)


@pytest.mark.parametrize("shard_choice", ["proportional", "uniform"])
def test_two_neighbouring_visits_fall_on_two_shards_as_stated(shard_choice):
    """The first two visits of an epoch; epochs are independent."""
    first = visits(shard_choice=shard_choice, num_epochs=20_000).reshape(20_000, -1, 4)[:, :2, 0]
    shards = np.searchsorted([0, 2, 3, 4], SHARD_OF[first])
    found = np.bincount(shards[:, 0] * 4 + shards[:, 1], minlength=16)
    shares = np.array(SIZES)[[0, 2, 3, 4]] / 54
    together = np.zeros((4, 4))
    for (one, other), probability in spread_shards(shares, 2).items():
        together[one, other] = probability
    if shard_choice == "uniform":
        shares, together = np.full(4, 1 / 4), np.full((4, 4), 1 / 16)
    may_be = together > 0
    assert (found.reshape(4, 4)[~may_be] == 0).all()
    assert p_value(found.reshape(4, 4)[may_be], 20_000 * together[may_be]) > ALPHA
    if shard_choice == "proportional":
        assert p_value(found, 20_000 * np.outer(shares, shares).ravel()) < ALPHA  # independent visits


def widest_gap(ids, num_frames):
    """Of the widest gap between neighbours on the circle of ids."""
    ids = np.sort(ids)
    return np.diff(ids, append=ids[0] + num_frames).max()


@pytest.mark.parametrize("num_frames", [4096, 3000, 1021])
@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "shards", "frames_per_visit": 1},
        {"sampling": "shards", "frames_per_visit": 1, "shard_choice": "uniform"},
        {"sampling": "block", "shards_per_block": 1},
    ],
    ids=name_of,
)
def test_every_run_of_2_to_the_k_is_spread(options, num_frames):
    """One in each of 2^k equal stretches, so two neighbours are less than two stretches apart."""
    sizes = [1] * num_frames if options["sampling"] == "shards" else [num_frames]
    ids = whole(order_of(sizes, seed=5, epoch=1, **options))
    gaps = {
        size: max(
            widest_gap(ids[start : start + size], num_frames) / (num_frames / size)
            for start in [*range(50), num_frames - size]
        )
        for size in (2, 8, 64, 512)
    }
    if "shard_choice" in options:  # independent visits
        assert gaps[64] > 3 and gaps[512] > 3
    else:
        assert all(gap < 2 + 2 * size / num_frames for size, gap in gaps.items())


def test_the_frames_of_neighbouring_slots_are_independent():
    drawn = visits(num_epochs=4000)
    in_largest = drawn[SHARD_OF[drawn[:, 0]] == 4] - 29
    pairs = np.bincount(in_largest[:, 0] * 25 + in_largest[:, 1], minlength=625).reshape(25, 25)
    apart = ~np.eye(25, dtype=bool)
    assert p_value(pairs[apart], pairs.sum() / 600) > ALPHA


def test_chi2_of_uniform_choice_is_nil_exactly_where_shards_are_equal():
    assert chi2_of_uniform_shards([7, 7, 0, 7]) == 0
    assert chi2_of_uniform_shards([7, 8]) > 0


@pytest.mark.parametrize(
    ("sizes", "options", "message"),
    [
        (
            [5],
            {"sampling": "shuffle"},
            "sampling must be one of permutation, stratified, iid, sequential, shards, block; found 'shuffle'",
        ),
        (
            [5],
            {"sampling": "shards", "frames_per_visit": 1, "shard_choice": "pps"},
            "shard_choice must be one of",
        ),
        ([5], {"sampling": "shards"}, "needs frames_per_visit"),
        ([5], {"sampling": "shards", "frames_per_visit": 0}, "needs frames_per_visit"),
        (
            [9, 0, 5],
            {"sampling": "shards", "frames_per_visit": 6},
            "is 6, but shard 2 holds 5 frames.*at most 5",
        ),
        (
            [5],
            {"sampling": "iid", "frames_per_visit": 2},
            "frames_per_visit belongs to sampling='shards', found sampling='iid'",
        ),
        ([5], {"sampling": "iid", "shard_choice": "uniform"}, "shard_choice belongs to sampling='shards'"),
        ([5], {"frames_with_replacement": True}, "frames_with_replacement belongs to sampling='shards'"),
        ([5], {"shards_per_block": 1}, "shards_per_block belongs to sampling='block'"),
        ([5], {"sampling": "block"}, "sampling='block' needs shards_per_block"),
        ([5], {"sampling": "block", "shards_per_block": 1.5}, "must be a whole number, found 1.5"),
        (
            [5, 0, 9],
            {"sampling": "block", "shards_per_block": 3},
            "is 3, but only 2 shards hold frames; ask for at most 2",
        ),
        ([], {}, "empty: no frame in its 0 shards"),
        ([0, 0], {"sampling": "sequential"}, "empty: no frame in its 2 shards"),
        ([5, -1], {}, "flat list of counts"),
        ([[5]], {}, "flat list of counts"),
        ([5.5], {}, "flat list of counts"),
        ([5], {"sampling": "sequential", "epoch": -1}, "epoch must be in"),
    ],
)
def test_what_cannot_be_drawn_is_refused(sizes, options, message):
    with pytest.raises(SamplingError, match=message):
        order_of(sizes, **options)
