# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""What SAMPLING.md derives and no function computes; and that document and tests know the same formulas."""

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

import frame_store
import loader
from frame_store.shared import chi2_of_uniform_shards
from loader.bias import design_effect as effect
from loader.bias.distributions import last_batch
from loader.bias.distributions import windows as of_windows
from loader.bias.nested import (
    circular_autocovariance,
    limit_pair_chi2,
    mixed_design_effect,
    mixture_weights,
    run_distance_law,
)
from loader.bias.pairs import chi2 as pairs
from loader.bias.pairs import kappa as coincidence
from loader.bias.webdataset.kappa import webdataset_kappa
from loader.windows import WindowSpec
from tests.support.statistics.enumeration import (
    SUMMED,
    Population,
    assert_equal,
    assert_rejected,
    shard_visits,
)
from tests.support.statistics.oracles import clips as clip_oracles
from tests.support.statistics.oracles import correlations, distributions, generations, shuffle_buffer
from tests.support.statistics.oracles.correlations import correlation_ratio, intraclass_correlation
from tests.support.statistics.pair_estimate import half_squared_distances, rho_with_interval
from tests.support.statistics.trajectories import (
    frame_gradients,
    leading_drift,
    mean_step_off_the_path,
    slope_of,
)

DOCUMENT = (Path(loader.__file__).parent / "bias" / "SAMPLING.md").read_text(encoding="utf-8")
PRODUCT = [Path(package.__file__).parent for package in (loader, frame_store)]
ORACLES = Path(shuffle_buffer.__file__).parent
POPULATION = Population([2, 3, 4], seed=1)


def test_S40_pair_estimator():
    outcomes = shard_visits(POPULATION, POPULATION.share, num_visits=2, frames_per_visit=2)
    draws = POPULATION.frames[outcomes.frame_ids].reshape(-1, 2, 2, 3)
    distances = np.array([half_squared_distances(draw) for draw in draws])
    rho = intraclass_correlation(POPULATION.by_shard)
    within, between = outcomes.probability @ distances
    assert_equal([within, between], [POPULATION.variance * (1 - rho), POPULATION.variance])
    eta2 = correlation_ratio(POPULATION.by_shard)
    assert_rejected(within, POPULATION.variance * (1 - eta2))
    uniform = shard_visits(POPULATION, np.full(3, 1 / 3), num_visits=2, frames_per_visit=2)
    draws = POPULATION.frames[uniform.frame_ids].reshape(-1, 2, 2, 3)
    wrong = uniform.probability @ np.array([half_squared_distances(draw) for draw in draws])
    assert_rejected(wrong, [within, between])  # shards drawn alike


def test_S41_jackknife_covers_about_as_often_as_it_says():
    chance = np.random.default_rng(20)
    sizes = chance.integers(20, 200, 150)
    shards = [chance.normal(size=3) + 1.3 * chance.normal(size=(size, 3)).cumsum(0) / 9 for size in sizes]
    rho, covered = intraclass_correlation(shards), 0
    for _ in range(300):
        visited = chance.choice(len(sizes), size=60, p=sizes / sizes.sum())
        draws = np.stack(
            [shards[shard][chance.choice(sizes[shard], size=6, replace=False)] for shard in visited]
        )
        _, lowest, highest = rho_with_interval(draws)
        covered += lowest <= rho <= highest
    assert 0.91 <= covered / 300 <= 0.98


def test_S42_a_constant_bias_is_a_wrong_minimum():
    chance = np.random.default_rng(2)
    root = chance.normal(size=(3, 3))
    curvature, bias = root @ root.T + 0.5 * np.eye(3), chance.normal(size=3)
    point = chance.normal(size=3)  # the minimum is at 0
    for _ in range(20_000):
        point = point - 0.02 * (curvature @ point + bias)
    gap = point @ curvature @ point / 2
    assert_equal(gap, bias @ np.linalg.solve(curvature, bias) / 2, SUMMED)
    assert gap <= bias @ bias / (2 * np.linalg.eigvalsh(curvature)[0])
    assert_rejected(0.0, gap)


def test_S43_batches_that_are_alike_add_up():
    step, curvature = 0.1, 0.7
    decay = 1 - step * curvature
    covariance = 1.3 * 0.9 ** np.arange(800)  # of the noise, by lag
    ages = np.arange(800)
    weights = decay**ages
    variance = step**2 * weights @ covariance[np.abs(ages[:, None] - ages)] @ weights
    effective = covariance[0] + 2 * covariance[1:] @ decay ** ages[1:]
    assert_equal(step * effective / (curvature * (2 - step * curvature)), variance, SUMMED)
    assert_rejected(step * covariance[0] / (curvature * (2 - step * curvature)), variance, SUMMED)


def test_S44_the_descent_bound_holds_along_a_trajectory():
    """F(x) = x' H x / 2 and noise of independent signs, so every mean is exact over all sign sequences."""
    curvature, bias, noise, step = np.array([0.3, 2.0]), np.array([0.05, -0.1]), 0.4, 0.4
    points, gradients = np.array([[1.0, -1.0]]), []
    signs = noise / math.sqrt(2) * np.array(list(itertools.product((1, -1), repeat=2)))
    start = (points**2 @ curvature / 2).mean()
    for _ in range(6):
        gradient = points * curvature
        gradients.append((gradient**2).sum(1).mean())
        points = (points[:, None] - step * (gradient[:, None] + bias + signs)).reshape(-1, 2)
    bound = 2 * start / (step * 6) + bias @ bias + 2.0 * step * noise**2
    assert np.mean(gradients) <= bound
    gap = (points**2 @ curvature / 2).mean()
    floor = (bias @ bias + 2.0 * step * noise**2) / (2 * 0.3)
    assert gap <= (1 - step * 0.3) ** 6 * start + floor


def test_S45_a_block_of_whole_shards_on_its_own_is_off():
    population = Population([3] * 5, seed=3)
    squares = [
        ((population.shard_means[list(shards)].mean(0) - population.mean) ** 2).sum()
        for shards in itertools.combinations(range(5), 2)
    ]
    assert_equal(np.mean(squares), population.between / 2 * (5 - 2) / (5 - 1))
    assert_rejected(np.mean(squares), population.between / 2)
    rho = intraclass_correlation(population.by_shard)
    of_shuffled = population.variance / 6 * (15 - 6) / (15 - 1)
    ratio = (1 + (3 - 1) * rho) * 5 * (15 - 1) / ((5 - 1) * 15)
    assert_equal(np.mean(squares) / of_shuffled, ratio)


def slope_of_the_variance(num_frames):
    gradients = frame_gradients(num_frames)
    return slope_of(lambda point: gradients(point).var(0).sum())


@pytest.mark.parametrize(
    ("num_frames", "num_steps", "batch_size"),
    [
        (6, 0, 1),
        (6, 1, 1),
        (6, 3, 1),
        (6, 5, 1),
        (6, 1, 2),
        (6, 2, 2),
        (6, 1, 3),
        (5, 4, 1),
        (4, 2, 1),
        (4, 1, 2),
    ],
)
def test_S55_along_an_epoch_the_steps_lean(num_frames, num_steps, batch_size):
    orders = list(itertools.permutations(range(num_frames)))
    leading = leading_drift(orders, num_frames, num_steps, batch_size)  # the part that is linear in eta
    slope = slope_of_the_variance(num_frames)
    expected = num_steps / (2 * (num_frames - 1)) * slope
    np.testing.assert_allclose(leading, expected, rtol=1e-5, atol=1e-9)
    with_n = expected * (num_frames - 1) / num_frames
    for wrong in (-expected, with_n, 2 * expected, expected / batch_size):
        if (wrong != expected).any():
            assert np.abs(leading - wrong).max() > 0.1 * np.abs(expected).max()


def test_S55_draws_with_replacement_do_not_lean():
    draws = list(itertools.product(range(6), repeat=4))
    off = mean_step_off_the_path(draws, 6, 3, 1, 0.05)
    assert np.abs(off).max() < 1e-12 < np.abs(slope_of_the_variance(6)).max()


def coincidence_of_clips(shared):
    coverage = of_windows.WindowCoverage.of([300, 80, 1000], clip_oracles.clips(16, 4))
    return of_windows.window_coincidences(coverage, batch_size=8, with_replacement=False)[shared]


def effect_of_period_three():
    frames = np.tile([0.0, 1.0, 0.0], 16)[:, None]
    by_lag = circular_autocovariance(frames)
    return 1 + run_distance_law(48, start=16, num_positions=16) @ by_lag / by_lag[0] / 16


def worth_of_blocks(num_ranks):
    batch_size = 32 * num_ranks
    kappa = coincidence.block_kappa([1000] * 500, block_frames=4000, batch_size=batch_size)
    correlation = effect.slot_correlation(kappa, 0.6, shard_size=1000, num_shards=500)
    return batch_size / effect.design_effect(correlation, batch_size=batch_size)


@pytest.mark.parametrize(
    ("formula", "digits", "value"),
    [
        ("S3", "0.016", lambda: chi2_of_uniform_shards([1000] * 499 + [100])),
        ("S4", "0.0018", lambda: distributions.typical_bias_of_uniform_shards([1000] * 499 + [100])),
        ("S10", "0.35", lambda: chi2_of_uniform_shards([20] * 7 + [4])),
        ("S11", "0.094", lambda: distributions.chi2_of_equalised_readers([1000, 1000, 1000, 500])),
        ("S12", "0.038", lambda: last_batch.chi2_of_dropped_tail(1000, 37)),
        ("S13", "0.0068", lambda: last_batch.chi2_of_padding(1001, 7)),
        (
            "S14",
            "0.037",
            lambda: distributions.chi2_of_worker_drop_last([1000, 1000, 900, 100], batch_size=128),
        ),
        ("S15", "1.8", lambda: distributions.chi2_of_mixture([0.5, 0.5], [900, 100])),
        ("S17", "0.033", lambda: clip_oracles.chi2_of_sliding_windows(300, 16)),
        ("S18", "0.095", lambda: clip_oracles.chi2_of_whole_clips([300, 80, 1000], clip_frames=16, stride=4)),
        ("S20", "0.118", lambda: coincidence_of_clips("clip")),
        ("S20", "0.695", lambda: coincidence_of_clips("video")),
        ("S20", "0.00065", lambda: coincidence_of_clips("frame")),
        (
            "S21",
            "11.09",
            lambda: effect.clip_design_effect(0.76, clip_frames=16, batch_size=128, num_windows=1200),
        ),
        ("S23", "0.0739", lambda: effect.slot_correlation(0.125, 0.6, shard_size=1000, num_shards=500)),
        ("S26", "5.2", lambda: effect.visit_design_effect(0.6, frames_per_visit=8)),
        ("S29", "0.055", lambda: coincidence.visit_kappa(batch_size=128, frames_per_visit=8)),
        ("S31", "0.116", lambda: coincidence.block_kappa([1000] * 500, block_frames=8000, batch_size=256)),
        ("S33", "0.76", lambda: correlations.ar1_block_correlation(0.95, num_frames=16)),
        (
            "S46",
            "25.25",
            lambda: effect.weighted_visit_design_effect(
                [[[0.0]], [[1.0]] * 99], [0.5, 0.5], frames_per_visit=1
            ),
        ),
        ("S47", "25.25", lambda: effect.worst_visit_design_effect([1, 99], [0.5, 0.5], frames_per_visit=1)),
        ("S48", "6.7", lambda: worth_of_blocks(num_ranks=1)),
        ("S48", "7.4", lambda: worth_of_blocks(num_ranks=8)),
        ("S37", "0.365", lambda: webdataset_kappa([1000] * 500, shuffle_buffer=1000, batch_size=256)),
        ("S37", "0.060", lambda: webdataset_kappa([1000] * 500, shuffle_buffer=8000, batch_size=256)),
        ("S50", "12.4", lambda: last_batch.chi2_of_short_batch(1025, batch_size=128)),
        ("S51", "0.0122", lambda: last_batch.chi2_of_short_batch(1025, batch_size=128) / 1024),
        (
            "S53",
            "0.045",
            lambda: pairs.visit_pair_chi2([1 / 32] * 32, [50] * 32, kappa=7 / 127, num_visits=16).value,
        ),
        (
            "S60",
            "0.0075",
            lambda: (
                of_windows.WindowCoverage.of([300, 100], WindowSpec(frame_offsets=(-2, 0))).chi2_over_frames
            ),
        ),
        (
            "S60",
            "0.0050",
            lambda: (
                of_windows.WindowCoverage.of(
                    [300, 100], WindowSpec(frame_offsets=(-2, 0), edges="whole")
                ).chi2_over_frames
            ),
        ),
        ("S60", "0.03", lambda: of_windows.chi2_at_offset([300, 100], -2)),
        ("S54", "0.75", lambda: pairs.block_pair_chi2([50] * 32, block_frames=200, batch_size=128).value),
        ("S57", "0.333", lambda: 4 * (0.25 / 1 + 0.25 / 3) - 1),
        ("S58", "5.2", lambda: effect.visit_design_effect(0.6, frames_per_visit=8)),
        ("S59", "1.25", lambda: effect.importance_design_effect([0.5, 0.5], [1, 3])),
        ("S64", "0.25", lambda: mixed_design_effect([1.0, 0.5, 0.25], num_positions=4)),
        ("S64", "0.24", lambda: mixture_weights(100)[5]),
        ("S64", "0.72", lambda: mixture_weights(100)[7]),
        ("S65", "4.75", effect_of_period_three),
        ("S66", "0.043", lambda: limit_pair_chi2(16)),
        ("S66", "0.0052", lambda: limit_pair_chi2(128)),
        ("S69", "0.028", lambda: 2 * 0.5 / 36),
        ("S71", "0.6", lambda: generations.rho_of_generations([[[0], [2]], [[4], [6]]], [[2], [2]])),
        (
            "S72",
            "2.3125",
            lambda: 1 + 7 * generations.rho_by_videos([[10**7] * 2], 0.375, many_videos=True)[0],
        ),
        ("S73", "0.1992", lambda: 5 * 200 * 199 / (1000 * 999)),
        ("S39", "0.367", lambda: shuffle_buffer.approximate_buffer_kappa(1000, shuffle_buffer=1000)),
    ],
)
def test_every_example_in_the_document_is_right(formula, digits, value):
    paragraph = re.search(rf"\*\*\({formula}\).*?(?=\n\n\*\*\(|\n## |\Z)", DOCUMENT, re.DOTALL).group()
    assert digits in paragraph
    assert f"{value():.{len(digits.split('.')[1])}f}" == digits


def formulas_of_the_document():
    return set(re.findall(r"\*\*\((S\d+)\)", DOCUMENT))


def test_every_formula_has_a_test_and_every_test_a_formula():
    tests = "\n".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py")
    )
    tested = set(re.findall(r"def test_(S\d+)_", tests))
    assert formulas_of_the_document() == tested


def test_no_formula_is_numbered_twice_and_no_number_is_left_out():
    numbers = [int(number) for number in re.findall(r"\*\*\(S(\d+)\)", DOCUMENT)]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))


def source_of(*folders):
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert files
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


def test_every_number_in_code_is_in_the_document():
    code = source_of(*PRODUCT, ORACLES)
    assert set(re.findall(r"\((S\d+)\)", code)) <= formulas_of_the_document()


@pytest.mark.parametrize(("word", "folders"), [("[Cc]ode", PRODUCT), ("[Oo]racle", [ORACLES])])
def test_every_function_that_the_document_names_exists(word, folders):
    named = re.findall(rf"\b{word}\s+((?:`\w+`(?:,\s+)?)+)", DOCUMENT)
    names = {name for names in named for name in re.findall(r"`(\w+)`", names)}
    assert len(names) > 15
    source = source_of(*folders)
    assert not {name for name in names if not re.search(rf"(def|class) {name}\b", source)}


def test_every_test_that_the_document_names_exists():
    tests = "\n".join(
        path.read_text(encoding="utf-8") for path in Path(__file__).parents[1].rglob("test_*.py")
    )
    named = re.findall(r"`(test_S\d+_\w+)`", DOCUMENT)
    assert named
    missing = [name for name in named if f"def {name}(" not in tests]
    assert not missing
