"""Errors of the builder, under the same root as the store's (`frame_store.errors`)."""

from pathlib import Path

from frame_store.errors import FrameCacheError


class VideoError(FrameCacheError):
    """A video cannot be read: one line naming the file (relative to the folder) and the reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        super().__init__(f"{self.path}: {reason}")

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        return (VideoError, (self.path, self.reason))
