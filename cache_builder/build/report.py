"""The report of a build: for each video the frames claimed, decoded and stored, and what was wrong."""

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from cache_builder.findings import ON_DEVICE_COUNT, content_of, find_copies
from cache_builder.sources import PassedOver
from frame_store.manifest import Fidelity, Generation, VideoEntry, many_generations_hint
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


class AppendSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What an append did to a cache."""

    num_videos_added: int
    num_frames_added: int
    """Of a cache of cameras, the frames of each camera."""
    num_videos_there: int
    """Videos of the sources that the cache had already."""
    num_videos_checked: int
    """Of these: episodes that were decoded again, because their file has got further episodes."""
    forgotten: list[str]
    taken_back: list[str]
    """Videos that were forgotten, and that the sources have unchanged."""
    copies: list[list[str]]
    """[added video, video of the cache], where both files are byte for byte the same, as after a renaming."""
    absent: list[str]
    """Videos of the cache that the sources do not have. They stay."""
    num_column_problems: int
    """Videos whose rows of a table did not fit them and were left out."""
    has_content_order: bool
    """Whether the cache has a content order, which the new frames are in, too."""
    columns_to_write: list[str]
    """Where no video was added: columns of the tables that the cache lacks, such as after a build that was killed."""
    num_generations: int
    """Of the cache afterwards."""
    num_videos: int
    """Videos of the cache afterwards, without forgotten ones."""
    num_frames: int
    """Their frames; of a cache of cameras, the frames of each camera."""


class BuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """Written to `CACHE.report.json` and shown by `cache-build`.

    Frames, bytes, shards and videos are those of the cache without forgotten videos; after an append, those that it
    added, and `append` tells of the cache. An append that added none is about all of the cache.
    """

    output: str
    status: Literal["built", "appended", "already complete"]
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
    append: AppendSummary | None = None
    """What an append did; None for a build."""

    @property
    def is_whole(self) -> bool:
        """Whether all is whole that was to be stored: all videos, or those that were added."""
        if self.append is None:
            return not self.not_whole
        return not self.append.num_column_problems and not (self.append.num_videos_added and self.not_whole)

    @property
    def wants_columns(self) -> bool:
        """Whether tables that were given are still to be written: all but an append's, which writes them itself."""
        return self.append is None or bool(self.append.columns_to_write)

    @property
    def has_content_order(self) -> bool:
        """Whether an append found a content order, and its frames are in it."""
        return self.append is not None and self.append.has_content_order

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
    made: Mapping[str | None, tuple[Sequence[Generation], list[VideoEntry]]],
    *,
    output: str,
    status: Literal["built", "appended", "already complete"],
    passed_over: PassedOver,
    is_resumed: bool = False,
    seconds_scan: float = 0.0,
    seconds_decode: float = 0.0,
    seconds_gather: float = 0.0,
    append: AppendSummary | None = None,
) -> BuildReport:
    """The report of generations, one or more: of each camera (None without cameras), with their videos."""
    first_generations, videos = next(iter(made.values()))
    cameras = [
        CameraReport(
            name=name,
            pixel=generations[0].pixel,
            frame_shape=generations[0].frame_shape,
            num_frames=sum(video.num_frames_stored for video in entries),
            num_bytes=sum(generation.num_bytes for generation in generations),
            num_shards=sum(len(generation.shards) for generation in generations),
            fidelity=_fidelity(generations),
            videos=entries,
        )
        for name, (generations, entries) in made.items()
        if name is not None
    ]
    every = [generation for generations, _ in made.values() for generation in generations]
    return BuildReport(
        output=output,
        status=status,
        num_frames=sum(video.num_frames_stored for video in videos),
        num_bytes=sum(generation.num_bytes for generation in every),
        num_shards=sum(len(generation.shards) for generation in every),
        num_frames_decoded_on_device=_num_frames_decoded_on_device(
            [video for _, entries in made.values() for video in entries]
        ),
        is_resumed=is_resumed,
        seconds_scan=seconds_scan,
        seconds_decode=seconds_decode,
        seconds_gather=seconds_gather,
        fidelity=None if cameras else _fidelity(first_generations),
        passed_over=passed_over,
        copies=find_copies((video.path, content_of(video)) for video in videos),
        videos=videos,
        cameras=cameras,
        append=append,
    )


def _fidelity(generations: Sequence[Generation]) -> Fidelity | None:
    """That of a single generation; None for several, of which each has its own."""
    return generations[0].fidelity if len(generations) == 1 else None


def _num_frames_decoded_on_device(videos: list[VideoEntry]) -> int | None:
    counts = [video.facts[ON_DEVICE_COUNT] for video in videos if ON_DEVICE_COUNT in video.facts]
    return sum(counts) if counts else None


def report_text(report: BuildReport) -> str:
    """The report for a terminal: every video that needs attention, then the totals."""
    if report.append is not None and not report.append.num_videos_added:
        return "\n".join(_lines_of_totals(report))
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
    if report.append is not None and not report.append.num_videos_added:
        return [*lines, *_append_lines(report, report.append)]
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
    if report.status != "already complete":
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
    lines += _fidelity_lines(report)
    if report.append is not None:
        lines += _append_lines(report, report.append)
    return lines


def _fidelity_lines(report: BuildReport) -> list[str]:
    lines = []
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


def _append_lines(report: BuildReport, append: AppendSummary) -> list[str]:
    """What an append did, and the cache afterwards."""
    lines = []
    if append.num_videos_checked:
        lines.append(
            f"decoded again and unchanged: {counted(append.num_videos_checked, 'episode')}, whose files have got "
            "further episodes"
        )
    for what, paths in (
        ("forgotten", append.forgotten),
        ("taken back, unchanged since they were forgotten", append.taken_back),
        ("in the cache, and not among the sources now (they stay)", append.absent),
    ):
        if paths:
            lines.append(f"{what}: {counted(len(paths), 'video')} ({_some(paths)})")
    if append.copies:
        copies = [" = ".join(map(repr, paths)) for paths in append.copies]
        more = ", ..." if len(copies) > _MAX_COPIES_TOLD else ""
        lines.append(
            f"added, and byte for byte the same as a video of the cache: {len(copies)} "
            f"({', '.join(copies[:_MAX_COPIES_TOLD])}{more}); both count; leave one out of the sources and --forget it"
        )
    were = "was" if append.num_videos_there == 1 else "were"
    kept = f"{counted(append.num_videos_there, 'video')} of the sources {were} there already"
    if_none_added = "already complete, " if report.status == "already complete" else "now "
    status = "" if append.num_videos_added else if_none_added
    lines.append(
        f"{report.output}: {status}{counted(append.num_videos, 'video')} with {counted(append.num_frames, 'frame')}; "
        f"{kept}"
    )
    hint = many_generations_hint(append.num_generations)
    return lines if hint is None else [*lines, hint]


def _some(paths: Sequence[str]) -> str:
    shown = ", ".join(map(repr, paths[:_MAX_COPIES_TOLD]))
    return f"{shown}, ..." if len(paths) > _MAX_COPIES_TOLD else shown
