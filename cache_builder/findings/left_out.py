"""A video that is not stored: no frame of it can be used, or the source's cameras disagree about it."""

from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from cache_builder.errors import VideoError
from cache_builder.findings.receipt import SOURCE_DTYPE
from cache_builder.findings.verdict import unreadable_entry
from cache_builder.video.scan import VideoFacts
from frame_store.manifest import VideoEntry


@dataclass(frozen=True, kw_only=True, eq=False)
class LeftOutVideo:
    """A row of the table of videos without frames."""

    name: str
    reason: str
    facts: VideoFacts | None = None
    """Of its file, where that is readable and the reason lies elsewhere."""

    @property
    def pts_seconds(self) -> npt.NDArray[np.float64]:
        """Of its frames, of which there are none."""
        return np.zeros(0)

    @property
    def sampled_errors(self) -> list[tuple[int, float]]:
        """Of its frames, of which there are none."""
        return []

    def sources(self, video_id: int) -> npt.NDArray[np.void]:
        """Its stored frames, `SOURCE_DTYPE`: none."""
        del video_id
        return np.zeros(0, SOURCE_DTYPE)

    def entry(self) -> VideoEntry:
        """The video's row of the table of videos."""
        entry = unreadable_entry(VideoError(self.name, self.reason))
        if self.facts is None:
            return entry
        return msgspec.structs.replace(
            entry,
            num_bytes=self.facts.num_bytes,
            sha256=self.facts.sha256,
            num_packets=self.facts.num_packets,
        )
