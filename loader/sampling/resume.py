"""The place of a run in its epochs: the state in a checkpoint, and the checks when a run goes on from it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, NamedTuple

from frame_store.protocol import FrameStore
from frame_store.shared import counted, counted_in_groups, flag, listed, whole_number
from loader.errors import SamplingError, warn_caller
from loader.sampling.growth import EpochFrames, FramesOfEpochs, Planned
from loader.sampling.options import BatchOptions
from loader.sampling.plan import BatchPlan
from loader.sampling.ranks import ShardingCheck, check_ranks

_ORDER_WRITTEN_ANEW: Final = (
    "the content order was written anew since the state was made (cache-bias --write-order, cache-build "
    "--content-order): an epoch by the old one cannot be ended"
)


@dataclass(frozen=True, kw_only=True)
class LoaderState:
    """A place in the sequence of all epochs' orders, the same for every rank."""

    fingerprint: str
    """Of the store that the frames come from, as it was then. It does not depend on what was appended since."""
    num_frames: int
    """Frames of that store then."""
    generation_frames: list[int]
    """Frames of each generation of the cache then, where the sampling goes by shards: they decide the shards, which a
    compaction may cut anew. Empty for other samplings and stores."""
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
            "num_frames": int,
            "generation_frames": list,
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


class EpochCursor(Generic[Planned]):
    """Which epoch comes next, over which frames, and how much of an epoch the caller has received.

    An iteration takes its epoch when its first batch is read, and gives the epoch back if that batch cannot be read.
    """

    def __init__(
        self,
        frames: EpochFrames[Planned],
        *,
        grow: bool = False,
        windows: Mapping[str, Any] = MappingProxyType({}),
        sharding: ShardingCheck | None = None,
    ) -> None:
        """At the start of epoch 0 over all `frames`; each iteration begins with a call of `sharding`.

        `windows` goes into the states; see `LoaderState`. `grow` decides about the epochs after one that began over
        fewer frames; see `BatchOptions`.
        """
        self._frames = frames
        self._grow = grow
        self._earlier: FramesOfEpochs[Planned] | None = None
        """The frames of a state of an earlier time, or with shards of an earlier time; None for all frames."""
        self._earlier_epoch: int | None = None
        """The one epoch that has the earlier frames; None where every epoch has them."""
        self._has_warned = False
        self._windows = dict(windows)
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
        self.frames_of(epoch).plan.order(epoch)
        self._resume_at(self._next if epoch == self._next.epoch else Place(epoch, 0))

    def frames_of(self, epoch: int) -> FramesOfEpochs[Planned]:
        """The frames of an epoch, and their plan."""
        if self._earlier is not None and self._earlier_epoch in {None, epoch}:
            return self._earlier
        return self._frames.whole

    @property
    def frames(self) -> FramesOfEpochs[Planned]:
        """The frames of the epoch that is under way, or else of the next one."""
        return self.frames_of(self._given.epoch)

    @property
    def plan(self) -> BatchPlan:
        """The plan of the epoch that is under way, or else of the next one."""
        return self.frames.plan

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
        text = f"next is epoch {epoch}" + (f" from position {position:,} on" if position else "")
        own, num_frames = self.frames_of(epoch), self._frames.whole.num_frames
        if own.num_frames < num_frames:
            text += f", over the first {own.num_frames:,} of {counted_in_groups(num_frames, 'frame')}"
        return text

    def state(self, *, batches_received: int | None = None) -> LoaderState:
        """The place after the last batch given, or `batches_received` batches after the latest iteration began.

        Raises:
            SamplingError: the latest iteration does not have that many batches.
        """
        if batches_received is None:
            return self.state_at(self._given)
        batches_received = whole_number("batches_received", batches_received, error=SamplingError)
        epoch, position = self._began
        plan = self.frames_of(epoch).plan
        share = plan.slice_from(position)
        if not 0 <= batches_received <= len(share):
            raise SamplingError(
                f"{counted(batches_received, 'batch', 'batches')} received, but the iteration had {len(share)} to give"
            )
        if batches_received:
            position = share.position_after(batches_received - 1)
        if position == plan.num_positions:
            epoch, position = epoch + 1, 0
        return self.state_at(Place(epoch, position))

    def state_at(self, place: Place) -> LoaderState:
        """The state of a run at `place`."""
        return self._state_over(self.frames_of(place.epoch), place)

    def _state_over(self, frames: FramesOfEpochs[Planned], place: Place) -> LoaderState:
        return LoaderState(
            fingerprint=frames.fingerprint,
            num_frames=frames.num_frames,
            generation_frames=list(frames.generation_frames),
            sampling=frames.plan.spec.to_builtins(),
            windows=dict(self._windows),
            seed=frames.plan.seed,
            epoch=place.epoch,
            position=place.position,
        )

    def load(self, state: LoaderState) -> None:
        """Make the next iteration go on from `state`. It gives no batch if no step is left of the epoch.

        Raises:
            SamplingError: `state` belongs to another store, sampling, window or seed (the message names both sides), or
                lies outside the epoch.
        """
        frames, reason = self._frames_of_state(state)
        place = Place(state.epoch, state.position)
        own = self._state_over(self._frames.whole if frames is None else frames, place)
        names = ("fingerprint", "seed") if frames else ("fingerprint", "num_frames", "seed")
        differing = [
            f"{name}: {getattr(state, name)} in the state, {getattr(own, name)} here"
            for name in names
            if getattr(state, name) != getattr(own, name)
        ]
        if reason is not None:
            differing.append(reason)
        grows_now = self._grow and state.position == 0
        for theirs, ours in ((state.sampling, own.sampling), (state.windows, own.windows)):
            differing += [
                f"{name}: {theirs.get(name)} in the state, {ours.get(name)} here"
                for name in dict.fromkeys([*ours, *theirs])
                if theirs.get(name) != ours.get(name)
                and not (grows_now and _is_content(theirs.get(name)) and _is_content(ours.get(name)))
            ]
        orders = [state.sampling.get("strata"), own.sampling["strata"]]
        if frames is not None and not grows_now and all(map(_is_content, orders)) and orders[0] != orders[1]:
            differing.append(_ORDER_WRITTEN_ANEW)
        if frames is None or differing:
            raise SamplingError(
                listed(
                    "the state is of another run",
                    differing,
                    "give the options of that run, or begin without a state",
                )
            )
        frames.plan.order(state.epoch)
        frames.plan.slice_from(state.position)
        has_all = frames is self._frames.whole or grows_now
        self._earlier = None if has_all else frames
        self._earlier_epoch = state.epoch if self._grow else None
        self._resume_at(place)
        if not self._grow and not self._has_warned and (more := self._frames.more_than(frames)):
            self._has_warned = True
            warn_caller(more)

    def _frames_of_state(self, state: LoaderState) -> tuple[FramesOfEpochs[Planned] | None, str | None]:
        """The frames of a state; None and the reason where the store never had them."""
        whole, earlier = self._frames.whole, self._earlier
        wanted = (state.num_frames, state.fingerprint, tuple(state.generation_frames))
        for known in (whole, earlier):
            if known is not None and (known.num_frames, known.fingerprint, known.generation_frames) == wanted:
                return known, None
        if not _are_frames(state.generation_frames):
            return None, f"generation_frames are numbers above 0, found {state.generation_frames}"
        found = self._frames.earlier(
            num_frames=state.num_frames, fingerprint=state.fingerprint, generation_frames=wanted[2]
        )
        return found, None if found is not None else self._frames.mismatch(num_frames=state.num_frames)

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
    make: Callable[[FrameStore, BatchOptions], Planned],
    *,
    windows: Mapping[str, Any] = MappingProxyType({}),
) -> EpochCursor[Planned]:
    """A cursor at the start of epoch 0 of a loader that `maker` makes over the frames of `store`.

    `make` plans the epochs over a store by options: over `store`, or over what it was earlier. `windows` goes into the
    states; see `LoaderState`.

    Warns if several processes train and the options have no rank, now or when an iteration begins.

    Raises:
        SamplingError: what `make` raises; also only one of rank and world_size.
    """
    check_ranks(options.get("rank"), options.get("world_size"))
    grow = flag("grow", options.get("grow", False), error=SamplingError)
    frames = EpochFrames(store, options, make)
    sharding = ShardingCheck(maker=maker, is_rank_given=options.get("rank") is not None)
    sharding.warn_if_unsharded()
    return EpochCursor(frames, grow=grow, windows=windows, sharding=sharding)


def _is_content(strata: object) -> bool:
    return isinstance(strata, str) and strata.startswith("content:")


def _are_frames(numbers: list[Any]) -> bool:
    return all(type(number) is int and number > 0 for number in numbers)


class Iteration:
    """One pass over the rest of an epoch, and how much of it the caller has received."""

    def __init__(self, cursor: EpochCursor[Any], began: Place) -> None:
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
