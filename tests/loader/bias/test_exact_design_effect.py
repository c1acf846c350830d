# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Design effects of visits and of clips, from all frames or from sizes alone, against every outcome."""

import itertools
import math

import numpy as np
import pytest

from loader import SamplingError, SamplingSpec
from loader.bias.design_effect import (
    least_correlation,
    visit_design_effect,
    weighted_visit_design_effect,
    worst_visit_design_effect,
)
from loader.bias.report import make_report
from tests.support.statistics.design_effects import (
    mean_square_effect,
    measured_design_effect,
    report_of,
)
from tests.support.statistics.enumeration import (
    SUMMED,
    Outcomes,
    Population,
    assert_equal,
    assert_rejected,
    every_whole_clip,
    shard_visits,
)
from tests.support.statistics.laws import law_of, spec_of, windows_of
from tests.support.statistics.oracles.correlations import correlation_ratio, intraclass_correlation

UNEQUAL = Population([2, 3, 4], seed=1)
LAWS = {"uniform": np.full(3, 1 / 3), "lopsided": np.array([0.7, 0.1, 0.2]), "one left out": [0.4, 0.0, 0.6]}


# Visits to shards with any probabilities.


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
@pytest.mark.parametrize(("frames_per_visit", "again"), [(1, False), (2, False), (2, True)])
def test_S46_visits_to_shards_of_any_law(law, frames_per_visit, again):
    options = {"num_visits": 2, "frames_per_visit": frames_per_visit, "frames_again": again}
    outcomes = shard_visits(UNEQUAL, law, **options)
    found = weighted_visit_design_effect(
        UNEQUAL.by_shard, law, frames_per_visit=frames_per_visit, with_replacement=again
    )
    measured = measured_design_effect(outcomes, UNEQUAL)
    assert_equal(found, measured)
    proportional = correlation_ratio if again else intraclass_correlation
    wrong = visit_design_effect(proportional(UNEQUAL.by_shard), frames_per_visit=frames_per_visit)
    assert_rejected(wrong, measured)  # what the proportional rule has
    assert_rejected(found, mean_square_effect(outcomes, UNEQUAL))  # the bias is not in it


@pytest.mark.parametrize("again", [False, True])
def test_S46_is_S26_under_the_anchor_frame_rule(again):
    found = weighted_visit_design_effect(
        UNEQUAL.by_shard, UNEQUAL.share, frames_per_visit=2, with_replacement=again
    )
    alike = (correlation_ratio if again else intraclass_correlation)(UNEQUAL.by_shard)
    assert_equal(found, visit_design_effect(alike, frames_per_visit=2))


@pytest.mark.parametrize("again", [False, True])
def test_S46_is_what_a_report_says_and_with_the_bias_the_mean_square(again):
    options = {"frames_per_visit": 2, "frames_with_replacement": again}
    report = report_of(UNEQUAL, sampling="shards", shard_choice="uniform", batch_size=4, **options)
    outcomes = shard_visits(UNEQUAL, LAWS["uniform"], num_visits=2, frames_per_visit=2, frames_again=again)
    assert_equal(report.design_effect, measured_design_effect(outcomes, UNEQUAL))
    assert_equal(report.mean_square_effect, mean_square_effect(outcomes, UNEQUAL))
    assert_equal(report.effective_batch_with_bias, 4 / mean_square_effect(outcomes, UNEQUAL))
    assert report.design_effect_low == report.design_effect == report.design_effect_high
    assert report.is_exact and report.law.chi2 > 0


def test_S46_sizes_1_and_99():
    """One frame against 99: half of the draws are of a hundredth of the frames."""
    features = np.repeat([0.0, 1.0], [1, 99])[:, None]
    law = law_of([1, 99], sampling="shards", frames_per_visit=1, shard_choice="uniform", batch_size=32)
    spec = SamplingSpec(sampling="shards", frames_per_visit=1, shard_choice="uniform")
    report = make_report(law, spec, np.array([1, 99]), rho=None, features=features)
    assert report.design_effect == pytest.approx(0.25 / 0.0099)
    assert report.effective_batch == pytest.approx(32 * 0.0099 / 0.25)
    assert law.effective_batch_floor == pytest.approx(32 * 0.0099 / 0.25) and law.floor_is_proven
    unknown = make_report(law, spec, np.array([1, 99]), rho=None)
    assert unknown.design_effect is unknown.effective_batch is unknown.mean_square_effect is None
    assert unknown.why_not_exact == "needs features"
    assert unknown.least_effective_batch == law.effective_batch_floor


def variance_of_visits(sizes, law, *, frames_per_visit, again):
    """A with x' A x = B times the variance of a batch's mean, for data x of one dimension."""
    population = Population(sizes)
    outcomes = shard_visits(
        population, law, num_visits=1, frames_per_visit=frames_per_visit, frames_again=again
    )
    means = np.eye(population.num_frames)[outcomes.frame_ids].mean(1)
    centred = means - outcomes.probability @ means
    return frames_per_visit * (centred.T * outcomes.probability) @ centred


def data_around_zero(num_frames):
    """Orthonormal columns: all data with mean 0, shape (N, N - 1)."""
    return np.linalg.svd(np.eye(num_frames) - 1 / num_frames)[0][:, :-1]


@pytest.mark.parametrize("sizes", [[2, 3, 4], [2, 2, 5], [4, 4], [2, 2, 2, 3], [5], [1, 1, 3]])
@pytest.mark.parametrize("choice", ["uniform", "proportional", "lopsided"])
@pytest.mark.parametrize(("frames_per_visit", "again"), [(1, False), (2, False), (2, True)])
def test_S47_no_data_are_worse_and_some_are_as_bad(sizes, choice, frames_per_visit, again):
    sizes = np.array(sizes)
    if sizes.min() < frames_per_visit and not again:
        sizes = sizes + 1
    weights = {"uniform": sizes * 0 + 1.0, "proportional": sizes, "lopsided": np.arange(1.0, len(sizes) + 1)}
    law = weights[choice] / weights[choice].sum()
    of_visits = variance_of_visits(sizes, law, frames_per_visit=frames_per_visit, again=again)
    data = data_around_zero(sizes.sum())
    worst = np.linalg.eigvalsh(data.T @ of_visits @ data)[-1] * sizes.sum()
    found = worst_visit_design_effect(sizes, law, frames_per_visit=frames_per_visit, with_replacement=again)
    assert_equal(found, worst, SUMMED)
    if choice == "uniform" and len(set(sizes.tolist())) > 1:
        assert_rejected(frames_per_visit, worst)  # that of the anchor-frame rule


def test_S47_of_many_shards_is_between_the_two_largest_ratios():
    sizes = np.array([1, 2, *range(3, 60)])
    worst = worst_visit_design_effect(sizes, np.full(59, 1 / 59), frames_per_visit=1)
    over = sizes.sum() / (59 * sizes)
    assert over[1] < worst < over[0]
    assert worst_visit_design_effect([1], [1.0], frames_per_visit=1) == 1.0


def test_S22_rho_has_a_floor():
    for sizes in ([4, 4], [2, 5, 5], [1, 3, 6], [1, 1, 4]):
        population = Population(sizes)
        pairs = np.zeros((sum(sizes), sum(sizes)))  # rho = x' P x / x' x for centred x
        for shard, size in enumerate(sizes):
            ids = population.ids_of(shard)
            if size > 1:
                pairs[np.ix_(ids, ids)] = (1 - np.eye(size)) / (size - 1)
        data = data_around_zero(sum(sizes))
        least = np.linalg.eigvalsh(data.T @ pairs @ data)[0]
        assert_equal(least_correlation(sizes), least, SUMMED)
        if len(set(sizes)) > 1:
            assert_rejected(-1 / (np.mean(sizes) - 1), least)  # of as many equal shards
    assert least_correlation([1, 1]) == 0


def test_visits_that_cannot_be_are_refused():
    for wrong in ([0.5, 0.5, 0.0], [0.7, 0.7]):
        with pytest.raises(SamplingError):
            worst_visit_design_effect([2, 3], wrong, frames_per_visit=1)
    with pytest.raises(SamplingError, match="2 probabilities for 3 shards"):
        weighted_visit_design_effect(UNEQUAL.by_shard, [0.5, 0.5], frames_per_visit=1)
    with pytest.raises(SamplingError, match="no visit of 3 different frames"):
        weighted_visit_design_effect(UNEQUAL.by_shard, UNEQUAL.share, frames_per_visit=3)


def test_the_floor_of_the_order_on_disk_is_reached():
    """Two shards, and a batch of each alike: kappa of the shards would promise more."""
    for sizes, batch_size in [([4, 4], 4), ([1] * 8, 4), ([3, 3, 3], 4)]:
        features = np.resize(np.repeat([1.0, -1.0], batch_size), sum(sizes))[:, None]
        features[sum(sizes) // batch_size * batch_size :] = 0
        law = law_of(sizes, batch_size=batch_size, sampling="sequential")
        spec = SamplingSpec(sampling="sequential")
        report = make_report(law, spec, np.array(sizes), rho=None, features=features)
        assert law.floor_is_proven
        assert report.design_effect == pytest.approx(law.worst_design_effect)


# Clips.


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
@pytest.mark.parametrize("stride", [1, 2])
def test_S21_the_report_of_all_windows_is_exact(sampling, stride):
    sizes, clip_frames = [5, 2, 7], 3
    windows = every_whole_clip(sizes, clip_frames, stride)
    features = np.random.default_rng(4).normal(size=(14, 2)).cumsum(0)
    options = {"sampling": sampling, "clip_frames": clip_frames, "clip_stride": stride}
    batches = list(
        itertools.product(range(len(windows)), repeat=2)
        if sampling == "iid"
        else itertools.permutations(range(len(windows)), 2)
    )
    outcomes = Outcomes.of((1 / len(batches), windows[list(batch)].ravel()) for batch in batches)
    law = outcomes.law(14)
    variance = law @ ((features - law @ features) ** 2).sum(1)
    for batch_size, world_size in [(2, 1), (1, 2)]:
        law = law_of([14], batch_size=batch_size, world_size=world_size, video_sizes=sizes, **options)
        report = make_report(
            law,
            spec_of(options),
            np.array([14]),
            rho=None,
            features=features,
            windows=windows_of(sizes, options),
        )
        assert_equal(report.design_effect, 6 * outcomes.variance(features) / variance, SUMMED)
        assert report.is_exact and report.mean_square_effect is None


def test_frames_that_are_all_alike_have_no_design_effect():
    for options in ({"sampling": "sequential"}, {"sampling": "block", "shards_per_block": 1}):
        report = report_of(UNEQUAL, features=np.full((9, 2), 0.1), batch_size=2, **options)
        assert report.design_effect is None and report.why_not_exact == "all frames are alike"
    assert math.isinf(report_of(UNEQUAL, batch_size=9, sampling="permutation").effective_batch)
