# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""The places and distances of a run, by recursion, against all coins and against orders of the product."""

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.nested import TreeRuns, run_distance_law, tree_runs
from tests.support.statistics.enumeration import assert_equal, assert_rejected
from tests.support.statistics.nested_populations import nested_epoch
from tests.support.statistics.oracles.nested import every_arrangement


def counted_run(num_places, start, num_positions):
    """By enumeration: places taken, pairs by distance on the line, and ordered pairs by distance on the circle."""
    positions = (start + np.arange(num_positions)) % num_places
    arrangements = np.argsort(every_arrangement(num_places), axis=1)[:, positions]
    apart = arrangements[:, None, :] - arrangements[:, :, None]
    different = ~np.eye(num_positions, dtype=bool)
    number = len(arrangements)
    return (
        np.bincount(arrangements.ravel(), minlength=num_places) / number,
        np.bincount(apart[apart > 0], minlength=num_places) / number,
        np.bincount((apart[:, different] % num_places).ravel(), minlength=num_places) / number,
    )


@pytest.mark.parametrize("num_places", range(1, 9))
def test_S65_the_recursion_is_the_enumeration_for_every_run(num_places):
    known = TreeRuns()
    for start in range(num_places):
        for num_positions in range(num_places + 1):
            places, distances, round_the_circle = counted_run(num_places, start, num_positions)
            run = known.run(num_places, start, num_positions)
            assert_equal(run.places, places)
            assert_equal(run.distances, distances)
            law = run_distance_law(num_places, start=start, num_positions=num_positions, runs=known)
            assert_equal(law, round_the_circle)


def test_S65_runs_that_begin_elsewhere_differ_where_no_power_of_two():
    """A rule that takes the first run for all others fails."""
    first, later = (run_distance_law(6, start=start, num_positions=2) for start in (0, 3))
    assert_rejected(first, later, 1e-6)
    of_eight = [run_distance_law(8, start=start, num_positions=3) for start in range(8)]
    for law in of_eight[1:]:
        assert_equal(law, of_eight[0])


@pytest.mark.parametrize(
    ("num_places", "start", "num_positions"), [(500, 37, 24), (333, 320, 40), (192, 64, 64)]
)
def test_S65_orders_of_the_product_have_these_distances(num_places, start, num_positions):
    law = run_distance_law(num_places, start=start, num_positions=num_positions)
    number = 600
    counts = np.zeros((number, num_places))
    for seed in range(number):
        places = nested_epoch(num_places, seed=seed)[(start + np.arange(num_positions)) % num_places]
        apart = (places[None, :] - places[:, None])[~np.eye(num_positions, dtype=bool)] % num_places
        counts[seed] = np.bincount(apart, minlength=num_places)
    # Ten classes of distances, and each as a mean over seeds with its own error.
    edges = np.linspace(0, num_places, 11).astype(int)[:-1]
    found = np.add.reduceat(counts, edges, axis=1)
    expected = np.add.reduceat(law, edges)
    errors = found.std(0, ddof=1) / number**0.5
    assert (np.abs(found.mean(0) - expected) < 5 * errors + 1e-9).all()
    uniform = num_positions * (num_positions - 1) * np.diff(np.append(edges, num_places)) / (num_places - 1)
    assert (np.abs(found.mean(0) - uniform) > 5 * errors).any()


@pytest.mark.parametrize("num_places", [65, 200, 513, 2000])
def test_S65_large_nodes_by_fourier_are_those_by_sums(num_places, monkeypatch):
    by_fourier = [run_distance_law(num_places, start=start, num_positions=60) for start in (0, 3)]
    assert all(law.sum() == pytest.approx(60 * 59) and law.min() >= 0 for law in by_fourier)
    monkeypatch.setattr(tree_runs, "_DIRECT_PLACES", 10**6)
    for start, law in zip((0, 3), by_fourier, strict=True):
        assert_equal(law, run_distance_law(num_places, start=start, num_positions=60))


def test_small_nodes_are_kept_and_large_ones_are_not():
    known = TreeRuns()
    first = known.run(5000, 17, 300)
    sizes = [size for size, _ in known._known]
    assert sizes and max(sizes) <= tree_runs._KEPT_PLACES
    again = known.run(5000, 17, 300)
    assert_equal(again.distances, first.distances)


@pytest.mark.parametrize("length", [1, 2, 17, 100, 1000, 4097, 99_991])
def test_a_padded_length_is_long_enough_and_has_small_factors(length):
    padded = tree_runs._quick_length(length)
    rest = padded
    for factor in (2, 3, 5):
        while rest % factor == 0:
            rest //= factor
    assert length <= padded <= max(2, 1.34 * length) and rest == 1


@pytest.mark.parametrize(("num_places", "start", "number"), [(0, 0, 0), (4, 4, 1), (4, -1, 1), (4, 0, 5)])
def test_what_is_no_run_is_refused(num_places, start, number):
    with pytest.raises(SamplingError, match="no run of"):
        TreeRuns().run(num_places, start, number)
