"""Batches out of a frame store, read ahead by threads of this process."""

import operator
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from frame_store.protocol import FrameStore
from loader.batch_plan import BatchPlan
from loader.epoch_order import Sampling, ShardChoice
from loader.errors import SamplingError
from loader.frame_batch import FrameBatch, read_frame_batch


class FrameLoader:
    """Iterates `FrameBatch` over any frame store, cached or live; one iteration is one epoch.

    The first iteration is epoch 0, each further one the next; `set_epoch` chooses. Which frames come when depends on
    the shard sizes and the arguments alone, never on threads or processes. Threads, not worker processes: reading
    and decoding release the GIL, and a batch stays where it was decoded. They live as long as an iteration, and
    leaving it early (`break`) stops them. Several loaders, and several iterations of one, may run side by side.

    Every batch is a buffer of its own and may be kept.
    """

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
        num_threads: int | None = None,
        read_ahead: int | None = None,
    ) -> None:
        """Plan the epochs of `store`.

        Args:
            store: where the frames are.
            batch_size: frames per batch and rank.
            sampling: `permutation` (every frame once an epoch), `iid`, `sequential` or `shards`; see
                `loader.epoch_order.Sampling`. `iid` and `shards` draw with replacement and end after
                len(store) // (batch_size * world_size) batches.
            seed: in [0, 2**32); with the epoch it determines the order.
            drop_last: leave out the last batch where it would be short. With several ranks: the last step where
                it is not whole on every rank, so that all have the same number of batches.
            shards_per_batch: for `shards`: visits per batch, K. K * m is the batch size; one of them is enough.
            frames_per_visit: for `shards`: different frames of one shard per visit, m.
            shard_choice: for `shards`: see `loader.epoch_order.ShardChoice`.
            rank: this process among `world_size`.
            world_size: processes that share an epoch: step t's batches of all ranks are disjoint and together the
                order's own next world_size * batch_size frames.
            num_threads: batches read at the same time; None for the CPUs this process may use.
            read_ahead: batches read or being read beyond the one handed out, which bounds memory; None for
                num_threads + 1.

        Raises:
            SamplingError: the arguments contradict each other or the store.
        """
        self._store = store
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
        self._num_threads = (
            len(os.sched_getaffinity(0)) if num_threads is None else operator.index(num_threads)
        )
        self._read_ahead = self._num_threads + 1 if read_ahead is None else operator.index(read_ahead)
        if self._num_threads < 1 or self._read_ahead < 1:
            raise SamplingError(
                f"num_threads and read_ahead must be 1 or more, found {self._num_threads} and {self._read_ahead}"
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

    def __iter__(self) -> Iterator[FrameBatch]:
        """The next epoch's batches. An error of the store is raised where its batch would have come."""
        epoch = self._next_epoch
        self._next_epoch += 1
        return self._batches(epoch)

    def _batches(self, epoch: int) -> Iterator[FrameBatch]:
        pool = ThreadPoolExecutor(self._num_threads, thread_name_prefix="frame-loader")
        pending: deque[Future[FrameBatch]] = deque()
        try:
            for frame_ids in self._plan.batches(epoch):
                pending.append(pool.submit(read_frame_batch, self._store, frame_ids))
                if len(pending) > self._read_ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:  # also where the caller breaks off: Python closes a generator that nobody holds any more
            pool.shutdown(cancel_futures=True)
