"""From decoded units to a complete cache in `building/cache`: plan, shards, index, Zarr metadata, manifest."""

import hashlib
import importlib.metadata
import shutil
from collections.abc import Callable, Iterable, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.build.decode_stage import DecodeResult
from cache_builder.build.workspace import Workspace
from cache_builder.errors import MachineError, VideoError, VideosError
from cache_builder.findings import (
    SOURCE_DTYPE,
    DecodedVideo,
    measured_fidelity,
    unreadable_entry,
    with_copies_noted,
)
from cache_builder.gpu import DecoderChoice
from cache_builder.jobs import PlanNames, ShardJob, SpillDamagedError, UnitSpill, shard_rows_path
from cache_builder.plan import ShardPlan, plan_shards
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig
from cache_builder.worker_pool import JobDied, JobDone, WorkerPool
from frame_store import __version__
from frame_store.containers import ShardReceipt, write_zarr_metadata
from frame_store.files import sync_tree, write_file
from frame_store.index import FrameIndex
from frame_store.manifest import ShardEntry, StoreManifest, VideoEntry, describe_files, encode_manifest
from frame_store.names import (
    FORMAT_NAME,
    FORMAT_VERSION,
    INDEX_DTYPE,
    INDEX_NAME,
    MANIFEST_NAME,
    Container,
    shard_name,
)

ShardPool = WorkerPool[ShardJob, ShardReceipt]


def gather(
    pool: ShardPool,
    *,
    workspace: Workspace,
    config: BuildConfig,
    decoded: DecodeResult,
    unreadable: Sequence[VideoError],
    decoders: DecoderChoice,
    fingerprint: str,
    progress: Progress,
) -> StoreManifest:
    """Write the whole cache into `workspace.cache`, synced, manifest last.

    `unreadable` holds the errors of the rows that are None in `decoded.videos`, in their order.

    Raises:
        VideosError: no video gave any frame.
        MachineError: disk full, I/O error, or a worker that keeps dying.
    """
    errors = iter(unreadable)
    rows = [next(errors) if video is None else video for video in decoded.videos]
    entries = with_copies_noted(
        [unreadable_entry(row) if isinstance(row, VideoError) else row.entry() for row in rows]
    )
    plan = plan_shards([entry.num_frames_stored for entry in entries], config)
    if not plan.shard_sizes.size:
        reasons = (VideoError(entry.path, entry.reason or "no frame of it is kept") for entry in entries)
        raise VideosError([str(reason) for reason in reasons])
    sources = np.concatenate(
        [
            video.sources(video_id) if isinstance(video, DecodedVideo) else np.zeros(0, SOURCE_DTYPE)
            for video_id, video in enumerate(rows)
        ]
    )
    names = PlanNames(videos=[entry.path for entry in entries], units=decoded.unit_names)
    write_plan(workspace, config.format, plan, sources, names)
    progress.start("gather", int(plan.shard_sizes.sum()), "frames")
    by_shard = write_shards(
        pool,
        workspace,
        config=config,
        plan=plan,
        shard_ids=range(len(plan.shard_sizes)),
        progress=progress.advance,
    )
    receipts = [by_shard[shard_id] for shard_id in sorted(by_shard)]
    rows_of_shards = (
        np.load(shard_rows_path(workspace.building, shard_id), allow_pickle=False)
        for shard_id in range(len(plan.shard_sizes))
    )
    write_index(workspace, rows_of_shards, num_frames=len(plan.source_of_frame))
    if config.format == "zarr":
        _write_zarr_metadata(workspace, config)
    manifest = _manifest(
        workspace,
        config,
        rows=rows,
        entries=entries,
        receipts=receipts,
        decoders=decoders,
        fingerprint=fingerprint,
    )
    sync_tree(workspace.cache)
    write_file(workspace.cache / MANIFEST_NAME, encode_manifest(manifest))
    return manifest


def library_versions(decoders: DecoderChoice) -> dict[str, str]:
    """Versions of what decides a cache's bytes."""
    import av

    versions = {
        name: importlib.metadata.version(name) for name in ("av", "numcodecs", "numpy", "simplejpeg", "zarr")
    }
    for name in ("libavcodec", "libavformat", "libswscale"):
        versions[name] = ".".join(map(str, av.library_versions[name]))
    if decoders.nvdec is not None and decoders.paths:
        versions["torch"] = importlib.metadata.version("torch")
        versions["GPU"] = decoders.nvdec.describe()
    return {"frame-cache": __version__, **versions}


def write_plan(
    workspace: Workspace,
    container: Container,
    plan: ShardPlan,
    sources: npt.NDArray[np.void],
    names: PlanNames,
) -> None:
    """Write what the shard jobs read, and drop what an interrupted build left but shards of the same plan.

    The plan depends on what decoded; that can differ between two runs only where a worker was killed.
    """
    digest = hashlib.sha256()
    for array in (sources, plan.source_of_frame, plan.shard_sizes):
        digest.update(array.tobytes())
    digest.update(msgspec.json.encode(names))
    digest_path = workspace.plan / "sha256"
    if not digest_path.exists() or digest_path.read_text() != digest.hexdigest():
        for folder in (workspace.receipts, workspace.cache):
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir()
    planned = {workspace.cache / shard_name(container, shard) for shard in range(len(plan.shard_sizes))}
    for path in list(workspace.cache.rglob("*")):
        if path.is_file() and path not in planned:
            path.unlink()  # half written, or written after the shards: done again
    np.save(workspace.plan / "sources.npy", sources, allow_pickle=False)
    np.save(workspace.plan / "source_of_frame.npy", plan.source_of_frame, allow_pickle=False)
    write_file(workspace.plan / "names.json", msgspec.json.encode(names))
    write_file(digest_path, digest.hexdigest().encode())


def write_shards(
    pool: ShardPool,
    workspace: Workspace,
    *,
    config: BuildConfig,
    plan: ShardPlan,
    shard_ids: Iterable[int],
    progress: Callable[[int], None],
) -> dict[int, ShardReceipt]:
    """Write shards of the plan into `workspace.cache`; returns what each is.

    Raises:
        MachineError: disk full, I/O error, a worker died, or spilled frames changed on disk.
    """
    starts = plan.shard_starts
    for shard_id in shard_ids:
        pool.submit(
            ShardJob(
                building=workspace.building,
                config=config,
                shard_id=shard_id,
                first_frame_id=int(starts[shard_id]),
                end_frame_id=int(starts[shard_id + 1]),
            )
        )
    receipts: dict[int, ShardReceipt] = {}
    while pool.num_unfinished:
        outcome = pool.next_outcome()
        name = shard_name(config.format, outcome.job.shard_id)
        if isinstance(outcome, JobDone):
            receipts[outcome.job.shard_id] = outcome.result
            progress(outcome.result.num_frames)
        elif isinstance(outcome, JobDied):
            raise MachineError(f"{name}: the process writing it {outcome.how}; the same command resumes")
        elif isinstance(outcome.error, SpillDamagedError):
            unit_name = str(outcome.error)
            UnitSpill(workspace.spill, unit_name).remove()
            raise MachineError(
                f"{name}: spilled frames {unit_name} changed on disk; the same command decodes them again"
            )
        elif isinstance(outcome.error, OSError | MemoryError):
            raise MachineError(
                f"writing {name}: {outcome.error}; the same command resumes"
            ) from outcome.error
        else:
            raise outcome.error from RuntimeError(outcome.trace)
    return receipts


def write_index(workspace: Workspace, rows_of_shards: Iterable[FrameIndex], *, num_frames: int) -> None:
    """`index.npy`, of `num_frames` rows that come shard by shard."""
    # Plain writes: through a memory map a full disk would kill the process instead of raising.
    with (workspace.cache / INDEX_NAME).open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file,
            {
                "descr": np.lib.format.dtype_to_descr(INDEX_DTYPE),
                "fortran_order": False,
                "shape": (num_frames,),
            },
        )
        for rows in rows_of_shards:
            file.write(rows.tobytes())


def _write_zarr_metadata(workspace: Workspace, config: BuildConfig) -> None:
    assert config.frames_per_shard != "video"  # BuildConfig is valid from birth
    write_zarr_metadata(
        workspace.cache,
        index=np.load(workspace.cache / INDEX_NAME, mmap_mode="r", allow_pickle=False),
        frame_shape=config.frame_shape,
        frames_per_shard=config.frames_per_shard,
        encoding=config.encoding,
    )


def _manifest(
    workspace: Workspace,
    config: BuildConfig,
    *,
    rows: Sequence[DecodedVideo | VideoError],
    entries: list[VideoEntry],
    receipts: Sequence[ShardReceipt],
    decoders: DecoderChoice,
    fingerprint: str,
) -> StoreManifest:
    shards = [
        ShardEntry(
            name=shard_name(config.format, shard_id),
            num_frames=receipt.num_frames,
            num_bytes=receipt.num_bytes,
            sha256=receipt.sha256,
        )
        for shard_id, receipt in enumerate(receipts)
    ]
    samples = [
        sample
        for video in rows
        if isinstance(video, DecodedVideo)
        for receipt in video.receipts
        for sample in receipt.sampled_errors
    ]
    return StoreManifest(
        format=FORMAT_NAME,
        format_version=FORMAT_VERSION,
        container=config.format,
        frame_shape=config.frame_shape,
        encoding=config.encoding,
        layout=config.layout,
        seed=config.seed,
        num_frames=sum(receipt.num_frames for receipt in receipts),
        config=config.to_builtins(),
        library_versions=library_versions(decoders),
        fidelity=measured_fidelity(samples),
        shards=shards,
        files=describe_files(workspace.cache, except_for={shard.name for shard in shards}),
        videos=entries,
        fingerprint=fingerprint,
    )
