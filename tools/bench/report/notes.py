"""Notes below the figures of `cache-bench`: how they were measured, and what they do not show."""

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
    """The notes that apply to this run."""
    notes = [
        "x usual and of limit: medians of the ratios inside each round. peak MB: RssAnon + RssShmem, workers "
        "included, over the interpreter with torch. eff. batch: the effective batch, as cache-bias computes it.",
        "usual loader: images are counted as the workers finish them, in steady state. ~: computed. Each of W workers "
        "makes a batch of its own, so the first batch is complete when W batches are nearly done.",
    ]
    if caches:
        smallest = min(cache.num_frames for cache in caches)
        batches = counted(-(-smallest // settings.batch_size), "batch", "batches")
        notes.append(
            "cached rows: the wait for the first batch of each epoch counts, and an epoch of the smallest cache has "
            f"only {batches}. With more --cache-frames this wait counts less."
        )
    small = [cache.name for cache in caches if cache.num_frames < settings.batch_size]
    if small:
        notes.append(
            f"{', '.join(small)}: fewer frames than a batch of {settings.batch_size}, so only the modes are measured "
            "that can still give a batch"
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
            f"rows of fewer rounds than {settings.num_rounds} (column rounds): a median of 1 or 2 rounds shows little "
            "of the spread of this machine."
        )
    if any(piece.is_cut for pieces in rounds.slices.values() for piece in pieces.values()):
        notes.append(
            "cut: the time was up before the slice was complete. The figure is that of the images until then."
        )
    return notes


def _notes_of_videos(videos: BenchVideos) -> list[str]:
    notes = []
    if videos.num_passed_over:
        notes.append(
            f"{counted(videos.num_passed_over, 'more video')} left out: --quick takes the first videos alone"
        )
    if videos.why_unservable is not None:
        notes.append(
            f"the usual loader cannot serve {len(videos.paths) - len(videos.servable)} of the videos, "
            f"for example {videos.why_unservable}"
        )
    return notes
