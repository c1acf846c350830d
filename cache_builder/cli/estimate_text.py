"""The text of `cache-build --dry-run`. What is no count says "about"."""

from cache_builder.build import BuildEstimate
from cache_builder.cli.shown_progress import time_text
from frame_store.shared import counted, counted_in_groups

_MAX_PROBLEMS_TOLD = 20


def estimate_text(estimate: BuildEstimate, *, stops_at_problems: bool) -> str:
    """Several lines: problems, what would be read, what would be stored, disk and time."""
    lines = _problem_lines(estimate, stops=stops_at_problems)
    if estimate.passed_over.text is not None:
        lines.append(estimate.passed_over.text)
    if not estimate.num_videos:  # of an append alone: a build without videos is refused
        return "\n".join([*lines, f"{estimate.output}: an append would add no video; nothing was written"])
    unreadable = f", {estimate.num_videos_unreadable} of them unreadable" * bool(
        estimate.num_videos_unreadable
    )
    cameras = f" by {counted(estimate.num_cameras, 'camera')} each" if estimate.num_cameras else ""
    noun = "episodes" if estimate.has_episodes else "videos  "
    lines += [
        f"{noun}{' ' * estimate.has_episodes}{estimate.num_videos:,}{cameras}{unreadable}, "
        f"{_size_text(estimate.num_source_bytes)}",
        f"frames  {_frames_text(estimate)}",
        f"cache   {_cache_text(estimate)}",
        f"disk    {_disk_text(estimate)}",
        f"time    {_time_text(estimate)}",
        f"{estimate.output}: nothing was written{'; something is there already' * estimate.output_exists}",
    ]
    return "\n".join(lines)


def _problem_lines(estimate: BuildEstimate, *, stops: bool) -> list[str]:
    if not estimate.problems:
        return []
    told = [f"  {problem}" for problem in estimate.problems[:_MAX_PROBLEMS_TOLD]]
    more = len(estimate.problems) - len(told)
    told += [f"  and {more:,} more"] if more else []
    end = ["a build stops at these; --on-error skip stores what decodes of them, as it is counted here"]
    return ["Not whole, by their packets:", *told, *(end if stops else [])]


def _frames_text(estimate: BuildEstimate) -> str:
    about = "about " * bool(estimate.num_videos_uncounted)
    proof = (
        f"the packets of {counted(estimate.num_videos_uncounted, 'video')} do not prove how many there are"
        if estimate.num_videos_uncounted
        else "by the packets, if all of them decode"
    )
    each = ""
    if estimate.num_cameras > 1:
        each = f"; {about}{estimate.num_frames_stored // estimate.num_cameras:,} to store of each camera"
    return (
        f"{about}{estimate.num_frames_stored:,} to store of {about}{estimate.num_frames_decoded:,} to decode "
        f"({proof}){each}"
    )


def _cache_text(estimate: BuildEstimate) -> str:
    if estimate.num_cache_bytes is None:
        return "unknown: no frame could be encoded"
    each = ""
    if estimate.num_frames_stored:
        each = f", {estimate.num_cache_bytes / estimate.num_frames_stored:,.0f} bytes a frame"
    return (
        f"about {_size_text(estimate.num_cache_bytes)} in {counted_in_groups(estimate.num_shards, 'shard')}{each}, "
        f"by {counted_in_groups(estimate.sample.num_frames_packed, 'frame')} encoded"
    )


def _disk_text(estimate: BuildEstimate) -> str:
    if estimate.num_free_bytes is None:
        size = "unknown" if estimate.num_building_bytes is None else _size_text(estimate.num_building_bytes)
        return f"about {size} in the object store while building, the cache included"
    free = f"{_size_text(estimate.num_free_bytes)} are free"
    if estimate.num_unfinished_bytes:
        free += f", and an unfinished build already holds {_size_text(estimate.num_unfinished_bytes)}"
    if estimate.num_building_bytes is None:
        return f"unknown; {free}"
    short = "" if estimate.fits else ": TOO LITTLE"
    return (
        f"about {_size_text(estimate.num_building_bytes)} while building, the cache included; {free}{short}"
    )


def _time_text(estimate: BuildEstimate) -> str:
    scan = f"scan {time_text(estimate.seconds_scan)} (measured)"
    if estimate.seconds_decode is None or estimate.seconds_gather is None:
        return f"unknown: no frame could be decoded; {scan}"
    total = estimate.seconds_scan + estimate.seconds_decode + estimate.seconds_gather
    sample = estimate.sample
    failed = f", {counted(sample.num_units_failed, 'other part')} failed" * bool(sample.num_units_failed)
    return (
        f"about {time_text(total)} with {counted(estimate.num_workers, 'worker')}: {scan}, "
        f"decode {time_text(estimate.seconds_decode)}, gather {time_text(estimate.seconds_gather)}; by "
        f"{counted_in_groups(sample.num_frames_decoded, 'frame')} of {counted_in_groups(sample.num_videos, 'video')} "
        f"decoded in {sample.seconds:.1f} s{failed}"
    )


def _size_text(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.2f} MB"
