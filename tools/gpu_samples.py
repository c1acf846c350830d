"""Step `samples` of `gpu_acceptance`: videos of several codecs, and the caches that the other steps read."""

import os
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from frame_cache_tools.bench import (
    CACHE_KINDS,
    SampleSize,
    build_bench_cache,
    link_copies,
    write_sample_videos,
)
from frame_cache_tools.gpu_findings import Findings, StepContext
from frame_cache_tools.samples import KINDS, NumberedVideo, sample_specs, write_samples

from cache_builder.discover import discover_videos
from cache_builder.video.picture import FrameGeometry

FULL_SIZE: Final = SampleSize(num_videos=8, num_frames=300, width=1920, height=1080)
QUICK_SIZE: Final = SampleSize(num_videos=2, num_frames=40, width=640, height=360)
_COPIES: Final = 48
_STREAMS: Final = 16
_QUICK_COPIES: Final = 4
_CACHES: Final = {"raw": "wds raw", "jpeg": "wds jpeg 444"}


@dataclass(frozen=True, kw_only=True)
class Samples:
    """What lies where in the scratch folder."""

    work: Path

    @property
    def alike(self) -> Path:
        """H.264 1080p with a keyframe every 30 frames: for figures of speed."""
        return self.work / "alike"

    @property
    def copies(self) -> Path:
        """Links to the files of `alike`, several to each, so that a cache of them is larger than a CPU's caches."""
        return self.work / "copies"

    @property
    def streams(self) -> Path:
        """Fewer links, to be decoded live: a video for each of several threads."""
        return self.work / "streams"

    @property
    def mixed(self) -> Path:
        """Of every codec, and small ones of every kind that real folders hold: for correctness."""
        return self.work / "mixed"

    @property
    def raw_cache(self) -> Path:
        """`alike`, several times over, as a cache of raw frames 224 x 224."""
        return self.work / "raw"

    @property
    def jpeg_cache(self) -> Path:
        """The same as JPEG."""
        return self.work / "jpeg"

    def fast_paths(self) -> list[Path]:
        """Videos of `alike`."""
        return [video.path for video in discover_videos(self.alike)]

    def checked_paths(self) -> list[Path]:
        """The samples whose correctness counts."""
        return [self.fast_paths()[0], *(video.path for video in discover_videos(self.mixed))]


def exercise_geometry() -> FrameGeometry:
    """That of the caches, for live stores beside them."""
    return FrameGeometry(height=224, width=224, resize="stretch", crop_aspect=(4, 3))


def run(context: StepContext, findings: Findings) -> None:
    """Make what is not there yet."""
    samples = Samples(work=context.work)
    size = QUICK_SIZE if context.quick else FULL_SIZE
    started = time.monotonic()
    write_sample_videos(samples.alike, size)
    workers = len(os.sched_getaffinity(0))
    write_mixed(samples.mixed, mixed_specs(quick=context.quick), findings, num_workers=workers)
    findings.measured(
        "videos", round(time.monotonic() - started, 1), "s", detail=f"encoded by {workers} processes"
    )
    copies = link_copies(samples.alike, samples.copies, at_least=_QUICK_COPIES if context.quick else _COPIES)
    link_copies(samples.alike, samples.streams, at_least=_STREAMS)
    for name, kind in _CACHES.items():
        with findings.part(f"cache of {kind}"):
            cache = build_bench_cache(copies, context.work / name, kind, CACHE_KINDS[kind])
            findings.measured(
                f"cache of {kind}, built on the CPU",
                cache.build_frames_per_second,
                "frames/s",
                detail=f"{cache.num_frames} frames, {cache.bytes_per_frame:.0f} bytes each",
            )


def write_mixed(folder: Path, specs: list[NumberedVideo], findings: Findings, *, num_workers: int) -> None:
    """Write samples; one whose encoder crashes is left out, and is an error."""
    with suppress(BrokenProcessPool):
        for _ in write_samples(folder, specs, num_workers=max(2, num_workers)):
            pass
        return
    for spec in specs:
        if not (folder / spec.path).exists():
            with findings.part(f"encoding {spec.path}"):
                for _ in write_samples(folder, [spec], num_workers=2):  # in a process of its own
                    pass


def mixed_specs(*, quick: bool) -> list[NumberedVideo]:
    """The samples for correctness, with paths inside their folder; those of one codec each come first by name.

    >>> [spec.path.name for spec in mixed_specs(quick=True)][:3]
    ['00_h264.mp4', '01_hevc.mp4', '02_hevc_10bit.mkv']
    """
    width, height, num_frames = (320, 180, 24) if quick else (1280, 720, 60)
    made = [
        ("00_h264.mp4", "h264", "yuv420p", 2),
        ("01_hevc.mp4", "hevc", "yuv420p", 2),
        ("02_hevc_10bit.mkv", "hevc", "yuv420p10le", 2),
        ("03_vp9.webm", "vp9", "yuv420p", 0),
        ("04_av1.mp4", "av1", "yuv420p", 0),
        ("05_h264_10bit.mp4", "h264", "yuv420p10le", 2),
    ]
    specs = [
        NumberedVideo(
            path=Path(name),
            video_number=number,
            num_frames=num_frames,
            width=width,
            height=height,
            codec=codec,
            pixel_format=pixel_format,
            num_b_frames=num_b_frames,
            gop_size=12,
        )
        for number, (name, codec, pixel_format, num_b_frames) in enumerate(made)
    ]
    # Smaller than NVDEC's least sizes of some codecs. (x265 overruns its memory on pictures under 64 pixels.)
    specs += [
        NumberedVideo(
            path=Path(f"06_tiny_{codec}_{side}.mp4"),
            video_number=100,
            num_frames=12,
            width=side,
            height=side,
            codec=codec,
            gop_size=6,
        )
        for codec, side in (("h264", 44), ("hevc", 64))
    ]
    if quick:
        return specs
    for number, spec in enumerate(sample_specs(len(KINDS))):
        path = Path("kinds", f"{number:02d}_{spec.path.name}")
        specs.append(replace(spec, path=path, num_frames=min(spec.num_frames, 60)))
    return specs
