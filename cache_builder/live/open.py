"""Opens videos as a frame store that decodes on demand."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from cache_builder.errors import ConfigError
from cache_builder.executors import WorkerPool
from cache_builder.gpu import choose_backend
from cache_builder.live.cameras import agreeing, columns_of, group_of, warn_of_left_out
from cache_builder.live.footage import place_videos, scan_files
from cache_builder.live.make_store import StoreMaker
from cache_builder.live.store import LiveStore
from cache_builder.settings import DeviceName
from cache_builder.sources import SourceContents, Sources, look_into
from cache_builder.video.picture import NATIVE, FrameGeometry, Resize
from frame_store.names import NUM_CHANNELS, PixelName
from frame_store.remote import RemoteUrl
from frame_store.shared import flag, num_usable_cpus, user_path, whole_number


def open_videos(
    videos: Path | str | Sequence[Path | str],
    *,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    limit: int | None = None,
    camera_pattern: str | None = None,
    camera: str | None = None,
    device: DeviceName | str = "cpu",
    decoder: str | None = None,
    pixel: PixelName | None = None,
    size: int | tuple[int, int] | Literal["native"] = 224,
    resize: Resize = "crop",
    crop_aspect: tuple[int, int] | None = None,
    scan_cache: Path | str | None = None,
    decode_all: bool = False,
    max_open: int = 32,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LiveStore | Any:  # noqa: ANN401 - as the input
    """Open videos as a frame store that decodes on demand.

    A source with cameras gives a `frame_store.CameraGroup` of live stores. An episode of which a camera cannot be read,
    or has another number of frames than the others, counts as unreadable in all cameras; a warning names it. A
    LeRobot data set is a source with cameras, and the group has its columns and what it states about itself.

    Args:
        videos: A folder, which is searched with its subfolders, a video, a text file that lists videos, a LeRobot v3
            data set, or several folders, videos and lists. `video_id` is the row in the table of the videos: a
            folder's are sorted by path, a list's are in the order of its lines, a data set's in that of its episodes.
        include: Pattern or patterns for paths, such as `day1/*.mp4`; a video counts if one matches. Empty: all count.
        exclude: Pattern or patterns for paths; a video does not count if one matches.
        limit: The most videos that count, the first ones; None for all.
        camera_pattern: Where a folder has the videos of several cameras, such as `{episode}/{camera}.mp4`.
        camera: One camera of a source with cameras, opened alone as a `LiveStore`. The files of other cameras are not
            read, so an episode that another camera lacks is there.
        device: What decodes. `cuda` (or `cuda:N`): the GPU, to frames in its memory. `auto`: the GPU, if there is one,
            and the CPU for videos that the GPU does not decode, with one `UserWarning` for each reason.
        decoder: For a GPU, the name of one of FFmpeg's decoders, such as `h264_cuvid`; None is best, see `NvdecDevice`.
        pixel: `rgb8` (colour) or `gray16`: the levels of a gray video as they are, uint16 (H, W, 1), decoded on the CPU
            alone. None for `gray16` for the cameras that a data set marks as depth, else `rgb8`.
        size: Side of the square frames, or (height, width), 8 to 8192; `native` for the size of the videos, which each
            camera has for itself and of which `resize` changes nothing.
        resize: `crop`, `stretch` or `pad`, as in `FrameGeometry`.
        crop_aspect: Display aspect (width, height). Its centre is cut out first.
        scan_cache: File that keeps the scan, so that opening again is instant; None scans each time.
        decode_all: Decode every video once to count its frames. By default the packets give the frames where they are
            reliable. Damage in a video then raises an error at the first look-up that meets it.
        max_open: The most videos kept open for later look-ups. Fewer are kept if their decoders take much memory, or if
            this process may have few descriptors (RLIMIT_NOFILE).
        workers: Processes during the scan; None means one per core.
        progress: Called with (files scanned, files).

    Raises:
        InputFolderError: a source does not exist or holds no video.
        ConfigError: a video lies at a URL, two sources hold one file, `include` and `exclude` leave no video, there is
            no such camera, or the size is to be native and videos of one camera differ in size.
        ColumnsError: the columns of a data set do not fit its videos.
        VideosNotWholeError: videos of colours, opened with pixel `gray16`; names each.
        ValueError: an empty path, an empty pattern, a limit, a size, an aspect, `max_open` or `workers` out of range,
            another pixel, device or decoder, or a `decode_all` that is not a flag.
        CudaUnavailableError: there is no such GPU, or it has no decoder; contains the remedy.
        CudaForkError: this process was forked from one that had started CUDA.
        OSError: the scan cache cannot be written, or no more files can be opened.
    """
    if pixel is not None and pixel not in NUM_CHANNELS:
        raise ValueError(f"pixel must be one of {', '.join(NUM_CHANNELS)}, found {pixel!r}")
    sources = Sources.of(videos, include=include, exclude=exclude, limit=limit, camera_pattern=camera_pattern)
    max_open = whole_number("max_open", max_open, least=1)
    decode_all = flag("decode_all", decode_all)
    workers = num_usable_cpus() if workers is None else whole_number("workers", workers, least=1)
    height, width = _sides(size)
    backend = choose_backend(
        device, decoder=decoder, notify=lambda reason: warnings.warn(f"device='auto': {reason}", stacklevel=4)
    )
    geometry = FrameGeometry(height=height, width=width, resize=resize, crop_aspect=crop_aspect)
    _refuse_urls(place.text for place in sources.paths if isinstance(place, RemoteUrl))
    contents = look_into(sources)
    _refuse_urls(video.staged.text for video in contents.videos if video.staged is not None)  # of a list
    names = _camera_names(contents, camera)
    of_camera = {name: contents.videos_of(name) for name in names}
    with WorkerPool[Any, Any](num_workers=workers) as pool:
        scans = scan_files(
            [video for each in of_camera.values() for video in each],
            cache_path=None if scan_cache is None else user_path(scan_cache),
            pool=pool,
            decode_all=decode_all,
            progress=progress,
        )
    maker = StoreMaker(
        geometry=geometry,
        pixel=pixel,
        depth_cameras=contents.depth_cameras,
        backend=backend,
        device=str(device),
        max_open=max_open,
        passed_over=contents.passed_over,
    )
    footage = {name: place_videos(each, scans) for name, each in of_camera.items()}
    if not contents.cameras:
        return maker.make(footage[None], None)
    agreed, problems = agreeing({str(name): each for name, each in footage.items()})
    warn_of_left_out(problems, "all cameras" if camera is None else f"camera {camera!r}")
    stores: dict[str, LiveStore] = {}
    for name, each in agreed.items():  # no comprehension, which would be a step more for warnings
        stores[name] = maker.make(each, name)
    if camera is None:
        return group_of(stores, contents.dataset)
    store = stores[camera]
    if contents.dataset is not None:
        store.columns = columns_of(store, contents.dataset)
    return store


def _refuse_urls(texts: Iterable[str]) -> None:
    for text in texts:
        raise ConfigError(
            f"{text}: lies in an object store, and a live store reads files of this machine again and again: download "
            "the videos, or build a cache of them"
        )


def _sides(size: int | tuple[int, int] | str) -> tuple[int, int]:
    """Height and width."""
    if size == "native":
        return NATIVE, NATIVE
    if isinstance(size, str):
        raise ValueError(  # noqa: TRY004 - the type is right
            f"size must be a whole number, (height, width) or 'native', found {size!r}"
        )
    height, width = size if isinstance(size, tuple) else (size, size)
    return whole_number("size", height, least=1), whole_number("size", width, least=1)


def _camera_names(contents: SourceContents, camera: str | None) -> tuple[str | None, ...]:
    """The cameras to open; None for a source without cameras."""
    if camera is None:
        return contents.cameras or (None,)
    if camera not in contents.cameras:
        there = (
            f"its cameras are {', '.join(map(repr, contents.cameras))}" if contents.cameras else "it has none"
        )
        raise ConfigError(f"camera: the source has no camera {camera!r}; {there}")
    return (camera,)
