"""How a build tells the outside how far it is."""

from typing import Protocol


class Progress(Protocol):
    """Told how far a build is. `start` opens a stage of `total` steps, `advance` counts them."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """A stage begins."""
        ...

    def advance(self, steps: int) -> None:
        """Steps of the current stage are done."""
        ...

    def note(self, line: str) -> None:
        """Something that the user should know now, and no error."""
        ...


class NoProgress:
    """Says nothing."""

    def start(self, stage: str, total: int, unit: str) -> None:
        """See `Progress`."""

    def advance(self, steps: int) -> None:
        """See `Progress`."""

    def note(self, line: str) -> None:
        """See `Progress`."""
