"""Carries a look-ahead plan out: decodes groups on a pool of threads, keeps frames until they are due."""

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, wait
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from frame_store.protocol import DecodesInGroups, Frames
from loader.lookahead.plan import NOWHERE, GroupRead, LookaheadStep, plan_lookahead


def read_with_lookahead(
    store: DecodesInGroups,
    batches: Iterable[npt.NDArray[np.int64]],
    *,
    lookahead: int,
    capacity: int,
    pool: Executor,
    make_buffer: Callable[[int], Frames],
    steps_in_flight: int = 3,
) -> Generator[tuple[npt.NDArray[np.int64], Frames]]:
    """Each batch of ids with its frames, in the order given: uint8 RGB, (number of ids, H, W, 3).

    One task of the pool decodes what is wanted of one group; those of `steps_in_flight` batches are there at once.
    Memory: `capacity` frames, touched only as they are needed, and the buffers of the batches in flight. Closing
    the generator cancels what has not begun and waits for the rest; the pool goes on.

    Args:
        store: where the frames are.
        batches: frame ids, int64, (B,) or (B, T) for clips; drawn up to `lookahead` ahead.
        lookahead: batches known beyond the one that is due, as `loader.lookahead.plan.plan_lookahead` explains.
        capacity: frames that the buffer holds.
        pool: threads; a store is read by all of them at once.
        make_buffer: gives an array of that many frames for a batch, (n, H, W, 3), C-contiguous uint8. It is called
            once a batch, in order, up to `steps_in_flight` batches before that one is handed out.
        steps_in_flight: batches being read at once, the one to be handed out next among them.

    Raises:
        ValueError: a number out of range.
        FrameCacheError: what the store raises, where the batch would have come that wants the frame; what is
            wrong with frames taken along for later batches shows when they are due.
    """
    if steps_in_flight < 1:
        raise ValueError(f"steps_in_flight must be 1 or more, found {steps_in_flight}")
    drawn: deque[npt.NDArray[np.int64]] = deque()

    def flat_batches() -> Iterator[npt.NDArray[np.int64]]:
        for ids in batches:
            drawn.append(ids)
            yield ids.reshape(-1)

    plan = plan_lookahead(
        flat_batches(), store.decode_groups, lookahead=lookahead, capacity=capacity, delay=steps_in_flight
    )
    return _read(
        ((drawn.popleft(), step) for step in plan),
        _Slab(store, capacity=capacity),
        pool=pool,
        make_buffer=make_buffer,
        steps_in_flight=steps_in_flight,
    )


@dataclass(frozen=True, kw_only=True)
class _StepInFlight:
    ids: npt.NDArray[np.int64]
    step: LookaheadStep
    frames: Frames
    reads: list[Future[None]] = field(default_factory=list)

    def begin(self, slab: "_Slab", pool: Executor) -> None:
        for read in self.step.reads:
            self.reads.append(pool.submit(slab.decode, read, self.frames))

    def complete(self, slab: "_Slab") -> None:
        for future in self.reads:
            future.result()
        slab.copy_out(self.step, self.frames)

    def batch(self) -> tuple[npt.NDArray[np.int64], Frames]:
        return self.ids, self.frames


def _read(
    plan: Iterator[tuple[npt.NDArray[np.int64], LookaheadStep]],
    slab: "_Slab",
    *,
    pool: Executor,
    make_buffer: Callable[[int], Frames],
    steps_in_flight: int,
) -> Generator[tuple[npt.NDArray[np.int64], Frames]]:
    # Only `pending` holds a batch: once handed out, its memory may be used again when the caller drops it.
    pending: deque[_StepInFlight] = deque()
    pid = os.getpid()
    try:
        while True:
            for ids, step in islice(plan, steps_in_flight - len(pending)):
                pending.append(_StepInFlight(ids=ids, step=step, frames=make_buffer(ids.size)))
                pending[-1].begin(slab, pool)
            if not pending:
                return
            pending[0].complete(slab)
            # Only now may the plan's next step begin: it writes where this one has read.
            yield pending.popleft().batch()
    finally:
        # Those that could be cancelled may never be heard of again, if the pool is shut down, too.
        running = [future for late in pending for future in late.reads if not future.cancel()]
        # A forked child has none of the threads; and the garbage collector may come here in one of them.
        if os.getpid() == pid and threading.get_ident() not in slab.decoding_threads:
            wait(running)


class _Slab:
    """The frames that wait. Tasks write into slots that nobody else uses at the time: the plan sees to that."""

    def __init__(self, store: DecodesInGroups, *, capacity: int) -> None:
        self._store = store
        self._frames: Frames = np.empty((capacity, *store.frame_shape), np.uint8)
        self._unfilled: set[int] = set()  # slots whose frames could not be read along with others
        self.decoding_threads: set[int] = set()

    def decode(self, read: GroupRead, batch: Frames) -> None:
        """Decode what is wanted of a group, to the batch and to the slots.

        Raises:
            FrameCacheError: if the batch's own frames cannot be read.
        """
        self.decoding_threads.add(threading.get_ident())
        try:
            self._decode(read, batch)
        finally:
            self.decoding_threads.discard(threading.get_ident())

    def _decode(self, read: GroupRead, batch: Frames) -> None:
        places = zip(read.batch_positions.tolist(), read.slots.tolist(), strict=True)
        outs = [batch[position] if slot == NOWHERE else self._frames[slot] for position, slot in places]
        slots = read.slots[read.slots != NOWHERE].tolist()
        try:
            self._store.read_frames_into(read.frame_ids, outs)
        except Exception:
            if not slots:
                raise
            self._unfilled.update(slots)
            is_due = read.slots == NOWHERE
            due_outs = [batch[position] for position in read.batch_positions[is_due].tolist()]
            self._store.read_frames_into(read.frame_ids[is_due], due_outs)
        else:
            self._unfilled.difference_update(slots)

    def copy_out(self, step: LookaheadStep, batch: Frames) -> None:
        """Complete a batch with the frames that have waited."""
        for position, slot in zip(
            step.buffered_positions.tolist(), step.buffered_slots.tolist(), strict=True
        ):
            if slot in self._unfilled:
                self._store.read_frames_into(step.frame_ids[position : position + 1], [batch[position]])
            else:
                batch[position] = self._frames[slot]
