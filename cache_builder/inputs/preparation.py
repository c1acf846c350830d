"""What a build and its dry run have in common: the backend, the scans with their progress, and foreseen problems."""

from collections.abc import Sequence
from pathlib import Path

from cache_builder.errors import ConfigError, VideoError
from cache_builder.folder_scan import ScanPool
from cache_builder.gpu import DecoderChoice, choose_backend, choose_decoders
from cache_builder.inputs.episodes import cuts_of, disagreements, label
from cache_builder.inputs.tables import Inputs, read_inputs
from cache_builder.plan import claimed_frames, make_selection
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceContents
from cache_builder.video.decode import DecodeBackend
from cache_builder.video.scan import VideoScan, ticks_to_seconds
from frame_store.errors import CudaUnavailableError
from frame_store.shared import counted


def usable_backend(options: RunOptions, progress: Progress) -> DecodeBackend:
    """What decodes.

    Raises:
        ConfigError: `device` is `cuda`, and no GPU can be used.
    """
    try:
        return choose_backend(options.device, notify=progress.note)
    except CudaUnavailableError as error:
        raise ConfigError(f"{{--device cuda}}: {error}; {{--device auto}} decodes on the CPU") from error


def scan_inputs(
    contents: SourceContents,
    *,
    scan_cache: Path | None,
    pool: ScanPool,
    progress: Progress,
    keep_others: bool = False,
) -> Inputs:
    """`read_inputs`, with a stage of the progress that counts files."""
    num_scanned = 0

    def advance(done: int, total: int) -> None:
        nonlocal num_scanned
        if num_scanned == 0:
            progress.start("scan", total, "videos")
        progress.advance(done - num_scanned)
        num_scanned = done

    return read_inputs(contents, scan_cache=scan_cache, pool=pool, progress=advance, keep_others=keep_others)


def chosen_decoders(
    inputs: Inputs, *, backend: DecodeBackend, options: RunOptions, progress: Progress
) -> DecoderChoice:
    """Find out which videos the GPU decodes, if one was asked for.

    Raises: as `choose_decoders`.
    """
    return choose_decoders(
        backend,
        files=inputs.files,
        scans=inputs.scans,
        falls_back=options.device == "auto",
        workers=options.workers,
        notify=progress.note,
    )


def foreseen_problems(inputs: Inputs, configs: Sequence[BuildConfig]) -> list[str]:
    """One line for each video that cannot be stored whole, as far as scans show it. `configs` has a row per file."""
    problems: dict[int, str] = {}
    episodes = inputs.episodes()
    for row, video in enumerate(inputs.videos):
        scan, file_id = inputs.scan_of(row), inputs.file_ids[row]
        if isinstance(scan, VideoError):
            problems[row] = scan.reason
        elif video.span is None and (error := foreseen_error(scan, configs[file_id])) is not None:
            problems[row] = error.reason
    for file_id in episodes:
        scan = inputs.scans[file_id]
        claimed = claimed_frames(scan) if isinstance(scan, VideoScan) else None
        if isinstance(scan, VideoScan) and claimed is not None and claimed.is_proved:
            pts_seconds = ticks_to_seconds(claimed.ticks, scan.time_base)
            problems |= {
                row: cut for row, cut in cuts_of(inputs, file_id, pts_seconds) if isinstance(cut, str)
            }
    lines = [str(VideoError(label(inputs.videos[row]), reason)) for row, reason in sorted(problems.items())]
    return lines + [
        str(VideoError(inputs.videos[row].relative_path, reason))
        for row, reason in disagreements(inputs).items()
    ]


def foreseen_error(scan: VideoScan | VideoError, config: BuildConfig) -> VideoError | None:
    """Why a video cannot be stored whole, as far as its scan alone shows it; None if nothing is known against it."""
    if isinstance(scan, VideoError):
        return scan
    if scan.damage_texts:
        return VideoError(scan.facts.path, "; ".join(scan.damage_texts))
    num_corrupt = int(scan.packets.is_corrupt.sum())
    if num_corrupt:
        return VideoError(scan.facts.path, f"{counted(num_corrupt, 'packet')} flagged corrupt by the demuxer")
    try:
        make_selection(config, scan)
    except VideoError as error:
        return error
    return None
