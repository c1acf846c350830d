"""`run_build`: config -> discover -> scan -> plan -> decode units -> shards -> other files -> manifest -> publish."""

import os
import shutil
import time
from pathlib import Path
from typing import Any, Final

import msgspec

from cache_builder.build.existing import ExistingCache, read_existing_cache
from cache_builder.build.gather_stage import gather
from cache_builder.build.inputs import Inputs, fingerprint
from cache_builder.build.preparation import chosen_decoders, foreseen_error, scan_inputs, usable_backend
from cache_builder.build.report import BuildReport, make_report
from cache_builder.errors import (
    MachineError,
    OutputError,
    VideoChangedError,
    VideosNotWholeError,
)
from cache_builder.folder_scan import forget_scans
from cache_builder.gpu import DecoderChoice
from cache_builder.progress import NoProgress, Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceContents, Sources, look_into, printable
from cache_builder.stages import (
    DecodeStage,
    Workspace,
    library_versions,
    resolved,
)
from cache_builder.video.decode import DecodeBackend
from cache_builder.worker_pool import WorkerPool
from frame_store.files import publish_folder, write_file
from frame_store.manifest import EncodingName
from frame_store.shared import listed

_BYTES_PER_RAW_BYTE: Final[dict[EncodingName, tuple[float, float]]] = {
    "raw": (1.0, 1.0),
    "jpeg": (0.007, 0.12),
    "zstd": (0.0, 0.6),
}
"""Per byte of pixels, at least and typically. JPEG: a flat frame, and real clips at quality 95."""


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
        self._videos = contents.videos
        self._passed_over = contents.passed_over
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
        started = time.monotonic()
        inputs = self._scan()
        decoders = chosen_decoders(
            inputs, backend=self._backend, options=self._options, progress=self._progress
        )
        seconds_scan = time.monotonic() - started
        identity = self._identity(inputs, decoders)
        digest = fingerprint(inputs, self._config, decoders)
        if existing is not None:
            videos = existing.videos
            if (
                existing.tree.generation.fingerprint == digest
                and videos is not None
                and not existing.broken_files
            ):
                self._workspace.remove_building(of=identity)
                return make_report(
                    existing.tree.generation,
                    videos,
                    output=printable(str(self._workspace.output)),
                    status="already complete",
                    passed_over=self._passed_over,
                )
            self._refuse_unless_overwriting(existing, inputs, decoders)
        if self._options.on_error == "fail":
            self._refuse_unless_storable(inputs)
        self._workspace.claim(identity, overwrite=self._overwrite)
        self._require_space(inputs)
        return self._build(inputs, decoders, identity, digest, seconds_scan)

    def _build(
        self,
        inputs: Inputs,
        decoders: DecoderChoice,
        identity: dict[str, Any],
        digest: str,
        seconds_scan: float,
    ) -> BuildReport:
        workspace, config = self._workspace, self._config
        is_resumed = any(workspace.spill.glob("*.receipt"))
        started = time.monotonic()
        self._progress.start("decode", inputs.num_packets, "frames")
        stage = DecodeStage(
            self._pool,
            paths=[video.path for video in self._videos],
            spill=workspace.spill,
            scans=inputs.scans,
            decoders=decoders,
            config=config,
            on_error=self._options.on_error,
            progress=self._progress.advance,
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
            digest = fingerprint(inputs.changed(decoded.videos), config, decoders)
        generation, entries = gather(
            self._pool,
            workspace=workspace,
            config=config,
            decoded=decoded,
            decoders=decoders,
            fingerprint=digest,
            progress=self._progress,
        )
        report = make_report(
            generation,
            entries,
            output=printable(str(workspace.output)),
            status="built",
            passed_over=self._passed_over,
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

    def _scan(self) -> Inputs:
        return scan_inputs(
            self._videos, scan_cache=self._workspace.scan_cache, pool=self._pool, progress=self._progress
        )

    def _identity(self, inputs: Inputs, decoders: DecoderChoice) -> dict[str, Any]:
        return {
            "config": self._config.to_builtins(),
            "library_versions": library_versions(decoders),
            "videos": inputs.identity(),
            **inputs.order_identity(),
            **decoders.identity(),
        }

    def _refuse_unless_overwriting(
        self, existing: ExistingCache, inputs: Inputs, decoders: DecoderChoice
    ) -> None:
        if self._overwrite:
            return
        lines = existing.differences(self._config, inputs.identity(), on_device=decoders.paths.values())
        raise OutputError(
            listed(
                f"{self._workspace.output}: already holds another cache, or a damaged one",
                lines,
                "give its settings to keep it, another {--out} to build beside it, or {--overwrite} to replace it",
            )
        )

    def _refuse_unless_storable(self, inputs: Inputs) -> None:
        """Refuse all videos at once whose scan alone shows that they are damaged or cannot be stored."""
        errors = [foreseen_error(scan, self._config) for scan in inputs.scans]
        problems = [str(error) for error in errors if error is not None]
        if problems:
            raise VideosNotWholeError(problems)

    def _require_space(self, inputs: Inputs) -> None:
        """Refuse a build that cannot fit on the disk, and note that it may not fit: spill and cache exist together.

        How well pixels compress is not known before they are compressed, so a typical size gives a note, not an error.
        """
        config = self._config
        if config.fps is not None:
            return  # the number of frames is not known before decoding
        least, typical = _BYTES_PER_RAW_BYTE[config.encoding.name]
        num_bytes = 2 * inputs.num_packets / config.stride * config.frame_bytes
        spilled = self._workspace.num_bytes_unfinished
        free = shutil.disk_usage(self._workspace.building).free
        text = f"(the cache and as much again while building), {_size_text(free)} are free"
        if free < least * num_bytes - spilled:
            raise MachineError(
                f"{self._workspace.output}: at least {_size_text(least * num_bytes - spilled)} are needed {text}"
            )
        if free < typical * num_bytes - spilled:
            self._progress.note(
                f"{self._workspace.output}: about {_size_text(typical * num_bytes - spilled)} may be needed {text}; "
                "if the disk gets full, make room and run the same command again"
            )


def _size_text(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:.1f} MB"
