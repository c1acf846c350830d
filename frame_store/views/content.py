"""Content order of any store: that of a cache, restricted to a view, or joined over the parts of a concatenation."""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from frame_store.errors import StoreDamagedError
from frame_store.protocol import FrameStore
from frame_store.source_order import Int64s
from frame_store.views.selection import NOT_SELECTED, Selection

_IDS_AT_ONCE: Final = 1 << 20
_LABEL_DIGITS: Final = 16


def content_ids(store: FrameStore) -> npt.NDArray[Any] | None:
    """Frame ids of `store` in content order, whole numbers, shape (N,); None where nothing is known of it.

    A cache has the order that `cache-build --content-order` or `cache-bias --write-order` has written; a group of
    cameras that of its first camera. A view keeps the order of its base among its own frames, and a concatenation has
    the orders of its parts one after another, if all have one: 4 bytes a frame (8 where the base has 2^32 frames),
    computed once. Live stores have none.

    The ids of a cache come from a file, and are not checked here: `content_ids_at` checks those that it gives.

    Raises:
        StoreDamagedError: the file is missing or was cut; for views and concatenations, also where it does not list
            every frame once.
        OSError: no more files can be opened.
    """
    ids: npt.NDArray[Any] | None = getattr(store, "content_order", None)
    return ids


def content_ids_at(store: FrameStore, places: Int64s) -> Int64s:
    """Frame ids at places in the content order of `store`, which has one: int64 of the same shape.

    Raises:
        StoreDamagedError: as `content_ids`, and where an id is not below N.
        OSError: no more files can be opened.
    """
    order = content_ids(store)
    assert order is not None
    ids: Int64s = _checked(order[places], store).astype(np.int64)
    return ids


def content_label(store: FrameStore) -> str | None:
    """16 hex digits that identify the content order of `store`, such as for the state of a loader; None without one.

    Equal labels mean equal orders. The label of a view is a hash of that of its base and of its ids.
    """
    digest: str | None = getattr(store, "content_digest", None)
    return None if digest is None else digest[:_LABEL_DIGITS]


def order_of_view(base: FrameStore, selection: Selection) -> npt.NDArray[Any] | None:
    """The ids that a view gives to its frames, in the content order of `base`. Raises as `content_ids`."""
    order = content_ids(base)
    if order is None:
        return None
    ids = np.empty(len(selection), np.uint32 if len(selection) < 1 << 32 else np.int64)
    num_held = 0
    for first in range(0, len(order), _IDS_AT_ONCE):
        some = _checked(order[first : first + _IDS_AT_ONCE], base).astype(np.int64)
        own = selection.positions_of(some)
        own = own[own != NOT_SELECTED]
        if num_held + len(own) > len(ids):
            raise _not_once(base)
        ids[num_held : num_held + len(own)] = own
        num_held += len(own)
    return _read_only(_each_once(ids, num_held, base))


def order_of_parts(parts: Sequence[FrameStore], first_ids: Int64s) -> npt.NDArray[Any] | None:
    """The content orders of all parts, one after another; None if one has none. Raises as `content_ids`.

    `first_ids` has the frames before each part, shape (P + 1,).
    """
    orders = [content_ids(part) for part in parts]
    num_frames = int(first_ids[-1])
    ids: npt.NDArray[Any] = np.empty(num_frames, np.uint32 if num_frames < 1 << 32 else np.int64)
    for part, order, first, end in zip(parts, orders, first_ids[:-1], first_ids[1:], strict=True):
        if order is None:
            return None
        own = _each_once(_checked(order, part), len(order), part)
        np.add(own, first, out=ids[first:end], casting="unsafe")
    return _read_only(ids)


def digest_of_orders(kind: str, digests: Sequence[str | None], *identity: str) -> str | None:
    """SHA-256, hex, of an order that is made of others, of which the `digests` are known; None if one is None."""
    if any(digest is None for digest in digests):
        return None
    return hashlib.sha256(" ".join([kind, *map(str, digests), *identity]).encode()).hexdigest()


def _checked(ids: npt.NDArray[Any], store: FrameStore) -> npt.NDArray[Any]:
    """The ids, which are those of frames of the store."""
    if ids.size and int(ids.max()) >= len(store):
        raise StoreDamagedError(
            f"{store!r}: its content order has frame id {ids.max()}, outside [0, {len(store)}); run cache-verify"
        )
    return ids


def _each_once(ids: npt.NDArray[Any], num_held: int, store: FrameStore) -> npt.NDArray[Any]:
    """The ids, which are 0 to N - 1 in some order; the first `num_held` are known."""
    is_there = np.zeros(len(ids), np.bool_)
    is_there[ids[:num_held]] = True
    if not is_there.all():
        raise _not_once(store)
    return ids


def _not_once(store: FrameStore) -> StoreDamagedError:
    return StoreDamagedError(f"{store!r}: its content order does not have every frame once; run cache-verify")


def _read_only(ids: npt.NDArray[Any]) -> npt.NDArray[Any]:
    ids.flags.writeable = False
    return ids
