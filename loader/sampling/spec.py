"""How frames are drawn: one checked value, used by the samplers, the analysis of their bias and the resume state."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias, get_args

from frame_store.shared import flag, whole_number
from loader.errors import SamplingError
from loader.sampling.rank_slice import Remainder

Sampling: TypeAlias = Literal["permutation", "stratified", "iid", "sequential", "shards", "block"]
"""`permutation`: every frame, in a global random order. `stratified`: every frame; each batch is spread evenly over all
videos and times, or over contents (`Strata`), so that its mean varies less. `iid`: uniform draws, with replacement.
`sequential`: the order of ids. `shards`: draw a shard, then several of its frames; more frames a visit need fewer
seeks, and the visits of a batch are spread evenly over the shards. `block`: every frame; the order goes through blocks,
a block has the frames of a few shards in a random order, and each batch is spread evenly over its block. `Remainder`
treats the end of the order."""

Strata: TypeAlias = Literal["time", "content"]
"""The order that `stratified` cuts into strata. `time`: video by video, in time order. `content`: frames that look
alike are neighbours; the cache needs a content order (`cache-build --content-order` or `cache-bias --write-order`)."""

ShardChoice: TypeAlias = Literal["proportional", "uniform"]
"""How `shards` draws a shard. `proportional`: with a probability proportional to its frames, so that every frame is
equally likely; the visits of a batch are spread over the shards. `uniform`: every shard with the same probability,
independently (the naive rule); this draws the frames of small shards
too often."""

_CONTENT_LABEL: Final = re.compile(r"content:[0-9a-f]+")

_OF_SHARDS = ("frames_per_visit", "shard_choice", "frames_with_replacement")


def check_strata(strata: object, *, also_labels: bool = False) -> None:
    """Refuse what is no `Strata`; `also_labels` takes the label of a content order, too.

    Raises:
        SamplingError: another name, or no text.
    """
    is_label = also_labels and isinstance(strata, str) and _CONTENT_LABEL.fullmatch(strata)
    if not is_label and strata not in get_args(Strata):
        raise SamplingError(f"strata must be one of {', '.join(get_args(Strata))}; found {strata!r}")


@dataclass(frozen=True, kw_only=True)
class SamplingSpec:
    """The options that decide the order of frames, beside the shard sizes, the seed and the epoch.

    `loader.sampling.options.BatchOptions` explains each field. `frames_per_visit` stands for `shards_per_batch`, too.

    Raises:
        SamplingError: a misspelt name, a number out of range, or an option of another sampling.
    """

    sampling: Sampling = "permutation"
    frames_per_visit: int | None = None
    shard_choice: ShardChoice = "proportional"
    frames_with_replacement: bool = False
    shards_per_block: int | None = None
    strata: str = "time"
    """A `Strata`. For `content` the plan writes `content:` and a hash of the content order here (hex digits)."""
    weights: str | None = None
    """The name of the weights and a hash of their numbers, which the plan writes here (`VideoWeights.label`)."""

    def __post_init__(self) -> None:
        """Check names and ranges, and that each option belongs to the sampling."""
        for option, names in (
            ("sampling", get_args(Sampling)),
            ("shard_choice", get_args(ShardChoice)),
        ):
            if (value := getattr(self, option)) not in names:
                raise SamplingError(f"{option} must be one of {', '.join(names)}; found {value!r}")
        for option in ("frames_per_visit", "shards_per_block"):
            if (value := getattr(self, option)) is not None:
                number = whole_number(option, value, error=SamplingError)
                # A NumPy integer would appear in states and reports.
                object.__setattr__(self, option, number)
        check_strata(self.strata, also_labels=True)
        if self.strata != "time" and self.sampling != "stratified":
            raise SamplingError(
                f"strata belongs to sampling='stratified', found sampling={self.sampling!r} and "
                f"strata={self.strata!r}"
            )
        flag("frames_with_replacement", self.frames_with_replacement, error=SamplingError)
        self._check_options_of("shards", _OF_SHARDS, needed="frames_per_visit")
        self._check_options_of("block", ("shards_per_block",), needed="shards_per_block")
        self._check_weights()

    @property
    def with_replacement(self) -> bool:
        """Whether an epoch may draw a frame twice and miss another. Such an epoch is cut to whole batches."""
        return self.sampling in {"iid", "shards"} or self.weights is not None

    @property
    def uses_shards(self) -> bool:
        """Whether the order goes by shards. Other orders are the same for any shard sizes."""
        return self.sampling in {"shards", "block"}

    @property
    def has_spread_visits(self) -> bool:
        """Whether `shards` spreads the anchor frames of neighbouring visits. Uniformly drawn shards are independent."""
        return self.sampling == "shards" and self.shard_choice == "proportional"

    @property
    def default_remainder(self) -> Remainder:
        """The `Remainder` that is used if the caller gives none.

        `drop` if each epoch has another order: all batches have the same weight, and the positions left out hold other
        frames in each epoch. `uneven` for `sequential`, whose order is always the same: `drop` would never show the
        last frames.
        """
        return "uneven" if self.sampling == "sequential" else "drop"

    def to_builtins(self) -> dict[str, Any]:
        """The fields as plain values, for a resume state or a report."""
        return asdict(self)

    def __str__(self) -> str:
        """The sampling, and the options that differ from their defaults.

        >>> str(SamplingSpec(sampling="shards", frames_per_visit=8))
        'sampling=shards frames_per_visit=8'
        """
        defaults = SamplingSpec.__dataclass_fields__
        shown = {
            name: value
            for name, value in self.to_builtins().items()
            if name == "sampling" or value != defaults[name].default
        }
        return " ".join(f"{name}={value}" for name, value in shown.items())

    def _check_options_of(self, sampling: Sampling, options: tuple[str, ...], *, needed: str) -> None:
        if self.sampling == sampling:
            value = getattr(self, needed)
            if value is None or value < 1:
                raise SamplingError(f"sampling={sampling!r} needs {needed} of 1 or more, found {value}")
            return
        for option in options:
            if getattr(self, option) != SamplingSpec.__dataclass_fields__[option].default:
                raise SamplingError(
                    f"{option} belongs to sampling={sampling!r}, found sampling={self.sampling!r}"
                )

    def _check_weights(self) -> None:
        if self.weights is None:
            return
        if self.sampling not in {"iid", "shards", "stratified"}:
            raise SamplingError(
                f"weights draw with replacement, as sampling='iid', 'shards' or 'stratified' can, found "
                f"sampling={self.sampling!r}"
            )
        if self.shard_choice != "proportional":
            raise SamplingError(
                f"weights draw a shard by the weight of its frames, found shard_choice={self.shard_choice!r}"
            )
