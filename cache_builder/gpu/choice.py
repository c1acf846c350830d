"""Which videos of a build the GPU decodes: settled before anything is decoded, as it is part of what a cache is."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from cache_builder.errors import DeviceError, VideoError, VideosNotWholeError
from cache_builder.gpu.nvdec import NvdecDevice, probe_nvdec
from cache_builder.video.opening import seconds_to_scan
from cache_builder.video.scan import VideoFacts, VideoScan
from cache_builder.worker_pool import JobDone, JobLimits, JobRaised, WorkerPool
from frame_store.shared import counted

MAX_PROBING_WORKERS = 4
"""A process takes half a second to start CUDA, and a probe a few hundredths of one."""


class DecoderChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The GPU's videos and the CPU's."""

    nvdec: NvdecDevice | None = None
    """The GPU; None where none was asked for, or there is none."""
    paths: dict[int, str] = msgspec.field(default_factory=dict)
    """video_id -> relative path of the videos that it decodes."""
    refusals: dict[int, str] = msgspec.field(default_factory=dict)
    """video_id -> why it does not decode a readable video."""

    def decoder_of(self, video_id: int) -> NvdecDevice | None:
        """What decodes a readable video, None for the CPU."""
        return self.nvdec if video_id in self.paths else None

    def identity(self) -> dict[str, list[str]]:
        """What a cache's identity holds of it: nothing where the CPU decodes everything."""
        return {"decoded_by_nvdec": list(self.paths.values())} if self.paths else {}

    def summary(self) -> list[str]:
        """One line for each reason why videos are left to the CPU, with how many there are."""
        counts = Counter(self.refusals.values())
        return [
            f"{counted(count, 'video is', 'videos are')} decoded on the CPU: {reason}"
            for reason, count in counts.most_common()
        ]


class ProbeJob(msgspec.Struct, frozen=True, kw_only=True):
    """Try one video on the GPU."""

    video_id: int
    path: Path
    facts: VideoFacts
    nvdec: NvdecDevice

    @property
    def limits(self) -> JobLimits:
        """Time alone: CUDA takes what memory it takes."""
        return JobLimits(seconds=seconds_to_scan(self.facts.num_bytes))

    def run(self) -> str | None:
        """Why the GPU does not take it, None if it does."""
        try:
            probe_nvdec(self.path, self.facts, self.nvdec)
        except DeviceError as error:
            return error.reason
        return None


def choose_decoders(
    nvdec: NvdecDevice | None,
    *,
    paths: Sequence[Path],
    scans: Sequence[VideoScan | VideoError],
    falls_back: bool,
    workers: int,
    say: Callable[[str], None],
) -> DecoderChoice:
    """Try every readable video on the GPU, in processes of their own: a driver's crash costs one video its GPU.

    Raises:
        VideosNotWholeError: the GPU does not take all of them, and nothing else may.
        MachineError: a process cannot start.
    """
    if nvdec is None:
        return DecoderChoice()
    refusals: dict[int, str] = {}
    with WorkerPool[ProbeJob, str | None](num_workers=min(workers, MAX_PROBING_WORKERS)) as pool:
        for video_id, (path, scan) in enumerate(zip(paths, scans, strict=True)):
            if isinstance(scan, VideoScan):
                pool.submit(ProbeJob(video_id=video_id, path=path, facts=scan.facts, nvdec=nvdec))
        for outcome in pool.outcomes():
            if isinstance(outcome, JobDone):
                reason = outcome.result
            elif isinstance(outcome, JobRaised):
                raise outcome.error
            else:
                reason = f"trying it on the GPU failed: the process {outcome.how}"
            if reason is not None:
                refusals[outcome.job.video_id] = reason
    readable = {
        video_id: scan.facts.path for video_id, scan in enumerate(scans) if isinstance(scan, VideoScan)
    }
    if refusals and not falls_back:
        lines = [str(VideoError(readable[video_id], reason)) for video_id, reason in sorted(refusals.items())]
        raise VideosNotWholeError(
            lines,
            fault="cannot be decoded by the GPU",
            remedy="have the CPU decode those, with {--device auto}",
        )
    choice = DecoderChoice(
        nvdec=nvdec,
        paths={video_id: path for video_id, path in readable.items() if video_id not in refusals},
        refusals=refusals,
    )
    for line in choice.summary():
        say(line)
    return choice
