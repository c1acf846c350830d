"""How a build reports its progress."""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a build: `start` begins a stage of `total` steps, `advance` counts them."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage begins."""
        ...

    def advance(self, steps: int) -> None:
        """Steps of the current stage are done."""
        ...

    def note(self, line: str) -> None:
        """Show a message that is not an error."""
        ...


class NoProgress:
    """Ignores everything."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Progress`."""

    def advance(self, steps: int) -> None:
        """See `Progress`."""

    def note(self, line: str) -> None:
        """See `Progress`."""
