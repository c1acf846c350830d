"""Makes a complete cache of decoded units in `building/cache`: plan, shards, index, Zarr metadata, manifest."""

from collections.abc import Sequence

import numpy as np

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.findings import (
    SOURCE_DTYPE,
    DecodedVideo,
    measured_fidelity,
    unreadable_entry,
    with_copies_noted,
)
from cache_builder.gpu import DecoderChoice
from cache_builder.jobs import PlanNames, ShardJob, shard_rows_path
from cache_builder.plan import plan_shards
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig
from cache_builder.stages import (
    DecodeResult,
    Workspace,
    library_versions,
    write_index,
    write_plan,
    write_shards,
    write_zarr_files,
)
from cache_builder.worker_pool import WorkerPool
from frame_store.containers import ShardReceipt
from frame_store.files import sync_tree, write_file
from frame_store.manifest import ShardEntry, StoreManifest, VideoEntry, describe_files, encode_manifest
from frame_store.names import (
    FORMAT_NAME,
    FORMAT_VERSION,
    INDEX_NAME,
    MANIFEST_NAME,
    shard_name,
)


def gather(
    pool: WorkerPool[ShardJob, ShardReceipt],
    *,
    workspace: Workspace,
    config: BuildConfig,
    decoded: DecodeResult,
    decoders: DecoderChoice,
    fingerprint: str,
    progress: Progress,
) -> StoreManifest:
    """Write the whole cache into `workspace.cache`, synced, manifest last.

    Raises:
        VideosNotWholeError: no video gave any frame.
        MachineError: disk full, I/O error, or a worker that keeps dying.
    """
    entries = with_copies_noted(
        [unreadable_entry(row) if isinstance(row, VideoError) else row.entry() for row in decoded.videos]
    )
    plan = plan_shards([entry.num_frames_stored for entry in entries], config)
    if not plan.shard_sizes.size:
        reasons = (VideoError(entry.path, entry.reason or "no frame of it is kept") for entry in entries)
        raise VideosNotWholeError([str(reason) for reason in reasons])
    sources = np.concatenate(
        [
            video.sources(video_id) if isinstance(video, DecodedVideo) else np.zeros(0, SOURCE_DTYPE)
            for video_id, video in enumerate(decoded.videos)
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
        index = np.load(workspace.cache / INDEX_NAME, mmap_mode="r", allow_pickle=False)
        write_zarr_files(workspace.cache, config, index)
    manifest = _manifest(
        workspace,
        config,
        videos=decoded.videos,
        entries=entries,
        receipts=receipts,
        decoders=decoders,
        fingerprint=fingerprint,
    )
    sync_tree(workspace.cache)
    write_file(workspace.cache / MANIFEST_NAME, encode_manifest(manifest))
    return manifest


def _manifest(
    workspace: Workspace,
    config: BuildConfig,
    *,
    videos: Sequence[DecodedVideo | VideoError],
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
        for video in videos
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
