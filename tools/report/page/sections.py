"""Sections of the page below its summary: fidelity, columns, samplers, build settings, data set, snippet."""

import math
from collections.abc import Sequence
from typing import Final

from frame_cache_tools.report.data import (
    CacheReport,
    CameraFacts,
    ColumnFacts,
    ComparedFrame,
    DatasetFacts,
    FidelityFacts,
    SamplerFacts,
    SamplingFacts,
    VideosSummary,
)
from frame_cache_tools.report.page.drawings import bars_table, curves_plot, histogram, meter
from frame_cache_tools.report.page.parts import (
    box,
    code_block,
    data_table,
    facts_table,
    folded,
    limited,
    plain_list,
)
from frame_cache_tools.report.page.wording import bytes_text, percent_text, seconds_text, three_digits

from frame_store.html import Child, Html, element, name_of
from frame_store.lerobot_statement import LEROBOT_KIND
from frame_store.shared import counted_in_groups

MANY_BARS: Final = 6
MAX_SETTINGS: Final = 60
MAX_GENERATIONS: Final = 50


def fidelity_part(facts: FidelityFacts) -> Html:
    """What the build measured, and the worst frames beside their originals."""
    recorded = facts.recorded
    measured: Child = None
    if recorded is not None and recorded.psnr_db_worst_frame is not None:
        measured = element(
            "p",
            f"The build compared {counted_in_groups(recorded.num_frames_sampled, 'frame')} (about one in 16) with the "
            f"pixels that they were made of: PSNR {recorded.psnr_db_of_mean_error:.1f} dB by the mean error, "
            f"{recorded.psnr_db_worst_frame:.1f} dB in the worst frame. A higher number is closer. This compares with "
            "what the decoder gave: it measures the storage alone, and a damaged picture that is stored well counts as "
            "good.",
        )
    compared: list[Child] = []
    if facts.compared:
        compared = [
            element(
                "p",
                f"For this page {counted_in_groups(facts.num_compared, 'stored frame')} of "
                f"{counted_in_groups(facts.num_compared_videos, 'video')} (those with the worst sampled frames) were "
                f"decoded again from the original videos. The worst of these:",
            ),
            [_compared(one) for one in facts.compared],
        ]
    worst = [
        (
            name_of(video.path),
            f"{video.fidelity.num_frames_sampled:,}",
            _decibels(video.fidelity.psnr_db_of_mean_error),
            _decibels(video.fidelity.psnr_db_worst_frame),
        )
        for video in facts.worst_videos
    ]
    return element(
        "div",
        measured,
        compared,
        box("warn", facts.why_none) if facts.why_none is not None and not facts.is_exact else None,
        element("p", facts.why_none) if facts.is_exact else None,
        data_table(
            "Videos with the worst sampled frames",
            ("video", "frames sampled", "PSNR, dB", "worst frame, dB"),
            worst,
            numeric=frozenset({1, 2, 3}),
        )
        if worst
        else None,
    )


def _decibels(value: float | None) -> str:
    return "exact" if value is None else f"{value:.1f}"


def _compared(one: ComparedFrame) -> Html:
    moment = seconds_text(one.seconds)
    of = f"frame {one.frame_in_video}{f' at {moment}' if moment else ''} of {one.path}"
    quality = "equal to the original" if one.psnr_db is None else f"PSNR {one.psnr_db:.1f} dB"
    return element(
        "div",
        element(
            "figure",
            one.stored.html(alt=f"Stored: {of}"),
            element(
                "figcaption",
                element("b", "Stored"),
                f": frame {one.frame_in_video}{f', {moment}' if moment else ''} of ",
                name_of(one.path),
                f", {quality}",
            ),
        ),
        element(
            "figure",
            one.original.html(alt=f"Original: {of}"),
            element("figcaption", element("b", "Original"), ", decoded and resized now"),
        ),
        element(
            "figure",
            one.difference.html(alt=f"Difference of the two, times {one.gain}, around gray"),
            element("figcaption", element("b", "Difference"), f", {one.gain} times, around gray"),
        ),
        class_="three",
    )


def column_plot(column: ColumnFacts) -> Html:
    """A column at a glance."""
    facts = [f"per {column.scope}, {column.kind}", f"{column.num_rows:,} rows"]
    if column.num_missing:
        share = percent_text(column.num_missing / (column.num_rows or 1))
        facts.append(f"{column.num_missing:,} missing ({share})")
    if column.num_not_finite:
        facts.append(f"{column.num_not_finite:,} not finite")
    sampled = (
        "" if column.num_sampled == column.num_rows else f", of {column.num_sampled:,} rows spread evenly"
    )
    parts: list[Child] = [element("h3", name_of(column.name)), element("p", ", ".join(facts), class_="soft")]
    if column.minimum is not None and column.maximum is not None and column.mean is not None:
        parts.append(
            element(
                "p",
                f"{three_digits(column.minimum)} to {three_digits(column.maximum)}, mean {three_digits(column.mean)}"
                f"{sampled}",
            )
        )
    elif sampled:
        parts.append(element("p", f"Counts{sampled}", class_="soft"))
    if column.curves and any(value is not None for curve in column.curves for value in curve.values):
        more = f"; {column.num_curves_left_out:,} more not drawn" if column.num_curves_left_out else ""
        labels = ", ".join(curve.label for curve in column.curves if curve.label)
        parts += [
            curves_plot(column.curves, label=f"Values of {column.name} along one video"),
            element("p", "along ", name_of(column.curves_of), f" {labels}{more}", class_="soft"),
        ]
    if len(column.bars) > MANY_BARS and column.minimum is not None:
        parts += [
            histogram(column.bars, label=f"How often values of {column.name} occur"),
            element("p", "how often values occur, from the least to the largest", class_="soft"),
        ]
    elif column.bars:
        parts.append(bars_table(column.bars, label="how often values occur", what="value"))
    if column.num_other_texts:
        parts.append(
            element("p", f"and {counted_in_groups(column.num_other_texts, 'other text')}", class_="soft")
        )
    return element("div", parts, class_="plot")


def columns_part(report: CacheReport) -> Html:
    """All columns at a glance."""
    left_out = report.num_columns_left_out
    return element(
        "div",
        element("div", [column_plot(column) for column in report.columns], class_="plots"),
        element("p", f"{counted_in_groups(left_out, 'more column')} not shown") if left_out else None,
    )


def samplers_part(sampling: SamplingFacts) -> Html:
    """What each sampler does to a batch."""
    known = [row.effective_batch_value for row in sampling.samplers if row.effective_batch_value is not None]
    most = max([value for value in known if math.isfinite(value)], default=1.0)
    rows: list[Sequence[Child]] = [
        (
            [element("b", row.name), " (recommended)"] if row is sampling.best else row.name,
            "none"
            if row.is_unbiased or row.bias == "0"
            else "below 0.0001"
            if row.bias == "0.0000"
            else row.bias,
            [meter((row.effective_batch_value or 0) / most), row.effective_batch],
            row.long_run,
        )
        for row in sampling.samplers
    ]
    best = next((place for place, row in enumerate(sampling.samplers) if row is sampling.best), None)
    size, steps = sampling.batch_size, f"{sampling.horizon:g}"
    how = (
        "The figures are computed from thumbnails of all frames."
        if sampling.is_of_all_frames
        else "The figures are estimates from a few frames; [low, high] are their intervals."
    )
    notes: list[Child] = [
        [element("b", row.name), ": ", "; ".join(row.notes)] for row in sampling.samplers if row.notes
    ]
    notes += [[element("b", "refused"), f": {line}"] for line in sampling.refused]
    meanings: list[Child] = [
        [
            element("b", "Bias"),
            ": how far training is pulled towards frames that are shown more often than others, in standard "
            f"deviations of one frame's gradient; here {sampling.proxy} stand for the gradient. A sampler with a bias "
            "is not recommended, however steady its batches are.",
        ],
        [
            element("b", f"A batch of {size} is worth"),
            ": how many frames, each drawn at random from the whole cache, have a mean as steady as that of one batch. "
            f"The number can be larger than {size}, and larger than the cache: a batch that takes a frame of each part "
            "of the cache misses no kind of picture, and frames drawn at random miss some and take others twice, "
            "however many they are.",
        ],
        [
            element("b", f"Over {steps} steps"),
            f": the same for the mean of {steps} batches in a row, for each batch. It is larger where what one batch "
            "misses comes in the next ones.",
        ],
        [">= is at least, <= at most, ~ an approximation."],
    ]
    return element(
        "div",
        element("p", how),
        plain_list(meanings),
        data_table(
            "Samplers, as cache-bias computes them",
            ("sampler", "bias", f"a batch of {size} is worth", f"over {steps} steps"),
            rows,
            numeric=frozenset({1, 2, 3}),
            best=best,
        ),
        folded("Notes on single samplers", plain_list(notes)) if notes else None,
    )


def build_part(camera: CameraFacts) -> Html:
    """Settings, sizes and versions of a cache, or of one camera."""
    least, most = camera.shard_frames
    sizes = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    raw = camera.raw_frame_bytes
    rows: list[tuple[Child, Child]] = [
        ("frames", f"{camera.num_frames:,} of {' x '.join(map(str, camera.frame_shape))} ({camera.pixel})"),
        ("stored as", f"{camera.encoding}, in {camera.container}, layout {camera.layout}"),
        ("shards", f"{camera.num_shards:,} of {sizes} frames"),
        (
            "on disk",
            f"{bytes_text(camera.num_bytes)}, {bytes_text(camera.num_bytes / (camera.num_frames or 1))} a frame; raw "
            f"pixels take {bytes_text(raw)} a frame",
        ),
        ("fingerprint", element("code", camera.fingerprint)),
    ]
    rows += [(f"--{name}", value) for name, value in camera.settings[:MAX_SETTINGS]]
    versions = plain_list(f"{name} {version}" for name, version in camera.versions[:MAX_SETTINGS])
    return element(
        "div",
        facts_table(rows, label="Build settings"),
        generations_table(camera),
        forgotten_part(camera.summary)
        if camera.summary is not None and camera.summary.num_forgotten
        else None,
        folded("Versions of the libraries", versions) if camera.versions else None,
    )


def generations_table(camera: CameraFacts) -> Html:
    """The generations of a cache that grew."""
    rows = [
        (
            [
                element("code", generation.folder),
                f" joined from {generation.num_parts:,}" if generation.num_parts > 1 else None,
            ],
            f"{generation.num_frames:,}",
            f"{generation.num_videos:,}",
            f"{generation.num_shards:,}",
            bytes_text(generation.num_bytes),
        )
        for generation in camera.generations
    ]
    return element(
        "div",
        data_table(
            "Generations, in the order in which they were added",
            ("generation", "frames", "videos", "shards", "bytes"),
            rows[:MAX_GENERATIONS],
            numeric=frozenset({1, 2, 3, 4}),
        ),
        element("p", f"and {len(rows) - MAX_GENERATIONS:,} more") if len(rows) > MAX_GENERATIONS else None,
    )


def forgotten_part(summary: VideosSummary) -> Html:
    """The videos that a cache leaves out."""
    names: list[Child] = [name_of(path) for path in summary.forgotten]
    if summary.num_forgotten > len(names):
        names.append(f"and {counted_in_groups(summary.num_forgotten - len(names), 'other')}")
    return folded(f"{counted_in_groups(summary.num_forgotten, 'forgotten video')}", plain_list(names))


def dataset_part(dataset: DatasetFacts) -> Html:
    """What a data set states about itself, and its tasks."""
    tasks = limited([*dataset.tasks], at_most=10, noun="task")
    if dataset.num_tasks > len(dataset.tasks):
        tasks[-1] = f"and {counted_in_groups(dataset.num_tasks - 10, 'more task')}"
    return element(
        "div",
        facts_table([("kind", dataset.kind), *dataset.facts], label="The data set"),
        [element("h3", "Tasks"), plain_list(tasks)] if tasks else None,
    )


def snippet_of(report: CacheReport) -> str:
    """Code that loads the cache with the recommended sampler."""
    best: SamplerFacts | None = None if report.sampling is None else report.sampling.best
    options = "".join(f", {name}={value!r}" for name, value in (() if best is None else best.options))
    leader = report.leader
    height, width, channels = leader.frame_shape
    dtype = "torch.uint8" if leader.pixel == "rgb8" else "torch.uint16"
    size = 128 if report.sampling is None else report.sampling.batch_size
    frames = "batch.frames" if leader.name is None else f"batch.frames[{leader.name!r}]"
    shape = f"{dtype} ({size}, {channels}, {height}, {width})"
    lines = [
        "from loader import FrameLoader",
        "",
        f"batches = FrameLoader({report.path!r}, batch_size={size}{options}, seed=0)",
        "for batch in batches:  # one iteration is one epoch",
        f"    frames = {frames}  # {shape}",
    ]
    if report.columns:
        name = report.columns[0].name
        lines[2] = lines[2][:-1] + f", columns=[{name!r}])"
        lines.append(f"    values = batch.columns[{name!r}]")
    return "\n".join(lines) + "\n"


def load_part(report: CacheReport) -> Html:
    """The snippet, with a button that copies it; of a LeRobot data set a second one."""
    is_lerobot = report.dataset is not None and report.dataset.kind == LEROBOT_KIND
    return element(
        "div",
        code_block("snippet", snippet_of(report), label="Python code that loads the cache"),
        [
            element("p", "The items that LeRobot's own data set gives, for its policies:"),
            code_block(
                "lerobot-snippet", lerobot_snippet_of(report), label="Python code that gives LeRobot's items"
            ),
        ]
        if is_lerobot
        else None,
    )


def lerobot_snippet_of(report: CacheReport) -> str:
    """Code that gives the items of LeRobot's data set out of the cache."""
    lines = [
        "from loader.lerobot import LeRobotFrames",
        "",
        f"frames = LeRobotFrames({report.path!r})  # windows: delta_timestamps as the second argument",
        "item = frames[0]",
    ]
    return "\n".join(lines) + "\n"
