"""A run of `cache-bench`: prepare videos and caches, measure all rows in rounds, report."""

import math
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

from frame_cache_tools.bench.cases import (
    TAKE_LIMIT,
    BenchPlan,
    Lookahead,
    cache_cases,
    video_cases,
)
from frame_cache_tools.bench.gpu import gpu_cases, why_no_gpu_rows
from frame_cache_tools.bench.inputs import BenchCache, BenchVideos, bench_config
from frame_cache_tools.bench.lerobot import PreparedLeRobot, prepare_lerobot
from frame_cache_tools.bench.machine import Machine, read_machine, read_versions
from frame_cache_tools.bench.measure import (
    BenchCase,
    Budget,
    LeftOut,
    Rounds,
    TimeUpError,
    call_in_process,
    measure_in_process,
    run_rounds,
)
from frame_cache_tools.bench.prepare import Preparation, matches, may_have_rows
from frame_cache_tools.bench.remote import PreparedUrl, prepare_url
from frame_cache_tools.bench.report import (
    BenchReport,
    TimeUsed,
    break_even_rows,
    compare_with_lerobot,
    fastest_row,
    make_notes,
    make_rows,
)
from frame_cache_tools.bench.settings import BenchSettings
from frame_cache_tools.bench.usual_loader import USUAL_NUM_WORKERS, why_not_installed

from cache_builder.cli import Terminated
from cache_builder.errors import ConfigError
from cache_builder.settings import BuildSettings
from frame_store.shared import num_usable_cpus

_FLAT_NAME = "cache-bench-flat.npy"
_SHARE_TO_LOOK_AT_CACHES = 0.1
_TRIES_TO_REMOVE = 20
_SECONDS_BETWEEN_TRIES = 0.1


@dataclass(kw_only=True)
class _Run:
    """The results of a run, complete or interrupted."""

    machine: Machine
    videos: BenchVideos | None = None
    caches: Sequence[BenchCache] = ()
    cases: Sequence[BenchCase] = ()
    rounds: Rounds
    lerobot: PreparedLeRobot | None = None
    at_url: PreparedUrl | None = None
    left_out: Sequence[LeftOut] = ()
    seconds_preparing: float = 0.0
    seconds_measuring: float = 0.0
    is_interrupted: bool = False


def bench_plan(settings: BenchSettings, caches: Sequence[BenchCache]) -> BenchPlan:
    """How much of everything is measured; in a quick run, the first cache gets more rows than the others."""
    num_cpus = num_usable_cpus()
    workers = (USUAL_NUM_WORKERS, num_cpus, *(() if settings.is_quick else (2 * num_cpus,)))
    return BenchPlan(
        batch_size=settings.batch_size,
        seconds=settings.seconds,
        usual_seconds=2 * settings.seconds if settings.is_quick else 5 * settings.seconds,
        usual_images=settings.usual_images,
        usual_workers=tuple(dict.fromkeys(settings.usual_workers or workers)),
        num_cpus=num_cpus,
        lookahead=Lookahead(batches=settings.lookahead_batches, max_bytes=settings.lookahead_bytes),
        main_caches=tuple(cache.name for cache in caches[:1]) if settings.is_quick else None,
    )


def run_bench(
    settings: BenchSettings,
    *,
    command: Sequence[str],
    say: Callable[[str], None],
    started_at: float,
    clock: Callable[[], float] = time.monotonic,
) -> BenchReport:
    """Measure within the budget. Ctrl-C while measuring ends the run early, with the results until then.

    Raises:
        FrameCacheError: a video, a cache or a build fails.
        ConfigError: `only` names no row.
        OSError: the machine failed.
        KeyboardInterrupt: before anything was measured; `Terminated` at any time.
    """
    budget = Budget(seconds=settings.budget_seconds, started_at=started_at, clock=clock)
    with _folders(settings.work) as (work, scratch):
        call = partial(call_in_process, temp_folder=scratch)
        # In another process, because it imports torch.
        machine = call(partial(read_machine, work), seconds=math.inf)
        run = _Run(machine=machine, rounds=Rounds())
        _fill(run, settings, budget=budget, work=work, scratch=scratch, say=say)
    usual_row = fastest_row(run.cases, run.rounds, "usual loader" if run.lerobot is None else "LeRobot")
    compared = (
        None if run.lerobot is None else compare_with_lerobot(run.lerobot, run.cases, run.rounds, run.caches)
    )
    num_frames = 0 if run.videos is None else run.videos.num_frames
    return BenchReport(
        command=tuple(command),
        date=datetime.now().astimezone().isoformat(timespec="seconds"),
        machine=run.machine,
        versions=read_versions(),
        batch_size=settings.batch_size,
        num_rounds=settings.num_rounds,
        interrupted=run.is_interrupted,
        videos=run.videos,
        caches=tuple(run.caches),
        usual_row=usual_row,
        rows=tuple(make_rows(run.cases, run.rounds, usual_row=usual_row)),
        break_even=tuple(
            break_even_rows(run.cases, run.rounds, run.caches, usual_row=usual_row, num_frames=num_frames)
        )
        if compared is None
        else compared.break_even,
        lerobot=compared,
        left_out=tuple(run.left_out),
        time=TimeUsed(
            budget_seconds=None if budget.measuring.is_never else settings.budget_seconds,
            seconds=budget.spent(),
            seconds_preparing=run.seconds_preparing,
            seconds_measuring=run.seconds_measuring,
        ),
        notes=_notes(run, settings) if compared is None else compared.notes,
    )


def _notes(run: _Run, settings: BenchSettings) -> tuple[str, ...]:
    if run.at_url is not None:
        return run.at_url.notes
    return tuple(make_notes(settings, run.videos, run.caches, run.rounds, interrupted=run.is_interrupted))


def _fill(
    run: _Run,
    settings: BenchSettings,
    *,
    budget: Budget,
    work: Path,
    scratch: Path,
    say: Callable[[str], None],
) -> None:
    call = partial(call_in_process, temp_folder=scratch)
    if settings.lerobot is not None:
        run.lerobot = prepare_lerobot(
            settings,
            settings.lerobot,
            work=work,
            budget=budget,
            call=call,
            say=lambda line: say(f"{budget.spent():.0f} s: {line}"),
        )
        run.caches, run.left_out = run.lerobot.caches, run.lerobot.left_out
        _refuse_patterns_of_nothing(settings.only, run.lerobot.cases, run.left_out)
        run.cases = _selected(run.lerobot.cases, settings.only)
        run.seconds_preparing = budget.spent()
        _measure(run, settings, budget, scratch, say)
        run.seconds_measuring = budget.spent() - run.seconds_preparing
        return
    if settings.url is not None:
        run.at_url = call(
            partial(prepare_url, settings, settings.url, scratch=scratch), seconds=budget.preparing.left()
        )
        run.caches = run.at_url.caches
        _refuse_patterns_of_nothing(settings.only, run.at_url.cases, ())
        run.cases = _selected(run.at_url.cases, settings.only)
        run.seconds_preparing = budget.spent()
        _measure(run, settings, budget, scratch, say)
        run.seconds_measuring = budget.spent() - run.seconds_preparing
        return
    flat = work / _FLAT_NAME
    why_no_gpu = why_no_gpu_rows(call, seconds=budget.preparing.left())
    preparation = Preparation(
        settings=settings,
        work=work,
        flat=flat,
        budget=budget,
        call=call,
        say=lambda line: say(f"{budget.spent():.0f} s: {line}"),
        has_gpu=why_no_gpu is None,
    )
    run.videos = preparation.videos()
    run.caches = preparation.caches(run.videos)
    plan = bench_plan(settings, run.caches)
    geometry = bench_config(BuildSettings()).geometry
    cases: list[BenchCase] = []
    if run.caches:
        cases += _cache_cases(run.caches, plan, flat, budget, call)
    if run.videos is not None:
        why = why_not_installed()
        if why is not None:
            preparation.left_out.append(LeftOut(name="usual loader", reason=why))
        cases += video_cases(
            run.videos, plan, geometry=geometry, scan_cache=work / "bench.scan", with_usual=why is None
        )
    if why_no_gpu is None:
        cases += gpu_cases(run.videos, run.caches, plan, geometry=geometry, work=work)
    else:
        asked = [pattern for pattern in settings.only if _names_gpu_rows(pattern)]
        preparation.left_out += [LeftOut(name=pattern, reason=why_no_gpu) for pattern in asked]
    run.left_out = preparation.left_out
    if cases:
        _refuse_patterns_of_nothing(settings.only, cases, run.left_out)
    run.cases = [
        case for case in _selected(cases, settings.only) if case.name != TAKE_LIMIT or preparation.has_flat
    ]
    run.seconds_preparing = budget.spent()
    _measure(run, settings, budget, scratch, say)
    run.seconds_measuring = budget.spent() - run.seconds_preparing


def _measure(
    run: _Run, settings: BenchSettings, budget: Budget, scratch: Path, say: Callable[[str], None]
) -> None:
    def report_progress(number: int, case: BenchCase) -> None:
        say(f"{budget.spent():.0f} s: round {number + 1} of {settings.num_rounds}, {case.name}")

    try:
        run_rounds(
            run.cases,
            lambda case, seconds: measure_in_process(
                case.source, case.rule, seconds=seconds, temp_folder=scratch
            ),
            num_rounds=settings.num_rounds,
            seconds_allowed=lambda case: _seconds_allowed(case, settings),
            deadline=budget.measuring,
            into=run.rounds,
            say=report_progress,
        )
    except KeyboardInterrupt as stop:
        if isinstance(stop, Terminated) or not run.rounds.slices:
            raise
        run.is_interrupted = True


def _cache_cases(
    caches: Sequence[BenchCache],
    plan: BenchPlan,
    flat: Path,
    budget: Budget,
    call: Callable[..., list[BenchCase]],
) -> list[BenchCase]:
    """The rows of the caches, without effective batches if reading frames for them takes too long."""
    try:
        return call(
            partial(cache_cases, caches, plan, flat=flat),
            seconds=_SHARE_TO_LOOK_AT_CACHES * budget.measuring.left(),
        )
    except TimeUpError:
        return cache_cases(caches, replace(plan, with_effective_batch=False), flat=flat)


@contextmanager
def _folders(work: Path | None) -> Iterator[tuple[Path, Path]]:
    """The folder of videos and caches, and the folder of all temporary files, which is removed at the end."""
    scratch = Path(tempfile.mkdtemp(prefix="cache-bench-"))
    try:
        if work is None:
            yield scratch, scratch
        else:
            work.mkdir(parents=True, exist_ok=True)
            yield work.absolute(), scratch
            (work / _FLAT_NAME).unlink(missing_ok=True)
    finally:
        _remove(scratch)


def _remove(folder: Path) -> None:
    """Remove a folder, even if a process that was just killed still writes into it for a moment."""
    for _ in range(_TRIES_TO_REMOVE):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_SECONDS_BETWEEN_TRIES)
        else:
            return
    shutil.rmtree(folder)


def _refuse_patterns_of_nothing(
    only: Sequence[str], cases: Sequence[BenchCase], left_out: Sequence[LeftOut]
) -> None:
    """Raise unless each pattern names a row, or a row that was left out."""
    for pattern in only:
        if any(matches(case.name, [pattern]) for case in cases):
            continue
        if any(
            matches(each.name, [pattern])
            or matches(pattern, [each.name])
            or (each.name.startswith("cache ") and may_have_rows(each.name[6:], [pattern]))
            for each in left_out
        ):
            continue
        examples = {case.group: case.name for case in reversed(cases)}
        raise ConfigError(
            f"--only {pattern} names no row; rows are, for example: "
            + "; ".join(repr(name) for name in reversed(examples.values()))
        )


def _names_gpu_rows(pattern: str) -> bool:
    return any(word in pattern.lower() for word in ("gpu", "nvdec"))


def _selected(cases: Sequence[BenchCase], only: Sequence[str]) -> list[BenchCase]:
    """The rows whose name matches, and their limits."""
    if not only:
        return list(cases)
    chosen = [case for case in cases if matches(case.name, only)]
    limits = {case.limit for case in chosen}
    return [case for case in cases if case in chosen or case.name in limits]


def _seconds_allowed(case: BenchCase, settings: BenchSettings) -> float:
    """No limit for groups with short slices: they must not lose rounds because the machine stalled once."""
    return float("inf") if case.group in {"cached", "limits"} else settings.seconds_per_row


def command_line() -> tuple[str, ...]:
    """The command as it was typed, without the folder of the program."""
    return (os.path.basename(sys.argv[0]), *sys.argv[1:])  # noqa: PTH119 - a name, perhaps of no file
