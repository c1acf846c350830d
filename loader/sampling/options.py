"""The options that all loaders share: the one list of their names, types, defaults and meanings."""

import functools
import inspect
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import fields
from typing import (
    Annotated,
    Any,
    Final,
    Literal,
    ParamSpec,
    TypeAlias,
    TypedDict,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
)

from frame_store.shared import whole_number
from loader.errors import SamplingError, UnknownOptionError
from loader.sampling.option_advice import advice_on
from loader.sampling.rank_slice import Remainder
from loader.sampling.spec import Sampling, SamplingSpec, ShardChoice, Strata
from loader.sampling.weights import Weights

P = ParamSpec("P")
R = TypeVar("R")


Edges: TypeAlias = Literal["pad", "whole"]
"""What becomes of windows near the ends of a video. `pad`: every frame is an anchor. An offset that leads out of the
video shows the nearest frame of the video, and `frame_is_pad` and `column_is_pad` of the batch say so. `whole`: only
frames whose whole window lies in their video are anchors; videos that are too short are left out and named."""


class BatchOptions(TypedDict, total=False):
    """Which frames come together when: keywords of `FrameLoader`, `FrameBatchSampler` and `make_dataloader`.

    Each is written as `Annotated[type, default]`. The signatures that Python shows are made from this list.
    """

    batch_size: Annotated[int, 128]
    """Frames (or windows) in a batch of one rank, B."""
    sampling: Annotated[Sampling, "permutation"]
    """How the order of an epoch is drawn; see `Sampling`. `iid` and `shards` draw with replacement. Their epochs end
    after the whole batches, whatever `remainder` is."""
    strata: Annotated[Strata, "time"]
    """For `stratified`: the order that strata are cut from; see `Strata`."""
    seed: Annotated[int, 0]
    """In [0, 2**32). The seed and the epoch determine the order."""
    remainder: Annotated[Remainder | None, None]
    """What becomes of a last step that is not whole; see `Remainder`. None means `uneven` for `sequential`: its order
    is the same in every epoch, and `drop` would never show the last frames. None means `drop` for the other samplings.
    An epoch that holds no whole step is then one smaller batch on each rank, with a warning; an explicit "drop" refuses
    such an epoch."""
    shards_per_batch: Annotated[int | None, None]
    """For `shards`: visits in a batch, K. K m is the batch size, so either K or m is enough. The visits of a batch are
    spread evenly over the frames in id order."""
    frames_per_visit: Annotated[int | None, None]
    """For `shards`: frames drawn from one shard before the next shard is drawn, m."""
    shard_choice: Annotated[ShardChoice, "proportional"]
    """For `shards`: how a shard is drawn; see `ShardChoice`."""
    frames_with_replacement: Annotated[bool, False]
    """For `shards`: whether a visit may draw a frame twice."""
    shards_per_block: Annotated[int | None, None]
    """For `block`: a block holds as many frames as this many shards of average size, k; each batch is spread evenly
    over them."""
    weights: Annotated[Weights | None, None]
    """For `iid`, `shards` and `stratified`: how often each video is drawn; see `Weights`. An epoch is as many draws as
    the store has frames, with replacement, also in a visit; `stratified` spreads the draws evenly. None draws every
    frame alike."""
    grow: Annotated[bool, False]
    """For a state of a cache that has grown since. The epoch of the state ends over the frames that the cache had then,
    with the same batches. After it, True takes all frames, and False stays at those of the state. A loader without a
    state takes all frames in any case."""
    frame_offsets: Annotated[Iterable[int] | None, None]
    """Frames that a window shows, as distances from its anchor in stored frames of the video, T of them: (-1, 0) is
    the frame before the anchor and the anchor. An anchor is a frame that `sampling` drew; an epoch has one position for
    each anchor. None shows the anchors alone, without a dimension T."""
    frame_offsets_seconds: Annotated[Iterable[float] | None, None]
    """The same in seconds: the stored frame whose pts is nearest to the anchor's pts plus the offset."""
    column_offsets: Annotated[Mapping[str, Iterable[int]] | None, None]
    """By the name of a column: the rows that a window shows, as distances from the anchor in decoded frames, stored or
    not. {"action": range(16)} is the anchor's action and the next 15. Other columns show the anchor's row."""
    column_offsets_seconds: Annotated[Mapping[str, Iterable[float]] | None, None]
    """The same in seconds: the row of the decoded frame whose pts is nearest."""
    tolerance_seconds: Annotated[float | None, None]
    """For offsets in seconds: the farthest that the nearest frame may be. A frame that is farther counts as beyond an
    end of the video. None means half the mean distance between the frames of the video. For `edges="whole"` over a
    cache made with --fps: how much two neighbouring frames may miss the step of that clock; None means less than half a
    step."""
    edges: Annotated[Edges | None, None]
    """What becomes of windows that hang over an end of their video; see `Edges`. None means `pad`, and `whole` with
    `clip_frames`."""
    clip_frames: Annotated[int | None, None]
    """Frames of a clip, T: `clip_frames=T, clip_stride=q` is short for `frame_offsets=range(0, T * q, q),
    edges="whole"`. The anchor is the first frame of the clip."""
    clip_stride: Annotated[int, 1]
    """Distance between the frames of a clip, q, in stored frames."""
    rank: Annotated[int | None, None]
    """Number of this process among `world_size`; None means 0."""
    world_size: Annotated[int | None, None]
    """Number of processes that share an epoch; None means 1. The batches of all ranks at step t together are the next
    world_size * batch_size positions of the order. `rank_and_world_size()` gives both numbers."""


WINDOW_OPTIONS: Final = (
    "frame_offsets",
    "frame_offsets_seconds",
    "column_offsets",
    "column_offsets_seconds",
    "tolerance_seconds",
    "edges",
    "clip_frames",
    "clip_stride",
)
"""The options that say what is shown around an anchor. `loader.windows` reads them; a plan draws anchors alone."""

_TYPES: Final = get_type_hints(BatchOptions)

DEFAULTS: Final[dict[str, Any]] = {
    name: get_args(hint)[1] for name, hint in get_type_hints(BatchOptions, include_extras=True).items()
}


def with_defaults(options: BatchOptions) -> BatchOptions:
    """All options: those given, and the defaults of the others."""
    return cast("BatchOptions", DEFAULTS | options)


def spec_of(options: BatchOptions) -> SamplingSpec:
    """The options that decide the order of frames; `options` holds all of `BatchOptions`.

    Raises:
        SamplingError: see `frames_of_visit` and `SamplingSpec`; also options of windows, which draw nothing.
    """
    for name in WINDOW_OPTIONS:
        if options[name] is not DEFAULTS[name]:
            raise SamplingError(f"{name} belongs to windows, and this plans anchors alone")
    known: dict[str, Any] = {
        field.name: options[field.name]  # type: ignore[literal-required]
        for field in fields(SamplingSpec)
        if field.name != "weights"  # the plan adds their label
    }
    known["frames_per_visit"] = frames_of_visit(
        batch_size=options["batch_size"],
        shards_per_batch=options["shards_per_batch"],
        frames_per_visit=options["frames_per_visit"],
    )
    return SamplingSpec(**known)


def frames_of_visit(
    *, batch_size: int, shards_per_batch: int | None, frames_per_visit: int | None
) -> int | None:
    """Frames of one visit, from K = shards_per_batch, m = frames_per_visit or both; None if neither is given.

    Raises:
        SamplingError: K m is not the batch size, or one of them is not a whole number.
    """
    batch_size = whole_number("batch_size", batch_size, error=SamplingError)
    if shards_per_batch is not None:
        shards_per_batch = whole_number("shards_per_batch", shards_per_batch, error=SamplingError)
    if frames_per_visit is not None:
        frames_per_visit = whole_number("frames_per_visit", frames_per_visit, error=SamplingError)
    if shards_per_batch is None:
        if frames_per_visit is None or frames_per_visit < 1:
            return frames_per_visit
        shards_per_batch = batch_size // frames_per_visit
    elif frames_per_visit is None:
        frames_per_visit = batch_size // max(shards_per_batch, 1)
    if shards_per_batch < 1 or shards_per_batch * frames_per_visit != batch_size:
        raise SamplingError(
            f"shards_per_batch x frames_per_visit must be batch_size, "
            f"found {shards_per_batch} x {frames_per_visit} for {batch_size}"
        )
    return frames_per_visit


def takes_options(
    maker: str, names: Collection[str] | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Refuse keywords that `maker` does not have, and name the keyword to use instead.

    A function with `**options` has its own parameters and the `names` of `BatchOptions` (None for all); its signature
    then lists them all.
    """

    def decorate(make: Callable[P, R]) -> Callable[P, R]:
        signature = _full_signature(make, DEFAULTS if names is None else names)
        known = {name for name, parameter in signature.parameters.items() if parameter.kind not in _NO_NAMES}
        known.discard("self")

        @functools.wraps(make)
        def checked(*args: P.args, **options: P.kwargs) -> R:
            unknown = [name for name in options if name not in known]
            if unknown:
                raise UnknownOptionError(
                    f"{maker} has no option "
                    + "; nor ".join(f"{name}=: {advice_on(name, known, shared=DEFAULTS)}" for name in unknown)
                )
            return make(*args, **options)

        checked.__signature__ = signature  # type: ignore[attr-defined]
        return checked

    return decorate


_NO_NAMES: Final = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY}


def _full_signature(make: Callable[..., object], names: Collection[str]) -> inspect.Signature:
    """The signature of `make`, with the `names` of `BatchOptions` in the place of `**options`."""
    signature = inspect.signature(make)
    parameters = []
    for parameter in signature.parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            parameters.append(parameter)
            continue
        parameters += [
            inspect.Parameter(name, parameter.KEYWORD_ONLY, default=DEFAULTS[name], annotation=kind)
            for name, kind in _TYPES.items()
            if name in names
        ]
    return signature.replace(parameters=parameters)
