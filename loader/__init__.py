"""Batches out of frame stores. Importing it costs the standard library and numpy; torch comes at first use."""

from typing import TYPE_CHECKING, Any

from loader.augment_values import ColorJitter, Normalize, RandomResizedCrop
from loader.epoch_order import epoch_order
from loader.errors import AugmentationError, SamplingError
from loader.frame_orders import EpochOrder
from loader.sampling_spec import Sampling, SamplingSpec, ShardChoice

if TYPE_CHECKING:
    from loader.augment import Augmentation, exercise_augmentation
    from loader.augment_parameters import AugmentParameters
    from loader.frame_batch import FrameBatch
    from loader.frame_loader import FrameLoader
    from loader.ranks import UnshardedWarning, rank_and_world_size
    from loader.torch_dataset import FrameBatchSampler, FrameDataset, frame_batch_collate
    from loader.webdataset_adapter import webdataset_batches
    from loader.worker_loader import WorkerLoader, make_dataloader

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
    "AugmentParameters": "loader.augment_parameters",
    "Augmentation": "loader.augment",
    "FrameBatch": "loader.frame_batch",
    "FrameBatchSampler": "loader.torch_dataset",
    "FrameDataset": "loader.torch_dataset",
    "FrameLoader": "loader.frame_loader",
    "UnshardedWarning": "loader.ranks",
    "WorkerLoader": "loader.worker_loader",
    "exercise_augmentation": "loader.augment",
    "frame_batch_collate": "loader.torch_dataset",
    "make_dataloader": "loader.worker_loader",
    "rank_and_world_size": "loader.ranks",
    "webdataset_batches": "loader.webdataset_adapter",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    """Import torch, and webdataset where it is asked for, at first use."""
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
