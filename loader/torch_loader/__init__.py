"""Torch's own `DataLoader` over a store: data set, batch sampler and worker processes."""

from loader.torch_loader.dataset import FrameBatchSampler, FrameDataset, frame_batch_collate
from loader.torch_loader.worker_loader import WorkerLoader, make_dataloader

__all__ = ["FrameBatchSampler", "FrameDataset", "WorkerLoader", "frame_batch_collate", "make_dataloader"]
