"""Jobs that need preparing, for workers to import."""

import time
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cache_builder.executors import JobLimits


class SlowToPrepare(msgspec.Struct, frozen=True, kw_only=True):
    """Takes some seconds to prepare, some to run, and fewer than 0.5 s to run are allowed."""

    prepare_seconds: float = 0.0
    run_seconds: float = 0.0
    text: str = "as submitted"
    fails: bool = False
    trace: Path | None = None
    """A file in which the end of the preparation is noted."""

    needs_preparing = True
    limits = JobLimits(seconds=0.5)

    @contextmanager
    def prepare(self):
        time.sleep(self.prepare_seconds)
        if self.fails:
            raise OSError("cannot be prepared")
        try:
            yield msgspec.structs.replace(self, text="prepared")
        finally:
            if self.trace is not None:
                self.trace.write_text("let go")

    def run(self):
        time.sleep(self.run_seconds)
        return self.text
