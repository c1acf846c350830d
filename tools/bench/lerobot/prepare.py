"""What a run of `cache-bench --lerobot` needs: caches of the data set, its scan, and what LeRobot is installed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from frame_cache_tools.bench.inputs import BenchCache, build_seconds_of
from frame_cache_tools.bench.lerobot.cases import LeRobotPlan, lerobot_cases
from frame_cache_tools.bench.lerobot.dataset import LeRobotItems, read_items
from frame_cache_tools.bench.lerobot.peer_process import PeerError, PeerFacts, ask, interpreter
from frame_cache_tools.bench.measure import (
    BenchCase,
    Budget,
    Call,
    Deadline,
    LeftOut,
    SourceFailedError,
    TimeUpError,
)
from frame_cache_tools.bench.settings import BenchSettings

from cache_builder import build_cache, open_videos
from cache_builder.errors import MachineError, OutputError
from frame_store import open_store
from frame_store.manifest import EncodingName
from frame_store.shared import num_usable_cpus

Result = TypeVar("Result")

SIZE = (224, 224)
"""Height and width of the pictures, stretched as LeRobot's users resize them."""
CACHE_KINDS: Final[dict[str, EncodingName]] = {"wds raw": "raw", "wds jpeg 444": "jpeg"}
"""The caches that are built, the most important first."""
_MOST_WORKERS = 16


@dataclass(frozen=True, kw_only=True)
class PreparedLeRobot:
    """What is measured, and what could not be prepared."""

    items: LeRobotItems
    peer: PeerFacts | None
    caches: Sequence[BenchCache]
    cases: Sequence[BenchCase]
    left_out: Sequence[LeftOut]


def prepare_lerobot(
    settings: BenchSettings, root: Path, *, work: Path, budget: Budget, call: Call, say: Callable[[str], None]
) -> PreparedLeRobot:
    """Build the caches, scan the videos, and ask LeRobot which backends load.

    Raises:
        InputFolderError: there is no data set with cameras.
        ConfigError: the windows name no feature.
        FrameCacheError: a build failed.
        OSError: the disk is full.
    """
    items = read_items(root.absolute(), settings.delta_timestamps)
    left_out: list[LeftOut] = []
    python, peer = _look_for_peer(settings, budget, call, left_out)
    say(f"scanning {root}")
    scan_cache = work / "bench-lerobot.scan"
    try:
        _run(call, partial(_scan, items.root, scan_cache), budget.preparing_what_matters_most)
    except TimeUpError as error:
        left_out.append(LeftOut(name="scan of the videos", reason=f"it was {error}; live rows scan them"))
    caches: list[BenchCache] = []
    for name, kind in CACHE_KINDS.items():
        say(f"building cache {name}")
        deadline = budget.preparing if caches else budget.preparing_what_matters_most
        out = work / f"lerobot_{name.replace(' ', '_')}"
        try:
            caches.append(_run(call, partial(build_group, items.root, out, name, kind), deadline))
        except TimeUpError as error:
            left_out.append(LeftOut(name=f"cache {name}", reason=f"building it was {error}"))
        except OutputError as error:
            raise OutputError(f"{error}; give --work another folder") from error
    plan = LeRobotPlan(
        items=items,
        size=SIZE,
        batch_size=settings.batch_size,
        workers=settings.usual_workers or usual_numbers(num_usable_cpus()),
        seconds=settings.seconds,
        slow_seconds=5 * settings.seconds,
        lookahead=settings.lookahead_batches,
        lookahead_bytes=settings.lookahead_bytes,
        python=python,
        peer=peer,
    )
    cases = lerobot_cases(plan, caches, scan_cache=scan_cache)
    return PreparedLeRobot(items=items, peer=peer, caches=caches, cases=cases, left_out=left_out)


def usual_numbers(num_cpus: int) -> tuple[int, ...]:
    """Numbers of workers that are tried on so many CPUs.

    >>> usual_numbers(2), usual_numbers(6)
    ((0, 1, 2), (0, 1, 2, 4))
    """
    return tuple(number for number in (0, 1, 2, 4, 8, _MOST_WORKERS) if number <= num_cpus)


def _look_for_peer(
    settings: BenchSettings, budget: Budget, call: Call, left_out: list[LeftOut]
) -> tuple[Path | None, PeerFacts | None]:
    try:
        python = interpreter(settings.lerobot_python)
        peer = _run(call, partial(ask, python), budget.preparing_what_matters_most)
    except (PeerError, TimeUpError) as error:
        left_out.append(LeftOut(name="LeRobot", reason=str(error)))
        return None, None
    left_out += [LeftOut(name=f"{peer.name}, {backend}", reason=why) for backend, why in peer.missing.items()]
    return python, peer


def _run(call: Call, function: Callable[[], Result], deadline: Deadline) -> Result:
    try:
        return call(function, seconds=deadline.left())
    except SourceFailedError as error:
        raise MachineError(f"preparing: {error}") from error


def _scan(root: Path, scan_cache: Path) -> None:
    open_videos(root, size=SIZE, scan_cache=scan_cache).close()


def build_group(root: Path, out: Path, name: str, kind: EncodingName) -> BenchCache:
    """Build a cache of a data set, unless it exists."""
    build_cache(root, out, encoding=kind, size=SIZE, resize="stretch", on_error="skip")
    store: Any = open_store(out)
    store.close()
    return BenchCache(
        name=name,
        path=out,
        is_raw=kind == "raw",
        num_frames=len(store) * len(store.cameras),
        num_bytes=sum(path.stat().st_size for path in out.rglob("*") if path.is_file()),
        build_seconds=build_seconds_of(
            out, num_frames=len(store)
        ),  # its report counts the frames of a camera,
    )
