# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""The long-run design effect (S43): formulas against enumeration, simulation against formulas, the audit's figures."""

import itertools
import math

import numpy as np
import pytest

from loader import SamplingError, SamplingSpec
from loader.bias import Draws, long_run_effect
from loader.bias.long_run import num_orders_of, permutation_long_run, simulated_long_run
from loader.bias.long_run.closed import long_run_of_runs, periodic_long_run
from loader.bias.long_run.draws import KEPT_AXES, RANDOM_AXES
from loader.sampling.plan import BatchPlan, make_plan
from tests.support.caches.array_store import ArrayStore

ROUNDED = 1e-12


def plan_of(sizes, *, batch_size, remainder=None, video_sizes=None, seed=0, **options):
    return make_plan(
        sizes,
        batch_size=batch_size,
        remainder=remainder,
        seed=seed,
        store=ArrayStore(sizes, video_sizes=video_sizes),
        **options,
    )


def noise_of_stream(means, a):
    """(1 / T) sum_pq a^|p - q| <m_p, m_q> of the batch means of one epoch, as the definition says."""
    steps = np.arange(len(means))
    return float((a ** np.abs(steps[:, None] - steps) * (means @ means.T)).sum() / len(means))


def positions_of(num_frames, batch_size, remainder):
    """The positions of each batch of an epoch."""
    plan = BatchPlan(
        [num_frames],
        SamplingSpec(sampling="sequential"),
        batch_size=batch_size,
        seed=0,
        remainder=remainder,
        rank=0,
        world_size=1,
    )
    return list(plan.batches(0))


def some_features(num_frames, *, columns=2, seed=1):
    features = np.cumsum(np.random.default_rng(seed).normal(size=(num_frames, columns)), axis=0)
    return features - features.mean(axis=0)


@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
@pytest.mark.parametrize(("num_frames", "batch_size"), [(6, 2), (6, 1), (5, 2), (7, 3), (6, 4), (4, 3)])
@pytest.mark.parametrize("horizon", [1, 3, 50])
def test_S43_a_permutation_over_every_order(num_frames, batch_size, remainder, horizon):
    features, batches = some_features(num_frames), positions_of(num_frames, batch_size, remainder)
    a = 1 - 1 / horizon
    total = 0.0
    for order in itertools.permutations(range(num_frames)):
        shown = features[list(order)]
        total += noise_of_stream(np.stack([shown[batch].mean(axis=0) for batch in batches]), a)
    expected = batch_size * total / math.factorial(num_frames) / np.square(features).sum(axis=1).mean()
    plan = plan_of([num_frames], batch_size=batch_size, remainder=remainder)
    found = long_run_effect(plan, None, horizon=horizon)
    assert found.effect == pytest.approx(expected, rel=1e-9, abs=ROUNDED)
    assert (found.standard_error, found.num_orders) == (0, 0)
    if horizon > 1 and num_frames % batch_size == 0 and batch_size < num_frames:
        # As if an epoch had no end, all lags alike.
        endless = (num_frames - batch_size * (1 + 2 * a / (1 - a))) / (num_frames - 1)
        assert abs(endless - expected) > 0.01


def test_S43_a_batch_of_several_epochs():
    """`pad` with more slots than frames: every batch has every frame two or three times."""
    features = some_features(3)
    plan = plan_of([3], batch_size=8, remainder="pad")
    (batch,) = plan.batches(0)
    counts = np.bincount(batch, minlength=3)
    assert sorted(counts) == [2, 3, 3]
    means = [
        np.square(counts[list(order)] @ features / 8).sum() for order in itertools.permutations(range(3))
    ]
    expected = 8 * np.mean(means) / np.square(features).sum(axis=1).mean()
    assert long_run_effect(plan, None, horizon=7).effect == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("step", "audited"), [(0.3, 0.649), (0.1, 0.341), (0.03, 0.146), (0.01, 0.077)])
def test_S43_the_audit_measured_the_same_by_running_sgd(step, audited):
    effect = permutation_long_run(1600, batch_size=128, num_steps=12, horizon=1 / step)
    assert effect == pytest.approx(audited, abs=0.0006)


def nested_orders(num_levels):
    """Every order of `stratified` over 2^m frames: all coins and all turns."""
    num_frames = 1 << num_levels
    nodes = [(level, residue) for level in range(num_levels) for residue in range(1 << level)]
    for coins in itertools.product((0, 1), repeat=len(nodes)):
        of_node = dict(zip(nodes, coins, strict=True))
        places = [
            sum(
                (((position >> level) & 1) ^ of_node[level, position % (1 << level)])
                << (num_levels - 1 - level)
                for level in range(num_levels)
            )
            for position in range(num_frames)
        ]
        for turn in range(num_frames):
            yield (np.array(places) + turn) % num_frames


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4])
@pytest.mark.parametrize("horizon", [1, 4, 40])
def test_S43_stratified_over_every_order_of_eight_frames(batch_size, horizon):
    features = some_features(8)
    plan = plan_of([8], batch_size=batch_size, sampling="stratified")
    num_steps, a = len(plan), 1 - 1 / horizon
    noise = [
        noise_of_stream(
            features[order[: num_steps * batch_size]].reshape(num_steps, batch_size, -1).mean(axis=1), a
        )
        for order in nested_orders(3)
    ]
    assert len(noise) == 1024
    expected = batch_size * np.mean(noise) / np.square(features).sum(axis=1).mean()
    found = long_run_effect(plan, Draws.of(features), horizon=horizon)
    assert found.effect == pytest.approx(expected, rel=1e-9, abs=ROUNDED) and found.num_orders == 0


@pytest.mark.parametrize("batch_size", [3, 16])
def test_S43_simulated_orders_agree_with_the_formula(batch_size):
    features = some_features(256, columns=5)
    plan = plan_of([64] * 4, batch_size=batch_size, sampling="stratified")
    draws = Draws.of(features)
    exact = long_run_effect(plan, draws, horizon=20).effect
    found = simulated_long_run(plan, draws, horizon=20)
    scale = batch_size / draws.reference
    assert found.num_orders == num_orders_of(256) == 128
    assert abs(scale * found.noise - exact) < 5 * scale * found.standard_error < 0.5 * exact


@pytest.mark.parametrize(
    "options",
    [
        {"sampling": "block", "shards_per_block": 2},
        {"sampling": "shards", "frames_per_visit": 4},
        {"sampling": "stratified"},
    ],
)
def test_S43_simulation_is_of_the_loaders_own_orders(options):
    """Against the definition over other seeds, written out; and the stated error is of the size of the difference."""
    sizes, features = [20, 12, 30, 18], some_features(80, columns=3)
    found = long_run_effect(plan_of(sizes, batch_size=8, **options), Draws.of(features), horizon=6)
    noise = []
    for seed in range(1, 1500):
        plan = plan_of(sizes, batch_size=8, seed=seed, **options)
        noise.append(
            noise_of_stream(np.stack([features[ids].mean(axis=0) for ids in plan.batches(0)]), 1 - 1 / 6)
        )
    scale = 8 / np.square(features).sum(axis=1).mean()
    spread = np.hypot(found.standard_error, scale * np.std(noise) / np.sqrt(len(noise)))
    assert abs(found.effect - scale * np.mean(noise)) < 5 * spread
    assert found.effective_batch_low < 8 / found.effect == found.effective_batch < found.effective_batch_high
    assert found.standard_error == pytest.approx(
        scale * np.std(noise, ddof=1) / np.sqrt(found.num_orders), rel=0.3
    )


def test_S43_an_order_that_is_always_the_same():
    means, horizon = some_features(7, columns=2), 9
    long = np.tile(means, (400, 1))
    lags = [(long[: len(long) - lag] * long[lag:]).sum(axis=1).mean() for lag in range(200)]
    a = 1 - 1 / horizon
    expected = lags[0] + 2 * sum(a**lag * lags[lag] for lag in range(1, 200))
    assert periodic_long_run(means + 5, horizon=horizon) == pytest.approx(expected, rel=0.02)


def test_S43_independent_batches_have_the_effect_of_one():
    plan = plan_of([5, 5], batch_size=4, sampling="iid")
    assert long_run_effect(plan, None, horizon=30).effect == 1
    naive = plan_of([5, 5], batch_size=4, sampling="shards", frames_per_visit=2, shard_choice="uniform")
    assert long_run_effect(naive, None, horizon=30, of_batch=1.7).effect == 1.7
    assert long_run_effect(naive, Draws.of(some_features(10)), horizon=30) is None
    assert long_run_of_runs(lambda batches: 1.7, num_steps=50, horizon=30) == pytest.approx(1.7)


@pytest.mark.parametrize("num_frames", [64, 90])
@pytest.mark.parametrize("batch_size", [4, 7])
def test_S43_spread_batches_are_worth_no_less_together_than_one_of_them(num_frames, batch_size):
    """What is printed as a bound where the frames were not read."""
    features = some_features(num_frames, columns=1)
    plan = plan_of([num_frames], batch_size=batch_size, sampling="stratified")
    one, many = (long_run_effect(plan, Draws.of(features), horizon=horizon) for horizon in (1, 30))
    assert many.effect < one.effect
    bound = long_run_effect(plan, None, horizon=30, of_batch=one.effect)
    assert bound.is_bound and bound.effect == one.effect and bound.is_approximate == (num_frames == 90)
    block = plan_of([30, 34], batch_size=4, sampling="block", shards_per_block=1)
    assert long_run_effect(block, None, horizon=30, of_batch=one.effect) is None


def test_a_few_columns_stand_for_many():
    """Squares summed over them are right in the mean, and what chance adds to them is in the stated error."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 200)) * np.linspace(2, 0.1, 200)
    draws = Draws.of(features)
    few, num_random = draws.few_columns
    assert few.shape == (400, KEPT_AXES + RANDOM_AXES) and num_random == RANDOM_AXES
    assert np.square(few).sum() == pytest.approx(np.square(draws.centred).sum(), rel=0.1)
    plan = plan_of([400], batch_size=16, sampling="block", shards_per_block=1)
    found = simulated_long_run(plan, draws, horizon=10)
    of_all = np.mean(
        [
            noise_of_stream(np.stack([draws.centred[ids].mean(axis=0) for ids in plan.batches(epoch)]), 0.9)
            for epoch in range(found.num_orders)
        ]
    )  # of the same orders, so that chance of directions alone is between them
    assert abs(found.noise - of_all) < 3 * found.standard_error < 0.2 * of_all
    of_one = Draws.of(features[:, :1] @ np.ones((1, 300)))  # all columns alike: one axis, and no rest
    kept, _ = of_one.few_columns
    assert np.square(kept).sum() == pytest.approx(np.square(of_one.centred).sum(), rel=1e-4)


def test_frames_that_are_alike_have_no_effect():
    plan = plan_of([8], batch_size=2, sampling="stratified")
    assert long_run_effect(plan, Draws.of(np.full((8, 3), 0.1)), horizon=5) is None


@pytest.mark.parametrize("horizon", [0.5, math.inf, math.nan])
def test_a_horizon_is_a_number_of_steps(horizon):
    with pytest.raises(SamplingError, match="horizon is a number of steps, 1 or more"):
        long_run_effect(plan_of([8], batch_size=2), None, horizon=horizon)
