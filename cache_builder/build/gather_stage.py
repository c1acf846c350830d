"""Makes a generation of settled videos in `building/cache`: plan, shards, other files, `generation.json`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError, VideosNotWholeError
from cache_builder.executors import Executor
from cache_builder.findings import measured_fidelity, with_copies_noted
from cache_builder.gpu import DecoderChoice
from cache_builder.inputs import Settled
from cache_builder.jobs import GatherPlaces, PlanNames, ShardJob, rows_of_shards
from cache_builder.plan import ShardPlan, plan_shards
from cache_builder.progress import Progress
from cache_builder.settings import BuildConfig
from cache_builder.stages import (
    library_versions,
    write_other_files,
    write_plan,
    write_shards,
)
from frame_store.containers import ShardReceipt
from frame_store.manifest import (
    Generation,
    GenerationEntry,
    ShardEntry,
    VideoEntry,
    describe_file,
    describe_files,
    encode_generation,
)
from frame_store.names import GENERATION_NAME, generation_folder, shard_name
from frame_store.source_order import SourceOrder


@dataclass(frozen=True, kw_only=True, eq=False)
class Gathered:
    """A generation that was written."""

    generation: Generation
    entry: GenerationEntry
    """Its entry in the manifest of a fresh cache."""
    videos: list[VideoEntry]
    source_order: SourceOrder


def entries_of(videos: Sequence[Settled]) -> list[VideoEntry]:
    """The table of videos.

    Raises:
        VideosNotWholeError: no video gave any frame.
    """
    entries = with_copies_noted([video.entry() for video in videos])
    if not any(entry.num_frames_stored for entry in entries):
        reasons = (VideoError(entry.path, entry.reason or "no frame of it is kept") for entry in entries)
        raise VideosNotWholeError([str(reason) for reason in reasons])
    return entries


def gather(
    pool: Executor[ShardJob, ShardReceipt],
    *,
    places: GatherPlaces,
    config: BuildConfig,
    videos: Sequence[Settled],
    entries: list[VideoEntry],
    unit_names: list[str],
    decoders: DecoderChoice,
    fingerprint: str,
    progress: Progress,
) -> Gathered:
    """Write a generation into `places.cache`. `entries` are those of `videos`; nothing is synced but shards.

    Raises:
        MachineError: disk full, I/O error, or a worker that keeps dying.
    """
    plan = plan_shards([entry.num_frames_stored for entry in entries], config)
    sources = np.concatenate([video.sources(video_id) for video_id, video in enumerate(videos)])
    names = PlanNames(videos=[entry.path for entry in entries], units=unit_names)
    folder = generation_folder(fingerprint)
    places = write_plan(places, plan, folder=folder, container=config.format, sources=sources, names=names)
    by_shard = write_shards(
        pool,
        places,
        folder=folder,
        config=config,
        plan=plan,
        shard_ids=range(len(plan.shard_sizes)),
        progress=progress.advance,
    )
    receipts = [by_shard[shard_id] for shard_id in sorted(by_shard)]
    generation_path = places.cache / folder
    order = _source_order(videos, plan, sources, entries, is_shuffled=config.layout == "shuffled")
    write_other_files(
        generation_path,
        config,
        rows_of_shards=rows_of_shards(places, len(plan.shard_sizes)),
        num_frames=len(plan.source_of_frame),
        videos=entries,
        order=order,
    )
    shards = [
        ShardEntry(
            name=shard_name(config.format, shard_id),
            num_frames=receipt.num_frames,
            num_bytes=receipt.num_bytes,
            sha256=receipt.sha256,
        )
        for shard_id, receipt in enumerate(receipts)
    ]
    generation = Generation(
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
        fidelity=measured_fidelity([sample for video in videos for sample in video.sampled_errors]),
        shards=shards,
        files=describe_files(generation_path, except_for={shard.name for shard in shards}),
        fingerprint=fingerprint,
        parts=[],
    )
    (generation_path / GENERATION_NAME).write_bytes(encode_generation(generation))
    return Gathered(
        generation=generation,
        entry=GenerationEntry(
            folder=folder,
            digest=describe_file(generation_path, GENERATION_NAME).sha256,
            first_frame=0,
            num_frames=generation.num_frames,
            first_video=0,
            num_videos=generation.num_videos,
        ),
        videos=entries,
        source_order=order,
    )


def _source_order(
    videos: Sequence[Settled],
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
    return SourceOrder(
        first_row=first_row,
        first_stored=first_stored,
        order=order if is_shuffled else None,
        source_frames=sources["frame_in_video"] if first_row[-1] != len(sources) else None,
        source_pts=np.concatenate([video.pts_seconds for video in videos]),
    )
