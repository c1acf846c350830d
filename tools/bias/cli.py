"""The command `cache-bias`: what a sampler's relaxation costs, before anyone trains.

Exit codes: 0 all well; 1 a limit (`--max-chi2`, `--min-effective-batch`) is broken, or a cache is damaged; 2 the
command was wrong; 3 the machine failed, as where this process can open no more files.
"""

import math
import re
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec
from frame_cache_tools.bias.cases import (
    BiasSubject,
    subject_of_cache,
    subject_of_sizes,
    subjects_of_videos,
)
from frame_cache_tools.bias.plan import (
    MeasuredSampler,
    measure_candidates,
    measured_builtins,
    pick_sampler,
    plan_text,
)
from frame_cache_tools.bias.plot import plot_samplers
from frame_cache_tools.bias.table import (
    MAX_FRAMES_READ,
    BiasTable,
    candidates,
    report_builtins,
)
from frame_cache_tools.bias.text import table_text

from cache_builder.cli import EXIT_WRONG_COMMAND, OneLineCommand, PathName, exit_codes, say, say_error
from cache_builder.errors import ConfigError
from frame_store import __version__
from loader import SamplingError, SamplingSpec
from loader.bias import NOTHING_VARIES, BiasReport, Target, least_correlation, load_features, scaled_features
from loader.bias.webdataset import WebDatasetSpec
from loader.sampling import frames_of_visit

EXIT_LIMIT_BROKEN = 1


@click.command(
    "cache-bias", cls=OneLineCommand, context_settings={"show_default": True, "max_content_width": 110}
)
@click.version_option(__version__)
@click.argument("caches", metavar="[CACHE]...", nargs=-1, type=PathName(path_type=Path))
@click.option(
    "--videos", type=PathName(path_type=Path), help="A folder not built yet: its packets are counted only."
)
@click.option(
    "--shard-sizes", type=PathName(path_type=Path), help="A file of shard sizes: JSON list, or numbers."
)
@click.option(
    "--sampling",
    type=click.Choice(["permutation", "iid", "sequential", "shards", "block", "webdataset"]),
    help="One sampler instead of the table of candidates.",
)
@click.option("--batch-size", type=int, default=128, help="Frames (or clips) per batch and rank.")
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
@click.option("--clip-frames", type=int, help="Clips of this many frames, T: whole windows, drawn alike.")
@click.option("--clip-stride", type=int, default=1, help="Distance between the frames of a clip, q.")
@click.option("--shuffle-buffer", type=int, default=1000, help="webdataset: frames in the buffer, Q.")
@click.option("--num-workers", type=int, default=1, help="webdataset: DataLoader workers of each rank.")
@click.option(
    "--world-size",
    type=int,
    default=1,
    help="Ranks that share an epoch and average their gradients: all is said of their global batch.",
)
@click.option(
    "--remainder",
    type=click.Choice(["drop", "pad", "uneven"]),
    help="What becomes of a last step that is not whole.  [default: uneven for sequential, else drop]",
)
@click.option(
    "--features",
    type=PathName(path_type=Path),
    help=".npy of one row a frame id, to take for the gradient.  [default: thumbnails of the pixels]",
)
@click.option("--rho", type=float, help="Take this for the correlation inside a shard, and look at no pixel.")
@click.option(
    "--draws",
    type=int,
    default=100,
    help=f"Caches of more than {MAX_FRAMES_READ} frames: shards drawn to estimate rho, six frames of each.",
)
@click.option("--seed", type=int, default=0, help="Seed of the estimate.")
@click.option("--json", "as_json", is_flag=True, help="The reports as JSON.")
@click.option("--plot", type=PathName(path_type=Path), help="PNG: effective batch against frames/s.")
@click.option("--plan", "plans", is_flag=True, help="Measure the candidates here and pick one.")
@click.option("--demand", type=float, help="With --plan: frames/s that the training needs.")
@click.option("--max-chi2", type=float, help="With --sampling: exit 1 if chi^2 against --target is larger.")
@click.option(
    "--target",
    type=click.Choice(["windows", "frames"]),
    help="What is to be drawn uniformly, for --max-chi2 and --plan.  [default: windows for clips, else frames]",
)
@click.option(
    "--min-effective-batch",
    type=float,
    help="With --sampling: exit 1 if a global batch may be worth less, 2 if nothing certain is known of it.",
)
def main(**flags: Any) -> None:  # noqa: ANN401 - click's values
    """Bias and variance of samplers over CACHE: chi^2, coincidence, design effect, effective global batch.

    Exact, from shard sizes and settings alone or from all frames: every number without a mark. Not exact, and marked:
    [low, high] where rho is estimated from a sample of frames (caches of more than 20,000 frames) or is that of a
    shuffled build; <= and >= for bounds; ~ where a formula approximates, with the reason below the table. What --rho
    assumes is as true as that. Formulas and their proofs: loader/bias/SAMPLING.md.
    """
    with exit_codes(resumes=False):
        try:
            _run(flags)
        except SamplingError as error:
            say_error(with_flags(str(error), flags))
            sys.exit(EXIT_WRONG_COMMAND)
        except ModuleNotFoundError as error:
            say_error(str(error))
            sys.exit(EXIT_WRONG_COMMAND)


def with_flags(text: str, names: Iterable[str]) -> str:
    """A refusal of the loader, which names its keywords, as a user of the command says them.

    Names of one word are taken only with a value, as they are plain words, too.

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
    subjects = _subjects(flags)
    spec = _spec(flags)
    _check_numbers(flags)
    _check_together(flags, subjects, spec)
    sections = [_Section(_table(subject, flags), spec) for subject in subjects]
    measured = [row for section in sections for row in section.measure()] if _wants_speed(flags) else []
    if flags["as_json"]:
        values = {
            "subjects": [section.builtins(with_levels=flags["rho"] is None) for section in sections],
            "measured": [measured_builtins(row) for row in measured],
        }
        if flags["plans"]:
            best, why = pick_sampler(measured, demand=flags["demand"], target=flags["target"])
            values["pick"] = {**measured_builtins(best), "why": why}
        say(msgspec.json.format(msgspec.json.encode(values), indent=1).decode())
    else:
        say("\n\n".join(section.text(with_levels=flags["rho"] is None) for section in sections))
        if flags["plans"]:
            say("\n" + plan_text(measured, demand=flags["demand"], target=flags["target"]))
    if flags["plot"] is not None:
        plot_samplers(measured, flags["plot"])
        click.echo(f"plot: {flags['plot']}", err=True)
    broken = _broken_limits(
        sections,
        max_chi2=flags["max_chi2"],
        target=flags["target"],
        least_batch=flags["min_effective_batch"],
    )
    for line in broken:
        click.echo(line, err=True)
    if broken:
        sys.exit(EXIT_LIMIT_BROKEN)


class _Section:
    """One subject with its rows."""

    def __init__(self, table: BiasTable, spec: SamplingSpec | WebDatasetSpec | None) -> None:
        specs = candidates(table.subject, batch_size=table.batch_size) if spec is None else [spec]
        self.table = table
        self.refused: list[str] = []
        self.rows: list[tuple[SamplingSpec | WebDatasetSpec, BiasReport]] = []
        for each in specs:
            try:
                self.rows.append((each, table.report(each)))
            except SamplingError as error:
                if spec is not None:
                    raise
                self.refused.append(f"{each}: {error}")
        if not self.rows:
            raise SamplingError("\n".join(self.refused))

    def measure(self) -> list[MeasuredSampler]:
        return measure_candidates(
            self.table, [(spec, report) for spec, report in self.rows if isinstance(spec, SamplingSpec)]
        )

    def text(self, *, with_levels: bool) -> str:
        levels = self.table.levels() if with_levels else []
        return "\n".join([table_text(self.table, self.rows, levels), *self.refused])

    def builtins(self, *, with_levels: bool) -> dict[str, Any]:
        subject = self.table.subject
        return {
            "name": subject.name,
            "layout": subject.layout,
            "num_frames": subject.num_frames,
            "num_shards": len(subject.shard_sizes),
            "world_size": self.table.world_size,
            "batch_size": self.table.batch_size,
            "global_batch_size": self.table.world_size * self.table.batch_size,
            "rho": [asdict(estimate) for estimate in (self.table.levels() if with_levels else [])],
            "samplers": [
                report_builtins(report, self.table.short_videos(spec)) for spec, report in self.rows
            ],
            "refused": self.refused,
        }


def _subjects(flags: dict[str, Any]) -> list[BiasSubject]:
    given = [bool(flags[name]) for name in ("caches", "videos", "shard_sizes")]
    if sum(given) != 1:
        raise ConfigError("say what to look at: one or more CACHE, or --videos DIR, or --shard-sizes FILE")
    if flags["videos"] is not None:
        subjects = subjects_of_videos(flags["videos"])
        if flags["clip_frames"] is None:
            return subjects
        return [subject for subject in subjects if subject.layout == "video"]  # the other holds no clips
    if flags["shard_sizes"] is not None:
        return [subject_of_sizes(flags["shard_sizes"])]
    return [subject_of_cache(path) for path in flags["caches"]]


def _spec(flags: dict[str, Any]) -> SamplingSpec | WebDatasetSpec | None:
    if flags["sampling"] == "webdataset":
        return WebDatasetSpec(shuffle_buffer=flags["shuffle_buffer"], num_workers=flags["num_workers"])
    if flags["sampling"] is None and flags["clip_frames"] is None:
        return None
    frames_per_visit = flags["frames_per_visit"]
    if flags["shards_per_batch"] is not None:
        frames_per_visit = frames_of_visit(
            batch_size=flags["batch_size"],
            shards_per_batch=flags["shards_per_batch"],
            frames_per_visit=frames_per_visit,
        )
    return SamplingSpec(
        sampling=flags["sampling"] or "permutation",
        frames_per_visit=frames_per_visit,
        **{
            name: flags[name]
            for name in (
                "shard_choice",
                "frames_with_replacement",
                "shards_per_block",
                "clip_frames",
                "clip_stride",
            )
        },
    )


def _check_together(
    flags: dict[str, Any], subjects: list[BiasSubject], spec: SamplingSpec | WebDatasetSpec | None
) -> None:
    if spec is None and (flags["max_chi2"] is not None or flags["min_effective_batch"] is not None):
        raise ConfigError("--max-chi2 and --min-effective-batch judge one sampler: give --sampling")
    wants_clips = isinstance(spec, SamplingSpec) and spec.clip_frames is not None
    if flags["target"] == "windows" and not wants_clips:
        raise ConfigError("--target windows is about clips: give --clip-frames")
    if flags["target"] is not None and flags["max_chi2"] is None and not flags["plans"]:
        raise ConfigError("--target says what --max-chi2 or --plan judges: give one of them")
    if flags["plans"] != (flags["demand"] is not None):
        raise ConfigError("--plan and --demand FRAMES_PER_SECOND belong together")
    if _wants_speed(flags) and (subjects[0].store is None or isinstance(spec, WebDatasetSpec)):
        raise ConfigError("--plan and --plot measure FrameLoader on caches: give CACHE, and no webdataset")
    if flags["features"] is not None and (subjects[0].store is None or len(subjects) > 1):
        raise ConfigError("--features has a row for each frame of one cache: give one CACHE")
    if flags["features"] is not None and flags["rho"] is not None:
        raise ConfigError("--features and --rho are two answers to one question: give one of them")


def _check_numbers(flags: dict[str, Any]) -> None:
    for name in ("max_chi2", "min_effective_batch"):
        if flags[name] is not None and math.isnan(flags[name]):  # nothing is above or below it
            raise ConfigError(f"--{name.replace('_', '-')} is a number, found nan")
    if flags["demand"] is not None and not 0 < flags["demand"] < math.inf:
        raise ConfigError(f"--demand is a number of frames/s above 0, found {flags['demand']:g}")
    for name in ("batch_size", "world_size"):
        if flags[name] < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be 1 or more, found {flags[name]}")
    if flags["draws"] < 3:
        raise ConfigError(f"--draws must be 3 or more, found {flags['draws']}")


def _wants_speed(flags: dict[str, Any]) -> bool:
    return flags["plans"] or flags["plot"] is not None


def _table(subject: BiasSubject, flags: dict[str, Any]) -> BiasTable:
    features = None
    if flags["features"] is not None:
        features = scaled_features(load_features(flags["features"], num_frames=subject.num_frames))
    if flags["rho"] is not None:
        _check_rho(flags["rho"], subject)
    return BiasTable(
        subject,
        batch_size=flags["batch_size"],
        world_size=flags["world_size"],
        remainder=flags["remainder"],
        features=features,
        features_name=str(flags["features"]),
        assumed_rho=flags["rho"],
        draws=flags["draws"],
        seed=flags["seed"],
    )


def _check_rho(rho: float, subject: BiasSubject) -> None:
    """Refuse what no frames can have (S22)."""
    least = least_correlation(subject.shard_sizes)
    if not least <= rho <= 1:
        raise ConfigError(
            f"--rho is how alike two frames of one shard are, from {least:.4g} to 1 for shards of these sizes "
            f"({subject.name}), found {rho:g}"
        )


def _broken_limits(
    sections: list[_Section], *, max_chi2: float | None, target: Target | None, least_batch: float | None
) -> list[str]:
    lines = []
    for section in sections:
        for _, report in section.rows:
            where = f"{section.table.subject.name}: {report.law.name}"
            judged = target or report.law.target
            chi2 = report.law.chi2_over(judged)
            if max_chi2 is not None and report.law.chi2_is_by_slots:
                lines.append(
                    f"{where}: no chi2 to judge: a worker's last batch is short, and a step like any other; "
                    f"take a --batch-size that fits the shards"
                )
            elif max_chi2 is not None and chi2 > max_chi2:
                lines.append(f"{where}: chi2 over {judged} is {chi2:.4g}, at most {max_chi2:g} is allowed")
            if least_batch is None:
                continue
            worth = report.least_effective_batch
            if worth is None:
                which = "that differ" if report.why_not_exact == NOTHING_VARIES else "of all frames"
                raise ConfigError(
                    f"{where}: --min-effective-batch judges what is certain, and nothing certain is known of this "
                    f"sampler here ({report.why_not_exact}); give --features {which}"
                )
            if worth < least_batch:
                lines.append(
                    f"{where}: a global batch may be worth only {worth:.1f} independent frames, "
                    f"at least {least_batch:g} are asked for"
                )
    return lines
