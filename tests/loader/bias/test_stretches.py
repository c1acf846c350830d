# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""What `stratified` leaves of the variance, estimated from a few frames: right on average, and its interval covers."""

import numpy as np
import pytest

from loader import SamplingError, SamplingSpec
from loader.bias.estimates import estimate_for
from loader.bias.nested import nested_design_effect
from loader.bias.stretches import rho_of_stretches
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.nested_populations import videos_and_walks

FRAMES = videos_and_walks(5003, num_videos=40)


def estimates(batch_size, *, seeds, frames=FRAMES, **options):
    return [
        rho_of_stretches(
            len(frames), frames.__getitem__, proxy="walks", batch_size=batch_size, seed=seed, **options
        )
        for seed in range(seeds)
    ]


@pytest.mark.parametrize("batch_size", [15, 24, 100])
def test_S70_the_estimate_is_near_and_its_interval_covers(batch_size):
    exact = nested_design_effect(FRAMES, batch_size=batch_size, num_batches=5003 // batch_size)
    found = estimates(batch_size, seeds=60)
    effects = np.array([1 - estimate.rho for estimate in found])
    assert effects.mean() == pytest.approx(exact.design_effect, rel=0.03)
    inside = [1 - estimate.high <= exact.design_effect <= 1 - estimate.low for estimate in found]
    assert np.mean(inside) >= 0.85  # of 95 %: 0.85 or less has probability 0.003
    widths = [(1 - estimate.low) / (1 - estimate.high) for estimate in found]
    assert np.mean(widths) < 1.6  # it says something
    assert np.std(effects) > 0.02 * exact.design_effect
    of_permutation = (5003 - batch_size) / 5002
    assert all(1 - estimate.low < of_permutation for estimate in found)


def test_S70_few_frames_are_read():
    read = []

    def features(ids):
        read.append(len(ids))
        return FRAMES[ids]

    rho_of_stretches(len(FRAMES), features, proxy="walks", batch_size=128)
    assert read == [1200]


def test_S70_frames_are_those_at_places_of_the_order():
    ids = np.random.default_rng(0).permutation(len(FRAMES))
    by_id = np.empty_like(FRAMES)
    by_id[ids] = FRAMES
    options = {"proxy": "walks", "batch_size": 48}
    expected = rho_of_stretches(len(FRAMES), FRAMES.__getitem__, **options)
    assert rho_of_stretches(len(FRAMES), by_id.__getitem__, ids_at=ids.__getitem__, **options) == expected
    by_ids_alone = rho_of_stretches(len(FRAMES), by_id.__getitem__, **options)
    assert 1 - by_ids_alone.rho > 0.9 > 2 * (1 - expected.rho)


def test_S70_stretches_go_round_the_circle():
    """Two halves that differ: a stretch of half the circle that begins in the middle of one has frames of both."""
    frames = np.repeat([0.0, 1.0], 500)[:, None]
    (estimate,) = estimates(2, seeds=1, frames=frames, draws=400)
    assert 1 - estimate.low > 2 / 3 > 1 - estimate.high  # 0 by the halves from place 0, 2/3 over all starts
    assert estimate.low > -1


def test_stretches_of_one_frame_leave_the_odd_positions_alone():
    assert 1 - estimates(1, seeds=1)[0].rho == 1
    few = videos_and_walks(8, num_videos=2)
    (whole,) = estimates(8, seeds=1, frames=few)
    assert 1 - whole.rho == whole.num_draws == 0
    (nearly,) = estimates(7, seeds=1, frames=few)
    exact = nested_design_effect(few, batch_size=7, num_batches=1).design_effect
    assert 1 - nearly.rho == pytest.approx(exact) == pytest.approx(1 / 7)


def test_frames_that_are_alike_have_no_estimate_and_stretches_that_do_not_vary_leave_nothing():
    assert estimates(16, seeds=1, frames=np.ones((500, 2))) == [None]
    constant = np.repeat(np.arange(4.0), 250)[:, None]
    found = rho_of_stretches(
        1000, constant.__getitem__, proxy="steps", batch_size=256, draws=6, frames_per_draw=2, seed=3
    )
    assert found.rho == found.high == 1


def test_estimates_of_stratified_for_a_store():
    store = ArrayStore([3000, 2003], video_sizes=[5003])
    spec = SamplingSpec(sampling="stratified")
    options = {"proxy": "walks", "batch_size": 16}
    found = estimate_for(spec, store, FRAMES.__getitem__, **options)
    assert found == rho_of_stretches(5003, FRAMES.__getitem__, **options)
    backwards = estimate_for(
        spec, store, FRAMES[::-1].__getitem__, strata_ids_at=lambda places: 5002 - places, **options
    )
    assert backwards == found
    assert estimate_for(spec, store, FRAMES.__getitem__, features=FRAMES, **options) is None
    weighted = SamplingSpec(sampling="stratified", weights="video")
    assert estimate_for(weighted, store, FRAMES.__getitem__, **options) is None


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"batch_size": 5004}, {"batch_size": 4, "frames_per_draw": 1}]
)
def test_what_has_no_stretches_is_refused(options):
    with pytest.raises(SamplingError, match="no stretches for a batch of"):
        rho_of_stretches(5003, FRAMES.__getitem__, proxy="walks", **options)
