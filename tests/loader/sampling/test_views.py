"""Every sampling on every view: each frame as often as on a store of the same shards, and resume on no other view."""

import json
import warnings
from itertools import islice

import numpy as np
import pytest

from frame_store import concat, select, split
from loader import FrameBatchSampler, FrameLoader, SamplingError, epoch_order
from loader.sampling.orders import draws_again
from loader.sampling.plan import plan_batches
from loader.sampling.spec import SamplingSpec
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import make_sampler
from tests.support.statistics.chi_squared import ALPHA
from tests.support.statistics.statistics import draws_needed, draws_p_value

SHARDS = [12, 9, 0, 17, 10, 22]


def shuffled(seed=0):
    return ArrayStore(SHARDS, order=np.random.default_rng(seed).permutation(sum(SHARDS)))


VIEWS = {
    "everything": lambda: select(shuffled(), ids=range(70)),
    "videos": lambda: select(ArrayStore(SHARDS), videos=[0, 1, 2, 5, 8, 9]),
    "shuffled videos": lambda: select(shuffled(), videos=[0, 1, 2, 5, 8, 9]),
    "frames": lambda: select(shuffled(), ids=range(0, 70, 2)),
    "a part": lambda: split(shuffled(), {"train": 0.7, "val": 0.3})["train"],
    "other shard sizes": lambda: concat([shuffled(), ArrayStore([30, 5]), ArrayStore([8, 8, 8])]),
    "views of several": lambda: concat([select(shuffled(), ids=range(3, 40)), ArrayStore([30, 5])]),
}
SAMPLINGS = {
    "permutation": {"sampling": "permutation", "remainder": "uneven"},
    "sequential": {"sampling": "sequential"},
    "block": {"sampling": "block", "shards_per_block": 2, "remainder": "uneven"},
    "iid": {"sampling": "iid"},
    "visits": {"sampling": "shards", "frames_per_visit": 4},
    "weighted": {"sampling": "iid", "weights": "video"},
    "weighted visits": {"sampling": "shards", "frames_per_visit": 4, "weights": "video"},
}
ONCE_AN_EPOCH = ["permutation", "sequential", "block"]


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("name", SAMPLINGS)
def test_the_order_of_a_view_is_that_of_a_store_of_its_shards(make, name):
    """Weights aside, a view is nothing but shard sizes to an order."""
    store, options = make(), SAMPLINGS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about small shards, which have a test of their own
        ids = np.concatenate(list(FrameBatchSampler(store, batch_size=8, seed=1, **options)))
    if name in ONCE_AN_EPOCH:
        assert sorted(ids.tolist()) == list(range(len(store)))
    if "weights" in options:
        assert set(ids.tolist()) <= set(range(len(store)))
        return
    known = {key: value for key, value in options.items() if key != "remainder"}
    order = epoch_order(store.shard_sizes, SamplingSpec(**known), seed=1, short_shards="replace")
    assert ids.tolist() == order.ids(0, len(ids)).tolist()


@pytest.mark.parametrize("make", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("name", SAMPLINGS)
def test_a_run_goes_on_in_the_middle_of_an_epoch_on_each_view_and_on_no_other(make, name):
    def loader(store):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return FrameLoader(store, batch_size=8, num_threads=1, seed=1, **SAMPLINGS[name])

    whole = [batch.frame_ids.tolist() for batch in loader(make())]
    first = loader(make())
    for _ in islice(first, 2):
        pass
    state = json.loads(json.dumps(first.state_dict()))
    resumed = loader(make())
    resumed.load_state_dict(state)
    assert [batch.frame_ids.tolist() for batch in resumed] == whole[2:]
    store = make()
    other = select(store, ids=range(len(store) - 1))
    with pytest.raises(
        SamplingError, match=f"fingerprint: {store.fingerprint} in the state, {other.fingerprint} here"
    ):
        loader(other).load_state_dict(state)


# Visits to shards in which a view leaves few frames.

SHORT = [1, 3, 8, 5, 8]
SPEC = SamplingSpec(sampling="shards", frames_per_visit=4)


def few_frames_a_shard():
    return select(ArrayStore([8] * 5, video_sizes=[40]), ids=[0, 8, 9, 10, *range(16, 29), *range(32, 40)])


def test_visits_to_short_shards_alone_draw_with_replacement():
    assert draws_again(np.array(SHORT), SPEC).tolist() == [True, True, False, False, False]
    ends = np.cumsum(SHORT)
    order = epoch_order(SHORT, SPEC, short_shards="replace")
    seen = {shard: [] for shard in range(5)}
    for epoch in range(200):
        ids = epoch_order(SHORT, SPEC, epoch=epoch, short_shards="replace").ids(0, len(order)).reshape(-1, 4)
        for visit in ids.tolist():
            (shard,) = set(np.searchsorted(ends, visit, side="right").tolist())
            seen[shard].append(len(set(visit)))
    assert set(seen[0]) == {1} and set(seen[1]) == {1, 2, 3}
    assert set(seen[2]) == set(seen[3]) == set(seen[4]) == {4}


def test_where_no_shard_is_short_the_order_is_that_of_a_cache():
    sizes = [8, 4, 11]
    order = epoch_order(sizes, SPEC, short_shards="replace")
    assert order.ids(0, len(order)).tolist() == epoch_order(sizes, SPEC).ids(0, len(order)).tolist()


def test_every_frame_of_a_view_with_short_shards_is_drawn_alike():
    """One slot a visit: draws are independent. The rule that leaves short shards out would be rejected."""
    store = few_frames_a_shard()
    assert store.shard_sizes.tolist() == SHORT
    sampler = make_quiet(store)
    draws = draws_needed(len(store))
    drawn = []
    while sum(map(len, drawn)) < draws:
        visits = np.concatenate(list(sampler)).reshape(-1, 4)
        drawn.append(visits[np.arange(len(visits)), np.arange(len(visits)) % 4])
    drawn = np.concatenate(drawn)
    assert draws_p_value(drawn, np.full(len(store), 1 / len(store))) > ALPHA
    longer = np.repeat(np.array(SHORT) >= 4, SHORT)
    assert np.count_nonzero(~longer[drawn]) > 0


def make_quiet(store):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return FrameBatchSampler(store, batch_size=8, sampling="shards", frames_per_visit=4)


def test_a_view_says_once_that_visits_draw_with_replacement_and_a_cache_is_refused():
    store = few_frames_a_shard()
    options = {"batch_size": 8, "sampling": "shards", "frames_per_visit": 4, "num_threads": 1}
    text = r"2 shards have fewer frames to draw than frames_per_visit=4 \(of 5\)"
    with pytest.warns(UserWarning, match=text) as found:
        loader = FrameLoader(store, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(list(loader)) for _ in range(2)] == [3, 3]
    assert len(found) == 1
    refused = ArrayStore(SHORT)
    for other in (refused, concat([refused, refused])):
        with pytest.raises(SamplingError, match="frames_per_visit is 4, but shard 0 holds 1 frame"):
            FrameLoader(other, **options)


@pytest.mark.parametrize("more", [{"frames_with_replacement": True}, {"weights": "video"}])
def test_nothing_is_said_where_all_visits_draw_with_replacement_anyway(more):
    plan = plan_batches(few_frames_a_shard(), batch_size=8, sampling="shards", frames_per_visit=4, **more)
    assert not plan.warnings
    assert not make_sampler(
        select(ArrayStore([8, 8]), videos=[0]), sampling="iid", batch_size=4
    )._epochs.plan.warnings
