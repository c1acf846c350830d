"""`estimate_build`: scan, count, decode a sample, and say what a build would give and take. Nothing is built."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from cache_builder.build.estimate import BuildEstimate, SampleSize
from cache_builder.errors import MachineError, UnitNotIndependentError, VideoError
from cache_builder.executors import LOCAL, Executor, JobDied, JobDone, WorkerPool
from cache_builder.findings import SOURCE_DTYPE
from cache_builder.gpu import DecoderChoice
from cache_builder.growing import AppendRequest, new_videos
from cache_builder.inputs import (
    NO_FILE,
    ExpectedBuild,
    ExpectedFrames,
    Inputs,
    camera_configs,
    chosen_decoders,
    configs_of_files,
    expected_build,
    foreseen_problems,
    scan_inputs,
    usable_backend,
)
from cache_builder.jobs import SampleJob, UnitJob, UnitSample
from cache_builder.plan import DecodeUnit, plan_shards, plan_units
from cache_builder.progress import NoProgress, Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import PassedOver, Sources, SourceVideo, look_into, printable
from cache_builder.stages import RemoteWorkspace, Workspace, make_workspace
from cache_builder.video.packets import PACKET_COLUMNS
from cache_builder.video.scan import VideoScan
from frame_store.errors import CudaError, ObjectStoreError
from frame_store.names import INDEX_DTYPE
from frame_store.remote import RemoteUrl

SAMPLE_SECONDS: Final = 8.0
"""No new part of a video is begun after this time."""
MOST_PACKETS: Final = 150
"""Of one part. Few units of a build have fewer, so each part bears the cost of opening a file as a unit does."""
_LEAST_PACKETS: Final = 8
_MOST_PIXELS: Final = MOST_PACKETS * 1920 * 1080
"""Of one part, as coded."""
_MOST_RAW_BYTES: Final = 1 << 26
"""Of one part, as stored, unencoded."""
_MANIFEST_BYTES_OF_A_VIDEO: Final = 3000
"""About what a record of a whole video takes."""
_SOURCE_ORDER_BYTES: Final = 16
"""A frame, at most: its time, its place in source order and its number in the video."""


def estimate_build(
    sources: Path | Sources,
    output: Path | RemoteUrl,
    config: BuildConfig,
    options: RunOptions,
    *,
    append: AppendRequest | None = None,
    progress: Progress | None = None,
) -> BuildEstimate:
    """What `run_build` would give and take. It writes nothing but a temporary folder, which it removes.

    With `append`, and where a cache is there, it is about the videos that the cache does not have. `append` is not for
    a URL.

    Every video is scanned, and for some 10 seconds parts of them, drawn at random, are decoded, encoded and packed as a
    build does it. Videos that are not whole are counted as `on_error="skip"` stores them.

    Raises:
        InputFolderError, ConfigError, OutputError: as `run_build`.
        VideosNotWholeError: `device` is `cuda`, and the GPU does not decode every video.
        MachineError: disk full, I/O error, a worker that cannot start.
    """
    progress = progress or NoProgress()
    try:
        workspace = make_workspace(output)
        sources = replace(Sources.of(sources), stage=options.of_stage)
        contents = all_contents = look_into(sources, not_counted=workspace.own_places)
        if options.executor != LOCAL:
            progress.note(
                "decodes on this machine, and its times are those of this machine's workers: a dry run joins no cluster"
            )
        backend = usable_backend(options, progress)
        if not isinstance(workspace, RemoteWorkspace):  # there it would write
            workspace.require_own_files()
        found = None if append is None else new_videos(contents, workspace, append)
        if found is not None:
            contents = found.contents
            if not contents.videos:
                return BuildEstimate.of_nothing(
                    output=printable(workspace.title),
                    num_cameras=len(contents.cameras),
                    num_free_bytes=_num_free_bytes(workspace),
                    num_unfinished_bytes=workspace.num_bytes_unfinished,
                    num_workers=options.workers,
                    passed_over=contents.passed_over,
                )
        with (
            tempfile.TemporaryDirectory(prefix="cache-build-") as scratch,
            WorkerPool[Any, Any](num_workers=options.workers) as pool,
        ):
            scan_cache = Path(scratch, "scan")
            if workspace.scan_cache.is_file():
                shutil.copyfile(workspace.scan_cache, scan_cache)
            started = time.monotonic()
            inputs = scan_inputs(contents, scan_cache=scan_cache, pool=pool, progress=progress)
            seconds_scan = time.monotonic() - started
            decoders = chosen_decoders(inputs, backend=backend, options=options, progress=progress)
            configs = camera_configs(inputs, contents, config, options) if found is None else found.configs
            expected = expected_build(inputs, configs_of_files(inputs, configs))
            sampling = _Sampling(inputs, expected.files, configs, decoders, folder=Path(scratch))
            sampling.run(pool, num_workers=options.workers, progress=progress)
            estimate = _Estimate(inputs, expected, configs, options, sampling).of(
                workspace, passed_over=contents.passed_over, seconds_scan=seconds_scan
            )
    except OSError as error:
        raise MachineError(f"{error.filename or output}: {error.strerror or error}") from error
    except ObjectStoreError as error:
        raise MachineError(str(error)) from None
    all_contents.remove_temporary_stages()
    return estimate


class _Sampling:
    """Decodes parts of units, drawn at random, until the time is up or all units were sampled."""

    def __init__(
        self,
        inputs: Inputs,
        expected: Sequence[ExpectedFrames | None],
        configs: Sequence[BuildConfig],
        decoders: DecoderChoice,
        *,
        folder: Path,
    ) -> None:
        self._files = inputs.files
        self._scans = inputs.scans
        self._configs = configs_of_files(inputs, configs)
        self._decoders = decoders
        self._folder = folder
        self.units = plan_units(
            [
                VideoError(file.relative_path, "gives no frame") if frames is None else scan
                for file, scan, frames in zip(inputs.files, inputs.scans, expected, strict=True)
            ]
        )
        self.taken: list[tuple[DecodeUnit, UnitSample]] = []
        """Whole units, and what a part of each took."""
        self.num_failed = 0
        self.seconds = 0.0

    def run(self, pool: Executor[Any, Any], *, num_workers: int, progress: Progress) -> None:
        """Sample.

        Raises:
            MachineError: disk full, I/O error.
        """
        units = {(unit.video_id, unit.first_packet): unit for unit in self.units}
        jobs = self._jobs()
        progress.start("sample", len(self.units), "parts")
        started = time.monotonic()
        for _, job in zip(range(num_workers), jobs, strict=False):
            pool.submit(job)
        for outcome in pool.outcomes():
            unit = outcome.job.job.unit
            if isinstance(outcome, JobDone):
                self.taken.append((units[unit.video_id, unit.first_packet], outcome.result))
            elif isinstance(outcome, JobDied) or isinstance(
                outcome.error, VideoError | UnitNotIndependentError
            ):
                self.num_failed += 1
            elif isinstance(outcome.error, OSError | MemoryError | CudaError):
                raise MachineError(f"decoding a sample: {outcome.error}") from outcome.error
            else:
                raise outcome.error
            progress.advance(1)
            self.seconds = time.monotonic() - started
            following = next(jobs, None) if self.seconds < SAMPLE_SECONDS else None
            if following is not None:
                pool.submit(following)

    def _jobs(self) -> Iterator[SampleJob]:
        for row in np.random.default_rng(0).permutation(len(self.units)).tolist():
            unit = self.units[row]
            scan = self._scans[unit.video_id]
            assert isinstance(scan, VideoScan)  # only readable videos have units
            config = self._configs[unit.video_id]
            end = min(unit.end_packet, unit.first_packet + _packets_to_sample(scan, config))
            yield SampleJob(
                job=UnitJob(
                    path=self._files[unit.video_id].path,
                    staged=self._files[unit.video_id].staged,
                    scan=scan,
                    unit=msgspec.structs.replace(unit, end_packet=end),
                    first_ordinal=unit.first_packet,
                    config=config,
                    spill=self._folder,
                    backend=self._decoders.backend_of(unit.video_id),
                )
            )

    @property
    def size(self) -> SampleSize:
        samples = [sample for _, sample in self.taken]
        return SampleSize(
            num_units=len(samples),
            num_units_failed=self.num_failed,
            num_videos=len({unit.video_id for unit, _ in self.taken}),
            num_frames_decoded=sum(sample.num_frames_decoded for sample in samples),
            num_frames_packed=sum(sample.num_frames_packed for sample in samples),
            seconds=self.seconds,
        )


def _packets_to_sample(scan: VideoScan, config: BuildConfig) -> int:
    by_pixels = _MOST_PIXELS // max(1, scan.facts.width * scan.facts.height)
    by_bytes = _MOST_RAW_BYTES // config.frame_bytes
    return max(_LEAST_PACKETS, min(MOST_PACKETS, by_pixels, by_bytes))


class _Estimate:
    """What follows from scans and samples. A sample stands for its whole unit, and counts by its packets."""

    def __init__(
        self,
        inputs: Inputs,
        expected: ExpectedBuild,
        configs: Sequence[BuildConfig],
        options: RunOptions,
        sampling: _Sampling,
    ) -> None:
        self._inputs = inputs
        self._configs = configs
        self._options = options
        self._sampling = sampling
        self._expected = expected
        given = [frames for frames in expected.files if frames is not None]
        self._num_decoded = sum(frames.num_decoded for frames in given)
        self._num_stored = sum(map(sum, expected.stored))
        self._num_uncounted = sum(not frames.is_proved for frames in given)
        # The layout decides the order in the shards, which takes memory to compute, but not their number.
        self._num_shards = sum(
            len(plan_shards(stored, msgspec.structs.replace(config, layout="video")).shard_sizes)
            for stored, config in zip(expected.stored, configs, strict=True)
        )

    def of(self, workspace: Workspace, *, passed_over: PassedOver, seconds_scan: float) -> BuildEstimate:
        inputs = self._inputs
        payload = self._payload_bytes()
        cache = self._cache_bytes(payload)
        return BuildEstimate(
            output=printable(workspace.title),
            output_exists=_is_anything_at(workspace),
            num_videos=len(inputs.videos) // len(inputs.parts),
            num_cameras=len(inputs.cameras),
            has_episodes=any(video.span is not None for video in inputs.videos),
            problems=foreseen_problems(inputs, configs_of_files(inputs, self._configs)),
            num_videos_unreadable=self._num_unreadable(),
            num_source_bytes=_size_of(inputs.files),
            num_frames_decoded=self._num_decoded,
            num_frames_stored=self._num_stored,
            num_videos_uncounted=self._num_uncounted,
            num_shards=self._num_shards,
            num_payload_bytes=payload,
            num_cache_bytes=cache,
            num_building_bytes=self._building_bytes(payload, cache),
            num_free_bytes=_num_free_bytes(workspace),
            num_unfinished_bytes=workspace.num_bytes_unfinished,
            num_workers=self._options.workers,
            seconds_scan=seconds_scan,
            seconds_decode=self._seconds_decode(),
            seconds_gather=self._seconds_gather(),
            sample=self._sampling.size,
            passed_over=passed_over,
        )

    def _num_unreadable(self) -> int:
        """Videos that give no frame at all in some camera."""
        inputs, files = self._inputs, self._expected.files
        gives_none = [
            {
                inputs.videos[row].relative_path
                for row in inputs.rows_of(part)
                if inputs.file_ids[row] == NO_FILE or files[inputs.file_ids[row]] is None
            }
            for part in inputs.parts
        ]
        return len(set.union(*gives_none))

    def _mean(self, amount: str, per: str, *, part: str | None = None) -> float | None:
        """The mean of the samples' `amount / per`, by the packets of their units; None without a sample.

        With `part`, of the files of that camera.
        """
        files = self._inputs.files
        rows = [
            (unit.num_packets, getattr(sample, amount) / getattr(sample, per))
            for unit, sample in self._sampling.taken
            if getattr(sample, per) and (part is None or files[unit.video_id].camera == part)
        ]
        weight = sum(num_packets for num_packets, _ in rows)
        return sum(num_packets * ratio for num_packets, ratio in rows) / weight if weight else None

    def _payload_bytes(self) -> int | None:
        total = 0
        for part, config, stored in zip(
            self._inputs.parts, self._configs, self._expected.stored, strict=True
        ):
            each = self._mean("payload_bytes", "num_frames_packed", part=part)
            if config.encoding.name == "raw":
                each = config.frame_bytes
            if each is None:
                return None
            total += round(sum(stored) * each)
        return total

    def _cache_bytes(self, payload: int | None) -> int | None:
        around = self._mean("container_bytes", "num_frames_packed")
        if payload is None or around is None:
            return None
        shard_end = max(sample.shard_end_bytes for _, sample in self._sampling.taken)
        return (
            payload
            + round(self._num_stored * (around + INDEX_DTYPE.itemsize))
            + self._num_shards * shard_end
            + self._num_decoded * _SOURCE_ORDER_BYTES
            + len(self._inputs.videos) * _MANIFEST_BYTES_OF_A_VIDEO
        )

    def _building_bytes(self, payload: int | None, cache: int | None) -> int | None:
        receipts = self._mean("receipt_bytes", "num_frames_decoded")
        if payload is None or cache is None:
            return None
        packets = sum(dtype.itemsize for dtype in PACKET_COLUMNS.values()) * self._inputs.num_packets
        plan = (SOURCE_DTYPE.itemsize + 8) * self._num_stored
        return payload + round((receipts or 0.0) * self._num_decoded) + cache + plan + packets

    def _seconds_decode(self) -> float | None:
        each = self._mean("seconds_decode", "num_packets")
        if each is None:
            return None
        sizes = [unit.num_packets for unit in self._sampling.units]
        return each * _steps_of_busiest(sizes, num_workers=self._options.workers)

    def _seconds_gather(self) -> float | None:
        each = self._mean("seconds_gather", "num_frames_packed")
        if each is None:
            return None
        return each * self._num_stored / max(1, min(self._options.workers, self._num_shards))


def _steps_of_busiest(sizes: Sequence[int], *, num_workers: int) -> float:
    """Steps of the worker that has most to do, at least: a unit is decoded by one worker, however long it is.

    >>> _steps_of_busiest([3, 3, 3, 3], num_workers=2), _steps_of_busiest([9, 1, 1], num_workers=2)
    (6.0, 9)
    """
    return max(sum(sizes) / num_workers, *sizes)


def _size_of(videos: Sequence[SourceVideo]) -> int:
    num_bytes = 0
    for video in videos:
        with suppress(OSError):
            num_bytes += video.status().num_bytes
    return num_bytes


def _is_anything_at(workspace: Workspace) -> bool:
    if isinstance(workspace, RemoteWorkspace):
        return next(workspace.objects.objects(), None) is not None
    return os.path.lexists(workspace.output)


def _num_free_bytes(workspace: Workspace) -> int | None:
    if isinstance(workspace, RemoteWorkspace):
        return None
    return shutil.disk_usage(_existing(workspace.output)).free


def _existing(path: Path) -> Path:
    """The path, or the nearest of its parents that exists."""
    return path if path.exists() else _existing(path.parent)
