"""Wrong options of `stratified` name what was expected and found; states of other strata are refused."""

import pytest

from frame_store import select
from loader import (
    FrameBatchSampler,
    FrameLoader,
    SamplingError,
    SamplingSpec,
    epoch_order,
    webdataset_batches,
)
from loader.sampling import BatchPlan
from loader.sampling.plan import make_plan
from tests.loader.sampling.stratified.expected import made_up_content, some_order
from tests.support.caches.array_store import ArrayStore

STRATIFIED = {"sampling": "stratified"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**STRATIFIED, "strata": "video"}, "strata must be one of time, content; found 'video'"),
        ({**STRATIFIED, "strata": None}, "strata must be one of time, content; found None"),
        ({**STRATIFIED, "strata": ["time"]}, r"strata must be one of time, content; found \['time'\]"),
        (
            {**STRATIFIED, "strata": "content:00ff"},
            "strata must be one of time, content; found 'content:00ff'",
        ),
        (
            {"strata": "content"},
            "strata belongs to sampling='stratified', found sampling='permutation' and strata='content'",
        ),
        (
            {"sampling": "iid", "weights": "video", "strata": "content"},
            "strata belongs to sampling='stratified', found sampling='iid' and strata='content'",
        ),
        (
            {**STRATIFIED, "strata": "content"},
            "strata='content' needs a cache with a content order: build it with cache-build --content-order, or add "
            "one with cache-bias CACHE --write-order. Live stores have none, and of the cameras of a cache only the "
            "first one has it",
        ),
        ({**STRATIFIED, "strata": "content", "weights": "video"}, "needs a cache with a content order"),
        (
            {**STRATIFIED, "frames_per_visit": 8},
            "frames_per_visit belongs to sampling='shards', found sampling='stratified'",
        ),
        (
            {**STRATIFIED, "shards_per_block": 2},
            "shards_per_block belongs to sampling='block', found sampling='stratified'",
        ),
        ({"sampling": "stratify"}, "sampling must be one of permutation, stratified, .*; found 'stratify'"),
        (
            {**STRATIFIED, "remainder": "drop", "batch_size": 128},
            "remainder='drop': an epoch of 60 frames holds no whole step of batch_size 128 x 1 rank",
        ),
    ],
)
@pytest.mark.parametrize("make", [FrameLoader, FrameBatchSampler])
def test_what_cannot_be_is_refused(make, options, message):
    with pytest.raises(SamplingError, match=message):
        make(ArrayStore([40, 20]), **{"batch_size": 8, **options})


@pytest.mark.parametrize("name", ["stratify", "stratified"])
def test_the_names_of_others_are_answered_with_ours(name):
    with pytest.raises(SamplingError, match=f"no option {name}=: sampling='stratified' spreads each batch"):
        FrameLoader(ArrayStore([40]), **{name: True})


@pytest.mark.parametrize(
    ("strata", "is_known"),
    [
        ("time", True),
        ("content", True),
        ("content:0af9", True),
        ("content:", False),
        ("content:xyz", False),
        ("time:0", False),
    ],
)
def test_a_spec_takes_the_label_of_a_content_order(strata, is_known):
    if is_known:
        assert SamplingSpec(sampling="stratified", strata=strata).strata == strata
        return
    with pytest.raises(SamplingError, match=f"strata must be one of time, content; found '{strata}'"):
        SamplingSpec(sampling="stratified", strata=strata)


@pytest.mark.parametrize("option", ["sampling", "strata", "weights"])
def test_webdataset_reads_shards_from_end_to_end_and_takes_no_sampling(option):
    with pytest.raises(
        SamplingError, match=f"webdataset_batches has no option {option}=: FrameLoader, .* take it"
    ):
        webdataset_batches("CACHE", **{option: "stratified"})


def test_an_order_needs_the_frames_of_a_store():
    with pytest.raises(
        SamplingError, match="an order by strata needs the frames of the store that it is for"
    ):
        epoch_order([3], SamplingSpec(sampling="stratified"))
    with pytest.raises(SamplingError, match="sampling='stratified' needs the videos of a store"):
        make_plan([3], sampling="stratified")


def test_a_plan_without_frames_knows_its_batches():
    plan = BatchPlan(
        [50, 27],
        SamplingSpec(sampling="stratified"),
        batch_size=8,
        seed=0,
        remainder=None,
        rank=0,
        world_size=1,
    )
    assert (plan.num_positions, len(plan), plan.num_positions_dropped, plan.drops_last) == (77, 9, 5, True)


def test_a_small_epoch_is_one_smaller_batch_with_a_warning():
    with pytest.warns(UserWarning, match="an epoch of 10 frames is less than a step"):
        loader = FrameLoader(ArrayStore([10]), batch_size=16, **STRATIFIED)
    assert [len(batch) for batch in loader] == [10]


def test_a_state_of_another_content_order_store_or_sampling_is_refused():
    store = ArrayStore([60])

    def loader(digest=None, *, of=store, **options):
        with made_up_content(some_order, digest=digest):
            strata = {} if digest is None else {"strata": "content"}
            return FrameLoader(of, batch_size=8, **{**STRATIFIED, **strata, **options})

    state = loader("aaaa").state_dict()
    loader("aaaa").load_state_dict(state)
    for other, found in ((loader("bbbb"), "content:bbbb"), (loader(), "time")):
        with pytest.raises(SamplingError, match=f"strata: content:aaaa in the state, {found} here"):
            other.load_state_dict(state)
    with pytest.raises(SamplingError, match="sampling: stratified in the state, permutation here"):
        loader(sampling="permutation").load_state_dict(loader().state_dict())
    with pytest.raises(SamplingError, match=r"fingerprint: .* in the state, .* here"):
        loader(of=select(store, ids=range(50))).load_state_dict(loader().state_dict())
