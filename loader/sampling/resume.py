"""Where a run stands in its epochs: what a checkpoint keeps, and what going on from it must agree with."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from frame_store.protocol import FrameStore
from frame_store.shared import counted, listed, whole_number
from loader.errors import SamplingError
from loader.sampling.options import BatchOptions
from loader.sampling.plan import BatchPlan, plan_batches
from loader.sampling.ranks import ShardingCheck, check_ranks


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
    if not types:
        return "an empty dict"
    return ", ".join(f"{name} ({kind.__name__})" for name, kind in types.items())


class Place(NamedTuple):
    """A place in the sequence of all epochs' orders."""

    epoch: int
    position: int
    """Positions of the epoch's order that all ranks together are done with."""


class EpochCursor:
    """Which epoch comes next, and how much of it the caller has been given.

    An iteration counts from its first batch on: it takes its epoch when its first batch is asked for, and hands it
    back where that batch cannot be given.
    """

    def __init__(self, plan: BatchPlan, *, fingerprint: str, sharding: ShardingCheck | None = None) -> None:
        """At the start of epoch 0; `sharding` is asked where an iteration begins."""
        self._plan = plan
        self._fingerprint = fingerprint
        self._sharding = sharding
        self._next = Place(0, 0)
        self._began = Place(0, 0)
        """Where the latest iteration began."""
        self._given = Place(0, 0)
        """Behind the last batch given, of whatever iteration moved last."""

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration that gives a batch one of `epoch`.

        It begins at the start of the epoch, unless it would have gone on inside this very epoch, from a loaded state:
        there it still does.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        epoch = whole_number("epoch", epoch, error=SamplingError)
        self._plan.order(epoch)
        self._resume_at(self._next if epoch == self._next.epoch else Place(epoch, 0))

    @property
    def next_place(self) -> Place:
        """Where the next iteration begins."""
        return self._next

    @contextmanager
    def iteration(self) -> Iterator["Iteration"]:
        """An iteration, from before its first batch is made; leaving without an error means that it has no more."""
        iteration = self.begin()
        try:
            yield iteration
        except BaseException:
            iteration.withdraw()
            raise
        iteration.end()

    def begin(self) -> "Iteration":
        """The iteration whose first batch is asked for now; the one after it begins the next epoch."""
        if self._sharding is not None:
            self._sharding.warn_if_unsharded()
        began = self._next
        self._next = Place(began.epoch + 1, 0)
        self._began = self._given = began
        return Iteration(self, began)

    def __str__(self) -> str:
        """Which epoch the next iteration takes, and from where, for the `repr` of a loader."""
        epoch, position = self._next
        return f"next is epoch {epoch}" + (f" from position {position:,} on" if position else "")

    def state(self, *, batches_received: int | None = None) -> LoaderState:
        """The place behind the last batch given, or `batches_received` behind where the latest iteration began.

        Raises:
            SamplingError: so many batches cannot have been received.
        """
        if batches_received is None:
            return self.state_at(self._given)
        batches_received = whole_number("batches_received", batches_received, error=SamplingError)
        epoch, position = self._began
        share = self._plan.slice_from(position)
        if not 0 <= batches_received <= len(share):
            raise SamplingError(
                f"{counted(batches_received, 'batch', 'batches')} received, but the iteration had {len(share)} to give"
            )
        if batches_received:
            position = share.position_after(batches_received - 1)
        if position == self._plan.num_positions:
            epoch, position = epoch + 1, 0
        return self.state_at(Place(epoch, position))

    def state_at(self, place: Place) -> LoaderState:
        """The state of a run that stands at `place`."""
        return LoaderState(
            fingerprint=self._fingerprint,
            sampling=self._plan.spec.to_builtins(),
            seed=self._plan.seed,
            epoch=place.epoch,
            position=place.position,
        )

    def load(self, state: LoaderState) -> None:
        """Make the next iteration go on from `state`; it gives nothing where no step is left of the epoch.

        Raises:
            SamplingError: it is of another store, sampling or seed (both sides are named), or outside the epoch.
        """
        here = self.state()
        differing = [
            f"{name}: {getattr(state, name)} in the state, {getattr(here, name)} here"
            for name in ("fingerprint", "seed")
            if getattr(state, name) != getattr(here, name)
        ]
        differing += [
            f"{name}: {state.sampling.get(name)} in the state, {here.sampling.get(name)} here"
            for name in dict.fromkeys([*here.sampling, *state.sampling])
            if state.sampling.get(name) != here.sampling.get(name)
        ]
        if differing:
            raise SamplingError(
                listed(
                    "the state is of another run",
                    differing,
                    "give the options of that run, or begin without a state",
                )
            )
        self._plan.order(state.epoch)
        self._plan.slice_from(state.position)
        self._resume_at(Place(state.epoch, state.position))

    def _resume_at(self, place: Place) -> None:
        self._next = self._began = self._given = place

    def _move(self, place: Place, *, only_from: Place | None = None) -> None:
        if only_from is None or self._given == only_from:
            self._given = place

    def _take_back(self, began: Place) -> None:
        if self._next == (began.epoch + 1, 0) and self._given == began:  # nothing else moved since
            self._next = began


def plan_epochs(maker: str, store: FrameStore, options: BatchOptions) -> tuple[BatchPlan, EpochCursor]:
    """What a loader that `maker` makes gives of a store, and where it stands: at the start of epoch 0.

    Warns where several processes train and no rank is among the options, now or when an iteration begins.

    Raises:
        SamplingError: see `plan_batches`; also only one of rank and world_size.
    """
    check_ranks(options.get("rank"), options.get("world_size"))
    plan = plan_batches(store, **options)
    sharding = ShardingCheck(maker=maker, is_rank_given=options.get("rank") is not None)
    sharding.warn_if_unsharded()
    return plan, EpochCursor(plan, fingerprint=store.fingerprint, sharding=sharding)


class Iteration:
    """One pass over what is left of an epoch, and how much of it the caller has been given."""

    def __init__(self, cursor: EpochCursor, began: Place) -> None:
        self._cursor = cursor
        self._has_given = False
        self.began = began
        self.place = began
        """Behind the last batch given; the start of the next epoch once there are no more."""

    def give(self, position: int) -> None:
        """Record that the caller is handed a batch, and that the epoch goes on at `position` behind it."""
        self._has_given = True
        self.place = Place(self.began.epoch, position)
        self._cursor._move(self.place)

    def end(self) -> None:
        """Record that this rank has no more batches: it is done with the epoch, also where others have one more."""
        next_epoch = Place(self.began.epoch + 1, 0)
        self._cursor._move(next_epoch, only_from=self.place)
        self.place = next_epoch

    def withdraw(self) -> None:
        """Where no batch was given: hand the epoch back, for the next iteration to take."""
        if not self._has_given:
            self._cursor._take_back(self.began)
