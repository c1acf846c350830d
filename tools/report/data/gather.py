"""All that the page of a cache states, gathered from its files."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from frame_cache_tools.report.data.cameras import camera_facts
from frame_cache_tools.report.data.columns import MAX_COLUMNS, column_facts
from frame_cache_tools.report.data.fidelity import Originals, source_beside
from frame_cache_tools.report.data.opened import (
    MAX_PROBLEMS,
    OpenedCamera,
    build_record,
    forgotten_videos,
    open_cameras,
    shared_bytes,
    size_problems,
    superseded_bytes,
)
from frame_cache_tools.report.data.records import (
    CacheReport,
    CameraFacts,
    ColumnFacts,
    DatasetFacts,
    SamplingFacts,
)
from frame_cache_tools.report.data.sampling import sampling_facts
from frame_cache_tools.report.data.videos import LEAST_SHOWN, MAX_SHOWN

from frame_store import FrameCacheError, StoreFormatError, ViewError, __version__, open_store
from frame_store.column_files import read_dataset
from frame_store.lerobot_statement import LEROBOT_KIND, LeRobotStatement
from frame_store.shared import user_path
from loader import SamplingError

SHEETS_BUDGET: Final = 6_000_000
"""Bytes of a page that the contact sheets of all cameras take."""
MAX_TASKS: Final = 50
_UNKNOWN: Final = "unknown"


def report_of_cache(
    cache: Path | str,
    *,
    videos: Path | str | None = None,
    camera_pattern: str | None = None,
    max_frames_read: int = 20_000,
    progress: Callable[[str], None] = lambda _: None,
) -> CacheReport:
    """What a person wants to know of the cache at `cache`: what it holds, what is damaged, what training on it does.

    Damaged files are stated in the report, each where it belongs. Memory does not grow with frames or videos.

    Args:
        cache: The folder of the cache.
        videos: What the cache was built from, to show frames beside their originals. None looks beside the cache: for
            `dir.cache` at `dir`.
        camera_pattern: As it was given for the build.
        max_frames_read: Up to so many frames, all are read to compare samplers; of a larger cache a few.
        progress: Called with the name of each step.

    Raises:
        StoreError: there is no cache, or a manifest or `generation.json` is damaged, so nothing is known.
        OSError: the machine failed, for example because no more files can be opened.
    """
    path = user_path(cache)
    progress("opening")
    cameras = open_cameras(path)
    tree = cameras[0].tree
    forgotten = forgotten_videos(tree.manifest)
    problems, num_files = size_problems(cameras)
    source = source_beside(path) if videos is None else user_path(videos)
    originals = Originals(source=source, camera_pattern=camera_pattern)
    facts = []
    for camera in cameras:
        progress("videos" if camera.name is None else f"videos of camera {camera.name}")
        facts.append(
            camera_facts(
                camera,
                forgotten=forgotten,
                budget=SHEETS_BUDGET // len(cameras),
                originals=originals,
                at_most=max(LEAST_SHOWN, MAX_SHOWN // len(cameras)),
            )
        )
    progress("columns")
    columns, num_left_out, column_problems = _columns(cameras[0])
    dataset, dataset_problems = _dataset(cameras[0])
    progress("samplers")
    sampling, why_no_sampling, sampling_problems = _sampling(path, max_frames_read=max_frames_read)
    column_bytes, order_bytes = shared_bytes(tree)
    leader = facts[0]
    return CacheReport(
        name=path.name,
        path=str(path),
        version=__version__,
        cameras=tuple(facts),
        num_frames=leader.num_frames if leader.summary is None else leader.summary.num_frames_stored,
        num_videos=tree.manifest.num_videos - len(forgotten),
        is_of_episodes=any(video.file is not None for video in leader.videos),
        num_bytes=sum(camera.num_bytes for camera in facts) + column_bytes + order_bytes,
        num_column_bytes=column_bytes,
        num_order_bytes=order_bytes,
        record=build_record(path, tree, source=source),
        num_superseded=len(tree.manifest.superseded),
        num_superseded_bytes=superseded_bytes(tree),
        has_content_order=bool(tree.manifest.content_orders),
        dataset=dataset,
        columns=columns,
        num_columns_left_out=num_left_out,
        sampling=sampling,
        why_no_sampling=why_no_sampling,
        problems=(
            *problems,
            *(problem for camera in facts for problem in camera.problems),
            *_picture_problems(facts),
            *column_problems,
            *dataset_problems,
            *sampling_problems,
        ),
        num_files_checked=num_files,
    )


def _columns(camera: OpenedCamera) -> tuple[tuple[ColumnFacts, ...], int, list[str]]:
    store = camera.store
    if store is None:
        return (), 0, []
    facts, problems = [], []
    try:
        columns = store.columns
        if not columns:
            return (), 0, []
        order, videos = store.source_order, store.videos
    except FrameCacheError as error:
        return (), 0, [str(error)]
    for name in list(columns)[:MAX_COLUMNS]:
        try:
            facts.append(column_facts(columns[name], order, videos))
        except FrameCacheError as error:
            problems.append(str(error))
    return tuple(facts), max(0, len(columns) - MAX_COLUMNS), problems


def _picture_problems(cameras: list[CameraFacts]) -> list[str]:
    """Why pictures of videos could not be read; equal reasons once."""
    lines = dict.fromkeys(
        video.problem
        for camera in cameras
        if not camera.problems
        for video in camera.videos
        if video.problem is not None
    )
    more = len(lines) - MAX_PROBLEMS
    return [*lines][:MAX_PROBLEMS] + ([f"and {more:,} other frames like these"] if more > 0 else [])


def _sampling(path: Path, *, max_frames_read: int) -> tuple[SamplingFacts | None, str | None, list[str]]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about samplers that are biased, which the report states
            store = open_store(path)
            try:
                if not len(store):
                    return None, "The cache is empty, so there is nothing to sample.", []
                return sampling_facts(store, name=path.name, max_frames_read=max_frames_read), None, []
            finally:
                store.close()
    except (ViewError, SamplingError) as error:
        return None, str(error), []
    except FrameCacheError as error:
        return None, str(error), [str(error)]


def _dataset(camera: OpenedCamera) -> tuple[DatasetFacts | None, list[str]]:
    try:
        dataset: Mapping[str, Any] | None = read_dataset(camera.tree)
    except FrameCacheError as error:
        return None, [str(error)]
    if dataset is None:
        return None, []
    kind = str(dataset.get("kind", _UNKNOWN))
    if kind == LEROBOT_KIND:
        try:
            statement = LeRobotStatement.of(dataset, where="dataset")
        except StoreFormatError as error:
            unread = (
                ("statement", str(error.__cause__ or error)),
            )  # it is informative, so this is no damage
            return DatasetFacts(kind=kind, facts=unread, tasks=(), num_tasks=0), []
        info = statement.info
        facts = (
            ("robot", str(info.get("robot_type") or _UNKNOWN)),
            ("frames per second", str(info.get("fps", _UNKNOWN))),
            ("episodes of the data set", f"{len(statement.length):,}"),
            ("version of its format", str(info.get("codebase_version", _UNKNOWN))),
        )
        return DatasetFacts(
            kind=kind, facts=facts, tasks=statement.tasks[:MAX_TASKS], num_tasks=len(statement.tasks)
        ), []
    return DatasetFacts(kind=kind, facts=(), tasks=(), num_tasks=0), []
