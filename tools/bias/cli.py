"""The command `cache-bias`: bias and variance of samplers, before training.

Exit codes: 0 success; 1 a limit (`--max-chi2`, `--min-effective-batch`) is broken, or a cache is damaged; 2 the
command is wrong; 3 the machine failed, for example because this process can open no more files.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
from frame_cache_tools.bias.feeding import feed_builtins, feeds_text, options_of_flags, planned_feeds
from frame_cache_tools.bias.flags import (
    cases_of_flags,
    check_numbers,
    check_together,
    spec_of_flags,
    table_of_flags,
    wants_speed,
)
from frame_cache_tools.bias.plan import MeasuredSampler, measured_builtins, pick_sampler, plan_text
from frame_cache_tools.bias.plot import check_plot, plot_samplers
from frame_cache_tools.bias.section import Section
from frame_cache_tools.bias.table import HORIZON, MAX_FRAMES_READ
from frame_cache_tools.bias.text import legend_text

from cache_builder.cli import (
    EXIT_WRONG_COMMAND,
    OneLineCommand,
    PathName,
    PlaceName,
    exit_codes,
    say,
    say_error,
    write_content_orders,
)
from cache_builder.errors import ConfigError
from frame_store import ViewError, __version__
from loader import SamplingError

EXIT_LIMIT_BROKEN = 1


@click.command(
    "cache-bias", cls=OneLineCommand, context_settings={"show_default": True, "max_content_width": 110}
)
@click.version_option(__version__)
@click.argument("caches", metavar="[CACHE|URL]...", nargs=-1, type=PlaceName(takes_urls=True))
@click.option(
    "--videos",
    type=PathName(path_type=Path),
    help="A folder of videos before a build: only their packets are counted.",
)
@click.option(
    "--shard-sizes", type=PathName(path_type=Path), help="A file of shard sizes: JSON list, or numbers."
)
@click.option(
    "--sampling",
    type=click.Choice(["permutation", "stratified", "iid", "sequential", "shards", "block", "webdataset"]),
    help="One sampler instead of the table of candidates.",
)
@click.option("--batch-size", type=int, default=128, help="Frames (or windows) per batch and rank.")
@click.option("--shards-per-batch", type=int, help="shards: visits per batch, K.")
@click.option("--frames-per-visit", type=int, help="shards: frames of one shard per visit, m.")
@click.option(
    "--shard-choice",
    type=click.Choice(["proportional", "uniform"]),
    default="proportional",
    help="shards: how a shard is drawn.",
)
@click.option("--frames-with-replacement", is_flag=True, help="shards: a visit may draw a frame twice.")
@click.option("--shards-per-block", type=int, help="block: shards shuffled together, k.")
@click.option(
    "--strata",
    type=click.Choice(["time", "content"]),
    default="time",
    help="stratified: spread each batch over videos and times, or over what the frames show.",
)
@click.option("--clip-frames", type=int, help="Clips of this many frames, T: whole windows, drawn alike.")
@click.option("--clip-stride", type=int, default=1, help="Distance between the frames of a clip, q.")
@click.option("--frame-offsets", metavar="LIST", help="Windows of other offsets, such as -1,0.")
@click.option(
    "--edges",
    type=click.Choice(["pad", "whole"]),
    help="What becomes of windows near the ends of a video.  [default: whole for clips, else pad]",
)
@click.option("--concat", is_flag=True, help="All CACHE as one store, one after the other.")
@click.option(
    "--camera",
    metavar="NAME",
    help="Caches of cameras: look at the pixels of this camera for rho.  [default: the first]",
)
@click.option("--videos-like", metavar="GLOB", help="Only videos whose path matches, or is, GLOB.")
@click.option("--split", metavar="NAME=SHARE,...", help="Share the videos as frame_store.split does ...")
@click.option("--part", metavar="NAME", help="... and describe this part.")
@click.option("--split-seed", type=int, help="Seed of --split.  [default: 0]")
@click.option(
    "--weights",
    metavar="video|seconds|TAU|W,W,...",
    help="iid, shards, stratified: draw videos by weight: all alike, by duration, by n^TAU, or a number for each video "
    "or, with --concat, for each CACHE. The bias is against that target.",
)
@click.option("--shuffle-buffer", type=int, default=1000, help="webdataset: frames in the buffer, Q.")
@click.option("--num-workers", type=int, default=1, help="webdataset: DataLoader workers of each rank.")
@click.option(
    "--world-size",
    type=int,
    default=1,
    help="Ranks that share an epoch and average their gradients. All figures describe their global batch.",
)
@click.option(
    "--remainder",
    type=click.Choice(["drop", "pad", "uneven"]),
    help="What happens to a last step that is not whole.  [default: uneven for sequential, else drop]",
)
@click.option(
    "--features",
    type=PathName(path_type=Path),
    help=".npy with one row for each frame id, used in place of the gradient.  [default: thumbnails of the pixels]",
)
@click.option(
    "--gradients",
    metavar="MODEL.py",
    type=PathName(path_type=Path),
    help="A Python file that defines per_frame_gradients(frames): uint8 (B, H, W, C) -> (B, D). It is asked for every "
    "frame, 64 at a time; D above 512 is summed, with random signs, in 512 groups.",
)
@click.option(
    "--horizon",
    type=float,
    default=HORIZON,
    metavar="STEPS",
    help="Steps over which the noise of batches adds up: 1 / (step size x curvature), about as many as SGD takes to "
    "forget a disturbance. What cancels within them costs nothing. Smaller steps have a longer horizon.",
)
@click.option("--rho", type=float, help="Assume this correlation inside a shard, and read no pixels.")
@click.option(
    "--draws",
    type=int,
    default=100,
    help=f"Caches of more than {MAX_FRAMES_READ} frames: shards drawn to estimate rho, six frames of each; "
    "for stratified some twice as many stretches of neighbours.",
)
@click.option("--seed", type=int, default=0, help="Seed of the estimate.")
@click.option(
    "--write-order",
    is_flag=True,
    help="First order the frames of each CACHE by content, and write the order into it, as cache-build "
    "--content-order does.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the reports as JSON.")
@click.option(
    "--plot",
    type=PathName(path_type=Path),
    help="PNG: frames/s against what a batch is worth over --horizon steps.",
)
@click.option("--plan", "plans", is_flag=True, help="Measure the candidates on this machine and pick one.")
@click.option("--demand", type=float, help="With --plan: frames/s that the training needs.")
@click.option(
    "--url",
    "of_url",
    is_flag=True,
    help="With --plan: also what each sampler asks of an object store, for a cache that is, or will be, at a URL: "
    "requests, bytes, dollars and frames/s.",
)
@click.option(
    "--folder-bytes",
    type=click.IntRange(min=1),
    help="--url: the folder_bytes of open_store, which the ranks of a host share.  [default: no folder]",
)
@click.option(
    "--ranks-per-host",
    type=click.IntRange(min=1),
    help="--url: how many of --world-size are on one host.  [default: all]",
)
@click.option(
    "--dollars-per-million-gets",
    type=click.FloatRange(min=0),
    help="--url: price of requests.  [default: 0.40, as AWS lists it for us-east-1, from memory]",
)
@click.option(
    "--dollars-per-gb",
    type=click.FloatRange(min=0),
    help="--url: price of bytes that leave the store.  [default: 0]",
)
@click.option(
    "--latency-ms",
    type=click.FloatRange(min=0, min_open=True),
    help="--url: from a request to its first byte.  [default: 30]",
)
@click.option(
    "--mb-per-connection",
    type=click.FloatRange(min=0, min_open=True),
    help="--url: MB/s of one connection.  [default: 90]",
)
@click.option(
    "--connections", type=click.IntRange(min=1), help="--url: requests of a rank at one time.  [default: 64]"
)
@click.option("--max-chi2", type=float, help="With --sampling: exit 1 if chi^2 against --target is larger.")
@click.option(
    "--target",
    type=click.Choice(["windows", "frames", "weights"]),
    help="What should be drawn, for --max-chi2 and --plan.  [default: weights or windows if given, else frames]",
)
@click.option(
    "--min-effective-batch",
    type=float,
    help="With --sampling: exit 1 if the effective global batch may be smaller, 2 if nothing certain is known of it.",
)
def main(**flags: Any) -> None:  # noqa: ANN401 - click's values
    """What each way to sample does to training on CACHE: its bias, and how many independent frames a batch is worth.

    Numbers without a mark are exact: they follow from shard sizes and settings, or from all frames. Marks: [low,
    high] if rho is estimated from a sample of frames (caches of more than 20,000 frames) or is that of a shuffled
    build, if stratified is a mean over some batches of an epoch, and 95% of simulated orders for many steps
    together; <= and >= for bounds; ~ if a formula approximates, with the reason below the table. With --rho, the
    figures hold only as far as that rho does. The columns are explained below the table. Formulas and their proofs:
    loader/bias/SAMPLING.md.
    """
    with exit_codes(resumes=False):
        try:
            _run(flags)
        except (SamplingError, ViewError) as error:
            say_error(with_flags(str(error), flags))
            sys.exit(EXIT_WRONG_COMMAND)
        except ModuleNotFoundError as error:
            say_error(str(error))
            sys.exit(EXIT_WRONG_COMMAND)


def with_flags(text: str, names: Iterable[str]) -> str:
    """The loader's error message with its keywords written as flags of this command.

    A name of one word is replaced only with a value, because it is also an ordinary word.

    >>> with_flags("sampling='block' needs shards_per_block of 1 or more, found 0", ["sampling", "shards_per_block"])
    '--sampling block needs --shards-per-block of 1 or more, found 0'
    """
    known = sorted(names)
    with_value = rf"({'|'.join(known)})=(?:True|'?(\w+)'?)"
    alone = rf"({'|'.join(name for name in known if '_' in name)})(?![\w/=-])"
    return re.sub(
        rf"(?<![\w/.-])(?:{with_value}|{alone})",
        lambda found: f"--{(found[1] or found[3]).replace('_', '-')}" + (f" {found[2]}" if found[2] else ""),
        text,
    )


def _run(flags: dict[str, Any]) -> None:
    check_numbers(flags)
    if flags["plot"] is not None:
        check_plot(flags["plot"])
    if flags["write_order"]:
        _write_orders(flags["caches"])
    store_options = options_of_flags(flags)
    cases = cases_of_flags(flags)
    spec = spec_of_flags(flags)
    check_together(flags, cases, spec)
    sections = [Section(table_of_flags(case, flags), spec) for case in cases]
    measured = [row for section in sections for row in section.measure()] if wants_speed(flags) else []
    feeds = [] if store_options is None else planned_feeds(sections, store_options)
    if flags["as_json"]:
        values = _json_values(sections, measured, flags)
        if store_options is not None:
            values["store"] = [feed_builtins(each, store_options) for each in feeds]
        say(msgspec.json.format(msgspec.json.encode(values), indent=1).decode())
    else:
        say("\n\n".join(section.text() for section in sections))
        say("\n" + legend_text([report for section in sections for _, report in section.rows]))
        if flags["plans"]:
            say("\n" + plan_text(measured, demand=flags["demand"], target=flags["target"]))
        if store_options is not None:
            say("\n" + feeds_text(feeds, store_options))
    if flags["plot"] is not None:
        plot_samplers(measured, flags["plot"], demand=flags["demand"], target=flags["target"])
        click.echo(f"plot: {flags['plot']}", err=True)
    limits = {
        "max_chi2": flags["max_chi2"],
        "target": flags["target"],
        "least_batch": flags["min_effective_batch"],
    }
    broken = [line for section in sections for line in section.broken_limits(**limits)]
    for line in broken:
        click.echo(line, err=True)
    if broken:
        sys.exit(EXIT_LIMIT_BROKEN)


def _write_orders(caches: Sequence[Path]) -> None:
    """Write the content orders of caches. What was done goes to stderr: stdout is the report."""
    if not caches:
        raise ConfigError("--write-order writes into a cache: give one or more CACHE")
    write_content_orders(caches)


def _json_values(
    sections: list[Section], measured: list[MeasuredSampler], flags: dict[str, Any]
) -> dict[str, Any]:
    values: dict[str, Any] = {
        "cases": [section.builtins() for section in sections],
        "measured": [measured_builtins(row) for row in measured],
    }
    if flags["plans"]:
        best, why = pick_sampler(measured, demand=flags["demand"], target=flags["target"])
        values["pick"] = {**measured_builtins(best), "why": why}
    return values
