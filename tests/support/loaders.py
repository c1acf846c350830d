"""The real loaders over stores in memory, and the frame ids of their batches."""

import warnings
from functools import partial

import numpy as np
from torch.utils.data import DataLoader

from loader import FrameBatchSampler, FrameDataset, FrameLoader, frame_batch_collate
from loader.windows import BatchRequest
from tests.support.caches.array_store import spelt_frame_ids


def request_of(frame_ids):
    """A request of the frames (B,), or of windows (B, T) that begin with their anchors, of a store that is no view."""
    ids = np.asarray(frame_ids, np.int64)
    anchors = ids[:, 0] if ids.ndim == 2 else ids
    return BatchRequest(frame_ids=anchors, anchor_cache_ids=anchors, cache_ids=ids)


def make_loader(store, **options):
    """`FrameLoader` with one thread, without the warning of the biased rule."""
    return make_sampler(store, make=partial(FrameLoader, num_threads=1), **options)


def make_sampler(store, *, make=FrameBatchSampler, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="shard_choice='uniform' is biased")
        return make(store, **options)


def ids_of(batches):
    """Ids of the frames shown, by position, checked against the pixels."""
    ids = []
    for batch in batches:
        ids.append(batch.cache_ids.numpy())
        assert np.array_equal(spelt_frame_ids(batch.frames.flatten(0, -4)), ids[-1].ravel())
    return np.concatenate(ids) if ids else np.zeros(0, np.int64)


def drawn_by_workers(store, num_workers, num_epochs, **options):
    sampler = FrameBatchSampler(store, batch_size=48, seed=3, **options)
    batches = DataLoader(
        FrameDataset(store),
        batch_sampler=sampler,
        collate_fn=frame_batch_collate,
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
        persistent_workers=num_workers > 0,
    )
    return np.concatenate([ids_of(batches) for _ in range(num_epochs)])
