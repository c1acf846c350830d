"""What has to be said beside the figures of `cache-bench`, so that they are not taken for more than they are."""

from collections.abc import Sequence

from frame_cache_tools.bench.inputs import BenchCache, BenchVideos
from frame_cache_tools.bench.measure import Rounds
from frame_cache_tools.bench.settings import BenchSettings

from frame_store.shared import counted


def make_notes(
    settings: BenchSettings,
    videos: BenchVideos | None,
    caches: Sequence[BenchCache],
    rounds: Rounds,
    *,
    interrupted: bool,
) -> list[str]:
    """A sentence or two for each thing that holds in this run."""
    notes = [
        "x usual and of limit: medians of the ratios inside each round. peak MB: RssAnon + RssShmem, workers "
        "included, over the interpreter with torch. eff. batch: independent frames a batch is worth (cache-bias).",
        "usual loader: images counted as the workers finish them, in steady state. ~: computed, since each of W "
        "workers makes a batch of its own, and the first is whole when W are nearly done.",
    ]
    if caches:
        smallest = min(cache.num_frames for cache in caches)
        batches = counted(-(-smallest // settings.batch_size), "batch", "batches")
        notes.append(
            "cached rows: the wait for each epoch's first batch counts, and an epoch of the smallest cache here is "
            f"only {batches}; with more --cache-frames it weighs less."
        )
    small = [cache.name for cache in caches if cache.num_frames < settings.batch_size]
    if small:
        notes.append(
            f"of {', '.join(small)}, with fewer frames than a batch of {settings.batch_size}, "
            "only the modes are measured that give a batch of them"
        )
    if videos is None and settings.caches:
        notes.append(
            "neither the usual loader nor live rows: give --videos DIR, or no --cache, to compare with them"
        )
    if videos is not None:
        notes += _notes_of_videos(videos)
    few = [name for name, pieces in rounds.slices.items() if len(pieces) < settings.num_rounds]
    if few and not interrupted:
        notes.append(
            f"rows of fewer rounds than {settings.num_rounds} (column rounds): medians of 1 or 2 rounds say little "
            "of the spread of this machine."
        )
    if any(piece.is_cut for pieces in rounds.slices.values() for piece in pieces.values()):
        notes.append(
            "cut: the time was up before the slice was whole; the figure is of the images until then, "
            "and of nothing else."
        )
    return notes


def _notes_of_videos(videos: BenchVideos) -> list[str]:
    notes = []
    if videos.num_passed_over:
        notes.append(
            f"{counted(videos.num_passed_over, 'more video')} not looked at: the first are enough here"
        )
    if videos.why_unservable is not None:
        notes.append(
            f"the usual loader cannot serve {len(videos.paths) - len(videos.servable)} of the videos, "
            f"for example {videos.why_unservable}"
        )
    return notes
