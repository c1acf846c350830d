"""Frame stores for torch's own `DataLoader`, with worker processes where you want them.

```python
dataset = FrameDataset(store)
sampler = FrameBatchSampler(store, batch_size=128)
batches = DataLoader(dataset, batch_sampler=sampler, collate_fn=frame_batch_collate, num_workers=2)
for batch in batches:  # FrameBatch; each iteration is the sampler's next epoch
    ...
```

A plain `DataLoader(dataset, batch_size=128, shuffle=True)` works too: torch's default collation copies the samples
once more, into a dict of `frame` (B, 3, H, W) and `frame_id`, `video_id`, `frame_in_video`, `pts_seconds` (B,).
"""

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Dataset, Sampler

from frame_store.protocol import FrameStore
from loader.batch_plan import BatchPlan
from loader.epoch_order import Sampling, ShardChoice
from loader.frame_batch import FrameBatch, read_frame_batch


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

    def __getitems__(self, frame_ids: Sequence[int]) -> FrameBatch:
        """A whole batch in one read: what `DataLoader` asks for and hands to its `collate_fn`."""
        return read_frame_batch(self._store, frame_ids)


class FrameBatchSampler(Sampler[list[int]]):
    """Batches of frame ids for `DataLoader(batch_sampler=...)`: the same batches as `FrameLoader`'s."""

    def __init__(
        self,
        store: FrameStore,
        *,
        batch_size: int = 128,
        sampling: Sampling = "permutation",
        seed: int = 0,
        drop_last: bool = False,
        shards_per_batch: int | None = None,
        frames_per_visit: int | None = None,
        shard_choice: ShardChoice = "proportional",
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        """See `FrameLoader` for the arguments.

        Raises:
            SamplingError: the arguments contradict each other or the store.
        """
        self._plan = BatchPlan(
            store.shard_sizes,
            batch_size=batch_size,
            sampling=sampling,
            seed=seed,
            drop_last=drop_last,
            shards_per_batch=shards_per_batch,
            frames_per_visit=frames_per_visit,
            shard_choice=shard_choice,
            rank=rank,
            world_size=world_size,
        )
        self._next_epoch = 0

    def __len__(self) -> int:
        """Batches in an epoch, for this rank."""
        return len(self._plan)

    def set_epoch(self, epoch: int) -> None:
        """Make `epoch` the next iteration's.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        self._plan.order(epoch)
        self._next_epoch = epoch

    def __iter__(self) -> Iterator[list[int]]:
        # The epoch is taken with the first batch: a DataLoader with workers makes two iterators and drops one.
        epoch = self._next_epoch
        self._next_epoch += 1
        for frame_ids in self._plan.batches(epoch):
            yield frame_ids.tolist()


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
