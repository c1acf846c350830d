# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Rho from a few frames: unbiased, with an interval that covers, and refusals of features that are none."""

import itertools
import math

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.design_effect import least_correlation
from loader.bias.pixels import thumbnails
from loader.bias.rho import (
    Units,
    estimate_rho,
    load_features,
    rho_of_all,
    rho_of_groups,
    rho_of_shuffled_frames,
    student_quantile,
    units_of,
)
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.oracles.correlations import correlation_ratio, intraclass_correlation
from tests.support.statistics.statistics import standard_errors_off


class PictureStore(ArrayStore):
    """Frames that are given."""

    def __init__(self, pictures, shard_sizes, **options):
        super().__init__(shard_sizes, frame_shape=pictures.shape[1:], **options)
        self.pictures = pictures

    def read_frames(self, frame_ids, out=None):
        return self.pictures[np.asarray(frame_ids)]


class ShardPopulation:
    """Autocorrelated features in shards of unequal size."""

    def __init__(self, sizes, *, seed, dimensions=4):
        chance = np.random.default_rng(seed)
        parts = []
        for size in sizes:
            part = chance.normal(size=(size, dimensions))
            for row in range(1, size):
                part[row] += 0.8 * part[row - 1]
            parts.append(part + chance.normal(size=dimensions))
        self.features = np.concatenate(parts)
        self.by_shard = parts
        self.units = Units(order=None, ends=np.cumsum(sizes))

    def read(self, frame_ids):
        return self.features[frame_ids]

    def estimate(self, **options):
        return estimate_rho(self.units, self.read, level="shard", proxy="made up", **options)


UNEVEN = ShardPopulation([6, 9, 20, 14, 30, 8, 25, 11, 17, 40, 12, 7] * 4, seed=1)


def assert_estimated_without_bias(population):
    exact = intraclass_correlation(population.by_shard)
    estimates = [population.estimate(draws=200, seed=seed).rho for seed in range(200)]
    assert np.std(estimates) / math.sqrt(200) < 0.01
    assert abs(standard_errors_off(estimates, correlation_ratio(population.by_shard))) > 4
    assert abs(standard_errors_off(estimates, exact)) < 4


def test_rho_is_estimated_without_bias():
    assert_estimated_without_bias(UNEVEN)


def test_rho_is_estimated_without_bias_where_units_of_one_frame_are_about():
    assert_estimated_without_bias(ShardPopulation([1, 2, 1, 3, 12, 9, 1] * 5, seed=2))


def test_the_interval_covers_rho_about_as_often_as_it_says():
    exact = intraclass_correlation(UNEVEN.by_shard)
    estimates = [UNEVEN.estimate(draws=60, seed=seed) for seed in range(200)]
    covered = sum(estimate.low <= exact <= estimate.high for estimate in estimates)
    # 190 expected at 95 %; fewer than 175 have a probability of 1e-5, and 2e-3 were the coverage 93 %.
    # Half as wide an interval would cover 68 %.
    assert 175 <= covered <= 199
    assert all(estimate.low < estimate.rho < estimate.high for estimate in estimates)
    assert {
        (estimate.confidence, estimate.num_draws, estimate.frames_per_draw) for estimate in estimates
    } == {(0.95, 60, 6)}


def pairs_estimate(groups):
    """1 - D_w / D_b by all pairs, a group without any as far apart as groups are."""
    within = [
        np.mean([np.square(one - other).sum() / 2 for one, other in itertools.permutations(group, 2)])
        for group in groups
        if len(group) > 1
    ]
    between = [
        np.mean([np.square(one - other).sum() / 2 for one in first for other in second])
        for first, second in itertools.permutations(groups, 2)
    ]
    far_apart = [np.mean(between)] * (len(groups) - len(within))
    return 1 - np.mean(within + far_apart) / np.mean(between)


def test_rho_of_groups_is_that_of_all_pairs_and_its_interval_a_jackknife():
    chance = np.random.default_rng(3)
    groups = [chance.normal(size=2) + chance.normal(size=(size, 2)) for size in [3, 1, 4, 2, 5, 3, 2, 4]]
    found = rho_of_groups(groups, level="clip", proxy="made up", frames_per_draw=5, least=-1.0)
    assert found.rho == pytest.approx(pairs_estimate(groups))
    left_out = [pairs_estimate(groups[:group] + groups[group + 1 :]) for group in range(8)]
    logs = np.log(1 - np.array(left_out))
    reach = 2.364624 * math.sqrt(
        7 / 8 * np.square(logs - logs.mean()).sum()
    )  # Student's t, 7 degrees of freedom
    assert 1 - found.low == pytest.approx((1 - found.rho) * math.exp(reach), rel=1e-2)
    assert 1 - found.high == pytest.approx((1 - found.rho) * math.exp(-reach), rel=1e-2)
    assert (found.level, found.proxy, found.num_draws) == ("clip", "made up", 8)


def test_frames_that_say_nothing_have_no_rho():
    alike = Units(order=None, ends=np.array([5, 10]))
    single = Units(order=None, ends=np.arange(1, 11))
    values = np.random.default_rng(4).normal(size=(10, 2))
    options = {"level": "shard", "proxy": "made up"}
    assert estimate_rho(alike, lambda ids: np.ones((len(ids), 2)), **options) is None
    assert estimate_rho(single, lambda ids: values[ids], **options) is None
    one_picture = estimate_rho(alike, lambda ids: (ids[:, None] >= 5) * 1.0, **options)
    assert (one_picture.rho, one_picture.low, one_picture.high) == pytest.approx((1.0, 1.0, 1.0))


def test_what_a_sample_puts_below_the_least_rho_is_put_there():
    """Shards of four frames around one mean have the least rho there is, and a sample of them errs to both sides."""
    population = ShardPopulation([4] * 30, seed=12)
    population.by_shard = [part - part.mean(0) for part in population.by_shard]  # rho is as low as it can be
    population.features = np.concatenate(population.by_shard)
    assert intraclass_correlation(population.by_shard) == pytest.approx(-1 / 3)
    estimates = [population.estimate(draws=20, frames_per_draw=3, seed=seed) for seed in range(30)]
    assert all(-1 / 3 <= estimate.low <= estimate.rho <= estimate.high <= 1 for estimate in estimates)
    assert min(estimate.low for estimate in estimates) == pytest.approx(-1 / 3)
    chance = np.random.default_rng(13)
    for least in (-1 / 3, -1.0):
        drawn = [
            [population.by_shard[shard][chance.permutation(4)[:3]] for shard in chance.integers(0, 30, 20)]
            for _ in range(30)
        ]
        found = [
            rho_of_groups(groups, level="shard", proxy="", frames_per_draw=3, least=least) for groups in drawn
        ]
        # Without the bound the samples' intervals go below what any frames can have.
        assert (min(estimate.low for estimate in found) < -1 / 3) == (least == -1.0)


@pytest.mark.parametrize("sizes", [[6, 9, 20, 14], [1, 2, 1, 3, 12], [5, 5], [7]])
def test_rho_over_all_frames_is_exact(sizes):
    population = ShardPopulation(sizes, seed=3)
    found = rho_of_all(population.units, population.features, level="shard", proxy="made up")
    exact = intraclass_correlation(population.by_shard)
    assert found.rho == found.low == found.high == pytest.approx(exact, rel=1e-12)
    assert (found.basis, found.num_draws) == ("exact", len(sizes))
    order = np.random.default_rng(4).permutation(sum(sizes))
    scattered = Units(order=order, ends=np.cumsum(sizes))
    features = np.empty_like(population.features)
    features[order] = population.features
    again = rho_of_all(scattered, features, level="video", proxy="made up")
    assert again.rho == pytest.approx(exact, rel=1e-12)
    alike = np.full_like(features, 0.1)  # its mean is another number, by rounding
    assert rho_of_all(scattered, alike, level="video", proxy="") is None
    alone = Units(order=None, ends=np.arange(1, sum(sizes) + 1))
    assert rho_of_all(alone, features, level="gop", proxy="") is None


@pytest.mark.parametrize("sizes", [[20] * 25, [5, 10, 15, 40, 30] * 5])
def test_S22_rho_of_a_shuffled_build_over_its_seeds(sizes):
    """One direction alone varies, which spreads rho most."""
    stated, chance = rho_of_shuffled_frames(sizes, level="shard"), np.random.default_rng(5)
    frames, units = chance.normal(size=(sum(sizes), 1)), Units(order=None, ends=np.cumsum(sizes))
    found = [
        rho_of_all(units, frames[chance.permutation(sum(sizes))], level="shard", proxy="").rho
        for _ in range(1500)
    ]
    assert abs(standard_errors_off(found, -1 / (sum(sizes) - 1))) < 4
    assert stated.rho == -1 / (sum(sizes) - 1) and stated.basis == "builds"
    inside = np.mean([stated.low <= rho <= stated.high for rho in found])
    assert 0.93 <= inside <= 0.985
    assert stated.low >= least_correlation(sizes)


def test_one_group_with_a_pair_is_no_certainty():
    groups = [np.array([[0.0], [1.0]]), np.array([[2.0]]), np.array([[5.0]])]
    found = rho_of_groups(groups, level="gop", proxy="made up", frames_per_draw=2, least=-1.0)
    assert found is None or found.low < found.rho < found.high


def test_a_draw_is_different_frames_of_one_unit_as_likely_as_it_is_large():
    read = []
    units = Units(order=np.random.default_rng(5).permutation(100), ends=np.array([10, 40, 100]))

    def features(frame_ids):
        read.append(frame_ids)
        return np.random.default_rng(0).normal(size=(len(frame_ids), 1))

    estimate_rho(units, features, level="gop", proxy="made up", draws=600, frames_per_draw=4, seed=6)
    drawn = read[0].reshape(600, 4)
    unit_of = np.empty(100, np.int64)
    unit_of[units.order] = np.repeat([0, 1, 2], [10, 30, 60])
    assert (unit_of[drawn] == unit_of[drawn[:, :1]]).all()
    assert (np.diff(np.sort(drawn, axis=1), axis=1) > 0).all()
    shares = np.bincount(unit_of[drawn[:, 0]]) / 600
    assert shares == pytest.approx([0.1, 0.3, 0.6], abs=4 * math.sqrt(0.24 / 600))
    assert len(np.unique(drawn)) == 100


def unit_members(units):
    return [
        units.members_at(unit, np.arange(units.size_of(unit))).tolist() for unit in range(len(units.ends))
    ]


def test_units_of_an_index_in_order():
    store = ArrayStore([9, 0, 11], video_sizes=[5, 8, 7])
    anything = np.ones(3)
    assert unit_members(units_of(store, "shard", frames_per_gop=anything)) == [[*range(9)], [*range(9, 20)]]
    videos = units_of(store, "video", frames_per_gop=anything)
    assert videos.order is None
    assert unit_members(videos) == [[*range(5)], [*range(5, 13)], [*range(13, 20)]]
    gops = units_of(store, "gop", frames_per_gop=np.array([2.5, 8.0, 3.0]))
    cut = [[0, 1, 2], [3, 4], [*range(5, 13)], [13, 14, 15], [16, 17, 18], [19]]
    assert unit_members(gops) == cut  # frame 5 of 2.5 would be the third GOP
    with pytest.raises(SamplingError, match="level must be gop, video or shard, found 'clip'"):
        units_of(store, "clip", frames_per_gop=anything)


def test_units_of_a_shuffled_index():
    store = ArrayStore([9, 11], video_sizes=[5, 8, 7])
    order = np.random.default_rng(7).permutation(20)
    shuffled = ArrayStore([9, 11], video_sizes=[5, 8, 7], order=order)
    lengths = np.array([2.5, 8.0, 3.0])
    assert units_of(shuffled, "shard", frames_per_gop=lengths).order is None
    for level in ("video", "gop"):
        expected = unit_members(units_of(store, level, frames_per_gop=lengths))
        found = unit_members(units_of(shuffled, level, frames_per_gop=lengths))
        assert [sorted(order[members].tolist()) for members in found] == expected


@pytest.mark.parametrize("size", [1, 3, 5, 16])
def test_thumbnails_are_means_of_blocks(size):
    chance = np.random.default_rng(8)
    pictures = chance.integers(0, 256, (300, 7, 10, 3), dtype=np.uint8)
    store = PictureStore(pictures, [300])
    ids = chance.integers(0, 300, 290)  # more than are read at once
    found = thumbnails(store, size=size)(ids)
    rows = [7 * row // min(size, 7) for row in range(min(size, 7) + 1)]
    columns = [10 * column // min(size, 10) for column in range(min(size, 10) + 1)]
    blocks = [
        pictures[ids][:, top:bottom, left:right].mean(axis=(1, 2))
        for top, bottom in itertools.pairwise(rows)
        for left, right in itertools.pairwise(columns)
    ]
    assert found.shape == (290, 3 * min(size, 7) * min(size, 10))
    assert found == pytest.approx(np.concatenate(blocks, axis=1), abs=1e-9)
    assert thumbnails(store, size=size)(ids[:0]).shape == (0, found.shape[1])


def test_features_of_a_file(tmp_path):
    path = tmp_path / "features.npy"
    for array in [np.arange(5, dtype=np.int16), np.ones((5, 3), np.float32), np.ones((5, 2), bool)]:
        np.save(path, array)
        features = load_features(path, num_frames=5)
        assert features.dtype == np.float64
        assert np.array_equal(features, array.reshape(5, -1))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((4, 3)), "one row for each of 5 frames, found shape \\(4, 3\\)"),
        (np.ones((5, 3, 2)), "found shape \\(5, 3, 2\\)"),
        (np.ones((5, 0)), "found shape \\(5, 0\\)"),
        (np.float64(3), "found shape \\(\\)"),
        (np.array([1, 2, np.nan, 4, np.inf]), "NaN or infinity in 2 rows, the first is row 2"),
        (np.array([1, 2, 3, 4, np.nan]), "NaN or infinity in 1 row, the first is row 4"),
        (np.array(["1"] * 5), "expected an array of numbers"),
        (np.ones(5, complex), "expected an array of numbers"),
        (np.array([None] * 5), "not a readable .npy file"),
    ],
)
def test_features_that_are_none_are_refused(tmp_path, array, message):
    path = tmp_path / "features.npy"
    np.save(path, array, allow_pickle=True)
    with pytest.raises(SamplingError, match=message):
        load_features(path, num_frames=5)


@pytest.mark.parametrize("text", [b"0.5 0.25\n", b"", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_npy_is_refused(tmp_path, text):
    path = tmp_path / "features.npy"
    path.write_bytes(text)
    with pytest.raises(SamplingError, match=r"features\.npy: not a readable \.npy file"):
        load_features(path, num_frames=5)
    with pytest.raises(SamplingError, match="not a readable"):
        load_features(tmp_path / "absent.npy", num_frames=5)


@pytest.mark.parametrize(
    ("probability", "df", "table"),
    [
        (0.975, 6, 2.4469),
        (0.975, 10, 2.2281),
        (0.975, 30, 2.0423),
        (0.975, 99, 1.9842),
        (0.95, 8, 1.8595),
        (0.995, 20, 2.8453),
        (0.025, 30, -2.0423),
    ],
)
def test_student_quantiles_are_those_of_the_tables(probability, df, table):
    assert student_quantile(probability, df) == pytest.approx(table, abs=0.01 if df < 10 else 2e-3)
