"""`run_build`: config -> discover -> scan -> plan -> decode units -> shards -> other files -> manifest -> publish."""

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from cache_builder.build.existing import ExistingCache, read_existing_cache
from cache_builder.build.gather_stage import Gathered, entries_of, gather
from cache_builder.build.report import BuildReport, make_report
from cache_builder.build.settle import settle
from cache_builder.build.task import BuildTask
from cache_builder.columns import read_dataset, write_dataset_columns
from cache_builder.errors import (
    MachineError,
    OutputError,
    VideoChangedError,
    VideosNotWholeError,
)
from cache_builder.folder_scan import forget_scans
from cache_builder.inputs import (
    Settled,
    camera_configs,
    chosen_decoders,
    foreseen_problems,
    scan_inputs,
    usable_backend,
)
from cache_builder.progress import NoProgress, Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceContents, Sources, look_into, printable
from cache_builder.stages import DecodeStage, Workspace, resolved
from cache_builder.video.decode import DecodeBackend
from cache_builder.worker_pool import WorkerPool
from frame_store.files import publish_folder, sync_tree, write_file
from frame_store.manifest import EncodingName, encode_manifest, fresh_manifest
from frame_store.names import manifest_name
from frame_store.shared import listed

_SHARE_OF_RAW: Final[dict[EncodingName, tuple[float, float]]] = {
    "raw": (1.0, 1.0),
    "jpeg": (0.007, 0.12),
    "zstd": (0.0, 0.6),
}
"""Of the bytes of the pixels, at least and typically. JPEG: a flat frame, and real clips at quality 95."""


def run_build(
    sources: Path | Sources,
    output: Path,
    config: BuildConfig,
    options: RunOptions,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> BuildReport:
    """Decode every video of the sources into a cache at `output`.

    An interrupted build of the same inputs and configuration is resumed; a finished one is left untouched.

    Raises:
        InputFolderError: a source does not exist or holds no video; see `look_into`.
        ConfigError: links to the output form a loop, `device` is `cuda` and no GPU can be used, two sources hold one
            file, or the filter leaves no video or has a pattern that matches none.
        OutputError: the output is a file, holds something else or cannot be written; another build is writing it; or
            no build wrote the file that has the name of its report or scan cache.
        VideosNotWholeError: videos are not whole and the policy is `fail`, or no frame came of any.
        MachineError: disk full, I/O error. The same call resumes.
    """
    output = resolved(output)
    try:
        workspace = Workspace(output)
        # Searched first: no file of this build may count as one of the folder.
        contents = look_into(sources, not_counted=workspace.own_places)
        backend = usable_backend(options, progress or NoProgress())
        workspace.require_own_files()
        with workspace.locked(if_not_writable="give {--out} a place that can be written"):
            return _Build(
                contents=contents,
                workspace=workspace,
                config=config,
                options=options,
                backend=backend,
                overwrite=overwrite,
                progress=progress or NoProgress(),
            ).run()
    except OSError as error:
        raise MachineError(
            f"{error.filename or output}: {error.strerror or error}; the same command resumes"
        ) from error


class _Build:
    def __init__(
        self,
        *,
        contents: SourceContents,
        workspace: Workspace,
        config: BuildConfig,
        options: RunOptions,
        backend: DecodeBackend,
        overwrite: bool,
        progress: Progress,
    ) -> None:
        self._contents = contents
        self._workspace = workspace
        self._config = config
        self._options = options
        self._backend = backend
        self._overwrite = overwrite
        self._progress = progress
        self._pool = WorkerPool[Any, Any](num_workers=options.workers)

    def run(self) -> BuildReport:
        with self._pool:
            return self._run()

    def _run(self) -> BuildReport:
        existing = self._existing_cache()
        dataset = read_dataset(self._contents)
        started = time.monotonic()
        inputs = scan_inputs(
            self._contents, scan_cache=self._workspace.scan_cache, pool=self._pool, progress=self._progress
        )
        decoders = chosen_decoders(
            inputs, backend=self._backend, options=self._options, progress=self._progress
        )
        task = BuildTask(
            inputs=inputs,
            configs=camera_configs(inputs, self._contents, self._config, self._options),
            decoders=decoders,
            dataset=dataset,
        )
        seconds_scan = time.monotonic() - started
        identity = task.identity(self._config)
        if existing is not None:
            if existing.is_complete(inputs.parts, task.fingerprints()):
                self._workspace.remove_building(of=identity)
                return make_report(
                    {part.camera: (part.generation, part.videos or []) for part in existing.parts},
                    output=printable(str(self._workspace.output)),
                    status="already complete",
                    passed_over=self._contents.passed_over,
                )
            self._refuse_unless_overwriting(existing, task)
        if self._options.on_error == "fail":
            problems = foreseen_problems(inputs, task.configs_of_files)
            if problems:
                raise VideosNotWholeError(problems)
        self._workspace.claim(identity, overwrite=self._overwrite)
        self._require_space(task)
        return self._build(task, identity, seconds_scan)

    def _build(self, task: BuildTask, identity: dict[str, Any], seconds_scan: float) -> BuildReport:
        workspace, inputs = self._workspace, task.inputs
        is_resumed = any(workspace.spill.glob("*.receipt"))
        started = time.monotonic()
        self._progress.start("decode", inputs.num_packets, "frames")
        stage = DecodeStage(
            self._pool,
            paths=[file.path for file in inputs.files],
            spill=workspace.spill,
            scans=inputs.scans,
            decoders=task.decoders,
            configs=task.configs_of_files,
            on_error=self._options.on_error,
            progress=self._progress.advance,
            episodes=inputs.episodes(),
        )
        try:
            decoded = stage.run()
        except VideosNotWholeError as error:
            if isinstance(error.__cause__, VideoChangedError):
                forget_scans(workspace.scan_cache, [error.__cause__.path])
            raise
        decoded_at = time.monotonic()
        # The fingerprint must not claim that the cache holds these videos as they were when they were scanned.
        changed = [video for video in decoded.videos if isinstance(video, VideoChangedError)]
        if changed:
            forget_scans(workspace.scan_cache, [error.path for error in changed])
            task = replace(task, inputs=inputs.changed(decoded.videos))
        videos = settle(inputs, decoded.videos, on_error=self._options.on_error)
        gathered = self._gather(task, videos, decoded.unit_names)
        report = make_report(
            {camera: (made.generation, made.videos) for camera, made in gathered.items()},
            output=printable(str(workspace.output)),
            status="built",
            passed_over=self._contents.passed_over,
            is_resumed=is_resumed,
            seconds_scan=seconds_scan,
            seconds_decode=decoded_at - started,
            seconds_gather=time.monotonic() - decoded_at,
        )
        # Written before the cache is published, so that every cache has its report.
        write_file(workspace.report, msgspec.json.format(msgspec.json.encode(report), indent=1))
        publish_folder(workspace.cache, workspace.output)
        workspace.remove_building(of=identity)
        return report

    def _gather(
        self, task: BuildTask, videos: list[list[Settled]], unit_names: list[str]
    ) -> dict[str | None, Gathered]:
        """Write the whole cache into `workspace.cache`, synced, the manifest last."""
        workspace, parts = self._workspace, task.inputs.parts
        entries = [entries_of(of_part) for of_part in videos]
        total = sum(entry.num_frames_stored for of_part in entries for entry in of_part)
        self._progress.start("gather", total, "frames")
        workspace.clear_what_follows_shards()
        gathered: dict[str | None, Gathered] = {}
        for number, (camera, digest) in enumerate(zip(parts, task.fingerprints(), strict=True)):
            gathered[camera] = gather(
                self._pool,
                places=workspace.places if camera is None else workspace.places_of_camera(number),
                config=task.configs[number],
                videos=videos[number],
                entries=entries[number],
                unit_names=unit_names,
                decoders=task.decoders,
                fingerprint=digest,
                progress=self._progress,
            )
        columns = []
        if task.dataset is not None:
            columns = [
                write_dataset_columns(
                    task.dataset,
                    videos=gathered[parts[0]].videos,
                    source_order=gathered[parts[0]].source_order,
                    fingerprint=gathered[parts[0]].generation.fingerprint,
                    cache=workspace.cache,
                    scratch=workspace.plan / "columns",
                )
            ]
        sync_tree(workspace.cache)
        manifest = fresh_manifest({camera: made.entry for camera, made in gathered.items()}, columns=columns)
        write_file(workspace.cache / manifest_name(manifest.version), encode_manifest(manifest))
        return gathered

    def _existing_cache(self) -> ExistingCache | None:
        """The cache that exists at the output; None if nothing exists there."""
        output = self._workspace.output
        if not os.path.lexists(output):
            return None
        if not output.is_dir():
            raise OutputError(f"{output}: is a file; give {{--out}} a folder that does not exist yet")
        if not any(output.iterdir()):
            output.rmdir()
            return None
        return read_existing_cache(output)

    def _refuse_unless_overwriting(self, existing: ExistingCache, task: BuildTask) -> None:
        if self._overwrite:
            return
        inputs = task.inputs
        lines = existing.differences(
            inputs.parts,
            task.configs,
            [inputs.identity(part) for part in inputs.parts],
            on_device=[
                {
                    inputs.videos[row].relative_path
                    if inputs.videos[row].span is None
                    else inputs.videos[row].file
                    for row in inputs.rows_of(part)
                    if inputs.file_ids[row] in task.decoders.paths
                }
                for part in inputs.parts
            ],
        )
        raise OutputError(
            listed(
                f"{self._workspace.output}: already holds another cache, or a damaged one",
                lines,
                "give its settings to keep it, another {--out} to build beside it, or {--overwrite} to replace it",
            )
        )

    def _require_space(self, task: BuildTask) -> None:
        """Refuse a build that cannot fit on the disk, and note that it may not fit: spill and cache exist together.

        How well pixels compress is not known before they are compressed, so a typical size gives a note, not an error.
        """
        if self._config.fps is not None:
            return  # the number of frames is not known before decoding
        least = typical = 0.0
        for file, config in enumerate(task.configs_of_files):
            num_bytes = 2 * task.num_frames_at_most(file) / config.stride * config.frame_bytes
            least_share, typical_share = _SHARE_OF_RAW[config.encoding.name]
            least, typical = least + num_bytes * least_share, typical + num_bytes * typical_share
        spilled = self._workspace.num_bytes_unfinished
        free = shutil.disk_usage(self._workspace.building).free
        text = f"(the cache and as much again while building), {_size_text(free)} are free"
        if free < least - spilled:
            raise MachineError(
                f"{self._workspace.output}: at least {_size_text(least - spilled)} are needed {text}"
            )
        if free < typical - spilled:
            self._progress.note(
                f"{self._workspace.output}: about {_size_text(typical - spilled)} may be needed {text}; "
                "if the disk gets full, make room and run the same command again"
            )


def _size_text(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
