"""Reports: design effects, effective batches and the bias of a proxy, of our samplers and of webdataset."""

import dataclasses
import math

import numpy as np
import pytest

from loader import FrameBatchSampler, SamplingError, SamplingSpec
from loader.bias.design_effect import least_correlation
from loader.bias.estimates import estimate_for, rho_level
from loader.bias.report import bias_of_features, make_report
from loader.bias.rho import RhoEstimate, rho_of_shuffled_frames
from loader.bias.webdataset.report import WebDatasetSpec, webdataset_report
from loader.webdataset import webdataset_batches
from tests.support.caches.array_store import ArrayStore
from tests.support.caches.tar_cache import write_tar_cache
from tests.support.pages.html import ReadHtml
from tests.support.statistics.enumeration import every_whole_clip
from tests.support.statistics.laws import SPECS, batches_of, law_by_steps, law_of, spec_of, windows_of
from tests.support.statistics.oracles.correlations import intraclass_correlation
from tests.support.statistics.statistics import coincidence, standard_errors_off

SIZES = np.array([12] * 8)
SHARD_IDS = np.repeat(np.arange(8), 12)
BATCH_SIZE = 16


def rho_of(value, *, low=None, high=None):
    return RhoEstimate(
        level="shard",
        proxy="made up",
        rho=value,
        low=value - 0.1 if low is None else low,
        high=value + 0.1 if high is None else high,
        num_draws=9,
        frames_per_draw=6,
    )


def report_of(options, *, rho=None, sizes=SIZES, features=None, **where):
    law = law_of(sizes, batch_size=BATCH_SIZE, **where, **options)
    return make_report(law, SamplingSpec(**options), np.asarray(sizes), rho=rho, features=features)


def test_a_report_needs_no_rho_where_frames_are_independent():
    iid = report_of({"sampling": "iid"})
    assert iid.design_effect == iid.design_effect_low == iid.design_effect_high == 1
    assert iid.effective_batch == iid.effective_batch_low == iid.effective_batch_high == 16
    permutation = report_of({"sampling": "permutation"})
    assert permutation.design_effect == pytest.approx((96 - 16) / 95)
    assert permutation.effective_batch == pytest.approx(16 * 95 / 80)
    assert iid.rho is None and iid.bias_of_proxy == 0


@pytest.mark.parametrize(
    ("options", "effect"),
    [
        ({"sampling": "shards", "frames_per_visit": 4}, lambda rho, _: 1 + 3 * rho),
        (
            {"sampling": "shards", "frames_per_visit": 4, "frames_with_replacement": True},
            lambda rho, _: 1 + 3 * (1 + 11 * rho) / 12,
        ),
        ({"sampling": "sequential"}, lambda rho, _: 1 + 15 * rho),
        (
            {"sampling": "block", "shards_per_block": 2},
            lambda rho, kappa: 1 + 15 * (kappa * rho - (1 - kappa) * (1 + 11 * rho) / (12 * 7)),
        ),
    ],
)
def test_the_design_effect_of_a_report_and_its_interval(options, effect):
    report = report_of(options, rho=rho_of(0.4))
    kappa = report.law.kappa["shard"]
    low, middle, high = (effect(rho, kappa) for rho in (0.3, 0.4, 0.5))
    assert (report.design_effect_low, report.design_effect, report.design_effect_high) == pytest.approx(
        (low, middle, high)
    )
    assert (report.effective_batch_low, report.effective_batch, report.effective_batch_high) == pytest.approx(
        (16 / high, 16 / middle, 16 / low)
    )
    unknown = report_of(options)
    assert unknown.design_effect is unknown.effective_batch is unknown.effective_batch_low is None


@pytest.mark.parametrize(("sampling", "factor"), [("iid", 1), ("permutation", (90 - 4) / (90 - 1))])
def test_the_report_of_clips(sampling, factor):
    options = {"sampling": sampling, "clip_frames": 4}
    law = law_of([96], batch_size=4, video_sizes=[30, 66], **options)
    assert law.num_windows == 27 + 63 == 90
    where = {"windows": windows_of([30, 66], options)}
    report = make_report(law, spec_of(options), np.array([96]), rho=rho_of(0.5), **where)
    assert report.design_effect == pytest.approx((1 + 3 * 0.5) * factor)
    assert report.effective_batch == pytest.approx(16 / 2.5 / factor)
    assert report.bias_of_proxy is None  # over frames there is one
    unknown = make_report(law, spec_of(options), np.array([96]), rho=None, **where)
    assert unknown.design_effect is None


def test_clips_of_one_frame_are_worth_single_frames():
    options = {"sampling": "permutation", "clip_frames": 1}
    law = law_of([96], batch_size=16, video_sizes=[30, 66], **options)
    windows = windows_of([30, 66], options)
    report = make_report(law, spec_of(options), np.array([96]), rho=None, windows=windows)
    assert report.design_effect == pytest.approx((96 - 16) / 95) and report.bias_of_proxy == 0


def test_block_over_one_shard_is_like_a_permutation_from_rho_and_nested_from_features():
    report = report_of({"sampling": "block", "shards_per_block": 1}, sizes=[96, 0], rho=rho_of(0.0))
    assert report.design_effect == pytest.approx((96 - 16) / 95) and report.basis == "approximate"
    exact = report_of(
        {"sampling": "block", "shards_per_block": 1}, sizes=[96, 0], features=np.arange(96.0)[:, None]
    )
    assert exact.basis == "exact" and exact.design_effect < 0.15


def test_an_estimate_below_what_is_possible_does_not_break_a_report():
    report = report_of({"sampling": "block", "shards_per_block": 1}, rho=rho_of(-0.2, low=-0.3, high=-0.15))
    assert report.design_effect == report.design_effect_low == report.design_effect_high
    nothing = report_of({"sampling": "sequential"}, rho=rho_of(-0.2, low=-0.3))
    assert nothing.effective_batch == math.inf


def test_no_interval_promises_more_than_all_shard_means_alike_give():
    """Visits of 4 of a shard's 12 frames: (n - m) / (n - 1) of the variance remains if all shards are alike."""
    visits = {"sampling": "shards", "frames_per_visit": 4}
    report = report_of(visits, rho=rho_of(0.1, low=least_correlation(SIZES), high=0.3))
    assert report.effective_batch_high == pytest.approx(16 * 11 / 8)
    alike = np.tile(np.arange(12.0), 8)[:, None]
    best = report_of(visits, features=alike)
    assert best.effective_batch == pytest.approx(report.effective_batch_high)


UNEQUAL_SIZES = np.array([4, 6, 20])
ASSUMED = dataclasses.replace(rho_of(0.5, low=0.5, high=0.5), basis="assumed")
BUILD = rho_of_shuffled_frames(UNEQUAL_SIZES, level="shard")
BLOCK = {"sampling": "block", "shards_per_block": 1}
NAIVE = {"sampling": "shards", "frames_per_visit": 4, "shard_choice": "uniform"}
VISITS = {"sampling": "shards", "frames_per_visit": 4}
AGAIN = {**VISITS, "frames_with_replacement": True}


@pytest.mark.parametrize(
    ("options", "sizes", "rho", "basis", "why"),
    [
        (VISITS, UNEQUAL_SIZES, rho_of(0.5), "bound", "of independent visits"),
        (VISITS, UNEQUAL_SIZES, ASSUMED, "bound", "of independent visits"),
        (VISITS, UNEQUAL_SIZES, BUILD, "bound", "of independent visits"),
        ({**VISITS, "frames_per_visit": 16}, [20, 20], rho_of(0.5), "sampled", None),  # a batch is one visit
        (VISITS, UNEQUAL_SIZES, None, None, "needs rho"),
        (NAIVE, UNEQUAL_SIZES, rho_of(0.5), None, "needs features"),
        (NAIVE, UNEQUAL_SIZES, ASSUMED, None, "needs features"),
        (NAIVE, SIZES, ASSUMED, "assumed", None),  # equal sizes: the anchor-frame rule
        (AGAIN, SIZES, rho_of(0.5), "bound", "of independent visits"),
        (AGAIN, UNEQUAL_SIZES, rho_of(0.5), "approximate", "inside every shard"),
        (BLOCK, SIZES, ASSUMED, "approximate", "random order"),
        (BLOCK, SIZES, rho_of(0.5), "approximate", "random order"),
        (BLOCK, UNEQUAL_SIZES, ASSUMED, "approximate", "equal shards"),
        (BLOCK, UNEQUAL_SIZES, BUILD, "approximate", "equal shards"),
        (
            {**BLOCK, "shards_per_block": 3},
            UNEQUAL_SIZES,
            None,
            None,
            "needs rho",
        ),  # one block, and no permutation
        ({"sampling": "sequential"}, UNEQUAL_SIZES, rho_of(0.5), "sampled", None),
        ({"sampling": "sequential"}, UNEQUAL_SIZES, ASSUMED, None, "needs features"),  # that is of shards
        ({"sampling": "iid"}, UNEQUAL_SIZES, None, "exact", None),
    ],
)
def test_a_report_says_what_its_design_effect_stands_on(options, sizes, rho, basis, why):
    report = report_of(options, sizes=sizes, rho=rho)
    assert (report.basis, report.is_exact) == (basis, basis == "exact")
    assert (report.design_effect is None) == (basis is None)
    assert report.why_not_exact == why if why is None else why in report.why_not_exact
    features = np.random.default_rng(1).normal(size=(sum(sizes), 2))
    with_features = report_of(options, sizes=sizes, rho=rho, features=features)
    assert with_features.is_exact and with_features.why_not_exact is None
    proven = [report.law.effective_batch_floor] if report.law.floor_is_proven else []
    if basis not in {None, "approximate"}:
        proven.append(report.effective_batch_low)
    assert report.least_effective_batch == (max(proven) if proven else None)


def test_a_step_of_more_than_an_epoch_has_no_design_effect():
    for sampling in ("permutation", "block"):
        options = {"sampling": sampling} | ({"shards_per_block": 1} if sampling == "block" else {})
        report = report_of(options, sizes=[4, 6], remainder="pad", features=np.arange(10.0)[:, None])
        assert report.design_effect is None and report.why_not_exact == "a step is more than an epoch"


def test_the_bias_of_a_proxy():
    sizes, features = np.array([4, 6, 20]), np.random.default_rng(9).normal(size=(30, 3))
    ids = np.repeat([0, 1, 2], sizes)
    with_features = {"features": features, "sizes": sizes}
    naive = {"sampling": "shards", "frames_per_visit": 4, "shard_choice": "uniform"}
    law = np.repeat(1 / (3 * sizes), sizes)
    off = np.linalg.norm(law @ features - features.mean(0)) / math.sqrt(features.var(axis=0).sum())
    assert report_of(naive, **with_features).bias_of_proxy == pytest.approx(off)
    assert report_of(naive, sizes=sizes).bias_of_proxy is None
    assert report_of({**naive, "shard_choice": "proportional"}, **with_features).bias_of_proxy == 0
    constant = {**with_features, "features": np.ones((30, 3))}
    assert report_of(naive, **constant).bias_of_proxy == 0
    clips = law_of([30], batch_size=2, clip_frames=2, video_sizes=[30])
    with pytest.raises(SamplingError, match="not equally likely"):
        bias_of_features(clips, features, ids)


@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
def test_the_bias_of_a_proxy_where_the_order_on_disk_leaves_out_or_repeats_frames(remainder):
    features, sizes = np.repeat([0.0, 1.0], 20)[:, None], np.array([20, 20])
    where = {"batch_size": BATCH_SIZE, "world_size": 1, "remainder": remainder}
    law = law_by_steps(batches_of(sizes, sampling="sequential", **where), 40)
    off = abs(law @ features[:, 0] - 0.5) / 0.5
    assert off > 0.05
    with_features = {"features": features, "sizes": sizes}
    report = report_of({"sampling": "sequential"}, remainder=remainder, **with_features)
    assert report.bias_of_proxy is None or report.bias_of_proxy == pytest.approx(off)


LEVELS = {
    "permutation": None,
    "iid": None,
    "sequential": "batch",
    "visits": "shard",
    "visits, naive": "shard",
    "block": "shard",
}


@pytest.mark.parametrize("name", LEVELS)
def test_rho_is_estimated_at_the_level_that_a_sampler_stands_on(name):
    spec, level = SamplingSpec(**SPECS[name]), LEVELS[name]
    assert rho_level(spec) == level
    store, chance = ArrayStore([8, 24, 16]), np.random.default_rng(10)
    in_shards = np.repeat(chance.normal(size=(3, 1)), [8, 24, 16], axis=0)
    in_batches = np.repeat(chance.normal(size=(6, 1)), 8, axis=0)
    for features, units in [(in_shards, "shard"), (in_batches, "batch")]:
        found = estimate_for(
            spec, store, lambda ids, f=features: f[ids], proxy="made up", batch_size=8, draws=60
        )
        if level is None:
            assert found is None
        else:
            assert found.level == level
            # Batches of 8 lie in one shard each, but shards hold several batches.
            assert (found.rho == pytest.approx(1)) == (units in {level, "shard"})


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_rho_of_clips_is_that_of_whole_windows_drawn_alike(sampling):
    spec = SamplingSpec(sampling=sampling)
    video_sizes = [60, 30, 3, 90]
    of_videos = windows_of(video_sizes, {"clip_frames": 3, "clip_stride": 2})
    assert rho_level(spec, of_videos) == "clip"
    store = ArrayStore([183], video_sizes=video_sizes)
    features = np.random.default_rng(11).normal(size=(183, 2)).cumsum(0)
    read = []

    def read_features(ids):
        read.append(ids)
        return features[ids]

    windows = every_whole_clip(video_sizes, 3, 2)
    rho = intraclass_correlation([features[window] for window in windows])
    options = {"proxy": "made up", "batch_size": 4, "windows": of_videos}
    exact = estimate_for(spec, store, read_features, **options, features=features)
    assert exact.rho == exact.low == exact.high == pytest.approx(rho, rel=1e-12)
    assert (exact.level, exact.frames_per_draw, exact.num_draws) == ("clip", 3, len(windows))
    assert exact.basis == "exact" and not read  # no frame is read that is there already
    found = [
        estimate_for(spec, store, read_features, **options, draws=len(windows) - 1, seed=seed)
        for seed in range(20)
    ]
    assert sum(estimate.low <= rho <= estimate.high for estimate in found) >= 17
    assert all(estimate.low < estimate.rho < estimate.high for estimate in found)
    assert len({estimate.rho for estimate in found}) == 20
    few = estimate_for(spec, store, read_features, **options, draws=9999)
    assert few.num_draws == len(windows) and few.basis == "sampled"  # as many draws as an epoch has
    assert estimate_for(spec, store, read_features, **options, features=np.full((183, 1), 0.1)) is None
    single = windows_of(video_sizes, {"clip_frames": 1})
    assert rho_level(spec, single) is None
    assert estimate_for(spec, store, read_features, **{**options, "windows": single}) is None


# Plain webdataset, in the same terms.


def test_the_report_of_webdataset():
    sizes = [12, 0, 12, 12, 12]
    report = webdataset_report(sizes, WebDatasetSpec(shuffle_buffer=10), batch_size=8, rho=rho_of(0.4))
    kappa = report.law.kappa["shard"]
    assert 0.2 < kappa < 1
    correlation = kappa * 0.4 - (1 - kappa) * (1 + 11 * 0.4) / (12 * 3)
    assert report.design_effect == pytest.approx(1 + 7 * correlation)
    assert (
        report.law.chi2 == report.bias_of_proxy == report.law.chi2_at_start == report.law.chi2_at_middle == 0
    )
    unequal = webdataset_report([6, 18, 24], WebDatasetSpec(shuffle_buffer=10), batch_size=8, rho=None)
    assert unequal.law.chi2 == 0
    assert unequal.law.chi2_at_start == pytest.approx(16 * (1 / 6 + 1 / 18 + 1 / 24) / 3 - 1)
    assert unequal.law.chi2_at_middle is unequal.design_effect is None
    for wrong in ({"shuffle_buffer": 0}, {"initial": 0}, {"num_workers": 0}):
        with pytest.raises(SamplingError, match="must be 1 or more"):
            WebDatasetSpec(**wrong)


@pytest.mark.parametrize(
    ("sizes", "batch_size", "num_workers", "by_slots"),
    [
        ([6, 6, 4], 8, 1, False),
        ([6, 6, 5], 8, 1, True),
        ([6, 6, 6, 6], 4, 2, False),
        ([6, 6, 6], 4, 2, True),  # a worker of one shard: 6 frames
        ([8, 4, 12], 4, 2, False),
        ([8, 4, 13], 4, 2, True),
    ],
)
def test_of_short_batches_of_webdatasets_workers_nothing_is_claimed_by_steps(
    sizes, batch_size, num_workers, by_slots
):
    spec = WebDatasetSpec(shuffle_buffer=10, num_workers=num_workers)
    law = webdataset_report(sizes, spec, batch_size=batch_size, rho=None).law
    assert law.chi2_is_by_slots == by_slots
    assert law.chi2_of_pairs > 0 and not law.chi2_of_pairs_is_exact


def test_the_kappa_of_webdataset_is_that_of_its_real_batches(tmp_path):
    sizes, num_epochs = [12] * 6, 300
    store = ArrayStore(sizes)
    cache = write_tar_cache(tmp_path / "cache", store)
    options = {"batch_size": 8, "shuffle_buffer": 16, "drop_last": True}
    found = []
    for epoch in range(num_epochs):
        batches = [batch.frame_ids.numpy() for batch in webdataset_batches(cache, epoch=epoch, **options)]
        assert sorted(np.concatenate(batches)) == list(range(72))
        found.append(coincidence(np.array(batches), store.index["shard_id"].astype(int)).mean())
    report = webdataset_report(sizes, WebDatasetSpec(shuffle_buffer=16), batch_size=8, rho=None)
    assert abs(standard_errors_off(found, report.law.kappa["shard"])) < 4
    assert np.std(found) / math.sqrt(num_epochs) < 0.01 * report.law.kappa["shard"]
    assert (
        report.law.kappa["shard"] > 1.3 * law_of(sizes, batch_size=8, sampling="permutation").kappa["shard"]
    )
    assert len(list(FrameBatchSampler(store, batch_size=8))) == len(batches)


def test_a_notebook_shows_bias_and_effective_batch():
    report = report_of({"sampling": "shards", "frames_per_visit": 4}, rho=rho_of(0.5))
    found = ReadHtml(report._repr_html_())
    found.assert_safe()
    assert report.law.name in found.text and report.law.because in found.text
    assert f"{report.effective_batch:.4g} [" in found.text
    assert f"{report.design_effect:.4g} [" in found.text and f"({report.basis})" in found.text
    unknown = ReadHtml(report_of({"sampling": "shards", "frames_per_visit": 4})._repr_html_())
    assert "needs rho" in unknown.text
