"""The place of a run in its epochs: the state in a checkpoint, and the checks when a run goes on from it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import MappingProxyType
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
    """Of the store that the frames come from."""
    sampling: dict[str, Any]
    """The fields of the `SamplingSpec`."""
    windows: dict[str, Any]
    """The offsets, edges and tolerance of windows, as `loader.windows.WindowSpec.to_builtins` gives them."""
    seed: int
    epoch: int
    position: int
    """Positions of the order of the epoch that all ranks together have received."""

    @classmethod
    def from_builtins(cls, state: dict[str, Any]) -> "LoaderState":
        """Parse the output of `to_builtins`.

        Raises:
            SamplingError: an unknown or missing key, or a value of another type.
        """
        expected = {
            "fingerprint": str,
            "sampling": dict,
            "windows": dict,
            "seed": int,
            "epoch": int,
            "position": int,
        }
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
    """Positions of the order of the epoch that all ranks together have received."""


class EpochCursor:
    """Which epoch comes next, and how much of an epoch the caller has received.

    An iteration takes its epoch when its first batch is read, and gives the epoch back if that batch cannot be read.
    """

    def __init__(
        self,
        plan: BatchPlan,
        *,
        fingerprint: str,
        windows: Mapping[str, Any] = MappingProxyType({}),
        sharding: ShardingCheck | None = None,
    ) -> None:
        """At the start of epoch 0; each iteration begins with a call of `sharding`.

        `fingerprint` and `windows` go into the states; see `LoaderState`.
        """
        self._plan = plan
        self._windows = dict(windows)
        self._fingerprint = fingerprint
        self._sharding = sharding
        self._next = Place(0, 0)
        self._began = Place(0, 0)
        """The place where the latest iteration began."""
        self._given = Place(0, 0)
        """The place after the last batch that any iteration gave."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration whose first batch is read.

        The iteration begins at the start of the epoch, unless a state inside this epoch was loaded: then it goes on
        from that state.

        Raises:
            SamplingError: not in [0, 2**32).
        """
        epoch = whole_number("epoch", epoch, error=SamplingError)
        self._plan.order(epoch)
        self._resume_at(self._next if epoch == self._next.epoch else Place(epoch, 0))

    @property
    def next_place(self) -> Place:
        """The place where the next iteration begins."""
        return self._next

    @contextmanager
    def iteration(self) -> Iterator["Iteration"]:
        """An iteration, from before its first batch is read. Leaving the context without an error ends it."""
        iteration = self.begin()
        try:
            yield iteration
        except BaseException:
            iteration.withdraw()
            raise
        iteration.end()

    def begin(self) -> "Iteration":
        """The iteration whose first batch is read now. The iteration after it begins the next epoch."""
        if self._sharding is not None:
            self._sharding.warn_if_unsharded()
        began = self._next
        self._next = Place(began.epoch + 1, 0)
        self._began = self._given = began
        return Iteration(self, began)

    def __str__(self) -> str:
        """Epoch and position where the next iteration begins, for the `repr` of a loader."""
        epoch, position = self._next
        return f"next is epoch {epoch}" + (f" from position {position:,} on" if position else "")

    def state(self, *, batches_received: int | None = None) -> LoaderState:
        """The place after the last batch given, or `batches_received` batches after the latest iteration began.

        Raises:
            SamplingError: the latest iteration does not have that many batches.
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
        """The state of a run at `place`."""
        return LoaderState(
            fingerprint=self._fingerprint,
            sampling=self._plan.spec.to_builtins(),
            windows=dict(self._windows),
            seed=self._plan.seed,
            epoch=place.epoch,
            position=place.position,
        )

    def load(self, state: LoaderState) -> None:
        """Make the next iteration go on from `state`. It gives no batch if no step is left of the epoch.

        Raises:
            SamplingError: `state` belongs to another store, sampling, window or seed (the message names both sides), or
                lies outside the epoch.
        """
        own = self.state()
        differing = [
            f"{name}: {getattr(state, name)} in the state, {getattr(own, name)} here"
            for name in ("fingerprint", "seed")
            if getattr(state, name) != getattr(own, name)
        ]
        for theirs, ours in ((state.sampling, own.sampling), (state.windows, own.windows)):
            differing += [
                f"{name}: {theirs.get(name)} in the state, {ours.get(name)} here"
                for name in dict.fromkeys([*ours, *theirs])
                if theirs.get(name) != ours.get(name)
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
        if self._next == (began.epoch + 1, 0) and self._given == began:  # no other iteration has moved since
            self._next = began


def plan_epochs(
    maker: str,
    store: FrameStore,
    options: BatchOptions,
    *,
    fingerprint: str | None = None,
    windows: Mapping[str, Any] = MappingProxyType({}),
    unit: str = "frame",
    weighted: FrameStore | None = None,
) -> tuple[BatchPlan, EpochCursor]:
    """The plan of a loader that `maker` makes over the frames of `store`, and a cursor at the start of epoch 0.

    `fingerprint` (None for that of `store`) and `windows` go into the states; see `LoaderState`. `unit` is what texts
    call a position of the order. `weighted` (None for `store`) has the videos that weights are for.

    Warns if several processes train and the options have no rank, now or when an iteration begins.

    Raises:
        SamplingError: see `plan_batches`; also only one of rank and world_size.
    """
    check_ranks(options.get("rank"), options.get("world_size"))
    plan = plan_batches(store, unit=unit, weighted=weighted, **options)
    sharding = ShardingCheck(maker=maker, is_rank_given=options.get("rank") is not None)
    sharding.warn_if_unsharded()
    fingerprint = store.fingerprint if fingerprint is None else fingerprint
    return plan, EpochCursor(plan, fingerprint=fingerprint, windows=windows, sharding=sharding)


class Iteration:
    """One pass over the rest of an epoch, and how much of it the caller has received."""

    def __init__(self, cursor: EpochCursor, began: Place) -> None:
        self._cursor = cursor
        self._has_given = False
        self.began = began
        self.place = began
        """The place after the last batch given; the start of the next epoch after the iteration has ended."""

    def give(self, position: int) -> None:
        """Record that the caller receives a batch, and that the epoch goes on at `position` after it."""
        self._has_given = True
        self.place = Place(self.began.epoch, position)
        self._cursor._move(self.place)

    def end(self) -> None:
        """Record that this rank has no more batches in the epoch; other ranks may have one more."""
        next_epoch = Place(self.began.epoch + 1, 0)
        self._cursor._move(next_epoch, only_from=self.place)
        self.place = next_epoch

    def withdraw(self) -> None:
        """Give the epoch back to the next iteration if no batch was given."""
        if not self._has_given:
            self._cursor._take_back(self.began)
