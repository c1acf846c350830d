"""Rounds, spreads, ratios and break-even: the arithmetic of `cache-bench`."""

import math

import pytest
from frame_cache_tools.bench.measure.rounds import Rounds, Spread
from frame_cache_tools.bench.measure.slices import Slice, SliceRule, measure_batches, measure_counters
from frame_cache_tools.bench.report.break_even import BreakEven
from hypothesis import given
from hypothesis import strategies as st


def piece(images, seconds=1.0, first=None, peak=None):
    return Slice(images=images, seconds=seconds, seconds_to_first_batch=first, peak_anonymous_bytes=peak)


def test_ratios_are_taken_inside_a_round_and_not_of_medians():
    rates = {"ours": [10, 200, 30], "theirs": [1, 100, 10]}
    into = Rounds(slices={name: {r: piece(n) for r, n in enumerate(of)} for name, of in rates.items()})
    assert into.rate("ours") == Spread(median=30, smallest=10, largest=200)
    assert into.ratio("ours", "theirs") == Spread(median=3, smallest=2, largest=10)
    assert into.ratio("ours", "ours") == Spread(median=1, smallest=1, largest=1)
    del into.slices["theirs"][1], into.slices["ours"][0]
    assert into.ratio("ours", "theirs") == Spread(median=3, smallest=3, largest=3)
    assert into.ratio("ours", "nobody") is None


def test_first_batch_is_a_median_and_memory_a_peak():
    pieces = [piece(1, first=3.0, peak=5), piece(1, first=None, peak=None), piece(1, first=1.0, peak=9)]
    into = Rounds(slices={"a": dict(enumerate(pieces))})
    assert into.first_batch("a") == Spread(median=2.0, smallest=1.0, largest=3.0)
    assert into.peak_bytes("a") == 9
    assert into.first_batch("b") is None
    assert into.peak_bytes("b") is None


def epochs_of(arrivals):
    """Epochs of (arrival time, images), and the clock that reads the times."""
    times = [time for epoch in arrivals for time, _ in epoch]
    return iter([iter([images for _, images in epoch]) for epoch in arrivals]), iter(times).__next__


def test_the_first_batch_and_the_warm_up_are_not_measured_and_gaps_between_epochs_are():
    arrivals = [[(2.0, 8), (3.0, 8), (4.0, 8)], [(9.0, 8), (10.0, 4)], [(11.0, 8)]]
    epochs, clock = epochs_of(arrivals)
    rule = SliceRule(seconds=6.0, warm_seconds=1.0)
    measured = measure_batches(lambda: next(epochs), rule, opened_at=0.5, clock=clock)
    assert measured == Slice(images=8 + 8, seconds=6.0, seconds_to_first_batch=1.5)


@pytest.mark.parametrize(
    ("rule", "images", "seconds"),
    [
        (SliceRule(seconds=0.0), 1, 1.0),
        (SliceRule(seconds=0.0, images=3), 3, 3.0),
        (SliceRule(seconds=2.5), 3, 3.0),
        (SliceRule(seconds=0.0, images=3, batch_multiple=2), 4, 4.0),
    ],
)
def test_a_slice_is_long_enough_by_time_by_images_and_by_whole_rounds_of_batches(rule, images, seconds):
    epochs, clock = epochs_of([[(float(time), 1) for time in range(9)]])
    measured = measure_batches(lambda: next(epochs), rule, opened_at=0.0, clock=clock)
    assert (measured.images, measured.seconds) == (images, seconds)


def test_batches_of_the_warm_up_are_not_counted():
    epochs, clock = epochs_of([[(float(time), 10**time) for time in range(9)]])
    rule = SliceRule(seconds=2.0, warm_batches=3)
    measured = measure_batches(lambda: next(epochs), rule, opened_at=0.0, clock=clock)
    assert (measured.images, measured.seconds) == (10**4 + 10**5, 2.0)


class StalledError(Exception):
    """Raised where a real loader would wait for ever."""


def results_of(arrivals, rule):
    """The results passed to `keep` for batches of one image, after which no batch arrives."""
    kept = []
    times = iter(arrivals)

    def batches():
        yield from [1] * len(arrivals)
        raise StalledError

    with pytest.raises(StalledError):
        measure_batches(batches, rule, opened_at=0.0, clock=lambda: next(times), keep=kept.append)
    return kept


def test_the_result_until_then_ends_with_a_batch_and_is_never_guessed():
    kept = results_of([1.0, 2.0, 3.0, 5.0], SliceRule(seconds=4.5))
    assert kept == [  # not before half of the slice
        Slice(images=3, seconds=4.0, seconds_to_first_batch=1.0, is_cut=True)
    ]


def test_batches_that_arrive_in_bursts_are_counted_in_whole_bursts():
    # Two threads: batches 2 and 3 arrive together. One batch in 0.2 s would be five times too fast.
    kept = results_of([1.0, 1.2, 2.2, 2.4, 3.4], SliceRule(seconds=9.0, batch_multiple=2))
    assert kept == []
    kept = results_of([1.0, 1.2, 6.0, 6.2], SliceRule(seconds=9.0, batch_multiple=2))
    assert [(piece.images, piece.seconds) for piece in kept] == [(2, 5.0)]
    assert results_of([1.0, 1.2], SliceRule(seconds=0.1, images=9, batch_multiple=2)) == []


def test_a_complete_slice_is_passed_on_before_the_read_ahead_is_stopped():
    kept = []
    epochs, clock = epochs_of([[(0.0, 1), (1.0, 1), (2.0, 1)]])
    measured = measure_batches(
        lambda: next(epochs), SliceRule(seconds=2.0), opened_at=0.0, clock=clock, keep=kept.append
    )
    assert kept[-1] == measured
    assert not measured.is_cut


def test_an_epoch_without_a_batch_does_not_go_on_for_ever():
    with pytest.raises(ValueError, match="fewer frames than a batch"):
        measure_batches(lambda: iter(()), SliceRule(seconds=1), opened_at=0.0, clock=lambda: 0.0)


def test_threads_that_count_are_stopped_and_their_errors_raised():
    stopped = []

    def work(thread, add, stop):
        while not stop.wait(0.001):
            add(2)
        stopped.append(thread)

    kept = []
    measured = measure_counters(work, 3, SliceRule(seconds=0.01, images=20), kept.append)
    assert kept[-1] == measured
    assert measured.images >= 20
    assert measured.images % 2 == 0
    assert measured.seconds >= 0.01
    assert sorted(stopped) == [0, 1, 2]

    def fail(thread, add, stop):
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        measure_counters(fail, 2, SliceRule(seconds=0.01))


NAMES = {"cache": "a", "cached_row": "a, permutation", "other_row": "live"}
rates = st.integers(1, 400).map(float)


@given(st.integers(1, 10_000), rates, rates, rates)
def test_break_even_is_the_first_epoch_that_counting_finds(num_frames, build, other, cached):
    sums = BreakEven(
        **NAMES,
        num_frames=num_frames,
        build_frames_per_second=build,
        other_images_per_second=other,
        cached_images_per_second=cached,
    )
    assert sums.build_seconds == pytest.approx(num_frames / build)
    if cached <= other:
        assert sums.epochs is None
        return
    # In whole numbers, with time in units of num_frames / (build * other * cached) seconds.
    cost, live, ours = other * cached, build * cached, build * other
    epochs = 1
    while cost + epochs * ours > epochs * live:
        epochs += 1
        if epochs > 3000:  # counting on would take long
            assert sums.epochs >= 3000
            return
    assert sums.epochs == epochs
    assert sums.epochs - 1 < sums.epochs_exactly <= sums.epochs * (1 + 1e-9) or epochs == 1


@pytest.mark.parametrize("rate", [0.0, -1.0, math.nan, math.inf])
def test_break_even_refuses_what_no_measurement_gives(rate):
    with pytest.raises(ValueError, match="must be above 0"):
        BreakEven(
            **NAMES,
            num_frames=1,
            build_frames_per_second=1.0,
            other_images_per_second=rate,
            cached_images_per_second=1.0,
        )
