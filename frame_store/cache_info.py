"""A manifest in words, for `cache-info`."""

from collections.abc import Sequence
from typing import Final

from frame_store.manifest import StoreManifest, VideoEntry


def info_text(manifest: StoreManifest, *, path: str, list_videos: bool = False) -> str:
    """Several lines: what is stored, how, from which videos, and how faithful it is."""
    height, width, _ = manifest.frame_shape
    sizes = [shard.num_frames for shard in manifest.shards]
    num_bytes = sum(entry.num_bytes for entry in [*manifest.shards, *manifest.files])
    verdicts = {
        verdict: sum(video.verdict == verdict for video in manifest.videos)
        for verdict in ("whole", "damaged", "unreadable")
    }
    lines = [
        f"{path}: {manifest.num_frames} frames of {height}x{width} RGB from {len(manifest.videos)} videos",
        f"  videos     {', '.join(f'{count} {verdict}' for verdict, count in verdicts.items() if count)}",
        f"  stored as  {manifest.container}, {_encoding_text(manifest)}, layout {manifest.layout}, "
        f"seed {manifest.seed}",
        f"  shards     {len(sizes)} of {min(sizes)} to {max(sizes)} frames, chi2 of uniform shard choice "
        f"{shard_chi2(sizes):.3g}",
        f"  size       {num_bytes / 1e6:.1f} MB, {num_bytes / manifest.num_frames:.0f} bytes a frame",
    ]
    if manifest.fidelity is not None and manifest.fidelity.psnr_db_of_mean_error is not None:
        lines.append(
            f"  fidelity   PSNR {manifest.fidelity.psnr_db_of_mean_error:.1f} dB over "
            f"{manifest.fidelity.num_frames_sampled} frames, worst {manifest.fidelity.psnr_db_worst_frame:.1f} dB"
        )
    lines += [
        f"  made with  {', '.join(f'{name} {version}' for name, version in manifest.library_versions.items())}",
        f"  fingerprint {manifest.fingerprint}",
    ]
    shown = (
        manifest.videos if list_videos else [video for video in manifest.videos if video.verdict != "whole"]
    )
    return "\n".join([*lines, *videos_table(shown)])


def videos_table(videos: Sequence[VideoEntry]) -> list[str]:
    """A head and a line for every video; none without videos.

    Its first column marks what needs a look: `!` is not whole, `?` has notes. What is wrong ends the line.
    """
    if not videos:
        return []
    rows = [_COLUMNS, *(_video_cells(video) for video in videos)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS) - 1)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column in _LEFT_ALIGNED else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        + f"  {row[-1]}".rstrip()
        for row in rows
    ]


def shard_chi2(shard_sizes: list[int]) -> float:
    """Chi-squared distance of "uniform shard, then uniform frame" from uniform frames: A(n)/H(n) - 1.

    A and H are the arithmetic and the harmonic mean of the shard sizes; 0 means that choice is unbiased.

    >>> shard_chi2([10, 10])
    0.0
    """
    count = len(shard_sizes)
    return (sum(shard_sizes) / count) * (sum(1 / size for size in shard_sizes) / count) - 1


def _encoding_text(manifest: StoreManifest) -> str:
    encoding = manifest.encoding
    if encoding.name == "jpeg":
        return f"jpeg quality {encoding.quality} chroma {encoding.chroma}"
    return encoding.name if encoding.level is None else f"{encoding.name} level {encoding.level}"


_COLUMNS: Final = (
    *("", "video", "verdict", "header", "packets", "decoded", "stored"),
    *("corrupt", "damaged", "same", "gaps", "starts at", "what is wrong, or worth knowing"),
)
_LEFT_ALIGNED: Final = frozenset({0, 1, 2})


def _video_cells(video: VideoEntry) -> tuple[str, ...]:
    """Cells of `_COLUMNS`; `-` where there is no such number."""
    truth = video.truth
    told = (
        (None,) * 4
        if truth is None
        else (
            truth.num_damaged_spans,
            truth.num_frames_duplicate,
            truth.num_pts_gaps,
            None if truth.start_offset_seconds is None else f"{truth.start_offset_seconds:.3f} s",
        )
    )
    numbers = (
        video.num_frames_in_header,
        video.num_packets,
        video.num_frames_decoded,
        video.num_frames_stored,
        video.num_frames_corrupt,
        *told,
    )
    mark = "!" if video.verdict != "whole" else "?" if video.notes else ""
    wrong = "; ".join(filter(None, [video.reason, *video.notes]))
    cells = ("-" if number is None else str(number) for number in numbers)
    return (mark, repr(video.path), video.verdict, *cells, wrong)
