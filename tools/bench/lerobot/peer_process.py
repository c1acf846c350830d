"""The process that runs `peer.py` with the interpreter that has LeRobot."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, Self

from frame_store.shared import without_controls

INSTALL_HINT = (
    "it is not installed here: make an environment for it, pip install lerobot there, and give that interpreter as "
    "--lerobot-python PATH"
)
_SCRIPT = Path(__file__).with_name("peer.py")
_SECONDS_TO_END = 10.0
_MOST_TEXT = 300


class PeerError(Exception):
    """LeRobot could not be asked, or could not read; the message is what it said."""


@dataclass(frozen=True, kw_only=True)
class PeerFacts:
    """LeRobot as it is installed."""

    versions: dict[str, str]
    backends: tuple[str, ...]
    """Video backends that load here."""
    missing: dict[str, str]
    """Backends that do not, and why."""

    @property
    def name(self) -> str:
        """LeRobot and its version."""
        return f"LeRobot {self.versions['lerobot']}"

    @property
    def text(self) -> str:
        """The versions of what it reads with."""
        others = (f"{name} {number}" for name, number in self.versions.items() if name != "lerobot")
        return f"{self.name}: {', '.join(others)}"


def interpreter(given: Path | None) -> Path:
    """The interpreter that has LeRobot: the one given, else this one.

    Raises:
        PeerError: none is given, and LeRobot is not installed here.
    """
    if given is not None:
        return given
    if find_spec("lerobot") is None:
        raise PeerError(INSTALL_HINT)
    return Path(sys.executable)


def ask(python: Path) -> PeerFacts:
    """What is installed.

    Raises:
        PeerError: the interpreter does not run, or LeRobot cannot be imported.
    """
    with Peer(python, {}) as peer:
        facts = peer.answer()["facts"]
    return PeerFacts(versions=facts["versions"], backends=tuple(facts["backends"]), missing=facts["missing"])


class Peer:
    """A running script. Leaving the block ends it with its workers."""

    def __init__(self, python: Path, request: dict[str, Any]) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the block is left
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONHOME"}
        try:
            self._process = subprocess.Popen(
                [python, _SCRIPT, json.dumps(request)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                env=environment | {"HF_DATASETS_CACHE": tempfile.gettempdir()},
            )
        except OSError as error:
            self._errors.close()
            raise PeerError(f"{python} cannot be run: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._errors.close()

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            PeerError: it is an error, or the script ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            answer = {"error": self._last_words()}
        if "error" in answer:
            raise PeerError(without_controls(str(answer["error"]))[:_MOST_TEXT])
        return dict(answer)

    def batches(self) -> Iterator[int]:
        """Images of each batch, as the batches arrive."""
        while True:
            yield int(self.answer()["images"])

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"exit code {code}: {lines[-1] if lines else 'it said nothing'}"
