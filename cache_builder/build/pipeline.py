"""`run_build`: config -> discover -> scan -> plan -> decode units -> shards -> other files -> manifest -> publish."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from cache_builder.build.append import Append
from cache_builder.build.existing import ExistingCache, read_existing_cache
from cache_builder.build.gather_stage import Gathered
from cache_builder.build.making import Making
from cache_builder.build.report import BuildReport, make_report
from cache_builder.build.settle import settle
from cache_builder.build.task import BuildTask
from cache_builder.columns import read_dataset, write_dataset_columns
from cache_builder.errors import OutputError, VideosNotWholeError
from cache_builder.executors import Executor, WorkerPool, read_executor
from cache_builder.growing import AppendRequest, require_cache
from cache_builder.inputs import (
    camera_configs,
    chosen_decoders,
    foreseen_problems,
    scan_inputs,
    usable_backend,
)
from cache_builder.progress import NoProgress, Progress
from cache_builder.settings import BuildConfig, RunOptions
from cache_builder.sources import SourceContents, Sources, look_into, printable
from cache_builder.stages import (
    NodeTokens,
    RemoteWorkspace,
    Workspace,
    cluster_executor,
    make_workspace,
    remove_reports,
    store_errors_as_ours,
)
from cache_builder.video.decode import DecodeBackend
from frame_store.files import sync_tree, write_file
from frame_store.manifest import encode_manifest, fresh_manifest
from frame_store.names import manifest_name
from frame_store.remote import RemoteUrl
from frame_store.shared import listed


def run_build(
    sources: Path | Sources,
    output: Path | RemoteUrl,
    config: BuildConfig,
    options: RunOptions,
    *,
    scratch: Path | RemoteUrl | None = None,
    overwrite: bool = False,
    append: AppendRequest | None = None,
    progress: Progress | None = None,
) -> BuildReport:
    """Decode every video of the sources into a cache at `output`, a folder or a URL of an object store.

    Unfinished work goes to `scratch`; None stands for a place beside the output.
    An interrupted build of the same inputs and configuration is resumed; a finished one is left untouched. With
    `append`, a cache that exists gets the videos that it does not have, with its own settings, as a new generation.

    Raises:
        InputFolderError: a source does not exist or holds no video; see `look_into`.
        ConfigError: links to the output form a loop, `device` is `cuda` and no GPU can be used, two sources hold one
            file, or the filter leaves no video or has a pattern that matches none.
        OutputError: the output is a file, holds something else or cannot be written; another build is writing it; or
            no build wrote the file that has the name of its report or scan cache.
            With `append`: videos or settings differ from the cache's.
        ColumnsError: with `append`, the new videos and the cache do not have the same columns.
        VideosNotWholeError: videos are not whole and the policy is `fail`, or no frame came of any.
        MachineError: disk full, I/O error. The same call resumes.
    """
    progress = progress or NoProgress()
    workspace = make_workspace(output, scratch)
    with store_errors_as_ours(workspace):
        # Searched first: no file of this build may count as one of the folder.
        sources = replace(Sources.of(sources), stage=options.of_stage)
        contents = look_into(sources, not_counted=workspace.own_places)
        backend = usable_backend(options, progress)
        workspace.require_own_files()
        remedy = "give {--out} a place that can be written"
        if append is not None and not isinstance(workspace, RemoteWorkspace) and workspace.is_there():
            require_cache(workspace.output)  # before a lock is written beside a part of a cache
            remedy = "copy the cache to a place that can be, and append there"
        with workspace.locked(if_not_writable=remedy):
            report = _Build(
                contents=contents,
                workspace=workspace,
                config=config,
                options=options,
                backend=backend,
                overwrite=overwrite,
                append=append,
                progress=progress,
            ).run()
    contents.remove_temporary_stages()
    return report


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
        append: AppendRequest | None,
        progress: Progress,
    ) -> None:
        self._contents = contents
        self._workspace = workspace
        self._config = config
        self._options = options
        self._backend = backend
        self._overwrite = overwrite
        self._append = append
        self._progress = progress
        self._tokens = NodeTokens(files=workspace.node_tokens, stores=workspace.node_stores)
        cluster = read_executor(options.executor)
        self._pool: Executor[Any, Any] = (
            WorkerPool[Any, Any](num_workers=options.workers)
            if cluster is None
            else cluster_executor(
                cluster, options=options, tokens=self._tokens, videos=contents.videos, progress=progress
            )
        )
        self._making = Making(workspace=workspace, options=options, pool=self._pool, progress=progress)

    def run(self) -> BuildReport:
        try:
            return self._run_in_pool()
        finally:
            self._tokens.remove()

    def _run_in_pool(self) -> BuildReport:
        with self._pool:
            if self._append is not None:
                if self._workspace.is_there():
                    return Append(
                        contents=self._contents,
                        making=self._making,
                        backend=self._backend,
                        request=self._append,
                    ).run()
                if self._append.forget:
                    raise OutputError(
                        f"{self._workspace.title}: no cache is there, so that {{--forget}} has nothing to forget"
                    )
                self._progress.note(f"{printable(self._workspace.title)}: no cache is there, builds one")
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
        self._workspace.put_scan_cache()
        seconds_scan = time.monotonic() - started
        identity = task.identity(self._config)
        if existing is not None:
            lines = self._differences(existing, task)
            if not lines:
                self._workspace.remove_building(of=identity)
                return make_report(
                    {part.camera: (part.generations, part.videos or []) for part in existing.parts},
                    output=printable(self._workspace.title),
                    status="already complete",
                    passed_over=self._contents.passed_over,
                )
            self._refuse_unless_overwriting(existing, task, lines)
        if self._options.on_error == "fail":
            problems = foreseen_problems(inputs, task.configs_of_files)
            if problems:
                raise VideosNotWholeError(problems)
        self._workspace.claim(identity, overwrite=self._overwrite)
        self._making.require_space(task)
        return self._build(task, identity, seconds_scan)

    def _build(self, task: BuildTask, identity: dict[str, Any], seconds_scan: float) -> BuildReport:
        workspace, inputs = self._workspace, task.inputs
        is_resumed = workspace.has_units
        started = time.monotonic()
        decoded, task = self._making.decoded(task, episodes=inputs.episodes())
        decoded_at = time.monotonic()
        videos = settle(inputs, decoded.videos, on_error=self._options.on_error)
        gathered = self._making.gathered(task, videos, decoded.unit_names)
        self._finish(task, gathered)
        report = make_report(
            {camera: ([made.generation], made.videos) for camera, made in gathered.items()},
            output=printable(workspace.title),
            status="built",
            passed_over=self._contents.passed_over,
            is_resumed=is_resumed,
            seconds_scan=seconds_scan,
            seconds_decode=decoded_at - started,
            seconds_gather=time.monotonic() - decoded_at,
        )
        workspace.publish(msgspec.json.format(msgspec.json.encode(report), indent=1))
        remove_reports(workspace)
        workspace.remove_building(of=identity)
        return report

    def _finish(self, task: BuildTask, gathered: Mapping[str | None, Gathered]) -> None:
        """Write the columns of a data set and the manifest into `workspace.cache`, which is synced then."""
        workspace, first = self._workspace, gathered[task.inputs.parts[0]]
        columns = []
        if task.dataset is not None:
            columns = [
                write_dataset_columns(
                    task.dataset,
                    videos=first.videos,
                    source_order=first.source_order,
                    fingerprint=first.generation.fingerprint,
                    cache=workspace.cache,
                    scratch=workspace.plan / "columns",
                )
            ]
        sync_tree(workspace.cache)
        manifest = fresh_manifest({camera: made.entry for camera, made in gathered.items()}, columns=columns)
        write_file(workspace.cache / manifest_name(manifest.version), encode_manifest(manifest))

    def _existing_cache(self) -> ExistingCache | None:
        """The cache that exists at the output; None if nothing exists there. An empty folder is removed."""
        workspace = self._workspace
        if workspace.is_there():
            return read_existing_cache(workspace)
        if workspace.output.is_dir():
            workspace.output.rmdir()
        return None

    def _differences(self, existing: ExistingCache, task: BuildTask) -> list[str]:
        """How the cache differs from what is asked for; empty if it is that."""
        inputs = task.inputs
        if existing.is_complete(inputs.parts, task.fingerprints()):
            return []
        return existing.differences(
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
            contents=self._contents,
        )

    def _refuse_unless_overwriting(self, existing: ExistingCache, task: BuildTask, lines: list[str]) -> None:
        if self._overwrite:
            if isinstance(self._workspace, RemoteWorkspace):
                raise OutputError(
                    listed(
                        f"{self._workspace.title}: already holds another cache, or a damaged one",
                        lines,
                        "an object store cannot replace a cache in one step, and readers would find neither: give "
                        "another {--out}, or delete the objects of this one first",
                    )
                )
            return
        inputs = task.inputs
        may_append = existing.only_lacks_videos([inputs.identity(part) for part in inputs.parts])
        append = "{--append} to add the new videos to it, " if may_append else ""
        overwrite = (
            "" if isinstance(self._workspace, RemoteWorkspace) else ", or {--overwrite} to replace it"
        )  # which a URL does not take
        raise OutputError(
            listed(
                f"{self._workspace.title}: already holds another cache, or a damaged one",
                lines,
                f"give {append}its settings to keep it, another {{--out}} to build beside it{overwrite}",
            )
        )
