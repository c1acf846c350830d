"""Batches out of frame stores. Importing it costs the standard library and numpy; torch comes at first use."""

from typing import TYPE_CHECKING, Any

from loader.augment.values import ColorJitter, Normalize, RandomResizedCrop
from loader.errors import AugmentationError, SamplingError
from loader.sampling.orders.epoch import epoch_order
from loader.sampling.orders.frames import EpochOrder
from loader.sampling.spec import Sampling, SamplingSpec, ShardChoice

if TYPE_CHECKING:
    from loader.augment.augmentation import Augmentation, exercise_augmentation
    from loader.augment.draw import AugmentParameters
    from loader.batches.frame_batch import FrameBatch
    from loader.frame_loader import FrameLoader
    from loader.sampling.ranks import UnshardedWarning, rank_and_world_size
    from loader.torch_loader.dataset import FrameBatchSampler, FrameDataset, frame_batch_collate
    from loader.torch_loader.worker_loader import WorkerLoader, make_dataloader
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

_LAZY = {
    "AugmentParameters": "loader.augment.draw",
    "Augmentation": "loader.augment.augmentation",
    "FrameBatch": "loader.batches.frame_batch",
    "FrameBatchSampler": "loader.torch_loader.dataset",
    "FrameDataset": "loader.torch_loader.dataset",
    "FrameLoader": "loader.frame_loader",
    "UnshardedWarning": "loader.sampling.ranks",
    "WorkerLoader": "loader.torch_loader.worker_loader",
    "exercise_augmentation": "loader.augment.augmentation",
    "frame_batch_collate": "loader.torch_loader.dataset",
    "make_dataloader": "loader.torch_loader.worker_loader",
    "rank_and_world_size": "loader.sampling.ranks",
    "webdataset_batches": "loader.webdataset",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import torch, and webdataset where it is asked for, at first use."""
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
