"""The answers of a page about a folder, in sentences."""

from typing import Final

from frame_cache_tools.report.folder.records import FileFacts, FolderReport
from frame_cache_tools.report.page import bytes_text, duration_text, three_digits

from cache_builder import BuildEstimate
from frame_store.shared import counted_in_groups

_SHARE_OF_MEMORY: Final = 0.5
"""A cache that takes up to this share of the memory stays in it, beside what training needs."""


def number_of_frames(report: FolderReport) -> str:
    """Frames of all files, with `about` where packets do not prove them."""
    return f"{'about ' if report.num_unproved else ''}{report.num_frames:,}"


def what_text(report: FolderReport) -> str:
    """What the folder holds."""
    kind = "episode" if report.is_of_episodes else "video"
    text = counted_in_groups(report.num_videos, kind)
    if report.cameras:
        text += f", each by {counted_in_groups(len(report.cameras), 'camera')},"
    text += (
        f" in {counted_in_groups(len(report.videos), 'file')} of {bytes_text(report.num_bytes)}. They give "
    )
    text += number_of_frames(report) + " frames"
    if report.seconds:
        text += f" and last {duration_text(report.seconds)} together"
    text += "."
    if report.num_unproved:
        text += (
            f" The packets of {counted_in_groups(report.num_unproved, 'file')} do not prove how many frames come out; "
            "each packet is counted as one."
        )
    passed_over = report.passed_over
    return f"{text} {passed_over[0].upper()}{passed_over[1:]}." if passed_over else text


def damage_text(report: FolderReport) -> str:
    """What is damaged, and how sure that is."""
    found = [
        text
        for number, text in (
            (report.num_damaged, f"{counted_in_groups(report.num_damaged, 'file is', 'files are')} damaged"),
            (
                report.num_unreadable,
                f"{counted_in_groups(report.num_unreadable, 'file gives', 'files give')} no frame",
            ),
        )
        if number
    ]
    text = f"{' and '.join(found)}." if found else "Nothing was found."
    return (
        f"{text} Every packet was read, and a few frames of {counted_in_groups(report.num_peeked, 'file')} were "
        "decoded. Only a build decodes everything, and may find more."
    )


def cost_text(report: FolderReport) -> str:
    """Disk space and time of a build."""
    estimate = report.estimate
    if estimate is None:
        return f"There is no estimate: {report.why_no_estimate}."
    if estimate.num_cache_bytes is None:
        return "Not known: no frame could be encoded."
    text = f"About {bytes_text(estimate.num_cache_bytes)}"
    if estimate.num_frames_stored:
        text += f", {bytes_text(estimate.num_cache_bytes / estimate.num_frames_stored)} a frame"
    seconds = build_seconds(estimate)
    if seconds is not None:
        text += (
            f", and about {duration_text(seconds)} with {counted_in_groups(estimate.num_workers, 'worker')}"
        )
    text += ". This is an estimate from a sample, for frames of 224 x 224 as JPEG."
    return text + (" The disk has TOO LITTLE room." if estimate.fits is False else "")


def build_seconds(estimate: BuildEstimate) -> float | None:
    """Of a whole build; None if no frame could be decoded."""
    if estimate.seconds_decode is None or estimate.seconds_gather is None:
        return None
    return estimate.seconds_scan + estimate.seconds_decode + estimate.seconds_gather


def sampler_text(report: FolderReport) -> str:
    """Which sampler would suit a cache of the folder, by its size alone."""
    after = "After the build, cache-report and cache-bias compare the samplers on the frames themselves."
    estimate, memory = report.estimate, report.memory_bytes
    if estimate is None or estimate.num_cache_bytes is None or memory is None:
        return f"That depends on whether the cache fits into memory, which is not known here. {after}"
    size = f"The cache would take about {bytes_text(estimate.num_cache_bytes)}, and this machine has "
    size += f"{bytes_text(memory)} of memory. "
    if estimate.num_cache_bytes <= _SHARE_OF_MEMORY * memory:
        return (
            f"{size}So it stays in memory, where single frames cost the same wherever they lie: "
            f'sampling="stratified" shows every frame alike, with the least noise. {after}'
        )
    return (
        f'{size}So most frames come from the disk: sampling="shards" reads neighbouring frames of shuffled shards '
        f'together and shows every frame alike; where the disk is fast, sampling="stratified" has less noise. {after}'
    )


def gop_text(facts: FileFacts) -> str:
    """Distances of keyframes."""
    if facts.gop_longest <= 1:
        return "every frame a keyframe"
    if facts.num_keyframes <= 1:
        return "one keyframe"
    text = f"a keyframe every {counted_in_groups(facts.gop_median, 'frame')}"
    if facts.gop_longest > facts.gop_median:
        text += f", {facts.gop_longest:,} at most"
    if facts.fps:
        text += f" ({three_digits(facts.gop_longest / facts.fps)} s)"
    return text
