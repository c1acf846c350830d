"""Caches copied to an object store, and changed there."""

from pathlib import Path

from frame_store.remote import ObjectClient, RemoteUrl


def upload(folder: Path, url: str) -> ObjectClient:
    """Copy every file below a folder; the client of the folder that it becomes."""
    client = ObjectClient(RemoteUrl.of(url))
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            client.put_file(path.relative_to(folder).as_posix(), path)
    return client


def flip_a_bit(client: ObjectClient, key: str, *, at: int = -1) -> None:
    """Change one bit of an object."""
    data = bytearray(client.get(key, max_bytes=1 << 30))
    data[at] ^= 1
    client.put(key, bytes(data))
