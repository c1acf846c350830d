"""Worker processes that are like those of another machine: other temporary files, and no folder of the build's."""

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from cache_builder.executors import WorkerPool, prepared


class ElsewhereJob(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A job that does not see `hidden`, and whose temporary files go to `temporary`."""

    job: Any
    hidden: Path
    temporary: Path

    @property
    def limits(self):
        return self.job.limits

    @property
    def needs_preparing(self):
        return True

    @contextmanager
    def prepare(self):
        hide(self.hidden)
        tempfile.tempdir = str(self.temporary)
        with prepared(self.job) as ready:
            yield ready


class ElsewherePool(WorkerPool):
    """Its processes see nothing below `hidden`."""

    hidden: Path
    temporary: Path

    def __class_getitem__(cls, _):
        return cls

    def submit(self, job):
        super().submit(ElsewhereJob(job=job, hidden=self.hidden, temporary=self.temporary))

    def next_outcome(self):
        outcome = super().next_outcome()
        return msgspec.structs.replace(outcome, job=outcome.job.job)


_hidden: list[Path] = []


def hide(folder: Path) -> None:
    """From now on nothing below `folder` is there for this process, and whoever opens it ends with an error."""
    if _hidden:
        return
    _hidden.append(folder)
    for name in ("is_dir", "is_file", "exists"):
        setattr(Path, name, _blind(getattr(Path, name), folder))

    def look(event, arguments):
        path = arguments[0] if arguments else None
        if event.split(".")[0] in {"open", "os", "shutil"} and _is_below(path, folder):
            raise AssertionError(f"{event} of {path}, which another machine does not have")

    sys.addaudithook(look)


def _blind(method, folder):
    return lambda path, **options: not _is_below(str(path), folder) and method(path, **options)


def _is_below(path, folder):
    text = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
    return text == str(folder) or text.startswith(f"{folder}/")
