"""`delta_timestamps`: checked as LeRobot checks them, and turned into offsets in frames."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pprint import pformat
from typing import Final, TypeAlias

import numpy as np

from frame_store.source_order import Int64s
from loader.errors import LeRobotError

DeltaTimestamps: TypeAlias = Mapping[str, Sequence[float]]
"""By key: seconds from the anchor, multiples of 1 / fps."""

_READ_AS_ONE: Final = ("timestamp", "task_index", "subtask_index")
"""LeRobot makes a single number of these, and fails where there are several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Offsets:
    """Offsets in frames, by key."""

    of_key: dict[str, Int64s] = field(default_factory=dict)
    """Shape (T,) each."""

    @classmethod
    def of(
        cls,
        delta_timestamps: DeltaTimestamps | None,
        *,
        fps: float,
        tolerance_s: float,
        keys: Collection[str],
        texts: Collection[str],
    ) -> "Offsets":
        """The offsets of `delta_timestamps`; `keys` are those of the data set, `texts` those of them that are texts.

        Raises:
            LeRobotError: seconds that are no multiples of 1 / fps within the tolerance (with the words of LeRobot), no
                seconds, a key that does not exist, or one of which LeRobot gives no window.
        """
        if delta_timestamps is None:
            return cls()
        outside = {}
        for key, seconds in delta_timestamps.items():
            if key not in keys:
                near = get_close_matches(key, keys, n=3, cutoff=0.4)
                hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
                raise LeRobotError(
                    f"delta_timestamps: the cache has no {key!r}, it has {', '.join(map(repr, keys))}{hint}"
                )
            if not len(seconds):
                raise LeRobotError(f"delta_timestamps: {key!r} has no offsets; leave the key out")
            if key in texts:
                raise LeRobotError(
                    f"delta_timestamps: {key!r} is a text, and LeRobot has no windows of texts"
                )
            if key in _READ_AS_ONE and len(seconds) > 1:
                raise LeRobotError(
                    f"delta_timestamps: {key!r} has {len(seconds)} offsets, and LeRobot reads a single {key} of an item"
                )
            wrong = [one for one in seconds if not _is_multiple(one, fps, tolerance_s)]
            if wrong:
                outside[key] = wrong
        if outside:
            raise LeRobotError(
                "The following delta_timestamps are found outside of tolerance range. Please make sure they are "
                f"multiples of 1/{fps} +/- tolerance and adjust their values accordingly.\n{pformat(outside)}"
            )
        return cls(
            of_key={
                key: np.array([round(one * fps) for one in seconds], np.int64)
                for key, seconds in delta_timestamps.items()
            }
        )


def _is_multiple(seconds: float, fps: float, tolerance_s: float) -> bool:
    """Whether seconds are a multiple of 1 / fps, by LeRobot's own formula."""
    return math.isfinite(seconds) and abs(seconds * fps - round(seconds * fps)) / fps <= tolerance_s
