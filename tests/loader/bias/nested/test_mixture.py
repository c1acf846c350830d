# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""The design effect of a run as a mixture of what is left inside stretches, against all coins and turns."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import SamplingError
from loader.bias.nested import (
    levels_of_run,
    mixed_design_effect,
    mixture_weights,
    odd_counts,
    shares_left,
)
from tests.support.statistics.enumeration import assert_equal, assert_rejected
from tests.support.statistics.nested_populations import (
    enumerated_effect,
    runs_of_every_order,
    some_frames,
)

RUNS = [
    (size, count, start)
    for size in (2, 4, 8)
    for count in range(1, size + 1)
    for start in (0, 1, 3, 6)
    if start < size
]


@pytest.mark.parametrize("num_places", range(1, 9))
def test_S63_every_position_is_uniform_and_every_frame_comes_once(num_places):
    orders = runs_of_every_order(num_places, num_places)
    assert (np.sort(orders, axis=1) == np.arange(num_places)).all()
    for position in range(num_places):
        assert len(set(np.bincount(orders[:, position], minlength=num_places).tolist())) == 1


@pytest.mark.parametrize("num_places", range(1, 9))
def test_S63_a_run_of_a_power_of_two_has_a_frame_of_each_stretch(num_places):
    """Neighbours on the circle are less than two of the longest stretches apart."""
    for level in range(num_places.bit_length()):
        run = 1 << level
        for start in range(num_places - run + 1):
            places = np.sort(runs_of_every_order(num_places, run, start), axis=1)
            gaps = np.diff(places, axis=1)
            gaps = np.append(gaps, (places[:, :1] - places[:, -1:]) % num_places, axis=1) if run > 1 else gaps
            assert gaps.size == 0 or (gaps.min() >= 1 and gaps.max() <= 2 * -(-num_places // run) - 1)


@pytest.mark.parametrize(("num_frames", "num_positions", "start"), RUNS)
def test_S64_a_run_is_a_mixture_of_what_is_left_inside_stretches(num_frames, num_positions, start):
    frames = some_frames(num_frames)
    shares = shares_left(frames, num_levels=levels_of_run(num_positions))
    found = mixed_design_effect(shares, num_positions=num_positions)
    expected = enumerated_effect(frames, num_positions, start)
    assert_equal(found, expected)
    if num_positions == 3:
        # Of the nearest powers of two, and of independent runs of powers of two.
        for wrong in (shares[1], shares[2], (2 * shares[1] + shares[0]) / 3):
            assert_rejected(wrong, expected)
    if num_positions == 6:
        assert_rejected((4 * shares[2] + 2 * shares[1]) / 6, expected)


@given(st.integers(1, 5000), st.integers(0, 10**6))
def test_S64_odd_counts_are_counted(num_positions, start):
    positions = start + np.arange(num_positions)
    counted = [
        int((np.bincount(positions % (1 << level)) % 2).sum())
        for level in range(levels_of_run(num_positions) + 1)
    ]
    assert odd_counts(num_positions).tolist() == counted
    weights = mixture_weights(num_positions)
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert counted[-1] == num_positions


@pytest.mark.parametrize("level", range(12))
def test_S64_a_run_of_a_power_of_two_has_one_share(level):
    assert mixture_weights(1 << level).tolist() == [0.0] * level + [1.0]


def test_S64_no_data_of_a_power_of_two_are_worse_than_independent_frames():
    for seed in range(20):
        shares = shares_left(np.random.default_rng(seed).normal(size=(64, 2)), num_levels=6)
        assert (np.diff(shares) < 0).all()
        effects = [mixed_design_effect(shares, num_positions=count) for count in range(1, 65)]
        assert max(effects) == effects[0] == 1 and min(effects) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("call", [levels_of_run, odd_counts, mixture_weights])
def test_a_run_has_a_position(call):
    with pytest.raises(SamplingError, match="batch_size must be 1 or more, found 0"):
        call(0)


def test_a_mixture_needs_a_share_for_each_halving():
    with pytest.raises(SamplingError, match="expected 4 shares for a run of 5 positions, found 2"):
        mixed_design_effect([1.0, 0.5], num_positions=5)
