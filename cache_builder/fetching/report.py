"""What a fetch did."""

from typing import Literal

import msgspec

from frame_store.shared import counted


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What `fetch_cache` did."""

    source: str
    """The URL, without a host."""
    output: str
    status: Literal["fetched", "already complete"]
    version: int
    """Of the newest manifest: 0 for a cache as a build made it."""
    num_files: int
    """Of the cache, with its manifests."""
    num_bytes: int
    """Of these files."""
    num_files_fetched: int
    """By this call, without the records and the manifests."""
    num_bytes_fetched: int
    """Bytes of files that this call downloaded."""
    num_bytes_taken_over: int
    """Bytes that an interrupted fetch had downloaded before."""
    seconds: float

    @property
    def summary(self) -> str:
        """One line for a terminal."""
        what = f"version {self.version}, {counted(self.num_files, 'file')} with {self.num_bytes / 1e6:.1f} MB"
        if self.status == "already complete":
            return f"{self.output}: already complete: {what}"
        earlier = (
            f", {self.num_bytes_taken_over / 1e6:.1f} MB were there from a fetch that was interrupted"
            if self.num_bytes_taken_over
            else ""
        )
        return (
            f"{self.output}: complete: {what}; {self.num_bytes_fetched / 1e6:.1f} MB fetched and verified in "
            f"{self.seconds:.0f} s{earlier}"
        )
