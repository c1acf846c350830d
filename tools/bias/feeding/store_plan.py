"""The part of `cache-bias --plan --url`: what each sampler costs where the cache lies in an object store."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Final

import numpy as np
from frame_cache_tools.bias.feeding.counting import (
    Feed,
    Requests,
    StoredFrames,
    StorePrices,
    StoreSpeed,
    count_feed,
)
from frame_cache_tools.bias.section import Section
from frame_cache_tools.bias.text import short_name

from cache_builder.errors import ConfigError
from frame_store import CacheStore
from frame_store.protocol import FrameStore
from frame_store.shared import counted
from loader import SamplingSpec
from loader.sampling import BatchOptions, plan_batches

MAX_POSITIONS: Final = 1 << 18
"""Of a host and an epoch that are counted; of a longer epoch its start."""
_PRICE_FROM: Final = "AWS's list price in us-east-1, from memory: check it"


@dataclass(frozen=True, kw_only=True)
class StoreOptions:
    """What is assumed about the store and the hosts."""

    folder_bytes: int
    ranks_per_host: int
    speed: StoreSpeed
    prices: StorePrices
    is_price_given: bool


@dataclass(frozen=True, kw_only=True)
class PlannedFeed:
    """A sampler on one cache, fed from a store."""

    case_name: str
    sampler: str
    cache_bytes: int
    feed: Feed


def options_of_flags(flags: dict[str, Any]) -> StoreOptions | None:
    """The options of `--url`; None without it.

    Raises:
        ConfigError: options without `--url`, `--url` without `--plan`, or numbers that no store has.
    """
    names = (
        "folder_bytes",
        "ranks_per_host",
        "dollars_per_million_gets",
        "dollars_per_gb",
        "latency_ms",
        "mb_per_connection",
        "connections",
    )
    given = {name: flags[name] for name in names if flags[name] is not None}
    if not flags["of_url"]:
        if given:
            raise ConfigError(f"--{next(iter(given)).replace('_', '-')} belongs to --plan --url")
        return None
    if not flags["plans"]:
        raise ConfigError("--url belongs to --plan: give both")
    if flags["weights"] is not None or flags["clip_frames"] is not None or flags["frame_offsets"] is not None:
        raise ConfigError(
            "--url counts single frames without weights: leave --weights, --clip-frames and --frame-offsets out"
        )
    world_size = flags["world_size"]
    ranks = given.get("ranks_per_host", world_size)
    if world_size % ranks:
        raise ConfigError(f"--ranks-per-host {ranks} does not divide --world-size {world_size}")
    default = StoreSpeed()
    return StoreOptions(
        folder_bytes=given.get("folder_bytes", 0),
        ranks_per_host=ranks,
        speed=StoreSpeed(
            latency_seconds=given.get("latency_ms", default.latency_seconds * 1e3) / 1e3,
            bytes_per_second=given.get("mb_per_connection", default.bytes_per_second / 1e6) * 1e6,
            connections=given.get("connections", default.connections),
        ),
        prices=StorePrices(
            per_million_gets=given.get("dollars_per_million_gets", StorePrices.per_million_gets),
            per_gb=given.get("dollars_per_gb", StorePrices.per_gb),
        ),
        is_price_given="dollars_per_million_gets" in given,
    )


def planned_feeds(sections: Sequence[Section], options: StoreOptions) -> list[PlannedFeed]:
    """How each sampler of each case would be fed.

    Raises:
        ConfigError: a case is no single cache without cameras.
    """
    feeds = []
    for section in sections:
        case, table = section.table.case, section.table
        if not isinstance(case.store, CacheStore):
            raise ConfigError(f"--url is about whole caches without cameras, one by one: {case.name} is none")
        frames = stored_frames(case.store)
        for spec, report in section.rows:
            if isinstance(spec, SamplingSpec):
                batches, num_batches = batches_of_host(
                    case.store,
                    spec,
                    world_size=table.world_size,
                    ranks=options.ranks_per_host,
                    batch_size=table.batch_size,
                    remainder=table.remainder,
                )
                feed = count_feed(batches, frames, folder_bytes=options.folder_bytes, num_batches=num_batches)
                feeds.append(
                    PlannedFeed(
                        case_name=case.name,
                        sampler=short_name(spec, report.law),
                        cache_bytes=frames.num_bytes,
                        feed=feed,
                    )
                )
    return feeds


def stored_frames(store: CacheStore) -> StoredFrames:
    """Where the frames of a cache lie."""
    index = store.stored_index
    sizes = [shard.num_bytes for each in store.generations for shard in each.generation.shards]
    return StoredFrames(
        shard_of=np.repeat(np.arange(len(sizes)), store.shard_sizes),
        offset=index["byte_offset"].astype(np.int64),
        length=index["byte_length"].astype(np.int64),
        shard_bytes=np.array(sizes, np.int64),
    )


def batches_of_host(
    store: FrameStore,
    spec: SamplingSpec,
    *,
    world_size: int,
    ranks: int,
    batch_size: int,
    remainder: Any,  # noqa: ANN401 - a Remainder or None
) -> tuple[list[list[np.ndarray[Any, np.dtype[np.int64]]]], int]:
    """The batches of epoch 0 of the ranks of the first host, or their start, and how many each has in all."""
    given = {name: value for name, value in spec.to_builtins().items() if value is not None}
    batches, num_batches = [], 0
    for rank in range(ranks):
        options: BatchOptions = {
            **given,  # type: ignore[typeddict-item]
            "batch_size": batch_size,
            "seed": 0,
            "rank": rank,
            "world_size": world_size,
            "remainder": remainder,
        }
        plan = plan_batches(store, **options)
        most = max(1, MAX_POSITIONS // (ranks * plan.batch_size))
        batches.append(list(islice(plan.batches(0), most)))
        num_batches = max(num_batches, len(plan))
    return batches, num_batches


def feeds_text(feeds: Sequence[PlannedFeed], options: StoreOptions) -> str:
    """The table for a terminal."""
    speed, prices = options.speed, options.prices
    has_several = len({each.case_name for each in feeds}) > 1
    names = [f"{each.case_name}: {each.sampler}" if has_several else each.sampler for each in feeds]
    width = max(map(len, names))
    folder = f"folder_bytes of {options.folder_bytes / 1e9:.3g} GB" if options.folder_bytes else "no folder"
    lines = [
        f"from an object store, for each host of {counted(options.ranks_per_host, 'rank')}: {folder}; "
        f"{speed.latency_seconds * 1e3:g} ms, {speed.bytes_per_second / 1e6:g} MB/s a connection, "
        f"{speed.connections} connections a rank",
        f"{'':{width}} {'':7} {'first epoch':^43} {'each later epoch':^43}",
        f"{'sampler':{width}} {'fed by':7} "
        + " ".join([f"{'GETs':>12} {'GB':>9} {'$':>9} {'frames/s':>10}"] * 2),
    ]
    for name, each in zip(names, feeds, strict=True):
        mark = "~" if each.feed.is_sampled else ""
        first_mark = "<=" if each.feed.way == "ranges" and options.folder_bytes else mark
        cells = [
            _cells(each.feed, requests, options, mark=mark_of)
            for requests, mark_of in ((each.feed.first, first_mark), (each.feed.later, mark))
        ]
        lines.append(f"{name:{width}} {each.feed.way:7} {' '.join(cells)}")
    source = "" if options.is_price_given else f" ({_PRICE_FROM})"
    lines += [
        f"$: {prices.per_million_gets:g} per million GETs{source} and {prices.per_gb:g} per GB. Each host pays.",
        "frames/s: what latency, bandwidth and connections allow; decoding, the network card and the limits of the "
        "store are not in it; '-' where nothing is asked for.",
        "GETs and GB are counted on the order of an epoch, and leave out the index and the orders, which come once; "
        "<= where frames of shards that are on their way are read by ranges; ~ where the start was counted.",
    ]
    return "\n".join(lines)


def _cells(feed: Feed, requests: Requests, options: StoreOptions, *, mark: str) -> str:
    rate = options.speed.frames_per_second(feed, requests, num_processes=options.ranks_per_host)
    number = f"{mark}{requests.number:.0f}"
    rate_text = "-" if rate is None else f"{rate:.0f}"
    return f"{number:>12} {requests.num_bytes / 1e9:9.3g} {options.prices.of(requests):9.3g} {rate_text:>10}"


def feed_builtins(each: PlannedFeed, options: StoreOptions) -> dict[str, Any]:
    """One row as plain JSON values."""
    feed, epochs = each.feed, {}
    for name, requests in (("first_epoch", feed.first), ("later_epochs", feed.later)):
        epochs[name] = {
            "gets": requests.number,
            "num_bytes": requests.num_bytes,
            "dollars": options.prices.of(requests),
            "frames_per_second": options.speed.frames_per_second(
                feed, requests, num_processes=options.ranks_per_host
            ),
        }
    return {
        "cache": each.case_name,
        "sampler": each.sampler,
        "fed_by": feed.way,
        "first_epoch_is_at_most": feed.way == "ranges" and options.folder_bytes > 0,
        "is_sampled": feed.is_sampled,
        "num_frames_of_host": feed.num_frames,
        "num_bytes_of_cache": each.cache_bytes,
        "num_bytes_staying": feed.num_bytes_staying,
        "ranks_per_host": options.ranks_per_host,
        "folder_bytes": options.folder_bytes,
        "assumed": {**asdict(options.speed), **asdict(options.prices)},
        **epochs,
    }
