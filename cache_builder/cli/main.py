"""The commands `cache-build`, `cache-info` and `cache-verify`. Parse, call, print; exit codes are in `command_line`."""

import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from cache_builder.cli.command_line import EXIT_NOT_WHOLE, OneLineCommand, PathName, exit_codes, say
from cache_builder.cli.info_text import info_text
from cache_builder.cli.shown_progress import shown_progress
from cache_builder.errors import ConfigError
from cache_builder.setting_names import as_flag_or_key
from frame_store import __version__
from frame_store.manifest import StoreManifest, read_manifest
from frame_store.shared import counted, num_usable_cpus
from frame_store.verify import verify_store


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


@click.command(
    "cache-build",
    cls=OneLineCommand,
    context_settings={"show_default": True, "max_content_width": 110},
)
@click.version_option(__version__)
@click.argument("sources", metavar="DIR", nargs=-1, type=PathName(path_type=Path))
@click.option("--videos", type=PathName(path_type=Path), help="The same as DIR.")
@click.option("--out", type=PathName(path_type=Path), help="Where the cache goes.  [default: DIR.cache]")
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
    "--config",
    type=PathName(path_type=Path),
    help="TOML file of these settings, or the name of a preset; flags override it.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a cache (or unfinished build) of other settings or videos."
)
def cache_build(
    sources: tuple[Path, ...],
    videos: Path | None,
    out: Path | None,
    config: Path | None,
    overwrite: bool,
    **flags: Any,  # noqa: ANN401 - click's values, checked by BuildSettings
) -> None:
    """Decode every video of the folder DIR and its subfolders, or the one video DIR, into a sharded frame store.

    A killed build is resumed by the same command; a finished one is left untouched.
    """
    with exit_codes() as codes, shown_progress() as progress:
        from cache_builder.build import default_output, report_text, run_build
        from cache_builder.settings import BuildSettings, read_settings, resolve

        source = _single_source(sources, videos)
        settings = BuildSettings()
        if config is not None:
            settings = read_settings(config)
            codes.spell = as_flag_or_key(config, settings.said - BuildSettings(**flags).said)
        build_config, options = resolve(settings.overridden_by(BuildSettings(**flags)))
        output = out if out is not None else default_output(source)
        report = run_build(source, output, build_config, options, overwrite=overwrite, progress=progress)
        progress.close()
        say(report_text(report))
        if report.not_whole:
            sys.exit(EXIT_NOT_WHOLE)


def _single_source(sources: tuple[Path, ...], videos: Path | None) -> Path:
    """What to build from, said as an argument or by `--videos`.

    Raises:
        ConfigError: nothing, or several things, are said.
    """
    said = [*sources, *([] if videos is None else [videos])]
    if not said:
        raise ConfigError(
            "say what to build from: cache-build DIR, where DIR is a folder of videos, or one video"
        )
    if len(said) > 1:
        listed = ", ".join(map(str, said))
        raise ConfigError(
            f"one cache is built from one DIR, and {len(said)} are given: {listed}; "
            "build each by a command of its own, or put links to them into one folder"
        )
    return said[0]


@click.command("cache-info", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("cache", type=PathName(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The whole manifest as JSON.")
@click.option("--videos", "list_videos", is_flag=True, help="A table with a line for every video.")
@click.option(
    "--against",
    metavar="DIR",
    type=PathName(path_type=Path),
    help="Compare with a folder of videos (or one) instead: name those that are new, changed or gone, and exit 1.",
)
def cache_info(cache: Path, as_json: bool, list_videos: bool, against: Path | None) -> None:
    """Say what a cache holds and how it was made, from its manifest."""
    with exit_codes():
        from cache_builder.discover import printable

        manifest = read_manifest(cache)
        if against is not None:
            _say_changes(manifest, against, as_json=as_json)
        elif as_json:
            say(msgspec.json.format(msgspec.json.encode(manifest), indent=1).decode())
        else:
            say(info_text(manifest, path=printable(str(cache)), list_videos=list_videos))


@click.command("cache-verify", cls=OneLineCommand)
@click.version_option(__version__)
@click.argument("cache", type=PathName(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("--repair", is_flag=True, help="Make damaged files again, bit for bit.")
@click.option(
    "--videos",
    type=PathName(path_type=Path),
    help="For --repair: what it was built from; needed where shards are damaged.",
)
@click.option(
    "--workers", type=click.IntRange(min=1), help="For --repair: processes.  [default: the usable CPUs]"
)
def cache_verify(cache: Path, as_json: bool, repair: bool, videos: Path | None, workers: int | None) -> None:
    """Check every byte of a cache: hashes, checksums, index against shards, and plain readers on a sample.

    With --repair, files that are not what the manifest says are made again and replaced, and all is checked again.
    """
    with exit_codes(), shown_progress() as progress:
        if not repair and (videos is not None or workers is not None):
            raise ConfigError(
                f"{'--videos' if videos is not None else '--workers'} is for --repair: give both, or none"
            )
        if repair:
            from cache_builder.repair import repair_cache

            for entry in repair_cache(cache, videos, workers=workers or num_usable_cpus(), progress=progress):
                progress.note(f"{entry.name}: made again, as the manifest says")
        num_frames = read_manifest(cache).num_frames
        progress.start("verify", num_frames, "frames")
        result = verify_store(cache, progress=progress.advance)
        progress.close()
        if as_json:
            say(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
        else:
            notes = [f"note: {line}" for line in result.notes]
            say("\n".join([*result.problems, *notes, result.summary]))
        if result.problems:
            sys.exit(EXIT_NOT_WHOLE)


def _say_changes(manifest: StoreManifest, videos: Path, *, as_json: bool) -> None:
    from cache_builder.build import changes_since

    lines = changes_since(manifest, videos)
    if as_json:
        say(msgspec.json.encode({"changes": lines}).decode())
    else:
        unchanged = f"its {counted(len(manifest.videos), 'video')}, unchanged"
        summary = counted(len(lines), "difference") if lines else unchanged
        say("\n".join([*lines, f"{videos}: {summary}"]))
    if lines:
        sys.exit(EXIT_NOT_WHOLE)
