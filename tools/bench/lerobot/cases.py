"""The rows of `cache-bench --lerobot`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from frame_cache_tools.bench.inputs import BenchCache
from frame_cache_tools.bench.lerobot.dataset import LeRobotItems
from frame_cache_tools.bench.lerobot.peer_process import PeerFacts
from frame_cache_tools.bench.lerobot.sources import (
    BatchesSource,
    CachedGroup,
    FramesSource,
    LiveGroup,
    PeerSource,
    WindowsSource,
)
from frame_cache_tools.bench.measure import LESS, MORE, MOST, BenchCase, ImageSource, SliceRule

FRAMES = "LeRobotFrames"
LIVE = "live"
_SLOW_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class LeRobotPlan:
    """How much is measured."""

    items: LeRobotItems
    size: tuple[int, int]
    """(height, width) of the pictures in every row."""
    batch_size: int
    workers: tuple[int, ...]
    """Numbers of workers of `DataLoader`: a row each."""
    seconds: float
    slow_seconds: float
    lookahead: int
    lookahead_bytes: int
    python: Path | None = None
    """The interpreter that has LeRobot."""
    peer: PeerFacts | None = None
    """None: LeRobot is not measured."""


def peer_row(peer: PeerFacts, backend: str) -> str:
    """What the names of the rows of a backend begin with."""
    return f"{peer.name}, {backend}, "


def lerobot_cases(plan: LeRobotPlan, caches: Sequence[BenchCache], *, scan_cache: Path) -> list[BenchCase]:
    """LeRobot's own reading by backend, the data set decoded live, and each cache; by number of workers."""
    return [
        *_peer_cases(plan),
        *_live_cases(plan, LiveGroup(root=plan.items.root, size=plan.size, scan_cache=scan_cache)),
        *(case for cache in caches for case in _cached_cases(plan, cache, is_first=cache is caches[0])),
    ]


def _peer_cases(plan: LeRobotPlan) -> Iterator[BenchCase]:
    if plan.peer is None or plan.python is None:
        return
    for backend in plan.peer.backends:
        for num_workers in plan.workers:
            source = PeerSource(
                python=plan.python,
                items=plan.items,
                backend=backend,
                num_workers=num_workers,
                batch_size=plan.batch_size,
                size=plan.size,
            )
            yield _case(
                plan,
                f"{peer_row(plan.peer, backend)}{_workers(num_workers)}",
                source,
                num_workers,
                priority=MOST,
            )


def _live_cases(plan: LeRobotPlan, store: LiveGroup) -> Iterator[BenchCase]:
    for num_workers in plan.workers:
        source = FramesSource(
            store=store, items=plan.items, num_workers=num_workers, batch_size=plan.batch_size
        )
        yield _case(plan, f"{FRAMES}, {LIVE}, {_workers(num_workers)}", source, num_workers, group=LIVE)
    if _has_windows(plan.items):
        ahead = plan.lookahead
        windows = WindowsSource(
            store=store,
            items=plan.items,
            batch_size=plan.batch_size,
            lookahead=ahead,
            lookahead_bytes=plan.lookahead_bytes,
        )
        yield BenchCase(
            name=f"FrameLoader, {LIVE}, look-ahead {ahead} batches",
            group="live",
            source=windows,
            rule=SliceRule(seconds=plan.seconds, warm_batches=ahead, batch_multiple=ahead),
            priority=LESS,
            seconds_expected=_SLOW_SECONDS,
        )


def _cached_cases(plan: LeRobotPlan, cache: BenchCache, *, is_first: bool) -> Iterator[BenchCase]:
    store = CachedGroup(path=cache.path)
    rows: list[tuple[str, ImageSource, int]] = [
        (
            f"{FRAMES}, {cache.name}, {_workers(num_workers)}",
            FramesSource(store=store, items=plan.items, num_workers=num_workers, batch_size=plan.batch_size),
            num_workers,
        )
        for num_workers in plan.workers
    ]
    threads = BatchesSource(store=store, items=plan.items, batch_size=plan.batch_size)
    rows.append((f"{FRAMES}, {cache.name}, threads", threads, 0))
    if _has_windows(plan.items):
        source = WindowsSource(store=store, items=plan.items, batch_size=plan.batch_size)
        rows.append((f"FrameLoader, {cache.name}", source, 0))
    for name, each, num_workers in rows:
        yield BenchCase(
            name=name,
            group="cached",
            source=each,
            rule=SliceRule(seconds=plan.seconds, warm_seconds=0.5, batch_multiple=max(1, num_workers)),
            cache=cache.name,
            priority=MOST if is_first else MORE,
        )


def _case(
    plan: LeRobotPlan,
    name: str,
    source: ImageSource,
    num_workers: int,
    *,
    group: str = "LeRobot",
    priority: int = MORE,
) -> BenchCase:
    """A slow row. Workers make a batch each at the same time, so batches arrive in bursts of that size."""
    burst = max(1, num_workers)
    images = 2 * burst * plan.batch_size * plan.items.pictures
    return BenchCase(
        name=name,
        group="LeRobot" if group == "LeRobot" else "live",
        source=source,
        rule=SliceRule(
            seconds=plan.slow_seconds, images=images, warm_batches=num_workers, batch_multiple=burst
        ),
        priority=priority,
        seconds_expected=_SLOW_SECONDS,
    )


def _has_windows(items: LeRobotItems) -> bool:
    try:
        return items.frame_offsets is None or bool(items.frame_offsets)
    except ValueError:
        return False


def _workers(number: int) -> str:
    """`1 worker`, `2 workers`.

    >>> _workers(1), _workers(0)
    ('1 worker', '0 workers')
    """
    return f"{number} worker{'' if number == 1 else 's'}"
