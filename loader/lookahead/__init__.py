"""Reads ahead for stores that decode: which frames of the next batches are decoded together."""

from loader.lookahead.checks import check_lookahead
from loader.lookahead.continued import BatchReads, ContinuedReads, LookaheadReads, Reads
from loader.lookahead.prefetcher import Prefetcher, batches_on_their_way
from loader.lookahead.reader import read_sources_with_lookahead, read_with_lookahead
from loader.lookahead.shard_feeds import ShardFeeds

__all__ = [
    "BatchReads",
    "ContinuedReads",
    "LookaheadReads",
    "Prefetcher",
    "Reads",
    "ShardFeeds",
    "batches_on_their_way",
    "check_lookahead",
    "read_sources_with_lookahead",
    "read_with_lookahead",
]
