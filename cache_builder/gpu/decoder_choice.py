"""Which videos of a build the GPU decodes. It is decided before decoding: it is part of a cache's identity."""

import importlib.metadata
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec

from cache_builder.errors import DeviceError, VideoError, VideosNotWholeError
from cache_builder.executors import JobDone, JobLimits, JobRaised, WorkerPool
from cache_builder.gpu.nvdec import NvdecDevice
from cache_builder.gpu.probe import probe_nvdec
from cache_builder.sources import SourceVideo
from cache_builder.staging import StagedVideoJob
from cache_builder.video.decode import CPU, DecodeBackend
from cache_builder.video.opening import seconds_to_scan
from cache_builder.video.scan import VideoFacts, VideoScan
from frame_store.shared import counted

MAX_PROBING_WORKERS = 4
"""Few, because a process takes half a second to start CUDA and a probe a few hundredths of a second."""


class DecoderChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The videos that the GPU decodes and those that the CPU decodes."""

    device: NvdecDevice | None = None
    """The GPU; None where no GPU was asked for, or there is none."""
    paths: dict[int, str] = msgspec.field(default_factory=dict)
    """video_id -> relative path of the videos that the GPU decodes."""
    refusals: dict[int, str] = msgspec.field(default_factory=dict)
    """video_id -> why the GPU does not decode a readable video."""

    def backend_of(self, video_id: int) -> DecodeBackend:
        """What decodes a readable video."""
        return self.device if self.device is not None and video_id in self.paths else CPU

    def identity(self) -> dict[str, list[str]]:
        """The choice's part of a cache's identity: empty where the CPU decodes everything."""
        return {"decoded_on_device": list(self.paths.values())} if self.paths else {}

    def versions(self) -> dict[str, str]:
        """Versions of what decodes and converts on the GPU: empty where the CPU decodes everything."""
        if self.device is None or not self.paths:
            return {}
        return {"torch": importlib.metadata.version("torch"), "GPU": self.device.describe()}

    def summary(self) -> list[str]:
        """One line for each reason why videos are left to the CPU, with the number of videos."""
        counts = Counter(self.refusals.values())
        return [
            f"{counted(count, 'video is', 'videos are')} decoded on the CPU: {reason}"
            for reason, count in counts.most_common()
        ]


class ProbeJob(StagedVideoJob, frozen=True, kw_only=True):
    """Try one video on the GPU."""

    video_id: int
    facts: VideoFacts
    device: NvdecDevice

    @property
    def name(self) -> str:
        """The video, as messages name it."""
        return self.facts.path

    @property
    def limits(self) -> JobLimits:
        """A limit of time alone. A process that uses CUDA has no limit of memory."""
        return JobLimits(seconds=seconds_to_scan(self.facts.num_bytes))

    def run(self) -> str | None:
        """Why the GPU does not decode the video; None if it does."""
        try:
            probe_nvdec(self.path, self.facts, self.device)
        except DeviceError as error:
            return error.reason
        return None


def choose_decoders(
    backend: DecodeBackend,
    *,
    files: Sequence[SourceVideo],
    scans: Sequence[VideoScan | VideoError],
    falls_back: bool,
    workers: int,
    notify: Callable[[str], None],
) -> DecoderChoice:
    """Try every readable video on the GPU, in processes of their own: if the driver crashes, one video fails.

    Raises:
        VideosNotWholeError: the GPU does not take all of them, and nothing else may.
        MachineError: a process cannot start.
    """
    if not isinstance(backend, NvdecDevice):
        return DecoderChoice()
    refusals: dict[int, str] = {}
    with WorkerPool[ProbeJob, str | None](num_workers=min(workers, MAX_PROBING_WORKERS)) as pool:
        for video_id, (file, scan) in enumerate(zip(files, scans, strict=True)):
            if isinstance(scan, VideoScan):
                pool.submit(
                    ProbeJob(
                        video_id=video_id,
                        path=file.path,
                        staged=file.staged,
                        facts=scan.facts,
                        device=backend,
                    )
                )
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
        device=backend,
        paths={video_id: path for video_id, path in readable.items() if video_id not in refusals},
        refusals=refusals,
    )
    for line in choice.summary():
        notify(line)
    return choice
