"""Plans which frames to decode when, so that each group of frames is decoded once for many batches to come.

A store that decodes (`frame_store.DecodesInGroups`) decodes a whole group of pictures to read one frame. The order of
an epoch is known in advance, so the other frames of the group that the next batches want can be read in the same run
and wait in a buffer. The order of frames stays exactly as it was drawn: look-ahead costs memory, not randomness.

With groups of G frames, N frames in all, uniform order and a window of W frames, a visit of a group gives about
1 + G W / N frames: the one that is due, and those that are due within the window after it. Each of them waits W / 2 on
average, so the buffer holds about W / 2 frames. A buffer can therefore use a window of twice its size, not more.

This holds when the groups are visited evenly in time. At the start the buffer is empty, so all groups are visited
soon, each for the whole window. That gives W frames to keep, not W / 2, and then all groups are visited again at the
same time, window after window. So if W frames do not fit, the first visit of each group takes only a part of the
window, in turn from none to all of it, as if the plan had been running for ever.

The plan is pure: no store, no thread, no clock. `loader.lookahead.reader` carries it out.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Final

import numpy as np

from loader.sampling.orders import Int64s

NOWHERE: Final = -1
"""A place in `GroupRead`: this copy of the frame does not go to the batch, or not to the buffer."""

_USEFUL_WINDOW: Final = 2  # in sizes of the buffer, because W / 2 frames wait
_GOLDEN_RATIO: Final = (5**0.5 - 1) / 2
"""Any number of its multiples modulo 1 fills [0, 1) evenly."""


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupRead:
    """One run of the decoder: frames of one group, and the place to which each frame goes.

    A frame that is wanted in several places is listed once for each place.
    """

    group: int
    """Id of the group's first frame, as `DecodesInGroups.decode_groups` gives it."""
    frame_ids: Int64s
    """Ascending, with duplicates, shape (n,)."""
    batch_positions: Int64s
    """Place in the step's batch, `NOWHERE` for frames that go to the buffer; shape (n,)."""
    slots: Int64s
    """Slot of the buffer, `NOWHERE` for frames that go to the batch; shape (n,)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LookaheadStep:
    """The work for one batch: first all `reads`, in any order, then the copies from the buffer."""

    frame_ids: Int64s
    """The batch, in order, shape (B,)."""
    reads: tuple[GroupRead, ...]
    buffered_positions: Int64s
    """Places of the batch that are filled from the buffer, shape (m,)."""
    buffered_slots: Int64s
    """Slot of the buffer for each of them, shape (m,)."""


def plan_lookahead(
    batches: Iterable[Int64s],
    decode_groups: Callable[[Int64s], Int64s],
    *,
    lookahead: int,
    capacity: int,
    delay: int = 1,
) -> Iterator[LookaheadStep]:
    """One step for each batch, in order. Planning step t draws batches up to t + lookahead, not more.

    A group is decoded when one of its frames is due and is not in the buffer. The same run reads all frames of the
    group that are due within the window, as far as there is room. Frames that are due earlier have precedence, also
    over frames in the buffer: the one that is due last is dropped (Belady's rule). A frame without room in the buffer
    is decoded once more when it is due.

    Args:
        batches: frame ids of each batch, int64 (B,), duplicates allowed. They are drawn as they are needed.
        decode_groups: `DecodesInGroups.decode_groups`; called once a batch.
        lookahead: most batches known beyond the one that is due; 0 reads every batch by itself. Fewer are drawn if
            they hold twice `capacity` frames.
        capacity: slots of the buffer.
        delay: steps under way at once. Step t may begin to write when batch t - delay is complete. So a slot that step
            s wrote or read last is written again by step s + delay at the earliest.

    Raises:
        ValueError: `lookahead` or `capacity` below 0, `delay` below 1.
    """
    if lookahead < 0 or capacity < 0 or delay < 1:
        raise ValueError(
            f"lookahead and capacity must be 0 or more and delay 1 or more, "
            f"found {lookahead}, {capacity} and {delay}"
        )
    return _plan(iter(batches), decode_groups, lookahead, _Buffer(capacity=capacity, delay=delay))


def _plan(
    batches: Iterator[Int64s], decode_groups: Callable[[Int64s], Int64s], lookahead: int, buffer: "_Buffer"
) -> Iterator[LookaheadStep]:
    window = _Window()
    known: deque[Int64s] = deque()
    num_known = 0  # frames of the batches after the one that is due
    start: _StaggeredStart | None = None
    for step in count():
        while len(known) <= lookahead and (not known or num_known < _USEFUL_WINDOW * buffer.capacity):
            ids = next(batches, None)
            if ids is None:
                break
            window.add(step + len(known), ids, decode_groups(ids))
            num_known += len(ids) if known else 0
            known.append(ids)
        if not known:
            return
        if start is None:
            start = _StaggeredStart(num_steps=len(known) if num_known > buffer.capacity else 0)
        batch = known.popleft()
        num_known -= len(known[0]) if known else 0
        yield _plan_step(step, batch, window, buffer, start)


def _plan_step(
    step: int, batch: Int64s, window: "_Window", buffer: "_Buffer", start: "_StaggeredStart"
) -> LookaheadStep:
    positions: dict[int, list[int]] = {}
    for position, frame in enumerate(batch.tolist()):
        positions.setdefault(frame, []).append(position)
    buffered = {frame: buffer.slots[frame] for frame in positions if frame in buffer.slots}
    places: dict[int, list[tuple[int, int, int]]] = {}
    for frame, places_in_batch in positions.items():
        if frame not in buffered:
            rows = places.setdefault(window.group_of[frame], [])
            rows += [(frame, position, NOWHERE) for position in places_in_batch]

    # The step leaves the window before other frames get their places, so that all frames in the window are due later.
    for frame in positions:
        window.leave(step, frame)
    for frame in buffered:
        buffer.touch(step, frame, window.due.get(frame))
    last_steps = {group: start.last_step(step, group) for group in places}
    others = sorted(
        (window.due[frame][0], frame, group)
        for group in places
        for frame in window.wanted.get(group, ())
        if frame not in buffer.slots and window.due[frame][0] <= last_steps[group]
    )
    for due, frame, group in others:
        slot = buffer.put(step, frame, due)
        if slot is None:
            break  # the rest is due even later
        places[group].append((frame, NOWHERE, slot))
    return LookaheadStep(
        frame_ids=batch,
        reads=tuple(_make_read(group, rows) for group, rows in places.items()),
        buffered_positions=np.array([p for frame in buffered for p in positions[frame]], np.int64),
        buffered_slots=np.array(
            [slot for frame, slot in buffered.items() for _ in positions[frame]], np.int64
        ),
    )


def _make_read(group: int, rows: list[tuple[int, int, int]]) -> GroupRead:
    frame_ids, batch_positions, slots = np.array(sorted(rows), np.int64).T
    return GroupRead(group=group, frame_ids=frame_ids, batch_positions=batch_positions, slots=slots)


@dataclass
class _Window:
    """The frames that are due within the window."""

    due: dict[int, deque[int]] = field(default_factory=dict)
    """The steps that want each frame, ascending, each once."""
    group_of: dict[int, int] = field(default_factory=dict)
    wanted: dict[int, set[int]] = field(default_factory=dict)
    """The frames of each group that are due."""

    def add(self, step: int, frames: Int64s, groups: Int64s) -> None:
        """Add the batch of `step`."""
        for frame, group in zip(frames.tolist(), groups.tolist(), strict=True):
            steps = self.due.get(frame)
            if steps is None:
                self.due[frame] = deque([step])
                self.group_of[frame] = group
                self.wanted.setdefault(group, set()).add(frame)
            elif steps[-1] != step:
                steps.append(step)

    def leave(self, step: int, frame: int) -> None:
        """`step` has the frame. Forget the frame if no other step wants it."""
        steps = self.due[frame]
        assert steps[0] == step
        steps.popleft()
        if not steps:
            del self.due[frame]
            group = self.group_of.pop(frame)
            self.wanted[group].remove(frame)
            if not self.wanted[group]:
                del self.wanted[group]


class _StaggeredStart:
    """Up to which step the first visits of groups read frames in advance, during the first window."""

    def __init__(self, *, num_steps: int) -> None:
        self._num_steps = num_steps  # of the first window; 0 reads all frames
        self._visited: set[int] = set()

    def last_step(self, step: int, group: int) -> float:
        """The last step whose frames of `group` get a place."""
        if step >= self._num_steps:
            self._visited.clear()
        elif group not in self._visited:
            self._visited.add(group)
            return step + len(self._visited) * _GOLDEN_RATIO % 1 * self._num_steps
        return math.inf


class _Buffer:
    """Which slot holds which frame."""

    def __init__(self, *, capacity: int, delay: int) -> None:
        self.slots: dict[int, int] = {}
        self.capacity = capacity
        self._delay = delay
        self._num_used = 0  # slots ever used: memory is touched only as the buffer fills
        self._freed: deque[tuple[int, int]] = deque()  # (first step that may write it, slot)
        self._resting: deque[tuple[int, int, int]] = deque()  # (first step that may evict it, due, frame)
        self._evictable: list[tuple[int, int]] = []  # heap of (-due, frame), also of some that are gone
        self._due: dict[int, int] = {}

    def touch(self, step: int, frame: int, due: deque[int] | None) -> None:
        """`step` reads a buffered frame. It stays if it is due once more."""
        if due:
            self._rest(step, frame, due[0])
        else:
            del self._due[frame]
            self._freed.append((step + self._delay, self.slots.pop(frame)))

    def put(self, step: int, frame: int, due: int) -> int | None:
        """A slot for a frame that `step` decodes; None if all slots hold frames that are due sooner."""
        if self._freed and self._freed[0][0] <= step:
            slot = self._freed.popleft()[1]
        elif self._num_used < self.capacity:
            slot = self._num_used
            self._num_used += 1
        else:
            last = self._last_due(step)
            if last is None or self._due[last] <= due:
                return None
            slot = self.slots.pop(last)
            del self._due[last]
            heapq.heappop(self._evictable)
        self.slots[frame] = slot
        self._rest(step, frame, due)
        return slot

    def _rest(self, step: int, frame: int, due: int) -> None:
        """Keep a frame in its slot until the steps under way are done with the slot."""
        self._due[frame] = due
        self._resting.append((step + self._delay, due, frame))

    def _last_due(self, step: int) -> int | None:
        """The frame that is due last among those that can be dropped."""
        while self._resting and self._resting[0][0] <= step:
            _, due, frame = self._resting.popleft()
            heapq.heappush(self._evictable, (-due, frame))
        while self._evictable:
            minus_due, frame = self._evictable[0]
            if self._due.get(frame) == -minus_due:
                return frame
            heapq.heappop(self._evictable)
        return None
