# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Laws of views, whose shards may be short, and of weights, against every outcome of tiny populations."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from frame_store import concat, select
from loader import SamplingError, SamplingSpec
from loader.bias import make_report, sampling_law
from loader.bias.design_effect import (
    importance_design_effect,
    target_visit_design_effect,
    visit_correlation_on_shards,
    visit_design_effect,
    worst_visit_design_effect,
)
from loader.bias.rho import RhoEstimate
from loader.sampling.orders import WeightedFrames
from loader.windows import window_spec
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.design_effects import measured_design_effect
from tests.support.statistics.enumeration import Outcomes, Population, assert_equal, assert_rejected
from tests.support.statistics.laws import windows_of
from tests.support.statistics.oracles.correlations import correlation_ratio, intraclass_correlation
from tests.support.statistics.oracles.distributions import chi2_of_law
from tests.support.statistics.spread_orders import spread_shards
from tests.support.statistics.weighted import target_of

SHORT = Population([1, 2, 3, 4], seed=5)
"""Visits of three frames draw with replacement in the first two shards."""
VISITS = SamplingSpec(sampling="shards", frames_per_visit=3)


def visits_to_any_shards(population, *, num_visits, frames_per_visit):
    """Every batch of visits by spread anchors; with replacement where a shard is too short."""
    visits = []
    for shard in range(population.num_shards):
        ids = population.ids_of(shard)
        short = len(ids) < frames_per_visit
        drawn = list(
            itertools.product(ids, repeat=frames_per_visit)
            if short
            else itertools.permutations(ids, frames_per_visit)
        )
        visits.append([(1 / len(drawn), frames) for frames in drawn])
    return batches_of_visits(visits, population.share, num_visits)


def batches_of_visits(visits, shares, num_visits):
    """Every batch; visits of each shard have their probabilities, given the shard."""
    return Outcomes.of(
        (chance * np.prod([of_visit for of_visit, _ in batch]), sum((frames for _, frames in batch), ()))
        for shards, chance in spread_shards(shares, num_visits).items()
        for batch in itertools.product(*(visits[shard] for shard in shards))
    )


def law_on_a_view(population, *, batch_size, spec=VISITS):
    return sampling_law(population.sizes, spec, batch_size=batch_size, short_shards="replace")


# Views: shards in which few frames are left.


def test_S56_every_frame_is_drawn_alike_and_the_kappa_is_that_of_the_visits():
    outcomes = visits_to_any_shards(SHORT, num_visits=2, frames_per_visit=3)
    law = law_on_a_view(SHORT, batch_size=6)
    assert_equal(outcomes.law(10), np.full(10, 1 / 10))
    assert (law.chi2, law.total_variation, law.max_over_representation, law.num_short_shards) == (0, 0, 1, 2)
    assert_equal(law.kappa["shard"], outcomes.coincidence(SHORT.shard_of_frame))
    pairs = np.zeros((10, 10))
    for chance, ids in zip(outcomes.probability, outcomes.frame_ids, strict=True):
        for one, other in itertools.permutations(ids.tolist(), 2):
            pairs[one, other] += chance / 30
    assert law.chi2_of_pairs == pytest.approx(100 * np.square(pairs).sum() - 1, abs=1e-12)


@pytest.mark.parametrize("frames_per_visit", [2, 3])
def test_S56_design_effect_of_visits_to_shards_some_of_which_are_short(frames_per_visit):
    outcomes = visits_to_any_shards(SHORT, num_visits=1, frames_per_visit=frames_per_visit)
    measured = measured_design_effect(outcomes, SHORT)
    spec = SamplingSpec(sampling="shards", frames_per_visit=frames_per_visit)
    law = law_on_a_view(SHORT, batch_size=frames_per_visit, spec=spec)
    report = make_report(law, spec, SHORT.sizes, rho=None, features=SHORT.frames)
    assert report.basis == "exact"
    assert_equal(report.design_effect, measured)
    assert_equal(report.mean_square_effect, measured)
    # 1 + (m - 1) rho_m: |d_s|^2 for short shards, the mean over different pairs for the others.
    centred = SHORT.shard_means - SHORT.mean
    squares = np.square(centred).sum(1)
    different = squares - SHORT.shard_variances / np.maximum(SHORT.sizes - 1, 1)
    by_pairs = np.where(SHORT.sizes < frames_per_visit, squares, different)
    rho_m = SHORT.share @ by_pairs / SHORT.variance
    assert_equal(visit_design_effect(rho_m, frames_per_visit=frames_per_visit), measured)
    for other in (intraclass_correlation(SHORT.by_shard), correlation_ratio(SHORT.by_shard)):
        assert_rejected(visit_design_effect(other, frames_per_visit=frames_per_visit), measured)
    assert report.design_effect <= law.worst_design_effect


def test_S56_no_data_are_worse_than_the_worst_case_and_some_are_as_bad():
    may_repeat = SHORT.sizes < 3
    worst = worst_visit_design_effect(
        SHORT.sizes, SHORT.share, frames_per_visit=3, with_replacement=may_repeat
    )
    chance = np.random.default_rng(0)
    for _ in range(50):
        features = chance.normal(size=(10, 1)) * chance.integers(0, 2, (10, 1)) + chance.normal()
        if not np.ptp(features):
            continue
        report = make_report(
            law_on_a_view(SHORT, batch_size=3), VISITS, SHORT.sizes, rho=None, features=features
        )
        assert report.design_effect <= worst + 1e-9
    between = np.repeat([0.0, 1, 3, -2], SHORT.sizes)[:, None]
    report = make_report(law_on_a_view(SHORT, batch_size=3), VISITS, SHORT.sizes, rho=None, features=between)
    assert report.design_effect == pytest.approx(worst) == 3


def test_S56_from_a_rho_the_effect_is_approximate_and_exact_where_the_rho_holds_in_every_shard():
    sizes = np.array([2, 2, 4, 4])
    rho = RhoEstimate(
        level="shard", proxy="x", rho=0.25, low=0.2, high=0.3, num_draws=9, frames_per_draw=2, basis="sampled"
    )
    law = sampling_law(sizes, VISITS, batch_size=3, short_shards="replace")
    report = make_report(law, VISITS, sizes, rho=rho)
    assert report.basis == "approximate" and "inside every shard" in report.why_not_exact
    expected = (4 * (1 + 0.25) / 2 + 8 * 0.25) / 12
    assert visit_correlation_on_shards(0.25, sizes, sizes < 3) == pytest.approx(expected)
    assert report.design_effect == pytest.approx(1 + 2 * expected)


def test_S56_windows_that_are_whole_leave_shards_with_few_anchors():
    windows = windows_of([6, 6], {"clip_frames": 4})
    law = sampling_law(
        [6, 6], SamplingSpec(sampling="shards", frames_per_visit=4), batch_size=4, windows=windows
    )
    assert law.num_windows == 6 and law.num_short_shards == 2


def test_a_cache_with_short_shards_is_refused_as_the_loader_refuses_it():
    with pytest.raises(SamplingError, match="frames_per_visit is 3, but shard 0 holds 1 frame"):
        sampling_law(SHORT.sizes, VISITS, batch_size=6)


# Weights.

WEIGHTS = [3, 1, 2, 0, 1]
VIDEO_SIZES = [2, 1, 3, 2, 1]
SHARDS = [3, 2, 4]
IID = SamplingSpec(sampling="iid")


def stores():
    """Frames by video and shuffled; a view; two stores."""
    shuffled = ArrayStore(SHARDS, video_sizes=VIDEO_SIZES, order=[5, 0, 8, 3, 2, 7, 1, 6, 4])
    return {
        "by video": (ArrayStore(SHARDS, video_sizes=VIDEO_SIZES), WEIGHTS),
        "shuffled": (shuffled, WEIGHTS),
        "frames of it": (select(shuffled, ids=[0, 1, 2, 3, 5, 6, 8]), [3, 2, 0, 1]),
        "two": (
            concat([select(shuffled, videos=[0, 1]), ArrayStore([2, 2], video_sizes=[2, 2])]),
            [5, 1, 0, 2],
        ),
    }


def labelled(spec, frames):
    return SamplingSpec(
        sampling=spec.sampling, frames_per_visit=spec.frames_per_visit, weights=frames.weights.label
    )


def every_weighted_batch(store, target, spec, *, num_visits):
    """Batches of independent draws, or of spread visits, which draw a shard and then its frames, by the target."""
    frames_per_visit = spec.frames_per_visit or 1
    if spec.sampling == "iid":
        drawn = [(chance, (frame,)) for frame, chance in enumerate(target) if chance > 0]
        return Outcomes.of(
            (np.prod([chance for chance, _ in batch]), sum((frames for _, frames in batch), ()))
            for batch in itertools.product(drawn, repeat=num_visits)
        )
    shard_of_frame = np.repeat(np.arange(len(store.shard_sizes)), store.shard_sizes)
    visits = []
    for shard in range(len(store.shard_sizes)):
        ids = np.flatnonzero((shard_of_frame == shard) & (target > 0)).tolist()
        of_shard = target[ids].sum()
        visits.append(
            [
                (np.prod(target[list(frames)] / of_shard), frames)
                for frames in itertools.product(ids, repeat=frames_per_visit)
            ]
        )
    shares = np.bincount(shard_of_frame, target, minlength=len(store.shard_sizes))
    return batches_of_visits(visits, shares, num_visits)


@pytest.mark.parametrize("name", stores())
@pytest.mark.parametrize("spec", [IID, SamplingSpec(sampling="shards", frames_per_visit=2)], ids=str)
def test_S57_every_slot_has_the_target_and_the_report_is_against_it(name, spec):
    store, weights = stores()[name]
    frames, target = WeightedFrames(store, weights), target_of(store, weights)
    outcomes = every_weighted_batch(store, target, spec, num_visits=2)
    assert_equal(outcomes.law(len(store)), target)
    assert_equal(frames.probabilities(), target)
    law = sampling_law(
        store.shard_sizes, labelled(spec, frames), batch_size=outcomes.batch_size, frames=frames
    )
    assert (law.target, law.weights, law.chi2, law.total_variation) == ("weights", "per video", 0, 0)
    assert law.chi2_over("weights") == 0 and law.is_uniform_over("weights")
    assert (
        law.chi2_over("frames") == pytest.approx(chi2_of_law(target), abs=1e-12)
        and law.chi2_over("frames") > 0
    )
    assert not law.is_uniform_over("frames")
    assert law.num_frames_never_shown == np.count_nonzero(target == 0)
    shard_of_frame = np.repeat(np.arange(len(store.shard_sizes)), store.shard_sizes)
    assert law.kappa["shard"] == pytest.approx(outcomes.coincidence(shard_of_frame), abs=1e-12)


@pytest.mark.parametrize("name", stores())
@pytest.mark.parametrize(("num_visits", "frames_per_visit"), [(1, 1), (2, 2), (1, 3)])
def test_S58_design_effect_and_pairs_of_weighted_visits(name, num_visits, frames_per_visit):
    store, weights = stores()[name]
    frames, target = WeightedFrames(store, weights), target_of(store, weights)
    spec = labelled(SamplingSpec(sampling="shards", frames_per_visit=frames_per_visit), frames)
    outcomes = every_weighted_batch(store, target, spec, num_visits=num_visits)
    batch_size = num_visits * frames_per_visit
    features = np.random.default_rng(1).normal(size=(len(store), 2))
    centred = features - target @ features
    variance = target @ np.square(centred).sum(1)
    measured = batch_size * outcomes.variance(features) / variance
    law = sampling_law(store.shard_sizes, spec, batch_size=batch_size, frames=frames)
    report = make_report(law, spec, store.shard_sizes, rho=None, features=features, target=target)
    assert (report.basis, report.bias_of_proxy) == ("exact", 0)
    assert_equal(report.design_effect, measured)
    assert_equal(report.mean_square_effect, measured)
    assert report.design_effect <= law.worst_design_effect + 1e-12
    shard_of_frame = np.repeat(np.arange(len(store.shard_sizes)), store.shard_sizes)
    if frames_per_visit > 1:
        uniform = target_visit_design_effect(
            features, shard_of_frame, np.full(len(store), 1 / len(store)), frames_per_visit=frames_per_visit
        )
        assert_rejected(uniform, measured)
        pairs = np.zeros((len(store), len(store)))
        for chance, ids in zip(outcomes.probability, outcomes.frame_ids, strict=True):
            for one, other in itertools.permutations(ids.tolist(), 2):
                pairs[one, other] += chance / (batch_size * (batch_size - 1))
        independent = np.outer(target, target)
        held = independent > 0
        expected = (pairs[held] ** 2 / independent[held]).sum() - 1
        assert law.chi2_of_pairs == pytest.approx(expected, abs=1e-12)
    # Without features the rho of uniform frames says nothing.
    assert make_report(law, spec, store.shard_sizes, rho=None).why_not_exact == "needs features"


def test_S58_the_worst_case_is_attained_by_frames_that_differ_between_shards():
    store, weights = stores()["by video"]
    frames = WeightedFrames(store, weights)
    spec = labelled(SamplingSpec(sampling="shards", frames_per_visit=3), frames)
    law = sampling_law(store.shard_sizes, spec, batch_size=3, frames=frames)
    features = np.repeat([0.0, 5, 1], SHARDS)[:, None]
    report = make_report(
        law, spec, store.shard_sizes, rho=None, features=features, target=frames.probabilities()
    )
    assert report.design_effect == pytest.approx(law.worst_design_effect) == 3
    one = WeightedFrames(ArrayStore([4], video_sizes=[1, 3]), "video")
    law = sampling_law([4], labelled(spec, one), batch_size=3, frames=one)
    assert law.worst_design_effect == 1  # all frames of one shard: independent draws


def test_S57_independent_draws_have_a_design_effect_of_one_for_all_data():
    store, weights = stores()["shuffled"]
    frames = WeightedFrames(store, weights)
    law = sampling_law(store.shard_sizes, labelled(IID, frames), batch_size=4, frames=frames)
    report = make_report(law, labelled(IID, frames), store.shard_sizes, rho=None)
    assert (report.design_effect, report.basis, law.chi2_of_pairs) == (1, "exact", 0)


def test_S57_there_is_no_formula_for_windows_around_weighted_anchors():
    store, weights = stores()["by video"]
    frames = WeightedFrames(store, weights)
    windows = windows_of(VIDEO_SIZES, {"frame_offsets": (-1, 0)})
    assert windows.spec == window_spec(frame_offsets=(-1, 0))
    with pytest.raises(
        SamplingError, match="no formula for the frames that windows show where anchors are drawn by"
    ):
        sampling_law(store.shard_sizes, labelled(IID, frames), batch_size=2, frames=frames, windows=windows)


def test_S59_weighing_back_costs_what_is_stated_in_the_mean_over_all_ways_to_hand_out_the_frames():
    """(1/B) sum u/t g over draws of t: exact for given data, and (1 + chi2(u||t)) sigma^2 / B over all assignments."""
    target = np.repeat([1 / 2, 1 / 4, 1 / 12], [1, 1, 3])
    values = np.array([2.0, -1, 0.5, -3, 1.5])
    uniform = np.full(5, 1 / 5)
    weights = uniform / target
    effects = []
    for order in itertools.permutations(range(5)):
        given = values[list(order)]
        drawn = weights * given  # of one draw
        assert_equal(target @ drawn, values.mean())
        variance = target @ drawn**2 - values.mean() ** 2
        assert_equal(variance, (uniform**2 / target) @ given**2 - values.mean() ** 2)
        effects.append(variance)
    effect = importance_design_effect([1 / 2, 1 / 4, 1 / 4], [1, 1, 3])
    exact = sum(
        Fraction(1, 25) / Fraction(t) for t in (Fraction(1, 2), Fraction(1, 4), *[Fraction(1, 12)] * 3)
    )
    assert_equal(effect, float(exact))
    assert_equal(np.mean(effects), effect * (values**2).mean() - values.mean() ** 2)
    centred = values - values.mean()
    of_centred = [
        target @ (weights * centred[list(order)]) ** 2 for order in itertools.permutations(range(5))
    ]
    assert_equal(np.mean(of_centred) / centred.var(), effect)
    assert_rejected(chi2_of_law(target) + 1, effect)  # the chi2 the other way round
    assert importance_design_effect([1, 0], [3, 2]) == np.inf
    assert importance_design_effect([0.6, 0.4], [3, 2]) == pytest.approx(1)
    with pytest.raises(SamplingError, match="a probability for each video, 0 where it holds no frame"):
        importance_design_effect([0.5, 0.5], [3, 0])
