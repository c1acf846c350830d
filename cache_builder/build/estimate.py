"""What a dry run says: what a build would read, store and take."""

import msgspec

from cache_builder.sources import PassedOver


class SampleSize(msgspec.Struct, frozen=True, kw_only=True):
    """How much was decoded to estimate sizes and times."""

    num_units: int
    num_units_failed: int
    """Parts of videos that were to be decoded and gave an error."""
    num_videos: int
    num_frames_decoded: int
    num_frames_packed: int
    """Encoded and written into a shard of their container."""
    seconds: float


class BuildEstimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a build would give and take. Numbers are estimates, except where a field is said to be exact."""

    output: str
    output_exists: bool
    """Whether something is there already. It was not looked into."""
    num_videos: int
    """Exact. With cameras, of each camera."""
    num_cameras: int
    """0 for a source without cameras; else every number of frames is of all cameras together."""
    has_episodes: bool
    """Whether a file holds several videos."""
    problems: list[str]
    """One line for each video that cannot be stored whole, as far as the scans alone show it."""
    num_videos_unreadable: int
    """How many of them give no frame at all."""
    num_source_bytes: int
    """Size of all videos; exact."""
    num_frames_decoded: int
    num_frames_stored: int
    num_videos_uncounted: int
    """Readable videos whose packets do not prove how many frames they give. If 0, and no video is damaged in a way that
    only decoding shows, both numbers of frames are exact."""
    num_shards: int
    num_payload_bytes: int | None
    """Encoded frames alone. Exact if they are raw and the number of frames is exact; None if no frame was encoded."""
    num_cache_bytes: int | None
    num_building_bytes: int | None
    """Space while building: the cache, and as much again for the spilled frames."""
    num_free_bytes: int | None
    """Free where the cache would go, as the system states it; None for an object store, which states nothing."""
    num_unfinished_bytes: int
    """What an unfinished build of this cache holds already: the build would go on with it, or remove it."""
    num_workers: int
    seconds_scan: float
    """What the scan took just now; it was not kept, so a build scans again."""
    seconds_decode: float | None
    """None if no frame was decoded."""
    seconds_gather: float | None
    sample: SampleSize
    passed_over: PassedOver

    @classmethod
    def of_nothing(
        cls,
        *,
        output: str,
        num_cameras: int,
        num_free_bytes: int | None,
        num_unfinished_bytes: int,
        num_workers: int,
        passed_over: PassedOver,
    ) -> "BuildEstimate":
        """The estimate of an append that adds no video."""
        return cls(
            output=output,
            output_exists=True,
            num_videos=0,
            num_cameras=num_cameras,
            has_episodes=False,
            problems=[],
            num_videos_unreadable=0,
            num_source_bytes=0,
            num_frames_decoded=0,
            num_frames_stored=0,
            num_videos_uncounted=0,
            num_shards=0,
            num_payload_bytes=0,
            num_cache_bytes=0,
            num_building_bytes=0,
            num_free_bytes=num_free_bytes,
            num_unfinished_bytes=num_unfinished_bytes,
            num_workers=num_workers,
            seconds_scan=0.0,
            seconds_decode=0.0,
            seconds_gather=0.0,
            sample=SampleSize(
                num_units=0,
                num_units_failed=0,
                num_videos=0,
                num_frames_decoded=0,
                num_frames_packed=0,
                seconds=0.0,
            ),
            passed_over=passed_over,
        )

    @property
    def fits(self) -> bool | None:
        """Whether the disk has room for the build by this estimate; None if it has none, or of an object store."""
        if self.num_building_bytes is None or self.num_free_bytes is None:
            return None
        return self.num_building_bytes <= self.num_free_bytes + self.num_unfinished_bytes
