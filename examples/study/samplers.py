"""The eight samplers of the study, and their real batches."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.protocol import FrameStore
from frame_store.views import base_of
from loader import FrameBatchSampler, SamplingSpec, epoch_order

Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StudySampler:
    """One way to draw batches."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of `FrameLoader`. For `naive` the shards are the videos."""
    by_video: bool = False
    """Whether this is the naive way: draw a video, each with the same probability, then one of its frames."""


IID = StudySampler(name="i.i.d.", options={"sampling": "iid"})
PERMUTATION = StudySampler(name="permutation", options={"sampling": "permutation"})
BY_TIME = StudySampler(name="stratified, time", options={"sampling": "stratified", "strata": "time"})
BY_CONTENT = StudySampler(name="stratified, content", options={"sampling": "stratified", "strata": "content"})
SHARDS = StudySampler(name="shards, 8 a visit", options={"sampling": "shards", "frames_per_visit": 8})
BLOCK = StudySampler(name="block of 4 shards", options={"sampling": "block", "shards_per_block": 4})
NAIVE = StudySampler(name="naive, by video", by_video=True)
SEQUENTIAL = StudySampler(name="sequential", options={"sampling": "sequential"})
SAMPLERS = (IID, PERMUTATION, BY_TIME, BY_CONTENT, SHARDS, BLOCK, NAIVE, SEQUENTIAL)
"""From the usual reference to the cheapest way to read."""

NAIVE_SPEC = SamplingSpec(sampling="shards", frames_per_visit=1, shard_choice="uniform")


def epochs_of(
    sampler: StudySampler, store: FrameStore, *, batch_size: int, seed: int = 0
) -> Iterator[list[Ids]]:
    """The batches of epoch 0, 1, ... without end: ids, int64 (B,) each; the last of `sequential` may be shorter."""
    if sampler.by_video:
        yield from _naive_epochs(store, batch_size, seed)
        return
    with warnings.catch_warnings():
        # Held-out frames leave few frames in some shards. Visits there may draw a frame twice, which biases nothing.
        warnings.simplefilter("ignore")
        batches = FrameBatchSampler(
            store, batch_size=batch_size, seed=seed, rank=0, world_size=1, **sampler.options
        )
    while True:
        yield [np.asarray(ids, np.int64) for ids in batches]


def samplers_for(store: FrameStore) -> list[StudySampler]:
    """The samplers that `store` takes: a cache without a content order has no strata by content."""
    has_content = getattr(base_of(store), "content_digest", None) is not None
    return [sampler for sampler in SAMPLERS if has_content or sampler is not BY_CONTENT]


def steps_of(sampler: StudySampler, store: FrameStore, *, batch_size: int, seed: int) -> Iterator[Ids]:
    """The batches of all epochs, one after the other."""
    for epoch in epochs_of(sampler, store, batch_size=batch_size, seed=seed):
        yield from epoch


def sizes_of_videos(store: FrameStore) -> Ids:
    """Frames of each video that has some: int64 (V,)."""
    return np.array([len(ids) for ids in _ids_of_videos(store)])


def ids_by_video(store: FrameStore) -> Ids:
    """All ids, video by video and in time order: int64 (N,)."""
    return np.concatenate(_ids_of_videos(store))


def _ids_of_videos(store: FrameStore) -> list[Ids]:
    found = [np.asarray(store.ids_of_video(video), np.int64) for video in range(len(store.videos))]
    return [ids for ids in found if len(ids)]


def _naive_epochs(store: FrameStore, batch_size: int, seed: int) -> Iterator[list[Ids]]:
    """The loader's own naive order, over videos in the place of shards."""
    ids = ids_by_video(store)
    sizes = sizes_of_videos(store)
    epoch = 0
    while True:
        order = epoch_order(sizes, NAIVE_SPEC, seed=seed, epoch=epoch)
        num_batches = max(1, len(order) // batch_size)
        yield list(ids[order.ids(0, min(len(order), num_batches * batch_size))].reshape(num_batches, -1))
        epoch += 1
