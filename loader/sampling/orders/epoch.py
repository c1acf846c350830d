"""The order of an epoch as a pure function: (shard sizes, sampling, seed, epoch) -> frame id at each position."""

import numpy.typing as npt

from loader.sampling.orders.base import EpochOrder, Int64s, check_shard_sizes
from loader.sampling.orders.blocks import BlockOrder
from loader.sampling.orders.permutation import NUM_ROUNDS
from loader.sampling.orders.random_words import epoch_keys
from loader.sampling.orders.shard_visits import ShardVisitOrder
from loader.sampling.orders.single_frames import IidOrder, PermutationOrder, SequentialOrder
from loader.sampling.spec import SamplingSpec

_EVERY_FRAME_ALIKE = SamplingSpec()


def epoch_order(
    shard_sizes: npt.ArrayLike,
    spec: SamplingSpec = _EVERY_FRAME_ALIKE,
    *,
    seed: int = 0,
    epoch: int = 0,
) -> EpochOrder:
    """The order of one epoch over shards of `shard_sizes` frames, shape (S,).

    >>> epoch_order([3, 2], SamplingSpec(sampling="sequential")).ids(1, 4).tolist()
    [1, 2, 3]
    >>> sorted(epoch_order([3, 2], seed=7, epoch=1).ids(0, 5).tolist())
    [0, 1, 2, 3, 4]

    Raises:
        SamplingError: no frames, a visit longer than the smallest shard, more shards in a block than there
            are, or a seed or epoch outside [0, 2**32).
    """
    return order_over(check_shard_sizes(shard_sizes), spec, seed=seed, epoch=epoch)


def order_over(sizes: Int64s, spec: SamplingSpec, *, seed: int, epoch: int) -> EpochOrder:
    """`epoch_order` over sizes that `check_shard_sizes` has returned."""
    num_frames = int(sizes.sum())
    keys = epoch_keys(seed=seed, epoch=epoch, num_keys=NUM_ROUNDS)
    if spec.sampling == "sequential":
        return SequentialOrder(num_frames)
    if spec.sampling == "permutation":
        return PermutationOrder(num_frames, keys)
    if spec.sampling == "iid":
        return IidOrder(num_frames, keys)
    if spec.sampling == "block":
        return BlockOrder(sizes, spec, keys)
    return ShardVisitOrder(sizes, spec, keys)
