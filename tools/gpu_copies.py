"""Step `copies` of `gpu_acceptance`: bytes copied an image, to the GPU, from it and within it, by torch's profiler.

Each row is a whole epoch of a loader, with all that it reads ahead, so that copies and images belong together. What the
driver uploads for NVDEC (packets) is not among the copies that the profiler sees.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import av
import torch
from av.codec.hwaccel import HWAccel
from frame_cache_tools.gpu_feeds import FRAME_BYTES, Feed, Feeds, synchronize
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext
from frame_cache_tools.gpu_samples import Samples
from frame_cache_tools.gpu_trace import Copies, count_copies, profile_gpu

_BATCH_SIZE: Final = 256
_BATCHES: Final = 20
_NAIVE_FRAMES: Final = 120
FLOAT_BYTES: Final = 4 * FRAME_BYTES
SLACK: Final = 0.01
_MOST_LIVE_BYTES: Final = 1024


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a row must copy, bytes an image."""

    direction: str
    least: float
    most: float

    @property
    def text(self) -> str:
        """For the table.

        >>> Wanted(direction="DtoH", least=0, most=0).text
        '0 bytes DtoH'
        """
        if self.least == self.most:
            return f"{self.most:.0f} bytes {self.direction}"
        return f"{self.least:.0f} to {self.most:.0f} bytes {self.direction}"

    def holds(self, copies: Copies, num_images: int) -> bool:
        """Whether it is so."""
        return self.least <= copies.per_image(self.direction, num_images) <= self.most


class ProfilerBlindError(Exception):
    """torch's profiler does not see the GPU."""


def run(context: StepContext, findings: Findings) -> None:
    """Measure each way that an image goes to the GPU."""
    samples = Samples(work=context.work)
    num_frames = _BATCH_SIZE if context.quick else _BATCHES * _BATCH_SIZE
    feeds = Feeds(samples=samples, device=context.device, batch_size=_BATCH_SIZE, num_frames=num_frames)
    # The profiler's own start is slow, and the first copies may be lost in it.
    profile_gpu(lambda: _copy_once(context.device), context.work / "trace.json")
    rows: list[tuple[str, Feed, tuple[Wanted, ...]]] = [
        (
            "cached raw",
            feeds.raw,
            (
                Wanted(direction="HtoD", least=FRAME_BYTES, most=FRAME_BYTES * (1 + SLACK)),
                Wanted(direction="DtoH", least=0, most=0),
            ),
        ),
        (
            "cached raw as float32, converted on the host",
            feeds.float32,
            (Wanted(direction="HtoD", least=FLOAT_BYTES, most=FLOAT_BYTES * (1 + SLACK)),),
        ),
        ("cached JPEG, decoded on the GPU", feeds.jpeg_on_gpu, (Wanted(direction="DtoH", least=0, most=0),)),
        (
            "live NVDEC",
            lambda: Feeds(samples=samples, device=context.device, batch_size=64).live(sampling="sequential"),
            (
                Wanted(direction="DtoH", least=0, most=0),
                Wanted(direction="HtoD", least=0, most=_MOST_LIVE_BYTES),
            ),
        ),
    ]
    for name, feed, wanted in rows:
        with findings.part(name):
            context.check_time(5)
            with feed() as loader:
                report(name, lambda: sum(map(len, loader)), wanted, context, findings)
    with findings.part("NVDEC with is_hw_owned=False, RGB on the host"):
        context.check_time(5)
        if context.device == "cpu":
            raise Skip("a rehearsal on the CPU")
        report(
            "NVDEC with is_hw_owned=False, RGB on the host",
            lambda: naive_decode(samples, device=context.device),
            (),
            context,
            findings,
        )


def report(
    name: str,
    action: Callable[[], int],
    wanted: tuple[Wanted, ...],
    context: StepContext,
    findings: Findings,
) -> None:
    """Run `action`, which gives how many images it took, under the profiler; a finding for all, and one a check.

    Raises:
        ProfilerBlindError: the profiler saw no copies at all.
    """
    num_images = 0

    def count_images() -> None:
        nonlocal num_images
        num_images = action()

    events = profile_gpu(count_images, context.work / "trace.json")
    copies = count_copies(events)
    if not copies.num_bytes:
        if context.device == "cpu":
            raise Skip(f"a rehearsal on the CPU: {num_images} images, no copies")
        raise ProfilerBlindError(f"{len(events)} events, and no copy among them")
    per_image = {way: copies.per_image(way, num_images) for way in ("HtoD", "DtoH", "DtoD")}
    findings.measured(
        name,
        [f"{size:.0f} {way}" for way, size in per_image.items()],
        "bytes an image",
        detail=f"{num_images} images; copies: {copies.num_copies}; {copies.pageable_bytes} bytes pageable",
        data={
            "num_images": num_images,
            "num_bytes": copies.num_bytes,
            "num_copies": copies.num_copies,
            "pageable_bytes": copies.pageable_bytes,
        },
    )
    for want in wanted:
        findings.check(
            f"{name}: {want.direction}",
            want.holds(copies, num_images),
            round(per_image[want.direction], 1),
            unit="bytes an image",
            target=want.text,
        )


def naive_decode(samples: Samples, *, device: str) -> int:
    """PyAV's hardware decoding as it comes: each frame copied to the host, made RGB there and uploaded; how many."""
    num_frames = 0
    hwaccel = HWAccel("cuda", device="0", is_hw_owned=False, allow_software_fallback=False)
    with av.open(f"file:{samples.fast_paths()[0]}", hwaccel=hwaccel) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"
        for frame in container.decode(stream):
            rgb = frame.to_ndarray(format="rgb24", width=224, height=224)
            torch.from_numpy(rgb).to(device)
            num_frames += 1
            if num_frames == _NAIVE_FRAMES:
                break
    synchronize(device)
    return num_frames


def _copy_once(device: str) -> None:
    torch.zeros(1024).to(device)
    synchronize(device)
