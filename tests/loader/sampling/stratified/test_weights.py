"""`sampling="stratified"` with weights: the target law at every position, and each batch spread over it."""

import json
import pickle
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store import concat
from loader import SamplingError
from loader.sampling.orders import WeightedFrames, weighted
from loader.sampling.plan import make_plan
from loader.sampling.weights import WHOLE
from loader.windows import plan_windows
from tests.loader.sampling.stratified.expected import made_up_content, some_order
from tests.loader.sampling.test_weights import (
    STORES,
    WEIGHTS,
    by_video,
    shuffled,
    target_of,
    weights_for,
)
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import make_loader
from tests.support.statistics.chi_squared import ALPHA
from tests.support.statistics.statistics import chi2_between, draws_p_value, power

STRATIFIED = {"sampling": "stratified"}
STRATA = ["time", "content"]


@pytest.fixture(autouse=True)
def every_store_has_a_content_order():
    with made_up_content(some_order):
        yield


def plan_of(store, weights, **options):
    return make_plan(
        store.shard_sizes, store=store, weights=weights, **{"batch_size": 8, **STRATIFIED, **options}
    )


def in_strata(store, strata):
    """Frame ids side by side, as strata are cut."""
    if strata == "content":
        return some_order(store).astype(np.int64)
    rows = store.rows_of(np.arange(len(store)))
    return np.lexsort((rows["frame_in_video"], rows["video_id"]))


# The frame at a point of the circle.


def exact_frame(frames, point):
    """(place of the frame by time, how near the point is to the next frame): whole numbers and fractions."""
    number, first = point >> 11, 0
    for parts, size in zip(frames.weights.parts.tolist(), frames.weights.video_sizes.tolist(), strict=True):
        if number < parts:
            inside = Fraction((number << 11) + (point & 2047), parts << 11) * size
            return first + int(inside), abs(inside - round(inside))
        number, first = number - parts, first + size
    raise AssertionError("beyond the circle")


@given(
    points=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=20),
    weights=st.lists(st.sampled_from([0, 1, 2, 0.3, 1e-9, 1e-15, 1e-300]), min_size=6, max_size=6).filter(
        any
    ),
)
@settings(max_examples=200)
def test_a_point_shows_the_frame_that_has_its_arc(points, weights):
    store = shuffled()
    frames, by_time = WeightedFrames(store, weights), in_strata(store, "time")
    points += [int(end) << 11 for end in frames.weights.ends if end < WHOLE]  # where videos begin
    found = frames.ids_by_time(np.array(points, np.uint64))
    for point, frame_id in zip(points, found.tolist(), strict=True):
        place, distance = exact_frame(frames, point)
        near = (
            {by_time[place]} if distance > Fraction(1, 2**46) else set(by_time[max(place - 1, 0) : place + 2])
        )
        assert frame_id in near


def arcs_by_content(store, weights):
    """Frame ids in content order, and the running sums of their weights."""
    return weighted.content_ids_at(store, np.arange(len(store))), WeightedFrames(
        store, weights
    )._ends_by_content


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_arcs_by_content_state_the_target(make):
    store = make()
    weights = weights_for(store)
    ids, ends = arcs_by_content(store, weights)
    law = np.zeros(len(store))
    law[ids.astype(np.int64)] = np.diff(ends, prepend=0) / WHOLE
    target = target_of(store, weights)
    assert np.abs(law - target).max() < 1e-14
    assert not law[target == 0].any() and ends[-1] == WHOLE


@pytest.mark.parametrize(
    "weights", [[1, 1, 1, 1, 1, 0], [0, 0.1, 0.3, 0.7, 1e-3, 0], [7, 1e-300, 0, 0, 0, 0]]
)
def test_frames_of_weight_0_have_no_arc_wherever_they_lie(weights):
    """Also at the end of the content order, where rounding of the sums must go to a frame above 0."""
    for first in range(6):
        store = by_video()
        order = np.roll(np.arange(60, dtype=np.uint32), 7 * first)
        with made_up_content(lambda _store, order=order: order):
            ids, ends = arcs_by_content(store, weights)
        arcs = np.diff(ends, prepend=0)
        assert (arcs >= 0).all() and arcs.sum() == WHOLE
        target = target_of(store, weights)
        assert not arcs[target[ids.astype(np.int64)] == 0].any()
        assert np.abs(arcs / WHOLE - target[ids.astype(np.int64)]).max() < 1e-14


def test_sums_of_many_blocks_are_those_of_one(monkeypatch):
    store = shuffled()
    ids, ends = arcs_by_content(store, WEIGHTS)
    monkeypatch.setattr("loader.sampling.orders.weighted._ROWS_AT_ONCE", 7)
    again, in_blocks = arcs_by_content(store, WEIGHTS)
    assert again.tolist() == ids.tolist() and np.abs(in_blocks - ends).max() <= 8


# The law of real orders.


@pytest.mark.parametrize("strata", STRATA)
@pytest.mark.parametrize("name", ["by video", "shuffled frames", "several stores", "views of several"])
def test_every_position_draws_the_target(name, strata):
    """One position of each order, so that draws are independent; the same test rejects uniform frames."""
    store = STORES[name]()
    weights = weights_for(store)
    target = target_of(store, weights)
    held = target > 0
    assert not held.all()
    num_draws = int(6 / target[held].min())
    uniform = np.full(np.count_nonzero(held), 1 / np.count_nonzero(held))
    assert power(num_draws * chi2_between(target[held], uniform), len(uniform) - 1) > 0.99
    plan = plan_of(store, weights, strata=strata, seed=11)
    positions = np.random.default_rng(2).integers(0, len(store), num_draws)
    drawn = np.array([plan.order(epoch).ids(at, at + 1)[0] for epoch, at in enumerate(positions.tolist())])
    assert held[drawn].all()
    places = np.cumsum(held) - 1
    assert draws_p_value(places[drawn], target[held]) > ALPHA
    assert draws_p_value(places[drawn], uniform) < ALPHA


@pytest.mark.parametrize("strata", STRATA)
@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_each_run_has_each_stretch_of_the_circle_as_often_as_it_weighs(make, strata):
    """2^k draws lie in 2^k equal arcs: any neighbours of weight p together come p 2^k times, give or take 2."""
    store = make()
    weights = weights_for(store)
    target = target_of(store, weights)[in_strata(store, strata)]
    place_of = np.argsort(in_strata(store, strata))
    plan = plan_of(store, weights, strata=strata, seed=3)
    sums = np.concatenate([[0.0], np.cumsum(target)])
    for epoch in range(4):
        order = plan.order(epoch)
        assert len(order) == len(store)
        for run in (1, 2, 4, 8, 16):
            for start in range(0, len(order) - run + 1, 3):
                counts = np.bincount(place_of[order.ids(start, start + run)], minlength=len(store))
                shown = np.concatenate([[0], np.cumsum(counts)])
                off = shown - run * sums  # of all stretches at once: differences of two of these
                assert np.ptp(off) < 2 + 1e-9


def test_weights_of_parts_spread_over_the_parts():
    store = concat([by_video(), shuffled(), shuffled(5)])
    for batch in make_loader(store, batch_size=16, weights=[0.5, 0.25, 0.25], **STRATIFIED):
        parts = np.bincount(batch.frame_ids.numpy() // 60, minlength=3)
        assert (np.abs(parts - [8, 4, 4]) <= 1).all()


def test_equal_weights_show_each_video_as_often_as_the_others_though_one_has_few_frames():
    store = ArrayStore([1000], video_sizes=[900, 90, 9, 1])
    for batch in make_loader(store, batch_size=64, weights="video", **STRATIFIED):
        counts = np.bincount(batch.video_ids.numpy(), minlength=4)
        assert (np.abs(counts - 16) <= 1).all()


@pytest.mark.parametrize("strata", STRATA)
def test_a_tiny_weight_is_no_trouble_and_a_frame_may_come_twice(strata):
    store = by_video()
    plan = plan_of(store, [1e-300, 0, 0, 0, 1e-300, 1], strata=strata)
    ids = plan.order(0).ids(0, 60)
    assert set(store.rows_of(ids)["video_id"].tolist()) == {5}
    counts = np.bincount(ids, minlength=60)[52:]
    assert (counts >= 6).all()  # 60 draws of 8 frames, spread
    assert plan.num_positions == 60


@pytest.mark.parametrize("strata", STRATA)
@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_an_order_is_a_function_of_the_position_alone(make, strata):
    store = make()
    plan = plan_of(store, weights_for(store), strata=strata, seed=2)
    order = plan.order(3)
    whole = order.ids(0, len(order))
    assert whole.dtype == np.int64
    some = np.random.default_rng(0).permutation(len(order))[:17]
    assert order.ids_at(some).tolist() == whole[some].tolist()
    assert pickle.loads(pickle.dumps(plan)).order(3).ids(0, len(order)).tolist() == whole.tolist()
    assert whole.tolist() != plan.order(4).ids(0, len(order)).tolist()


def test_weighted_draws_are_the_same_on_every_machine():
    """Pinned: another order would change runs that exist."""
    plan = plan_of(by_video(), 0.5, seed=1)
    assert plan.order(2).ids(0, 8).tolist() == PINNED


PINNED = [11, 51, 16, 39, 5, 1, 30, 48]


# Epochs and resume.


def test_an_epoch_is_whole_batches_whatever_the_remainder():
    for remainder in (None, "pad", "uneven", "drop"):
        loader = make_loader(shuffled(), batch_size=16, weights="video", remainder=remainder, **STRATIFIED)
        assert [len(batch) for batch in loader] == [16, 16, 16]


@pytest.mark.parametrize("strata", STRATA)
def test_a_run_goes_on_and_not_with_other_weights_or_strata(strata):
    def loader(weights, **more):
        options = {"batch_size": 4, "seed": 1, "strata": strata, **STRATIFIED, **more}
        return make_loader(shuffled(), weights=weights, **options)

    whole = [batch.frame_ids.tolist() for batch in loader(WEIGHTS)]
    first = loader(WEIGHTS)
    for _ in islice(first, 3):
        pass
    state = json.loads(json.dumps(first.state_dict()))
    resumed = loader(WEIGHTS)
    resumed.load_state_dict(state)
    assert [batch.frame_ids.tolist() for batch in resumed] == whole[3:]
    ranks = [loader(WEIGHTS, batch_size=6, rank=rank, world_size=2) for rank in range(2)]
    rest = []
    for rank in ranks:
        rank.load_state_dict(state)
    for batches in zip(*ranks, strict=True):
        rest += [frame for batch in batches for frame in batch.frame_ids.tolist()]
    assert rest == np.concatenate(whole[3:]).tolist()[: len(rest)] and len(rest) == 48
    with pytest.raises(SamplingError, match=r"weights: per-video:\w+ in the state, video:\w+ here"):
        loader("video").load_state_dict(state)
    other = {"time": "content", "content": "time"}[strata]
    labels = {"time": "time", "content": "content:0123456789abcdef"}
    message = f"strata: {labels[strata]} in the state, {labels[other]} here"
    with pytest.raises(SamplingError, match=message):
        loader(WEIGHTS, strata=other).load_state_dict(state)


def test_whole_windows_are_drawn_by_weight():
    options = {"weights": [9, 3, 0, 2, 1, 2], "clip_frames": 6, "batch_size": 16, **STRATIFIED}
    store = by_video()
    epochs = plan_windows("test", store, options)
    assert epochs.plan.frames.weights.video_sizes.tolist() == [4, 1, 15, 7, 3]
    for ids in epochs.frame_ids(0):
        counts = np.bincount(store.rows_of(ids)["video_id"], minlength=6)
        assert (np.abs(counts - np.array([0, 6, 0, 4, 2, 4])) <= 1).all()
