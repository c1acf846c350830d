"""Commands whose output goes to a file: a pipe would be waited for as long as any process below holds it open."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class CommandTimeoutError(Exception):
    """A command was ended because it took too long; says what it had printed last."""


@dataclass(frozen=True, kw_only=True)
class Done:
    """A command that has ended."""

    exit_code: int
    lines: tuple[str, ...]
    """Of standard output and standard error together."""

    @property
    def last_words(self) -> str:
        """The last lines that say something."""
        return " / ".join([line.strip() for line in self.lines if line.strip()][-3:]) or "nothing"


def run_command(
    command: Sequence[str | Path], output: Path, *, timeout_s: float, folder: Path | None = None
) -> Done:
    """Run a command in `folder` with nothing to read, and print what it said.

    What it leaves running is left: it belongs to the process group of the step, which ends with that.

    Raises:
        CommandTimeoutError: it took longer; it is killed.
    """
    with output.open("wb") as file:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            exit_code: int | None = process.wait(timeout=max(0.1, timeout_s))
        except subprocess.TimeoutExpired:
            exit_code = None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    text = output.read_text(encoding="utf-8", errors="replace")
    print(f"-- {' '.join(map(str, command))[:200]}\n{text}", flush=True)
    lines = tuple(text.splitlines())
    if exit_code is None:
        said = Done(exit_code=-1, lines=lines).last_words
        raise CommandTimeoutError(f"not done after {timeout_s:.0f} s; it said last: {said}")
    return Done(exit_code=exit_code, lines=lines)
