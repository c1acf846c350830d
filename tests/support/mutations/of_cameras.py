"""Changed copies of caches of cameras, and what must hold for them: they are refused, reported, or harmless.

`edit_camera` and its like change one thing, and keep all digests right, as an attacker would.
"""

import hashlib
import json
import random

import msgspec
import numpy as np

import frame_store
from frame_store.errors import StoreError
from frame_store.manifest import encode_manifest, read_manifest, read_trees
from frame_store.names import VIDEOS_NAME, manifest_name
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import spelt
from tests.support.caches.tree import write_generation_json, write_videos
from tests.support.mutations.of_caches import Mutator, sign


def spoil_cameras(cache, seed):
    """Change a cache of cameras in one way; in most cases all hashes are right afterwards. Returns what was done."""
    chance = random.Random(seed)
    mutator = Mutator(seed)
    ways = [mutator.flip, mutator.truncate, mutator.splice, mutator.swap, mutator.edit_json]
    ways += [mutator.edit_source_order, mutator.overwrite_numbers]
    ways += 8 * [lambda cache: edit_cameras(cache, chance)]
    done = chance.choice(ways)(cache)
    if chance.random() < 0.7:
        resign_cameras(cache)
        done += "; signed again"
    return done


def edit_cameras(cache, chance):
    """Change the list of cameras in the manifest; its digest is right afterwards."""
    (path,) = cache.glob("manifest-*.json")
    document = json.loads(path.read_bytes())
    document.pop("digest")
    cameras = document["cameras"]
    first, second = cameras[:2]
    what = chance.choice(
        ["folder", "generations", "name", "drop", "copy", "turn", "counts", "first", "move", "columns"]
    )
    if what in {"folder", "generations", "name"}:
        first[what], second[what] = second[what], first[what]
    elif what == "drop":
        cameras.pop(chance.randrange(2))
    elif what == "copy":
        cameras.append({**chance.choice(cameras), "name": "third", "folder": "camera-02"})
    elif what == "turn":
        cameras.reverse()
        for number, camera in enumerate(cameras):
            camera["folder"] = f"camera-{number:02d}"
    elif what == "counts":
        key = chance.choice(["num_frames", "num_videos", "first_frame", "first_video"])
        for camera in chance.choice([cameras, [first], [second]]):
            camera["generations"][0][key] += chance.choice((-1, 1, 1 << 40))
    elif what == "first":
        document["generations"] = first["generations"]
        document["cameras"] = chance.choice([[], [second]])
    elif what == "move":
        chance.choice(cameras)["folder"] = chance.choice(
            ["camera-02", "camera-1", "..", "/", "", "gen-" + "0" * 16]
        )
    else:
        document["columns"] = chance.choice([[], document["columns"] * 2])
    path.write_bytes(sign(document))
    return f"changed {what} of the cameras"


def resign_cameras(cache):
    """Put the hashes of all files as they are into `generation.json` and the manifest, wherever these are JSON."""
    for folder in cache.glob("camera-*/gen-*"):
        path = folder / "generation.json"
        try:
            document = json.loads(path.read_bytes())
            document.pop("digest", None)
            for entry in [*document["shards"], *document["files"]]:
                content = (folder / entry["name"]).read_bytes()
                entry |= {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            path.write_bytes(sign(document))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    for path in cache.glob("manifest-*.json"):
        try:
            document = json.loads(path.read_bytes())
            document.pop("digest", None)
            for camera in document["cameras"]:
                (entry,) = camera["generations"]
                content = (cache / camera["folder"] / entry["folder"] / "generation.json").read_bytes()
                entry["digest"] = hashlib.sha256(content).hexdigest()
            path.write_bytes(sign(document))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue


def read_cameras(cache):
    """Open, read and verify a cache of cameras in every way: "refused", "reported" or "harmless".

    A documented error is refused or reported; any other leaves this function: that is the find. So is a sound cache
    whose cameras show other moments.
    """
    refused = False
    try:
        store = frame_store.open_store(cache)
        read_store(store)
        for name in getattr(store, "cameras", ()):
            read_store(frame_store.open_store(cache, camera=name, reads="pread", verify_reads=True))
    except StoreError:
        refused = True
    try:
        problems = verify_store(cache).problems
    except StoreError:
        return "refused"
    if problems:
        return "reported"
    assert not refused, "verify finds nothing, and a reader refuses the cache"
    cameras = getattr(frame_store.open_store(cache), "cameras", {})
    ids = np.arange(len(store))
    moments = [spelt(each.read_frames(ids))[:, 1:] for each in cameras.values()]
    for shown in moments[1:]:
        np.testing.assert_array_equal(shown, moments[0])
    return "harmless"


def read_store(store):
    """Everything that a store or a group offers to a reader."""
    ids = np.arange(len(store))
    store.rows_of(ids)
    for name in getattr(store, "cameras", {}):
        store.read_frames(ids, camera=name)
    if not hasattr(store, "cameras"):
        store.read_frames(ids)
    table = store.videos
    for video_id in range(len(table)):
        store.ids_of_video(video_id)
    store.columns.gather(np.arange(store.columns.num_rows), np.arange(store.columns.num_videos))
    _ = store.dataset


def edit_camera(cache, camera, *, videos=None, **changes):
    """Replace fields of a camera's generation, or records of its table of videos by their rows; hashes are right."""
    (tree,) = [tree for tree in read_trees(cache) if tree.camera.name == camera]
    generation = tree.common
    if videos:
        table = tree.read_videos()
        for row, fields in videos.items():
            table[row] = msgspec.structs.replace(table[row], **fields)
        entry = write_videos(tree.generations[0].path, table)
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
    path = cache / manifest_name(0)
    document = json.loads(path.read_bytes())
    del document["digest"]
    change(document)
    path.write_bytes(sign(document))
