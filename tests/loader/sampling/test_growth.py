"""An epoch that began before its cache grew ends as it would have ended; what comes after it is the caller's choice."""

import json
import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from frame_store import CacheStore, concat, open_store, select, split
from loader import FrameBatchSampler, FrameLoader, SamplingError, make_dataloader
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.camera_cache import write_camera_cache
from tests.support.grown.steps import append_videos, forget, grow, join, order

STRATIFIED = {"sampling": "stratified"}
SHARDS = {"sampling": "shards", "frames_per_visit": 2}
OPTIONS = {
    "permutation": {},
    "permutation, uneven": {"remainder": "uneven"},
    "stratified": STRATIFIED,
    "by content": STRATIFIED | {"strata": "content"},
    "iid": {"sampling": "iid"},
    "sequential": {"sampling": "sequential"},
    "shards": SHARDS,
    "shards alike": SHARDS | {"shard_choice": "uniform"},
    "block": {"sampling": "block", "shards_per_block": 2, "remainder": "pad"},
    "iid by video": {"sampling": "iid", "weights": "video"},
    "shards by seconds": SHARDS | {"weights": "seconds"},
    "stratified by a power": STRATIFIED | {"weights": 0.5},
    "iid by numbers": {"sampling": "iid", "weights": "numbers"},
    "padded windows of shards": SHARDS | {"frame_offsets": (-1, 0, 2)},
    "clips of shards": SHARDS | {"clip_frames": 3},
    "clips in blocks": {"sampling": "block", "shards_per_block": 2, "clip_frames": 2},
    "clips by numbers": STRATIFIED | {"weights": "numbers", "clip_frames": 2},
}
VIEWS = {
    "all": lambda store: store,
    "some": lambda store: select(store, videos=np.arange(len(store.videos)) % 3 != 1),
    "a part": lambda store: split(store, {"train": 0.6, "val": 0.4}, seed=1)["train"],
}
NUMBERS = np.random.default_rng(5).random(40) + 0.1
SIZES = st.lists(st.integers(2, 9), min_size=1, max_size=4)
CHANGES = st.lists(st.one_of(SIZES, st.sampled_from(["join all", "join two"])), min_size=1, max_size=3)


def sampler_of(store, name, view, *, make=FrameBatchSampler, **more):
    store = VIEWS[view](store)
    options = OPTIONS[name] | {"batch_size": 4, "seed": 3} | more
    if options.get("weights") == "numbers":
        options["weights"] = NUMBERS[: len(store.videos)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(store, **options)


def loaded(store, name, view, state, **more):
    sampler = sampler_of(store, name, view, **more)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler.load_state_dict(json.loads(json.dumps(state)))
    return sampler


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """A cache, opened whenever it had changed: appended to, joined, appended to, joined in part and altogether."""
    scratch = tmp_path_factory.mktemp("history")
    cache, stores = scratch / "cache", []
    for change in ([9, 8, 6], [5, 2], "join two", [2, 7], [6], "join two", "join all", [4]):
        changed(cache, change, scratch)
        stores.append(open_store(cache))
    return stores


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_sampling_ends_its_epoch_on_any_newer_version(history, name, view):
    grows = {number: sampler_of(store, name, view) for number, store in enumerate(history)}
    for number, then in enumerate(history[:-1]):
        running = sampler_of(then, name, view)
        batches = iter(running)
        next(batches)
        state, rest = running.state_dict(), [*batches]
        after = [*running]
        for newer in range(number + 1, len(history)):
            if (newer + number) % 2:  # half of all pairs, each version among them
                continue
            again = loaded(history[newer], name, view, state, grow=newer % 3 > 0)
            assert [*again] == rest, (number, newer)
            grows[newer].set_epoch(1)
            assert [*again] == ([*grows[newer]] if newer % 3 else after), (number, newer)


def changed(cache, change, scratch):
    """Append videos of these sizes, or join generations."""
    if isinstance(change, list):
        append_videos(cache, change, scratch=scratch, ordered=True)
        return
    count = len(CacheStore(cache).generations)
    if count > 1:
        join(cache, 0 if change == "join all" else count - 2, count)


@settings(
    max_examples=int(__import__("os").environ.get("G4N", 20)),
    phases=[__import__("hypothesis").Phase.generate],
)
@given(
    case=st.tuples(st.sampled_from([*OPTIONS]), st.sampled_from([*VIEWS]), st.sampled_from([(0, 1), (1, 2)])),
    histories=st.tuples(st.lists(SIZES, min_size=1, max_size=2), CHANGES, CHANGES),
    grows=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_an_epoch_ends_as_if_nothing_had_come(tmp_path_factory, case, histories, grows, seed):
    (name, view, rank), (before, changes, later) = case, histories
    scratch = tmp_path_factory.mktemp("growth")
    cache, draw = scratch / "cache", np.random.default_rng(seed)
    append_videos(cache, [9, 8, 7], scratch=scratch, ordered=True)  # each view has frames for each rank
    for change in before:
        changed(cache, change, scratch)
    where = {"rank": rank[0], "world_size": rank[1], "grow": grows}
    running = sampler_of(open_store(cache), name, view, **where)
    first = int(draw.integers(3))
    running.set_epoch(first)
    batches = iter(running)
    for _ in range(int(draw.integers(1, len(running) + 1))):
        next(batches)
    state = running.state_dict()
    for number, change in enumerate(changes):
        changed(cache, change, scratch / str(number))
    again = loaded(open_store(cache), name, view, state, **where)
    assert len(again) == len(running)
    assert again.state_dict() == state, "a state that is kept at once is the same"
    resumed = iter(again)
    for _ in range(int(draw.integers(3))):  # some batches more, then the cache changes once more
        assert next(resumed, None) == next(batches, None)
    state = running.state_dict()
    assert again.state_dict() == state or (grows and state["epoch"] > first)
    for number, change in enumerate(later):
        changed(cache, change, scratch / f"later-{number}")
    again = loaded(open_store(cache), name, view, state, **where)
    if state["epoch"] == first:
        assert [*again] == [*batches]
    whole = sampler_of(open_store(cache), name, view, **where)
    expected = whole if grows else running
    for epoch in (first + 1, first + 2):
        expected.set_epoch(epoch)
        assert [*again] == [*expected]
        assert len(again) == len(expected)
    assert again.state_dict() == expected.state_dict()


@pytest.mark.parametrize("make", [FrameLoader, make_dataloader])
def test_batches_are_the_same_and_then_all_frames_come(tmp_path, make):
    """Pixels, columns of ids and windows through the loaders themselves; and every frame once after the growth."""
    cache = append_videos(tmp_path / "cache", [9, 7, 8], scratch=tmp_path)
    workers = {"num_workers": 1, "multiprocessing_context": "fork"} if make is make_dataloader else {}
    options = {"batch_size": 5, "remainder": "uneven", "frame_offsets": (0, 1), **workers}
    running = make(open_store(cache), **options)
    batches = iter(running)
    next(batches)
    state = running.state_dict()
    append_videos(cache, [6, 1], scratch=tmp_path)
    rest = [*batches]  # workers may start after the append: they read what the parent has opened
    join(cache, 0, 2)
    append_videos(cache, [3], scratch=tmp_path)
    loader = make(open_store(cache), grow=True, **options)
    loader.load_state_dict(state)
    assert "over the first 24 of 34 frames" in repr(loader)
    assert (len(loader), len(loader.store)) == (5, 34)
    for found, expected in zip(loader, rest, strict=True):
        for name, tensor in expected.tensors().items():
            if name != "shard_ids":
                assert tensor.equal(found.tensors()[name]), name
    assert len(loader) == 7
    assert "over the first" not in repr(loader)
    assert sorted(id_ for batch in loader for id_ in batch.frame_ids.tolist()) == [*range(34)]
    assert loader.state_dict()["num_frames"] == 34
    if make is FrameLoader:
        loader.load_state_dict(state)
        assert pickle.loads(pickle.dumps(loader)).state_dict() == state


def test_what_is_sent_to_a_worker_is_what_its_parent_has_opened(tmp_path):
    cache = append_videos(tmp_path / "cache", [9, 7], scratch=tmp_path)
    store = open_store(cache)
    loader = FrameLoader(store, batch_size=4, num_threads=1, remainder="uneven")
    append_videos(cache, [6], scratch=tmp_path)
    join(cache, 0, 2)
    assert pickle.loads(pickle.dumps(store)).fingerprint == store.fingerprint != open_store(cache).fingerprint
    ids = [id_ for batch in pickle.loads(pickle.dumps(loader)) for id_ in batch.frame_ids.tolist()]
    assert sorted(ids) == [*range(16)]


def test_without_grow_a_warning_says_once_what_is_left_out(tmp_path):
    cache = append_videos(tmp_path / "cache", [9, 7], scratch=tmp_path)
    sampler = FrameBatchSampler(open_store(cache), batch_size=4)
    ended = [*sampler]
    assert len(ended) == 4
    state = sampler.state_dict()
    append_videos(cache, [6], scratch=tmp_path)
    sampler = FrameBatchSampler(open_store(cache), batch_size=4)
    assert len(sampler) == 5, "a new run has all frames"
    with pytest.warns(
        UserWarning, match=r"over the 16 frames of the state; the store has 6 more by now: grow=True"
    ):
        sampler.load_state_dict(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sampler.load_state_dict(state)
        grown = FrameBatchSampler(open_store(cache), batch_size=4, grow=True)
        grown.load_state_dict(state)
    assert (len(sampler), len(grown)) == (4, 5)
    assert grown.state_dict()["num_frames"] == 22, (
        "a state between two epochs begins the next one with all frames"
    )
    assert len(grown.state_dict()["fingerprint"]) == 64
    with pytest.raises(SamplingError, match="grow"):
        FrameBatchSampler(open_store(cache), grow="yes")


def test_cameras_resume_over_what_they_were(tmp_path):
    cache, added = tmp_path / "cache", tmp_path / "added"
    write_camera_cache(cache)
    one_a_visit = SHARDS | {"frames_per_visit": 1}
    running = FrameLoader(open_store(cache), batch_size=5, num_threads=1, **one_a_visit)
    batches = iter(running)
    next(batches)
    state = running.state_dict()
    write_camera_cache(added, seeds=[7, 8], sizes=(4, 3), names=[["a", "b"]] * 2)
    grow(cache, added)
    loader = FrameLoader(
        open_store(cache), batch_size=5, num_threads=1, grow=True, sampling="shards", frames_per_visit=1
    )
    loader.load_state_dict(state)
    for found, expected in zip(loader, batches, strict=True):
        for name, tensor in expected.tensors().items():
            assert tensor.equal(found.tensors()[name]), name
    assert len(loader) == 31 // 5


def state_of(store, **options):
    sampler = FrameBatchSampler(store, batch_size=4, **options)
    next(iter(sampler))
    return sampler.state_dict()


def test_states_that_do_not_fit_are_refused_with_the_reason(tmp_path):
    cache = append_videos(tmp_path / "cache", [9, 7], scratch=tmp_path, ordered=True)
    by_content = STRATIFIED | {"strata": "content"}
    then = open_store(cache)
    old, old_by_content = state_of(then), state_of(then, **by_content)
    of_part = state_of(select(then, videos=[1]))
    append_videos(cache, [6, 5], scratch=tmp_path, ordered=True)
    now = open_store(cache)
    new = state_of(now)

    def refusal(store, state, **options):
        with pytest.raises(SamplingError) as found:
            FrameBatchSampler(store, batch_size=4, **options).load_state_dict(state)
        return str(found.value)

    assert "fewer frames than the state, 16 and 27: if the cache has grown" in refusal(then, new)
    assert f"fingerprint: {new['fingerprint']} in the state, {then.fingerprint} here" in refusal(then, new)
    other = CacheStore(append_videos(tmp_path / "other", [16], scratch=tmp_path))
    assert "after its builds were 16, 27, none with that fingerprint" in refusal(now, state_of(other))
    assert "the view never had these frames" in refusal(select(now, videos=[0]), of_part)
    assert refusal(concat([now, now]), old).count("in the state") == 2
    assert refusal(ArrayStore([16]), old).count("in the state") == 1
    assert "generation_frames are numbers above 0" in refusal(now, old | {"generation_frames": [0]})
    assert "seed: 0 in the state, 1 here" in refusal(now, old, seed=1)
    FrameBatchSampler(now, batch_size=4, grow=True, **by_content).load_state_dict(old_by_content)
    order(cache, seed=1)
    reordered = open_store(cache)
    assert "the content order was written anew" in refusal(reordered, old_by_content, grow=True, **by_content)
    between = old_by_content | {"position": 0}
    assert "the content order was written anew" in refusal(reordered, between, **by_content)
    FrameBatchSampler(reordered, batch_size=4, grow=True, **by_content).load_state_dict(between)
    forget(cache, 1)
    assert "1 video of the cache was forgotten" in refusal(open_store(cache), old)
    weighted = {"sampling": "iid", "weights": [1.0, 2.0]}
    with pytest.raises(SamplingError, match="a weight of each of 4 videos, also of those that were appended"):
        FrameBatchSampler(now, **weighted)
