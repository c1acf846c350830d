# ruff: noqa: N802 - tests are named after the formulas of SAMPLING.md
"""Which pairs of frames meet in a batch, against every batch of tiny populations."""

import itertools
import math

import numpy as np
import pytest

from loader import SamplingError
from loader.bias.pairs.chi2 import (
    block_pair_chi2,
    pair_chi2_of_classes,
    permutation_pair_chi2,
    sequential_pair_chi2,
    visit_pair_chi2,
    weighted_visit_pair_chi2,
)
from loader.bias.pairs.kappa import block_kappa
from loader.sampling.orders.blocks import frames_per_block
from tests.support.statistics.enumeration import assert_equal, assert_rejected, every_whole_clip, shard_visits
from tests.support.statistics.every_batch import EVERY_OUTCOME, TINY, every_iid_batch, every_permuted_batch
from tests.support.statistics.laws import SPECS, batches_of, law_of
from tests.support.statistics.spread_orders import nested_blocks, spread_visits


def pair_law(outcomes, num_frames):
    """P(i, j) of two distinct slots, (N, N)."""
    law = np.zeros((num_frames, num_frames))
    for probability, batch in zip(outcomes.probability, outcomes.frame_ids, strict=True):
        for one, other in itertools.permutations(batch, 2):
            law[one, other] += probability
    return law / law.sum()


def chi2_of_pairs(law):
    return law.size * (law**2).sum() - 1


def pair_law_of_blocks(sizes, block_frames, batch_size):
    """Of `block`, over every order of the shards, every cut, all coins and every two slots of a whole batch."""
    num_frames, ends = sum(sizes), np.cumsum(sizes)
    circles = [
        np.concatenate([np.arange(ends[shard] - sizes[shard], ends[shard]) for shard in order])
        for order in itertools.permutations(range(len(sizes)))
    ]
    streams = [np.roll(circle, -cut) for circle in circles for cut in range(num_frames)]
    law = np.zeros((num_frames, num_frames))
    epochs = nested_blocks(streams, block_frames)
    for start in range(0, num_frames - batch_size + 1, batch_size):
        for one, other in itertools.permutations(range(start, start + batch_size), 2):
            np.add.at(law, (epochs[:, one], epochs[:, other]), 1)
    return law / law.sum()


def same_frame(law):
    return np.trace(law)


def same_shard(law, shard_of):
    return law[shard_of[:, None] == shard_of].sum()


def test_S52_the_bound_and_what_the_classes_tell_of_it():
    chance, shard_of = np.random.default_rng(1), TINY.shard_of_frame
    for name, every in EVERY_OUTCOME.items():
        law = pair_law(every(), 9)
        chi2 = chi2_of_pairs(law)
        loss = chance.normal(size=(9, 9))
        off = abs(((law - 1 / 81) * loss).sum())
        assert off <= math.sqrt(max(chi2, 0)) * loss.std() * (1 + 1e-9) + 1e-12
        worst = 81 * law - 1
        if chi2 > 1e-9:  # attained
            assert_equal(abs(((law - 1 / 81) * worst).sum()), math.sqrt(chi2) * worst.std())
        shared = same_shard(law, shard_of), same_frame(law)
        by_classes = pair_chi2_of_classes(shared[0], TINY.sizes, same_frame=shared[1])
        assert by_classes <= chi2 + 1e-12
        if name in {"iid", "permutation"}:
            assert_equal([by_classes], [chi2])
        else:
            assert_rejected([by_classes], [chi2])  # unequal shards: the pairs of a class are not alike


def test_S52_the_classes_are_all_of_it_where_shards_are_equal_and_visits_of_different_frames():
    sizes, shard_of = np.array([3, 3, 3]), np.repeat([0, 1, 2], 3)
    population = type(TINY)(sizes)
    for again in (False, True):  # independent visits
        law = pair_law(
            shard_visits(population, population.share, num_visits=2, frames_per_visit=2, frames_again=again),
            9,
        )
        kappa, alike = same_shard(law, shard_of), same_frame(law)
        chi2 = chi2_of_pairs(law)
        assert_equal([pair_chi2_of_classes(kappa, sizes, same_frame=alike)], [chi2])
        # Without the class of one frame, it is too little: (kappa / k0, (1 - kappa) / (1 - k0)) alone.
        two_classes = kappa**2 * 3 + (1 - kappa) ** 2 / (1 - 1 / 3) - 1
        if not again:
            assert_rejected([two_classes], [chi2])
            assert_rejected([pair_chi2_of_classes(kappa, sizes)], [chi2])


def test_S52_what_a_whole_batch_tells_is_never_less():
    """A batch of three against independent frames: its chi^2 is at least that of its pairs."""
    population = type(TINY)([2, 3])
    outcomes = shard_visits(population, population.share, num_visits=1, frames_per_visit=2)
    batches = np.zeros((5, 5))
    np.add.at(batches, tuple(outcomes.frame_ids.T), outcomes.probability)
    assert_equal([chi2_of_pairs(batches)], [chi2_of_pairs(pair_law(outcomes, 5))])
    triples = every_permuted_batch(5, 3)
    whole = np.zeros((5, 5, 5))
    np.add.at(whole, tuple(triples.frame_ids.T), triples.probability)
    assert 125 * (whole**2).sum() - 1 > chi2_of_pairs(pair_law(triples, 5)) + 0.1


def test_S52_batch_normalisation_divides_by_what_pairs_say():
    """The expected variance of a feature over a batch of B is (1 - 1/B) times half the mean square over its pairs."""
    feature = TINY.shard_of_frame.astype(float)  # what the frames of a shard have in common
    for name, every in EVERY_OUTCOME.items():
        outcomes = every()
        expected = outcomes.probability @ feature[outcomes.frame_ids].var(1)
        half_squares = (feature[:, None] - feature) ** 2 / 2
        assert_equal(expected, (1 - 1 / 4) * (pair_law(outcomes, 9) * half_squares).sum())
        of_independent = (1 - 1 / 4) * feature.var()
        if name == "visits":  # single frames are uniform, and pairs are not
            assert expected < 0.95 * of_independent


@pytest.mark.parametrize("name", ["iid", "permutation", "visits", "visits, again", "visits, naive"])
def test_S53_pairs_of_shards_of_any_sizes(name):
    chi2 = chi2_of_pairs(pair_law(EVERY_OUTCOME[name](), 9))
    law = law_of(TINY.sizes, batch_size=4, **SPECS[name])
    assert law.chi2_of_pairs_is_exact
    assert law.chi2_of_pairs == pytest.approx(chi2, abs=1e-12)
    kappa = 1 / 3
    shortcut = {"iid": 0, "permutation": 1 / 8}.get(name)
    if shortcut is not None:
        assert_equal([shortcut], [chi2])
    independent = {"visits": kappa**2 * (2 + 3 / 2 + 4 / 3 - 1), "visits, again": kappa**2 * (3 - 1)}.get(
        name
    )
    if independent is not None:  # not of spread anchors
        assert_rejected([independent], [chi2])
    if name == "permutation":
        assert_rejected([0.0], [chi2])  # a frame is no pair with itself
        assert permutation_pair_chi2(9) == 1 / 8


@pytest.mark.parametrize("again", [False, True], ids=["different frames", "again"])
@pytest.mark.parametrize("sizes", [[2, 3, 4], [3, 3, 3], [2, 6]])
def test_S53_pairs_of_three_spread_visits(sizes, again, monkeypatch):
    population = type(TINY)(sizes)
    law = pair_law(spread_visits(population, 3, 2, frames_again=again), sum(sizes))
    chi2 = chi2_of_pairs(law)
    options = {"kappa": 1 / 5, "num_visits": 3, "frames_with_replacement": again}
    found = visit_pair_chi2(population.share, sizes, **options)
    assert found.is_exact
    assert_equal([1 + found.value], [1 + chi2])
    independent = visit_pair_chi2(population.share, sizes, **{**options, "num_visits": None})
    assert_rejected([1 + independent.value], [1 + chi2])
    monkeypatch.setattr("loader.bias.pairs.chi2.MAX_SHARDS", 1)
    bound = visit_pair_chi2(population.share, sizes, **options)
    if len(set(sizes)) == 1:  # rows are alike
        assert bound.is_exact
        assert_equal([1 + bound.value], [1 + chi2])
    else:
        assert not bound.is_exact and bound.is_bound and 0 < bound.value < chi2


@pytest.mark.parametrize("sizes", [[2, 3, 4], [2, 6]])
def test_S58_pairs_of_spread_visits_under_weights(sizes, monkeypatch):
    """Frames of a shard alike and with replacement: the target of shards is their share."""
    population = type(TINY)(sizes)
    law = pair_law(spread_visits(population, 3, 2, frames_again=True), sum(sizes))
    chi2 = chi2_of_pairs(law)
    found = weighted_visit_pair_chi2(population.share, kappa=1 / 5, num_visits=3)
    assert_equal([1 + found.value], [1 + chi2])
    independent = weighted_visit_pair_chi2(population.share, kappa=1 / 5).value
    assert_rejected([1 + independent], [1 + chi2])
    monkeypatch.setattr("loader.bias.pairs.chi2.MAX_SHARDS", 1)
    bound = weighted_visit_pair_chi2(population.share, kappa=1 / 5, num_visits=3)
    assert not bound.is_exact and 0 < bound.value < chi2 + (1e-12 if len(sizes) == 2 else 0)


@pytest.mark.parametrize(("num_frames", "batch_size"), [(9, 4), (9, 3), (9, 9), (4, 2), (11, 5)])
@pytest.mark.parametrize("remainder", ["drop", "uneven"])
def test_S53_pairs_of_an_order_that_is_always_the_same(num_frames, batch_size, remainder):
    whole = [
        ids
        for ids in batches_of([num_frames], batch_size=batch_size, sampling="sequential", remainder=remainder)
        if len(ids) == batch_size
    ]
    law = np.zeros((num_frames, num_frames))
    for ids in whole:
        law[np.ix_(ids, ids)] += 1
        law[ids, ids] = 0
    chi2 = chi2_of_pairs(law / law.sum())
    assert_equal([sequential_pair_chi2(num_frames, batch_size=batch_size)], [chi2])
    stated = law_of([num_frames], batch_size=batch_size, sampling="sequential", remainder=remainder)
    assert (stated.chi2_of_pairs, stated.chi2_of_pairs_is_exact) == (pytest.approx(chi2), True)


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_S53_pairs_of_clips_are_of_windows(sampling):
    videos = [4, 1, 3]
    num_windows = len(every_whole_clip(videos, 2, 1))
    every = every_iid_batch if sampling == "iid" else every_permuted_batch
    chi2 = chi2_of_pairs(pair_law(every(num_windows, 3), num_windows))
    law = law_of([8], batch_size=3, video_sizes=videos, sampling=sampling, clip_frames=2)
    assert law.chi2_of_pairs == pytest.approx(chi2, abs=1e-12)


@pytest.mark.parametrize(
    ("sizes", "block_frames", "batch_size"),
    [
        ([2, 2, 2], 2, 2),
        ([2, 2, 2], 4, 2),
        ([2, 2, 2], 3, 4),
        ([3, 3, 3], 3, 2),
        ([3, 3, 3], 4, 5),
        ([3, 3, 3], 9, 4),
        ([2, 2, 2, 2], 4, 3),
        ([3, 3], 4, 3),
        ([5, 5], 2, 4),
        ([1, 1, 1, 1, 1], 2, 3),
        ([4], 3, 2),
        ([6], 2, 6),
    ],
)
def test_S54_pairs_of_a_block_shuffle_of_equal_shards(sizes, block_frames, batch_size):
    chi2 = chi2_of_pairs(pair_law_of_blocks(sizes, block_frames, batch_size))
    options = {"block_frames": block_frames, "batch_size": batch_size}
    found = block_pair_chi2(sizes, **options)
    assert found.is_exact
    assert_equal([found.value], [chi2])
    by_classes = pair_chi2_of_classes(block_kappa(sizes, **options), sizes)
    assert by_classes <= chi2 + 1e-12
    if (sizes, block_frames) == ([3, 3, 3], 4):
        assert_rejected([by_classes], [chi2])  # how often two frames meet depends on their places


@pytest.mark.parametrize(
    ("sizes", "block_frames", "batch_size"), [([2, 3, 4], 3, 4), ([1, 1, 4], 2, 3), ([5, 2], 3, 2)]
)
def test_S54_of_unequal_shards_it_is_at_least_what_the_classes_say(sizes, block_frames, batch_size):
    chi2 = chi2_of_pairs(pair_law_of_blocks(sizes, block_frames, batch_size))
    found = block_pair_chi2(sizes, block_frames=block_frames, batch_size=batch_size)
    assert not found.is_exact and found.is_bound and 0 < found.value < chi2


def test_S54_the_enumeration_is_that_of_every_epoch():
    sizes = TINY.sizes.tolist()
    law = pair_law(EVERY_OUTCOME["block"](), 9)
    block_frames = frames_per_block(TINY.sizes, shards_per_block=1)
    assert_equal(pair_law_of_blocks(sizes, block_frames, 4), law)
    stated = law_of(sizes, batch_size=4, **SPECS["block"])
    assert not stated.chi2_of_pairs_is_exact
    assert stated.chi2_of_pairs == pytest.approx(
        pair_chi2_of_classes(same_shard(law, TINY.shard_of_frame), sizes), abs=1e-12
    )


def test_the_figures_of_larger_stores():
    sizes = [50] * 32
    block = law_of(sizes, batch_size=128, sampling="block", shards_per_block=4)
    assert block.chi2_of_pairs_is_exact and block.chi2_of_pairs == pytest.approx(0.749, abs=5e-4)
    visits = law_of(sizes, batch_size=128, sampling="shards", frames_per_visit=8)
    assert visits.chi2_of_pairs == pytest.approx(0.0449, abs=5e-5)
    assert law_of(sizes, batch_size=128, sampling="permutation").chi2_of_pairs == 1 / 1599
    assert pair_chi2_of_classes(999 / 7999, [1000] * 500) == pytest.approx(7.57, abs=5e-3)
    many = law_of([1000] * 10**5, batch_size=256, sampling="block", shards_per_block=8)
    assert many.chi2_of_pairs_is_exact and many.chi2_of_pairs > 100
    too_far = law_of([10**6] * 50, batch_size=256, sampling="block", shards_per_block=8)
    assert not too_far.chi2_of_pairs_is_exact and 0.55 < too_far.chi2_of_pairs < 0.65


def test_where_there_is_no_pair_there_is_no_number():
    for options in SPECS.values():
        if options["sampling"] != "shards":
            assert law_of([6, 6], batch_size=1, **options).chi2_of_pairs is None
    assert law_of([7], batch_size=4, sampling="sequential", remainder="pad").chi2_of_pairs is None
    assert law_of([7], batch_size=9, sampling="permutation", remainder="pad").chi2_of_pairs is None
    assert law_of([7], batch_size=4, sampling="permutation", remainder="pad").chi2_of_pairs == 1 / 6


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: pair_chi2_of_classes(0.1, [3, 3], same_frame=0.2),
        lambda: pair_chi2_of_classes(1.1, [3, 3]),
        lambda: pair_chi2_of_classes(0.5, [4]),
        lambda: pair_chi2_of_classes(0.5, [1, 1]),
        lambda: permutation_pair_chi2(1),
        lambda: sequential_pair_chi2(9, batch_size=1),
        lambda: sequential_pair_chi2(3, batch_size=4),
        lambda: visit_pair_chi2([0.5, 0.5], [3], kappa=0.1),
        lambda: visit_pair_chi2([0.5, 0.5], [3, 0], kappa=0.1),
        lambda: visit_pair_chi2([0.5, 0.5], [3, 1], kappa=0.1),
        lambda: block_pair_chi2([3, 3], block_frames=3, batch_size=1),
        lambda: block_pair_chi2([3, 3], block_frames=3, batch_size=7),
    ],
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(SamplingError):
        wrong()
    assert visit_pair_chi2([0.75, 0.25], [3, 1], kappa=0.0).value == pytest.approx(0, abs=1e-15)
    again = visit_pair_chi2([0.75, 0.25], [3, 1], kappa=0.5, frames_with_replacement=True)
    assert again == (pytest.approx(0.25), True, True)
