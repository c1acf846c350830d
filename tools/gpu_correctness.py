"""Step `correctness` of `gpu_acceptance`: NVDEC gives the CPU decoder's samples, and the stores the same pictures.

For each video: planes and timestamps equal those of FFmpeg's own decoder (bit for bit, for codecs whose standard leaves
no choice); RGB at full size is within 1 of the CPU store's, and at 224 x 224 within 0.2 on average; frames looked up
in any order, by several threads at once, are those read in order. What the GPU does not take is decoded on the CPU
under `device="auto"`, with a reason. Before that: memory after many openings; behind it: caches built on the GPU.
"""

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from frame_cache_tools.gpu_builds import check_builds
from frame_cache_tools.gpu_caps import CODECS, CapsError, CodecSupport, ask_caps
from frame_cache_tools.gpu_findings import Findings, Skip, StepContext
from frame_cache_tools.gpu_planes import (
    EXACT_CODECS,
    PlaneComparison,
    compare_planes,
    frames_on_gpu,
    planes_on_cpu,
    planes_on_gpu,
)
from frame_cache_tools.gpu_samples import Samples

from cache_builder import LiveStore, open_videos
from cache_builder.discover import discover_videos
from cache_builder.errors import DeviceError, VideoError
from cache_builder.gpu import NvdecDevice, probe_nvdec
from cache_builder.video.scan import VideoFacts
from frame_store.shared import NVDEC_LIBRARY, load_library

MOST_FRAMES: Final = 120
"""Of a video whose planes are compared."""
_RGB_FRAMES: Final = 12
_LOOK_UPS: Final = 48
_THREADS: Final = 7
FULL_SIZE_LIMIT: Final = 1
SMALL_MEAN_LIMIT: Final = 0.2
_OPENINGS: Final = 50
_MEMORY_LIMIT: Final = 64 << 20
_SECONDS_FOR_BUILDS: Final = 30


@dataclass(kw_only=True)
class Verdict:
    """What was found of one video, and what of it is wrong."""

    facts: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def note(self, text: str, *, holds: bool = True) -> None:
        """One thing."""
        (self.facts if holds else self.wrong).append(text)


def run(context: StepContext, findings: Findings) -> None:
    """Check the videos, then what is checked once."""
    samples = Samples(work=context.work)
    nvdec = NvdecDevice() if context.device == "cuda" else None
    with findings.part("memory after 50 openings"):
        _check_memory(samples.fast_paths()[0], nvdec, findings)
    supported: dict[tuple[str, int], CodecSupport] = {}
    if nvdec is not None:
        with findings.part("codecs of the chip"):
            supported = _supported(nvdec)
    num_left = 0
    paths: list[Path] = []
    if context.videos is not None:
        with findings.part(f"videos in {context.videos}"):
            paths += [video.path for video in discover_videos(context.videos)]
    with findings.part("samples"):
        paths += samples.checked_paths()
    for number, path in enumerate(paths):
        # The builds count for more than the last of the samples.
        if context.seconds_left < _SECONDS_FOR_BUILDS:
            num_left += 1
            continue
        with findings.part(path.name):
            folder = _folder_of_one(context.work / "one" / f"{number:03d}", path)
            verdict = check_video(folder, nvdec, supported)
            findings.check(
                path.name,
                not verdict.wrong,
                "; ".join(verdict.wrong or verdict.facts),
                target="as on the CPU",
                data={"wrong": verdict.wrong, "facts": verdict.facts},
            )
    if num_left:
        findings.skipped(f"{num_left} more videos", "the step's time was up")
    with findings.part("caches built on the GPU"):
        context.check_time(5)
        check_builds(context, findings)


def check_video(
    folder: Path, nvdec: NvdecDevice | None, supported: dict[tuple[str, int], CodecSupport]
) -> Verdict:
    """Check the one video of a folder; `nvdec` is None in a rehearsal, where the CPU stands for the GPU.

    Raises:
        VideoError: it cannot be read, or one of its frames cannot.
    """
    verdict = Verdict()
    with closing(_open(folder, "cpu", size=224)) as store:
        facts = store.videos[0]
    if isinstance(facts, VideoError):
        raise facts
    path = folder / facts.path
    what = f"{facts.codec} {facts.pixel_format} {facts.width}x{facts.height}"
    verdict.note(what)
    if nvdec is not None:
        try:
            probe_nvdec(path, facts, nvdec)
        except DeviceError as error:
            _check_fall_back(folder, facts, error.reason, supported, verdict)
            return verdict
    planes = _compare(path, nvdec)
    _note_planes(planes, facts.codec, verdict)
    device = "cpu" if nvdec is None else "cuda"
    _check_rgb(folder, device, facts, verdict, has_same_planes=planes.is_equal)
    _check_look_ups(folder, device, verdict)
    return verdict


def _compare(path: Path, nvdec: NvdecDevice | None) -> PlaneComparison:
    ours = planes_on_cpu(path) if nvdec is None else planes_on_gpu(path, nvdec, nvdec.import_plane)
    with closing(ours), closing(planes_on_cpu(path)) as theirs:  # type: ignore[type-var]
        return compare_planes(ours, theirs, most_frames=MOST_FRAMES)


def _note_planes(found: PlaneComparison, codec: str, verdict: Verdict) -> None:
    if codec in EXACT_CODECS or found.is_equal:
        verdict.note(found.text(), holds=found.is_equal)
    else:
        # What its standard allows for is about a step of the transform, again and again up to the next keyframe.
        verdict.note(
            f"{found.text()} ({codec} is not exact, by up to {found.largest_difference})",
            holds=found.same_pts and not found.num_missing,
        )


def _check_rgb(
    folder: Path, device: str, facts: VideoFacts, verdict: Verdict, *, has_same_planes: bool
) -> None:
    """Pictures against the CPU's; judged where both begin with the same samples."""
    shown = facts.presentation
    turned = shown.num_quarter_turns % 2 != 0
    height, width = (facts.width, facts.height) if turned else (facts.height, facts.width)
    is_square = shown.sample_aspect_ratio is None or len(set(shown.sample_aspect_ratio)) == 1
    is_even = facts.width % 2 == 0 and facts.height % 2 == 0
    for size in ((height, width), (224, 224)):
        is_full = size != (224, 224)
        if is_full and not is_square:
            continue
        with _stores(folder, device, size) as (gpu, cpu):
            ids = np.unique(np.linspace(0, len(cpu) - 1, _RGB_FRAMES).astype(np.int64))
            distance = np.abs(gpu.read_frames(ids).astype(np.int16) - cpu.read_frames(ids))
        largest, mean = int(distance.max()), float(distance.mean())
        # swscale stretches the chroma of an odd size by a pixel.
        holds = (largest <= FULL_SIZE_LIMIT or not is_even) if is_full else mean <= SMALL_MEAN_LIMIT
        verdict.note(
            f"{'full size' if is_full else '224'}: mean {mean:.3f}, max {largest}",
            holds=holds or not has_same_planes,
        )


def _check_look_ups(folder: Path, device: str, verdict: Verdict) -> None:
    with closing(_open(folder, device, size=224)) as store:
        num_frames = min(len(store), MOST_FRAMES)
        in_order = np.concatenate(
            [
                store.read_frames(range(start, min(start + 32, num_frames)))
                for start in range(0, num_frames, 32)
            ]
        )
        ids = np.random.default_rng(0).permutation(num_frames)[:_LOOK_UPS]
        one_by_one = np.concatenate([store.read_frames([int(frame_id)]) for frame_id in ids[:8]])
        with ThreadPoolExecutor(_THREADS) as threads:
            parts = list(threads.map(store.read_frames, [ids[start::_THREADS] for start in range(_THREADS)]))
        same = np.array_equal(one_by_one, in_order[ids[:8]]) and all(
            np.array_equal(part, in_order[ids[start::_THREADS]]) for start, part in enumerate(parts)
        )
        verdict.note(f"look-ups {'equal' if same else 'differ from'} frames read in order", holds=same)


def _check_fall_back(
    folder: Path,
    facts: VideoFacts,
    reason: str,
    supported: dict[tuple[str, int], CodecSupport],
    verdict: Verdict,
) -> None:
    """The GPU refused: whether it was right to, and whether `auto` says so and gives the CPU's frames."""
    verdict.note(f"on the CPU: {reason}")
    if _should_decode(facts, supported):
        verdict.note(f"refused, though the chip says that it takes it: {reason}", holds=False)
    with closing(_open(folder, "cpu", size=224)) as cpu, warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with closing(_open(folder, "auto", size=224)) as auto:
            ids = np.arange(0, len(cpu), max(1, len(cpu) // _RGB_FRAMES))
            same = np.array_equal(auto.read_frames(ids), cpu.read_frames(ids))
            counted = sum(auto.fallbacks.values()) if hasattr(auto, "fallbacks") else 0
    verdict.note(f"auto gives {'the' if same else 'other than the'} CPU's frames", holds=same)
    warned = any("decoded on the CPU" in str(warning.message) for warning in said)
    verdict.note("auto warns" if warned else "auto does not warn", holds=warned)
    verdict.note(f"auto counts {counted}", holds=counted == 1)


def _should_decode(facts: VideoFacts, supported: dict[tuple[str, int], CodecSupport]) -> bool:
    """Whether the chip's own answer promises this video."""
    bits = {"yuv420p": 8, "yuvj420p": 8, "yuv420p10le": 10, "yuv420p12le": 12}.get(facts.pixel_format)
    codec = {"mpeg2video": "mpeg2", "mpeg1video": "mpeg1"}.get(facts.codec, facts.codec)
    # FFmpeg decodes AV1 with dav1d, which has no hardware behind it; VC-1 and MJPEG are not for this.
    if bits is None or codec not in CODECS or codec in ("av1", "mjpeg"):
        return False
    support = supported.get((codec, bits))
    if support is None or not support.is_supported:
        return False
    return facts.width >= support.min_size[0] and facts.height >= support.min_size[1]


def _supported(nvdec: NvdecDevice) -> dict[tuple[str, int], CodecSupport]:
    driver = nvdec.check()
    library = load_library(NVDEC_LIBRARY)
    assert library is not None  # just checked
    try:
        answers = list(ask_caps(library, driver, ordinal=nvdec.ordinal))
    except CapsError as error:
        raise Skip(f"the driver does not tell: {error}") from error
    return {(answer.codec, answer.bit_depth): answer for answer in answers if answer.chroma == "420"}


def _check_memory(path: Path, nvdec: NvdecDevice | None, findings: Findings) -> None:
    if nvdec is None:
        raise Skip("a rehearsal on the CPU")
    import torch

    def open_and_close(times: int) -> int:
        for _ in range(times):
            with closing(frames_on_gpu(path, nvdec)) as frames:  # type: ignore[type-var]
                for frame in islice(frames, 2):
                    for plane in frame.planes:
                        nvdec.import_plane(plane).sum(dtype=torch.int64)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        return int(torch.cuda.mem_get_info()[0])

    before = open_and_close(5)
    grown = before - open_and_close(_OPENINGS)
    findings.check(
        f"memory after {_OPENINGS} openings",
        grown <= _MEMORY_LIMIT,
        round(grown / 2**20, 1),
        unit="MiB more",
        target=f"at most {_MEMORY_LIMIT >> 20} MiB",
    )
    square = torch.arange(64.0, device="cuda").view(8, 8)
    right = bool(torch.equal((square @ square).cpu(), square.cpu() @ square.cpu()))
    findings.check("torch computes after that", right, target="as on the CPU")


def _folder_of_one(folder: Path, path: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    link = folder / path.name
    if not link.is_symlink():
        link.symlink_to(path.resolve())
    return folder


@contextmanager
def _stores(folder: Path, device: str, size: tuple[int, int]) -> Iterator[Sequence[LiveStore]]:
    with closing(_open(folder, device, size=size)) as ours, closing(_open(folder, "cpu", size=size)) as cpu:
        yield ours, cpu


def _open(folder: Path, device: str, *, size: int | tuple[int, int]) -> LiveStore:
    return open_videos(folder, device=device, size=size, scan_cache=folder / ".scan", workers=1)
