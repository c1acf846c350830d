"""Generations and their tables of videos as text, for `cache-info`.

`config` and `facts` are informative. A cache of another program may lack them or hold other values; the text
then shows `unknown`.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeGuard

from cache_builder.cli.info.growth import generations_text
from cache_builder.cli.info.stated import Totals
from cache_builder.cli.info.table import table_lines
from cache_builder.setting_names import UNKNOWN, setting_values
from frame_store.manifest import CacheTree, Generation, VideoEntry
from frame_store.names import PixelName
from frame_store.shared import chi2_of_uniform_shards, counted, without_controls


def info_text(
    tree: CacheTree,
    videos: Sequence[VideoEntry],
    *,
    path: str,
    list_videos: bool = False,
    shared: Sequence[str] = (),
) -> str:
    """Several lines: what is stored, how, from which videos, and how close stored frames are to the originals.

    Figures are those of all generations together, also of forgotten videos. `shared` has lines about what belongs to
    the cache, such as columns.
    """
    generation, totals = tree.common, Totals.of(tree)
    height, width, _ = generation.frame_shape
    sizes = [shard.num_frames for each in tree.generations for shard in each.generation.shards]
    verdicts = {
        verdict: sum(video.verdict == verdict for video in videos)
        for verdict in ("whole", "damaged", "unreadable")
    }
    lines = [
        f"{path}: {counted(totals.num_frames, 'frame')} of {height}x{width} {_PIXELS[generation.pixel]} "
        f"from {counted(len(videos), 'video')}",
        f"  size       {height}x{width} (height x width), {_settings_text(generation, 'resize', 'crop-aspect')}",
        f"  frames     {_settings_text(generation, 'stride', 'fps', 'frames-per-shard')}",
        f"  videos     {', '.join(f'{count} {verdict}' for verdict, count in verdicts.items() if count)}",
        f"  stored as  {generation.container}, {_encoding_text(generation)}, layout {generation.layout}, "
        f"seed {generation.seed}",
        f"  shards     {len(sizes)} of {_range_text(sizes)}, chi2 of uniform shard choice "
        f"{chi2_of_uniform_shards(sizes):.3g}",
        f"  on disk    {totals.num_bytes / 1e6:.1f} MB, {totals.num_bytes / totals.num_frames:.0f} bytes a frame",
    ]
    if totals.fidelity is not None and totals.fidelity.psnr_db_of_mean_error is not None:
        lines.append(
            f"  fidelity   PSNR {totals.fidelity.psnr_db_of_mean_error:.1f} dB over "
            f"{counted(totals.fidelity.num_frames_sampled, 'frame')}, "
            f"worst {totals.fidelity.psnr_db_worst_frame:.1f} dB"
        )
    lines += [
        *(f"  {line}" for line in shared),
        f"  made with  {', '.join(f'{name} {version}' for name, version in generation.library_versions.items())}",
        f"  fingerprint {totals.fingerprint}",
        *generations_text(tree),
    ]
    forgotten = set(tree.manifest.forgotten_videos)
    shown = [video_id for video_id, video in enumerate(videos) if list_videos or video.verdict != "whole"]
    table = videos_table(
        [videos[video_id] for video_id in shown], forgotten=[video_id in forgotten for video_id in shown]
    )
    return "\n".join([*lines, *table])


def group_text(
    trees: Sequence[CacheTree],
    tables: Sequence[Sequence[VideoEntry]],
    *,
    path: str,
    list_videos: bool = False,
    shared: Sequence[str] = (),
) -> str:
    """The text of a cache of cameras: what they share, then `info_text` of each."""
    videos = tables[0]
    has_spans = any(video.span is not None for video in videos)
    lines = [
        f"{path}: {counted(len(trees), 'camera')} of "
        f"{counted(len(videos), 'episode' if has_spans else 'video')}, "
        f"{counted(trees[0].num_frames, 'frame')} of each camera",
        *(f"  {line}" for line in shared),
    ]
    lines += [
        info_text(
            tree,
            of_camera,
            path=f"camera {without_controls(tree.camera.name)!r} in {tree.camera.folder}",
            list_videos=list_videos,
        )
        for tree, of_camera in zip(trees, tables, strict=True)
        if tree.camera is not None
    ]
    return "\n".join(lines)


def videos_table(videos: Sequence[VideoEntry], *, forgotten: Sequence[bool] = ()) -> list[str]:
    """A header and a line for every video; empty without videos.

    The first column marks videos that need attention: `!` is not whole, `?` has notes. The last column states why.
    `forgotten` has true for videos that readers leave out. Where videos are stretches of files, two columns have the
    file, and the frames of it.
    """
    if not videos:
        return []
    is_forgotten = forgotten or [False] * len(videos)
    rows = [
        _COLUMNS,
        *(_video_cells(video, is_out) for video, is_out in zip(videos, is_forgotten, strict=True)),
    ]
    if any(video.span is not None for video in videos):
        places = [_SPAN_COLUMNS, *(_span_cells(video) for video in videos)]
        rows = [(*row[:-1], *place, row[-1]) for row, place in zip(rows, places, strict=True)]
    return table_lines(rows, left=_LEFT_ALIGNED)


def _settings_text(generation: Generation, *names: str) -> str:
    values = setting_values(generation.config)
    return ", ".join(f"{name} {values.get(name, UNKNOWN)}" for name in names)


def _range_text(sizes: Sequence[int]) -> str:
    """Frames of the smallest and the largest shard.

    >>> _range_text([1]), _range_text([7, 10])
    ('1 frame', '7 to 10 frames')
    """
    least, most = min(sizes), max(sizes)
    return counted(most, "frame") if least == most else f"{least} to {counted(most, 'frame')}"


def _encoding_text(generation: Generation) -> str:
    encoding = generation.encoding
    if encoding.name == "jpeg":
        return f"jpeg quality {encoding.quality} chroma {encoding.chroma}"
    return encoding.name if encoding.level is None else f"{encoding.name} level {encoding.level}"


_PIXELS: Final[dict[PixelName, str]] = {"rgb8": "RGB", "gray16": "16-bit gray (uint16 levels)"}
_COLUMNS: Final = (
    *("", "video", "width", "height", "fps", "codec", "duration"),
    *("verdict", "header", "packets", "decoded", "stored"),
    *("corrupt", "damaged", "same", "gaps", "starts at", "problems and notes"),
)
_SPAN_COLUMNS: Final = ("file", "frames of it")
_LEFT_ALIGNED: Final = frozenset({"", "video", "codec", "verdict", "file"})


def _video_cells(video: VideoEntry, is_forgotten: bool) -> tuple[str, ...]:
    """Cells of `_COLUMNS`; `-` for a number that does not exist, `unknown` for a missing fact of the scan."""
    findings = video.findings
    counts = (
        (None,) * 4
        if findings is None
        else (
            findings.num_damaged_spans,
            findings.num_frames_duplicate,
            findings.num_pts_gaps,
            None if findings.start_offset_seconds is None else f"{findings.start_offset_seconds:.3f} s",
        )
    )
    numbers = (
        video.num_frames_in_header,
        video.num_packets,
        video.num_frames_decoded,
        video.num_frames_stored,
        video.num_frames_corrupt,
        *counts,
    )
    mark = "!" if video.verdict != "whole" else "?" if video.notes else ""
    wrong = "; ".join(filter(None, ["forgotten" * is_forgotten, video.reason, *video.notes]))
    cells = ("-" if number is None else str(number) for number in numbers)
    return (mark, repr(video.path), *_fact_cells(video), video.verdict, *cells, wrong)


def _span_cells(video: VideoEntry) -> tuple[str, str]:
    """The file that a video is a stretch of, and its first and last frame there."""
    if video.span is None:
        return "-", "-"
    first, count = video.span.first_frame, video.num_frames_decoded
    return repr(without_controls(video.span.file)), f"{first}-{first + count - 1}" if count else "-"


def _fact_cells(video: VideoEntry) -> tuple[str, str, str, str, str]:
    """Width and height in coded pixels, the header's frame rate, codec and duration."""
    facts = video.facts
    sides = [facts.get(side) for side in ("width", "height")]
    width, height = (str(side) if _is_number(side) else UNKNOWN for side in sides)
    codec = facts.get("codec")
    return (
        width,
        height,
        _rate_text(facts.get("average_rate")),
        codec if isinstance(codec, str) else UNKNOWN,
        _duration_text(video),
    )


def _rate_text(rate: Any) -> str:  # noqa: ANN401 - any JSON value
    """Frames per second from a fraction.

    >>> _rate_text([25, 1]), _rate_text([30000, 1001]), _rate_text([1, 0]), _rate_text(25)
    ('25', '29.97', 'unknown', 'unknown')
    """
    if not (isinstance(rate, list) and len(rate) == 2 and all(map(_is_number, rate)) and rate[1]):
        return UNKNOWN
    return f"{round(rate[0] / rate[1], 3):.12g}"


def _duration_text(video: VideoEntry) -> str:
    """From the first frame to the end of the last packet; the header's duration if those are not known.

    Of a stretch of a file, what its source says.
    """
    if video.span is not None:
        return f"{video.span.to_seconds - video.span.from_seconds:.2f} s"
    end = video.facts.get("end_seconds_of_packets")
    start = None if video.findings is None else video.findings.start_offset_seconds
    claimed = video.facts.get("duration_seconds_in_header")
    if _is_number(end) and start is not None:
        return f"{end - start:.2f} s"
    return f"{claimed:.2f} s" if _is_number(claimed) else UNKNOWN


def _is_number(value: Any) -> TypeGuard[float]:  # noqa: ANN401 - any JSON value
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
