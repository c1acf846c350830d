"""Make a folder of small and varied sample videos. Each frame shows its video number and its frame number.

`python -m frame_cache_tools.samples OUT` writes 200 videos of unequal length with the codecs, containers and
oddities of real folders. Video i of the sorted folder has the number i.
"""

import random
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from fractions import Fraction
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click
from frame_cache_tools.samples.numbered_videos import NumberedVideo, write_numbered_video
from tqdm import tqdm

from cache_builder.cli import PathName
from frame_store.shared import counted, num_usable_cpus

_NTSC: Final = Fraction(30000, 1001)
_HIDDEN_FRAMES: Final = (("deadline", "good"), ("auto-alt-ref", "1"), ("lag-in-frames", "16"))

KINDS: Final = (
    NumberedVideo(path=Path("h264.mp4")),
    NumberedVideo(path=Path("h264_bframes.mp4"), num_b_frames=3),
    NumberedVideo(path=Path("hevc_bframes.mp4"), codec="hevc", num_b_frames=2),
    NumberedVideo(path=Path("vp9.webm"), codec="vp9"),
    NumberedVideo(path=Path("av1.mp4"), codec="av1"),
    NumberedVideo(path=Path("mpeg4_bframes.avi"), codec="mpeg4", num_b_frames=2),
    NumberedVideo(path=Path("h264_open.mkv"), num_b_frames=3, open_gop=True),
    NumberedVideo(path=Path("h264_vfr.mp4"), num_b_frames=2, variable_rate=True),
    NumberedVideo(path=Path("h264_rot90.mov"), num_b_frames=2, rotation_degrees=90),
    NumberedVideo(
        path=Path("hevc_10bit.mkv"), codec="hevc", pixel_format="yuv420p10le", color_matrix="bt2020"
    ),
    NumberedVideo(path=Path("h264_full.mp4"), full_range=True, color_matrix="bt709"),
    NumberedVideo(path=Path("h264_refresh.mp4"), intra_refresh=True),
    NumberedVideo(path=Path("mpeg2_open.ts"), codec="mpeg2video", num_b_frames=2, open_gop=True),
    NumberedVideo(path=Path("h264_bframes.flv"), num_b_frames=2),
    NumberedVideo(path=Path("vp9_hidden.webm"), codec="vp9", encoder_options=_HIDDEN_FRAMES),
    NumberedVideo(path=Path("av1_10bit.webm"), codec="av1", pixel_format="yuv420p10le"),
    NumberedVideo(path=Path("mpeg4.mp4"), codec="mpeg4", num_b_frames=1),
    NumberedVideo(
        path=Path("hevc_open.mov"), codec="hevc", num_b_frames=3, open_gop=True, rotation_degrees=270
    ),
    NumberedVideo(path=Path("h264_bframes.avi"), num_b_frames=2),
    NumberedVideo(path=Path("mpeg2_bframes.mpg"), codec="mpeg2video", num_b_frames=2, fps=_NTSC),
    NumberedVideo(path=Path("h264_open.ts"), num_b_frames=2, open_gop=True, color_matrix="bt709"),
    NumberedVideo(path=Path("av1_vfr.mkv"), codec="av1", variable_rate=True),
    NumberedVideo(path=Path("h264_10bit.mp4"), pixel_format="yuv420p10le", rotation_degrees=180),
    NumberedVideo(path=Path("h264_wide.mp4"), sample_aspect_ratio=Fraction(4, 3), rotation_degrees=90),
    NumberedVideo(path=Path("vp8.webm"), codec="vp8"),
    NumberedVideo(path=Path("mpeg4.avi"), codec="mpeg4"),
    NumberedVideo(path=Path("h264_refresh.ts"), intra_refresh=True),
    NumberedVideo(path=Path("mjpeg_full.mov"), codec="mjpeg", pixel_format="yuvj422p", full_range=True),
    NumberedVideo(path=Path("hevc_vfr.mp4"), codec="hevc", num_b_frames=3, variable_rate=True),
    NumberedVideo(path=Path("h264_444.mkv"), pixel_format="yuv444p", sample_aspect_ratio=Fraction(10, 11)),
    NumberedVideo(path=Path("h264_raw.h264"), num_b_frames=2),
    NumberedVideo(path=Path("hevc_raw.h265"), codec="hevc", num_b_frames=2, open_gop=True),
    NumberedVideo(path=Path("mpeg1.mpg"), codec="mpeg1video", num_b_frames=2),
)
"""Every kind of sample. Files, sizes, lengths, rates and GOPs are drawn by `sample_specs`."""

_SIZES: Final = ((160, 96), (192, 108), (256, 144), (160, 120), (128, 128), (96, 160), (320, 180))
_LARGE_SIZE: Final = (640, 360)
_ODD_SIZES: Final = ((161, 97), (129, 227), (199, 111))
_TAKES_ODD_SIZES: Final = ("vp8", "vp9", "av1", "mpeg4", "mjpeg")
_GOP_SIZES: Final = (1, 5, 12, 12, 25, 60, 250)
_OPEN_GOP_SIZES: Final = (6, 12, 30, 60)
_NUM_FOLDERS: Final = 4


def sample_specs(count: int = 200, seed: int = 0) -> list[NumberedVideo]:
    """Specifications of the samples, in the order of their paths, which are relative to the folder.

    The first `len(KINDS)` hold every kind once. One in 25 is long and one in 25 is large.

    Raises:
        ValueError: The count is under 1 or over 65,536, the number of videos that a frame can distinguish.
    """
    if not 1 <= count <= 1 << 16:
        raise ValueError(f"count is {count}, expected 1 to {1 << 16}")
    draw = random.Random(seed)
    return [_sample_spec(number, count, draw) for number in range(count)]


def write_samples(
    folder: Path, specs: list[NumberedVideo], *, num_workers: int = 1
) -> Iterator[NumberedVideo]:
    """Write the samples that the folder lacks. Yields each sample that exists or has been written."""
    missing = []
    for spec in specs:
        if (folder / spec.path).exists():
            yield spec
        else:
            missing.append(spec)
    # The slowest samples first: a slow one at the end would keep one worker busy alone.
    missing.sort(key=lambda spec: spec.num_frames * spec.width * spec.height, reverse=True)
    if num_workers == 1:
        for spec in missing:
            write_numbered_video(replace(spec, path=folder / spec.path))
            yield spec
        return
    # Spawned processes, because a fork would lose the threads of the encoders.
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        jobs = {
            pool.submit(write_numbered_video, replace(spec, path=folder / spec.path)): spec
            for spec in missing
        }
        for job in as_completed(jobs):
            job.result()
            yield jobs[job]


@click.command()
@click.argument("out", type=PathName(file_okay=False, path_type=Path))
@click.option("--count", type=click.IntRange(1, 1 << 16), default=200, show_default=True, help="Videos.")
@click.option("--seed", type=int, default=0, show_default=True, help="Draws lengths, sizes, rates and GOPs.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Processes.  [default: one per core]")
def main(out: Path, count: int, seed: int, workers: int | None) -> None:
    """Write sample videos into OUT. Existing ones are kept."""
    specs = sample_specs(count, seed)
    others = _files_in(out) - {spec.path for spec in specs}
    if others:
        raise click.UsageError(
            f"{out} holds {counted(len(others), 'file that is', 'files that are')} not among these samples, "
            f"such as {min(others)}: video numbers would not fit the order of the folder. Choose another folder."
        )
    num_workers = workers or num_usable_cpus()
    done = write_samples(out, specs, num_workers=num_workers)
    # disable=None shows the bar on a terminal only.
    for _ in tqdm(done, total=count, unit="video", disable=None):
        pass
    num_bytes = sum((out / spec.path).stat().st_size for spec in specs)
    num_frames = sum(spec.num_frames for spec in specs)
    click.echo(f"{out}: {counted(count, 'video')}, {counted(num_frames, 'frame')}, {num_bytes / 1e6:.1f} MB")


def _sample_spec(number: int, count: int, draw: random.Random) -> NumberedVideo:
    kind = KINDS[number % len(KINDS)]
    num_frames = draw.randint(400, 600) if number % 25 == 11 else draw.randint(20, 200)
    width, height = _LARGE_SIZE if number % 25 == 20 else draw.choice(_SIZES)
    if kind.codec in _TAKES_ODD_SIZES and draw.random() < 0.5:
        width, height = draw.choice(_ODD_SIZES)
    if kind.rotation_degrees in (90, 270):
        width, height = min(width, height), max(width, height)
    gop_size = draw.choice(_OPEN_GOP_SIZES if kind.open_gop else _GOP_SIZES)
    name = f"{number:0{len(str(count - 1))}d}_{kind.path.stem}_gop{gop_size}_{num_frames}f_{width}x{height}"
    return replace(
        kind,
        path=_folder_of(number, count) / f"{name}{kind.path.suffix}",
        video_number=number,
        num_frames=num_frames,
        width=width,
        height=height,
        gop_size=gop_size,
        fps=kind.fps
        if kind.fps != NumberedVideo.fps
        else draw.choice((Fraction(25), Fraction(30), Fraction(50))),
    )


def _folder_of(number: int, count: int) -> Path:
    """One of four consecutive groups: the folder itself, then subfolders that sort after its files."""
    group = number * _NUM_FOLDERS // count
    return (Path(), Path("part_1"), Path("part_2"), Path("part_3/deep"))[group]


def _files_in(folder: Path) -> set[Path]:
    """Relative paths of the files below a folder, without the unfinished files of a killed run."""
    found = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".unfinished")
    return {path.relative_to(folder) for path in found}
