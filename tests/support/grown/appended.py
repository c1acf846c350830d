"""A cache of a plain folder that is appended to: its settings, its videos, and what its generations hold."""

import shutil

import numpy as np

from cache_builder import build_cache
from frame_store.manifest import read_tree
from frame_store.reader import CacheStore

FLAGS = ("--size", "16", "--frames-per-shard", "10", "--seed", "5")
SETTINGS = {"size": 16, "frames_per_shard": 10, "seed": 5, "workers": 1}


def put(pieces, folder, *numbers):
    folder.mkdir(exist_ok=True)
    for number in numbers:
        shutil.copy2(pieces / f"v{number}.mp4", folder)
    return folder


def append(here, **more):
    return build_cache(here / "videos", here / "c", append=True, workers=1, **more)


def frames_of(cache):
    with CacheStore(cache) as store:
        return store.read_frames(np.arange(len(store)))


def of_generation(cache, number):
    tree = read_tree(cache).generations[number]
    return {
        path.relative_to(tree.path).as_posix(): path.read_bytes()
        for path in tree.path.rglob("*")
        if path.is_file()
    }
