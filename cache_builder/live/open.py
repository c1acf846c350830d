"""Opens videos as a frame store that decodes on demand."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from cache_builder.folder_scan import ScanPool, scan_frames
from cache_builder.gpu import NvdecDevice, choose_backend
from cache_builder.live.store import LiveStore
from cache_builder.settings import DeviceName
from cache_builder.sources import Sources, look_into
from cache_builder.video.picture import FrameGeometry, Resize
from frame_store.shared import flag, num_usable_cpus, user_path, whole_number


def open_videos(
    videos: Path | str | Sequence[Path | str],
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    limit: int | None = None,
    camera_pattern: str | None = None,
    device: DeviceName | str = "cpu",
    decoder: str | None = None,
    size: int | tuple[int, int] = 224,
    resize: Resize = "crop",
    crop_aspect: tuple[int, int] | None = None,
    scan_cache: Path | str | None = None,
    decode_all: bool = False,
    max_open: int = 32,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LiveStore:
    """Open videos as a frame store that decodes on demand.

    Args:
        videos: A folder, which is searched with its subfolders, a video, a text file that lists videos, or several of
            these. `video_id` is the row in the table of the videos: a folder's are sorted by path, a list's are in the
            order of its lines.
        include: Pattern or patterns for paths, such as `day1/*.mp4`; a video counts if one matches. Empty: all count.
        exclude: Pattern or patterns for paths; a video does not count if one matches.
        limit: The most videos that count, the first ones; None for all.
        camera_pattern: Paths of the videos of a folder with cameras, such as `{episode}/{camera}.mp4`.
        device: What decodes. `cuda` (or `cuda:N`): the GPU, to frames in its memory. `auto`: the GPU, if there is one,
            and the CPU for videos that the GPU does not decode, with one `UserWarning` for each reason.
        decoder: For a GPU, the name of one of FFmpeg's decoders, such as `h264_cuvid`; None is best, see `NvdecDevice`.
        size: Side of the square frames, or (height, width).
        resize: `crop`, `stretch` or `pad`, as in `FrameGeometry`.
        crop_aspect: Display aspect (width, height). Its centre is cut out first.
        scan_cache: File that keeps the scan, so that opening again is instant; None scans each time.
        decode_all: Decode every video once to count its frames. By default the packets give the frames where they are
            reliable. Damage in a video then raises an error at the first look-up that meets it.
        max_open: The most videos kept open for later look-ups. Fewer are kept if their decoders take much memory, or if
            this process may have few descriptors (RLIMIT_NOFILE).
        workers: Processes during the scan; None means one per core.
        progress: Called with (videos scanned, videos).

    Raises:
        InputFolderError: a source does not exist or holds no video.
        ConfigError: two sources hold one file, or `include` and `exclude` leave no video.
        ValueError: an empty path, an empty pattern, a limit, a size, an aspect, `max_open` or `workers` out of range,
            another device or decoder, or a `decode_all` that is not a flag.
        CudaUnavailableError: there is no such GPU, or it has no decoder; contains the remedy.
        CudaForkError: this process was forked from one that had started CUDA.
        OSError: the scan cache cannot be written, or no more files can be opened.
    """
    sources = Sources.of(videos, include=include, exclude=exclude, limit=limit, camera_pattern=camera_pattern)
    max_open = whole_number("max_open", max_open, least=1)
    decode_all = flag("decode_all", decode_all)
    workers = num_usable_cpus() if workers is None else whole_number("workers", workers, least=1)
    height, width = (
        whole_number("size", side) for side in (size if isinstance(size, tuple) else (size, size))
    )
    backend = choose_backend(
        device, decoder=decoder, notify=lambda reason: warnings.warn(f"device='auto': {reason}", stacklevel=4)
    )
    geometry = FrameGeometry(height=height, width=width, resize=resize, crop_aspect=crop_aspect)
    contents = look_into(sources)
    with ScanPool(num_workers=workers) as pool:
        scans = scan_frames(
            contents.videos,
            cache_path=None if scan_cache is None else user_path(scan_cache),
            pool=pool,
            decode_all=decode_all,
            progress=progress,
        )
    if not isinstance(backend, NvdecDevice):
        return LiveStore(
            contents.videos,
            scans,
            geometry=geometry,
            max_open=max_open,
            passed_over=contents.passed_over,
        )
    from cache_builder.live.gpu_store import CudaLiveStore  # needs torch

    return CudaLiveStore(
        contents.videos,
        scans,
        geometry=geometry,
        max_open=max_open,
        passed_over=contents.passed_over,
        nvdec=backend,
        falls_back=device == "auto",
    )
