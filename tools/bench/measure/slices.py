"""Measure a slice of time: from arriving batches, or from threads that count."""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

_MOST_SECONDS = 600.0
_SECONDS_BETWEEN_LOOKS = 0.002
_SECONDS_BETWEEN_TELLING = 0.1


@dataclass(frozen=True, kw_only=True)
class SliceRule:
    """How long a case is measured, after its first batch."""

    seconds: float
    """Least duration."""
    images: int = 1
    """Least number of images."""
    warm_seconds: float = 0.0
    """Images that arrive within this time after the first batch are not counted."""
    warm_batches: int = 0
    """This number of batches after the first is not counted, either."""
    batch_multiple: int = 1
    """The slice is a multiple of this number of batches. Give the number of batches made at the same time."""


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The result of one case in one round."""

    images: int
    seconds: float
    seconds_to_first_batch: float | None
    """From opening the source to the first batch; None where no whole batch arrived."""
    peak_anonymous_bytes: int | None = None
    """None where the system does not report it."""
    is_cut: bool = False
    """Whether the slice is shorter than the rule, because the time was up."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Additional figures by name, such as the percentage of time in which the GPU waited."""

    @property
    def images_per_second(self) -> float:
        """Images over seconds."""
        return self.images / self.seconds


class KeepResult(Protocol):
    """Takes the result so far. It is used if the time is up before the slice is complete."""

    def __call__(self, piece: Slice, /) -> None:
        """Keep the result in place of the one before."""
        ...


class ImageSource(Protocol):
    """Makes images and counts them. It pickles: each measurement opens it in a fresh process."""

    def measure(self, rule: SliceRule, keep: KeepResult) -> Slice:
        """Open, warm up, measure, close. Call `keep` now and then with what has been measured so far."""
        ...


def keep_nothing(piece: Slice, /) -> None:
    """Ignore results before the slice is complete."""


class _Pieces:
    """Passes on the result so far a few times a second, once it is half as long as the rule."""

    def __init__(self, rule: SliceRule, keep: KeepResult) -> None:
        self._rule = rule
        self._keep = keep
        self._told_at_seconds = 0.0

    def offer(self, images: int, seconds: float, seconds_to_first_batch: float | None) -> None:
        if not images or seconds < self._rule.seconds / 2:
            return
        if seconds - self._told_at_seconds < _SECONDS_BETWEEN_TELLING:
            return
        self._told_at_seconds = seconds
        self._keep(
            Slice(images=images, seconds=seconds, seconds_to_first_batch=seconds_to_first_batch, is_cut=True)
        )


def measure_batches(
    epochs: Callable[[], Iterator[int]],
    rule: SliceRule,
    keep: KeepResult = keep_nothing,
    *,
    opened_at: float,
    clock: Callable[[], float] = time.perf_counter,
) -> Slice:
    """Images per batch, epoch after epoch, timed from the arrival of one batch to that of another.

    The first batch and those of the rule's warm-up are not counted. The gaps between epochs count, because a training
    waits for them, too. Each result passed to `keep` ends with a batch, after a multiple of `rule.batch_multiple`.

    Raises:
        ValueError: an epoch without a batch.
    """
    first_at: float | None = None
    started_at: float | None = None
    num_images = num_batches = num_warm = 0
    pieces = _Pieces(rule, keep)
    while True:
        seen = False
        with closing_if_possible(epochs()) as batches:
            for num_in_batch in batches:
                seen = True
                now = clock()
                if first_at is None:
                    first_at = now
                if started_at is None:
                    if now - first_at >= rule.warm_seconds and num_warm >= rule.warm_batches:
                        started_at = now
                    num_warm += 1
                    continue
                num_images += num_in_batch
                num_batches += 1
                if num_batches % rule.batch_multiple:
                    continue
                if now - started_at >= rule.seconds and num_images >= rule.images:
                    whole = Slice(
                        images=num_images,
                        seconds=now - started_at,
                        seconds_to_first_batch=first_at - opened_at,
                    )
                    keep(whole)  # before the read-ahead is stopped, which may take long
                    return whole
                pieces.offer(num_images, now - started_at, first_at - opened_at)
        if not seen:
            raise ValueError("an epoch without a batch: there are fewer frames than a batch holds")


def measure_counters(
    work: Callable[[int, Callable[[int], None], threading.Event], None],
    num_threads: int,
    rule: SliceRule,
    keep: KeepResult = keep_nothing,
) -> Slice:
    """Threads count their images until they are stopped. All are timed over the same span.

    `work(thread, add, stop)` calls `add(images)`. The clock starts when `rule.warm_seconds` have passed and every
    thread has made an image.

    Raises:
        TimeoutError: not enough images within ten minutes.
        Exception: a thread raised it.
    """
    counts = [0] * num_threads
    errors: list[BaseException] = []
    stop = threading.Event()

    def run(thread: int) -> None:
        def add(num_images: int) -> None:
            counts[thread] += num_images

        try:
            work(thread, add, stop)
        except Exception as error:  # noqa: BLE001 - raised below, in the caller's thread
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(num_threads)]
    for thread in threads:
        thread.start()
    opened_at = time.perf_counter()
    try:
        wait_until(
            lambda: bool(errors) or (min(counts) > 0 and time.perf_counter() - opened_at >= rule.warm_seconds)
        )
        measured = count_images(lambda: sum(counts), rule, is_over=lambda: bool(errors), keep=keep)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
    return measured


def count_images(
    count: Callable[[], int],
    rule: SliceRule,
    *,
    is_over: Callable[[], bool],
    keep: KeepResult,
    seconds_to_first_batch: Callable[[], float | None] = lambda: None,
) -> Slice:
    """Images by a counter that other threads increase, from now until the rule is fulfilled or `is_over()`.

    Raises:
        TimeoutError: not enough images within ten minutes.
    """
    pieces = _Pieces(rule, keep)
    started_at, before = time.perf_counter(), count()

    def has_enough() -> bool:
        seconds, images = time.perf_counter() - started_at, count() - before
        if is_over() or (seconds >= rule.seconds and images >= rule.images):
            return True
        pieces.offer(images, seconds, seconds_to_first_batch())
        return False

    wait_until(has_enough)
    seconds, images = time.perf_counter() - started_at, count() - before
    whole = Slice(images=images, seconds=seconds, seconds_to_first_batch=seconds_to_first_batch())
    if not is_over():
        keep(whole)  # before the counting threads are stopped, which may take long
    return whole


@contextmanager
def closing_if_possible(iterator: Iterator[Any]) -> Iterator[Iterator[Any]]:
    """Close a generator at the end, so that its read-ahead stops now and not when it is collected."""
    try:
        yield iterator
    finally:
        if isinstance(iterator, Generator):
            iterator.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: not within ten minutes.
    """
    deadline = time.perf_counter() + _MOST_SECONDS
    while not condition():
        if time.perf_counter() > deadline:
            raise TimeoutError(f"not enough images within {_MOST_SECONDS:.0f} s")
        time.sleep(_SECONDS_BETWEEN_LOOKS)
