"""The report of a build: for each video the frames claimed, decoded and stored, and what was wrong."""

from typing import Literal

import msgspec

from cache_builder.findings import ON_DEVICE_COUNT, find_copies
from cache_builder.sources import PassedOver
from frame_store.manifest import Fidelity, Generation, VideoEntry
from frame_store.shared import counted

_MAX_COPIES_TOLD = 3


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """Written to `CACHE.report.json` and shown by `cache-build`."""

    output: str
    status: Literal["built", "already complete"]
    num_frames: int
    num_bytes: int
    num_shards: int
    num_frames_decoded_on_device: int | None
    """How many of all decoded frames; None if no video was meant for a GPU."""
    is_resumed: bool
    """Whether an interrupted run had decoded some of the frames, perhaps all; the seconds are of the last run alone."""
    seconds_scan: float
    seconds_decode: float
    seconds_gather: float
    fidelity: Fidelity | None
    passed_over: PassedOver
    """Files of the folder that were not taken for videos."""
    copies: list[list[str]]
    """Groups of videos that are byte for byte the same."""
    videos: list[VideoEntry]

    @property
    def not_whole(self) -> list[VideoEntry]:
        """Videos that are damaged or unreadable."""
        return [video for video in self.videos if video.verdict != "whole"]


def make_report(
    generation: Generation,
    videos: list[VideoEntry],
    *,
    output: str,
    status: Literal["built", "already complete"],
    passed_over: PassedOver,
    is_resumed: bool = False,
    seconds_scan: float = 0.0,
    seconds_decode: float = 0.0,
    seconds_gather: float = 0.0,
) -> BuildReport:
    """The report of a finished cache of one generation, with its table of videos."""
    return BuildReport(
        output=output,
        status=status,
        num_frames=generation.num_frames,
        num_bytes=generation.num_bytes,
        num_shards=len(generation.shards),
        num_frames_decoded_on_device=_num_frames_decoded_on_device(videos),
        is_resumed=is_resumed,
        seconds_scan=seconds_scan,
        seconds_decode=seconds_decode,
        seconds_gather=seconds_gather,
        fidelity=generation.fidelity,
        passed_over=passed_over,
        copies=find_copies((video.path, video.sha256) for video in videos),
        videos=videos,
    )


def _num_frames_decoded_on_device(videos: list[VideoEntry]) -> int | None:
    counts = [video.facts[ON_DEVICE_COUNT] for video in videos if ON_DEVICE_COUNT in video.facts]
    return sum(counts) if counts else None


def report_text(report: BuildReport) -> str:
    """The report for a terminal: every video that needs attention, then the totals."""
    lines = [f"  {video.path!r}: {video.verdict}: {video.reason}" for video in report.not_whole]
    if lines:
        lines.insert(0, "Not whole:")
    noted = [f"  {video.path!r}: {'; '.join(video.notes)}" for video in report.videos if video.notes]
    if noted:
        lines += ["Notes:", *noted[:20]]
        if len(noted) > 20:
            lines.append(f"  and {len(noted) - 20} more, in the report")
    if report.passed_over.text is not None:
        lines.append(report.passed_over.text)
    if report.copies:
        listed = "; ".join(
            " = ".join(map(repr, paths[:_MAX_COPIES_TOLD])) for paths in report.copies[:_MAX_COPIES_TOLD]
        )
        num_copies = sum(len(paths) - 1 for paths in report.copies)
        lines.append(f"byte for byte the same as another video: {num_copies} ({listed})")
    num_whole = len(report.videos) - len(report.not_whole)
    decoded = sum(video.num_frames_decoded for video in report.videos)
    others = f" and {counted(len(report.not_whole), 'other')}" if report.not_whole else ""
    lines.append(
        f"{report.output}: {report.status}, {counted(report.num_frames, 'frame')} "
        f"of {counted(num_whole, 'whole video')}{others}, "
        f"{report.num_bytes / 1e6:.1f} MB in {counted(report.num_shards, 'shard')}"
        f"{f' ({report.num_bytes / report.num_frames:.0f} bytes a frame)' if report.num_frames else ''}"
    )
    if report.status == "built":
        seconds = report.seconds_scan + report.seconds_decode + report.seconds_gather
        frames = counted(decoded, "frame")
        if report.is_resumed:  # how many of them this run decoded is not known, and so no speed is
            said, speed = f"{frames} decoded by this run and an interrupted one; this run took", ""
        else:
            said = f"{frames} decoded in"
            speed = f" ({decoded / max(report.seconds_decode, 1e-9):.0f} frames/s)"
        lines.append(
            f"{said} {seconds:.1f} s: scan {report.seconds_scan:.1f}, decode {report.seconds_decode:.1f}{speed}, "
            f"gather {report.seconds_gather:.1f}"
        )
    if report.num_frames_decoded_on_device is not None:
        lines.append(
            f"decoded by the GPU: {report.num_frames_decoded_on_device} of {counted(decoded, 'frame')}"
        )
    if report.fidelity is not None and report.fidelity.psnr_db_of_mean_error is not None:
        lines.append(
            f"JPEG against unencoded frames: PSNR {report.fidelity.psnr_db_of_mean_error:.1f} dB over "
            f"{counted(report.fidelity.num_frames_sampled, 'frame')} sampled, worst frame "
            f"{report.fidelity.psnr_db_worst_frame:.1f} dB"
        )
    return "\n".join(lines)
