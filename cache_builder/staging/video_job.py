"""What jobs on one video have in common: its file is there, or has to be downloaded first."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import msgspec

from cache_builder.staging.staged_object import StagedObject


class StagedVideoJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job on the video at `path`. A pool prepares it before it runs, and its limits do not count the download."""

    path: Path
    staged: StagedObject | None = None
    """The object that is downloaded to `path`; None for a file that is there."""

    @property
    def name(self) -> str:
        """The video, as messages name it."""
        raise NotImplementedError

    @property
    def needs_preparing(self) -> bool:
        """Whether `prepare` is to be called before `run`."""
        return self.staged is not None

    @contextmanager
    def prepare(self) -> Iterator[Self]:
        """The same job, with its video at hand for the time of the context.

        Raises: as `StagedObject.at_hand`.
        """
        if self.staged is None:
            yield self
            return
        with self.staged.at_hand(self.name) as path:
            yield msgspec.structs.replace(self, path=path)
