"""All that the page of a folder states: scanned, looked into here and there, and estimated. Nothing is built."""

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
from frame_cache_tools.report.folder.peek import Peek, PeekJob, places_of
from frame_cache_tools.report.folder.records import FileFacts, Finding, FolderReport, FolderVideo, Stretch

from cache_builder import BuildEstimate, estimate_build
from cache_builder.errors import MachineError, VideoError
from cache_builder.executors import Executor, JobDied, JobDone, WorkerPool
from cache_builder.findings import find_copies
from cache_builder.inputs import Inputs, scan_inputs
from cache_builder.plan import claimed_frames
from cache_builder.progress import NoProgress, Progress
from cache_builder.sources import Sources, default_output, look_into, printable
from cache_builder.stages import Workspace, resolved
from cache_builder.video.scan import VideoScan, ticks_to_seconds
from frame_store import FrameCacheError, __version__
from frame_store.shared import counted, num_usable_cpus

PICTURES_PER_VIDEO: Final = 4
MOST_PEEKED: Final = 100
"""Videos that frames are decoded of, at most."""
PEEK_SECONDS: Final = 60.0
"""No further video is looked into after this time."""
MAX_SIDE: Final = 160
_MOST_STRETCHES: Final = 20
_MOST_PROBLEMS: Final = 10


def report_of_folder(
    videos: Path | str | Sequence[Path | str],
    *,
    camera_pattern: str | None = None,
    workers: int | None = None,
    with_estimate: bool = True,
    progress: Progress | None = None,
) -> FolderReport:
    """What a folder of videos holds, what is known to be damaged, and what a cache of it would cost.

    Every file is scanned as by `cache-build`, in worker processes with limits, and a few frames of up to 100 files are
    decoded in such processes. A file that makes FFmpeg crash or hang costs itself alone. Only `cache-build` decodes
    everything, so it may find more damage.

    Args:
        videos: What `cache-build` takes: a folder, a video, a list, a data set, or several of them.
        camera_pattern: Where a folder has the videos of several cameras, as for `cache-build`.
        workers: Processes; None for one per core.
        with_estimate: Whether parts of the videos are decoded for some 10 seconds to estimate size and time of a build.
        progress: Receives the stages.

    Raises:
        InputFolderError, ConfigError: as `cache-build`.
        MachineError: disk full, I/O error, a worker that cannot start.
    """
    progress = progress or NoProgress()
    sources = Sources.of(videos, include=(), exclude=(), limit=None, camera_pattern=camera_pattern)
    workspace = Workspace(resolved(default_output(sources)))
    contents = look_into(sources, not_counted=workspace.own_places)
    with (
        tempfile.TemporaryDirectory(prefix="cache-report-") as scratch,
        WorkerPool[Any, Any](num_workers=workers or num_usable_cpus()) as pool,
    ):
        output = Path(scratch, "videos.cache")
        scan_cache = Workspace(resolved(output)).scan_cache
        if workspace.scan_cache.is_file():
            shutil.copyfile(workspace.scan_cache, scan_cache)
        started = time.monotonic()
        inputs = scan_inputs(contents, scan_cache=scan_cache, pool=pool, progress=progress)
        scanned = time.monotonic()
        peeks = _peek(inputs, pool, progress, num_workers=workers or num_usable_cpus())
        peeked = time.monotonic()
        estimate: BuildEstimate | str = "it was not asked for"
        if with_estimate:
            estimate = _estimate(
                lambda: estimate_build(
                    videos,
                    output,
                    camera_pattern=camera_pattern,
                    workers=workers or num_usable_cpus(),
                    progress=progress,
                ),
                output=workspace.output,
            )
    found = [_video_of(inputs, row, peeks.get(row)) for row in range(len(inputs.files))]
    rank = {"unreadable": 0, "damaged": 1, "nothing found": 2}
    return FolderReport(
        name=printable(workspace.output.name.removesuffix(".cache")),
        path=printable(", ".join(str(path) for path in sources.paths)),
        version=__version__,
        videos=tuple(sorted([*found, *_without_file(inputs)], key=lambda video: rank[video.finding])),
        num_videos=len(inputs.videos) // len(inputs.parts),
        cameras=inputs.cameras,
        is_of_episodes=any(video.span is not None for video in inputs.videos),
        passed_over=contents.passed_over.text,
        copies=tuple(map(tuple, _copies(inputs))),
        num_peeked=len(peeks),
        seconds_scan=scanned - started,
        seconds_peek=peeked - scanned,
        estimate=None if isinstance(estimate, str) else estimate,
        why_no_estimate=estimate if isinstance(estimate, str) else None,
        memory_bytes=_memory(),
        command=_command(
            sources, camera_pattern, stops=any(video.finding != "nothing found" for video in found)
        ),
        settings=_settings(),
    )


def _peek(
    inputs: Inputs, pool: Executor[Any, Any], progress: Progress, *, num_workers: int
) -> dict[int, Peek | str]:
    """By its row, what decoding a few frames of a file gave, or how it failed."""
    readable = [row for row, scan in enumerate(inputs.scans) if isinstance(scan, VideoScan)]
    doubtful = [row for row in readable if _problems_of(inputs.scans[row])]
    chosen = [doubtful[place] for place in places_of(len(doubtful), MOST_PEEKED // 2)] if doubtful else []
    others = sorted({*readable} - {*doubtful})
    chosen += [others[place] for place in places_of(len(others), MOST_PEEKED - len(chosen))] if others else []
    waiting = iter(chosen)
    progress.start("look into", len(chosen), "videos")
    found: dict[int, Peek | str] = {}
    started = time.monotonic()

    def submit_one() -> None:
        row = next(waiting, None)
        scan = None if row is None else inputs.scans[row]
        if row is not None and isinstance(scan, VideoScan):
            pool.submit(
                PeekJob(
                    row=row,
                    path=inputs.files[row].path,
                    scan=scan,
                    num_pictures=PICTURES_PER_VIDEO,
                    max_side=MAX_SIDE,
                )
            )

    for _ in range(num_workers):
        submit_one()
    for outcome in pool.outcomes():
        if isinstance(outcome, JobDone):
            found[outcome.job.row] = outcome.result
        elif isinstance(outcome, JobDied):
            found[outcome.job.row] = f"the process that decoded a few of its frames {outcome.how}"
        elif isinstance(outcome.error, VideoError):
            found[outcome.job.row] = outcome.error.reason
        elif isinstance(outcome.error, OSError | MemoryError):
            raise MachineError(f"{outcome.job.name}: {outcome.error}") from outcome.error
        else:
            raise outcome.error
        progress.advance(1)
        if time.monotonic() - started < PEEK_SECONDS:
            submit_one()
    return found


def _video_of(inputs: Inputs, row: int, peek: Peek | str | None) -> FolderVideo:
    file, scan = inputs.files[row], inputs.scans[row]
    num_bytes = _size(file.path)
    num_episodes = len(inputs.episodes().get(row, ()))
    common: dict[str, Any] = {
        "name": file.relative_path if file.camera is None else f"{file.camera}: {file.relative_path}",
        "num_bytes": num_bytes,
        "num_episodes": num_episodes,
        "is_peeked": peek is not None,
    }
    if isinstance(scan, VideoError):
        return _unreadable(scan.reason, **common)
    problems = _problems_of(scan)
    frames = peek.frames if isinstance(peek, Peek) else []
    if isinstance(peek, Peek):
        problems += [f"in a few frames that were decoded: {problem}" for problem in peek.problems]
    elif peek is not None:
        problems.append(peek)
    stretches = _stretches(scan)
    finding: Finding = "damaged" if problems else "nothing found"
    return FolderVideo(
        **common,
        finding=finding,
        facts=_facts(scan),
        problems=tuple(problems[:_MOST_PROBLEMS]),
        notes=(*scan.facts.notes, *_claims(scan)),
        stretches=tuple(stretches[:_MOST_STRETCHES]),
        num_stretches_left_out=max(0, len(stretches) - _MOST_STRETCHES),
        frames=tuple(sorted(frames, key=lambda shown: -1.0 if shown.seconds is None else shown.seconds)),
        num_frames_peeked=peek.num_decoded if isinstance(peek, Peek) else 0,
    )


def _without_file(inputs: Inputs) -> list[FolderVideo]:
    """Videos that the source itself shows to be unusable."""
    return [
        _unreadable(video.problem, name=video.relative_path, num_bytes=None, num_episodes=0, is_peeked=False)
        for video in inputs.videos
        if video.problem is not None
    ]


def _unreadable(reason: str, **common: Any) -> FolderVideo:  # noqa: ANN401 - the other fields
    return FolderVideo(
        **common,
        finding="unreadable",
        facts=None,
        problems=(reason,),
        notes=(),
        stretches=(),
        num_stretches_left_out=0,
        frames=(),
        num_frames_peeked=0,
    )


def _problems_of(scan: VideoScan | VideoError) -> list[str]:
    """What the packets of a readable file show to be damaged."""
    if isinstance(scan, VideoError):
        return [scan.reason]
    problems = list(scan.damage_texts)
    if num_corrupt := int(scan.packets.is_corrupt.sum()):
        problems.append(f"{counted(num_corrupt, 'packet')} flagged corrupt by the demuxer")
    return problems


def _stretches(scan: VideoScan) -> list[Stretch]:
    """Where the packets show damage, by their pts."""
    seconds = ticks_to_seconds(scan.packets.pts, scan.time_base)
    found = []
    for is_wrong, text in (
        (scan.packets.is_at_demuxer_error, "FFmpeg reported errors of the file here"),
        (scan.packets.is_corrupt, "packets flagged corrupt"),
    ):
        for first, end in _runs(is_wrong):
            shown = seconds[first:end]
            shown = shown[~np.isnan(shown)]
            if len(shown):
                found.append(Stretch(first=float(shown.min()), last=float(shown.max()), text=text))
    return sorted(found, key=lambda stretch: stretch.first)


def _runs(flags: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Stretches [first, end) of True.

    >>> _runs(np.array([0, 1, 1, 0, 1], bool))
    [(1, 3), (4, 5)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(first), int(end)) for first, end in edges.reshape(-1, 2)]


def _facts(scan: VideoScan) -> FileFacts:
    facts = scan.facts
    claimed = claimed_frames(scan)
    keyframes = np.flatnonzero(scan.packets.is_keyframe)
    lengths = (
        np.diff(np.append(keyframes, facts.num_packets)) if len(keyframes) else np.array([facts.num_packets])
    )
    rate = facts.average_rate
    return FileFacts(
        codec=facts.codec,
        container=facts.container,
        pixel_format=facts.pixel_format,
        width=facts.width,
        height=facts.height,
        fps=rate[0] / rate[1] if rate is not None and rate[1] else None,
        seconds=facts.end_seconds_of_packets,
        num_frames=len(claimed.ticks),
        is_proved=claimed.is_proved and not scan.damage_texts,
        num_keyframes=facts.num_keyframes,
        gop_median=round(float(np.median(lengths))),
        gop_longest=int(lengths.max()),
    )


def _claims(scan: VideoScan) -> list[str]:
    """Where the header claims something else than the packets show, which is often a file that was cut."""
    facts, notes = scan.facts, []
    claimed, seconds = facts.num_frames_in_header, facts.duration_seconds_in_header
    if claimed is not None and abs(claimed - facts.num_packets) > 1:
        notes.append(
            f"its header claims {counted(claimed, 'frame')}; {counted(facts.num_packets, 'packet')} are there"
        )
    end = facts.end_seconds_of_packets
    if seconds is not None and end is not None and abs(seconds - end) > max(1.0, 0.02 * seconds):
        notes.append(f"its header claims {seconds:.2f} s; the last packet ends at {end:.2f} s")
    return notes


def _copies(inputs: Inputs) -> list[list[str]]:
    return find_copies(
        (file.relative_path, scan.facts.sha256)
        for file, scan in zip(inputs.files, inputs.scans, strict=True)
        if isinstance(scan, VideoScan)
    )


def _estimate(make: Callable[[], BuildEstimate], *, output: Path) -> BuildEstimate | str:
    """The estimate of a build with the usual settings, as of the place where it would go; or why there is none."""
    try:
        estimate = make()
    except MachineError:
        raise
    except FrameCacheError as error:
        return str(error)
    place = output if output.exists() else output.parent
    return msgspec.structs.replace(
        estimate,
        output=printable(str(output)),
        output_exists=os.path.lexists(output),
        num_free_bytes=shutil.disk_usage(place).free,
    )


def _command(sources: Sources, camera_pattern: str | None, *, stops: bool) -> str:
    words = ["cache-build", *(str(path) for path in sources.paths)]
    words += ["--camera-pattern", camera_pattern] if camera_pattern else []
    words += ["--on-error", "skip"] if stops else []
    return shlex.join(map(printable, words))


def _settings() -> tuple[tuple[str, str], ...]:
    return (
        ("size", "224"),
        ("encoding", "jpeg, quality 95, chroma 444"),
        ("container", "tar"),
        ("layout", "shuffled"),
    )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None
