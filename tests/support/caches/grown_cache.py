"""A cache of several generations, put together from caches that were built one by one."""

import shutil

import msgspec

from frame_store.manifest import encode_manifest, next_manifest, read_manifest
from frame_store.names import manifest_name


def grow(cache, other):
    """Append the only generation of the cache `other` to `cache`, as an append of the same videos would.

    Both have one kind of settings, and columns or a content order both or neither. Columns and content orders come too.
    """
    before, added = read_manifest(cache), read_manifest(other)
    generations = {}
    ours = {camera.name: camera.generations for camera in before.cameras} or {None: before.generations}
    theirs = {camera.name: camera.generations for camera in added.cameras} or {None: added.generations}
    for name, entries in ours.items():
        (entry,) = theirs[name]
        generations[name] = [
            *entries,
            msgspec.structs.replace(entry, first_frame=before.num_frames, first_video=before.num_videos),
        ]
    after = next_manifest(
        before,
        generations=generations,
        columns=[
            *before.columns,
            *(
                msgspec.structs.replace(entry, first_video=entry.first_video + before.num_videos)
                for entry in added.columns
            ),
        ],
        content_orders=[
            *before.content_orders,
            *(
                msgspec.structs.replace(entry, first_frame=entry.first_frame + before.num_frames)
                for entry in added.content_orders
            ),
        ],
    )
    for folder in added.folders:
        if not (cache / folder).exists():
            shutil.copytree(other / folder, cache / folder)
    (cache / manifest_name(after.version)).write_bytes(encode_manifest(after))
    return cache
