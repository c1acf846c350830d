# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""What is left of the variance inside stretches of a circle, of places and of arcs."""

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.nested import (
    circular_autocovariance,
    mixed_design_effect,
    shares,
    shares_left,
    shares_left_of_arcs,
)
from tests.support.statistics.enumeration import SUMMED, assert_equal, assert_rejected
from tests.support.statistics.nested_populations import some_frames


def share_of_stretches(frames, size):
    """By definition: half the mean square distance in each stretch of `size` places, over that on the circle."""
    centred = frames - frames.mean(0)
    doubled = np.concatenate([centred, centred])
    inside = [doubled[start : start + size].var(0).sum() for start in range(len(frames))]
    return np.mean(inside) / centred.var(0).sum()


@pytest.mark.parametrize(("num_places", "num_levels"), [(8, 3), (24, 3), (32, 5), (6, 1), (1024, 10)])
def test_S64_shares_by_running_sums_are_those_of_each_stretch(num_places, num_levels):
    frames = some_frames(num_places)
    found = shares_left(frames, num_levels=num_levels)
    expected = [share_of_stretches(frames, num_places >> level) for level in range(num_levels + 1)]
    assert_equal(found, expected, SUMMED)
    aligned = frames.reshape(2, -1, frames.shape[1]).var(1).sum(1).mean() / frames.var(0).sum()
    assert_rejected(aligned, expected[1])  # of the two halves from place 0 alone


def test_S64_columns_are_taken_in_blocks(monkeypatch):
    frames = some_frames(64, dimensions=7)
    arcs = np.random.default_rng(1).dirichlet(np.ones(64))
    whole = (
        shares_left(frames, num_levels=6),
        circular_autocovariance(frames),
        shares_left_of_arcs(arcs, frames, num_levels=6),
    )
    monkeypatch.setattr(shares, "_VALUES_AT_ONCE", 130)
    assert_equal(shares_left(frames, num_levels=6), whole[0], SUMMED)
    assert_equal(circular_autocovariance(frames), whole[1], SUMMED)
    assert_equal(shares_left_of_arcs(arcs, frames, num_levels=6), whole[2], SUMMED)


def test_S65_the_autocovariance_of_the_circle_is_that_of_its_definition():
    frames = some_frames(30)
    centred = frames - frames.mean(0)
    expected = [(centred * np.roll(centred, -lag, axis=0)).sum(1).mean() for lag in range(30)]
    assert_equal(circular_autocovariance(frames), expected, SUMMED)
    assert circular_autocovariance(frames)[0] == pytest.approx(frames.var(0).sum())


@pytest.mark.parametrize(("num_frames", "level"), [(8, 1), (16, 2), (64, 5)])
def test_S67_equal_arcs_are_frames_without_their_edges(num_frames, level):
    """A continuous stretch cuts frames, so it equals stretches of a circle on which each frame is many places."""
    frames, times = some_frames(num_frames), 4096
    fine = shares_left(np.repeat(frames, times, axis=0), num_levels=level)
    found = shares_left_of_arcs(np.full(num_frames, 1 / num_frames), frames, num_levels=level)
    # Half a place too much or too little at each end of a stretch: the error falls with the square of the places.
    assert_equal(found, fine, 1e-6)
    assert_rejected(shares_left(frames, num_levels=level)[-1], found[-1], 1e-6)


@pytest.mark.parametrize("seed", range(4))
def test_S67_arcs_of_any_lengths_against_a_fine_grid(seed):
    chance = np.random.default_rng(seed)
    lengths = chance.integers(0, 40, 12)
    lengths[0] += 1024 - lengths.sum() if lengths.sum() < 1024 else 0
    arcs, means = lengths / lengths.sum(), chance.normal(size=(12, 3))
    if seed == 0:
        means[0] = means[:1] * 30
    found = shares_left_of_arcs(arcs, means, num_levels=4)
    fine = shares_left(np.repeat(means, lengths * 512, axis=0), num_levels=4)
    assert_equal(found, fine, 1e-5)
    assert found[0] == 1 and (np.diff(found) < 0).all()


def test_S67_levels_far_below_an_arc_are_not_lost_in_rounding():
    """Two arcs: a stretch of length l over one of the two edges differs, and the mean over starts is linear in l."""
    found = shares_left_of_arcs([0.5, 0.5], np.array([[0.0], [1.0]]), num_levels=30)
    lengths = 0.5 ** np.arange(2, 31)
    # Of 2 edges: starts within l of an edge have the variance a (1 - a) of a share a, 1/6 in the mean, over 1/4.
    assert found[2:] == pytest.approx(2 * lengths / 6 * 4, rel=1e-6)
    assert mixed_design_effect(found, num_positions=2**30) == pytest.approx(2**-30 * 4 / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shares_left(np.zeros((6, 1)), num_levels=2), "6 places cannot be halved 2 times into equal"),
        (lambda: shares_left(np.zeros((4, 1)), num_levels=1), "all frames are equal"),
        (
            lambda: shares_left(np.zeros(4), num_levels=1),
            r"a row of features for each place, found shape \(4,\)",
        ),
        (lambda: circular_autocovariance(np.zeros((0, 2))), r"found shape \(0, 2\)"),
        (lambda: shares_left_of_arcs([0.5, 0.5], np.zeros((3, 1)), num_levels=1), "3 values for 2 arcs"),
        (lambda: shares_left_of_arcs([0.5, 0.4], np.ones((2, 1)), num_levels=1), "must sum to 1"),
        (lambda: shares_left_of_arcs([0.5, 0.5], np.ones((2, 1)), num_levels=1), "all frames are equal"),
    ],
)
def test_what_is_no_circle_is_refused(call, message):
    with pytest.raises(SamplingError, match=message):
        call()
