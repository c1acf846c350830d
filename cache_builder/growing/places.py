"""What a cache in an object store does not take yet."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cache_builder.errors import ConfigError
from frame_store.remote import RemoteUrl

_REMEDIES: Final = {
    "columns": "write columns into a local cache, and copy it there whole",
    "content-order": "order a local cache, and copy it there whole",
    "dry-run": "with {--append} it reads the cache: cache-fetch that, and give the copy",
    "forget": "give the sources and {--append}, too",
}


def refuse_at_url(output: Path | RemoteUrl | None, asked: Mapping[str, bool]) -> None:
    """Raise ConfigError where something is asked for that a cache in an object store does not take."""
    if not isinstance(output, RemoteUrl):
        return
    if not output.is_writable:
        raise ConfigError(
            f"{{--out}} {output.text}: web servers are read-only; give a URL of s3, gs or az, or a folder"
        )
    for name, is_asked in asked.items():
        if is_asked:
            raise ConfigError(f"{{--{name}}} does not take a URL as {{--out}}: {_REMEDIES[name]}")
