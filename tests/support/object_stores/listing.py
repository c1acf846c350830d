"""What lies in a store, and in a folder, for comparisons."""

from pathlib import Path

from frame_store.remote import ObjectClient, RemoteUrl


def objects_at(url: str) -> dict[str, bytes]:
    """Key -> content of everything below a URL."""
    client = ObjectClient(RemoteUrl.of(url))
    return {found.key: client.get(found.key, max_bytes=1 << 30) for found in client.objects()}


def keys_at(url: str) -> list[str]:
    """The keys below a URL."""
    return [found.key for found in ObjectClient(RemoteUrl.of(url)).objects()]


def files_at(folder: Path) -> dict[str, bytes]:
    """Path -> content of everything in a folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }
