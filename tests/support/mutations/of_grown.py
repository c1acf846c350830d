"""Changed copies of caches that have grown, and what must hold for them: they are refused, reported, or harmless."""

import hashlib
import json
import random
import shutil

import numpy as np

import frame_store
from frame_store.errors import StoreError, ViewError
from frame_store.manifest import read_manifest
from frame_store.reader import CacheStore
from frame_store.verify import verify_store
from tests.support.caches.camera_cache import spelt
from tests.support.mutations.of_caches import ODD_NUMBERS, ODD_VALUES, Mutator, sign
from tests.support.mutations.of_cameras import read_store


def spoil_grown(cache, seed):
    """Change a cache of several generations in one way; in most cases all hashes are right afterwards."""
    chance, mutator = random.Random(seed), Mutator(seed)
    ways = [mutator.flip, mutator.truncate, mutator.splice, mutator.swap, mutator.edit_json]
    ways += [mutator.edit_source_order, mutator.edit_index, mutator.overwrite_numbers, mutator.link]
    ways += 12 * [lambda cache: edit_growth(cache, chance)]
    done = chance.choice(ways)(cache)
    if chance.random() < 0.8:
        resign_grown(cache)
        done += "; signed again"
    return done


def edit_growth(cache, chance):
    """Change what the newest manifest, an older one, or a joined generation states; digests are right afterwards."""
    versions = sorted(cache.glob("manifest-*.json"))
    path = chance.choice([versions[-1], versions[-1], versions[-1], *versions])
    document = json.loads(path.read_bytes())
    document.pop("digest")
    of_cameras = [camera["generations"] for camera in document["cameras"]] or [document["generations"]]
    generations = chance.choice(of_cameras)
    what = chance.choice(list(_EDITS))
    _EDITS[what](document, generations, chance)
    if chance.random() < 0.3:
        for each in of_cameras if chance.random() < 0.7 else [generations]:
            _count_again(each)
        what += ", counted again"
    target = path
    if chance.random() < 0.1:  # a version more, or one less
        target = path.with_name(
            f"manifest-{chance.choice((0, 1, len(versions), len(versions) + 1)):04d}.json"
        )
        document["version"] = int(target.stem[-4:])
    target.write_bytes(sign(document))
    if chance.random() < 0.05:
        chance.choice(versions).unlink()
        what += ", a version removed"
    if chance.random() < 0.2:
        what += edit_parts(cache, chance)
    return f"{what} in {target.name}"


def edit_parts(cache, chance):
    """Change the parts that a joined generation states."""
    joined = []
    for path in sorted(cache.rglob("generation.json")):
        document = json.loads(path.read_bytes())
        if document.get("parts"):
            joined.append((path, document))
    if not joined:
        return ""
    path, document = chance.choice(joined)
    document.pop("digest")
    parts = document["parts"]
    way = chance.randrange(5)
    if way == 0:
        parts.reverse()
    elif way == 1:
        parts.pop()
    elif way == 2:
        first, second = parts[:2]
        key = chance.choice(["num_frames", "num_videos"])
        first[key], second[key] = first[key] + 1, second[key] - 1
        for part in (first, second):
            part["shard_sizes"] = [[max(1, part["num_frames"]), 1]]
    elif way == 3:
        chance.choice(parts)["shard_sizes"] = [[chance.choice(ODD_NUMBERS), chance.choice(ODD_NUMBERS)]]
    else:
        part = chance.choice(parts)
        part[chance.choice(list(part))] = chance.choice(ODD_VALUES)
    path.write_bytes(sign(document))
    return ", parts"


def _count_again(generations):
    """Give the generations the first ids that follow from their numbers."""
    first_frame = first_video = 0
    for entry in generations:
        entry["first_frame"], entry["first_video"] = first_frame, first_video
        try:
            first_frame, first_video = first_frame + entry["num_frames"], first_video + entry["num_videos"]
        except TypeError:
            return


def _forget(document, _, chance):
    document["forgotten_videos"] = chance.choice(
        [[0], [0, 2], [2, 0], [1, 1], [-1], [99], [2**63], [*range(1000)], [0.5], ["0"], {}, [10**30]]
    )


def _turn(_, generations, chance):
    chance.choice([generations.reverse, lambda: chance.shuffle(generations)])()


def _numbers(_, generations, chance):
    entry = chance.choice(generations)
    key = chance.choice(["first_frame", "num_frames", "first_video", "num_videos"])
    entry[key] = chance.choice([entry[key] + 1, entry[key] - 1, *ODD_NUMBERS])


def _twice(_, generations, chance):
    generations.insert(chance.randrange(len(generations) + 1), dict(chance.choice(generations)))


def _drop(_, generations, chance):
    generations.pop(chance.randrange(len(generations)))


def _folder(_, generations, chance):
    one, other = chance.choice(generations), chance.choice(generations)
    keys = chance.choice([["folder"], ["digest"], ["folder", "digest"]])
    for key in keys:
        one[key] = other[key] if chance.random() < 0.5 else chance.choice(ODD_VALUES)


def _superseded(document, generations, chance):
    in_use = [entry["folder"] for key in ("columns", "content_orders") for entry in document[key]]
    in_use += [entry["folder"] for entry in generations]
    document["superseded"] = chance.choice(
        [
            [chance.choice(in_use)],
            ["gen-0123456789abcdef", "gen-0123456789abcdef"],
            ["camera-00/gen-0123456789abcdef", "../gen-0123456789abcdef"],
            ["gen-0123456789abcdef/../.."],
            [chance.choice(ODD_VALUES)],
            ["camera-99/../gen-0123456789abcdef"],
        ]
    )


def _stretches(document, _, chance):
    name, keys = chance.choice(
        [("columns", ["first_video", "num_videos"]), ("content_orders", ["first_frame", "num_frames"])]
    )
    entries = document[name]
    if not entries:
        return
    way = chance.randrange(4)
    entry = chance.choice(entries)
    if way == 0:
        entries.reverse()
    elif way == 1:
        entries.remove(entry)
    elif way == 2:
        entry["folder"] = chance.choice(entries)["folder"]
    else:
        key = chance.choice(keys)
        entry[key] = chance.choice([entry[key] + 1, entry[key] - 1, *ODD_NUMBERS])


def _share(document, generations, chance):
    """One generation of a camera as that of another camera; without cameras, generations swapped."""
    if len(document["cameras"]) > 1:
        first, second = document["cameras"][:2]
        number = chance.randrange(len(generations))
        ours, theirs = first["generations"], second["generations"]
        ours[number], theirs[number] = theirs[number], ours[number]
    else:
        one, other = chance.randrange(len(generations)), chance.randrange(len(generations))
        generations[one], generations[other] = generations[other], generations[one]


_EDITS = {
    "forgotten": _forget,
    "turned": _turn,
    "numbers": _numbers,
    "a generation twice": _twice,
    "a generation dropped": _drop,
    "folders": _folder,
    "superseded": _superseded,
    "stretches": _stretches,
    "shared": _share,
}


def resign_grown(cache):
    """Put the hashes of files as they are into what records them, where that can be read."""
    for path in sorted(cache.rglob("generation.json")):
        try:
            document = json.loads(path.read_bytes())
            document.pop("digest", None)
            for entry in [*document["shards"], *document["files"]]:
                content = (path.parent / entry["name"]).read_bytes()
                entry["num_bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
            path.write_bytes(sign(document))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    for path in sorted(cache.glob("manifest-*.json")):
        try:
            document = json.loads(path.read_bytes())
            document.pop("digest", None)
            for folder, entries in [
                ("", document["generations"]),
                *((camera["folder"], camera["generations"]) for camera in document["cameras"]),
            ]:
                for entry in entries:
                    content = (cache / folder / entry["folder"] / "generation.json").read_bytes()
                    entry["digest"] = hashlib.sha256(content).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        path.write_bytes(sign(document))


def read_grown(cache):
    """Open, read and verify a cache in every way: "refused", "reported" or "harmless".

    A documented error is refused or reported; any other leaves this function: that is the find. So is a sound cache
    that a reader refuses, or whose frames are not those that its rows name.
    """
    refused = None
    try:
        store = frame_store.open_store(cache)
        _read(store)
        for number in range(len(read_manifest(cache).counted_generations)):
            _read(frame_store.open_store(cache, generation=number))
        for name in getattr(store, "cameras", ()):
            _read(frame_store.open_store(cache, camera=name, reads="pread", verify_reads=True))
    except StoreError as error:
        refused = error
    except ViewError as error:
        assert "no frame is chosen" in str(error), "only a cache whose videos are all forgotten has no view"  # noqa: PT017
    try:
        problems = verify_store(cache).problems
    except StoreError:
        return "refused"
    if problems:
        return "reported"
    assert refused is None, f"verify finds nothing, and a reader refuses the cache: {refused}"
    for camera in [entry.name for entry in read_manifest(cache).cameras] or [None]:
        with CacheStore(cache, camera=camera) as store:
            ids = np.arange(len(store))
            rows, shown = store.rows_of(ids), spelt(store.read_frames(ids))
            np.testing.assert_array_equal(shown[:, 2], rows["frame_in_video"])
            for part in store.tree.generations:
                own = slice(part.entry.first_frame, part.entry.end_frame)
                assert set(rows["video_id"][own]) <= set(range(part.entry.first_video, part.entry.end_video))
    return "harmless"


def _read(store):
    read_store(store)
    _ = store.content_order, store.fingerprint, store.content_digest
    list(store.videos)


def copied(original, place):
    """A copy of a cache at a place where another one may lie."""
    shutil.rmtree(place, ignore_errors=True)
    return shutil.copytree(original, place)
