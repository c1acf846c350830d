"""Reads caches with one file that cannot be read, in a process that has `faulty_files` loaded; prints the results.

python -m tests.support.caches.shard_faults FAULTY_FILES CACHE...     # FAULTY_FILES: pickled; prints a JSON object
"""

import json
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from frame_store import CacheStore, open_store
from frame_store.verify import verify_store
from loader import FrameLoader
from tests.support.faults.faults import Fault, FaultyFiles


def _first_batch(store: CacheStore) -> None:
    next(iter(FrameLoader(store, batch_size=len(store), sampling="sequential")))


_WAYS: dict[str, Callable[[CacheStore], Any]] = {
    "read_frames": lambda store: store.read_frames([3, 0]),
    "read_encoded": lambda store: store.read_encoded([3, 0]),
    "read_payload": lambda store: store.read_payload(0),
    "FrameLoader": _first_batch,
}


def _main(faulty_files: FaultyFiles, caches: list[Path]) -> dict[str, dict[str, list[str]]]:
    """By cache: type and text of the error of each way of reading, and the problems of `verify_store` by file."""
    found: dict[str, dict[str, list[str]]] = {}
    for cache in caches:
        faulty_files.arm(Fault(), process=0)
        store = open_store(cache, reads="pread")
        store.read_frames([0])
        faulty_files.arm(Fault(read_path=store.generations[0].path / store.common.shards[0].name), process=0)
        results = found[cache.name] = {}
        for name, read in _WAYS.items():
            try:
                read(store)
                results[name] = []
            except Exception as error:  # noqa: BLE001 - whatever it is, the test wants to know
                results[name] = [type(error).__name__, str(error)]
        for entry in [*store.common.shards[:1], *store.common.files]:
            faulty_files.arm(Fault(read_path=store.generations[0].path / entry.name), process=0)
            results[f"verify {entry.name}"] = verify_store(cache).problems
    return found


if __name__ == "__main__":
    print(
        json.dumps(_main(pickle.loads(Path(sys.argv[1]).read_bytes()), [Path(name) for name in sys.argv[2:]]))
    )
