"""Frame stores for torch's own `DataLoader`, with worker processes where you want them.

```python
dataset = FrameDataset(store)
sampler = FrameBatchSampler(store, batch_size=128)
batches = DataLoader(dataset, batch_sampler=sampler, collate_fn=frame_batch_collate, num_workers=2)
for batch in batches:  # FrameBatch; each iteration is the sampler's next epoch
    ...
```

`loader.make_dataloader` puts these together, starts workers as the store allows, and moves batches to a GPU.

A plain `DataLoader(dataset, batch_size=128, shuffle=True)` works too: torch's default collation copies the samples
once more, into a dict of `frame` (B, 3, H, W) and `frame_id`, `video_id`, `frame_in_video`, `pts_seconds` (B,).
"""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, Unpack

import torch
from torch.utils.data import Dataset, Sampler

from frame_store.protocol import FrameStore
from loader.batch_plan import BatchOptions, plan_batches
from loader.frame_batch import FrameBatch, read_frame_batch
from loader.loader_state import EpochCursor, LoaderState

BatchIds: TypeAlias = list[int] | list[list[int]]
"""Frame ids of one batch; for clips a list of ids for each."""


class FrameDataset(Dataset[dict[str, torch.Tensor]]):
    """Map-style dataset over a frame store; the item at i is the frame with id i."""

    def __init__(self, store: FrameStore) -> None:
        """Over `store`, which travels to worker processes without its open files."""
        self._store = store

    def __len__(self) -> int:
        return len(self._store)

    def __getitem__(self, frame_id: int) -> dict[str, torch.Tensor]:
        """One frame, as a sample of `FrameBatch.__getitem__`: `frame` is uint8 (3, H, W)."""
        return read_frame_batch(self._store, [frame_id])[0]

    def __getitems__(self, frame_ids: Sequence[int] | Sequence[Sequence[int]]) -> FrameBatch:
        """A whole batch in one read: what `DataLoader` asks for and hands to its `collate_fn`."""
        return read_frame_batch(self._store, frame_ids)


class FrameBatchSampler(Sampler[BatchIds]):
    """Batches of frame ids for `DataLoader(batch_sampler=...)`: the same batches as `FrameLoader`'s."""

    def __init__(self, store: FrameStore, **options: Unpack[BatchOptions]) -> None:
        """See `FrameLoader` for the options.

        Raises:
            SamplingError: the options contradict each other or the store.
        """
        self._plan = plan_batches(store, **options)
        self._cursor = EpochCursor(self._plan, fingerprint=store.fingerprint)

    def __repr__(self) -> str:
        return f"FrameBatchSampler({self})"

    def __str__(self) -> str:
        return f"{self._plan}; {self._cursor}"

    def __len__(self) -> int:
        """Batches in an epoch, for this rank; see `FrameLoader`."""
        return len(self._plan)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the next iteration's.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        self._cursor.set_epoch(epoch)

    def state_dict(self, *, batches_received: int) -> dict[str, Any]:
        """Where the run stands once `batches_received` batches of the present iteration have reached the caller.

        A `DataLoader` asks its sampler for batches ahead of time, so only the training loop knows that number.
        `FrameLoader` resumes from the same states.

        Raises:
            SamplingError: the iteration has no so many batches.
        """
        return self._cursor.state(batches_received=batches_received).to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `FrameLoader.load_state_dict`."""
        self._cursor.load(LoaderState.from_builtins(state))

    def __iter__(self) -> Iterator[BatchIds]:
        # The epoch is taken with the first batch: a DataLoader with workers makes two iterators and drops one.
        epoch, first_position = self._cursor.begin()
        for frame_ids in self._plan.batches(epoch, first_position=first_position):
            yield frame_ids.tolist()


def rank_and_world_size() -> tuple[int, int]:
    """What to give as `rank` and `world_size`: as `torch.distributed` says, (0, 1) where it is not set up."""
    from torch import distributed

    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def frame_batch_collate(batch: FrameBatch) -> FrameBatch:
    """The `collate_fn` that keeps `FrameDataset`'s batches as they are.

    Raises:
        TypeError: the samples did not come from `FrameDataset.__getitems__`.
    """
    if not isinstance(batch, FrameBatch):
        raise TypeError(
            f"frame_batch_collate takes the FrameBatch of FrameDataset.__getitems__, found {type(batch).__name__}; "
            "other datasets need torch's default collation"
        )
    return batch
