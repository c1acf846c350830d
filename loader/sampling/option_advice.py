"""Advice on options that do not exist: names from other loaders and misspelt names, answered with our own names."""

import difflib
from collections.abc import Container, Iterable
from typing import Final

_AUGMENT = (
    "FrameLoader and make_dataloader take augment=, a loader.Augmentation or a callable on the uint8 batch"
)
_BUFFER = "sampling='block', shards_per_block= shuffles the frames of some shards at a time"
_CLIP = "clip_frames= is the length of a clip, and frame_offsets= takes any offsets"
_COLLATE = "batches are FrameBatch; torch's DataLoader collates as you like, over loader.FrameDataset(store)"
_DEVICE = "FrameLoader and make_dataloader take device="
_EVERY_WORKER = "order and loader.Augmentation are functions of seed and epoch, so workers need no seed"
_DTYPE = (
    "batches are uint8; augment= converts them: a loader.Augmentation has a dtype, a callable returns any"
)
_EPOCH = "one iteration is one epoch; the loop over them is yours"
_FRAME_LOADER = "FrameLoader(store, ...) has this option"
_OFFSETS = "frame_offsets= and column_offsets= take the offsets of a window, such as (-1, 0) and {'action': range(16)}"
_RANK = "rank= and world_size= choose the share of an epoch that this process reads"
_SAMPLER = "sampling= chooses the order; torch's DataLoader takes your own sampler, over FrameDataset(store)"
_SEED = "seed= determines the order"
_SHUFFLE = "sampling='permutation', the default, shuffles all frames; sampling='sequential' does not"
_STRATIFIED = (
    "sampling='stratified' spreads each batch evenly over videos and times; strata= says what it goes by"
)
_SIZE = "frames have the size they are stored in (cache-build --size); augment= crops and resizes them"
_STORE = "the first argument is the store, or the path of a cache"
_STORE_PART = (
    "frame_store.split(store, {'train': 0.9, 'val': 0.1}) gives a view for each part; loaders take views"
)
_THREADS = (
    "FrameLoader reads with num_threads= threads; loader.make_dataloader(store, num_workers=) with processes"
)

ADVICE = {
    # torch's DataLoader, StatefulDataLoader, DistributedSampler
    "batch_sampler": _SAMPLER,
    "stratify": _STRATIFIED,
    "stratified": _STRATIFIED,
    "collate_fn": _COLLATE,
    "dataset": _STORE,
    "drop_last": "remainder='drop' drops a last step that is not whole, 'uneven' keeps it, 'pad' fills it up",
    "generator": _SEED,
    "in_order": "batches always come in order",
    "multiprocessing_context": "loader.make_dataloader starts worker processes, and takes it",
    "num_replicas": _RANK,
    "num_workers": _THREADS,
    "persistent_workers": "workers of loader.make_dataloader always stay; threads live as long as an iteration",
    "pin_memory_device": _DEVICE,
    "prefetch_factor": "FrameLoader takes read_ahead=, the batches read beyond the one handed out",
    "replacement": "sampling='iid' draws with replacement, sampling='permutation' without",
    "sampler": _SAMPLER,
    "shuffle": _SHUFFLE,
    "snapshot_every_n_steps": "state_dict() is exact after every batch",
    "timeout": "there is none: an error of the store is raised in the place of its batch",
    "worker_init_fn": _EVERY_WORKER,
    # torchvision's datasets, and how others call a clip
    "clip_len": _CLIP,
    "clip_length": _CLIP,
    "sequence_length": _CLIP,
    "frames_per_clip": _CLIP,
    "step_between_clips": "every whole window is a clip; clip_stride= is the distance between the frames of one",
    "delta_timestamps": "frame_offsets_seconds= and column_offsets_seconds= take offsets in seconds",
    "delta_indices": _OFFSETS,
    "window": _OFFSETS,
    "horizon": _OFFSETS,
    "n_obs_steps": _OFFSETS,
    "tolerance_s": "tolerance_seconds=",
    "target_transform": _AUGMENT,
    "transform": _AUGMENT,
    "transforms": _AUGMENT,
    "image_size": _SIZE,
    "resize": _SIZE,
    "root": _STORE,
    "size": _SIZE,
    "split": _STORE_PART,
    "train": _STORE_PART,
    # FFCV, DALI, webdataset, fastai, Lightning
    "after_batch": _AUGMENT,
    "augmentation": _AUGMENT,
    "bs": "batch_size=",
    "buffer_size": _BUFFER,
    "cache": _STORE,
    "distributed": _RANK,
    "dtype": _DTYPE,
    "epochs": _EPOCH,
    "max_epochs": _EPOCH,
    "num_epochs": _EPOCH,
    "num_shards": _RANK,
    "order": _SHUFFLE,
    "os_cache": "frame_store.open_store(path, reads=) chooses how files are read",
    "path": _STORE,
    "pipelines": _AUGMENT,
    "prefetch": "FrameLoader takes read_ahead=, the batches read beyond the one handed out",
    "random_shuffle": _SHUFFLE,
    "random_seed": _SEED,
    "random_state": _SEED,
    "shard_id": _RANK,
    "shardshuffle": _SHUFFLE,
    "shuffle_buffer": _BUFFER,
    "shuffle_buffer_size": _BUFFER,
    "shuffle_seed": _SEED,
    # Our own options, given to another of our loaders
    "augment": _AUGMENT,
    "cameras": _FRAME_LOADER,
    "columns": _FRAME_LOADER,
    "context": "multiprocessing_context= chooses how workers start",
    "device": _DEVICE,
    "jpeg_decode": _FRAME_LOADER,
    "lookahead": _FRAME_LOADER,
    "lookahead_bytes": _FRAME_LOADER,
    "next_epoch": _FRAME_LOADER,
    "num_threads": _FRAME_LOADER,
    "pin_memory": _FRAME_LOADER,
    "read_ahead": _FRAME_LOADER,
    "shared_augment": _FRAME_LOADER,
    "stack_cameras": _FRAME_LOADER,
}
"""By the name of an option that our loaders do not have: what to use instead."""


_SURELY_ALIKE: Final = 0.85
"""Similarity from which a name is taken for a misspelt name of `ADVICE`. A lower one would give wrong advice on names
that only look alike (num_epochs, num_shards)."""


def advice_on(name: str, known: Iterable[str], *, shared: Container[str]) -> str:
    """What to give instead of an option that is not in `known`; `shared` are the options that all loaders share."""
    if name in shared:
        return "FrameLoader, FrameBatchSampler and make_dataloader take it"
    if name in ADVICE:
        return ADVICE[name]
    options = sorted(known)
    misspelt = difflib.get_close_matches(name.lower(), ADVICE, n=1, cutoff=_SURELY_ALIKE)
    nearest = difflib.get_close_matches(name.lower(), [*options, *misspelt], n=1)
    if not nearest:
        return f"it takes {', '.join(options)}"
    return f"did you mean {nearest[0]}=?" if nearest[0] in options else ADVICE[nearest[0]]
