"""Where a run stands in its epochs: what a checkpoint keeps, and what going on from it must agree with."""

from dataclasses import asdict, dataclass
from typing import Any

from frame_store.arguments import whole_number
from loader.batch_plan import BatchPlan
from loader.errors import SamplingError


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """A place in the sequence of all epochs' orders, the same for every rank."""

    fingerprint: str
    """Of the store the frames come from."""
    sampling: dict[str, Any]
    """The fields of the `SamplingSpec`."""
    seed: int
    epoch: int
    position: int
    """Positions of the epoch's order that all ranks together have been given."""

    @classmethod
    def from_builtins(cls, state: dict[str, Any]) -> "LoaderState":
        """Parse what `to_builtins` made.

        Raises:
            SamplingError: a key too many or too few, or a value of another type.
        """
        expected = {"fingerprint": str, "sampling": dict, "seed": int, "epoch": int, "position": int}
        found = {name: type(value) for name, value in state.items()} if isinstance(state, dict) else state
        if found != expected:
            raise SamplingError(
                f"not the state of a loader: expected {_types_text(expected)}; found {_types_text(found)}"
            )
        return cls(**state)

    def to_builtins(self) -> dict[str, Any]:
        """Plain strings, numbers and dicts: fit for JSON and for `torch.save`."""
        return asdict(self)


def _types_text(types: object) -> str:
    if not isinstance(types, dict):
        return type(types).__name__
    return ", ".join(f"{name} ({kind.__name__})" for name, kind in types.items())


class EpochCursor:
    """Which epoch comes next, and how much of it the caller has been given."""

    def __init__(self, plan: BatchPlan, *, fingerprint: str) -> None:
        self._plan = plan
        self._fingerprint = fingerprint
        self._next_iteration = (0, 0)
        self._began = (0, 0)
        """Epoch and position at which the latest iteration began."""
        self._given = (0, 0)
        """Epoch and position behind the last batch given, of whatever iteration moved last."""

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration begin `epoch`.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        epoch = whole_number("epoch", epoch, error=SamplingError)
        self._plan.order(epoch)
        self._resume_at(epoch, 0)

    def begin(self) -> tuple[int, int]:
        """Epoch and first position of the iteration that begins now; the one after it begins the next epoch."""
        epoch, position = self._next_iteration
        self._next_iteration = (epoch + 1, 0)
        self._began = self._given = (epoch, position)
        return epoch, position

    def __str__(self) -> str:
        """Which epoch the next iteration takes, and from where, for the `repr` of a loader."""
        epoch, position = self._next_iteration
        return f"next is epoch {epoch}" + (f" from position {position:,} on" if position else "")

    def give(self, *, epoch: int, position: int) -> None:
        """Record that the caller has been handed a batch, and that `epoch` goes on at `position` behind it."""
        self._given = self._normalize(epoch, position)

    def state(self, *, batches_received: int | None = None) -> LoaderState:
        """The place behind the last batch given, or `batches_received` behind where the latest iteration began.

        Raises:
            SamplingError: so many batches cannot have been received.
        """
        epoch, position = self._given
        if batches_received is not None:
            batches_received = whole_number("batches_received", batches_received, error=SamplingError)
            epoch, position = self._began
            num_left = len(self._plan.slice_from(position))
            if not 0 <= batches_received <= num_left:
                raise SamplingError(
                    f"{batches_received} batches received, but the iteration had {num_left} to give"
                )
            if batches_received:
                epoch, position = self._place(
                    epoch=epoch, first_position=position, num_batches=batches_received
                )
        return LoaderState(
            fingerprint=self._fingerprint,
            sampling=self._plan.spec.to_builtins(),
            seed=self._plan.seed,
            epoch=epoch,
            position=position,
        )

    def load(self, state: LoaderState) -> None:
        """Make the next iteration go on from `state`, or with the next epoch where no step is left of the state's.

        Raises:
            SamplingError: it is of another store, sampling or seed (both sides are named), or outside the epoch.
        """
        here = self.state()
        differing = [
            f"  {name}: {getattr(state, name)} in the state, {getattr(here, name)} here"
            for name in ("fingerprint", "seed")
            if getattr(state, name) != getattr(here, name)
        ]
        differing += [
            f"  {name}: {state.sampling.get(name)} in the state, {here.sampling.get(name)} here"
            for name in dict.fromkeys([*here.sampling, *state.sampling])
            if state.sampling.get(name) != here.sampling.get(name)
        ]
        if differing:
            listed = "\n".join(differing)
            raise SamplingError(f"the state is of another run:\n{listed}")
        self._plan.order(state.epoch)
        # Another batch size or world size may find no whole step in what is left, and an iteration without a batch
        # looks like a finished epoch.
        is_over = self._plan.slice_from(state.position).num_steps == 0
        self._resume_at(*((state.epoch + 1, 0) if is_over else (state.epoch, state.position)))

    def _resume_at(self, epoch: int, position: int) -> None:
        self._next_iteration = self._began = self._given = (epoch, position)

    def _place(self, *, epoch: int, first_position: int, num_batches: int) -> tuple[int, int]:
        return self._normalize(epoch, self._plan.slice_from(first_position).position_after(num_batches - 1))

    def _normalize(self, epoch: int, position: int) -> tuple[int, int]:
        """The end of an epoch is the start of the next."""
        return (epoch + 1, 0) if position == self._plan.num_positions else (epoch, position)
