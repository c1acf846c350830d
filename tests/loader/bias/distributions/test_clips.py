# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
import itertools

import numpy as np
import pytest

from loader.bias.design_effect import clip_design_effect
from loader.bias.distributions.last_batch import chi2_of_dropped_tail
from loader.bias.distributions.windows import WindowCoverage, window_coincidences
from loader.errors import SamplingError
from loader.sampling.orders.epoch import epoch_order
from loader.windows import plan_windows
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.chi_squared import ALPHA, p_value
from tests.support.statistics.enumeration import (
    Outcomes,
    assert_equal,
    assert_rejected,
    every_whole_clip,
    law_of_clips,
)
from tests.support.statistics.laws import law_of, windows_of
from tests.support.statistics.oracles.clips import (
    chi2_of_sliding_windows,
    chi2_of_whole_clips,
    clips,
    sliding_window_law,
    whole_clip_law,
    whole_clips_can_be_uniform,
)
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.oracles.distributions import (
    chi2_of_law,
    max_over_representation,
    total_variation,
)

WINDOWS = [(12, 4), (9, 7), (20, 1), (15, 15), (33, 8), (7, 4)]
CLIPS = [
    ([12, 5, 9], 3, 2),
    ([12, 5, 9], 4, 1),
    ([7, 30, 2, 11], 4, 3),
    ([6, 6], 2, 5),
    ([40], 5, 7),
    ([3, 8], 1, 9),
]


@pytest.mark.parametrize(("length", "span"), WINDOWS)
def test_S16_sliding_windows(length, span):
    law = law_of_clips(every_whole_clip([length], span, 1), length)
    assert_equal(sliding_window_law(length, span), law)
    starts = length - span + 1
    assert_equal(np.convolve(np.full(starts, 1 / starts), np.full(span, 1 / span)), law)
    if span > 1 and starts > 1:
        assert_rejected(np.full(length, 1 / starts), law)  # every frame taken for an inner one


def test_S16_an_end_frame_is_shown_once_where_an_inner_one_is_shown_T_times():
    law = sliding_window_law(100, 16)
    assert law[50] / law[0] == pytest.approx(16)
    assert law[50] / law[-1] == pytest.approx(16)


def test_S16_a_linear_trend_does_not_notice_and_a_curved_one_does():
    excess = sliding_window_law(12, 4) - 1 / 12
    assert abs(excess @ np.arange(12)) < 1e-12
    assert excess @ (np.arange(12) - 5.5) ** 2 < -1


@pytest.mark.parametrize(("length", "span"), WINDOWS)
def test_S17_chi2_of_sliding_windows(length, span):
    law = law_of_clips(every_whole_clip([length], span, 1), length)
    assert_equal(chi2_of_sliding_windows(length, span), chi2_of_law(law))
    starts = length - span + 1
    few, many = sorted((span, starts))
    squares = few * (few - 1) * (2 * few - 1) / 3 + (many - few + 1) * few**2
    assert_equal(length * squares / (span * starts) ** 2 - 1, chi2_of_law(law))
    if span > 1 and starts > 1:
        assert_rejected(length / starts - 1, chi2_of_law(law))


def test_S17_short_windows():
    assert chi2_of_sliding_windows(2000, 32) == pytest.approx(2 * 32 / (3 * 2000), rel=0.05)


@pytest.mark.parametrize(("lengths", "clip_frames", "stride"), CLIPS)
def test_S18_whole_clips_of_many_videos(lengths, clip_frames, stride):
    law = law_of_clips(every_whole_clip(lengths, clip_frames, stride), sum(lengths))
    options = {"clip_frames": clip_frames, "stride": stride}
    assert_equal(whole_clip_law(lengths, **options), law)
    assert_equal(chi2_of_whole_clips(lengths, **options), chi2_of_law(law))
    if clip_frames > 1:
        if len(set(lengths)) > 1:  # a video drawn by its length, then a window in it
            by_video = [
                law_of_clips(every_whole_clip([length], clip_frames, stride), length) * length / sum(lengths)
                for length in lengths
                if length > (clip_frames - 1) * stride
            ]
            assert_rejected(
                chi2_of_whole_clips(lengths, **options), sum(lengths) * sum(p @ p for p in by_video) - 1
            )
        if stride > 1:  # a strided clip is not a window of its span
            window = {"clip_frames": (clip_frames - 1) * stride + 1}
            assert_rejected(chi2_of_whole_clips(lengths, **window), chi2_of_law(law))


SMALL = [
    (lengths, clip_frames, stride)
    for lengths in itertools.combinations_with_replacement(range(9), 3)
    for clip_frames in range(1, 5)
    for stride in range(1, 5)
    if max(lengths) > (clip_frames - 1) * stride
]


def test_S18_every_small_case():
    """Both chi^2 that are stated are those of the clips of a real epoch, counted."""
    assert len(SMALL) > 1000
    for lengths, clip_frames, stride in SMALL:
        case = f"{lengths} T={clip_frames} q={stride}"
        windows = every_whole_clip(lengths, clip_frames, stride)
        options = {"clip_frames": clip_frames, "clip_stride": stride}
        stated = law_of([sum(lengths)], batch_size=1, video_sizes=lengths, **options)
        order = epoch_order([stated.num_windows])
        numbers = order.ids(0, len(order))
        of_videos = windows_of(lengths, options)
        shown, times = np.unique(of_videos.frame_ids(numbers), axis=0, return_counts=True)
        assert np.array_equal(shown, windows), case
        window_law = times / times.sum()
        assert stated.num_windows == len(windows), case
        assert stated.chi2_over_windows == chi2_of_law(window_law) == 0, case
        law = law_of_clips(np.repeat(shown, times, axis=0), sum(lengths))
        assert stated.chi2 == pytest.approx(chi2_of_law(law), abs=1e-12), case
        assert stated.chi2 == stated.chi2_at_start == stated.chi2_at_middle == stated.chi2_at_end, case
        assert stated.total_variation == pytest.approx(total_variation(law), abs=1e-12), case
        assert stated.max_over_representation == pytest.approx(max_over_representation(law), abs=1e-12), case
        assert stated.num_frames_never_shown == (law == 0).sum(), case
        is_short = [0 < length <= (clip_frames - 1) * stride for length in lengths]
        assert stated.num_short_videos == sum(is_short), case
        assert stated.num_frames_in_short_videos == sum(np.array(lengths)[is_short]), case
        # Uniform over frames only in the cases of (S18).
        all_alike = clip_frames == 1 or set(lengths) <= {0, clip_frames * stride}
        assert (stated.chi2 == 0) == all_alike, case


def test_S18_videos_too_short_for_a_clip_count_like_a_dropped_tail():
    long_only = chi2_of_whole_clips([30, 40], clip_frames=6)
    dropped = chi2_of_dropped_tail(75, 5)
    assert_equal(chi2_of_whole_clips([30, 5, 40], clip_frames=6), (1 + long_only) * (1 + dropped) - 1)
    assert_rejected(chi2_of_whole_clips([30, 5, 40], clip_frames=6), long_only + dropped)


def test_S18_a_million_videos():
    lengths = np.random.default_rng(0).integers(50, 5000, 1_000_000)
    assert 0 < chi2_of_whole_clips(lengths, clip_frames=16, stride=4) < 0.1


def test_S18_a_video_whose_frames_no_array_could_hold():
    coverage = WindowCoverage.of([10**12, 5], clips(16, 4))
    assert coverage.num_windows == 10**12 - 60
    assert coverage.chi2_over_frames == pytest.approx(2 * 16 * 4 / 3 / 10**12, rel=0.1)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("clip_frames", [1, 2, 3])
@pytest.mark.parametrize("length", range(1, 19))
def test_S19_whole_clips_are_uniform_only_where_T_q_divides_the_length(length, clip_frames, stride):
    windows = every_whole_clip([length], clip_frames, stride)
    uniform = np.full(length, 1 / length)
    miss = 1.0
    if len(windows):
        # Columns are linearly independent, so the least squares weights are the only candidates.
        shown = np.stack([np.bincount(window, minlength=length) / clip_frames for window in windows], axis=1)
        weights, *_ = np.linalg.lstsq(shown, uniform, rcond=None)
        miss = np.abs(shown @ weights - uniform).max()
        assert np.linalg.matrix_rank(shown) == len(windows)
    expected = whole_clips_can_be_uniform([length], clip_frames=clip_frames, stride=stride)
    assert (miss < 1e-9) == expected
    if expected:
        assert (weights > -1e-9).all()


PAIRS = [([5, 4, 2], 3, 1, 2), ([6, 3], 2, 2, 2), ([4], 2, 1, 3), ([3, 3, 1], 3, 1, 2), ([5, 3], 1, 4, 3)]
"""Lengths, T, q and B: few enough windows for every batch."""


def every_batch(lengths, clip_frames, stride, batch_size, sampling):
    windows = every_whole_clip(lengths, clip_frames, stride).tolist()
    if sampling == "iid":
        batches = list(itertools.product(windows, repeat=batch_size))
    else:
        batches = list(itertools.permutations(windows, batch_size))
    return Outcomes.of((1 / len(batches), list(itertools.chain(*batch))) for batch in batches)


@pytest.mark.parametrize("sampling", ["permutation", "iid"])
def test_S20_every_position_draws_windows_alike(sampling):
    lengths, num_seeds = [3, 4, 1, 5], 4000
    windows = every_whole_clip(lengths, 3, 1)
    store = ArrayStore([13], video_sizes=lengths)
    counts = np.zeros((len(windows), len(windows)), int)
    for seed in range(num_seeds):
        options = {"sampling": sampling, "clip_frames": 3, "seed": seed, "batch_size": len(windows)}
        (request,) = plan_windows("test", store, options).requests(0)
        counts[np.arange(len(windows)), np.searchsorted(windows[:, 0], request.cache_ids[:, 0])] += 1
    for at_position in counts:
        assert p_value(at_position, np.full(len(windows), num_seeds / len(windows))) > ALPHA
        by_video = np.repeat([1 / 3, 1 / 6, 1 / 9], [1, 2, 3])  # a video drawn first
        assert p_value(at_position, num_seeds * by_video) < ALPHA


@pytest.mark.parametrize(("lengths", "clip_frames", "stride", "batch_size"), PAIRS)
@pytest.mark.parametrize("sampling", ["permutation", "iid"])
def test_S20_two_slots_of_a_batch_of_clips(lengths, clip_frames, stride, batch_size, sampling):
    outcomes = every_batch(lengths, clip_frames, stride, batch_size, sampling)
    num_frames, num_slots = sum(lengths), batch_size * clip_frames
    coverage = WindowCoverage.of(lengths, clips(clip_frames, stride))
    stated = window_coincidences(coverage, batch_size=batch_size, with_replacement=sampling == "iid")
    clip_of_slot = np.arange(num_slots) // clip_frames
    pairs = (clip_of_slot[:, None] == clip_of_slot).sum() - num_slots
    assert_equal(stated["clip"], pairs / (num_slots * (num_slots - 1)))
    assert_equal(stated["video"], outcomes.coincidence(np.repeat(np.arange(len(lengths)), lengths)))
    assert_equal(stated["frame"], outcomes.coincidence(np.arange(num_frames)))
    other = window_coincidences(coverage, batch_size=batch_size, with_replacement=sampling != "iid")
    assert_rejected(other["frame"], stated["frame"])


def test_S20_a_batch_of_one_clip_and_a_window_alone():
    one_clip = {"clip": 1.0, "video": 1.0, "frame": 0.0}
    nine = WindowCoverage.of([9], clips(3))
    assert window_coincidences(nine, batch_size=1, with_replacement=False) == one_clip
    # The one window twice, as `pad` has it.
    alone = window_coincidences(WindowCoverage.of([3], clips(3)), batch_size=2, with_replacement=False)
    assert alone == pytest.approx({"clip": 0.4, "video": 1.0, "frame": 0.2})
    single = window_coincidences(WindowCoverage.of([9], clips(1)), batch_size=1, with_replacement=True)
    assert single == {"clip": 0.0, "video": 0.0, "frame": 0.0}


@pytest.mark.parametrize(("lengths", "clip_frames", "stride", "batch_size"), PAIRS)
@pytest.mark.parametrize("sampling", ["permutation", "iid"])
def test_S21_design_effect_of_clips(lengths, clip_frames, stride, batch_size, sampling):
    frames = np.random.default_rng(7).normal(size=(sum(lengths), 3)).cumsum(0)
    windows = every_whole_clip(lengths, clip_frames, stride)
    outcomes = every_batch(lengths, clip_frames, stride, batch_size, sampling)
    law = law_of_clips(windows, len(frames))
    variance = law @ ((frames - law @ frames) ** 2).sum(1)
    rho = 0.0 if clip_frames == 1 else intraclass_correlation([frames[window] for window in windows])
    num_slots = batch_size * clip_frames
    expected = num_slots * outcomes.variance(frames) / variance
    num_windows = None if sampling == "iid" else len(windows)
    options = {"clip_frames": clip_frames, "batch_size": batch_size}
    assert_equal(clip_design_effect(rho, **options, num_windows=num_windows), expected)
    of_the_other = len(windows) if num_windows is None else None
    assert_rejected(clip_design_effect(rho, **options, num_windows=of_the_other), expected)
    if sampling == "permutation" and clip_frames > 1:
        of_single_frames = (len(frames) - num_slots) / (len(frames) - 1)
        assert_rejected((1 + (clip_frames - 1) * rho) * of_single_frames, expected)


def test_S21_no_batch_of_more_clips_than_windows():
    assert clip_design_effect(0.5, clip_frames=4, batch_size=6, num_windows=6) == 0
    with pytest.raises(SamplingError, match="no batch of 7 different clips: the videos hold 6 windows"):
        clip_design_effect(0.5, clip_frames=4, batch_size=7, num_windows=6)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: sliding_window_law(3, 4),
        lambda: chi2_of_sliding_windows(3, 0),
        lambda: whole_clip_law([3], clip_frames=2, stride=3),
        lambda: chi2_of_whole_clips([3], clip_frames=2, stride=0),
        lambda: WindowCoverage.of([], clips(2)),
        lambda: WindowCoverage.of([2.5], clips(2)),
    ],
)
def test_clips_that_do_not_fit_are_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
