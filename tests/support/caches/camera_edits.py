"""Edits of caches of cameras that keep all digests right, as an attacker would make them."""

import json

import msgspec

from frame_store.manifest import encode_manifest, encode_videos, read_manifest, read_trees
from frame_store.names import VIDEOS_NAME, manifest_name
from tests.support.caches.tree import write_generation_json, write_videos


def edit_camera(cache, camera, *, videos=None, **changes):
    """Replace fields of a camera's generation, or records of its table of videos by their rows; hashes are right."""
    (tree,) = [tree for tree in read_trees(cache) if tree.camera.name == camera]
    generation = tree.generation
    if videos:
        table = tree.read_videos()
        for row, fields in videos.items():
            table[row] = msgspec.structs.replace(table[row], **fields)
        entry = write_videos(tree.generation_path, table)
        assert list(encode_videos(table))
        files = [entry if file.name == VIDEOS_NAME else file for file in generation.files]
        generation = msgspec.structs.replace(generation, files=files)
    generation = msgspec.structs.replace(generation, **changes)
    entry = write_generation_json(cache / tree.camera.folder, generation)
    cameras = [
        msgspec.structs.replace(each, generations=[entry]) if each.name == camera else each
        for each in tree.manifest.cameras
    ]
    edit_camera_manifest(cache, cameras=cameras)


def edit_camera_manifest(cache, **changes):
    """Replace fields of the manifest, checked as a reader checks them."""
    manifest = read_manifest(cache)
    path = cache / manifest_name(manifest.version)
    path.write_bytes(encode_manifest(msgspec.structs.replace(manifest, **changes)))


def edit_camera_json(cache, change):
    """Change the JSON of the first manifest in any way; its digest is right afterwards."""
    from tests.support.caches.cache_mutations import sign

    path = cache / manifest_name(0)
    document = json.loads(path.read_bytes())
    del document["digest"]
    change(document)
    path.write_bytes(sign(document))
