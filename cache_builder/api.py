"""`build_cache`: the command `cache-build` as a Python function, with its flags as keywords."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from cache_builder.build import BuildEstimate, BuildReport, run_build
from cache_builder.build import estimate_build as run_dry
from cache_builder.columns import add_columns, read_tables
from cache_builder.content_order import write_content_order
from cache_builder.errors import ConfigError
from cache_builder.growing import AppendRequest, TablesGiven, refuse_at_url, resolve_for
from cache_builder.progress import NoProgress, Progress
from cache_builder.setting_names import NamesSettings, SettingError, as_key_of, as_keyword
from cache_builder.settings import (
    SETTINGS,
    BuildConfig,
    DeviceName,
    ErrorPolicy,
    RunOptions,
    checked_settings,
    read_settings,
)
from cache_builder.sources import Place, Sources, default_output
from cache_builder.video.picture import Resize
from frame_store.manifest import ChromaSubsampling, EncodingName, Layout
from frame_store.names import Container, PixelName
from frame_store.remote import RemoteUrl, is_url
from frame_store.shared import flag, user_path
from frame_store.tables import Missing, Table, TableLike

_Made = TypeVar("_Made")


def build_cache(
    videos: Place | Sequence[Place],
    out: Path | str | RemoteUrl | None = None,
    *,
    scratch: Path | str | RemoteUrl | None = None,
    append: bool = False,
    forget: str | Sequence[str] = (),
    rehash: bool = False,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    limit: int | None = None,
    camera_pattern: str | None = None,
    format: Container | None = None,  # noqa: A002 - the flag's name
    encoding: EncodingName | None = None,
    quality: int | None = None,
    chroma: ChromaSubsampling | None = None,
    pixel: PixelName | None = None,
    size: int | tuple[int, int] | str | None = None,
    resize: Resize | None = None,
    crop_aspect: tuple[int, int] | str | None = None,
    layout: Layout | None = None,
    frames_per_shard: int | Literal["video"] | None = None,
    stride: int | None = None,
    fps: float | None = None,
    seed: int | None = None,
    workers: int | None = None,
    device: DeviceName | None = None,
    executor: str | None = None,
    on_error: ErrorPolicy | None = None,
    stage: Path | str | None = None,
    stage_bytes: int | str | None = None,
    columns: TableLike | Sequence[TableLike] | None = None,
    columns_missing: Missing = "refuse",
    columns_tolerance: float | None = None,
    content_order: bool = False,
    config: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Decode every video of a folder, or of other sources, into a cache, for `frame_store.open_store`.

    The same call resumes a build that was interrupted; a finished cache is left untouched. Worker processes decode;
    they do not import the caller's script.

    Args:
        videos: The folder, searched with its subfolders, one video, a text file that lists videos, or several of these;
            or a LeRobot v3 data set. Each but the last may be a URL, such as `s3://bucket/folder`.
        out: Path of the cache, or a URL of an object store such as `s3://bucket/cache`; None for `DIR.cache` beside the
            folder. Several sources and URLs need it.
        scratch: Folder or URL for decoded frames and other unfinished work; None for a place beside `out`.
        append: Add the videos that a complete cache at `out` does not have, as a new generation: the ids of its frames
            stay, its videos are not read again, and its own settings are taken. Without a cache, one is built.
        forget: With `append`: path or paths of videos that the cache leaves out from then on, and of which the sources
            may have others. `forget_videos` does it without an append.
        rehash: With `append`: read all videos that the cache has, too, and compare their hashes, not only sizes and
            times.
        include: Pattern or patterns for paths, such as `day1/*.mp4`; a video is taken if one matches. Empty: all are.
        exclude: Pattern or patterns for paths; a video is left out if one matches.
        limit: The most videos taken, the first ones; None for all.
        camera_pattern: Paths of the videos of a folder with cameras, such as `{episode}/{camera}.mp4`; None: it
            has none.
        format: `wds` (WebDataset tar) or `zarr`. None means the default, for this and the next settings: `wds`.
        encoding: `jpeg` or `raw` for `wds`, `raw` or `zstd` for `zarr`; None for `jpeg`, with `zarr` for `zstd`, and
            of `gray16` in `wds` for `raw`, since JPEG has 8 bits.
        quality: JPEG quality, 1 to 100; None for 95.
        chroma: JPEG chroma subsampling, `444` or `420`; None for `444`.
        pixel: `rgb8` (colour) or `gray16` (the 16-bit levels as they are, for depth); None for `gray16` for the cameras
            that a data set marks as depth, else `rgb8`.
        size: Pixels: side of the square frames, (height, width) or "HxW"; `native` for the size of a camera's videos,
            which are then not scaled; None for 224.
        resize: `crop`, `stretch` or `pad`; None for `crop`.
        crop_aspect: Aspect (width, height) or "W:H"; the centre of this aspect is cut out first. None cuts nothing.
        layout: `shuffled` (one global random order) or `video` (video by video, in time order); None for `shuffled`.
        frames_per_shard: A number, or `video` for one shard per video; None for 1000.
        stride: Keep every K-th frame; None for 1.
        fps: Instead, keep the frame shown at each tick of a clock with this many ticks a second; None keeps all.
        seed: Seed of the shuffled layout; None for 0.
        workers: Number of decoder processes; None for the CPUs that this process may use. With a cluster the most jobs
            at once; None for all of its CPUs.
        device: What decodes: `cpu`, `cuda` or `auto`; None for `cpu`.
        executor: What runs the jobs: `local`, the processes of this machine; `ray`, a Ray cluster that `RAY_ADDRESS` or
            `ray start` on this machine gives, else one that the build starts; `ray:local`, one that it starts;
            `ray:HOST:PORT`, that one. None for `local`.
        on_error: `fail` stops at a video that is not whole, `skip` stores the frames that decode; None for `fail`.
        stage: For videos at URLs: the folder that they are downloaded into while they are read; None for a temporary
            folder, which is removed when the build has ended well.
        stage_bytes: The most bytes that this folder holds, a number or text such as `200MB`; None for 10 GB, or 0.8 of
            the free space where that is less.
        columns: A table (a file, a dict of arrays, a pandas or polars frame, an Arrow table) or several: columns beside
            the frames; see `add_columns`. They are read first, and written into the finished cache.
        columns_missing: `refuse` or `mask`: what becomes of frames and videos without a row; see `add_columns`.
        columns_tolerance: For tables with `seconds`; see `add_columns`.
        content_order: Also order the frames of the finished cache by content; see `write_content_order`.
        config: TOML file of these settings, or the name of a preset; keywords override it.
        overwrite: Replace a cache, or an unfinished build, of other settings or videos.
        progress: Receives the progress of the build; None for silence.

    Returns:
        The report: counts, and a verdict per video. `not_whole` lists the videos that `skip` did not store whole.

    Raises:
        InputFolderError: a source does not exist or holds no video, or two have one base name.
        ConfigError: a setting of a wrong type or out of its range, settings that contradict each other, an unreadable
            `config`, `device="cuda"` without a usable GPU, no possible place for `out`, one
            file in two sources, or `include` and `exclude` that leave no video.
        ValueError: an empty path.
        ColumnsError: a table cannot be read, or `columns_missing` or `columns_tolerance` is wrong (nothing was built);
            or a table does not fit the videos (the cache is complete without these columns).
        OutputError: `out` holds something else, or another cache and `overwrite` is not set; it cannot be written, or
            another build is writing it. With `append`: a video of the cache has changed, or a setting or a library is
            another one than that of the cache.
        VideosNotWholeError: videos are not whole and `on_error` is `fail`, or no video gave a frame.
        MachineError: disk full, I/O error, a cluster that is gone or whose nodes differ. The same call resumes.
    """
    arguments = locals()  # first: of the arguments alone
    overwrite = flag("overwrite", overwrite, error=ConfigError)
    growing = _growing(append=append, forget=forget, rehash=rehash)
    if append and overwrite:
        raise ConfigError("{--append} keeps the cache and {--overwrite} replaces it: give one of them")
    content_order = flag("content_order", content_order, error=ConfigError)
    refuse_at_url(
        None if out is None else _place(out), {"columns": columns is not None, "content-order": content_order}
    )
    if columns is None:
        for name, value, default in (
            ("columns_missing", columns_missing, "refuse"),
            ("columns_tolerance", columns_tolerance, None),
        ):
            if value != default and not (append and name == "columns_missing"):
                raise ConfigError(f"{name}={value!r} is for columns: give columns=, too")
    return _with_settings_named(
        _build_and_add,
        arguments,
        overwrite=overwrite,
        growing=growing,
        scratch=None if scratch is None else _place(scratch),
        content_order=content_order,
        tables=[]
        if columns is None
        else read_tables(columns, missing=columns_missing, tolerance_seconds=columns_tolerance),
        missing=columns_missing,
        tolerance_seconds=columns_tolerance,
    )


def _build_and_add(
    sources: Sources,
    output: Path | RemoteUrl,
    config: BuildConfig,
    options: RunOptions,
    *,
    scratch: Path | RemoteUrl | None,
    tables: Sequence[Table],
    missing: Missing,
    tolerance_seconds: float | None,
    content_order: bool,
    overwrite: bool,
    growing: AppendRequest | None,
    progress: Progress | None,
) -> BuildReport:
    request = None
    if growing is not None:
        given = TablesGiven(
            tables=tables,
            missing=missing,
            tolerance_seconds=tolerance_seconds,
            skip=options.on_error == "skip",
        )
        request = replace(growing, tables=given)
    report = run_build(
        sources,
        output,
        config,
        options,
        scratch=scratch,
        overwrite=overwrite,
        append=request,
        progress=progress,
    )
    if isinstance(output, RemoteUrl):
        return report
    progress = progress or NoProgress()
    if tables and report.wants_columns:
        added = add_columns(
            output,
            tables,
            missing=missing,
            tolerance_seconds=tolerance_seconds,
            on_error=options.on_error,
            progress=progress,
        )
        for line in [*added.problems, *added.notes]:
            progress.note(line)
    if content_order and not report.has_content_order:
        write_content_order(output, progress=progress)
    return report


def estimate_build(
    videos: Place | Sequence[Place],
    out: Path | str | RemoteUrl | None = None,
    *,
    append: bool = False,
    forget: str | Sequence[str] = (),
    rehash: bool = False,
    include: str | Sequence[str] = (),
    exclude: str | Sequence[str] = (),
    limit: int | None = None,
    camera_pattern: str | None = None,
    config: Path | str | None = None,
    progress: Progress | None = None,
    **settings: Any,  # noqa: ANN401 - the settings of `build_cache`, checked as there
) -> BuildEstimate:
    """What `build_cache` with the same arguments would give and take: frames, bytes, disk space and seconds.

    Every video is scanned, and parts of some are decoded for some 10 seconds. Nothing is written but a temporary
    folder, which is removed. Videos that are not whole are counted as `on_error="skip"` stores them.

    With `append` it is about the videos that the cache does not have. The arguments mean what they mean for
    `build_cache`; `settings` are its other keywords except for `overwrite`.

    Returns:
        The estimate. `problems` has a line for each video that is not whole by its packets.

    Raises:
        InputFolderError, ConfigError, ValueError, OutputError: As `build_cache`.
        TypeError: a keyword that `build_cache` does not have.
        VideosNotWholeError: `device` is `cuda`, and the GPU does not decode every video.
        MachineError: disk full, I/O error.
    """
    refuse_at_url(None if out is None else _place(out), {"dry-run": append})
    unknown = settings.keys() - SETTINGS.keys()
    if unknown:
        raise TypeError(f"estimate_build() got an unexpected keyword argument {min(unknown)!r}")
    arguments = {
        "videos": videos,
        "out": out,
        "include": include,
        "exclude": exclude,
        "limit": limit,
        "camera_pattern": camera_pattern,
        "config": config,
        "progress": progress,
        **settings,
    }
    return _with_settings_named(
        _estimate, arguments, growing=_growing(append=append, forget=forget, rehash=rehash)
    )


def _estimate(
    sources: Sources,
    output: Path | RemoteUrl,
    config: BuildConfig,
    options: RunOptions,
    *,
    growing: AppendRequest | None,
    progress: Progress | None,
) -> BuildEstimate:
    return run_dry(sources, output, config, options, append=growing, progress=progress)


def _growing(*, append: bool, forget: str | Sequence[str], rehash: bool) -> AppendRequest | None:
    """What an append is asked for, as far as these keywords say; None without one.

    Raises:
        ConfigError: a keyword that is for an append alone, or that is no flag.
    """
    append = flag("append", append, error=ConfigError)
    rehash = flag("rehash", rehash, error=ConfigError)
    if (forget or rehash) and not append:
        raise ConfigError(f"{{--{'forget' if forget else 'rehash'}}} is for {{--append}}: give it, too")
    if not append:
        return None
    return AppendRequest(forget=[forget] if isinstance(forget, str) else [*forget], rehash=rehash)


def _with_settings_named(
    run: Callable[..., _Made],
    arguments: Mapping[str, Any],
    *,
    growing: AppendRequest | None,
    **more: object,
) -> _Made:
    """Call `run` with what the arguments of a function mean; its errors name a setting as the caller gave it."""
    keys_of_file: Collection[str] = ()
    config = arguments["config"]
    try:
        settings = checked_settings({name: _as_for_flag(name, arguments.get(name)) for name in SETTINGS})
        if config is not None:
            of_file = read_settings(user_path(config))
            keys_of_file = of_file.given().keys() - settings.given().keys()
            settings = of_file.overridden_by(settings)
        of_sources = ("include", "exclude", "limit", "camera_pattern")
        sources = Sources.of(arguments["videos"], **{name: arguments[name] for name in of_sources})
        out = arguments["out"]
        output = default_output(sources) if out is None else _place(out)
        if growing is not None:
            growing = replace(growing, given=settings)
        of_build, options = resolve_for(settings, output, append=growing is not None)
        return run(
            sources, output, of_build, options, growing=growing, progress=arguments["progress"], **more
        )
    except SettingError as error:
        raise ConfigError(error.marked_text) from error
    except NamesSettings as error:
        if keys_of_file:
            error.args = (error.text(as_key_of(Path(str(config)), keys_of_file, else_as=as_keyword)),)
        raise


def _place(place: Path | str | RemoteUrl) -> Path | RemoteUrl:
    """A folder, or a URL.

    Raises:
        ConfigError: a URL of an unknown kind, or with a secret in it.
        ValueError: an empty path.
    """
    if not (isinstance(place, RemoteUrl) or is_url(place)):
        return user_path(place)
    try:
        return RemoteUrl.of(place)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _as_for_flag(name: str, value: Any) -> Any:  # noqa: ANN401 - of any type until it is checked
    """A keyword's value as the flag takes it: pairs as text, numbers of NumPy as Python's; anything else as it is."""
    if name == "stage" and isinstance(value, Path):
        return str(value)
    separator = {"size": "x", "crop_aspect": ":"}.get(name)
    if (
        separator is not None
        and isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(number, int | np.integer) for number in value)
    ):
        return f"{value[0]}{separator}{value[1]}"
    return value.item() if isinstance(value, np.generic) else value
