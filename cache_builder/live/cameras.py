"""Cameras decoded live as a group: episodes at which they disagree are left out, and columns joined."""

import warnings
from collections.abc import Mapping, Sequence

from cache_builder.errors import ColumnsError, VideoError
from cache_builder.live.footage import Footage
from cache_builder.live.store import LiveStore
from cache_builder.sources import SourceDataset
from frame_store.cameras import CameraGroup, group_cameras
from frame_store.columns import Columns
from frame_store.errors import ColumnError
from frame_store.protocol import FrameStore
from frame_store.shared import counted, listed
from frame_store.tables import Join, JoinTarget, join_tables

_MOST_SHOWN = 10


def agreeing(footage: Mapping[str, Footage]) -> tuple[dict[str, Footage], list[str]]:
    """The cameras without the videos at which they disagree or one cannot be read, and a line for each of these.

    The videos keep their rows, and count as unreadable in every camera.
    """
    names = list(footage)
    videos = footage[names[0]].videos
    lengths = {name: each.num_frames().tolist() for name, each in footage.items()}
    problems: dict[int, str] = {}
    for video_id in range(len(videos)):
        broken = {
            name: place.reason
            for name in names
            if isinstance(place := footage[name].places[video_id], VideoError)
        }
        found = {name: lengths[name][video_id] for name in names}
        if broken:
            is_of_all = len(broken) == len(names) and len(set(broken.values())) == 1
            by_camera = [f"camera {name!r}: {reason}" for name, reason in broken.items()]
            problems[video_id] = broken[names[0]] if is_of_all else "; ".join(by_camera)
        elif len(set(found.values())) > 1:
            of_camera = ", ".join(f"{counted(found[name], 'frame')} in {name!r}" for name in names)
            problems[video_id] = f"its cameras have different numbers of frames: {of_camera}"
    errors = {
        video_id: VideoError(videos[video_id].relative_path, reason) for video_id, reason in problems.items()
    }
    return {name: each.without(errors) for name, each in footage.items()}, [*map(str, errors.values())]


def warn_of_left_out(problems: Sequence[str], where: str) -> None:
    """Name the videos that are left out, for the caller of `open_videos`."""
    if problems:
        more = [f"and {len(problems) - _MOST_SHOWN} more"] if len(problems) > _MOST_SHOWN else []
        what = f"{counted(len(problems), 'video')} left out in {where}"
        warnings.warn(listed(what, [*problems[:_MOST_SHOWN], *more]), stacklevel=3)


def group_of(cameras: Mapping[str, LiveStore], dataset: SourceDataset | None) -> CameraGroup:
    """The cameras as a group, with the columns of their data set.

    Raises:
        ColumnsError: the columns do not fit the videos.
    """
    group = group_cameras(cameras)
    if dataset is None:
        return group
    return group_cameras(cameras, columns=columns_of(group, dataset), dataset=dataset.statement)


def columns_of(store: FrameStore | CameraGroup, dataset: SourceDataset) -> Columns:
    """The columns of a data set for all frames of a live store. Rows of videos that were left out are left out.

    Raises:
        ColumnsError: a frame has no row, or the tables cannot be read.
    """
    order = store.source_order
    target = JoinTarget(
        paths=[video.path for video in store.videos],
        verdicts=[video.verdict for video in store.videos],
        source_order=order,
    )
    try:
        join = join_tables(dataset.read_tables(), target, missing="mask", skip=True)
    except ColumnError as error:
        raise ColumnsError(str(error)) from error
    _require_all(join)
    return Columns(
        [column.in_memory() for column in join.columns],
        num_rows=order.num_rows,
        num_videos=order.num_videos,
        fingerprint=store.fingerprint,
    )


def _require_all(join: Join) -> None:
    """Refuse frames without a row. Videos that were left out have no frames, so their rows are missed by nobody."""
    if any(column.scope == "frame" and column.valid is not None for column in join.columns):
        raise ColumnsError(listed("rows do not fit their videos", [*join.problems, *join.notes]))
