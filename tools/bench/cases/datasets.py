"""Datasets and samplers for `DataLoader` that never end, so that `cache-bench` measures no end of an epoch."""

import multiprocessing
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, IterableDataset, Sampler

from loader import FrameBatch, FrameBatchSampler
from loader.webdataset import webdataset_batches


class Counted(Dataset[torch.Tensor]):
    """Counts, over all workers, the images that a map-style dataset has made."""

    def __init__(self, dataset: Any, *, start_method: str) -> None:  # noqa: ANN401 - any map-style dataset
        self._dataset = dataset
        context = multiprocessing.get_context(start_method)
        self._num_images = context.Value("q", 0)
        self._stopped = context.Event()
        self._last = torch.zeros(3, 1, 1)

    @property
    def num_images(self) -> int:
        """Images made until now."""
        return int(self._num_images.value)

    def stop(self) -> None:
        """Make no more images."""
        self._stopped.set()

    def __getitem__(self, index: int) -> torch.Tensor:
        # After `stop`, the last image fills the rest of the batch. A worker would make all 128 images otherwise.
        if not self._stopped.is_set():
            self._last = self._dataset[index]
            with self._num_images.get_lock():
                self._num_images.value += 1
        return self._last


class EndlessShuffle(Sampler[int]):
    """One shuffle of all items after the other, until `stop`."""

    def __init__(self, num_items: int) -> None:
        self._num_items = num_items
        self._is_stopped = False

    def stop(self) -> None:
        """End after the next item."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[int]:
        while True:
            for index in torch.randperm(self._num_items).tolist():
                if self._is_stopped:
                    return
                yield index


class EndlessBatches(Sampler[Any]):
    """Epoch after epoch of a sampler of batches: `DataLoader` would start new workers for each epoch."""

    def __init__(self, sampler: FrameBatchSampler) -> None:
        self._sampler = sampler

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield from self._sampler


class EndlessStream(IterableDataset[FrameBatch]):
    """Epoch after epoch of `webdataset_batches`."""

    def __init__(self, path: Path, *, batch_size: int, shuffle_buffer: int) -> None:
        self._path = path
        self._batch_size = batch_size
        self._shuffle_buffer = shuffle_buffer

    def __iter__(self) -> Iterator[FrameBatch]:
        """Whole batches."""
        for epoch in count():
            yield from webdataset_batches(
                self._path, batch_size=self._batch_size, shuffle_buffer=self._shuffle_buffer, epoch=epoch
            )
