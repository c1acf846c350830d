"""A ready `webdataset` pipeline over the tar shards of a cache, for training that already uses webdataset.

```python
for epoch in range(num_epochs):
    pipeline = webdataset_batches("cache/", batch_size=128, epoch=epoch)
    for batch in DataLoader(pipeline, batch_size=None, num_workers=2):  # FrameBatch
        ...
```

It reads shards from end to end and shuffles through a buffer, so batches are less random than those of `FrameLoader`.
Nodes and workers with unequal shards have unequal numbers of batches.
"""

import io
import random
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from frame_store.cameras import CameraGroup
from frame_store.codec import RawCodec, make_codec
from frame_store.containers import FrameMetadata, image_suffix
from frame_store.errors import FrameCacheError, StoreDamagedError
from frame_store.files import require_plain_file
from frame_store.manifest import CacheTree, ShardEntry, read_tree
from frame_store.names import INDEX_DTYPE
from frame_store.npy import read_npy_header
from frame_store.protocol import Frames
from frame_store.remote import is_url
from frame_store.shared import counted, flag, raise_if_out_of_files, user_path, whole_number, without_controls
from frame_store.views import View
from loader.batches import FrameBatch
from loader.errors import SamplingError
from loader.sampling import takes_options
from loader.sampling.orders import epoch_keys, epoch_order

if TYPE_CHECKING:
    from webdataset import DataPipeline

_NUM_NAMED: Final = 3

Sample: TypeAlias = dict[str, Any]
"""The members of a frame, as `webdataset` groups them: `__key__`, `__url__`, `json` and `jpg` or `npy`, all encoded."""


@takes_options("webdataset_batches", ())
def webdataset_batches(
    cache_path: Path | str,
    *,
    batch_size: int = 128,
    shuffle_buffer: int = 1000,
    seed: int = 0,
    epoch: int = 0,
    drop_last: bool = False,
    camera: str | None = None,
) -> "DataPipeline":
    """One epoch of `FrameBatch` from a tar cache (`cache-build --format wds`) as an iterable dataset.

    The order of the shards, of all generations, is drawn from (seed, epoch). Nodes and DataLoader workers split the
    shards. Frames are drawn from a buffer that is full before the first frame leaves it. The node is known from RANK
    and WORLD_SIZE or from torch.distributed, as everywhere in webdataset. Iterating the pipeline again repeats the
    epoch.

    Args:
        cache_path: folder of the cache.
        batch_size: frames per batch.
        shuffle_buffer: encoded frames held by each worker; 1 keeps the order on disk.
        seed: in [0, 2**32).
        epoch: in [0, 2**32).
        drop_last: leave out the last batch of each worker if it is short. A short batch that is kept is a step like any
            other, in which a frame has more weight (S50).
        camera: the camera of a cache of cameras whose frames to read: tar shards hold one camera's.

    Raises:
        StoreNotFoundError: no cache at the path.
        StoreFormatError: unknown version or broken manifest; a cache of cameras, and `camera` names none.
        ViewError: no such camera.
        StoreDamagedError: `generation.json` is missing, or differs from what the manifest states.
        SamplingError: a Zarr cache, an empty cache, a cache with forgotten videos, a store such as a view in the place
            of a path, a number out of range, or an option that does not exist, such as `sampling` (also a TypeError).
    """
    import webdataset

    if hasattr(cache_path, "read_frames"):
        if isinstance(getattr(cache_path, "base", cache_path), CameraGroup):
            raise SamplingError(
                "webdataset_batches reads the tar shards of one camera: give the path of the cache of cameras, and the "
                "name of one by camera="
            )
        what = "a view" if isinstance(cache_path, View) else f"a {type(cache_path).__name__}"
        raise SamplingError(
            f"webdataset_batches reads the whole tar shards of one cache and takes its path, found {what}; "
            "loader.FrameLoader reads every store: caches, views and concatenations"
        )
    if is_url(cache_path):
        raise SamplingError(
            "webdataset_batches reads tar shards on a disk, found a URL; loader.FrameLoader reads caches at URLs, and "
            "cache-fetch copies one to a disk"
        )
    cache_path = user_path(cache_path)
    tree = read_tree(cache_path, camera=camera)
    generation = tree.common
    if generation.container != "wds":
        raise SamplingError(
            f"{cache_path}: webdataset reads tar shards, this cache is {generation.container}; "
            "use loader.FrameLoader, which reads both, or build one with cache-build --format wds"
        )
    batch_size = whole_number("batch_size", batch_size, least=1, error=SamplingError)
    shuffle_buffer = whole_number("shuffle_buffer", shuffle_buffer, least=1, error=SamplingError)
    drop_last = flag("drop_last", drop_last, error=SamplingError)
    _refuse_forgotten(tree)
    shards = [shard.inside(each.folder) for each in tree.generations for shard in each.generation.shards]
    order = epoch_order([1] * len(shards), seed=seed, epoch=epoch)
    shards = [shards[number] for number in order.ids(0, len(order)).tolist()]
    return webdataset.DataPipeline(
        partial(iter, shards),
        webdataset.split_by_node,
        webdataset.split_by_worker,
        partial(_open_shards, cache_path),
        partial(_samples, str(cache_path)),
        partial(_shuffle, shuffle_buffer=shuffle_buffer, seed=seed, epoch=epoch),
        webdataset.batched(batch_size, collation_fn=_Collation(tree), partial=not drop_last),
    )


def _refuse_forgotten(tree: CacheTree) -> None:
    """Refuse a cache with forgotten videos: their frames are in the tar shards.

    Raises:
        SamplingError: there are some; the message names them.
        What `CacheTree.stream_videos` raises.
    """
    forgotten = [video for video in tree.manifest.forgotten_videos if video < tree.num_videos]
    if not forgotten:
        return
    named = set(forgotten[:_NUM_NAMED])
    paths = [entry.path for video, entry in enumerate(tree.stream_videos()) if video in named]
    more = f" and {len(forgotten) - len(paths)} more" if len(forgotten) > len(paths) else ""
    raise SamplingError(
        f"{tree.store_path}: webdataset reads whole tar shards, and they hold the frames of "
        f"{counted(len(forgotten), 'video that was forgotten', 'videos that were forgotten')}: "
        f"{', '.join(repr(without_controls(path)) for path in paths)}{more}; use loader.FrameLoader, which leaves "
        "them out, or build the cache anew without these videos"
    )


def _open_shards(cache_path: Path, shards: Iterable[ShardEntry]) -> Iterator[dict[str, Any]]:
    """The stream of each shard, closed when the next one is taken.

    `webdataset`'s own opener closes files only when they are garbage-collected, and takes a path like `a:b/` for a URL.
    """
    for shard in shards:
        path = cache_path / shard.name
        try:
            require_plain_file(cache_path, shard.name)
            found = path.stat().st_size
        except OSError as error:
            raise_if_out_of_files(error)
            raise StoreDamagedError(f"{path}: {error.strerror}; run cache-verify") from error
        if found != shard.num_bytes:  # a tar that is cut between two members reads like a shorter tar
            raise StoreDamagedError(
                f"{path}: expected {counted(shard.num_bytes, 'byte')}, found {found}; run cache-verify"
            )
        with path.open("rb") as stream:
            yield {"url": str(path), "stream": stream}


def _samples(cache_path: str, streams: Iterator[dict[str, Any]]) -> Iterator[Sample]:
    """`webdataset`'s samples of open shards. Its errors on a damaged tar become StoreDamagedError."""
    import webdataset

    members = webdataset.tariterators.tar_file_expander(streams)
    try:
        yield from webdataset.tariterators.group_by_keys(members)
    except FrameCacheError:
        raise
    except (
        Exception
    ) as error:  # damage that looks like a compressed tar can raise the error of any decompressor
        raise_if_out_of_files(error)
        raise StoreDamagedError(
            f"{cache_path}: no readable tar shard: {error!r}; run cache-verify on {cache_path}"
        ) from error


def _shuffle(samples: Iterator[Sample], *, shuffle_buffer: int, seed: int, epoch: int) -> Iterator[Sample]:
    """`webdataset.shuffle` with a seed of its own for every node and worker, the same in every run."""
    import webdataset

    rank, _, worker, _ = webdataset.utils.pytorch_worker_info()
    key = epoch_keys(seed=seed, epoch=epoch, num_keys=1).item()
    rng = random.Random(f"{key} {rank} {worker}")
    return webdataset.shuffle(shuffle_buffer, initial=shuffle_buffer, rng=rng)(samples)  # type: ignore[no-any-return]


class _Collation:
    """Encoded samples to a `FrameBatch`; each is decoded straight into the memory of the batch.

    Keys of samples and their `video_id` count from 0 in each generation, ids of batches are those of the cache.
    """

    def __init__(self, tree: CacheTree) -> None:
        generation = tree.common
        self._starts = {
            f"{each.path}/": (each.entry.first_frame, each.entry.first_video) for each in tree.generations
        }
        self._frame_shape, self._frame_dtype = generation.frame_shape, generation.frame_dtype
        self._suffix = image_suffix(generation.encoding)
        self._codec = make_codec(generation.encoding)  # it can be pickled, for spawned workers

    def __call__(self, samples: list[Sample]) -> FrameBatch:
        frames = np.empty((len(samples), *self._frame_shape), self._frame_dtype)
        rows = np.zeros(len(samples), INDEX_DTYPE)
        frame_ids = np.empty(len(samples), np.int64)
        for number, (sample, frame, row) in enumerate(zip(samples, frames, rows, strict=True)):
            try:
                self._decode(sample, frame)
                FrameMetadata.decoded(sample["json"]).fill(row)
                first_frame, first_video = self._starts_of(sample["__url__"])
                frame_ids[number] = first_frame + int(sample["__key__"])
                row["video_id"] += first_video
            except (KeyError, ValueError) as error:
                raise StoreDamagedError(
                    f"{sample['__url__']}: frame {sample['__key__']}: {error!r}; run cache-verify"
                ) from error
        return FrameBatch.from_numpy(frames=frames, frame_ids=frame_ids, rows=rows)

    def _starts_of(self, url: str) -> tuple[int, int]:
        """The first frame and the first video of the generation that a shard belongs to."""
        return next(starts for folder, starts in self._starts.items() if url.startswith(folder))

    def _decode(self, sample: Sample, out: Frames) -> None:
        image = sample[self._suffix]
        if self._suffix == "jpg":
            self._codec.decode_into(image, out)
            return
        file = io.BytesIO(image)
        shape, dtype = read_npy_header(file)  # before NumPy allocates an array of that shape
        if shape != out.shape or dtype != out.dtype:
            raise ValueError(f"{dtype} {shape}, expected {out.dtype} {out.shape}")
        RawCodec().decode_into(file.read(), out)
