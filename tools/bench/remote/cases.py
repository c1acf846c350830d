"""The rows of `cache-bench --url`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from frame_cache_tools.bench.cases import CachedFrames, LoaderSource
from frame_cache_tools.bench.inputs import BenchCache, look_at_cache
from frame_cache_tools.bench.measure import MORE, MOST, BenchCase, SliceRule
from frame_cache_tools.bench.remote.sources import BareRanges, BareShards, FramesAtUrl, requests_of
from frame_cache_tools.bench.settings import BenchSettings

from cache_builder.errors import ConfigError
from frame_store import CacheStore, open_store
from frame_store.remote import RemoteUrl
from loader.sampling import SamplingSpec

RANGES_AT_ONCE = 64
PARTS_AT_ONCE = 16
BARE_RANGES = f"bare ranged GETs of a frame, {RANGES_AT_ONCE} at once"
BARE_SHARDS = f"bare whole shards in parts, {PARTS_AT_ONCE} at once"
_FRAMES_ASKED = 4096
_LEAST_SHARDS_IN_FOLDER = 24
_BLOCK = 4
_WARM_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class PreparedUrl:
    """The caches and the rows."""

    caches: tuple[BenchCache, ...]
    cases: tuple[BenchCase, ...]
    notes: tuple[str, ...]


def prepare_url(settings: BenchSettings, url: RemoteUrl, *, scratch: Path) -> PreparedUrl:
    """Look at the cache at the URL and at local ones.

    Raises:
        ConfigError: it has cameras, or forgotten videos.
        StoreError: there is no cache, or it cannot be read.
    """
    mirror = scratch / "mirror"
    mirror.mkdir(exist_ok=True)
    store = open_store(url, folder=mirror)
    if not isinstance(store, CacheStore):
        raise ConfigError(f"--url measures a cache without cameras and forgotten videos: {url.text} has some")
    frames, shards = requests_of(url, mirror, most=_FRAMES_ASKED)
    num_bytes = sum(shard.num_bytes for shard in shards)
    largest = max(shard.num_bytes for shard in shards)
    folder_bytes = settings.folder_bytes or max(num_bytes // 2, _LEAST_SHARDS_IN_FOLDER * largest)
    here = BenchCache(
        name="URL",
        path=Path(url.text),
        is_raw=store.common.encoding.name == "raw",
        num_frames=len(store),
        num_bytes=num_bytes,
        build_seconds=None,
    )
    store.close()
    block = SamplingSpec(sampling="block", shards_per_block=min(_BLOCK, len(shards)))
    rule = SliceRule(seconds=settings.seconds, warm_seconds=_WARM_SECONDS)
    samplings = (
        (SamplingSpec(), "permutation", "by ranges", None, BARE_RANGES),
        (block, f"block k={block.shards_per_block}", "from a folder", folder_bytes, BARE_SHARDS),
    )
    cases = [
        BenchCase(
            name=f"URL, {name} {how}",
            group="object store",
            source=LoaderSource(
                store=FramesAtUrl(url=url, mirror=mirror, folder_bytes=bound),
                sampling=spec,
                batch_size=settings.batch_size,
            ),
            rule=rule,
            limit=limit,
            cache="URL",
            sampling=str(spec),
            priority=MOST,
        )
        for spec, name, how, bound, limit in samplings
    ]
    local = [look_at_cache(path) for path in settings.caches]
    for cache in local:
        cases += [
            BenchCase(
                name=f"{cache.name}, {name}",
                group="cached",
                source=LoaderSource(
                    store=CachedFrames(path=cache.path), sampling=spec, batch_size=settings.batch_size
                ),
                rule=rule,
                cache=cache.name,
                sampling=str(spec),
                priority=MORE,
            )
            for spec, name, *_ in samplings
        ]
    bare_ranges = BareRanges(url=url, requests=tuple(frames), at_once=RANGES_AT_ONCE)
    bare_shards = BareShards(
        url=url, shards=tuple(shards), bytes_per_frame=num_bytes / here.num_frames, at_once=PARTS_AT_ONCE
    )
    cases += [
        BenchCase(name=BARE_RANGES, group="limits", source=bare_ranges, rule=rule, priority=MOST),
        BenchCase(name=BARE_SHARDS, group="limits", source=bare_shards, rule=rule, priority=MOST),
    ]
    return PreparedUrl(
        caches=(here, *local), cases=tuple(cases), notes=_notes(url, folder_bytes, num_bytes, local)
    )


def _notes(url: RemoteUrl, folder_bytes: int, num_bytes: int, local: Sequence[BenchCache]) -> tuple[str, ...]:
    notes = [
        f"{url.text}: each row and round is a process of its own. The folder is empty at first, and has at most "
        f"{folder_bytes / 1e6:.1f} MB; the shards have {num_bytes / 1e6:.1f} MB.",
        "limits: the same library without a loader. Ranged GETs count as a frame each. Whole shards count as the "
        "frames in them, and are neither checked nor decoded; the first second is not counted.",
    ]
    if not local:
        notes.append("no local copy was measured: give --cache DIR, such as of cache-fetch")
    return tuple(notes)
