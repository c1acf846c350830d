"""Design effects measured on every outcome, reports of tiny populations, and every epoch of a sampler."""

import itertools

from loader import SamplingSpec
from loader.bias.report import make_report
from loader.sampling.orders.blocks import frames_per_block
from tests.support.statistics.laws import law_of
from tests.support.statistics.spread_orders import nested_blocks


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
    """Equally likely epochs of a permutation or of nested blocks on a turned circle: frame ids, shape (E, N)."""
    num_frames = population.num_frames
    if spec["sampling"] == "permutation":
        return list(itertools.permutations(range(num_frames)))
    streams = []
    shard_orders = itertools.permutations(range(population.num_shards))
    for order, cut in itertools.product(shard_orders, range(num_frames)):
        circle = [frame for shard in order for frame in population.ids_of(shard)]
        streams.append(circle[cut:] + circle[:cut])
    block_frames = frames_per_block(population.sizes, shards_per_block=spec["shards_per_block"])
    return nested_blocks(streams, block_frames)
