"""The order of an epoch as a pure function: (shard sizes, sampling, seed, epoch) -> frame id at each position."""

from collections.abc import Callable
from typing import Final

import numpy.typing as npt

from loader.errors import SamplingError
from loader.sampling.orders.base import EpochOrder, Int64s, check_shard_sizes
from loader.sampling.orders.blocks import BlockOrder
from loader.sampling.orders.nested import NestedOrder
from loader.sampling.orders.permutation import NUM_ROUNDS
from loader.sampling.orders.random_words import Words, epoch_keys
from loader.sampling.orders.shard_visits import ShardVisitOrder, ShortShards
from loader.sampling.orders.single_frames import IidOrder, PermutationOrder, SequentialOrder
from loader.sampling.orders.strata import StratumOrder
from loader.sampling.orders.weighted import (
    WeightedFrames,
    WeightedIidOrder,
    WeightedStratifiedOrder,
    WeightedVisitOrder,
)
from loader.sampling.spec import SamplingSpec

_EVERY_FRAME_ALIKE = SamplingSpec()


def epoch_order(
    shard_sizes: npt.ArrayLike,
    spec: SamplingSpec = _EVERY_FRAME_ALIKE,
    *,
    seed: int = 0,
    epoch: int = 0,
    short_shards: ShortShards = "refuse",
    frames: WeightedFrames | None = None,
    strata: StratumOrder | None = None,
) -> EpochOrder:
    """The order of one epoch over shards of `shard_sizes` frames, shape (S,).

    `short_shards` says what `shards` does with a shard of fewer frames than a visit draws; see `ShortShards`. `frames`
    has the frames and weights of a store, where `spec` names weights. `strata` has the frames of a store by time or by
    content, where the sampling is `stratified` without weights.

    >>> epoch_order([3, 2], SamplingSpec(sampling="sequential")).ids(1, 4).tolist()
    [1, 2, 3]
    >>> sorted(epoch_order([3, 2], seed=7, epoch=1).ids(0, 5).tolist())
    [0, 1, 2, 3, 4]

    Raises:
        SamplingError: no frames, a visit longer than the smallest shard, more shards in a block than there
            are, a seed or epoch outside [0, 2**32), or weights or strata without the frames that they need.
    """
    return order_over(
        check_shard_sizes(shard_sizes),
        spec,
        seed=seed,
        epoch=epoch,
        short_shards=short_shards,
        frames=frames,
        strata=strata,
    )


def order_over(
    sizes: Int64s,
    spec: SamplingSpec,
    *,
    seed: int,
    epoch: int,
    short_shards: ShortShards = "refuse",
    frames: WeightedFrames | None = None,
    strata: StratumOrder | None = None,
) -> EpochOrder:
    """`epoch_order` over sizes that `check_shard_sizes` has returned."""
    keys = epoch_keys(seed=seed, epoch=epoch, num_keys=NUM_ROUNDS)
    if (spec.weights is None) != (frames is None):
        raise SamplingError("an order by weights needs the frames of the store that the weights are for")
    if frames is not None:
        if spec.sampling == "iid":
            return WeightedIidOrder(frames, keys)
        if spec.sampling == "stratified":
            return WeightedStratifiedOrder(frames, spec, keys)
        return WeightedVisitOrder(frames, spec, keys)
    if spec.sampling == "stratified":
        if strata is None:
            raise SamplingError(
                "an order by strata needs the frames of the store that it is for; "
                "FrameBatchSampler(store, sampling='stratified') has them"
            )
        return NestedOrder(int(sizes.sum()), keys, strata.ids_at)
    return _ORDERS[spec.sampling](sizes, spec, keys, short_shards)


_ORDERS: Final[dict[str, Callable[[Int64s, SamplingSpec, Words, ShortShards], EpochOrder]]] = {
    "sequential": lambda sizes, _spec, _keys, _short: SequentialOrder(int(sizes.sum())),
    "permutation": lambda sizes, _spec, keys, _short: PermutationOrder(int(sizes.sum()), keys),
    "iid": lambda sizes, _spec, keys, _short: IidOrder(int(sizes.sum()), keys),
    "block": lambda sizes, spec, keys, _short: BlockOrder(sizes, spec, keys),
    "shards": lambda sizes, spec, keys, short: ShardVisitOrder(sizes, spec, keys, short_shards=short),
}
