"""The offsets of windows: one checked value, used by loaders, reports and the resume state."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import islice, pairwise
from numbers import Real
from typing import Any, Final, get_args

from frame_store.shared import whole_number
from loader.errors import SamplingError
from loader.sampling import Edges

MAX_OFFSET: Final = 1 << 32
"""A video has fewer frames. Sums of a place and an offset then fit into int64."""

MAX_NUM_OFFSETS: Final = 1 << 16


@dataclass(frozen=True, kw_only=True)
class WindowSpec:
    """Which frames and rows a window has, relative to its anchor. `BatchOptions` explains each field.

    Raises:
        SamplingError: no offsets or more than 65,536 in a list, offsets of another kind or beyond 2**32, a misspelt
            `edges`, frames or a column with offsets both in frames and in seconds, or options that have no use without
            others.
    """

    frame_offsets: tuple[int, ...] | None = None
    frame_offsets_seconds: tuple[float, ...] | None = None
    column_offsets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    column_offsets_seconds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    edges: Edges = "pad"
    tolerance_seconds: float | None = None

    def __post_init__(self) -> None:
        """Check every value, and that the values fit together."""
        if self.edges not in get_args(Edges):
            near = get_close_matches(str(self.edges), get_args(Edges), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise SamplingError(
                f"edges must be one of {', '.join(get_args(Edges))}; found {self.edges!r}{hint}"
            )
        _set(self, "frame_offsets", _whole_offsets("frame_offsets", self.frame_offsets))
        _set(
            self,
            "frame_offsets_seconds",
            _offsets_in_seconds("frame_offsets_seconds", self.frame_offsets_seconds),
        )
        _set(self, "column_offsets", _by_column("column_offsets", self.column_offsets, _whole_offsets))
        _set(
            self,
            "column_offsets_seconds",
            _by_column("column_offsets_seconds", self.column_offsets_seconds, _offsets_in_seconds),
        )
        if self.frame_offsets is not None and self.frame_offsets_seconds is not None:
            raise SamplingError("give frame_offsets or frame_offsets_seconds, not both")
        both = sorted(set(self.column_offsets) & set(self.column_offsets_seconds))
        if both:
            raise SamplingError(
                f"column {both[0]!r} is in column_offsets and in column_offsets_seconds; give it in one of them"
            )
        if self.tolerance_seconds is not None:
            _set(self, "tolerance_seconds", _tolerance(self.tolerance_seconds))
        if self.edges == "whole" and not self.has_windows:
            raise SamplingError("edges='whole' is for windows: give frame_offsets or column_offsets, too")

    @property
    def has_windows(self) -> bool:
        """Whether a batch shows more than its anchors."""
        return self.has_frame_windows or bool(self.column_offsets or self.column_offsets_seconds)

    @property
    def has_frame_windows(self) -> bool:
        """Whether frames of a batch have a dimension T."""
        return self.frame_offsets is not None or self.frame_offsets_seconds is not None

    @property
    def uses_seconds(self) -> bool:
        """Whether a window needs the pts of frames."""
        return self.frame_offsets_seconds is not None or bool(self.column_offsets_seconds)

    @property
    def frames_per_anchor(self) -> int:
        """T, or 1 without offsets of frames."""
        return len(self.frame_offsets or self.frame_offsets_seconds or (0,))

    @property
    def options(self) -> dict[str, Any]:
        """The fields as options of a loader."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def check_columns(self, names: Collection[str]) -> None:
        """Refuse offsets of a column that is not among `names`, those that a batch has.

        Raises:
            SamplingError: such a column; the message has the nearest names.
        """
        for option in ("column_offsets", "column_offsets_seconds"):
            for name in getattr(self, option):
                if name in names:
                    continue
                near = get_close_matches(name, names, n=3, cutoff=0.4)
                has = f"has {', '.join(sorted(names))}" if names else "has no columns"
                hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
                raise SamplingError(f"{option}: the store has no column {name!r}, it {has}{hint}")

    def to_builtins(self) -> dict[str, Any]:
        """The fields that differ from their defaults, as plain values: for a resume state or a report."""
        values: dict[str, Any] = {
            "frame_offsets": self.frame_offsets and list(self.frame_offsets),
            "frame_offsets_seconds": self.frame_offsets_seconds and list(self.frame_offsets_seconds),
            "column_offsets": {name: list(offsets) for name, offsets in sorted(self.column_offsets.items())},
            "column_offsets_seconds": {
                name: list(offsets) for name, offsets in sorted(self.column_offsets_seconds.items())
            },
            "edges": self.edges if self.has_windows else None,
            "tolerance_seconds": self.tolerance_seconds,
        }
        return {name: value for name, value in values.items() if value not in (None, {})}

    def __str__(self) -> str:
        """The fields that differ from their defaults.

        >>> str(WindowSpec(frame_offsets=range(0, 6, 2), edges="whole"))
        'frame_offsets=(0, 2, 4) edges=whole'
        """
        texts = []
        for name, value in self.to_builtins().items():
            if isinstance(value, list):
                value = _offsets_text(value)  # noqa: PLW2901 - the text of the value
            elif isinstance(value, dict):
                value = ", ".join(f"{column} {_offsets_text(offsets)}" for column, offsets in value.items())  # noqa: PLW2901
            texts.append(f"{name}={value}")
        return " ".join(texts)


def window_spec(
    *,
    frame_offsets: Iterable[int] | None = None,
    frame_offsets_seconds: Iterable[float] | None = None,
    column_offsets: Mapping[str, Iterable[int]] | None = None,
    column_offsets_seconds: Mapping[str, Iterable[float]] | None = None,
    tolerance_seconds: float | None = None,
    edges: Edges | None = None,
    clip_frames: int | None = None,
    clip_stride: int = 1,
) -> WindowSpec:
    """The value of the options of windows; see `BatchOptions`.

    `clip_frames=T, clip_stride=q` stands for `frame_offsets=range(0, T * q, q), edges="whole"`.

    Raises:
        SamplingError: see `WindowSpec`; also clips beside `frame_offsets`, or a clip or stride below 1.
    """
    clip_stride = whole_number("clip_stride", clip_stride, least=1, error=SamplingError)
    if clip_frames is not None:
        clip_frames = whole_number("clip_frames", clip_frames, least=1, error=SamplingError)
        if clip_frames > MAX_NUM_OFFSETS or clip_frames * clip_stride > MAX_OFFSET:
            raise SamplingError(
                f"a clip has at most {MAX_NUM_OFFSETS:,} frames over {MAX_OFFSET:,} stored frames, "
                f"found clip_frames={clip_frames} and clip_stride={clip_stride}"
            )
        for name, given in (
            ("frame_offsets", frame_offsets),
            ("frame_offsets_seconds", frame_offsets_seconds),
        ):
            if given is not None:
                raise SamplingError(
                    f"give clip_frames or {name}, not both: clip_frames={clip_frames} stands for "
                    f"frame_offsets=range(0, {clip_frames * clip_stride}, {clip_stride}), edges='whole'"
                )
        frame_offsets = range(0, clip_frames * clip_stride, clip_stride)
        edges = "whole" if edges is None else edges
    elif clip_stride != 1:
        raise SamplingError("clip_stride needs clip_frames")
    return WindowSpec(
        frame_offsets=frame_offsets,  # type: ignore[arg-type]  # checked, and made a tuple
        frame_offsets_seconds=frame_offsets_seconds,  # type: ignore[arg-type]
        column_offsets={} if column_offsets is None else column_offsets,  # type: ignore[arg-type]
        column_offsets_seconds={} if column_offsets_seconds is None else column_offsets_seconds,  # type: ignore[arg-type]
        edges="pad" if edges is None else edges,
        tolerance_seconds=tolerance_seconds,
    )


def _set(spec: WindowSpec, name: str, value: object) -> None:
    object.__setattr__(spec, name, value)


def _offsets_text(offsets: list[Any]) -> str:
    if len(offsets) > 6 and len({later - earlier for earlier, later in pairwise(offsets)}) == 1:
        return f"({offsets[0]}, {offsets[1]}, ..., {offsets[-1]})"
    return f"({', '.join(map(str, offsets))})"


def _listed_offsets(name: str, offsets: object) -> list[Any]:
    if isinstance(offsets, str | bytes | Mapping) or not isinstance(offsets, Iterable):
        raise SamplingError(f"{name} must be a list of offsets such as (-1, 0), found {offsets!r}")
    found = list(islice(offsets, MAX_NUM_OFFSETS + 1))
    if len(found) > MAX_NUM_OFFSETS:
        raise SamplingError(f"{name} has at most {MAX_NUM_OFFSETS:,} offsets, and there are more")
    if not found:
        raise SamplingError(f"{name} is empty; give one offset or more, such as (-1, 0)")
    return found


def _whole_offsets(name: str, offsets: object) -> tuple[int, ...] | None:
    if offsets is None:
        return None
    found = tuple(
        whole_number(f"{name}[{number}]", offset, error=SamplingError)
        for number, offset in enumerate(_listed_offsets(name, offsets))
    )
    for number, offset in enumerate(found):
        if abs(offset) > MAX_OFFSET:
            raise SamplingError(
                f"{name}[{number}] must lie between -{MAX_OFFSET:,} and {MAX_OFFSET:,}, found {offset}"
            )
    return found


def _offsets_in_seconds(name: str, offsets: object) -> tuple[float, ...] | None:
    if offsets is None:
        return None
    found = _listed_offsets(name, offsets)
    for number, offset in enumerate(found):
        if isinstance(offset, bool) or not isinstance(offset, Real) or not math.isfinite(offset):
            raise SamplingError(f"{name}[{number}] must be a finite number of seconds, found {offset!r}")
    return tuple(map(float, found))


def _by_column(
    name: str, offsets: object, check: Callable[[str, object], tuple[Any, ...] | None]
) -> dict[str, Any]:
    if not isinstance(offsets, Mapping):
        raise SamplingError(
            f"{name} must give the offsets of each column, such as {{'action': range(16)}}, found {offsets!r}"
        )
    for column, of_column in offsets.items():
        if not isinstance(column, str):
            raise SamplingError(f"{name}: the name of a column is a text, found {column!r}")
        if of_column is None:
            raise SamplingError(f"{name}[{column!r}] must be a list of offsets such as (-1, 0), found None")
    return {column: check(f"{name}[{column!r}]", of_column) for column, of_column in offsets.items()}


def _tolerance(value: object) -> float:
    number = float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and number >= 0):
        raise SamplingError(f"tolerance_seconds must be a number of seconds, 0 or more, found {value!r}")
    return number
