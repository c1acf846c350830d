"""Lists of objects, page by page: a list that breaks goes on where it was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, TypeAlias

from frame_store.remote.requests.connections import Obstore, Store

_KEYS_PER_PAGE: Final = 1000
_WRITTEN_BY_NOBODY: Final = "no-such-object-f41c29"
Page: TypeAlias = Sequence[Any] | None
"""What obstore tells of some objects; None after the last page."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RemoteObject:
    """What a store tells of an object."""

    key: str
    """Relative to the URL of the client."""
    num_bytes: int
    e_tag: str | None
    """What the store calls this content of the object; None where it does not tell."""
    modified: datetime


def metas_below(path: str, asked: Callable[[Callable[[Obstore, Store], Page]], Page]) -> list[Any]:
    """What obstore tells of the objects below a path, in the order of the store. `asked` asks with retries."""
    metas: list[Any] = []
    pages: Any = None

    def next_page(obstore: Obstore, store: Store) -> Page:
        nonlocal pages
        if pages is None:  # at first, and after a failure, which ends the list of obstore
            paths = [meta["path"] for meta in metas]
            if any(one >= other for one, other in pairwise(paths)):
                metas.clear()  # this store lists in another order: where it was cannot be said by a key
            offset = metas[-1]["path"] if metas else None
            pages = obstore.list(store, prefix=path or None, offset=offset, chunk_size=_KEYS_PER_PAGE)
        stream, pages = pages, None
        page: Page = next(stream, None)
        pages = stream
        return page

    while (page := asked(next_page)) is not None:
        metas.extend(page)
    return metas


def is_told_of_everything(obstore: Obstore, store: Store, start: str) -> bool:
    """Whether an object is there that nobody wrote: obstore takes any page of HTML as an empty list."""
    try:
        obstore.head(store, f"{start}{_WRITTEN_BY_NOBODY}")
    except Exception:  # noqa: BLE001 - of whatever kind, it is no such answer
        return False
    return True
