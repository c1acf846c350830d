"""The commands `cache-build`, `cache-info` and `cache-verify`. Parse, call, print, choose the exit code.

Exit codes: 0 all well; 1 finished or stopped with videos (or, for cache-verify, files) that are not whole;
2 the command was wrong; 3 the machine failed and the same command resumes; 130 interrupted (SIGINT),
143 terminated (SIGTERM), and the same command resumes.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import click
import msgspec

from cache_builder.errors import ConfigError, MachineError, OutputError, RepairError, VideosError
from cache_builder.interrupts import SigtermAsInterrupt, Terminated
from cache_builder.setting_names import NamesSettings, Spell, as_flag, as_flag_or_key
from frame_store import __version__
from frame_store.cache_info import info_text
from frame_store.cpu_budget import num_usable_cpus
from frame_store.errors import FrameCacheError, StoreError
from frame_store.manifest import StoreManifest, read_manifest
from frame_store.verify import verify_store

EXIT_NOT_WHOLE = 1
EXIT_WRONG_COMMAND = 2
EXIT_MACHINE_FAILED = 3
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143

Command = TypeVar("Command", bound=Callable[..., Any])


class _PathName(click.Path):
    """A path that must be written out: an empty one would mean the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """See `click.ParamType.convert`."""
        if not os.fspath(value):
            self.fail("an empty path", param, ctx)
        return super().convert(value, param, ctx)


class _TerminalProgress:
    """Progress bars on a terminal, silence elsewhere."""

    def __init__(self) -> None:
        self._bar: Any = None

    def start(self, stage: str, total: int, unit: str) -> None:
        from tqdm import tqdm

        self.close()
        self._bar = tqdm(
            total=total,
            desc=stage,
            unit=f" {unit}",
            disable=sys.stderr is None or not sys.stderr.isatty(),
            smoothing=0.05,
            file=sys.stderr,
        )

    def advance(self, steps: int) -> None:
        self._bar.update(steps)

    def note(self, line: str) -> None:
        self.close()
        click.echo(line, err=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _frames_per_shard(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> int | Literal["video"] | None:
    if value is None:
        return None
    if value == "video":
        return "video"
    try:
        return int(value)
    except ValueError:
        raise click.BadParameter(f"{value!r} is neither a number nor 'video'") from None


@click.command(context_settings={"show_default": True, "max_content_width": 110})
@click.version_option(__version__)
@click.option(
    "--videos", required=True, type=_PathName(path_type=Path), help="Folder of videos, subfolders included."
)
@click.option("--out", type=_PathName(path_type=Path), help="Where the cache goes.  [default: VIDEOS.cache]")
@click.option(
    "--format", type=click.Choice(["wds", "zarr"]), help="WebDataset tar or Zarr v3.  [default: wds]"
)
@click.option(
    "--encoding",
    type=click.Choice(["jpeg", "raw", "zstd"]),
    help="How a frame is stored; wds takes jpeg and raw, zarr takes raw and zstd.  [default: jpeg, for zarr zstd]",
)
@click.option("--quality", type=int, help="JPEG quality, 1 to 100.  [default: 95]")
@click.option("--chroma", type=click.Choice(["444", "420"]), help="JPEG chroma subsampling.  [default: 444]")
@click.option("--size", type=str, help="Stored size: one number, or HxW.  [default: 224]")
@click.option(
    "--resize", type=click.Choice(["crop", "stretch", "pad"]), help="How to fit it.  [default: crop]"
)
@click.option("--crop-aspect", metavar="W:H", help="Take the centre of this aspect ratio before resizing.")
@click.option(
    "--layout",
    type=click.Choice(["shuffled", "video"]),
    help="Frames in one global random order, or video by video in time order.  [default: shuffled]",
)
@click.option(
    "--frames-per-shard",
    metavar="N|video",
    callback=_frames_per_shard,
    help="Frames in a shard, or one shard per video (wds, layout video).  [default: 1000]",
)
@click.option("--stride", type=int, help="Keep every K-th frame.  [default: 1]")
@click.option("--fps", type=float, help="Keep the frame shown at each tick of this clock instead.")
@click.option("--seed", type=int, help="Seed of the shuffled layout.  [default: 0]")
@click.option("--workers", type=int, help="Decoder processes.  [default: the CPUs this process may use]")
@click.option("--device", type=click.Choice(["cpu", "cuda", "auto"]), help="What decodes.  [default: cpu]")
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    help="Stop at a video that is not whole, or store what decodes and exit 1.  [default: fail]",
)
@click.option(
    "--config", type=_PathName(path_type=Path), help="TOML file of these settings; flags override it."
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a cache (or unfinished build) of other settings or videos."
)
def cache_build(videos: Path, out: Path | None, config: Path | None, overwrite: bool, **flags: Any) -> None:  # noqa: ANN401 - click's values, checked by BuildSettings
    """Decode every video of a folder into a sharded frame store.

    A killed build is resumed by the same command; a finished one is left untouched.
    """
    with _exit_codes() as codes, _TerminalProgress() as progress:
        from cache_builder.build import build_cache, default_output
        from cache_builder.config import BuildSettings, read_settings, resolve
        from cache_builder.report import report_text

        settings = BuildSettings()
        if config is not None:
            settings = read_settings(config)
            codes.spell = as_flag_or_key(config, settings.said - BuildSettings(**flags).said)
        build_config, options = resolve(settings.overridden_by(BuildSettings(**flags)))
        output = out if out is not None else default_output(videos)
        report = build_cache(videos, output, build_config, options, overwrite=overwrite, progress=progress)
        progress.close()
        _say(report_text(report))
        if report.not_whole:
            sys.exit(EXIT_NOT_WHOLE)


@click.command()
@click.version_option(__version__)
@click.argument("cache", type=_PathName(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as JSON.")
@click.option("--videos", "list_videos", is_flag=True, help="A table with a line for every video.")
@click.option(
    "--against",
    metavar="DIR",
    type=_PathName(path_type=Path),
    help="Compare with a folder of videos instead: name those that are new, changed or gone, and exit 1.",
)
def cache_info(cache: Path, as_json: bool, list_videos: bool, against: Path | None) -> None:
    """Say what a cache holds and how it was made, from its manifest."""
    with _exit_codes():
        from cache_builder.discover import printable

        manifest = read_manifest(cache)
        if against is not None:
            _say_changes(manifest, against, as_json=as_json)
        elif as_json:
            _say(msgspec.json.format(msgspec.json.encode(manifest), indent=1).decode())
        else:
            _say(info_text(manifest, path=printable(str(cache)), list_videos=list_videos))


@click.command()
@click.version_option(__version__)
@click.argument("cache", type=_PathName(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("--repair", is_flag=True, help="Make damaged files again, bit for bit.")
@click.option(
    "--videos",
    type=_PathName(path_type=Path),
    help="For --repair: the folder that it was built from; needed where shards are damaged.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="For --repair: processes.  [default: the usable CPUs]"
)
def cache_verify(cache: Path, as_json: bool, repair: bool, videos: Path | None, workers: int | None) -> None:
    """Check every byte of a cache: hashes, checksums, index against shards, and plain readers on a sample.

    With --repair, files that are not what the manifest says are made again and replaced, and all is checked again.
    """
    if videos is not None and not repair:
        raise click.UsageError("--videos DIR is for --repair")
    with _exit_codes(), _TerminalProgress() as progress:
        if repair:
            from cache_builder.repair import repair_cache

            for entry in repair_cache(cache, videos, workers=workers or num_usable_cpus(), progress=progress):
                progress.note(f"{entry.name}: made again, as the manifest says")
        num_frames = read_manifest(cache).num_frames
        progress.start("verify", num_frames, "frames")
        result = verify_store(cache, progress=progress.advance)
        progress.close()
        if as_json:
            _say(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
        else:
            notes = [f"note: {line}" for line in result.notes]
            _say("\n".join([*result.problems, *notes, result.summary]))
        if result.problems:
            sys.exit(EXIT_NOT_WHOLE)


def _say_changes(manifest: StoreManifest, videos: Path, *, as_json: bool) -> None:
    from cache_builder.video_changes import changes_since

    lines = changes_since(manifest, videos)
    if as_json:
        _say(msgspec.json.encode({"changes": lines}).decode())
    else:
        summary = f"{len(lines)} differences" if lines else f"its {len(manifest.videos)} videos, unchanged"
        _say("\n".join([*lines, f"{videos}: {summary}"]))
    if lines:
        sys.exit(EXIT_NOT_WHOLE)


def _say(text: str) -> None:
    """Print to stdout, and what a stranger's manifest says without what moves a terminal's cursor.

    A reader that has had enough (`| head`) is no failure of ours; a full disk is the machine's.
    """
    try:
        click.echo(_without_controls(text))
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        # What is still buffered goes nowhere: Python would fail on it once more on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            raise MachineError(f"standard output cannot be written: {error.strerror}") from error


def _without_controls(text: str) -> str:
    r"""Control characters and lone surrogates as escapes, but for line breaks.

    >>> _without_controls("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)


class _exit_codes:  # noqa: N801 - reads as a statement
    """Turn the project's errors into one message on stderr and the exit code that stands for them.

    Meanwhile SIGTERM, which batch systems send first, ends the command as orderly as Ctrl-C does.
    """

    def __init__(self) -> None:
        self._sigterm = SigtermAsInterrupt()
        self.spell: Spell = as_flag
        """How the user said the settings that errors name."""

    def __enter__(self) -> Self:
        self._sigterm.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sigterm.__exit__(kind, error, trace)
        if isinstance(error, KeyboardInterrupt):
            is_sigterm = isinstance(error, Terminated)
            click.echo(f"{'terminated' if is_sigterm else 'interrupted'}; the same command resumes", err=True)
            sys.exit(EXIT_TERMINATED if is_sigterm else EXIT_INTERRUPTED)
        if isinstance(error, FrameCacheError):
            text = error.told(self.spell) if isinstance(error, NamesSettings) else str(error)
            click.echo(_without_controls(f"error: {text}"), err=True)
            sys.exit(_exit_code(error))
        if isinstance(error, OSError):  # what the file is to blame for has become an error of the kinds above
            what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
            click.echo(_without_controls(f"error: the machine failed: {what}"), err=True)
            sys.exit(EXIT_MACHINE_FAILED)


def _exit_code(error: FrameCacheError) -> int:
    if isinstance(error, MachineError):
        return EXIT_MACHINE_FAILED
    if isinstance(error, ConfigError | OutputError):
        return EXIT_WRONG_COMMAND
    if isinstance(error, VideosError | RepairError | StoreError):
        return EXIT_NOT_WHOLE
    return EXIT_WRONG_COMMAND
