import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from frame_store.content_order import bisected, bisection, num_levels
from tests.support.statistics.oracles.content_order import bisected_plainly

POINTS = hnp.arrays(
    np.int16,
    st.tuples(st.integers(1, 40), st.integers(1, 5)),
    elements=st.one_of(st.integers(-2048, 2047), st.integers(-2, 2)),
)


@settings(max_examples=150)
@given(points=POINTS)
def test_the_order_is_that_of_plain_integers(points):
    assert bisected(points).tolist() == bisected_plainly(points.tolist())


@pytest.mark.parametrize("at_once", [1, 7, 64])
def test_blocks_do_not_show(at_once, monkeypatch):
    """Nodes of more points than are held at once, and blocks of several nodes."""
    points = np.random.default_rng(1).integers(-2048, 2048, (301, 4)).astype(np.int16)
    expected = bisected_plainly(points.tolist())
    monkeypatch.setattr(bisection, "_POINTS_AT_ONCE", at_once)
    assert bisected(points).tolist() == expected


@pytest.mark.parametrize("num_points", [1, 2, 3, 4, 5, 127, 128, 129, 1000, 4099])
def test_every_point_once_and_a_step_of_progress_for_each_level(num_points):
    points = np.random.default_rng(num_points).integers(-2048, 2048, (num_points, 3)).astype(np.int16)
    steps = []
    order = bisected(points, progress=steps.append)
    assert order.dtype == np.uint32
    assert sorted(order.tolist()) == list(range(num_points))
    assert steps == [1] * num_levels(num_points)


def test_equal_points_stay_in_the_order_of_places():
    assert bisected(np.full((37, 3), 5, np.int16)).tolist() == list(range(37))


@pytest.mark.parametrize("num_clusters", [4, 16])
def test_points_of_a_cluster_are_neighbours(num_clusters):
    rng = np.random.default_rng(num_clusters)
    corners = rng.permutation(2**5)[:num_clusters]
    centres = ((corners[:, None] >> np.arange(5) & 1) * 3000 - 1500) // (1 + np.arange(5))
    cluster = rng.permutation(np.repeat(np.arange(num_clusters), 64))
    points = (centres[cluster] + rng.integers(-3, 4, (len(cluster), 5))).astype(np.int16)
    in_order = cluster[bisected(points)].reshape(num_clusters, 64)
    assert (in_order == in_order[:, :1]).mean() > 0.9


def test_axes_point_onwards_so_that_like_halves_meet(monkeypatch):
    """What is left inside 32 stretches that begin anywhere, with the rule for signs and without it."""
    points = np.random.default_rng(0).normal(0, 400, (1 << 13, 3)).clip(-2048, 2047).astype(np.int16)

    def left_inside(order):
        parts = np.concatenate(
            [np.roll(points[order], -start, axis=0).reshape(32, -1, 3) for start in range(0, 256, 16)]
        ).astype(float)
        return parts.var(axis=1).sum(axis=-1).mean() / points.astype(float).var(axis=0).sum()

    with_rule = left_inside(bisected(points))
    monkeypatch.setattr(bisection, "_point_onwards", lambda axes, means: None)
    assert with_rule < 0.95 * left_inside(bisected(points))
