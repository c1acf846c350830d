"""Shards of a plan written from decoded units in worker processes, and the index and Zarr metadata beside them."""

import hashlib
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import MachineError
from cache_builder.jobs import PlanNames, ShardJob, SpillDamagedError, UnitSpill
from cache_builder.plan import ShardPlan
from cache_builder.settings import BuildConfig
from cache_builder.stages.workspace import Workspace
from cache_builder.worker_pool import JobDied, JobDone, WorkerPool
from frame_store.containers import ShardReceipt, write_zarr_metadata
from frame_store.files import write_file
from frame_store.index import FrameIndex
from frame_store.names import INDEX_DTYPE, INDEX_NAME, Container, shard_name

ShardPool = WorkerPool[ShardJob, ShardReceipt]


def write_plan(
    workspace: Workspace,
    container: Container,
    plan: ShardPlan,
    sources: npt.NDArray[np.void],
    names: PlanNames,
) -> None:
    """Write what the shard jobs read, and remove all that an interrupted build left except shards of the same plan.

    The plan depends on which frames were decoded. Two runs can differ in that only if a worker was killed.
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
            path.unlink()  # half written, or a file that is written after the shards
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
    """Write shards of the plan into `workspace.cache`; returns a receipt for each.

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
    for outcome in pool.outcomes():
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
            raise outcome.error
    return receipts


def write_index(workspace: Workspace, rows_of_shards: Iterable[FrameIndex], *, num_frames: int) -> None:
    """Write `index.npy`: `num_frames` rows, given shard by shard."""
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


def write_zarr_files(folder: Path, config: BuildConfig, index: FrameIndex) -> None:
    """Write what a Zarr cache holds beside shards and index."""
    write_zarr_metadata(
        folder,
        index=index,
        frame_shape=config.frame_shape,
        frames_per_shard=config.frames_per_zarr_shard,
        encoding=config.encoding,
    )
