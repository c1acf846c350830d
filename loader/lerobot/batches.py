"""Whole batches of LeRobot's items, read ahead by threads of this process."""

from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any, TypeAlias, Unpack

import torch

from frame_store.shared import flag, num_usable_cpus, whole_number
from frame_store.source_order import Int64s
from frame_store.views import cache_ids_of, select
from loader.batches import closed_at_exit, read_in_order
from loader.errors import SamplingError
from loader.lerobot.frames import LeRobotFrames
from loader.lerobot.memory import PictureMemory
from loader.sampling import BatchOptions, Iteration, LoaderState, plan_epochs, plan_store, takes_options

ItemBatch: TypeAlias = dict[str, Any]
"""As torch's `default_collate` makes it of items: a tensor for each key, (B, ...), and a list for texts."""


class LeRobotBatches:
    """The batches of `DataLoader(frames, batch_size=B, shuffle=True)`, without worker processes and without copies.

    A batch is what torch's `default_collate` makes of B items: the same keys, dtypes, shapes and values. Threads read
    pictures into the memory of the batch itself, which is used again when nobody holds the batch. Order, epochs, ranks
    and resume are those of `FrameLoader`: one iteration is one epoch, and with the default `sampling="permutation"`
    each item comes at most once in it. Items of episodes that the cache left out do not come.
    """

    @takes_options("LeRobotBatches")
    def __init__(
        self,
        frames: LeRobotFrames,
        *,
        num_threads: int | None = None,
        read_ahead: int | None = None,
        pin_memory: bool | None = None,
        **options: Unpack[BatchOptions],
    ) -> None:
        """Plan the epochs of `frames`.

        Args:
            frames: the items; their `delta_timestamps` are the windows.
            num_threads: batches read at the same time. None means the number of CPUs that this process may use.
            read_ahead: batches that are read, or being read, beyond the one handed out. None means num_threads + 1.
            pin_memory: page-locked memory for pictures, so that `.to("cuda", non_blocking=True)` overlaps with other
                work. None means True if this process uses CUDA when it is made.
            options: batch_size, sampling, seed, rank, world_size and others; see `loader.BatchOptions`. Those of
                windows and weights by column do not apply.

        Warns:
            UnshardedWarning: as `FrameLoader`.

        Raises:
            SamplingError: the arguments contradict each other or the data.
        """
        self._frames = frames
        group: Any = frames.store
        self._anchors: Any = group
        if frames.episodes is not None:
            self._anchors = select(group, videos=frames.stored_videos)
        self._cursor = plan_epochs(
            "LeRobotBatches",
            self._anchors,
            options,
            plan_store,
        )
        if num_threads is None:
            num_threads = num_usable_cpus()
        self._num_threads = whole_number("num_threads", num_threads, least=1, error=SamplingError)
        read_ahead = self._num_threads + 1 if read_ahead is None else read_ahead
        self._read_ahead = whole_number("read_ahead", read_ahead, least=1, error=SamplingError)
        if pin_memory is None:
            pin_memory = bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
        pin_memory = flag("pin_memory", pin_memory, error=SamplingError)
        if pin_memory and not torch.cuda.is_available():
            raise SamplingError("pin_memory=True needs CUDA, and torch finds none")
        self._memory = PictureMemory(num_spare=self._read_ahead + 2, pin_memory=pin_memory)

    def __repr__(self) -> str:
        return f"LeRobotBatches({self._cursor.plan}; {self._cursor})"

    def __len__(self) -> int:
        """Batches of this rank in an epoch."""
        return len(self._cursor.plan)

    @property
    def frames(self) -> LeRobotFrames:
        """The items."""
        return self._frames

    @property
    def sampler(self) -> "LeRobotBatches":
        """The batches themselves; see `FrameLoader.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration; see `FrameLoader.set_epoch`."""
        self._cursor.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """The place of the run after the last batch that the caller received; see `FrameLoader.state_dict`."""
        return self._cursor.state().to_builtins()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Make the next iteration go on from `state`; see `FrameLoader.load_state_dict`."""
        self._cursor.load(LoaderState.from_builtins(state))

    def __iter__(self) -> Iterator[ItemBatch]:
        """The batches of the next epoch. An error of the cache is raised in the place of its batch."""
        return closed_at_exit(self._batches())

    def _batches(self) -> Generator[ItemBatch]:
        with self._cursor.iteration() as iteration:
            epoch, first_position = iteration.began
            plan = self._cursor.frames_of(epoch).plan
            share = plan.slice_from(first_position)
            reads = (partial(self._read, ids) for ids in plan.batches(epoch, first_position=first_position))
            read = read_in_order(
                reads, num_threads=self._num_threads, read_ahead=self._read_ahead, num_batches=len(share)
            )
            with closing(read) as batches:
                for step in range(len(share)):
                    # No name in this frame holds the batch: its memory may be used again once the caller drops it.
                    yield _handed_out(next(batches), iteration, position=share.position_after(step))

    def _read(self, frame_ids: Int64s) -> ItemBatch:
        return self._frames.batch_of(cache_ids_of(self._anchors, frame_ids), memory=self._memory)


def _handed_out(batch: ItemBatch, iteration: Iteration, *, position: int) -> ItemBatch:
    iteration.give(position)
    return batch
