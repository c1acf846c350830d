"""`LeRobotFrames`: the items of LeRobot's own data set, read from a cache."""

import operator
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, default_collate

from frame_store.cameras import CameraGroup
from frame_store.lerobot_statement import LEROBOT_KIND, LeRobotStatement
from frame_store.protocol import FrameStore
from frame_store.shared import counted, without_controls
from frame_store.source_order import Int64s
from frame_store.views import View, forgotten_videos, has_all_but_forgotten
from loader.errors import LeRobotError
from loader.lerobot.episodes import EpisodeRows
from loader.lerobot.memory import PictureMemory
from loader.lerobot.meta import LeRobotMeta
from loader.lerobot.offsets import DeltaTimestamps, Offsets
from loader.lerobot.pictures import DepthCodes, DepthUnit, colour, is_depth
from loader.store_argument import StoreOrPath, opened_store

Item: TypeAlias = dict[str, Any]
Values: TypeAlias = torch.Tensor | Sequence[str]
"""A value of each item of a batch."""

_INDEX: Final = "index"
_TASK: Final = ("task_index", "task")
_SUBTASK: Final = ("subtask_index", "subtask")


class LeRobotFrames(Dataset[Item]):
    """The items of a LeRobot data set, read from a cache of it: what `LeRobotDataset[i]` gives, for the same i.

    Keys and their order, dtypes, shapes, windows, `KEY_is_pad` and `task` are those of LeRobot 0.4.4. Pictures have the
    size that the cache has, and are float32 in [0, 1], (3, H, W). An index is LeRobot's own `index`, also where the
    cache left episodes out; asking for a frame of such an episode raises an IndexError that names it.

    It is map-style, pickles without its open files, and reads a whole batch at once (`__getitems__`, which torch's
    DataLoader calls): `DataLoader(frames, batch_size=64, shuffle=True, num_workers=4)`.
    """

    def __init__(
        self,
        cache: StoreOrPath,
        delta_timestamps: DeltaTimestamps | None = None,
        *,
        tolerance_s: float = 1e-4,
        image_transforms: Callable[[torch.Tensor], torch.Tensor] | None = None,
        episodes: Iterable[int] | None = None,
        depth_output_unit: DepthUnit = "mm",
        repo_id: str | None = None,
    ) -> None:
        """Over `cache`.

        Args:
            cache: the path of a cache that `cache-build` made of a LeRobot data set, or the group of cameras that
                `open_store`, or `cache_builder.open_videos` for a data set, gives.
            delta_timestamps: by key, the seconds from the anchor at which an item shows values or pictures.
            tolerance_s: how far these may be from multiples of 1 / fps.
            image_transforms: applied to the pictures of each camera of each item: float32 (3, H, W) or (T, 3, H, W).
            episodes: these alone. As in LeRobot, an index then counts their frames from 0, in the order of `index`.
            depth_output_unit: of depth cameras, whose pictures are float32 (1, H, W): millimetres or metres.
            repo_id: the name that `meta.repo_id` has; None means the name of the cache's folder.

        Warns:
            UserWarning: the cache lacks features of the data set, which items then lack.

        Raises:
            LeRobotError: (a ValueError) the cache is of no LeRobot data set, holds not every frame (`--stride`,
                `--fps`), is a view, or lacks `index`; `delta_timestamps` or `episodes` do not fit.
            StoreError: no usable cache at the path.
        """
        store: Any = opened_store(cache)
        self._where = _place_of(cache, store)
        self._group, statement = _checked_group(store, self._where)
        self._columns = self._group.columns
        self.meta = LeRobotMeta(
            statement,
            frame_shapes=self._group.frame_shapes,
            columns=self._columns,
            root=Path(self._where),
            repo_id=Path(self._where).name if repo_id is None else repo_id,
            depth_output_unit=depth_output_unit,
        )
        if self.meta.left_out:
            names = ", ".join(map(repr, self.meta.left_out))
            warnings.warn(
                f"{self._where} lacks features of its data set, and so do items: {names}", stacklevel=2
            )
        self.repo_id, self.root, self.revision = self.meta.repo_id, self.meta.root, self.meta.revision
        self.delta_timestamps, self.tolerance_s = delta_timestamps, tolerance_s
        self.image_transforms = image_transforms
        self.depth_output_unit = depth_output_unit
        chosen = None if episodes is None else list(episodes)
        self._source_order = self._group.source_order
        self._rows = EpisodeRows(
            statement,
            self._group.videos,
            self._source_order,
            forgotten=forgotten_videos(self._group.leader).tolist(),
            chosen=chosen,
            where=self._where,
        )
        self._check_index(statement)
        self._num_chosen = None if chosen is None else len(chosen)
        is_partial = len(self._rows.stored_episodes) < self.meta.total_episodes
        self.episodes: list[int] | None = (
            chosen if chosen is not None else self.stored_episodes if is_partial else None
        )
        """The episodes that `episodes` chose; else those in the cache, or None where these are all. LeRobot's sampler
        draws from them."""
        features = self.meta.features
        cameras = self.meta.video_keys
        texts = [key for key in features if key not in cameras and self._columns[key].strings is not None]
        self._offsets = Offsets.of(
            delta_timestamps, fps=self.meta.fps, tolerance_s=tolerance_s, keys=features, texts=texts
        )
        self._labels = [
            (number, name, labels)
            for (number, name), labels in ((_TASK, statement.tasks), (_SUBTASK, statement.subtasks))
            if labels is not None and number in features
        ]
        self._depth = {
            key: DepthCodes.of(features[key], depth_output_unit)
            for key in self.meta.video_keys
            if is_depth(features[key])
        }
        self._memory = PictureMemory(num_spare=2)
        for key in self.meta.video_keys:
            _check_pixels(key, self._group.cameras[key], is_depth=key in self._depth)

    @property
    def store(self) -> CameraGroup:
        """The cameras that items are read from."""
        return self._group

    @property
    def stored_episodes(self) -> list[int]:
        """The episodes that the cache has; `episodes=` takes them."""
        return list(self._rows.stored_episodes)

    @property
    def stored_videos(self) -> list[int]:
        """Videos of `store` that the items are of: of `episodes`, or of all in the cache, in the order of `index`."""
        return self._rows.stored_videos

    @property
    def features(self) -> dict[str, dict[str, Any]]:
        """See `LeRobotMeta.features`."""
        return self.meta.features

    @property
    def fps(self) -> int:
        """Frames a second."""
        return self.meta.fps

    @property
    def stats(self) -> dict[str, dict[str, Any]] | None:
        """See `LeRobotMeta.stats`."""
        return self.meta.stats

    @property
    def num_frames(self) -> int:
        """Items: frames of the data set, or of the chosen episodes."""
        return len(self._rows)

    @property
    def num_episodes(self) -> int:
        """Episodes of the data set, or how many were chosen."""
        return self.meta.total_episodes if self._num_chosen is None else self._num_chosen

    @property
    def delta_indices(self) -> dict[str, list[int]] | None:
        """`delta_timestamps` in frames."""
        if self.delta_timestamps is None:
            return None
        return {key: offsets.tolist() for key, offsets in self._offsets.of_key.items()}

    def __len__(self) -> int:
        return self.num_frames

    def __repr__(self) -> str:
        return (
            f"LeRobotFrames({self._where!r}: {counted(self.num_frames, 'frame')} of "
            f"{counted(self.num_episodes, 'episode')}, features {list(self.features)})"
        )

    def __getitem__(self, index: int) -> Item:
        """One item.

        Raises:
            FrameIdError: (an IndexError) the index is outside, or of an episode that the cache left out.
            TypeError: no whole number.
            StoreDamagedError: a file of the cache is not what was written.
        """
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """Several items. Each camera is read once, and each column.

        The tensors of the items are parts of tensors of the whole batch. Raises what `__getitem__` raises.
        """
        rows, first, last = self._rows.rows_of([operator.index(index) for index in indices], self._reason_of)
        return self._items(self._values_at(rows, first, last, self._memory), len(rows))

    def batch_of(self, frame_ids: Int64s, *, memory: PictureMemory) -> Item:
        """The items of frames of the cache, as torch's `default_collate` puts them together.

        Args:
            frame_ids: ids in `store`, int64, shape (B,).
            memory: lends the pictures.

        Raises:
            FrameIdError: no such frame.
            StoreDamagedError: a file of the cache is not what was written.
        """
        order = self._source_order
        of_frames = self._group.rows_of(frame_ids)
        videos = of_frames["video_id"].astype(np.int64)
        rows = order.rows_of(videos, of_frames["frame_in_video"].astype(np.int64))
        values = self._values_at(rows, order.first_row[videos], order.first_row[videos + 1] - 1, memory)
        if self.image_transforms is not None:
            collated: Item = default_collate(self._items(values, len(rows)))
            return collated
        for number, name, texts in self._labels:
            values[name] = [
                texts[position] for position in torch.as_tensor(values[number]).flatten().tolist()
            ]
        return values

    def _items(self, values: Mapping[str, Values], num_items: int) -> list[Item]:
        """The items of a batch: parts of its values."""
        items: list[Item] = [
            {key: of_key[number] for key, of_key in values.items()} for number in range(num_items)
        ]
        if self.image_transforms is not None:
            for item in items:
                for key in self.meta.camera_keys:
                    item[key] = self.image_transforms(item[key])
        for number, name, texts in self._labels:
            for item in items:
                item[name] = texts[int(item[number])]
        return items

    def _values_at(self, rows: Int64s, first: Int64s, last: Int64s, memory: PictureMemory) -> dict[str, Any]:
        """What items at `rows` show, but for the texts of `task`; `first` and `last` are the ends of their episodes."""
        windows: dict[str, Int64s] = {}
        pads: dict[str, npt.NDArray[np.bool_]] = {}
        for key, offsets in self._offsets.of_key.items():
            wanted = rows[:, None] + offsets
            windows[key] = np.clip(wanted, first[:, None], last[:, None])
            pads[f"{key}_is_pad"] = windows[key] != wanted
        values: dict[str, Any] = {}
        # LeRobot looks for pictures at the item's `timestamp`, which an offset can move.
        current = windows["timestamp"][:, 0] if "timestamp" in windows else rows
        for key in self.meta.video_keys:
            values[key] = self._pictures(key, windows.get(key, current), memory)
        for key in self.features:
            if key not in values:
                values[key] = self._values(key, windows.get(key, rows))
        return values | {key: torch.from_numpy(pad) for key, pad in pads.items()}

    def _pictures(self, key: str, rows: Int64s, memory: PictureMemory) -> torch.Tensor:
        """Pictures at rows (B,) or (B, T): (B, C, H, W) or (B, T, C, H, W); as in LeRobot, one of T = 1 has no T."""
        ids = self._source_order.ids_at(rows.reshape(-1))
        camera, depth = self._group.cameras[key], self._depth.get(key)
        height, width, channels = camera.frame_shape
        stored = torch.uint8 if depth is None else torch.uint16
        # Pixels are read into memory that holds the last batch's: nobody else has seen it.
        pixels = memory.lend(f"pixels of {key}", (len(ids), *camera.frame_shape), stored)
        frames = camera.read_frames(ids, pixels.numpy())
        made = memory.lend(key, (len(ids), channels, height, width), torch.float32)
        pictures = colour(frames, made) if depth is None else depth.pictures(frames, made)
        if rows.ndim == 1 or rows.shape[1] == 1:
            return pictures
        return pictures.view(*rows.shape, *pictures.shape[1:])

    def _values(self, key: str, rows: Int64s) -> Values:
        """Values of a feature at rows (B,) or (B, T), with LeRobot's dtypes: float32, int64 and bool, or texts."""
        column = self._columns[key]
        found = column.gather(rows)
        if column.strings is not None:
            return [column.strings[code] for code in found.tolist()]
        shape = tuple(self.features[key]["shape"])
        tensor = torch.from_numpy(found.astype(_dtype_of(found.dtype), copy=False))
        return tensor.reshape(*rows.shape, *(() if shape == (1,) else shape))

    def _reason_of(self, episode: int) -> str:
        """Why the cache has no frames of an episode, as far as it states that."""
        if episode in self._rows.forgotten_episodes:
            return "it is forgotten"
        name = f"episode_{episode:06d}"
        for key, camera in self._group.cameras.items():
            entries: Any = getattr(getattr(camera, "store", camera), "video_entries", None)
            for entry in entries or ():
                if entry.path == name and entry.reason is not None:
                    return f"camera {key!r}: {without_controls(entry.reason)}"
        return "its videos cannot be read"

    def _check_index(self, statement: LeRobotStatement) -> None:
        """Compare the column `index` with the data set's episodes, at their first and last rows."""
        episodes = np.array(self._rows.stored_episodes, np.int64)
        first = self._source_order.first_row[self._rows.video_of[episodes]]
        last = first + statement.length[episodes] - 1
        begins, ends = statement.dataset_from_index[episodes], statement.dataset_to_index[episodes] - 1
        index = self._columns[_INDEX]
        differs = (index.gather(first) != begins) | (index.gather(last) != ends)
        if differs.any():
            episode = int(episodes[np.argmax(differs)])
            raise LeRobotError(
                f"{self._where}: column 'index' of episode {episode} does not go from {begins[np.argmax(differs)]} to "
                f"{ends[np.argmax(differs)]}, as the data set states; build the cache again"
            )


def _place_of(cache: StoreOrPath, store: object) -> str:
    """Where the cache lies, for messages and `root`."""
    if not hasattr(cache, "read_frames"):
        return str(cache)
    leader = store.leader if isinstance(store, CameraGroup) else store
    path = getattr(leader, "path", None)
    return "the store" if path is None else str(path)


def _checked_group(store: object, where: str) -> tuple[CameraGroup, LeRobotStatement]:
    if isinstance(store, View) and has_all_but_forgotten(store):
        store = store.base
    if isinstance(store, View):
        raise LeRobotError(f"LeRobotFrames takes a whole cache, found {store!r}; give it episodes=[...]")
    dataset = store.dataset if isinstance(store, CameraGroup) else None
    if not isinstance(store, CameraGroup) or dataset is None or dataset.get("kind") != LEROBOT_KIND:
        raise LeRobotError(
            f"{where} is no cache of a LeRobot data set; cache-build --videos ROOT makes one, where ROOT holds "
            "meta/info.json"
        )
    if _INDEX not in store.columns:
        raise LeRobotError(f"{where} lacks the column 'index'; build it again with cache-build --videos ROOT")
    if store.source_order.source_frames is not None:
        raise LeRobotError(
            f"{where} holds {len(store)} of {counted(store.source_order.num_rows, 'frame')} (--stride or --fps), and "
            "LeRobot's windows need every frame; build it without these options"
        )
    return store, LeRobotStatement.of(dataset, where=where)


def _check_pixels(key: str, camera: FrameStore, *, is_depth: bool) -> None:
    expected = 1 if is_depth else 3
    if camera.frame_shape[2] != expected:
        raise LeRobotError(
            f"camera {key!r} is {'one of depth' if is_depth else 'one of colour'} in the data set, and the cache has "
            f"{camera.frame_dtype} {camera.frame_shape} of it; build it with --pixel {'gray16' if is_depth else 'rgb8'}"
        )


def _dtype_of(dtype: np.dtype[Any]) -> type[np.generic]:
    """The dtype that LeRobot gives: it makes tensors of Python's numbers, so that the stored width is lost."""
    return {"f": np.float32, "b": np.bool_}.get(dtype.kind, np.int64)
