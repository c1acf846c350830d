"""Batches out of frame stores. Importing it loads the standard library and numpy; torch is loaded at first use."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names
from loader.errors import AugmentationError, SamplingError, UnshardedWarning
from loader.sampling import (
    BatchOptions,
    Sampling,
    SamplingSpec,
    ShardChoice,
    Strata,
    Weights,
    rank_and_world_size,
)
from loader.sampling.orders import EpochOrder, epoch_order

if TYPE_CHECKING:
    from loader.augment import (
        Augmentation,
        AugmentParameters,
        ColorJitter,
        Normalize,
        RandomResizedCrop,
        exercise_augmentation,
    )
    from loader.batches import CameraBatch, FrameBatch
    from loader.columns import join_columns
    from loader.frame_loader import FrameLoader
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
    "BatchOptions",
    "CameraBatch",
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
    "Strata",
    "UnshardedWarning",
    "Weights",
    "WorkerLoader",
    "epoch_order",
    "exercise_augmentation",
    "frame_batch_collate",
    "join_columns",
    "make_dataloader",
    "rank_and_world_size",
    "webdataset_batches",
]

__getattr__ = lazy_names(
    __name__,
    {
        "loader.augment": [
            "AugmentParameters",
            "Augmentation",
            "ColorJitter",
            "Normalize",
            "RandomResizedCrop",
            "exercise_augmentation",
        ],
        "loader.batches": ["CameraBatch", "FrameBatch"],
        "loader.columns": ["join_columns"],
        "loader.frame_loader": ["FrameLoader"],
        "loader.torch_loader": [
            "FrameBatchSampler",
            "FrameDataset",
            "WorkerLoader",
            "frame_batch_collate",
            "make_dataloader",
        ],
        "loader.webdataset": ["webdataset_batches"],
    },
)
