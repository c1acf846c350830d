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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, Unpack

import torch
from torch.utils.data import Dataset, Sampler

from frame_store.cameras import CameraGroup
from frame_store.columns import Columns
from frame_store.errors import FrameIdError
from frame_store.protocol import FrameStore
from frame_store.shared import counted_in_groups
from frame_store.views import frame_ids_of
from loader.batches import CameraBatch, CpuReader, FrameBatch, frame_sources
from loader.columns import ColumnChoice, check_column_offsets, chosen_columns
from loader.errors import SamplingError
from loader.sampling import WINDOW_OPTIONS, BatchOptions, Iteration, LoaderState, takes_options
from loader.store_argument import StoreOrPath, opened_store
from loader.windows import (
    WindowedEpochs,
    Windows,
    anchors_with_whole_windows,
    plan_windows,
    window_spec,
)

BatchIds: TypeAlias = list[int]
"""Frame ids of one batch: the anchors of its windows, where there are windows."""


class FrameDataset(Dataset[dict[str, torch.Tensor]]):
    """Map-style dataset over a frame store; the item at i is the frame with id i, or the window around it.

    Batches of a group of cameras are `CameraBatch`.
    """

    @takes_options("FrameDataset", WINDOW_OPTIONS)
    def __init__(
        self,
        store: StoreOrPath,
        *,
        cameras: Iterable[str] | None = None,
        stack_cameras: bool = False,
        columns: ColumnChoice = None,
        **options: Unpack[BatchOptions],
    ) -> None:
        """Over `store`, which is pickled to worker processes without its open files.

        The path of a cache is opened as `frame_store.open_store(path)` does; the store is closed with this dataset.

        Args:
            store: an open store, or the path of a cache.
            cameras: see `FrameLoader`.
            stack_cameras: see `FrameLoader`.
            columns: see `FrameLoader`.
            options: those of windows (`frame_offsets` to `clip_stride` of `BatchOptions`); give the sampler the same.
                With `edges="whole"`, a frame without a whole window is no item: reading it raises `FrameIdError`.

        Raises:
            SamplingError: `store` is neither a store nor a path, or the options contradict each other or the store.
            StoreError: no usable cache at the path.
        """
        self._store = opened_store(store)
        self._columns = chosen_columns(self._store, columns)
        sources = frame_sources(self._store, cameras=cameras, stack_cameras=stack_cameras)
        self._reader = CpuReader(self._store, sources=sources, columns=self._columns)
        given: dict[str, Any] = dict(options)
        self._windows = Windows(self._store, window_spec(**given), columns=self._columns)
        check_column_offsets(self._columns, self._windows.spec)
        is_whole = self._windows.spec.edges == "whole"
        self._anchors = anchors_with_whole_windows(self._windows).anchors if is_whole else self._store

    @property
    def store(self) -> FrameStore:
        """The store that this dataset reads."""
        return self._store

    @property
    def columns(self) -> Columns:
        """The columns that batches have, by name."""
        return self._columns

    def __repr__(self) -> str:
        frames = counted_in_groups(len(self), "frame")
        shapes = (
            self.store.frame_shapes if isinstance(self.store, CameraGroup) else {"": self.store.frame_shape}
        )
        sizes = ", ".join(dict.fromkeys(f"{height}x{width}" for height, width, _ in shapes.values()))
        return f"FrameDataset({frames} of {sizes} in {type(self.store).__name__})"

    def __len__(self) -> int:
        return len(self.store)

    def __getitem__(self, frame_id: int) -> dict[str, Any]:
        """One frame, as a sample of `FrameBatch.__getitem__`: `frame` is uint8 (3, H, W), or (T, 3, H, W).

        Of cameras, `frame` is a dict of such tensors.
        """
        return self.__getitems__([frame_id])[0]

    def __getitems__(self, frame_ids: Sequence[int]) -> FrameBatch | CameraBatch:
        """A whole batch in one read. `DataLoader` calls this, and passes the batch to its `collate_fn`.

        Raises:
            FrameIdError: an id outside of the store, or, with `edges="whole"`, of a frame without a whole window.
        """
        request = self._windows.request(frame_ids)
        if self._anchors is not self._store:
            is_missing = frame_ids_of(self._anchors, request.anchor_cache_ids) < 0
            if is_missing.any():
                raise FrameIdError(
                    f"frame {request.frame_ids[is_missing][0]} has no whole window of {self._windows.spec}; "
                    f"FrameBatchSampler, with the same options, draws the frames that have one"
                )
        return self._reader.read(request, epoch=0).batch


class FrameBatchSampler(Sampler[BatchIds]):
    """Batches of frame ids for `DataLoader(batch_sampler=...)`: the same batches as `FrameLoader`'s."""

    @takes_options("FrameBatchSampler")
    def __init__(self, store: StoreOrPath, **options: Unpack[BatchOptions]) -> None:
        """See `BatchOptions` for the options. Give the options of windows to `FrameDataset`, too.

        The sampler gives the ids of anchors. A path is opened for the plan. What the order goes by is kept: of
        `edges="whole"` a view, of weights and of `sampling="stratified"` the store.

        `accelerate.prepare` shards the batches of a sampler itself. Give `rank=0, world_size=1` to a sampler for it.

        Raises:
            SamplingError: the options contradict each other or the store, or one does not exist (also a TypeError).
            StoreError: no usable cache at the path.
        """
        # The dataset knows the columns, and refuses offsets of others.
        offsets = [options.get(name) for name in ("column_offsets", "column_offsets_seconds")]
        columns = [column for given in offsets if isinstance(given, Mapping) for column in given]
        epochs = plan_windows("FrameBatchSampler", opened_store(store), options, columns=columns)
        self._epochs, self._cursor = epochs, epochs.cursor

    def __repr__(self) -> str:
        return f"FrameBatchSampler({self})"

    def __str__(self) -> str:
        return f"{self._epochs}; {self._cursor}"

    def __len__(self) -> int:
        """Batches in an epoch, for this rank; see `FrameLoader`."""
        return len(self._epochs.plan)

    @property
    def batch_size(self) -> int:
        """Most frames (or windows) in a batch; accelerate shards by this number."""
        return self._epochs.plan.batch_size

    @property
    def drop_last(self) -> bool:
        """Whether every batch is whole, so that accelerate fills none up."""
        return self._epochs.plan.drops_last

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
        return BatchIdsIterator(self._epochs)


class BatchIdsIterator(Iterator[BatchIds]):
    """The batches of one iteration, with the state after the last one taken; `StatefulDataLoader` calls its methods."""

    def __init__(self, epochs: WindowedEpochs) -> None:
        self._epochs = epochs
        self._cursor = epochs.cursor
        self._iteration: Iteration | None = None

    def __next__(self) -> BatchIds:
        if self._iteration is None:
            self._iteration = self._cursor.begin()
            epoch, first_position = self._iteration.began
            self._share = self._epochs.slice_from(epoch, first_position)
            self._batches = enumerate(self._epochs.frame_ids(epoch, first_position=first_position))
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


AnyBatch = TypeVar("AnyBatch", FrameBatch, CameraBatch)


def frame_batch_collate(batch: AnyBatch) -> AnyBatch:
    """The `collate_fn` that keeps `FrameDataset`'s batches as they are.

    Raises:
        TypeError: `batch` does not come from `FrameDataset.__getitems__`.
    """
    if not isinstance(batch, FrameBatch | CameraBatch):
        raise TypeError(
            f"frame_batch_collate takes the FrameBatch of FrameDataset.__getitems__, found {type(batch).__name__}; "
            "other datasets need torch's default collation"
        )
    return batch
