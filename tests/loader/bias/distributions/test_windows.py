# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Windows of any offsets: how often each frame is shown, and how alike a batch is, against a loop over all windows."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import FrameLoader, SamplingError
from loader.bias import make_report
from loader.bias.distributions.every_sampling import sampling_law
from loader.bias.distributions.window_frames import WindowsOfVideos
from loader.bias.distributions.windows import WindowCoverage, chi2_at_offset, window_coincidences
from loader.bias.exact_design_effect import window_correlation
from loader.windows import WindowSpec
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.enumeration import (
    SUMMED,
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    law_of_clips,
)
from tests.support.statistics.laws import law_of, spec_of, windows_of
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.oracles.distributions import (
    chi2_of_law,
    max_over_representation,
    total_variation,
)
from tests.support.statistics.spread_orders import spread_visits


def every_window(lengths, offsets, edges):
    """Every window, video by video: places, shape (M, T)."""
    found, first = [], 0
    for length in lengths:
        for anchor in range(length):
            wanted = [anchor + offset for offset in offsets]
            if edges == "pad" or all(0 <= frame < length for frame in wanted):
                found.append([first + min(max(frame, 0), length - 1) for frame in wanted])
        first += length
    return np.array(found, np.int64).reshape(-1, len(offsets))


CASES = [
    (lengths, offsets, edges)
    for lengths in [(1,), (2,), (5,), (1, 3), (4, 0, 7), (2, 2, 6)]
    for offsets in [(0,), (-1, 0), (0, 2), (-3, -1, 2), (2, 2), (0, 9), (-9,), (3, 1, -2, 1)]
    for edges in ["pad", "whole"]
]


def test_S60_every_small_window():
    for lengths, offsets, edges in CASES:
        windows = every_window(lengths, offsets, edges)
        spec = WindowSpec(frame_offsets=offsets, edges=edges)
        if not len(windows):
            with pytest.raises(SamplingError, match="windows longer than every video"):
                WindowCoverage.of(lengths, spec)
            continue
        found = WindowCoverage.of(lengths, spec)
        num_frames = sum(lengths)
        law = law_of_clips(windows, num_frames)
        case = f"{lengths} {spec}"
        counts = np.bincount(windows.ravel(), minlength=num_frames)
        expected = dict(zip(*np.unique(counts, return_counts=True), strict=True))
        assert found.num_frames_by_count == expected, case
        assert (found.num_windows, found.num_frames) == (len(windows), num_frames), case
        assert found.chi2_over_frames == pytest.approx(chi2_of_law(law), abs=1e-12), case
        assert found.total_variation == pytest.approx(total_variation(law), abs=1e-12), case
        assert found.max_over_representation == pytest.approx(max_over_representation(law)), case
        equal = (windows[:, :, None] == windows[:, None]).sum() - windows.size
        assert found.num_equal_pairs == equal, case
        video = np.repeat(np.arange(len(lengths)), lengths)[windows[:, 0]]
        assert found.sum_of_squared_windows == (np.bincount(video) ** 2).sum(), case
        numbers = np.arange(len(windows))
        of_videos = WindowsOfVideos(spec=spec, video_sizes=np.array(lengths))
        assert np.array_equal(of_videos.frame_ids(numbers), windows), case


@pytest.mark.parametrize("lengths", [[1], [4, 6], [3, 1, 0, 8]])
@pytest.mark.parametrize("offset", [0, 1, -2, 5, -40])
def test_S60_at_one_offset_the_end_stands_for_what_lies_beyond(lengths, offset):
    windows = every_window(lengths, [offset], "pad")
    law = law_of_clips(windows, sum(lengths))
    assert_equal(chi2_at_offset(lengths, offset), chi2_of_law(law))
    one = WindowCoverage.of(lengths, WindowSpec(frame_offsets=[offset]))
    assert_equal(one.chi2_over_frames, chi2_of_law(law))
    if offset:
        assert_rejected(chi2_at_offset(lengths, offset + (1 if offset > 0 else -1)) + 1e-3, chi2_of_law(law))


PAIRS = [([3, 1], (-1, 0), 2), ([2, 2], (0, 1, 5), 2), ([4], (-2, 2), 3), ([3, 2], (0, 0), 2)]


def every_batch(windows, batch_size, sampling):
    numbers = range(len(windows))
    batches = list(
        itertools.product(numbers, repeat=batch_size)
        if sampling == "iid"
        else itertools.permutations(numbers, batch_size)
    )
    return Outcomes.of((1 / len(batches), windows[list(batch)].ravel()) for batch in batches)


@pytest.mark.parametrize(("lengths", "offsets", "batch_size"), PAIRS)
@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_S61_two_slots_of_a_batch_of_windows(lengths, offsets, batch_size, sampling):
    windows = every_window(lengths, offsets, "pad")
    outcomes = every_batch(windows, batch_size, sampling)
    coverage = WindowCoverage.of(lengths, WindowSpec(frame_offsets=offsets))
    options = {"batch_size": batch_size, "with_replacement": sampling == "iid"}
    stated = window_coincidences(coverage, **options)
    num_slots = batch_size * len(offsets)
    assert_equal(stated["clip"], (len(offsets) - 1) / (num_slots - 1))
    assert_equal(stated["video"], outcomes.coincidence(np.repeat(np.arange(len(lengths)), lengths)))
    assert_equal(stated["frame"], outcomes.coincidence(np.arange(sum(lengths))))
    law = law_of(
        [sum(lengths)],
        batch_size=batch_size,
        sampling=sampling,
        video_sizes=lengths,
        frame_offsets=offsets,
        remainder="uneven",
    )
    assert law.kappa == stated and law.chi2_over_windows == 0


@pytest.mark.parametrize("edges", ["pad", "whole"])
@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_S62_design_effect_of_windows_of_any_sampling(sampling, edges):
    lengths, offsets = [4, 1, 3], (-1, 0, 1)
    windows = every_window(lengths, offsets, edges)
    features = np.random.default_rng(3).normal(size=(8, 2)).cumsum(0)
    outcomes = every_batch(windows, 2, sampling)
    law = law_of_clips(windows, 8)
    variance = law @ ((features - law @ features) ** 2).sum(1)
    options = {"sampling": sampling, "frame_offsets": offsets, "edges": edges}
    stated = law_of([8], batch_size=2, video_sizes=lengths, **options)
    of_videos = windows_of(lengths, options)
    report = make_report(
        stated, spec_of(options), np.array([8]), rho=None, features=features, windows=of_videos
    )
    assert_equal(report.design_effect, 6 * outcomes.variance(features) / variance, SUMMED)
    assert report.is_exact
    rho = intraclass_correlation([features[window] for window in windows])
    assert_equal(window_correlation(features, of_videos), rho, SUMMED)


@pytest.mark.parametrize("order", [None, [6, 3, 0, 7, 5, 2, 4, 1]], ids=["video", "shuffled"])
@pytest.mark.parametrize("edges", ["pad", "whole"])
def test_S62_visits_draw_windows_as_they_draw_frames(edges, order):
    """Every visit of two anchors to shards of unequal numbers of anchors, and every window around them."""
    lengths, sizes, offsets = [5, 3], [3, 5], (0, 1)
    places = np.arange(8) if order is None else np.array(order)  # of each id
    source_ids = None if order is None else places.argsort()
    windows = every_window(lengths, offsets, edges)
    anchors = windows[:, 0]
    order_of_ids = np.argsort(anchors if source_ids is None else source_ids[anchors])
    by_id = windows[order_of_ids]  # windows in the order of their anchors' ids
    options = {"sampling": "shards", "frames_per_visit": 2, "frame_offsets": offsets, "edges": edges}
    of_videos = windows_of(lengths, options, source_ids)
    anchor_sizes = of_videos.anchor_shard_sizes(np.array(sizes))
    anchor_ids = anchors[order_of_ids] if source_ids is None else source_ids[anchors[order_of_ids]]
    assert anchor_sizes.tolist() == [(anchor_ids < 3).sum(), (anchor_ids >= 3).sum()]
    visits = spread_visits(Population(anchor_sizes), 2, 2)
    ids = by_id if source_ids is None else source_ids[by_id]
    outcomes = Outcomes.of(
        (probability, ids[list(batch)].ravel())
        for probability, batch in zip(visits.probability, visits.frame_ids, strict=True)
    )
    law = law_of_clips(ids, 8)
    features = np.random.default_rng(5).normal(size=(8, 2)).cumsum(0)
    variance = law @ ((features - law @ features) ** 2).sum(1)
    assert_equal(outcomes.law(8), law)
    stated = sampling_law(sizes, spec_of(options), batch_size=4, windows=of_videos)
    assert (stated.chi2_over_windows, stated.slots_per_batch) == (0, 8)
    assert stated.chi2 == pytest.approx(chi2_of_law(law), abs=1e-12)
    report = make_report(
        stated, spec_of(options), np.array(sizes), rho=None, features=features, windows=of_videos
    )
    assert_equal(report.design_effect, 8 * outcomes.variance(features) / variance, SUMMED)
    assert report.design_effect <= stated.worst_design_effect
    without = make_report(stated, spec_of(options), np.array(sizes), rho=None, windows=of_videos)
    assert without.design_effect is None and without.why_not_exact == "needs features"


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    offsets=st.lists(st.integers(-4, 4), min_size=1, max_size=3),
    sampling=st.sampled_from(["permutation", "sequential", "block"]),
    edges=st.sampled_from(["pad", "whole"]),
    seed=st.integers(0, 99),
)
def test_S60_an_epoch_of_the_real_loader_shows_every_frame_as_often_as_stated(
    lengths, offsets, sampling, edges, seed
):
    num_frames = sum(lengths)
    order = np.random.default_rng(seed).permutation(num_frames)
    store = ArrayStore([num_frames], video_sizes=lengths, order=order)
    windows = every_window(lengths, offsets, edges)
    options = {"sampling": sampling, "frame_offsets": offsets, "edges": edges, "seed": seed}
    options |= {"shards_per_block": 1} if sampling == "block" else {}
    if not len(windows):
        with pytest.raises(SamplingError, match="windows longer than every video"):
            FrameLoader(store, **options)
        return
    loader = FrameLoader(store, batch_size=4, remainder="uneven", num_threads=1, **options)
    shown = np.concatenate([batch.cache_ids.numpy().ravel() for batch in loader])
    counts = np.bincount(order[shown], minlength=num_frames)
    assert counts.tolist() == np.bincount(windows.ravel(), minlength=num_frames).tolist()


def test_windows_without_a_formula_are_refused_and_it_is_said():
    where = {"batch_size": 2, "video_sizes": [4, 4], "frame_offsets": (0, 1)}
    for options in (
        {"sampling": "sequential"},
        {"sampling": "shards", "frames_per_visit": 2, "shard_choice": "uniform"},
    ):
        with pytest.raises(SamplingError, match="there is no formula for the frames that windows show"):
            law_of([3, 5], **where, **options)
    for spec in (
        WindowSpec(frame_offsets_seconds=[0.1]),
        WindowSpec(frame_offsets=[0, 1], column_offsets={"action": [0, 9]}, edges="whole"),
    ):
        with pytest.raises(
            SamplingError, match="there is a formula for windows of frame_offsets, and none for"
        ):
            WindowCoverage.of([4], spec)
