"""`build_cache`: the command `cache-build` as a Python function, with its flags as keywords."""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cache_builder.build import BuildReport, default_output, run_build
from cache_builder.columns import add_columns, read_tables
from cache_builder.errors import ConfigError
from cache_builder.progress import NoProgress, Progress
from cache_builder.setting_names import NamesSettings, SettingError, as_key_of, as_keyword
from cache_builder.settings import SETTINGS, DeviceName, ErrorPolicy, checked_settings, read_settings, resolve
from cache_builder.video.picture import Resize
from frame_store.manifest import ChromaSubsampling, EncodingName, Layout
from frame_store.names import Container
from frame_store.shared import flag, user_path
from frame_store.tables import Missing, TableLike


def build_cache(
    videos: Path | str,
    out: Path | str | None = None,
    *,
    format: Container | None = None,  # noqa: A002 - the flag's name
    encoding: EncodingName | None = None,
    quality: int | None = None,
    chroma: ChromaSubsampling | None = None,
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
    on_error: ErrorPolicy | None = None,
    columns: TableLike | Sequence[TableLike] | None = None,
    columns_missing: Missing = "refuse",
    columns_tolerance: float | None = None,
    config: Path | str | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Decode every video of a folder into a cache, for `frame_store.open_store`.

    The same call resumes a build that was interrupted; a finished cache is left untouched. Worker processes decode;
    they do not import the caller's script.

    Args:
        videos: The folder, searched with its subfolders, or one video.
        out: Path of the cache; None for `DIR.cache` beside the folder.
        format: `wds` (WebDataset tar) or `zarr`. None means the default, for this and the next settings: `wds`.
        encoding: `jpeg` or `raw` for `wds`, `raw` or `zstd` for `zarr`; None for `jpeg`, with `zarr` for `zstd`.
        quality: JPEG quality, 1 to 100; None for 95.
        chroma: JPEG chroma subsampling, `444` or `420`; None for `444`.
        size: Pixels: side of the square frames, (height, width) or "HxW"; None for 224.
        resize: `crop`, `stretch` or `pad`; None for `crop`.
        crop_aspect: Aspect (width, height) or "W:H"; the centre of this aspect is cut out first. None cuts nothing.
        layout: `shuffled` (one global random order) or `video` (video by video, in time order); None for `shuffled`.
        frames_per_shard: A number, or `video` for one shard per video; None for 1000.
        stride: Keep every K-th frame; None for 1.
        fps: Instead, keep the frame shown at each tick of a clock with this many ticks a second; None keeps all.
        seed: Seed of the shuffled layout; None for 0.
        workers: Number of decoder processes; None for the CPUs that this process may use.
        device: What decodes: `cpu`, `cuda` or `auto`; None for `cpu`.
        on_error: `fail` stops at a video that is not whole, `skip` stores the frames that decode; None for `fail`.
        columns: A table (a file, a dict of arrays, a pandas or polars frame, an Arrow table) or several: columns beside
            the frames; see `add_columns`. They are read first, and written into the finished cache.
        columns_missing: `refuse` or `mask`: what becomes of frames and videos without a row; see `add_columns`.
        columns_tolerance: For tables with `seconds`; see `add_columns`.
        config: TOML file of these settings, or the name of a preset; keywords override it.
        overwrite: Replace a cache, or an unfinished build, of other settings or videos.
        progress: Receives the progress of the build; None for silence.

    Returns:
        The report: counts, and a verdict per video. `not_whole` lists the videos that `skip` did not store whole.

    Raises:
        InputFolderError: no such folder or video, no video in it.
        ConfigError: a setting of a wrong type or out of its range, settings that contradict each other, an unreadable
            `config`, `device="cuda"` without a usable GPU, or no possible place for `out`.
        ValueError: an empty path.
        ColumnsError: a table cannot be read (nothing was built), or it does not fit the videos (the cache is complete
            without these columns).
        OutputError: `out` holds something else, or another cache and `overwrite` is not set; it cannot be written, or
            another build is writing it.
        VideosNotWholeError: videos are not whole and `on_error` is `fail`, or no video gave a frame.
        MachineError: disk full, I/O error. The same call resumes.
    """
    arguments = locals()  # first: of the arguments alone
    values = {name: _as_for_flag(name, arguments[name]) for name in SETTINGS}
    keys_of_file: Collection[str] = ()
    try:
        settings = checked_settings(values)
        if config is not None:
            of_file = read_settings(user_path(config))
            keys_of_file = of_file.given().keys() - settings.given().keys()
            settings = of_file.overridden_by(settings)
        source = user_path(videos)
        output = default_output(source) if out is None else user_path(out)
        tables = None if columns is None else read_tables(columns)
        build_config, options = resolve(settings)
        report = run_build(
            source,
            output,
            build_config,
            options,
            overwrite=flag("overwrite", overwrite, error=ConfigError),
            progress=progress,
        )
        if tables is not None:
            progress = progress or NoProgress()
            added = add_columns(
                output,
                tables,
                missing=columns_missing,
                tolerance_seconds=columns_tolerance,
                on_error=options.on_error,
                progress=progress,
            )
            for line in [*added.problems, *added.notes]:
                progress.note(line)
    except SettingError as error:
        raise ConfigError(error.marked_text) from error
    except NamesSettings as error:
        if keys_of_file:
            error.args = (error.text(as_key_of(Path(str(config)), keys_of_file, else_as=as_keyword)),)
        raise
    return report


def _as_for_flag(name: str, value: Any) -> Any:  # noqa: ANN401 - of any type until it is checked
    """A keyword's value as the flag takes it: pairs as text, numbers of NumPy as Python's; anything else as it is."""
    separator = {"size": "x", "crop_aspect": ":"}.get(name)
    if (
        separator is not None
        and isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(number, int | np.integer) for number in value)
    ):
        return f"{value[0]}{separator}{value[1]}"
    return value.item() if isinstance(value, np.generic) else value
