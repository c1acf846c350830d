# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""What a nested order does to the expected steps along an epoch, over all coins and turns."""

import itertools

import numpy as np
import pytest

from loader.bias.nested import mixed_design_effect, nested_design_effect, shares_left
from tests.support.statistics.oracles.nested import every_order
from tests.support.statistics.trajectories import frame_gradients, leading_drift, slope_of

CASES = [(4, 1), (4, 2), (6, 2), (6, 3), (5, 1), (8, 2), (8, 4)]


def slope_of_covariance(orders, num_frames, batch_size, one, other):
    """Gradient of the covariance of batches `one` and `other` of an epoch, as a function of the point."""
    gradients = frame_gradients(num_frames)
    batches = np.array(orders)[:, : num_frames // batch_size * batch_size].reshape(
        len(orders), -1, batch_size
    )

    def covariance(point):
        here = gradients(point)
        means = (here - here.mean(0))[batches].mean(2)
        return (means[:, one] * means[:, other]).sum(1).mean()

    return slope_of(covariance)


@pytest.mark.parametrize(("num_frames", "batch_size"), CASES)
def test_S68_a_step_leans_by_the_covariances_with_the_steps_before(num_frames, batch_size):
    orders = every_order(num_frames)
    for step in range(num_frames // batch_size):
        found = leading_drift(orders, num_frames, step, batch_size)
        expected = -0.5 * sum(
            slope_of_covariance(orders, num_frames, batch_size, step, before) for before in range(step)
        )
        np.testing.assert_allclose(found, expected + np.zeros(2), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("num_frames", "batch_size"), CASES)
def test_S68_over_an_epoch_the_steps_lean_by_the_variance_of_a_batch(num_frames, batch_size):
    """By that of a nested order, and not by that of a permutation."""
    orders, num_steps = every_order(num_frames), num_frames // batch_size
    gradients = frame_gradients(num_frames)

    def variance_of_a_batch(point):
        here = gradients(point)
        effect = nested_design_effect(here, batch_size=batch_size, num_batches=num_steps).design_effect
        return effect * here.var(0).sum() / batch_size

    found = np.mean(
        [leading_drift(orders, num_frames, step, batch_size) for step in range(num_steps)], axis=0
    )
    expected = slope_of(variance_of_a_batch) / 4
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-8)
    of_permutation = slope_of(lambda point: gradients(point).var(0).sum()) / (4 * batch_size)
    of_permutation *= (num_frames - batch_size) / (num_frames - 1)
    if batch_size == 1:
        np.testing.assert_allclose(found, of_permutation, rtol=1e-5)
    else:
        assert np.abs(found - of_permutation).max() > 0.01 * np.abs(of_permutation).max()


def test_S68_closed_for_a_power_of_two():
    num_frames, batch_size = 8, 2
    orders, gradients = every_order(num_frames), frame_gradients(num_frames)

    def left_inside(point):
        here = gradients(point)
        shares = shares_left(here, num_levels=1)
        return mixed_design_effect(shares, num_positions=batch_size) * here.var(0).sum()

    found = np.mean([leading_drift(orders, num_frames, step, batch_size) for step in range(4)], axis=0)
    np.testing.assert_allclose(found, slope_of(left_inside) / (4 * batch_size), rtol=1e-5)


def test_S68_of_single_frames_every_order_of_an_epoch_leans_alike():
    gradients = frame_gradients(5)
    expected = slope_of(lambda point: gradients(point).var(0).sum()) / 4
    for orders in (every_order(5), list(itertools.permutations(range(5)))):
        found = np.mean([leading_drift(orders, 5, step, 1) for step in range(5)], axis=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
