"""Edits of a cache that keep its digests right, as an attacker would make them."""

import json

import numpy as np

from tests.support.caches.tree import FIRST_MANIFEST, generation_folder
from tests.support.mutations.of_caches import resign, resign_manifest, sign


def edit_manifest(cache, change):
    _edit_signed(cache / FIRST_MANIFEST, change)


def edit_generation(cache, change):
    _edit_signed(generation_folder(cache) / "generation.json", change)
    resign_manifest(cache)


def edit_videos(cache, change):
    """`change` gets the list of records of the table of videos."""
    path = generation_folder(cache) / "videos.jsonl"
    records = [json.loads(line) for line in path.read_bytes().splitlines()]
    change(records)
    path.write_bytes(b"".join(json.dumps(record).encode() + b"\n" for record in records))
    resign(cache)


def _edit_signed(path, change):
    document = json.loads(path.read_bytes())
    del document["digest"]
    change(document)
    path.write_bytes(sign(document))


def edit_index(cache, row, **fields):
    path = generation_folder(cache) / "index.npy"
    index = np.load(path)
    for name, value in fields.items():
        index[name][row] = value
    np.save(path, index)
    resign(cache)


def replace_bytes(cache, name, old, new):
    path = generation_folder(cache) / name
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    resign(cache)


def resign_without_hashing(cache, name, num_bytes):
    def change(document):
        for entry in document["shards"]:
            if entry["name"] == name:
                entry["num_bytes"] = num_bytes

    edit_generation(cache, change)
