"""The report of a build: for each video the frames claimed, decoded and stored, and what was wrong."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from cache_builder.findings import ON_DEVICE_COUNT, content_of, find_copies
from cache_builder.sources import PassedOver
from frame_store.manifest import Fidelity, Generation, VideoEntry
from frame_store.names import PixelName
from frame_store.notebook import items, output, paragraphs
from frame_store.shared import counted

_MAX_COPIES_TOLD = 3


class CameraReport(msgspec.Struct, frozen=True, kw_only=True):
    """A camera of a cache."""

    name: str
    pixel: PixelName
    frame_shape: tuple[int, int, int]
    """(H, W, C) of its stored frames."""
    num_frames: int
    num_bytes: int
    num_shards: int
    fidelity: Fidelity | None
    videos: list[VideoEntry]


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """Written to `CACHE.report.json` and shown by `cache-build`."""

    output: str
    status: Literal["built", "already complete"]
    num_frames: int
    """Of a cache of cameras, the frames of each camera."""
    num_bytes: int
    """Of all cameras."""
    num_shards: int
    """Of all cameras."""
    num_frames_decoded_on_device: int | None
    """How many of all decoded frames; None if no video was meant for a GPU."""
    is_resumed: bool
    """Whether an interrupted run had decoded some of the frames, perhaps all; the seconds are of the last run alone."""
    seconds_scan: float
    seconds_decode: float
    seconds_gather: float
    fidelity: Fidelity | None
    """None in a cache of cameras, each of which has its own."""
    passed_over: PassedOver
    """Files of the folder that were not taken for videos."""
    copies: list[list[str]]
    """Groups of videos that are byte for byte the same."""
    videos: list[VideoEntry]
    """Of a cache of cameras, those of the first one."""
    cameras: list[CameraReport]
    """Empty in a cache without cameras."""

    @property
    def not_whole(self) -> list[VideoEntry]:
        """Videos that are damaged or unreadable; of an episode that is not whole in several cameras, the first."""
        found: dict[str, VideoEntry] = {}
        for _, video in self.all_videos:
            if video.verdict != "whole":
                found.setdefault(video.path, video)
        return [*found.values()]

    @property
    def all_videos(self) -> list[tuple[str, VideoEntry]]:
        """(What stands before its name in a message, video) of every camera."""
        if not self.cameras:
            return [("", video) for video in self.videos]
        return [(f"camera {camera.name}: ", video) for camera in self.cameras for video in camera.videos]

    def _repr_html_(self) -> str:
        """What IPython shows: what `report_text` says, of the first videos. Never raises."""
        return output(
            self,
            lambda: [
                paragraphs(_lines_of_totals(self)),
                items("Not whole", _lines_not_whole(self)),
                items("Notes", _lines_noted(self)),
            ],
        )


def make_report(
    generations: Mapping[str | None, tuple[Generation, list[VideoEntry]]],
    *,
    output: str,
    status: Literal["built", "already complete"],
    passed_over: PassedOver,
    is_resumed: bool = False,
    seconds_scan: float = 0.0,
    seconds_decode: float = 0.0,
    seconds_gather: float = 0.0,
) -> BuildReport:
    """The report of a finished cache: of each camera (None without cameras) its generation and its table of videos."""
    first, videos = next(iter(generations.values()))
    cameras = [
        CameraReport(
            name=name,
            pixel=generation.pixel,
            frame_shape=generation.frame_shape,
            num_frames=generation.num_frames,
            num_bytes=generation.num_bytes,
            num_shards=len(generation.shards),
            fidelity=generation.fidelity,
            videos=entries,
        )
        for name, (generation, entries) in generations.items()
        if name is not None
    ]
    return BuildReport(
        output=output,
        status=status,
        num_frames=first.num_frames,
        num_bytes=sum(generation.num_bytes for generation, _ in generations.values()),
        num_shards=sum(len(generation.shards) for generation, _ in generations.values()),
        num_frames_decoded_on_device=_num_frames_decoded_on_device(
            [video for _, entries in generations.values() for video in entries]
        ),
        is_resumed=is_resumed,
        seconds_scan=seconds_scan,
        seconds_decode=seconds_decode,
        seconds_gather=seconds_gather,
        fidelity=None if cameras else first.fidelity,
        passed_over=passed_over,
        copies=find_copies((video.path, content_of(video)) for video in videos),
        videos=videos,
        cameras=cameras,
    )


def _num_frames_decoded_on_device(videos: list[VideoEntry]) -> int | None:
    counts = [video.facts[ON_DEVICE_COUNT] for video in videos if ON_DEVICE_COUNT in video.facts]
    return sum(counts) if counts else None


def report_text(report: BuildReport) -> str:
    """The report for a terminal: every video that needs attention, then the totals."""
    lines = [f"  {line}" for line in _lines_not_whole(report)]
    if lines:
        lines.insert(0, "Not whole:")
    noted = [f"  {line}" for line in _lines_noted(report)]
    if noted:
        lines += ["Notes:", *noted[:20]]
        if len(noted) > 20:
            lines.append(f"  and {len(noted) - 20} more, in the report")
    return "\n".join([*lines, *_lines_of_totals(report)])


def _lines_not_whole(report: BuildReport) -> list[str]:
    return [
        f"{where}{video.path!r}: {video.verdict}: {video.reason}"
        for where, video in report.all_videos
        if video.verdict != "whole"
    ]


def _lines_noted(report: BuildReport) -> list[str]:
    return [
        f"{where}{video.path!r}: {'; '.join(video.notes)}"
        for where, video in report.all_videos
        if video.notes
    ]


def _lines_of_totals(report: BuildReport) -> list[str]:
    lines = []
    if report.passed_over.text is not None:
        lines.append(report.passed_over.text)
    if report.copies:
        listed = "; ".join(
            " = ".join(map(repr, paths[:_MAX_COPIES_TOLD])) for paths in report.copies[:_MAX_COPIES_TOLD]
        )
        num_copies = sum(len(paths) - 1 for paths in report.copies)
        lines.append(f"byte for byte the same as another video: {num_copies} ({listed})")
    num_whole = len(report.videos) - len(report.not_whole)
    decoded = sum(video.num_frames_decoded for _, video in report.all_videos)
    noun = "episode" if any(video.span is not None for video in report.videos) else "video"
    of_cameras = f", each by {counted(len(report.cameras), 'camera')}" if report.cameras else ""
    num_frames_stored = report.num_frames * max(1, len(report.cameras))
    others = f" and {counted(len(report.not_whole), 'other')}" if report.not_whole else ""
    lines.append(
        f"{report.output}: {report.status}, {counted(report.num_frames, 'frame')} "
        f"of {counted(num_whole, f'whole {noun}')}{others}{of_cameras}, "
        f"{report.num_bytes / 1e6:.1f} MB in {counted(report.num_shards, 'shard')}"
        f"{f' ({report.num_bytes / num_frames_stored:.0f} bytes a frame)' if num_frames_stored else ''}"
    )
    for camera in report.cameras:
        height, width, _ = camera.frame_shape
        lines.append(
            f"  camera {camera.name}: {counted(camera.num_frames, 'frame')} of {height}x{width}, {camera.pixel}, "
            f"{camera.num_bytes / 1e6:.1f} MB in {counted(camera.num_shards, 'shard')}"
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
    of_each = [(f"camera {camera.name}: ", camera.fidelity) for camera in report.cameras]
    for where, fidelity in of_each or [("", report.fidelity)]:
        if fidelity is None or fidelity.psnr_db_of_mean_error is None:
            continue
        lines.append(
            f"{where}JPEG against unencoded frames: PSNR {fidelity.psnr_db_of_mean_error:.1f} dB over "
            f"{counted(fidelity.num_frames_sampled, 'frame')} sampled, worst frame "
            f"{fidelity.psnr_db_worst_frame:.1f} dB"
        )
    return lines
