"""Files that have got further episodes since a cache was made: whether the earlier ones still have the same frames."""

from collections.abc import Sequence

import numpy as np

from cache_builder.findings import DecodedVideo, LeftOutVideo
from cache_builder.growing.live_cache import LiveCache
from cache_builder.inputs import Inputs, Settled
from frame_store.reader import CacheStore
from frame_store.shared import counted


def differing_episodes(cache: LiveCache, inputs: Inputs, settled: Sequence[Settled]) -> dict[str, str]:
    """Name of each episode whose frames are no longer those of the cache -> what was recorded and what was found.

    The frames were decoded and encoded again; their numbers and the CRC-32C of their payloads are compared with the
    index.

    Args:
        cache: a cache that has the episodes, live.
        inputs: the episodes alone.
        settled: a row for each of `inputs.videos`.
    """
    found: dict[str, str] = {}
    for number, (camera, tree) in enumerate(zip(cache.cameras, cache.trees, strict=True)):
        stores: dict[int, CacheStore] = {}
        try:
            for row in inputs.rows_of(camera):
                name, episode = inputs.videos[row].relative_path, settled[row]
                video_id = cache.live[name]
                if cache.tables[number][video_id].verdict == "unreadable":
                    continue
                which = next(
                    place
                    for place, each in enumerate(tree.generations)
                    if each.entry.first_video <= video_id < each.entry.end_video
                )
                if which not in stores:
                    stores[which] = CacheStore.of_tree(tree.alone(which))
                problem = _difference(
                    stores[which], video_id - tree.generations[which].entry.first_video, episode
                )
                if problem is not None:
                    where = "" if camera is None else f"camera {camera}: "
                    found.setdefault(name, where + problem)
        finally:
            for store in stores.values():
                store.close()
    return found


def _difference(store: CacheStore, video_id: int, episode: Settled) -> str | None:
    if isinstance(episode, LeftOutVideo):
        return episode.reason
    assert not isinstance(episode, DecodedVideo)  # the videos are episodes
    recorded = store.rows_of(store.source_order.ids_of_video(video_id))
    decoded = episode.sources(0)
    if len(recorded) != len(decoded):
        return f"{counted(len(recorded), 'frame')} recorded, {len(decoded)} found"
    is_other = (recorded["frame_in_video"] != decoded["frame_in_video"]) | (
        recorded["crc32c"] != decoded["crc32c"]
    )
    if not is_other.any():
        return None
    frame = int(recorded["frame_in_video"][np.argmax(is_other)])
    return f"frame {frame} has another picture than in the cache"
