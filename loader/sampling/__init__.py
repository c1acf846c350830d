"""Which frame comes when: options, orders, the slice of a rank, batches of ids, the place in an epoch. No torch."""

from loader.sampling.options import WINDOW_OPTIONS, BatchOptions, Edges, frames_of_visit, takes_options
from loader.sampling.plan import BatchPlan, plan_batches, plan_store
from loader.sampling.rank_slice import RankSlice, Remainder
from loader.sampling.ranks import rank_and_world_size
from loader.sampling.resume import EpochCursor, Iteration, LoaderState, Place, plan_epochs
from loader.sampling.spec import Sampling, SamplingSpec, ShardChoice, Strata
from loader.sampling.weights import VideoWeights, Weights, video_weights

__all__ = [
    "WINDOW_OPTIONS",
    "BatchOptions",
    "BatchPlan",
    "Edges",
    "EpochCursor",
    "Iteration",
    "LoaderState",
    "Place",
    "RankSlice",
    "Remainder",
    "Sampling",
    "SamplingSpec",
    "ShardChoice",
    "Strata",
    "VideoWeights",
    "Weights",
    "frames_of_visit",
    "plan_batches",
    "plan_epochs",
    "plan_store",
    "rank_and_world_size",
    "takes_options",
    "video_weights",
]
