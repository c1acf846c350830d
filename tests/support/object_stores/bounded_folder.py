"""What lies in a bounded folder at one moment, seen from outside."""

from pathlib import Path
from typing import Any

import numpy as np

import frame_store

OWN_NAMES = frozenset({".ledger", "CACHEDIR.TAG"})


def files_of(path: Path) -> dict[str, int]:
    """Bytes by name; a file under way counts in full. Files that come and go during the walk may be among them."""
    found = {}
    for each in path.rglob("*"):
        try:
            if each.name in OWN_NAMES or each.is_dir():
                continue
            size = each.stat().st_size
        except FileNotFoundError:
            continue
        is_part = each.name.endswith(".part")
        found[each.relative_to(path).as_posix()] = int(each.name.split(".")[-2]) if is_part else size
    return found


def bytes_at_one_moment(path: Path) -> int:
    """Bytes of files that were there together: those that were there in a first walk, and after it still."""
    return sum(num_bytes for name, num_bytes in files_of(path).items() if (path / name).exists())


def read_with_feed(url: str, folder: Path, folder_bytes: int, batches: list[Any], results: Any) -> None:
    """Put what batches of ids show, as bytes (B, C, H, W), read through a folder. A process without torch runs it."""
    with frame_store.open_store(url, folder=folder, folder_bytes=folder_bytes) as store:
        feed = store.feed(iter(batches), num_in_flight=1)
        found = []
        for ids in batches:
            feed.advance()
            found.append((ids.tolist(), np.moveaxis(store.read_frames(ids), 3, 1).tobytes()))
        feed.close()
    results.put(found)
