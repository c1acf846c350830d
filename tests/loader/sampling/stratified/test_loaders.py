"""`sampling="stratified"` out of the real loaders: every kind of store, ranks, remainders, resume, workers, windows."""

import json
import pickle
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store import concat, select, split
from loader import FrameBatchSampler, FrameLoader, make_dataloader
from loader.sampling.plan import make_plan
from loader.windows import plan_windows
from tests.loader.cameras.moments import check_batch, make_group
from tests.loader.sampling.stratified.expected import (
    check_videos_are_spread,
    epoch_over,
    ids_by_time,
    made_up_content,
    some_order,
)
from tests.loader.windows.decoded_store import DecodedStore
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import drawn_by_workers, ids_of, make_loader

SIZES = [5, 9, 6, 20, 12, 8]
SHARDS = [11, 0, 25, 4, 20]
STRATIFIED = {"sampling": "stratified"}
UNEVEN = {**STRATIFIED, "remainder": "uneven"}


def by_video():
    return ArrayStore(SHARDS, video_sizes=SIZES)


def shuffled(seed=3):
    return ArrayStore(SHARDS, video_sizes=SIZES, order=np.random.default_rng(seed).permutation(sum(SIZES)))


def strided(order=None):
    """Three videos of which each second or third frame is stored, and one that is stored whole."""
    stored = [list(range(0, 40, 2)), list(range(0, 31, 3)), list(range(7)), list(range(1, 25, 2))]
    pts = [[frame / 10 for frame in range(frames[-1] + 1)] for frames in stored]
    return DecodedStore(pts, stored, order=order)


def cameras():
    orders = [np.random.default_rng(seed).permutation(50) for seed in range(2)]
    return make_group(orders=orders, sizes=[13, 4, 30, 3])


STORES = {
    "by video": by_video,
    "shuffled": shuffled,
    "strided": strided,
    "strided and shuffled": lambda: strided(np.random.default_rng(1).permutation(len(strided()))),
    "videos": lambda: select(shuffled(), videos=[0, 1, 3, 4]),
    "frames": lambda: select(by_video(), ids=range(3, 60, 2)),
    "frames, shuffled": lambda: select(shuffled(), ids=range(3, 60, 2)),
    "frames of frames": lambda: select(select(shuffled(), ids=range(1, 60)), ids=range(0, 50, 3)),
    "a part of a split": lambda: split(shuffled(), {"a": 0.6, "b": 0.4})["a"],
    "several caches": lambda: concat([by_video(), shuffled(), shuffled(4)]),
    "views of several": lambda: concat(
        [select(shuffled(), videos=[0, 2, 3]), select(by_video(), ids=range(9))]
    ),
    "several cameras": cameras,
    "a view of cameras": lambda: select(cameras(), videos=[0, 2]),
    "cameras of several caches": lambda: concat([cameras(), cameras()]),
    "one frame": lambda: ArrayStore([1]),
}


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_an_epoch_is_the_nested_order_over_videos_and_times(make):
    store = make()
    sampler = FrameBatchSampler(store, batch_size=7, seed=4, **UNEVEN)
    for epoch in range(3):
        ids = np.concatenate(list(sampler))
        assert ids.tolist() == epoch_over(ids_by_time(store), seed=4, epoch=epoch).tolist()
        assert sorted(ids.tolist()) == list(range(len(store)))


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
def test_an_epoch_by_content_is_the_nested_order_over_the_content_order(make):
    store = make()
    with made_up_content(some_order):
        sampler = FrameBatchSampler(store, batch_size=7, seed=4, strata="content", **UNEVEN)
        ids = np.concatenate(list(sampler))
    assert ids.tolist() == epoch_over(some_order(store).astype(np.int64), seed=4).tolist()


class ContentStore(ArrayStore):
    """A store with a content order."""

    content_order = property(some_order)
    content_digest = property(lambda self: f"{len(self):064x}")


def of_content():
    return ContentStore(SHARDS, video_sizes=SIZES)


CHOSEN = [*range(1, 30), *range(40, 58, 3)]


def test_strata_of_views_and_several_caches_by_content_are_those_of_their_caches():
    order = some_order(of_content()).tolist()
    view = select(of_content(), ids=CHOSEN)
    of_view = [CHOSEN.index(frame) for frame in order if frame in CHOSEN]
    both = concat([view, of_content()])
    expected = {view: of_view, both: of_view + [len(view) + frame for frame in order]}
    labels = set()
    for store, ids in expected.items():
        sampler = FrameBatchSampler(store, batch_size=8, seed=1, strata="content", **UNEVEN)
        assert np.concatenate(list(sampler)).tolist() == epoch_over(np.array(ids), seed=1).tolist()
        labels.add(sampler.state_dict()["sampling"]["strata"])
        weights = 1 + np.arange(len(store.videos)) % 3
        plan = make_plan(
            store.shard_sizes, store=store, batch_size=8, strata="content", weights=weights, **STRATIFIED
        )
        assert set(plan.order(0).ids(0, len(store)).tolist()) <= set(range(len(store)))
    assert len(labels) == 2 and all(label.startswith("content:") for label in labels)


@pytest.mark.parametrize("batch_size", [4, 8, 16])
@pytest.mark.parametrize("name", ["by video", "shuffled", "frames, shuffled", "several caches", "strided"])
def test_each_batch_has_each_video_in_proportion(name, batch_size):
    store = STORES[name]()
    videos = store.rows_of(np.arange(len(store)))["video_id"]
    for seed in range(5):
        for batch in make_loader(store, batch_size=batch_size, seed=seed, **STRATIFIED):
            ids = batch.frame_ids.numpy()
            assert len(ids) == batch_size
            check_videos_are_spread(ids, videos, len(store))


def test_layouts_show_the_same_moments():
    """The order is by time, so where frames lie on disk changes nothing."""
    shown = []
    for store in (by_video(), shuffled(), shuffled(9)):
        ids = np.concatenate(list(FrameBatchSampler(store, batch_size=8, seed=2, **UNEVEN)))
        rows = store.rows_of(ids)
        shown.append([rows["video_id"].tolist(), rows["frame_in_video"].tolist()])
    assert shown[0] == shown[1] == shown[2]


@pytest.mark.parametrize("remainder", [None, "drop", "pad", "uneven"])
@pytest.mark.parametrize("num_ranks", range(1, 9))
def test_ranks_share_one_order(num_ranks, remainder):
    """At each step the ranks in turn have the next positions; `pad` begins again at the start, `drop` cuts."""
    store, batch_size = shuffled(), 4
    order = epoch_over(ids_by_time(store), seed=6, epoch=1)
    step = num_ranks * batch_size
    ranks = []
    for rank in range(num_ranks):
        loader = make_loader(
            store,
            batch_size=batch_size,
            seed=6,
            remainder=remainder,
            rank=rank,
            world_size=num_ranks,
            **STRATIFIED,
        )
        loader.set_epoch(1)
        ranks.append([ids_of([batch]) for batch in loader])
    num_steps = max(map(len, ranks))
    shown = np.concatenate(
        [ids for at in range(num_steps) for of_rank in ranks for ids in of_rank[at : at + 1]]
    )
    expected = {
        "drop": order[: len(order) // step * step],
        "pad": np.concatenate([order, order])[: -(-len(order) // step) * step],
        "uneven": order,
    }[remainder or "drop"]
    assert shown.tolist() == expected.tolist()


@given(
    seed=st.integers(0, 2**32 - 1),
    legs=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(0, 5)), min_size=1, max_size=4),
    epoch=st.integers(0, 3),
)
@settings(max_examples=40, deadline=None)
def test_an_epoch_of_any_legs_shows_every_frame_once(seed, legs, epoch):
    """Each leg has a batch size and a world size of its own, and stops after some steps; the last one does not."""
    store, state, counts = shuffled(), None, np.zeros(sum(SIZES), int)
    shown = []
    for number, (batch_size, num_ranks, most_steps) in enumerate(legs):
        is_last = number == len(legs) - 1
        left = len(store) - (0 if state is None else state["position"])
        num_steps = min(most_steps, left // (batch_size * num_ranks))
        states = []
        for rank in range(num_ranks):
            sampler = FrameBatchSampler(
                store, batch_size=batch_size, seed=seed, rank=rank, world_size=num_ranks, **UNEVEN
            )
            sampler.set_epoch(epoch)
            if state is not None:
                sampler.load_state_dict(state)
            batches = list(sampler if is_last else islice(iter(sampler), num_steps))
            shown += [frame for batch in batches for frame in batch]
            states.append(json.loads(json.dumps(sampler.state_dict())))
        if not is_last and num_steps:
            assert all(other == states[0] for other in states)
            state = states[0]
            if state["epoch"] != epoch:
                break
    np.add.at(counts, shown, 1)
    assert (counts == 1).all()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_show_the_same_epochs(num_workers):
    store = shuffled()
    ids = drawn_by_workers(store, num_workers, 2, **UNEVEN)
    for epoch in range(2):
        here = ids[epoch * len(store) : (epoch + 1) * len(store)]
        assert here.tolist() == epoch_over(ids_by_time(store), seed=3, epoch=epoch).tolist()


def test_a_run_goes_on_with_workers_after_threads_and_after_workers():
    store = shuffled()
    order = epoch_over(ids_by_time(store), seed=1).tolist()
    first = make_loader(store, batch_size=8, seed=1, **UNEVEN)
    shown = ids_of(islice(first, 3)).tolist()
    second = make_dataloader(
        store, num_workers=2, multiprocessing_context="fork", batch_size=5, seed=1, **UNEVEN
    )
    second.load_state_dict(first.state_dict())
    shown += ids_of(islice(iter(second), 2)).tolist()
    third = make_loader(store, batch_size=16, seed=1, **UNEVEN)
    third.load_state_dict(second.state_dict())
    shown += ids_of(third).tolist()
    assert shown == order


@pytest.mark.parametrize("strata", ["time", "content"])
@pytest.mark.parametrize("name", ["by video", "frames, shuffled", "several caches"])
def test_a_plan_is_a_function_of_the_position_alone_and_pickles(name, strata):
    store = STORES[name]()
    with made_up_content(some_order):
        plan = make_plan(store.shard_sizes, store=store, batch_size=8, seed=2, strata=strata, **STRATIFIED)
        order = plan.order(3)
        whole = order.ids(0, len(order))
        assert whole.dtype == np.int64
        some = np.random.default_rng(0).permutation(len(order))[:17]
        assert order.ids_at(some).tolist() == whole[some].tolist()
        for copied in (pickle.loads(pickle.dumps(plan)).order(3), pickle.loads(pickle.dumps(order))):
            assert copied.ids(0, len(order)).tolist() == whole.tolist()
        assert whole.tolist() != plan.order(4).ids(0, len(order)).tolist()


def test_a_pickled_plan_has_no_order_of_all_frames():
    store = ArrayStore([4000], order=np.random.default_rng(0).permutation(4000))
    view = select(store, videos=range(500))
    plan = make_plan(view.shard_sizes, store=view, batch_size=8, **STRATIFIED)
    before = len(pickle.dumps(plan.strata))
    plan.order(0).ids(0, 8)
    assert len(pickle.dumps(plan.strata)) < before + 200


# Windows.


@pytest.mark.parametrize("make", [strided, STORES["frames, shuffled"], STORES["several caches"], shuffled])
@pytest.mark.parametrize(
    "window",
    [
        {"frame_offsets": (-2, 0, 1), "edges": "pad"},
        {"frame_offsets": (-2, 0, 1), "edges": "whole"},
        {"clip_frames": 4, "clip_stride": 2},
        {"frame_offsets": (0,), "column_offsets_seconds": {}, "edges": "pad"},
    ],
)
def test_every_anchor_comes_once_spread_over_the_anchors(make, window):
    store = make()
    epochs = plan_windows("test", store, {"batch_size": 6, "seed": 3, **UNEVEN, **window})
    shown = np.concatenate(list(epochs.frame_ids(2)))
    in_time = ids_by_time(store)
    if window.get("edges") != "pad":
        anchors = set(np.concatenate(list(epochs.frame_ids(0))).tolist())
        assert 0 < len(anchors) < len(store)
        in_time = np.array([frame for frame in in_time.tolist() if frame in anchors])
    assert shown.tolist() == epoch_over(in_time, seed=3, epoch=2).tolist()


@pytest.mark.parametrize("edges", ["pad", "whole"])
def test_windows_and_columns_of_cameras(edges):
    group = cameras()
    options = {"frame_offsets": (0, 1, 2), "column_offsets": {"count": (0, 1)}, "edges": edges}
    shown = []
    for batch in FrameLoader(group, batch_size=8, num_threads=2, **UNEVEN, **options):
        check_batch(batch)
        shown += batch.frame_ids.tolist()
    assert len(set(shown)) == len(shown) == (50 if edges == "pad" else 11 + 2 + 28 + 1)


# Texts.


def test_the_sampling_is_named_in_the_loader_s_text_and_state():
    loader = FrameLoader(by_video(), batch_size=8, **STRATIFIED)
    assert repr(loader).startswith(
        "FrameLoader(sampling=stratified seed=0; an epoch is 60 frames; 7 batches of 8"
    )
    assert loader.state_dict()["sampling"]["strata"] == "time"
    with made_up_content(some_order):
        loader = FrameLoader(by_video(), batch_size=8, strata="content", **STRATIFIED)
    assert "sampling=stratified strata=content:0123456789abcdef seed=0" in repr(loader)
    assert loader.state_dict()["sampling"]["strata"] == "content:0123456789abcdef"
