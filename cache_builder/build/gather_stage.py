"""Makes a complete cache of decoded units in `building/cache`: plan, shards, other files, manifest."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
from cache_builder.plan import ShardPlan, plan_shards
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig
from cache_builder.stages import (
    DecodeResult,
    Workspace,
    library_versions,
    write_other_files,
    write_plan,
    write_shards,
)
from cache_builder.worker_pool import WorkerPool
from frame_store.containers import ShardReceipt
from frame_store.files import sync_tree, write_file
from frame_store.manifest import (
    Generation,
    GenerationEntry,
    ShardEntry,
    VideoEntry,
    describe_file,
    describe_files,
    encode_generation,
    encode_manifest,
    fresh_manifest,
)
from frame_store.names import GENERATION_NAME, generation_folder, manifest_name, shard_name
from frame_store.source_order import SourceOrder


def gather(
    pool: WorkerPool[ShardJob, ShardReceipt],
    *,
    workspace: Workspace,
    config: BuildConfig,
    decoded: DecodeResult,
    decoders: DecoderChoice,
    fingerprint: str,
    progress: Progress,
) -> tuple[Generation, list[VideoEntry]]:
    """Write the whole cache, of one generation, into `workspace.cache`, synced, the manifest last.

    Returns what the generation holds, and its table of videos.

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
    folder = generation_folder(fingerprint)
    write_plan(workspace, plan, folder=folder, container=config.format, sources=sources, names=names)
    progress.start("gather", int(plan.shard_sizes.sum()), "frames")
    by_shard = write_shards(
        pool,
        workspace,
        folder=folder,
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
    generation_path = workspace.cache / folder
    write_other_files(
        generation_path,
        config,
        rows_of_shards=rows_of_shards,
        num_frames=len(plan.source_of_frame),
        videos=entries,
        order=_source_order(decoded, plan, sources, entries, is_shuffled=config.layout == "shuffled"),
    )
    generation = _generation(
        generation_path,
        config,
        videos=decoded.videos,
        receipts=receipts,
        decoders=decoders,
        fingerprint=fingerprint,
    )
    (generation_path / GENERATION_NAME).write_bytes(encode_generation(generation))
    sync_tree(workspace.cache)
    manifest = fresh_manifest(
        GenerationEntry(
            folder=folder,
            digest=describe_file(generation_path, GENERATION_NAME).sha256,
            first_frame=0,
            num_frames=generation.num_frames,
            first_video=0,
            num_videos=generation.num_videos,
        )
    )
    write_file(workspace.cache / manifest_name(manifest.version), encode_manifest(manifest))
    return generation, entries


def _source_order(
    decoded: DecodeResult,
    plan: ShardPlan,
    sources: npt.NDArray[np.void],
    entries: Sequence[VideoEntry],
    *,
    is_shuffled: bool,
) -> SourceOrder:
    """The source order of a plan, whose source frames are the places."""
    num_decoded = [entry.num_frames_decoded for entry in entries]
    first_row, first_stored = (
        np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        for counts in (num_decoded, [entry.num_frames_stored for entry in entries])
    )
    order = np.empty(len(sources), np.uint32)
    order[plan.source_of_frame] = np.arange(len(sources), dtype=np.uint32)
    pts_seconds = [video.pts_seconds for video in decoded.videos if isinstance(video, DecodedVideo)]
    return SourceOrder(
        first_row=first_row,
        first_stored=first_stored,
        order=order if is_shuffled else None,
        source_frames=sources["frame_in_video"] if first_row[-1] != len(sources) else None,
        source_pts=np.concatenate(pts_seconds),
    )


def _generation(
    folder: Path,
    config: BuildConfig,
    *,
    videos: Sequence[DecodedVideo | VideoError],
    receipts: Sequence[ShardReceipt],
    decoders: DecoderChoice,
    fingerprint: str,
) -> Generation:
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
    return Generation(
        container=config.format,
        frame_shape=config.frame_shape,
        pixel=config.pixel,
        encoding=config.encoding,
        layout=config.layout,
        seed=config.seed,
        num_frames=sum(receipt.num_frames for receipt in receipts),
        num_videos=len(videos),
        config=config.to_builtins(),
        library_versions=library_versions(decoders),
        fidelity=measured_fidelity(samples),
        shards=shards,
        files=describe_files(folder, except_for={shard.name for shard in shards}),
        fingerprint=fingerprint,
    )
