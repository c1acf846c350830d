"""Design effects measured on every outcome, reports of tiny populations, and every epoch of a sampler."""

import itertools

from loader import SamplingSpec
from loader.bias_report import make_report
from loader.block_order import frames_per_block
from tests.support.enumeration import Outcomes
from tests.support.laws import law_of


def measured_design_effect(outcomes, population):
    return outcomes.batch_size * outcomes.variance(population.frames) / population.variance


def mean_square_effect(outcomes, population):
    means = population.frames[outcomes.frame_ids].mean(1) - population.mean
    return outcomes.batch_size * (outcomes.probability @ (means**2).sum(1)) / population.variance


def report_of(population, *, features=None, **options):
    where = {name: options.pop(name) for name in ("batch_size", "world_size", "remainder") if name in options}
    law = law_of(population.sizes, **where, **options)
    features = population.frames if features is None else features
    return make_report(law, SamplingSpec(**options), population.sizes, rho=None, features=features)


def every_epoch(population, spec):
    """(probability, frame ids of a whole epoch) of a permutation or a rotated block shuffle."""
    num_frames = population.num_frames
    if spec["sampling"] == "permutation":
        orders = list(itertools.permutations(range(num_frames)))
        return [(1 / len(orders), order) for order in orders]
    block_frames = frames_per_block(population.sizes, shards_per_block=spec["shards_per_block"])
    found = []
    shard_orders = list(itertools.permutations(range(population.num_shards)))
    for order, cut in itertools.product(shard_orders, range(num_frames)):
        circle = [frame for shard in order for frame in population.ids_of(shard)]
        stream = circle[cut:] + circle[:cut]
        blocks = [stream[start : start + block_frames] for start in range(0, num_frames, block_frames)]
        shuffles = list(itertools.product(*map(itertools.permutations, blocks)))
        weight = 1 / (len(shard_orders) * num_frames * len(shuffles))
        found += [(weight, sum(shuffled, ())) for shuffled in shuffles]
    return found


def global_batches(epochs, slots):
    return Outcomes.of(
        (probability / (len(epoch) // slots), epoch[step * slots :][:slots])
        for probability, epoch in epochs
        for step in range(len(epoch) // slots)
    )
