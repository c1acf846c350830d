"""Opens a cache in an object store: its newest manifest and its generations, by way of the mirror."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final

from frame_store.errors import (
    FrameCacheError,
    ObjectMissingError,
    ObjectStoreError,
    StoreDamagedError,
    StoreFormatError,
    StoreNotFoundError,
    ViewError,
)
from frame_store.manifest import CacheManifest, CacheTree, decode_manifest, read_tree, read_trees
from frame_store.names import GENERATION_NAME, manifest_name
from frame_store.remote import MirroredFile, RemoteCache, RemoteUrl, is_url
from frame_store.remote_files import newest_manifest
from frame_store.shared import counted, whole_number

_COLLAPSED: Final = re.compile(r"(?:s3|gs|az|https?):/[^/]")


def remote_cache(
    path: str | os.PathLike[str] | RemoteUrl,
    *,
    folder: str | os.PathLike[str] | None,
    folder_bytes: int | None,
) -> RemoteCache | None:
    """What a cache at a URL has beyond a local one; None for a path.

    Raises:
        ValueError: a URL that `RemoteUrl` refuses, or that a Path has changed; `folder` or `folder_bytes` of a
            path; a URL as `folder`.
        OSError: no folder is given, and the user has no home.
    """
    if not isinstance(path, RemoteUrl) and not is_url(path):
        text = os.fspath(path)
        if _COLLAPSED.match(text):
            raise ValueError(
                f"{text.partition(':')[0]}:/… is a URL that a Path made one slash of two in; give the URL as text"
            )
        if folder is not None or folder_bytes is not None:
            raise ValueError("folder= and folder_bytes= are for a cache at a URL, such as s3://bucket/folder")
        return None
    if folder is not None and is_url(folder):
        raise ValueError("folder= is a folder of this machine, and a URL is given")
    if folder_bytes is not None:
        folder_bytes = whole_number("folder_bytes", folder_bytes, least=1)
    return RemoteCache.of(RemoteUrl.of(path), folder=folder, folder_bytes=folder_bytes)


def remote_tree(remote: RemoteCache, *, camera: str | None = None) -> CacheTree:
    """The newest manifest and the generations of a remote cache, or of one of its cameras.

    Raises what `remote_trees` raises. StoreFormatError: a cache of cameras where `camera` names none. ViewError: the
    cache has no such camera.
    """
    return _trees(remote, camera=camera, all_cameras=False)[0]


def remote_trees(remote: RemoteCache) -> list[CacheTree]:
    """As `remote_tree`, of each camera in order, under one manifest; one tree for a cache without cameras.

    Raises:
        StoreNotFoundError: there is no cache; the message states what is there, and the remedy.
        StoreFormatError: as `read_tree`.
        StoreDamagedError: an object is missing, or is not what its hash says.
        ObjectStoreError: the store cannot be reached, or refuses.
        OSError: the folder of the small files cannot be written.
    """
    return _trees(remote, camera=None, all_cameras=True)


def _trees(remote: RemoteCache, *, camera: str | None, all_cameras: bool) -> list[CacheTree]:
    remote.mirrored.remove_leftovers()
    version, content = newest_manifest(remote.client)
    while True:
        name = remote.url.object_text(manifest_name(version))
        manifest = decode_manifest(content, version=version, name=name)
        try:
            remote.need(_generation_files(manifest, camera=camera, all_cameras=all_cameras))
            break
        except ObjectMissingError as error:
            # A compaction, or a build with --overwrite, may have removed what that manifest named.
            newer, newer_content = newest_manifest(remote.client)
            if newer_content == content:
                raise StoreDamagedError(
                    f"{error}, and {name} names it; run cache-verify on {remote.url.text}"
                ) from None
            version, content = newer, newer_content
    remote.mirrored.write(manifest_name(version), content)
    with _named_by_url(remote):
        if all_cameras:
            trees = read_trees(remote.mirror, version=version)
        else:
            trees = [read_tree(remote.mirror, camera=camera, version=version)]
    trees = [_with_remote(tree, remote) for tree in trees]
    _check_folder(remote, trees)
    return trees


def _with_remote(tree: CacheTree, remote: RemoteCache) -> CacheTree:
    generations = tuple(replace(each, remote=remote) for each in tree.generations)
    return replace(tree, generations=generations, remote=remote)


def _generation_files(
    manifest: CacheManifest, *, camera: str | None, all_cameras: bool
) -> list[MirroredFile]:
    """The `generation.json` of the generations, or of those of a camera; none where there is no such camera."""
    of_cameras = [
        (f"{entry.folder}/{each.folder}", each.digest)
        for entry in manifest.cameras
        if all_cameras or entry.name == camera
        for each in entry.generations
    ]
    folders = [*((each.folder, each.digest) for each in manifest.generations), *of_cameras]
    return [
        MirroredFile(name=f"{folder}/{GENERATION_NAME}", sha256=digest, num_bytes=None)
        for folder, digest in folders
    ]


@contextmanager
def _named_by_url(remote: RemoteCache) -> Iterator[None]:
    """Errors name the cache by its URL, and not by the folder of the mirror, which the user has not named."""
    try:
        yield
    except (StoreFormatError, StoreDamagedError, StoreNotFoundError, ViewError) as error:
        raise _of_url(error, remote) from error


def _of_url(error: FrameCacheError, remote: RemoteCache) -> FrameCacheError:
    return type(error)(str(error).replace(str(remote.mirror), remote.url.text))


def _check_folder(remote: RemoteCache, trees: list[CacheTree]) -> None:
    """Raise ObjectStoreError where a shard has more bytes than the folder may have."""
    if remote.folder_bytes is None:
        return
    for tree in trees:
        for each in tree.generations:
            largest = max(each.generation.shards, key=lambda shard: shard.num_bytes)
            if largest.num_bytes > remote.folder_bytes:
                raise ObjectStoreError(
                    f"{remote.url.object_text(f'{each.folder}/{largest.name}')}: has "
                    f"{counted(largest.num_bytes, 'byte')}, and folder_bytes is {remote.folder_bytes}: a shard is kept "
                    f"whole; give folder_bytes={largest.num_bytes} or more, several times that for speed, or leave "
                    "folder_bytes out, and frames are read by ranges"
                )
