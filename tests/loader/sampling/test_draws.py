"""How often the real batches hold each frame, against the stated distribution, at 1e-6 false alarms a test.

Pearson's statistic needs independent draws. The frames of a visit, of a clip and of a block are drawn together, so
one slot of each counts; `test_counting_all_frames_of_a_visit_alarms_without_cause` shows what happens otherwise.
"""

import itertools

import numpy as np
import pytest

from loader import FrameBatchSampler
from loader.bias.pairs.spread_visits import pairs_of_visits
from loader.bias.report import bias_of_features
from loader.windows import Windows, window_spec
from tests.support.caches.array_store import ArrayStore
from tests.support.loaders import drawn_by_workers, ids_of, make_loader, make_sampler
from tests.support.statistics import laws
from tests.support.statistics.chi_squared import ALPHA, p_value
from tests.support.statistics.enumeration import every_whole_clip
from tests.support.statistics.oracles.clips import whole_clip_law
from tests.support.statistics.oracles.distributions import chi2_of_law
from tests.support.statistics.statistics import chi2_between, draws_needed, draws_p_value, power

SIZES = [8, 0, 10, 12, 14, 20, 16]
"""Shards, one of them empty. If shards are drawn with equal probability, their frames have chi^2 = 0.087."""
NUM_FRAMES = sum(SIZES)
FRAMES_PER_VISIT = 4
BATCH_SIZE = 16

VISITS = {"sampling": "shards", "frames_per_visit": FRAMES_PER_VISIT}
NAIVE_VISITS = {**VISITS, "shard_choice": "uniform"}
DRAWN = {
    "iid": {"sampling": "iid"},
    "visits": VISITS,
    "visits that may draw a frame twice": {**VISITS, "frames_with_replacement": True},
    "visits to shards drawn alike": NAIVE_VISITS,
}

VIDEO_SIZES = [5, 9, 6, 30, 12, 2, 16]
"""A clip of 3 frames, 2 apart, does not fit into the second but last."""
CLIPS = {"sampling": "iid", "clip_frames": 3, "clip_stride": 2}


def slots_of_visit(options):
    return options.get("frames_per_visit") or options.get("clip_frames") or 1


def one_slot_a_visit(frame_ids, options, *, seed=0):
    """A random slot of each visit or clip: independent draws. Positions or clips of one epoch or several."""
    visits = frame_ids.reshape(-1, slots_of_visit(options))
    slots = np.random.default_rng(seed).integers(0, visits.shape[1], len(visits))
    return visits[np.arange(len(visits)), slots]


def num_epochs_for(store, draws, **options):
    """How many epochs of a loader hold `draws` visits, clips or single frames."""
    plan = make_loader(store, batch_size=BATCH_SIZE, **options)
    frames_per_draw = options.get("frames_per_visit", 1)
    return -(-draws * frames_per_draw // (len(plan) * BATCH_SIZE))


def law_of(options, sizes=SIZES, *, batch_size=BATCH_SIZE, video_sizes=None):
    return laws.law_of(sizes, batch_size=batch_size, video_sizes=video_sizes, **options)


def frame_law(options, sizes=SIZES, *, batch_size=BATCH_SIZE):
    """Probability of each frame id, from the probability of each shard."""
    sizes = np.array(sizes)
    by_shard = np.divide(
        law_of(options, sizes, batch_size=batch_size).shard_probability,
        sizes,
        where=sizes > 0,
        out=np.zeros(len(sizes)),
    )
    return np.repeat(by_shard, sizes)


# Draws with replacement: Pearson's test of one slot a visit against the law.


@pytest.mark.parametrize("options", DRAWN.values(), ids=DRAWN)
def test_frames_are_drawn_as_the_law_says(options):
    store = ArrayStore(SIZES)
    law = frame_law(options)
    assert law.sum() == pytest.approx(1)
    assert chi2_of_law(law) == pytest.approx(law_of(options).chi2, abs=1e-12)
    loader = make_loader(store, batch_size=BATCH_SIZE, seed=1, **options)
    num_epochs = num_epochs_for(store, draws_needed(NUM_FRAMES), **options)
    drawn = one_slot_a_visit(np.concatenate([ids_of(loader) for _ in range(num_epochs)]), options)
    assert draws_p_value(drawn, law) > ALPHA


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_clips_show_frames_as_the_law_says(sampling):
    options = {**CLIPS, "sampling": sampling}
    num_frames = sum(VIDEO_SIZES)
    store = ArrayStore([num_frames], video_sizes=VIDEO_SIZES)
    stated = law_of(options, [num_frames], video_sizes=VIDEO_SIZES)
    law = whole_clip_law(VIDEO_SIZES, clip_frames=3, stride=2)
    assert (stated.num_frames, stated.num_frames_never_shown) == (num_frames, (law == 0).sum())
    assert stated.chi2 == pytest.approx(chi2_of_law(law), abs=1e-12)
    loader = make_loader(store, batch_size=8, seed=2, **options)
    draws = draws_needed(stated.num_frames)
    if sampling == "iid":
        clips = np.concatenate([ids_of(loader) for _ in range(-(-draws // (8 * len(loader))))])
    else:  # the clips of an epoch are different windows: one clip an epoch is independent
        sampler = FrameBatchSampler(store, batch_size=8, seed=2, **options)
        anchors = np.array([next(iter(sampler))[-1] for _ in range(draws)])
        clips = Windows(store, window_spec(clip_frames=3, clip_stride=2)).request(anchors).cache_ids
    assert len(clips) >= draws
    assert draws_p_value(one_slot_a_visit(clips, options), law) > ALPHA
    # A distribution that is uniform over frames is rejected.
    eligible = np.repeat(np.array(VIDEO_SIZES) >= 5, VIDEO_SIZES)
    uniform = eligible / eligible.sum()
    assert power(len(clips) * chi2_between(law[eligible], 1 / eligible.sum()), eligible.sum() - 1) > 0.99
    assert draws_p_value(one_slot_a_visit(clips, options), uniform) < ALPHA


@pytest.mark.parametrize("sampling", ["iid", "permutation"])
def test_whole_windows_are_drawn_alike(sampling):
    """Each window is named by its first frame."""
    options = {**CLIPS, "sampling": sampling}
    store = ArrayStore([sum(VIDEO_SIZES)], video_sizes=VIDEO_SIZES)
    windows = every_whole_clip(VIDEO_SIZES, 3, 2)
    sampler = FrameBatchSampler(store, batch_size=8, seed=3, **options)
    anchors = np.array([next(iter(sampler))[0] for _ in range(draws_needed(len(windows)))])
    drawn = np.searchsorted(windows[:, 0], anchors)
    assert np.array_equal(windows[drawn, 0], anchors)
    assert draws_p_value(drawn, np.full(len(windows), 1 / len(windows))) > ALPHA


@pytest.mark.parametrize("shard_choice", ["proportional", "uniform"])
def test_shards_of_a_frame_or_two_are_drawn_as_the_law_says(shard_choice):
    """A shard that begins and ends one frame too early is detected."""
    sizes = [1, 0, 1, 2, 1, 1, 2]
    options = {"sampling": "shards", "frames_per_visit": 1, "shard_choice": shard_choice}
    one_early = np.array([2, 0, 1, 2, 1, 1, 1]) / 8 / np.maximum(sizes, 1)
    assert power(2000 * chi2_between(np.repeat(one_early, sizes), 1 / 8), 7) > 0.99
    sampler = make_sampler(ArrayStore(sizes), batch_size=8, seed=2, **options)
    drawn = np.concatenate([next(iter(sampler)) for _ in range(250)])
    assert draws_p_value(drawn, frame_law(options, sizes, batch_size=8)) > ALPHA


def test_counting_all_frames_of_a_visit_alarms_without_cause():
    sizes, level, num_seeds = [10] * 12, 0.01, 200
    # Independent visits: the counts of spread ones vary less.
    options = {"sampling": "shards", "frames_per_visit": 8, "shard_choice": "uniform"}
    store, shard_of = ArrayStore(sizes), np.repeat(np.arange(12), 10)
    false_alarms = {"all slots": 0, "one slot": 0}
    for seed in range(num_seeds):
        sampler = FrameBatchSampler(store, batch_size=40, seed=seed, **options)
        ids = np.concatenate([np.concatenate(list(sampler)) for _ in range(7)])
        for name, drawn in [("all slots", ids), ("one slot", one_slot_a_visit(ids, options, seed=seed))]:
            counts = np.bincount(shard_of[drawn], minlength=12)
            false_alarms[name] += p_value(counts, len(drawn) / 12) < level
    # 8 frames of one shard count as 8 draws: the statistic is 8 times what it should be.
    assert false_alarms["all slots"] > 0.9 * num_seeds
    assert false_alarms["one slot"] <= 9  # 2 expected; 10 or more have a probability of 5e-5


# The same draws by another way: workers, ranks, resumed runs.


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("name", ["iid", "visits"])
def test_workers_draw_by_the_same_law(name, num_workers):
    options, store = DRAWN[name], ArrayStore(SIZES)
    num_epochs = -(-draws_needed(NUM_FRAMES) * slots_of_visit(options) // 48)
    drawn = one_slot_a_visit(drawn_by_workers(store, num_workers, num_epochs, **options), options)
    assert len(drawn) >= draws_needed(NUM_FRAMES)
    assert draws_p_value(drawn, frame_law(options)) > ALPHA


@pytest.mark.parametrize("remainder", ["drop", "pad", "uneven"])
@pytest.mark.parametrize("name", ["iid", "visits"])
def test_every_rank_draws_by_the_same_law_and_together_as_their_visits_do(name, remainder):
    options, store, num_ranks = DRAWN[name], ArrayStore(SIZES), 3
    samplers = [
        make_sampler(
            store, batch_size=8, rank=rank, world_size=num_ranks, remainder=remainder, seed=4, **options
        )
        for rank in range(num_ranks)
    ]
    slots = slots_of_visit(options)
    num_epochs = -(-draws_needed(NUM_FRAMES) * slots // (8 * len(samplers[0])))
    by_rank = [np.concatenate([i for _ in range(num_epochs) for i in sampler]) for sampler in samplers]
    by_rank = np.stack([one_slot_a_visit(ids, options, seed=rank) for rank, ids in enumerate(by_rank)])
    for drawn in by_rank:
        assert len(drawn) >= draws_needed(NUM_FRAMES)
        assert draws_p_value(drawn, frame_law(options)) > ALPHA / num_ranks
    # Pairs of shards of two ranks at one step: independent frames, or visits whose numbers differ by 2 or by 4.
    held = np.flatnonzero(SIZES)
    share = np.array(SIZES)[held] / NUM_FRAMES
    shards = np.searchsorted(np.cumsum(SIZES)[held], by_rank, side="right")
    visits_a_batch = 8 // slots
    assert name == "iid" or visits_a_batch == 2
    for one, other in itertools.combinations(range(num_ranks), 2):
        pairs = np.bincount(shards[one] * len(held) + shards[other], minlength=len(held) ** 2)
        law = np.outer(share, share)
        if name == "visits":
            law = pairs_of_visits_apart(share, visits_a_batch * (other - one))
        expected = len(by_rank[0]) * law.ravel()
        assert not pairs[expected < 1e-9].any()
        is_rare = expected < 20  # counted together
        pairs, expected = (np.append(part[~is_rare], part[is_rare].sum()) for part in (pairs, expected))
        assert p_value(pairs[expected > 20], expected[expected > 20]) > ALPHA / num_ranks


def pairs_of_visits_apart(share, number):
    """P(s, t) of two visits whose numbers differ by 2 or by 4, from those of all pairs of 2, 3 and 5 visits."""

    def mean(num_visits):
        return np.concatenate([rows for _, rows in pairs_of_visits(share, num_visits=num_visits)])

    apart_by_2 = 3 * mean(3) - 2 * mean(2)
    return apart_by_2 if number == 2 else 10 * mean(5) - 6 * mean(2) - 3 * apart_by_2


@pytest.mark.parametrize("name", ["iid", "visits"])
def test_a_resumed_run_draws_by_the_same_law_and_no_frame_otherwise(name):
    options, store, chance = DRAWN[name], ArrayStore(SIZES), np.random.default_rng(5)
    resumed_ids, whole_ids = [], []
    whole = make_loader(store, batch_size=16, seed=5, **options)
    num_epochs = num_epochs_for(store, draws_needed(NUM_FRAMES), **options)
    for epoch in range(num_epochs):
        first = make_loader(store, batch_size=16, seed=5, **options)
        first.set_epoch(epoch)
        before = [ids_of([batch]) for batch in itertools.islice(first, int(chance.integers(1, len(whole))))]
        state = first.state_dict()
        after = []
        for rank in range(2):
            second = make_loader(store, batch_size=8, rank=rank, world_size=2, seed=5, **options)
            second.load_state_dict(state)
            after.append([ids_of([batch]) for batch in second])
        steps = [ids for step in zip(*after, strict=True) for ids in step]
        resumed_ids.append(np.concatenate(before + steps))
        whole_ids.append(ids_of(whole))
    assert np.array_equal(resumed_ids, whole_ids)
    drawn = one_slot_a_visit(np.concatenate(resumed_ids), options)
    assert len(drawn) >= draws_needed(NUM_FRAMES)
    assert draws_p_value(drawn, frame_law(options)) > ALPHA


# Negative control: the naive rule fails the test that the anchor-frame rule passes.


def visits_p_value(sizes, *, num_visits, seed, **options):
    """One loader, one test at ALPHA: are its frames drawn alike?"""
    store = ArrayStore(sizes)
    sampler = make_sampler(store, batch_size=40, seed=seed, **options)
    drawn = []
    while len(drawn) * 40 < num_visits * FRAMES_PER_VISIT:
        drawn += list(sampler)
    drawn = one_slot_a_visit(np.concatenate(drawn), options, seed=seed)[:num_visits]
    return draws_p_value(drawn, np.full(len(store), 1 / len(store)))


def test_the_naive_rule_is_caught_by_the_test_that_the_anchor_frame_rule_passes():
    sizes, num_seeds = [10, 12, 14, 16, 18, 22], 50
    bias = law_of(NAIVE_VISITS, sizes)
    assert bias.chi2 == pytest.approx(0.07, abs=0.01)
    assert bias.chi2 == pytest.approx(chi2_between(frame_law(NAIVE_VISITS, sizes), 1 / sum(sizes)))
    num_visits = draws_needed(sum(sizes), chi2=bias.chi2, least_power=0.9999)
    assert power(num_visits * bias.chi2, sum(sizes) - 1) > 0.99
    caught, false_alarms = (
        sum(
            visits_p_value(sizes, num_visits=num_visits, seed=seed, **rule) < ALPHA
            for seed in range(num_seeds)
        )
        for rule in (NAIVE_VISITS, VISITS)
    )
    assert caught == num_seeds
    assert false_alarms == 0


@pytest.mark.parametrize("frames_with_replacement", [False, True])
def test_the_bias_of_the_naive_rule_is_the_one_that_is_predicted(frames_with_replacement):
    sizes = np.array([10, 12, 14, 16, 18, 22]) * 40
    num_epochs = 700 if frames_with_replacement else 400
    options = {
        "sampling": "shards",
        "frames_per_visit": 1 + frames_with_replacement,
        "shard_choice": "uniform",
        "frames_with_replacement": frames_with_replacement,
    }
    store, chance = ArrayStore(sizes), np.random.default_rng(6)
    shard_ids = store.index["shard_id"].astype(np.int64)
    features = (1 / sizes)[shard_ids] * 500 + chance.normal(scale=0.1, size=len(store))  # small shards differ
    law = law_of(options, sizes)
    predicted = bias_of_features(law, features[:, None], shard_ids)
    assert 0.5 * law.chi2 < predicted**2 <= law.chi2  # near the worst that chi^2 allows
    loader = make_loader(store, batch_size=960, seed=7, **options)
    means = np.array([features[ids_of(loader)].mean() for _ in range(num_epochs)])
    measured = (means - features.mean()) / features.std()
    error = measured.std(ddof=1) / np.sqrt(num_epochs)
    assert error < 0.005 * predicted
    assert measured.mean() == pytest.approx(predicted, rel=0.02)
