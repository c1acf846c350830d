"""Batches out of frame stores. Importing it costs the standard library and numpy; torch comes at first use."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names
from loader.augment import ColorJitter, Normalize, RandomResizedCrop
from loader.errors import AugmentationError, SamplingError
from loader.sampling import Sampling, SamplingSpec, ShardChoice
from loader.sampling.orders import EpochOrder, epoch_order

if TYPE_CHECKING:
    from loader.augment import Augmentation, AugmentParameters, exercise_augmentation
    from loader.batches import FrameBatch
    from loader.frame_loader import FrameLoader
    from loader.sampling import UnshardedWarning, rank_and_world_size
    from loader.torch_loader import (
        FrameBatchSampler,
        FrameDataset,
        WorkerLoader,
        frame_batch_collate,
        make_dataloader,
    )
    from loader.webdataset import webdataset_batches

__all__ = [
    "AugmentParameters",
    "Augmentation",
    "AugmentationError",
    "ColorJitter",
    "EpochOrder",
    "FrameBatch",
    "FrameBatchSampler",
    "FrameDataset",
    "FrameLoader",
    "Normalize",
    "RandomResizedCrop",
    "Sampling",
    "SamplingError",
    "SamplingSpec",
    "ShardChoice",
    "UnshardedWarning",
    "WorkerLoader",
    "epoch_order",
    "exercise_augmentation",
    "frame_batch_collate",
    "make_dataloader",
    "rank_and_world_size",
    "webdataset_batches",
]

__getattr__ = lazy_names(
    __name__,
    {
        "loader.augment.draw": ["AugmentParameters"],
        "loader.augment.augmentation": ["Augmentation", "exercise_augmentation"],
        "loader.batches.frame_batch": ["FrameBatch"],
        "loader.torch_loader.dataset": ["FrameBatchSampler", "FrameDataset", "frame_batch_collate"],
        "loader.frame_loader": ["FrameLoader"],
        "loader.sampling.ranks": ["UnshardedWarning", "rank_and_world_size"],
        "loader.torch_loader.worker_loader": ["WorkerLoader", "make_dataloader"],
        "loader.webdataset": ["webdataset_batches"],
    },
)
