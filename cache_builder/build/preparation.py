"""What a build and its dry run have in common: the backend, the scans with their progress, and foreseen problems."""

from pathlib import Path

from cache_builder.build.inputs import Inputs, read_inputs
from cache_builder.errors import ConfigError, VideoError
from cache_builder.folder_scan import ScanPool
from cache_builder.gpu import DecoderChoice, choose_backend, choose_decoders
from cache_builder.plan import make_selection
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceVideo
from cache_builder.video.decode import DecodeBackend
from cache_builder.video.scan import VideoScan
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
    videos: list[SourceVideo], *, scan_cache: Path | None, pool: ScanPool, progress: Progress
) -> Inputs:
    """`read_inputs`, with a stage of the progress that counts videos."""
    num_scanned = 0

    def advance(done: int, total: int) -> None:
        nonlocal num_scanned
        if num_scanned == 0:
            progress.start("scan", total, "videos")
        progress.advance(done - num_scanned)
        num_scanned = done

    return read_inputs(videos, scan_cache=scan_cache, pool=pool, progress=advance)


def chosen_decoders(
    inputs: Inputs, *, backend: DecodeBackend, options: RunOptions, progress: Progress
) -> DecoderChoice:
    """Find out which videos the GPU decodes, if one was asked for.

    Raises: as `choose_decoders`.
    """
    return choose_decoders(
        backend,
        paths=[video.path for video in inputs.videos],
        scans=inputs.scans,
        falls_back=options.device == "auto",
        workers=options.workers,
        notify=progress.note,
    )


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
