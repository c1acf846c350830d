"""Frame stores for torch's own `DataLoader`, with or without worker processes.

```python
dataset = FrameDataset(store)
sampler = FrameBatchSampler(store, batch_size=128)
batches = DataLoader(dataset, batch_sampler=sampler, collate_fn=frame_batch_collate, num_workers=2)
for batch in batches:  # FrameBatch; each iteration is the sampler's next epoch
    ...
```

torchdata's `StatefulDataLoader` takes the same arguments, and its state resumes at the exact next batch.
`loader.make_dataloader` makes all of this, starts workers in a way that the store allows, and moves batches to a GPU.

A plain `DataLoader(dataset, batch_size=128, shuffle=True)` works too: torch's default collation copies the samples
once more, into a dict of `frame` (B, 3, H, W) and `frame_id`, `video_id`, `frame_in_video`, `pts_seconds` (B,).
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, Unpack

import torch
from torch.utils.data import Dataset, Sampler

from frame_store.protocol import FrameStore
from frame_store.shared import counted_in_groups
from loader.batches import CpuReader, FrameBatch
from loader.errors import SamplingError
from loader.sampling import (
    BatchOptions,
    BatchPlan,
    EpochCursor,
    Iteration,
    LoaderState,
    plan_epochs,
    takes_options,
)
from loader.store_argument import StoreOrPath, opened_store
from loader.windows import Windows

BatchIds: TypeAlias = list[int] | list[list[int]]
"""Frame ids of one batch; for clips a list of ids for each clip."""


class FrameDataset(Dataset[dict[str, torch.Tensor]]):
    """Map-style dataset over a frame store; the item at i is the frame with id i."""

    @takes_options("FrameDataset")
    def __init__(self, store: StoreOrPath) -> None:
        """Over `store`, which is pickled to worker processes without its open files.

        The path of a cache is opened as `frame_store.open_store(path)` does; the store is closed with this dataset.

        Raises:
            SamplingError: `store` is neither a store nor a path.
            StoreError: no usable cache at the path.
        """
        self._store = opened_store(store)
        self._reader = CpuReader(self._store)
        self._windows = Windows(self._store)

    @property
    def store(self) -> FrameStore:
        """The store that this dataset reads."""
        return self._store

    def __repr__(self) -> str:
        height, width, _ = self.store.frame_shape
        frames = counted_in_groups(len(self), "frame")
        return f"FrameDataset({frames} of {height}x{width} in {type(self.store).__name__})"

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, frame_id: int) -> dict[str, torch.Tensor]:
        """One frame, as a sample of `FrameBatch.__getitem__`: `frame` is uint8 (3, H, W)."""
        return self.__getitems__([frame_id])[0]

    def __getitems__(self, frame_ids: Sequence[int] | Sequence[Sequence[int]]) -> FrameBatch:
        """A whole batch in one read. `DataLoader` calls this, and passes the batch to its `collate_fn`."""
        return self._reader.read(self._windows.request(frame_ids), epoch=0).batch


class FrameBatchSampler(Sampler[BatchIds]):
    """Batches of frame ids for `DataLoader(batch_sampler=...)`: the same batches as `FrameLoader`'s."""

    @takes_options("FrameBatchSampler")
    def __init__(self, store: StoreOrPath, **options: Unpack[BatchOptions]) -> None:
        """See `BatchOptions` for the options. Only the sizes of `store` are kept; a path is opened for them and closed.

        `accelerate.prepare` shards the batches of a sampler itself. Give `rank=0, world_size=1` to a sampler for it.

        Raises:
            SamplingError: the options contradict each other or the store, or one does not exist (also a TypeError).
            StoreError: no usable cache at the path.
        """
        self._plan, self._cursor = plan_epochs("FrameBatchSampler", opened_store(store), options)

    def __repr__(self) -> str:
        return f"FrameBatchSampler({self})"

    def __str__(self) -> str:
        return f"{self._plan}; {self._cursor}"

    def __len__(self) -> int:
        """Batches in an epoch, for this rank; see `FrameLoader`."""
        return len(self._plan)

    @property
    def batch_size(self) -> int:
        """Most frames (or clips) in a batch; accelerate shards by this number."""
        return self._plan.batch_size

    @property
    def drop_last(self) -> bool:
        """Whether every batch is whole, so that accelerate fills none up."""
        return self._plan.drops_last

    @property
    def sampler(self) -> "FrameBatchSampler":
        """The sampler itself. Lightning and accelerate call `set_epoch` on this attribute of torch's `BatchSampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; see `FrameLoader.set_epoch`.

        A `DataLoader` with workers takes batches as soon as it is iterated: set the epoch before that.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        self._cursor.set_epoch(epoch)

    def state_dict(self, *, batches_received: int | None = None) -> dict[str, Any]:
        """The place of the run after the caller received `batches_received` batches of the current iteration.

        With all batches received, it is the start of the next epoch. None means the place after the last batch that was
        taken from this sampler. A `DataLoader` with workers takes batches in advance, so only the training loop knows
        how many it received. torchdata's `StatefulDataLoader` keeps the state after each batch that it yields, with and
        without workers, and needs no number.

        `FrameLoader` resumes from the same states.

        Raises:
            SamplingError: the iteration does not have that many batches.
        """
        return self._cursor.state(batches_received=batches_received).to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `FrameLoader.load_state_dict`."""
        self._cursor.load(LoaderState.from_builtins(state))

    def __iter__(self) -> "BatchIdsIterator":
        """An iteration. It takes its epoch with its first batch: a DataLoader with workers makes two and drops one."""
        return BatchIdsIterator(self._plan, self._cursor)


class BatchIdsIterator(Iterator[BatchIds]):
    """The batches of one iteration, with the state after the last one taken; `StatefulDataLoader` calls its methods."""

    def __init__(self, plan: BatchPlan, cursor: EpochCursor) -> None:
        self._plan = plan
        self._cursor = cursor
        self._iteration: Iteration | None = None

    def __next__(self) -> BatchIds:
        if self._iteration is None:
            self._iteration = self._cursor.begin()
            epoch, first_position = self._iteration.began
            self._share = self._plan.slice_from(first_position)
            self._batches = enumerate(self._plan.batches(epoch, first_position=first_position))
        for step, frame_ids in self._batches:
            self._iteration.give(self._share.position_after(step))
            ids: BatchIds = frame_ids.tolist()
            return ids
        self._iteration.end()
        raise StopIteration

    def state_dict(self) -> dict[str, Any]:
        """The place after the last batch taken from this iterator; before the first batch, where it begins."""
        place = self._cursor.next_place if self._iteration is None else self._iteration.place
        return self._cursor.state_at(place).to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state`; this iterator has given nothing yet.

        Raises:
            SamplingError: see `FrameLoader.load_state_dict`; also if batches were taken from this iterator before.
        """
        if self._iteration is not None:
            raise SamplingError(
                "batches were taken from this iterator already; load the state into a new one"
            )
        self._cursor.load(LoaderState.from_builtins(state))


def frame_batch_collate(batch: FrameBatch) -> FrameBatch:
    """The `collate_fn` that keeps `FrameDataset`'s batches as they are.

    Raises:
        TypeError: `batch` does not come from `FrameDataset.__getitems__`.
    """
    if not isinstance(batch, FrameBatch):
        raise TypeError(
            f"frame_batch_collate takes the FrameBatch of FrameDataset.__getitems__, found {type(batch).__name__}; "
            "other datasets need torch's default collation"
        )
    return batch
