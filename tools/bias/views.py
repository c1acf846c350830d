"""The stores that the flags of `cache-bias` name: caches, views of them, or all of them as one; and weights."""

import warnings
from pathlib import Path
from typing import Any

import click

from cache_builder.errors import ConfigError
from frame_store import CacheStore, CameraGroup, open_store
from frame_store.protocol import FrameStore
from frame_store.remote import RemoteUrl
from frame_store.views import Concatenation, View, concat, select, split
from loader import SamplingError, Weights

_ONLY_OF_CACHES = ("concat", "camera", "videos_like", "split", "part", "weights")


def stores_of_flags(flags: dict[str, Any]) -> list[tuple[str, FrameStore]]:
    """Each store to describe, with a name for it. The shares of a split go to standard error.

    Raises:
        ConfigError: flags that do not fit together.
        SamplingError: a cache without frames.
        ViewError: no such videos or part.
        StoreError: a path holds no cache, or a damaged one.
    """
    opened: list[tuple[str, FrameStore]] = [(str(path), opened_cache(path)) for path in flags["caches"]]
    if flags["concat"]:
        name = " + ".join(name for name, _ in opened)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about columns that not all have: no figure looks at columns
            opened = [(name, concat([store for _, store in opened]))]
    return [_chosen(name, store, flags) for name, store in opened]


def opened_cache(path: Path | RemoteUrl) -> FrameStore:
    """A finished cache with frames, or a group for a cache of cameras.

    Raises:
        StoreError: the path holds no cache, or a damaged one.
        SamplingError: the cache holds no frame.
    """
    store: FrameStore = open_store(path)
    if len(store) == 0:
        raise SamplingError(f"{path}: the cache is empty, so there is nothing to sample")
    return store


def _chosen(name: str, store: FrameStore, flags: dict[str, Any]) -> tuple[str, FrameStore]:
    if flags["videos_like"] is not None:
        store = select(store, videos=flags["videos_like"])
        name += f", videos like {flags['videos_like']}"
    if flags["split"] is not None:
        shares = shares_of_flag(flags["split"])
        if flags["part"] not in shares:
            raise ConfigError(f"--part is one of {', '.join(shares)}, found {flags['part']!r}")
        parts = split(store, shares, seed=flags["split_seed"] or 0)
        click.echo(f"{name}:\n{parts}", err=True)
        store, name = parts[flags["part"]], f"{name}, {flags['part']} of {flags['split']}"
    return name, store


def check_views(flags: dict[str, Any]) -> None:
    """Refuse flags of views and weights that do not fit together.

    Raises:
        ConfigError: they do not.
    """
    given = [name for name in _ONLY_OF_CACHES if flags[name]]
    if given and not flags["caches"]:
        raise ConfigError(f"--{given[0].replace('_', '-')} is about the videos of caches: give CACHE")
    if (flags["split"] is None) != (flags["part"] is None):
        raise ConfigError("--split train=0.9,val=0.1 and --part train belong together")
    if flags["split_seed"] is not None and flags["split"] is None:
        raise ConfigError("--split-seed is for --split: give both, or none")


def shares_of_flag(text: str) -> dict[str, float]:
    """The shares of `--split`.

    >>> shares_of_flag("train=0.9,val=0.1")
    {'train': 0.9, 'val': 0.1}

    Raises:
        ConfigError: not names and numbers, or a name twice.
    """
    shares: dict[str, float] = {}
    for word in text.split(","):
        name, is_set, share = word.partition("=")
        try:
            number = float(share)
        except ValueError:
            number = None
        if not name or not is_set or number is None or name in shares:
            raise ConfigError(
                f"--split takes different names with shares such as train=0.9,val=0.1, found {text!r}"
            )
        shares[name] = number
    return shares


def weights_of_flag(text: str | None) -> Weights | None:
    """The weights of `--weights`: a name, the exponent tau, or a list of numbers.

    >>> weights_of_flag("video"), weights_of_flag("0.5"), weights_of_flag("3,1")
    ('video', 0.5, [3.0, 1.0])

    Raises:
        ConfigError: neither.
    """
    if text is None or text in {"video", "seconds"}:
        return text
    try:
        numbers = [float(word) for word in text.split(",")]
    except ValueError:
        raise ConfigError(
            f"--weights is video, seconds, a number tau for n^tau, or a number for each video or cache with commas "
            f"between them, found {text!r}"
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


def is_one_cache(store: FrameStore | None) -> bool:
    """Whether a store is all of one cache, as its shards on disk are."""
    return isinstance(store, CacheStore)


def frames_per_gop(store: FrameStore) -> list[float]:
    """Packets over keyframes of each video of a cache, a view or a concatenation; of cameras, those of the first."""
    if isinstance(store, View):
        of_base = frames_per_gop(store.base)
        return [of_base[video_id] for video_id in store.video_ids.tolist()]
    if isinstance(store, CameraGroup):
        return frames_per_gop(store.leader)
    if isinstance(store, Concatenation):
        return [length for part in store.parts for length in frames_per_gop(part)]
    assert isinstance(store, CacheStore)  # the command opens nothing else
    return [
        (video.num_packets or 1) / (video.facts.get("num_keyframes") or 1) for video in store.video_entries
    ]
