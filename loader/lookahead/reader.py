"""Carries a look-ahead plan out: threads decode groups of frames, a buffer keeps frames until they are due."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, tee
from typing import cast

import numpy as np
import torch

from frame_store.protocol import DecodesInGroups, Frames
from loader.batches import FrameSources, Parts, ReaderThreads, Reading
from loader.lookahead.plan import NOWHERE, GroupRead, LookaheadStep, plan_lookahead
from loader.sampling.orders import Int64s
from loader.windows import BatchRequest


def read_with_lookahead(
    store: DecodesInGroups,
    requests: Iterable[BatchRequest],
    *,
    lookahead: int,
    capacity: int,
    num_threads: int,
    lend_pixels: Callable[[int], torch.Tensor],
    steps_in_flight: int = 3,
) -> Generator[tuple[BatchRequest, torch.Tensor]]:
    """Each request with its frames, in the order given: (frames shown, H, W, C).

    A thread decodes the wanted frames of one group at a time. `steps_in_flight` batches are decoded at once. Memory:
    `capacity` frames, touched only as they are needed, and the buffers of the batches in flight. Closing the generator
    cancels reads that have not begun and waits for the others.

    Args:
        store: gives the frames.
        requests: drawn up to `lookahead` ahead. Their `cache_ids` are frames of `store`.
        lookahead: batches known beyond the one that is due, as `loader.lookahead.plan.plan_lookahead` explains.
        capacity: frames that the buffer holds.
        num_threads: threads that decode; they all use `store` at once.
        lend_pixels: `lend_pixels(n)` gives memory for the n frames of a batch, contiguous (n, H, W, C). It is
            called once for each batch, in order, up to `steps_in_flight` batches before the batch is handed out.
        steps_in_flight: batches that are read at once. The batch that is handed out next is one of them.

    Raises:
        ValueError: a number out of range.
        FrameCacheError: an error of the store, raised in the place of the batch that contains the frame. An error of
            a frame that was decoded early for a later batch is raised in the place of that batch.
    """
    if steps_in_flight < 1:
        raise ValueError(f"steps_in_flight must be 1 or more, found {steps_in_flight}")
    drawn: deque[BatchRequest] = deque()

    def flat_batches() -> Iterator[Int64s]:
        for request in requests:
            drawn.append(request)
            yield request.cache_ids.reshape(-1)

    plan = plan_lookahead(
        flat_batches(), store.decode_groups, lookahead=lookahead, capacity=capacity, delay=steps_in_flight
    )
    return _read(
        ((drawn.popleft(), step) for step in plan),
        _Slab(store, capacity=capacity),
        num_threads=num_threads,
        lend_pixels=lend_pixels,
        steps_in_flight=steps_in_flight,
    )


def read_sources_with_lookahead(
    sources: FrameSources,
    requests: Iterable[BatchRequest],
    *,
    lookahead: int,
    capacity: int,
    num_threads: int,
    lend_pixels: Callable[[int], Parts],
    steps_in_flight: int = 3,
) -> Generator[tuple[BatchRequest, Parts]]:
    """`read_with_lookahead` for each source, side by side; the sources share the threads.

    `capacity` frames of each source wait. `lend_pixels` gives memory for all sources of a batch. The other arguments,
    and the errors, are those of `read_with_lookahead`.
    """
    lent = _LentParts(lend_pixels, num_sources=len(sources.sources))
    streams = [
        read_with_lookahead(
            cast("DecodesInGroups", source.store),  # checked when the loader was made
            map(source.own_request, copy),
            lookahead=lookahead,
            capacity=capacity,
            num_threads=max(1, num_threads // len(sources.sources)),
            lend_pixels=partial(lent.lend, number),
            steps_in_flight=steps_in_flight,
        )
        for number, (source, copy) in enumerate(
            zip(sources.sources, tee(_noted(requests, lent), len(sources.sources)), strict=True)
        )
    ]
    with ExitStack() as stack:
        for stream in streams:
            stack.enter_context(closing(stream))
        # Each stream begins its next steps when it is asked, and its threads go on while another one is waited for.
        # Nothing here may hold a batch that was handed out: its memory is used again when the caller drops it.
        while all(next(stream, None) is not None for stream in streams):
            yield lent.requests.popleft(), lent.parts.popleft()


def _noted(requests: Iterable[BatchRequest], lent: "_LentParts") -> Iterator[BatchRequest]:
    for request in requests:
        lent.requests.append(request)
        yield request


class _LentParts:
    """Memory of the batches under way: lent for all sources when the first of them asks."""

    def __init__(self, lend_pixels: Callable[[int], Parts], *, num_sources: int) -> None:
        self._lend_pixels = lend_pixels
        self._waiting: list[deque[torch.Tensor]] = [deque() for _ in range(num_sources)]
        self.parts: deque[Parts] = deque()
        self.requests: deque[BatchRequest] = deque()

    def lend(self, number: int, num_frames: int) -> torch.Tensor:
        """The part of source `number` in the next batch for which it has not asked yet."""
        if not self._waiting[number]:
            parts = self._lend_pixels(num_frames)
            self.parts.append(parts)
            for waiting, part in zip(self._waiting, parts.parts, strict=True):
                waiting.append(part)
        return self._waiting[number].popleft()


@dataclass(frozen=True, kw_only=True)
class _StepInFlight:
    request: BatchRequest
    step: LookaheadStep
    pixels: torch.Tensor
    reads: list[Reading[None]] = field(default_factory=list)

    def begin(self, slab: "_Slab", threads: ReaderThreads) -> None:
        frames = self.pixels.numpy()
        self.reads.extend(threads.submit(partial(slab.decode, read, frames)) for read in self.step.reads)

    def complete(self, slab: "_Slab") -> None:
        for reading in self.reads:
            reading.result()
        slab.copy_out(self.step, self.pixels.numpy())

    def batch(self) -> tuple[BatchRequest, torch.Tensor]:
        return self.request, self.pixels


def _read(
    plan: Iterator[tuple[BatchRequest, LookaheadStep]],
    slab: "_Slab",
    *,
    num_threads: int,
    lend_pixels: Callable[[int], torch.Tensor],
    steps_in_flight: int,
) -> Generator[tuple[BatchRequest, torch.Tensor]]:
    # Only `pending` holds a batch: once handed out, its memory may be used again when the caller drops it.
    pending: deque[_StepInFlight] = deque()
    with closing(ReaderThreads(num_threads)) as threads:
        while True:
            for request, step in islice(plan, steps_in_flight - len(pending)):
                pending.append(
                    _StepInFlight(request=request, step=step, pixels=lend_pixels(request.cache_ids.size))
                )
                pending[-1].begin(slab, threads)
            if not pending:
                return
            pending[0].complete(slab)
            # The next step of the plan writes to slots that this one has read, so it may begin only now.
            yield pending.popleft().batch()


class _Slab:
    """The frames that wait. Threads write to its slots; the plan lets no two steps use a slot at the same time."""

    def __init__(self, store: DecodesInGroups, *, capacity: int) -> None:
        self._store = store
        self._frames: Frames = np.empty((capacity, *store.frame_shape), store.frame_dtype)
        self._unfilled: set[int] = set()  # slots whose frames could not be read in advance

    def decode(self, read: GroupRead, batch: Frames) -> None:
        """Decode the wanted frames of a group, to the batch and to the slots.

        Raises:
            FrameCacheError: a frame of the batch itself cannot be read.
        """
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
        """Complete a batch with the frames that wait in the buffer."""
        for position, slot in zip(
            step.buffered_positions.tolist(), step.buffered_slots.tolist(), strict=True
        ):
            if slot in self._unfilled:
                self._store.read_frames_into(step.frame_ids[position : position + 1], [batch[position]])
            else:
                batch[position] = self._frames[slot]
