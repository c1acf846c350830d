"""Weights: whole numbers that sum to 2**53, the laws that the orders draw from them, and bad input."""

import math
import pickle
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from frame_store import concat, select, split
from frame_store.video_table import VideoTable
from loader import FrameBatchSampler, FrameLoader, SamplingError, SamplingSpec, epoch_order
from loader.sampling import video_weights
from loader.sampling.orders import WeightedFrames
from loader.sampling.orders.weighted import _drawn
from loader.sampling.plan import make_plan
from loader.sampling.weights import WHOLE, whole_parts
from loader.windows import plan_windows
from tests.frame_store.views.list_store import array_stores
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import make_loader
from tests.support.statistics.chi_squared import ALPHA
from tests.support.statistics.statistics import chi2_between, draws_needed, draws_p_value, power
from tests.support.statistics.weighted import law_of_iid, law_of_visits, target_of

SIZES = [5, 9, 6, 20, 12, 8]
SHARDS = [11, 0, 25, 4, 20]
WEIGHTS = [3, 0, 1, 2.5, 0.75, 4]


def by_video():
    return ArrayStore(SHARDS, video_sizes=SIZES)


def shuffled(seed=3):
    return ArrayStore(SHARDS, video_sizes=SIZES, order=np.random.default_rng(seed).permutation(sum(SIZES)))


STORES = {
    "by video": by_video,
    "shuffled": shuffled,
    "frames of videos": lambda: select(by_video(), ids=range(3, 60, 2)),
    "shuffled frames": lambda: select(shuffled(), ids=range(3, 60, 2)),
    "videos": lambda: select(shuffled(), videos=[0, 1, 3, 4]),
    "a part of a split": lambda: split(by_video(), {"a": 0.6, "b": 0.4})["a"],
    "several stores": lambda: concat([by_video(), shuffled()]),
    "views of several": lambda: concat([select(by_video(), videos=[0, 2, 3]), shuffled()]),
}


def weights_for(store):
    return np.resize(WEIGHTS, len(store.videos))


# Whole numbers.

POSITIVE = st.floats(min_value=5e-324, max_value=1.7e308)


@given(weights=st.lists(st.one_of(st.just(0.0), POSITIVE), min_size=1, max_size=40).filter(any))
def test_whole_parts_sum_to_two_to_the_53_and_are_as_near_as_that_allows(weights):
    parts = whole_parts(np.array(weights)).tolist()
    assert sum(parts) == WHOLE
    largest = max(weights)
    shares = [weight / largest for weight in weights]
    total = math.fsum(shares)
    for part, share in zip(parts, shares, strict=True):
        assert (part == 0) == (share == 0) or share * WHOLE < 1  # a positive weight keeps 1
        assert abs(part - share / total * WHOLE) <= len(weights) + 4
    assert all(part > 0 for part, weight in zip(parts, weights, strict=True) if weight)


def test_whole_parts_of_equal_weights_differ_by_one_at_most_and_those_of_powers_of_two_are_exact():
    parts = whole_parts(np.full(7, 0.3))
    assert parts.sum() == WHOLE and np.ptp(parts) <= 1
    assert whole_parts(np.array([0.0, 3.0, 1.0])).tolist() == [0, 3 * WHOLE // 4, WHOLE // 4]


def test_each_item_is_drawn_by_exactly_as_many_numbers_as_it_has_parts():
    """A draw compares the top 53 bits of a word: the first and the last number of each item, and their neighbours."""
    ends = np.array([3, 3, 10, WHOLE])
    numbers = np.array([0, 2, 3, 9, 10, WHOLE - 1], np.uint64)
    expected = [0, 0, 2, 2, 3, 3]
    for low_bits in (0, (1 << 11) - 1):
        assert _drawn((numbers << np.uint64(11)) | np.uint64(low_bits), ends).tolist() == expected


# The laws, by enumeration.


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
@pytest.mark.parametrize("law_of", [law_of_iid, law_of_visits])
def test_the_whole_numbers_of_an_order_state_the_target(make, law_of):
    store = make()
    weights = weights_for(store)
    law = law_of(WeightedFrames(store, weights), len(store))
    assert np.abs(law - target_of(store, weights)).max() < 1e-14


@given(base=array_stores(), data=st.data())
def test_the_laws_of_any_view_of_any_store(base, data):
    ids = data.draw(st.lists(st.sampled_from(range(len(base))), min_size=1, unique=True))
    view = select(base, ids=ids)
    weights = data.draw(
        st.lists(st.integers(0, 5), min_size=len(view.videos), max_size=len(view.videos)).filter(any)
    )
    frames, target = WeightedFrames(view, weights), target_of(view, weights)
    assert np.abs(law_of_iid(frames, len(view)) - target).max() < 1e-14
    assert np.abs(law_of_visits(frames, len(view)) - target).max() < 1e-14


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ("video", lambda sizes: np.ones(len(sizes))),
        ("seconds", lambda sizes: sizes),  # all at 25 fps
        (0, lambda sizes: np.ones(len(sizes))),
        (0.5, np.sqrt),
        (-1, lambda sizes: 1 / sizes),
        (1.0, lambda sizes: sizes),
        (np.float32(2), np.square),
        (1000, lambda sizes: sizes == sizes.max()),  # 20^1000 is no float
    ],
)
def test_named_weights_and_temperatures(weights, expected):
    store = by_video()
    found = video_weights(store, weights).parts / WHOLE
    asked = expected(np.array(SIZES, float))
    assert found == pytest.approx(asked / asked.sum(), rel=1e-12, abs=1e-15)


def test_a_weight_of_each_part_makes_the_frames_of_a_part_alike():
    store = concat([by_video(), ArrayStore([30], video_sizes=[10, 20]), shuffled()])
    frames = WeightedFrames(store, [0.5, 0.3, 0.2])
    expected = np.repeat([0.5 / 60, 0.3 / 30, 0.2 / 60], [60, 30, 60])
    for law_of in (law_of_iid, law_of_visits):
        assert np.abs(law_of(frames, 150) - expected).max() < 1e-14
    assert frames.weights.name == "per part"
    view = select(store, videos=[0, 1, 6, 7])
    law = law_of_iid(WeightedFrames(view, [0.5, 0.3, 0]), len(view))
    assert law == pytest.approx(np.repeat([0.625 / 14, 0.375 / 30], [14, 30]))
    as_many = select(store, videos=[0, 1, 6])  # videos as parts: the weights are of the videos
    assert WeightedFrames(as_many, [0.5, 0.3, 0]).weights.name == "per video"


def test_a_view_s_weights_are_those_of_its_videos_and_videos_without_frames_are_never_drawn():
    view = select(by_video(), videos=[1, 3, 5])
    assert (video_weights(view, [1, 2, 1]).parts / WHOLE).tolist() == [0.25, 0.5, 0.25]
    assert video_weights(view, "video").video_sizes.tolist() == [9, 20, 8]

    class WithUnreadable(ArrayStore):
        """Its second video holds no frame."""

        def __init__(self):
            super().__init__([10], video_sizes=[4, 0, 6])

        @property
        def source_order(self):
            starts = np.array([0, 4, 4, 10])
            return replace(super().source_order, first_row=starts, first_stored=starts)

    frames = WeightedFrames(WithUnreadable(), [1, 100, 1])
    assert frames.weights.parts.tolist() == [WHOLE // 2, 0, WHOLE // 2]
    assert law_of_visits(frames, 10) == pytest.approx(np.repeat([1 / 8, 1 / 12], [4, 6]))


def test_chi2_of_the_target_is_that_of_its_frames():
    store = shuffled()
    target = target_of(store, WEIGHTS)
    expected = len(store) * np.square(target).sum() - 1
    assert video_weights(store, WEIGHTS).chi2_over_frames == pytest.approx(expected, rel=1e-12)
    assert video_weights(store, 1).chi2_over_frames == pytest.approx(0, abs=1e-12)


# The orders.

DRAWS = {"iid": {"sampling": "iid"}, "visits": {"sampling": "shards", "frames_per_visit": 4}}


@pytest.mark.parametrize("make", [by_video, shuffled, STORES["shuffled frames"], STORES["views of several"]])
@pytest.mark.parametrize("options", DRAWS.values(), ids=DRAWS)
def test_the_real_loader_draws_the_target(make, options):
    """One slot a visit, so that draws are independent; a test at the same alpha rejects uniform frames."""
    store = make()
    weights = weights_for(store)
    target = target_of(store, weights)
    assert (target == 0).any()
    sampler = FrameBatchSampler(store, batch_size=16, seed=5, weights=weights, **options)
    drawn = []
    draws = max(draws_needed(len(store)), int(6 / target[target > 0].min()))
    while sum(map(len, drawn)) < draws:
        visits = np.concatenate(list(sampler)).reshape(-1, options.get("frames_per_visit", 1))
        drawn.append(visits[np.arange(len(visits)), np.arange(len(visits)) % visits.shape[1]])
    counts = np.bincount(np.concatenate(drawn), minlength=len(store))
    assert not counts[target == 0].any()
    drawn = np.concatenate(drawn)
    places = np.cumsum(target > 0) - 1
    assert draws_p_value(places[drawn], target[target > 0]) > ALPHA
    uniform = np.full(np.count_nonzero(target), 1 / np.count_nonzero(target))
    assert power(len(drawn) * chi2_between(target[target > 0], uniform), len(uniform) - 1) > 0.99
    assert draws_p_value(places[drawn], uniform) < ALPHA


@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
@pytest.mark.parametrize("options", DRAWS.values(), ids=DRAWS)
def test_an_order_is_a_function_of_the_position_alone(make, options):
    """Any positions in any order give what they have in the whole order; a pickled plan gives the same."""
    store = make()
    plan = make_plan(
        store.shard_sizes, store=store, batch_size=8, seed=2, weights=weights_for(store), **options
    )
    order = plan.order(3)
    whole = order.ids(0, len(order))
    some = np.random.default_rng(0).permutation(len(order))[:17]
    assert order.ids_at(some).tolist() == whole[some].tolist()
    assert pickle.loads(pickle.dumps(plan)).order(3).ids(0, len(order)).tolist() == whole.tolist()
    assert len(order) == len(store) // options.get("frames_per_visit", 1) * options.get("frames_per_visit", 1)
    assert whole.tolist() != plan.order(4).ids(0, len(order)).tolist()


def test_visits_read_one_shard_and_may_show_a_frame_twice():
    store = shuffled()
    plan = make_plan(
        store.shard_sizes, store=store, batch_size=8, weights="video", sampling="shards", frames_per_visit=8
    )
    order = plan.order(0)
    ids = np.concatenate([plan.order(epoch).ids(0, len(order)).reshape(-1, 8) for epoch in range(9)])
    shards = store.rows_of(ids.ravel())["shard_id"].reshape(-1, 8)
    assert (shards == shards[:, :1]).all()
    assert set(shards[:, 0]) == {0, 2, 3, 4}  # also the shard of 4 frames
    assert any(len(set(visit)) < 8 for visit in ids.tolist())


def test_weighted_draws_are_the_same_on_every_machine():
    """Pinned: another order would change runs that exist."""
    store = by_video()
    for options, expected in zip(DRAWS.values(), PINNED, strict=True):
        plan = make_plan(store.shard_sizes, store=store, batch_size=4, seed=1, weights=0.5, **options)
        assert plan.order(2).ids(0, 8).tolist() == expected
        assert plan.spec.weights == "n^0.5:553ee595d205b5d8"


PINNED = [[3, 31, 16, 14, 29, 1, 6, 10], [16, 31, 24, 14, 41, 45, 44, 48]]


# Resume.


@pytest.mark.parametrize("options", DRAWS.values(), ids=DRAWS)
def test_a_run_goes_on_in_the_middle_of_an_epoch_and_not_with_other_weights(options):
    def loader(weights, **more):
        return make_loader(shuffled(), batch_size=4, seed=1, weights=weights, **options, **more)

    whole = [batch.frame_ids.tolist() for batch in loader(WEIGHTS)]
    first = loader(WEIGHTS)
    for _ in islice(first, 3):
        pass
    state = first.state_dict()
    assert state["position"] == 12
    resumed = loader(WEIGHTS)
    resumed.load_state_dict(state)
    assert [batch.frame_ids.tolist() for batch in resumed] == whole[3:]
    scaled = loader(np.multiply(WEIGHTS, 2))  # the law is the same
    scaled.load_state_dict(state)
    label = state["sampling"]["weights"]
    assert label.startswith("per-video:")
    for other in ([1, *WEIGHTS[1:]], "video", None):
        refusing = loader(other)
        found = refusing.state_dict()["sampling"]["weights"]
        with pytest.raises(SamplingError, match=f"weights: {label} in the state, {found} here"):
            refusing.load_state_dict(state)


def test_the_law_is_named_in_the_loader_s_text():
    text = repr(FrameLoader(by_video(), sampling="iid", weights="seconds", batch_size=4))
    assert text.startswith("FrameLoader(sampling=iid weights=seconds:")


# Bad input.


class WithoutDurations(ArrayStore):
    @property
    def videos(self):
        return VideoTable(
            row if number % 2 else replace(row, duration_seconds=None)
            for number, row in enumerate(super().videos)
        )


@pytest.mark.parametrize(
    ("weights", "text"),
    [
        ("frames", "weights is one of 'video', 'seconds', a number or an array, found 'frames'"),
        ([1, 2, 3], "a weight of each of 6 videos, found 3 numbers"),
        ([1] * 7, "a weight of each of 6 videos, found 7 numbers"),
        ([1, 1, -0.5, 1, 1, 1], "finite and not negative, found -0.5 at place 2"),
        ([1, math.nan, 1, math.inf, 1, 1], "finite and not negative, found nan at place 1 and 1 more"),
        ([0] * 6, r"no video that holds frames has a weight above 0 \(weights='per video'\)"),
        (10**400, r"the exponent of n\^tau, a finite one, found inf"),
        (math.nan, r"the exponent of n\^tau, a finite one, found nan"),
        ([[1] * 6], r"a flat array of numbers, found int64 of shape \(1, 6\)"),
        (["a"] * 6, "a flat array of numbers, found <U1"),
        ([[1], [1, 2]], "a flat list of numbers"),
        (True, "a flat array of numbers, found bool"),
    ],
)
def test_bad_weights_are_refused_with_what_was_expected(weights, text):
    with pytest.raises(SamplingError, match=text):
        FrameLoader(by_video(), sampling="iid", weights=weights)


def test_videos_without_a_duration_are_named():
    with pytest.raises(
        SamplingError,
        match=r"'seconds' needs the duration of each video, and 3 videos have none: '000\.mp4', '002\.mp4'",
    ):
        FrameLoader(WithoutDurations([60], video_sizes=SIZES), sampling="iid", weights="seconds")
    named = select(WithoutDurations([60], video_sizes=SIZES), videos=[1, 3])
    assert video_weights(named, "seconds").parts.sum() == WHOLE


def test_weights_of_parts_without_frames_and_of_another_number_of_parts_are_refused():
    store = concat([by_video(), shuffled()])
    with pytest.raises(SamplingError, match="each of 12 videos or of each of 2 parts, found 3 numbers"):
        FrameLoader(store, sampling="iid", weights=[1, 2, 3])
    view = select(store, videos=range(6))
    with pytest.raises(
        SamplingError, match="part 1 has the weight 2, and no frame of it is in the store; give it 0"
    ):
        FrameLoader(view, sampling="iid", weights=[1, 2])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (
            {},
            "weights draw with replacement, as sampling='iid', 'shards' or 'stratified' can, found "
            "sampling='permutation'",
        ),
        ({"sampling": "sequential"}, "found sampling='sequential'"),
        ({"sampling": "block", "shards_per_block": 1}, "found sampling='block'"),
        (
            {"sampling": "shards", "frames_per_visit": 4, "shard_choice": "uniform"},
            "a shard by the weight of its frames, found shard_choice='uniform'",
        ),
    ],
)
def test_other_samplings_have_no_weights(options, text):
    with pytest.raises(SamplingError, match=text):
        FrameLoader(by_video(), batch_size=4, weights=[-1], **options)


def test_a_spec_that_names_weights_needs_their_frames():
    with pytest.raises(SamplingError, match="needs the frames of the store"):
        epoch_order([3], SamplingSpec(sampling="iid", weights="video:00"))
    with pytest.raises(SamplingError, match="weights need the videos of a store"):
        make_plan([3], sampling="iid", weights="video")


# Windows: anchors are drawn by the weights of the videos that the caller sees.


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([9, 3, 0, 2, 1, 2], [3, 0, 2, 1, 2]),
        ("video", [1, 1, 1, 1, 1]),
        (1, [9, 6, 20, 12, 8]),  # by the frames of a video, not by its windows
        ("seconds", [9, 6, 20, 12, 8]),
    ],
)
def test_weights_of_windows_are_those_of_the_videos_of_the_store(weights, expected):
    """The first video is shorter than a window."""
    options = {"sampling": "iid", "weights": weights, "clip_frames": 6, "batch_size": 4}
    for store in (by_video(), select(shuffled(), ids=range(60))):
        epochs = plan_windows("test", store, options)
        found = epochs.plan.frames.weights
        assert found.video_sizes.tolist() == [4, 1, 15, 7, 3]  # windows
        assert found.shares == pytest.approx(np.array(expected) / sum(expected), abs=1e-15)
        videos = store.rows_of(np.concatenate(list(epochs.frame_ids(0))))["video_id"]
        assert set(videos.tolist()) <= {row + 1 for row, weight in enumerate(expected) if weight}


def test_weights_of_parts_make_the_windows_of_a_part_alike():
    store = concat([by_video(), ArrayStore([30], video_sizes=[10, 20])])
    epochs = plan_windows(
        "test", store, {"sampling": "iid", "weights": [1, 3], "clip_frames": 6, "batch_size": 4}
    )
    windows = np.array([4, 1, 15, 7, 3, 5, 15])
    expected = np.concatenate([windows[:5] / 30 / 4, windows[5:] / 20 * 3 / 4])
    assert epochs.plan.frames.weights.shares == pytest.approx(expected)
