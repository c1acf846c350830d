"""What became of the content order of a cache."""

from typing import Literal

import msgspec

from frame_store.manifest import ContentOrderEntry
from frame_store.notebook import output, paragraphs
from frame_store.shared import counted_in_groups, without_controls

OrderStatus = Literal["written", "already complete", "restored"]
"""`restored`: the file was damaged, and was written again."""


class ContentOrderReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `write_content_order` did."""

    output: str
    status: OrderStatus
    folder: str
    """The folder of the order, inside the cache."""
    method: str
    num_frames: int
    """Frames in the order; of a cache of cameras, moments."""
    num_frames_read: int
    """Reads of a frame; 0 where the order was there already."""
    num_bytes: int
    """Of the file."""
    seconds_reading: float
    """For reading and decoding payloads, and for their thumbnails."""
    seconds_ordering: float
    """For the order of the coordinates."""

    def _repr_html_(self) -> str:
        """What IPython shows: what the terminal shows. Never raises."""
        return output(self, lambda: paragraphs(content_order_lines(self)))


def content_order_lines(report: ContentOrderReport) -> list[str]:
    """The report for a terminal."""
    took = ""
    if report.num_frames_read:
        took = (
            f"; {counted_in_groups(report.num_frames_read, 'frame')} read in {report.seconds_reading:.1f} s, "
            f"ordered in {report.seconds_ordering:.1f} s"
        )
    return [
        f"{report.output}: content order {report.status}, {counted_in_groups(report.num_frames, 'frame')} in "
        f"{report.folder} ({counted_in_groups(report.num_bytes, 'byte')}){took}"
    ]


def content_order_text(entry: ContentOrderEntry) -> str:
    """The order in a line of `cache-info`.

    >>> sha256 = "0123456789abcdef" * 4
    >>> content_order_text(
    ...     ContentOrderEntry(
    ...         first_frame=0,
    ...         num_frames=1000,
    ...         folder="content-0123456789abcdef",
    ...         sha256=sha256,
    ...         num_bytes=4128,
    ...         method="pca-bisection-1",
    ...     )
    ... )
    'by pca-bisection-1, 4,128 bytes in content-0123456789abcdef'
    """
    return (
        f"by {without_controls(entry.method)}, {counted_in_groups(entry.num_bytes, 'byte')} in {entry.folder}"
    )
