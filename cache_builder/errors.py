"""Errors of the builder, under the same root as the store's (`frame_store.errors`).

```
FrameCacheError
├── VideoError          one video cannot be read
│   ├── VideoChangedError   it is not the file that was scanned, or has changed
│   └── DeviceError         the GPU cannot decode it; the CPU perhaps can
├── UnitNotIndependentError  decoding cannot start at this key packet: the builder merges two units and goes on
├── InputFolderError    the folder of videos is missing, not a folder or empty: exit code 2
├── ConfigError         wrong settings: exit code 2
├── ColumnsError        a table of columns is wrong, or does not fit the videos: exit code 2
├── OutputError         the output is in use, or holds something else: exit code 2
├── VideosNotWholeError         videos are not whole and the policy is to stop: exit code 1
├── RepairError         damaged files of a cache cannot be made again: exit code 1
└── MachineError        disk full, I/O error, a worker that cannot start: exit code 3
```

The last six mark settings in their messages (see `setting_names`): `str` gives `out`, a command prints `--out`.
"""

from collections.abc import Sequence
from pathlib import Path

from cache_builder.setting_names import NamesSettings
from frame_store.errors import ColumnError, FrameCacheError, ObjectAccessError, ObjectStoreError
from frame_store.shared import listed, without_controls


class VideoError(FrameCacheError):
    """A video cannot be read: one line naming the file (relative to the folder) and the reason."""

    def __init__(self, path: Path | str, reason: str) -> None:
        self.path = str(path)
        self.reason = reason
        # A line break in a file's name must not break the line.
        super().__init__(f"{without_controls(self.path)}: {reason}")

    def __reduce__(self) -> tuple[type["VideoError"], tuple[str, str]]:
        return (VideoError, (self.path, self.reason))


class VideoChangedError(VideoError):
    """The file is not the one that was scanned, or it has changed since."""

    def __reduce__(self) -> tuple[type["VideoChangedError"], tuple[str, str]]:
        return (VideoChangedError, (self.path, self.reason))


class DeviceError(VideoError):
    """The GPU's decoder refuses a video, or did not decode the expected frames; `reason` states why.

    The video itself may be fine: the CPU perhaps decodes it.
    """

    def __reduce__(self) -> tuple[type["DeviceError"], tuple[str, str]]:
        return (DeviceError, (self.path, self.reason))


class UnitNotIndependentError(FrameCacheError):
    """A unit cannot be decoded from its key packet alone: merge it with the unit before and decode that.

    The usual cause is intra refresh; a damaged key packet is another.
    """

    def __init__(self, path: str, first_packet: int) -> None:
        self.path = path
        self.first_packet = first_packet
        super().__init__(f"{path}: decoding cannot start at packet {first_packet}")

    def __reduce__(self) -> tuple[type["UnitNotIndependentError"], tuple[str, int]]:
        return (UnitNotIndependentError, (self.path, self.first_packet))


class InputFolderError(FrameCacheError):
    """The folder of videos cannot be used: missing, not a folder, not listable or without videos."""

    def __init__(self, folder: Path | str, reason: str) -> None:
        self.folder = str(folder)
        self.reason = reason
        super().__init__(f"{self.folder}: {reason}")

    def __reduce__(self) -> tuple[type["InputFolderError"], tuple[str, str]]:
        return (InputFolderError, (self.folder, self.reason))


class ConfigError(NamesSettings, FrameCacheError):
    """A flag, a TOML key or their combination is wrong."""


class ColumnsError(NamesSettings, ColumnError):
    """A table of columns cannot be read or does not fit the videos; the cache was not changed."""


class OutputError(NamesSettings, FrameCacheError):
    """The output folder cannot be built into: another config's cache, a file, or locked."""


class VideosNotWholeError(NamesSettings, FrameCacheError):
    """Some videos cannot be stored as requested, and the build stops; decoded units are kept for the next run."""

    def __init__(
        self,
        problems: Sequence[str],
        *,
        fault: str = "cannot be stored whole",
        remedy: str = "repair or remove such videos, or build the rest with {--on-error skip}",
    ) -> None:
        self.problems = tuple(problems)
        super().__init__(listed(f"{len(self.problems)} of the videos {fault}", self.problems, remedy))


class RepairError(NamesSettings, FrameCacheError):
    """Damaged files of a cache cannot be made again; the cache was not changed."""


class MachineError(NamesSettings, FrameCacheError):
    """The machine failed; videos and command are fine, and the same command resumes."""


def store_failed(error: ObjectStoreError) -> ConfigError | MachineError:
    """What an error of an object store is to a build: refused credentials are a mistake of the command."""
    return (ConfigError if isinstance(error, ObjectAccessError) else MachineError)(str(error))
