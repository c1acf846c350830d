"""Tiny populations and every outcome of a sampler on them: what the formulas of SAMPLING.md are compared with."""

import itertools
from dataclasses import dataclass

import numpy as np

EXACT = 1e-12
SUMMED = 1e-9
"""Relative tolerance of closed forms of long sums, whose terms cancel."""


def difference(found, expected):
    """Greatest deviation, relative to the greatest expected value (or to 1 if all are tiny)."""
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    assert found.shape == expected.shape
    scale = np.abs(expected).max()
    return np.abs(found - expected).max() / (scale if scale > 1e-6 else 1)


def assert_equal(found, expected, tolerance=EXACT):
    assert difference(found, expected) <= tolerance


def assert_rejected(wrong, expected, tolerance=EXACT):
    """The plausible wrong formula fails `assert_equal`, and not by a hair."""
    assert difference(wrong, expected) > 1000 * tolerance


@dataclass(frozen=True)
class Outcomes:
    """Every batch a sampler may give, row by row, and how likely it is."""

    probability: np.ndarray
    """Shape (O,)."""
    frame_ids: np.ndarray
    """Shape (O, B)."""

    @classmethod
    def of(cls, pairs):
        """From (probability, frame ids)."""
        probabilities, frame_ids = zip(*pairs, strict=True)
        outcomes = cls(np.array(probabilities), np.array(frame_ids))
        assert abs(outcomes.probability.sum() - 1) < 1e-12
        return outcomes

    @classmethod
    def equally_likely(cls, frame_ids):
        """From batches alone."""
        frame_ids = np.asarray(frame_ids)
        return cls(np.full(len(frame_ids), 1 / len(frame_ids)), frame_ids)

    @property
    def batch_size(self):
        return self.frame_ids.shape[1]

    def law(self, num_frames):
        """Share of the slots that each frame fills."""
        weights = np.repeat(self.probability / self.batch_size, self.batch_size)
        return np.bincount(self.frame_ids.ravel(), weights, minlength=num_frames)

    def mean(self, frames):
        return self.probability @ frames[self.frame_ids].mean(1)

    def variance(self, frames):
        """Trace of the covariance of the batch's mean."""
        means = frames[self.frame_ids].mean(1)
        return self.probability @ ((means - self.probability @ means) ** 2).sum(1)

    def coincidence(self, group_of_frame):
        """Probability that two distinct slots lie in one group."""
        groups = group_of_frame[self.frame_ids]
        same = (groups[:, :, None] == groups[:, None, :]).sum((1, 2)) - self.batch_size
        return self.probability @ same / (self.batch_size * (self.batch_size - 1))


class Population:
    """Frames with values in D dimensions, in shards whose means depend on their sizes."""

    def __init__(self, shard_sizes, *, seed=0, dimensions=3):
        chance = np.random.default_rng(seed)
        self.sizes = np.array(shard_sizes)
        self.shard_of_frame = np.repeat(np.arange(len(self.sizes)), self.sizes)
        shard_values = chance.normal(size=(len(self.sizes), dimensions))
        shard_values += (self.sizes - self.sizes.mean())[:, None] * chance.normal(size=dimensions)
        self.frames = (
            2 + shard_values[self.shard_of_frame] + chance.normal(size=(self.num_frames, dimensions))
        )

    @property
    def num_frames(self):
        return int(self.sizes.sum())

    @property
    def num_shards(self):
        return len(self.sizes)

    @property
    def share(self):
        return self.sizes / self.num_frames

    @property
    def mean(self):
        return self.frames.mean(0)

    @property
    def variance(self):
        return ((self.frames - self.mean) ** 2).sum(1).mean()

    @property
    def by_shard(self):
        return np.split(self.frames, np.cumsum(self.sizes)[:-1])

    @property
    def shard_means(self):
        return np.array([frames.mean(0) for frames in self.by_shard])

    @property
    def shard_variances(self):
        return np.array([((frames - frames.mean(0)) ** 2).sum(1).mean() for frames in self.by_shard])

    @property
    def between(self):
        """Variance of the shard means, by size."""
        return self.share @ ((self.shard_means - self.mean) ** 2).sum(1)

    def ids_of(self, shard):
        return np.flatnonzero(self.shard_of_frame == shard).tolist()


def whole_batches(epochs, batch_size):
    """Every whole batch of equally likely epochs, frame ids of shape (E, N)."""
    num_batches = np.shape(epochs)[1] // batch_size
    batches = np.asarray(epochs)[:, : num_batches * batch_size].reshape(-1, batch_size)
    return Outcomes.equally_likely(batches)


def shuffled_blocks(streams, block_frames):
    """Every epoch that a shuffle within blocks makes of equally likely streams, frame ids of shape (S, N)."""
    streams = np.asarray(streams)
    num_frames = streams.shape[1]
    blocks = [
        range(start, min(start + block_frames, num_frames)) for start in range(0, num_frames, block_frames)
    ]
    shuffles = itertools.product(*map(itertools.permutations, blocks))
    places = np.array([list(itertools.chain(*shuffled)) for shuffled in shuffles])
    return streams[:, places].reshape(-1, num_frames)


def shard_visits(
    population,
    shard_probability,
    *,
    num_visits,
    frames_per_visit,
    shards_again=True,
    frames_again=False,
    drawn=None,
):
    """Batches of visits: shards drawn independently, or (`shards_again=False`, equal probabilities) all different, or
    as `drawn` has (probability, shards); frames of a visit all different, or (`frames_again`) independent."""
    within = []
    for shard in range(population.num_shards):
        choose = itertools.product(population.ids_of(shard), repeat=frames_per_visit)
        if not frames_again:
            choose = itertools.permutations(population.ids_of(shard), frames_per_visit)
        within.append(list(choose))
    shards = range(population.num_shards)
    if drawn is not None:
        pass
    elif shards_again:
        drawn = [
            (np.prod([shard_probability[shard] for shard in visited]), visited)
            for visited in itertools.product(shards, repeat=num_visits)
        ]
    else:
        visits = list(itertools.permutations(shards, num_visits))
        drawn = [(1 / len(visits), visited) for visited in visits]
    return Outcomes.of(
        (probability / np.prod([len(within[shard]) for shard in visited]), sum(frames, ()))
        for probability, visited in drawn
        for frames in itertools.product(*(within[shard] for shard in visited))
    )


class _ScriptedChance:
    """Replaces `random.Random`: `randint` returns the given choices, then the lowest ones."""

    def __init__(self, choices):
        self.choices = list(choices)
        self.numbers = []

    def randint(self, lowest, highest):
        assert lowest == 0
        if len(self.numbers) == len(self.choices):
            self.choices.append(0)
        self.numbers.append(highest + 1)
        return self.choices[len(self.numbers) - 1]


def buffer_outcomes(num_items, *, shuffle_buffer, initial):
    """Every order in which `webdataset.shuffle` itself may give 0, ..., num_items - 1."""
    import webdataset

    pairs, choices = [], []
    while True:
        chance = _ScriptedChance(choices)
        shuffled = webdataset.shuffle(shuffle_buffer, initial=initial, rng=chance)(iter(range(num_items)))
        pairs.append((list(shuffled), 1 / np.prod(chance.numbers)))
        choices = chance.choices
        while choices and choices[-1] == chance.numbers[len(choices) - 1] - 1:
            choices.pop()
        if not choices:
            return Outcomes.of((probability, order) for order, probability in pairs)
        choices[-1] += 1


def every_whole_clip(video_sizes, clip_frames, stride):
    """Every whole window, video by video: frame ids, int64, shape (M, T). Ids go on from video to video."""
    first_id, clips = 0, []
    for size in video_sizes:
        for start in range(size):
            clip = [start + slot * stride for slot in range(clip_frames)]
            if clip[-1] < size:
                clips.append([first_id + frame for frame in clip])
        first_id += size
    return np.array(clips, np.int64).reshape(-1, clip_frames)


def law_of_clips(clips, num_frames):
    """Share of the slots of equally likely clips that each frame fills, shape (num_frames,)."""
    return np.bincount(clips.ravel(), minlength=num_frames) / clips.size
