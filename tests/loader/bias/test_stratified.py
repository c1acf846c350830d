# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Laws and reports of `stratified`, of frames, windows and weights, against all coins and turns."""

import numpy as np
import pytest

from loader import SamplingSpec
from loader.bias import WindowsOfVideos
from loader.bias.estimates import rho_level
from loader.bias.nested import nested_design_effect, pair_distances, weighted_nested_effect
from loader.bias.report import NEEDS_FEATURES, make_report
from loader.bias.stretches import rho_of_stretches
from loader.windows import window_spec
from tests.support.statistics.enumeration import assert_equal, assert_rejected
from tests.support.statistics.laws import law_of
from tests.support.statistics.nested_populations import (
    enumerated_effect,
    runs_of_every_order,
    some_frames,
    videos_and_walks,
)

STRATIFIED = SamplingSpec(sampling="stratified")
CHANCE = np.random.default_rng(4)


def stratified_law(sizes, **options):
    return law_of(sizes, sampling="stratified", **options)


@pytest.mark.parametrize("sizes", [[8], [3, 4], [5, 1, 2]])
def test_S63_the_law_has_no_bias_at_any_position(sizes):
    law = stratified_law(sizes, batch_size=2)
    assert (law.chi2, law.chi2_at_start, law.chi2_at_middle, law.chi2_at_end) == (0, 0, 0, 0)
    assert law.is_uniform_over("frames") and (law.total_variation, law.max_over_representation) == (0, 1)
    assert law.kappa == {} and law.worst_kappa == 0
    assert law.num_positions_dropped == sum(sizes) % 2


@pytest.mark.parametrize(
    ("num_frames", "batch_size", "world_size"), [(8, 2, 2), (7, 2, 1), (6, 1, 3), (7, 3, 2)]
)
def test_S66_pairs_are_those_of_a_rank_and_the_worst_data_those_of_all_ranks(
    num_frames, batch_size, world_size
):
    law = stratified_law([num_frames], batch_size=batch_size, world_size=world_size)
    step = min(batch_size * world_size, num_frames)
    steps = num_frames // step
    assert law.proven_worst_effect == pair_distances.worst_nested_effect(
        num_frames, batch_size=step, num_batches=steps
    )
    if batch_size == 1:
        assert law.chi2_of_pairs is None
        return
    expected = pair_distances.nested_pair_chi2(
        num_frames, batch_size=batch_size, num_batches=steps * world_size
    )
    assert (law.chi2_of_pairs, law.chi2_of_pairs_is_exact) == expected
    assert not law.chi2_of_pairs_is_bound


def test_S69_the_mean_of_an_epoch_is_known_where_no_position_is_left_out():
    assert stratified_law([8], batch_size=2).epoch_variance == 0
    assert stratified_law([9], batch_size=2).epoch_variance is None
    assert stratified_law([9], batch_size=2, remainder="uneven").epoch_variance is None


def test_worst_data_of_too_many_batches_leave_one_frame_for_certain():
    law = stratified_law([200_001], batch_size=16)
    assert law.worst_design_effect == 16 and law.effective_batch_floor == 1
    assert stratified_law([2**20], batch_size=16).worst_design_effect == 1


def report_of(frames, *, sizes=None, strata_ids=None, rho=None, features=True, **options):
    sizes = np.array([len(frames)] if sizes is None else sizes)
    law = stratified_law(sizes, **options)
    return make_report(
        law, STRATIFIED, sizes, rho=rho, features=frames if features else None, strata_ids=strata_ids
    )


@pytest.mark.parametrize(
    ("num_frames", "options", "starts"),
    [
        (8, {"batch_size": 3}, [0, 3]),
        (7, {"batch_size": 3}, [0, 3]),
        (7, {"batch_size": 1, "world_size": 3}, [0, 3]),
        (7, {"batch_size": 3, "remainder": "pad"}, [0, 3, 6]),
        (7, {"batch_size": 3, "remainder": "uneven"}, [0, 3]),
        (5, {"batch_size": 8}, [0]),
    ],
)
def test_S65_a_report_from_all_features(num_frames, options, starts):
    ids = CHANCE.permutation(num_frames)
    in_order = some_frames(num_frames)
    by_id = np.empty_like(in_order)
    by_id[ids] = in_order
    report = report_of(by_id, strata_ids=ids, **options)
    size = min(options["batch_size"] * options.get("world_size", 1), num_frames)
    expected = np.mean([enumerated_effect(in_order, size, start) for start in starts])
    assert_equal(report.design_effect, expected)
    assert report.is_exact and report.bias_of_proxy == 0
    assert report.mean_square_effect == report.design_effect == report.design_effect_low
    if size < num_frames:
        assert_rejected(report_of(by_id, **options).design_effect, expected)  # by id, not by stratum


def test_a_step_of_more_than_an_epoch_has_no_design_effect():
    report = report_of(some_frames(5), batch_size=7, remainder="pad")
    assert (report.design_effect, report.why_not_exact) == (None, "a step is more than an epoch")


def test_frames_that_are_alike_have_no_design_effect():
    report = report_of(np.ones((6, 2)), batch_size=2)
    assert (report.design_effect, report.why_not_exact) == (None, "all frames are alike")


def test_some_batches_give_an_interval_and_say_so(monkeypatch):
    frames = videos_and_walks(1500, num_videos=20)
    exact = report_of(frames, batch_size=20)
    monkeypatch.setattr(pair_distances, "MAX_PLACES_SUMMED", 1)
    some = report_of(frames, batch_size=20)
    assert (exact.basis, some.basis, some.why_not_exact) == (
        "exact",
        "sampled",
        "over 16 of 75 batches of an epoch",
    )
    assert some.design_effect_low < some.design_effect < some.design_effect_high < 1.01 * some.design_effect
    assert some.design_effect_low < exact.design_effect < some.design_effect_high


def test_S70_a_report_from_an_estimate_has_its_interval():
    frames = videos_and_walks(1000, num_videos=20)
    assert rho_level(STRATIFIED) == "stretch"
    rho = rho_of_stretches(1000, frames.__getitem__, proxy="walks", batch_size=20)
    report = report_of(frames, rho=rho, features=False, batch_size=20)
    assert (report.design_effect, report.basis) == (1 - rho.rho, "sampled")
    assert (report.design_effect_low, report.design_effect_high) == (1 - rho.high, 1 - rho.low)
    unknown = report_of(frames, features=False, batch_size=20)
    assert (unknown.design_effect, unknown.why_not_exact) == (None, NEEDS_FEATURES)


def windows_effect(shown, frames, batch_size, starts):
    """By enumeration over orders of the windows `shown`, (M, T): against T B draws of the frames that they show."""
    times = np.bincount(shown.ravel(), minlength=len(frames))
    law = times / times.sum()
    centred = frames - law @ frames
    means = centred[shown].mean(1)
    found = [
        (means[runs_of_every_order(len(shown), batch_size, start)].mean(1) ** 2).sum(1).mean()
        for start in starts
    ]
    return batch_size * shown.shape[1] * np.mean(found) / (law @ (centred**2).sum(1))


@pytest.mark.parametrize("edges", ["whole", "pad"])
@pytest.mark.parametrize("is_shuffled", [False, True])
def test_S62_windows_around_stratified_anchors(edges, is_shuffled):
    video_sizes = np.array([5, 3]) if edges == "whole" else np.array([4, 3])
    num_frames, offsets = int(video_sizes.sum()), (0, 1)
    in_order = some_frames(num_frames, seed=3)
    source_ids = np.random.default_rng(1).permutation(num_frames) if is_shuffled else None
    features = in_order
    if source_ids is not None:
        features = np.empty_like(in_order)
        features[source_ids] = in_order
    shown = []
    for first, size in zip(np.cumsum(video_sizes) - video_sizes, video_sizes, strict=True):
        for anchor in range(size - 1 if edges == "whole" else size):
            shown.append([first + min(anchor + offset, size - 1) for offset in offsets])
    shown = np.array(shown)
    options = {"frame_offsets": offsets, "edges": edges}
    windows = WindowsOfVideos(spec=window_spec(**options), video_sizes=video_sizes, source_ids=source_ids)
    law = law_of([num_frames], sampling="stratified", batch_size=3, video_sizes=video_sizes, **options)
    assert law.kappa.keys() == {"clip"} and law.chi2_over_windows == 0
    sizes = np.array([num_frames])
    for strata_ids in (None, source_ids):
        if strata_ids is None and is_shuffled:
            continue
        report = make_report(
            law, STRATIFIED, sizes, rho=None, features=features, windows=windows, strata_ids=strata_ids
        )
        assert_equal(report.design_effect, windows_effect(shown, in_order, 3, [0, 3]))
        assert report.is_exact and report.mean_square_effect is None


def test_S62_windows_go_by_the_place_of_their_anchor_in_the_order_of_the_strata():
    by_content = np.array([4, 0, 3, 1, 2, 5, 6])
    windows = WindowsOfVideos(
        spec=window_spec(frame_offsets=(-1, 0), edges="whole"), video_sizes=np.array([4, 3])
    )
    # Anchors 1, 2, 3 and 5, 6 are windows 0 to 4.
    assert windows.windows_in_order(by_content).tolist() == [2, 0, 1, 3, 4]
    assert windows.windows_in_order(None).tolist() == [0, 1, 2, 3, 4]


def test_S67_a_report_under_weights():
    from loader.bias.distributions.every_sampling import sampling_law
    from loader.sampling.orders import WeightedFrames
    from tests.support.caches.array_store import ArrayStore

    store = ArrayStore([6, 6], video_sizes=[3, 9])
    frames = WeightedFrames(store, "video")
    spec = SamplingSpec(sampling="stratified", weights=frames.weights.label)
    law = sampling_law([6, 6], spec, batch_size=4, frames=frames)
    assert (law.chi2, law.kappa, law.proven_worst_effect) == (0, {}, 1)
    assert law.chi2_of_pairs == pair_distances.limit_pair_chi2(4)
    assert (law.chi2_of_pairs_is_exact, law.chi2_of_pairs_is_bound) == (False, False)
    features, target = some_frames(12), frames.probabilities()
    report = make_report(law, spec, np.array([6, 6]), rho=None, features=features, target=target)
    assert report.design_effect == weighted_nested_effect(target, features, batch_size=4)
    assert report.is_exact
    unweighted = nested_design_effect(features, batch_size=4, num_batches=3).design_effect
    assert_rejected(unweighted, report.design_effect, 1e-6)
    ids = np.random.default_rng(1).permutation(12)
    by_strata = make_report(
        law, spec, np.array([6, 6]), rho=None, features=features, target=target, strata_ids=ids
    )
    assert by_strata.design_effect == weighted_nested_effect(target[ids], features[ids], batch_size=4)
    rho = rho_of_stretches(12, features.__getitem__, proxy="frames", batch_size=4)
    without = make_report(law, spec, np.array([6, 6]), rho=rho)
    assert (without.design_effect, without.why_not_exact) == (None, NEEDS_FEATURES)
