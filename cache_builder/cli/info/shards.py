"""The tar shards of a cache, for `cache-info --shards`: what a plain reader of WebDataset is given."""

from collections.abc import Sequence

from cache_builder.errors import ConfigError
from frame_store.errors import ViewError
from frame_store.manifest import CacheTree
from frame_store.shared import listed, without_controls


def shard_paths(trees: Sequence[CacheTree], *, camera: str | None) -> list[str]:
    """Absolute paths of the shards of all generations, in the order of frame ids.

    Raises:
        ConfigError: the cache has several cameras, and none is named; its shards are not tar files; or videos are
            forgotten, whose frames are in the shards, too.
        ViewError: the cache has no such camera.
    """
    tree = _of_camera(trees, camera)
    path = tree.store_path
    if tree.common.container != "wds":
        raise ConfigError(
            f"{path}: is a Zarr cache, and {{--shards}} lists tar files; a Zarr reader opens frames.zarr of each "
            "generation"
        )
    forgotten = set(tree.manifest.forgotten_videos)
    if forgotten:
        names = [
            repr(without_controls(video.path))
            for video_id, video in enumerate(tree.stream_videos())
            if video_id in forgotten
        ]
        raise ConfigError(
            listed(
                f"{path}: the shards still have the frames of forgotten videos, and a reader of tar files reads them",
                names,
                "read it by frame_store.open_store or loader.webdataset_batches, which leave them out",
            )
        )
    return [
        str((each.path / shard.name).absolute())
        for each in tree.generations
        for shard in each.generation.shards
    ]


def _of_camera(trees: Sequence[CacheTree], camera: str | None) -> CacheTree:
    names = {tree.camera.name: tree for tree in trees if tree.camera is not None}
    if camera is None:
        if names:
            raise ConfigError(
                f"{trees[0].store_path}: has {len(names)} cameras, and {{--shards}} lists those of one; name it by "
                f"{{--camera}}: {_listed(names)}"
            )
        return trees[0]
    if camera not in names:
        has = f"it has {_listed(names)}" if names else "it is a cache without cameras"
        raise ViewError(f"{trees[0].store_path}: no camera {without_controls(camera)!r}; {has}")
    return names[camera]


def _listed(names: dict[str, CacheTree]) -> str:
    return ", ".join(repr(without_controls(name)) for name in names)
