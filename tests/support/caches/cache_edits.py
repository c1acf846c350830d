"""Edits of a cache that keep its manifest's digest right, as an attacker would make them."""

import json

import numpy as np

from tests.support.caches.cache_mutations import resign, sign


def edit_manifest(cache, change):
    document = json.loads((cache / "manifest.json").read_bytes())
    del document["digest"]
    change(document)
    (cache / "manifest.json").write_bytes(sign(document))


def edit_index(cache, row, **fields):
    index = np.load(cache / "index.npy")
    for name, value in fields.items():
        index[name][row] = value
    np.save(cache / "index.npy", index)
    resign(cache)


def replace_bytes(cache, name, old, new):
    content = (cache / name).read_bytes()
    assert old in content
    (cache / name).write_bytes(content.replace(old, new, 1))
    resign(cache)


def resign_without_hashing(cache, name, num_bytes):
    def change(document):
        for entry in document["shards"]:
            if entry["name"] == name:
                entry["num_bytes"] = num_bytes

    edit_manifest(cache, change)
