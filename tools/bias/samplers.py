"""The samplers that `cache-bias` compares, with options that fit the shards of a case."""

from frame_cache_tools.bias.cases import BiasCase
from frame_cache_tools.bias.views import is_one_cache

from frame_store import View
from frame_store.views import content_label
from loader import SamplingSpec, Weights
from loader.bias.webdataset import WebDatasetSpec


def candidates(
    case: BiasCase, *, batch_size: int, weights: Weights | None = None
) -> list[SamplingSpec | WebDatasetSpec]:
    """The samplers to compare, with options that fit the shards of the case."""
    sizes = case.shard_sizes[case.shard_sizes > 0]
    smallest = int(sizes.min())
    # In a view or a grown cache, visits to shards with few frames draw with replacement.
    may_be_short = isinstance(case.store, View) or case.has_grown
    few = largest_divisor(batch_size, at_most=8 if may_be_short else min(8, smallest))
    many = max(few, largest_divisor(batch_size, at_most=smallest))
    visits = [SamplingSpec(sampling="shards", frames_per_visit=m) for m in sorted({few, many})]
    stratified = [SamplingSpec(sampling="stratified")]
    if case.store is not None and content_label(case.store) is not None:
        stratified.append(SamplingSpec(sampling="stratified", strata="content"))
    if weights is not None:
        return [*stratified, SamplingSpec(sampling="iid"), *visits]
    specs: list[SamplingSpec | WebDatasetSpec] = [
        SamplingSpec(sampling="permutation"),
        *stratified,
        SamplingSpec(sampling="iid"),
    ]
    specs += [
        SamplingSpec(sampling="block", shards_per_block=blocks) for blocks in (4, 16) if blocks < len(sizes)
    ]
    specs += visits
    specs.append(  # what people often write first: a batch from one shard
        SamplingSpec(
            sampling="shards",
            frames_per_visit=batch_size,
            shard_choice="uniform",
            frames_with_replacement=smallest < batch_size,
        )
    )
    if case.store is None or is_one_cache(case.store):
        specs.append(WebDatasetSpec(shuffle_buffer=1000))
    specs.append(SamplingSpec(sampling="sequential"))
    return specs


def largest_divisor(number: int, *, at_most: int) -> int:
    """The largest divisor of `number` that is at most `at_most`.

    >>> largest_divisor(128, at_most=100)
    64
    """
    return max(divisor for divisor in range(1, min(number, at_most) + 1) if number % divisor == 0)
