"""The mean gradient of a tiny model over real batches, against the gradient over all frames.

Hotelling's T^2 with the exact covariance of a batch's mean under the sampler's own law, at 1e-6 false alarms a test.
"""

import itertools
import warnings

import numpy as np
import pytest
import torch

from loader import FrameLoader, SamplingSpec
from loader.bias.distributions.every_sampling import sampling_law
from loader.bias.report import bias_of_features
from loader.sampling.orders import NestedTree
from loader.sampling.orders.blocks import frames_per_block
from tests.support.caches.array_store import ArrayStore
from tests.support.statistics.chi_squared import ALPHA
from tests.support.statistics.spread_orders import spread_shards
from tests.support.statistics.statistics import critical_value, hotelling_p_value, hotelling_power, power

SIZES = np.array([10, 12, 14, 16, 18, 22])
NUM_FRAMES = int(SIZES.sum())
SHARD_OF = np.repeat(np.arange(len(SIZES)), SIZES)
BATCH_SIZE = 12
FRAMES_PER_VISIT = 3
VISITS = {"sampling": "shards", "frames_per_visit": FRAMES_PER_VISIT}
NAIVE_VISITS = {**VISITS, "shard_choice": "uniform"}
THETA = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
"""Where the model stands; it does not move."""
NUM_BATCHES = 1000


class LabelledStore(ArrayStore):
    """Frames whose second row of pixels spells three inputs and a label; both have to do with the shard's size."""

    def __init__(self):
        super().__init__(SIZES)
        chance = np.random.default_rng(1)
        centre = (300 / SIZES)[SHARD_OF, None] * [4.0, 1.0, 0.0] + 60
        self.inputs = np.clip(centre + chance.normal(scale=25, size=(NUM_FRAMES, 3)), 0, 255).astype(np.uint8)
        self.labels = ((SIZES[SHARD_OF] < 15) ^ (chance.uniform(size=NUM_FRAMES) < 0.1)).astype(np.uint8)

    def read_frames(self, frame_ids, out=None):
        frames = super().read_frames(frame_ids, out)
        frames[:, 1, :3, 0], frames[:, 1, 3, 0] = self.inputs[frame_ids], self.labels[frame_ids]
        return frames


STORE = LabelledStore()


def gradient_of(frames):
    """Mean gradient of logistic regression over a batch's pixels, by autograd."""
    theta = THETA.clone().requires_grad_(True)
    inputs, labels = frames[:, 0, 1, :3].double() / 255, frames[:, 0, 1, 3].double()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(inputs @ theta, labels)
    loss.backward()
    return theta.grad.numpy()


def closed_form():
    """Gradient of every frame, (sigmoid(x theta) - y) x: shape (N, 3)."""
    inputs = STORE.inputs / 255
    residuals = 1 / (1 + np.exp(-inputs @ THETA.numpy())) - STORE.labels
    return residuals[:, None] * inputs


GRADIENTS = closed_form()
FULL = GRADIENTS.mean(0)
CENTRED = GRADIENTS - FULL
COVARIANCE = CENTRED.T @ CENTRED / NUM_FRAMES


def mean_gradient(num_batches, *, seed, one_batch_an_epoch=False, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="shard_choice='uniform' is biased")
        loader = FrameLoader(
            STORE, batch_size=BATCH_SIZE, seed=seed, num_threads=1, remainder="drop", **options
        )
    total = np.zeros(3)
    stop = 1 if one_batch_an_epoch else len(loader)
    batches = (batch for _ in itertools.count() for batch in itertools.islice(loader, stop))
    for batch in itertools.islice(batches, num_batches):
        total += gradient_of(batch.frames)
    return total / num_batches


def covariance_of_visits(shard_probability, *, are_spread=False):
    """Of a batch's mean: independent or spread visits, different frames of a shard in each."""
    centre = shard_probability @ np.array([CENTRED[shard == SHARD_OF].mean(0) for shard in range(len(SIZES))])
    total = np.zeros((3, 3))
    for shard, probability in enumerate(shard_probability):
        frames = CENTRED[shard == SHARD_OF]
        mean, size = frames.mean(0), len(frames)
        within = (frames - mean).T @ (frames - mean) / size
        of_mean = within / FRAMES_PER_VISIT * (size - FRAMES_PER_VISIT) / (size - 1)
        total += probability * (of_mean + np.outer(mean - centre, mean - centre))
    num_visits = BATCH_SIZE // FRAMES_PER_VISIT
    if are_spread:
        means = np.array([CENTRED[shard == SHARD_OF].mean(0) for shard in range(len(SIZES))]) - centre
        for shards, probability in spread_shards(shard_probability, num_visits).items():
            of_batch = means[list(shards)]
            squares = of_batch.T @ of_batch
            total += probability * (np.outer(of_batch.sum(0), of_batch.sum(0)) - squares) / num_visits
    return total / num_visits


def covariance_of_first_block_batch(shards_per_block):
    """Of the mean of an epoch's first batch, inside the first block: all orders of shards, cuts, and many coins."""
    block_frames = frames_per_block(SIZES, shards_per_block=shards_per_block)
    assert block_frames >= BATCH_SIZE
    ids = np.split(np.arange(NUM_FRAMES), np.cumsum(SIZES)[:-1])
    first, second = np.triu_indices(BATCH_SIZE, 1)
    lags = np.arange(1, block_frames)
    weights = np.zeros(block_frames)
    for seed in range(4000):
        places = NestedTree(block_frames, np.uint64(seed)).places_at(np.arange(BATCH_SIZE))
        np.add.at(weights, np.abs(places[first] - places[second]), 1 / (4000 * len(first)))
    weights = weights[1:]
    cross, orders = np.zeros((3, 3)), list(itertools.permutations(range(len(SIZES))))
    for order in orders:
        stream = CENTRED[np.concatenate([ids[shard] for shard in order])]
        later = sum(weight * np.roll(stream, -lag, axis=0) for lag, weight in zip(lags, weights, strict=True))
        cross += (stream.T @ later + later.T @ stream) / 2 / NUM_FRAMES
    return COVARIANCE / BATCH_SIZE + (1 - 1 / BATCH_SIZE) * cross / len(orders)


def law_by_shard(options):
    law = sampling_law(SIZES, SamplingSpec(**options), batch_size=BATCH_SIZE)
    return law.shard_probability


def test_pixels_give_the_gradients_of_the_closed_form():
    frames = torch.from_numpy(STORE.read_frames(np.arange(NUM_FRAMES))).movedim(-1, -3)
    by_frame = np.array([gradient_of(frame[None]) for frame in frames])
    assert by_frame == pytest.approx(GRADIENTS, abs=1e-12)
    assert gradient_of(frames) == pytest.approx(FULL, abs=1e-12)


UNBIASED = {
    "iid": ({"sampling": "iid"}, False, lambda: COVARIANCE / BATCH_SIZE),
    # The batches of an epoch depend on each other: one an epoch.
    "visits": (VISITS, True, lambda: covariance_of_visits(SIZES / NUM_FRAMES, are_spread=True)),
    "permutation": (
        {"sampling": "permutation"},
        True,
        lambda: COVARIANCE / BATCH_SIZE * (NUM_FRAMES - BATCH_SIZE) / (NUM_FRAMES - 1),
    ),
    "block": (
        {"sampling": "block", "shards_per_block": 1},
        True,
        lambda: covariance_of_first_block_batch(1),
    ),
}


@pytest.mark.parametrize(("options", "one_batch_an_epoch", "covariance"), UNBIASED.values(), ids=UNBIASED)
def test_the_mean_gradient_of_a_sampler_without_bias_is_the_full_gradient(
    options, one_batch_an_epoch, covariance
):
    of_mean = covariance() / NUM_BATCHES
    mean = mean_gradient(NUM_BATCHES, seed=1, one_batch_an_epoch=one_batch_an_epoch, **options)
    assert hotelling_p_value(mean, FULL, of_mean) > ALPHA
    # The test would find a bias of a fifth of a standard deviation of a frame's gradient, in any direction.
    worst = 0.2**2 * NUM_BATCHES * np.linalg.eigvals(np.linalg.solve(covariance(), COVARIANCE)).real.min()
    assert power(worst, 3) > 0.99


@pytest.mark.parametrize(("options", "one_batch_an_epoch", "covariance"), UNBIASED.values(), ids=UNBIASED)
def test_the_covariance_of_a_batch_is_the_one_that_the_test_stands_on(
    options, one_batch_an_epoch, covariance
):
    """With a covariance that is too large, any sampler would pass."""
    means = np.array(
        [mean_gradient(1, seed=seed, one_batch_an_epoch=one_batch_an_epoch, **options) for seed in range(600)]
    )
    values, vectors = np.linalg.eigh(covariance())
    whitened = (means - FULL) @ vectors / np.sqrt(values)
    squares = np.square(whitened).mean(0)
    assert squares == pytest.approx(1, abs=4 * np.square(whitened).std(0).max() / 600**0.5)


@pytest.mark.parametrize(
    "options", [{"sampling": "permutation"}, {"sampling": "block", "shards_per_block": 2}]
)
def test_the_mean_over_the_frames_of_a_whole_epoch_is_the_full_gradient_exactly(options):
    total = np.zeros(3)
    for batch in FrameLoader(STORE, batch_size=BATCH_SIZE, remainder="uneven", num_threads=1, **options):
        total += len(batch) * gradient_of(batch.frames)
    assert total / NUM_FRAMES == pytest.approx(FULL, abs=1e-12)


def test_the_naive_rule_is_caught_and_its_bias_is_the_predicted_one():
    null = covariance_of_visits(SIZES / NUM_FRAMES) / NUM_BATCHES
    probability = law_by_shard(NAIVE_VISITS)
    true = covariance_of_visits(probability) / NUM_BATCHES
    bias = (probability / SIZES)[SHARD_OF] @ CENTRED
    assert hotelling_power(bias, null, true) > 0.99
    law = sampling_law(SIZES, SamplingSpec(**NAIVE_VISITS), batch_size=BATCH_SIZE)
    sigma = np.sqrt(np.trace(COVARIANCE))
    assert bias_of_features(law, GRADIENTS, SHARD_OF) == pytest.approx(
        np.linalg.norm(bias) / sigma, rel=1e-12
    )
    for seed in range(3):
        mean = mean_gradient(NUM_BATCHES, seed=seed, **NAIVE_VISITS)
        assert hotelling_p_value(mean, FULL, null) < ALPHA
        assert hotelling_p_value(mean, FULL + bias, true) > ALPHA  # its own distribution fits
        assert hotelling_p_value(mean_gradient(NUM_BATCHES, seed=seed, **VISITS), FULL, null) > ALPHA
    assert bias @ np.linalg.solve(null, bias) > critical_value(3)
