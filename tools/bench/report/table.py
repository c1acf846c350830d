"""`cache-bench` for a terminal: machine, figures by group, caches, break-even."""

from collections.abc import Sequence

from frame_cache_tools.bench.machine import versions_text
from frame_cache_tools.bench.measure import LeftOut, Spread
from frame_cache_tools.bench.report.break_even import BreakEven
from frame_cache_tools.bench.report.report import BenchReport, BenchRow, TimeUsed

from frame_store.shared import counted

GROUPS = ("usual loader", "LeRobot", "live", "object store", "cached", "other loaders", "GPU", "limits")


def report_text(report: BenchReport) -> str:
    """The whole report as text."""
    parts = [
        f"{report.machine.text()}\n{versions_text(report.versions)}\ndate  {report.date}",
        *([_videos_text(report)] if report.videos is not None else []),
        *([_caches_text(report)] if report.caches else []),
        *([rows_text(report)] if report.rows else []),
        *([report.lerobot.text] if report.lerobot is not None else []),
        *([break_even_text(report.break_even)] if report.break_even else []),
        *([_left_out_text(report.left_out)] if report.left_out else []),
        *(["\n".join(report.notes)] if report.notes else []),
        _time_text(report.time),
        *(
            ["interrupted: the figures above are of what was measured until then"]
            if report.interrupted
            else []
        ),
    ]
    return "\n\n".join(parts)


def rows_text(report: BenchReport) -> str:
    """The rows, slow groups first."""
    rows = report.rows
    width = max(len(row.case.name) for row in rows)
    header = (
        f"{'':{width}} {'images/s':>9} {'spread':>15} {'rounds':>8} {'x usual':>8} {'of limit':>9} "
        f"{'first batch s':>14} {'peak MB':>8} {'eff. batch':>11}"
    )
    lines = [
        f"Batches of {report.batch_size}. Medians of {report.num_rounds} interleaved rounds, or of the number in the "
        "column rounds; spread: smallest and largest;",
        f"{'the usual loader' if report.lerobot is None else 'LeRobot'} was not measured"
        if report.usual_row is None
        else f"x usual: times {report.usual_row}",
        header,
    ]
    for group in GROUPS:
        of_group = [row for row in rows if row.case.group == group]
        if of_group:
            lines += [f"-- {group}", *(_row_text(row, width) for row in of_group)]
    return "\n".join(lines)


def break_even_text(rows: Sequence[BreakEven]) -> str:
    """Epochs after which building has paid for itself."""
    width = max(len(row.cache) for row in rows)
    other_width = max(len(row.other_row) for row in rows)
    lines = [
        f"Break-even for {counted(rows[0].num_frames, 'frame')}: epochs after which build and cached epochs took "
        "no longer",
        f"{'cache':{width}} {'against':{other_width}} {'build s':>9} {'its epoch s':>12} {'cached epoch s':>15} "
        f"{'epochs':>7}",
    ]
    for row in rows:
        epochs = "never" if row.epochs is None else str(row.epochs)
        lines.append(
            f"{row.cache:{width}} {row.other_row:{other_width}} {row.build_seconds:9.1f} "
            f"{row.other_epoch_seconds:12.1f} {row.cached_epoch_seconds:15.1f} {epochs:>7}"
        )
    return "\n".join(lines)


def _videos_text(report: BenchReport) -> str:
    videos = report.videos
    assert videos is not None  # checked by the caller
    return (
        f"videos {videos.folder}: {len(videos.paths)} ({counted(videos.num_files, 'different file')}), "
        f"{counted(videos.num_frames, 'frame')}, scanned in {videos.scan_seconds:.1f} s; "
        f"the usual loader can serve {len(videos.servable)} of them"
    )


def _caches_text(report: BenchReport) -> str:
    width = max(len(cache.name) for cache in report.caches)
    lines = [f"{'cache':{width}} {'frames':>9} {'MB':>9} {'bytes/frame':>12} {'build s':>8} {'frames/s':>9}"]
    for cache in report.caches:
        seconds = "" if cache.build_seconds is None else f"{cache.build_seconds:.1f}"
        rate = "" if cache.build_frames_per_second is None else f"{cache.build_frames_per_second:.0f}"
        lines.append(
            f"{cache.name:{width}} {cache.num_frames:9} {cache.num_bytes / 1e6:9.1f} {cache.bytes_per_frame:12.0f} "
            f"{seconds:>8} {rate:>9}"
        )
    return "\n".join(lines)


def _row_text(row: BenchRow, width: int) -> str:
    name = f"{row.case.name:{width}}"
    if row.failure is not None:
        return f"{name} not measured: {row.failure}"
    rate = row.images_per_second
    if rate is None:
        return f"{name} not measured" if row.no_time is None else f"{name} no time: {row.no_time}"
    peak = "" if row.peak_anonymous_bytes is None else f"{row.peak_anonymous_bytes / 1e6:.0f}"
    first = _median(row.seconds_to_first_batch)
    if not first and row.seconds_to_first_batch_expected is not None:
        first = f"~{_short(row.seconds_to_first_batch_expected)}"
    effective = "" if row.case.effective_batch is None else f"{row.case.effective_batch:.1f}"
    cells = (
        f"{_short(rate.median):>9} {f'{_short(rate.smallest)}-{_short(rate.largest)}':>15} "
        f"{_rounds(row):>8} {_median(row.ratio_to_usual):>8} {_median(row.ratio_to_limit):>9} "
        f"{first:>14} {peak:>8} {effective:>11} "
        + ", ".join(f"{name}: {_short(value)}" for name, value in row.figures.items())
    )
    return f"{name} {cells}".rstrip()


def _rounds(row: BenchRow) -> str:
    """The number of rounds, and how many of them were cut off."""
    if not row.num_cut:
        return str(len(row.rounds))
    return (
        f"{len(row.rounds)}, cut"
        if row.num_cut == len(row.rounds)
        else f"{len(row.rounds)}, {row.num_cut} cut"
    )


def _left_out_text(left_out: Sequence[LeftOut]) -> str:
    return "\n".join(f"left out: {each.name}: {each.reason}" for each in left_out)


def _time_text(time: TimeUsed) -> str:
    of_budget = "" if time.budget_seconds is None else f" of {time.budget_seconds:.0f} s"
    return (
        f"time: {time.seconds:.0f} s{of_budget}; {time.seconds_preparing:.0f} s to prepare, "
        f"{time.seconds_measuring:.0f} s to measure"
    )


def _median(spread: Spread | None) -> str:
    return "" if spread is None else _short(spread.median)


def _short(value: float) -> str:
    """Three digits, and no fewer than the whole number has.

    >>> [_short(value) for value in (0.01234, 1.234, 12.34, 12345.6)]
    ['0.0123', '1.23', '12.3', '12346']
    """
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
