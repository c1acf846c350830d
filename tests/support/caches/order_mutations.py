"""Content orders of caches: what may be wrong with them, and every way to read them."""

import hashlib
import json

import numpy as np

from frame_store.errors import StoreError
from frame_store.names import is_content_folder
from frame_store.views import concat, content_ids, content_ids_at, content_label, select


def order_file_of(cache):
    """The file of a content order; of several, the first."""
    return min(cache.glob("content-*/content_order.npy"))


def write_order(cache, ids):
    """Put `ids` into the content order of a cache, whose hash and folder are then wrong."""
    np.save(order_file_of(cache), np.asarray(ids, np.uint32))


def resign_order(cache, sign):
    """Put the hash of the content order as it is into the newest manifest, with a right digest and folder."""
    try:
        path = max(cache.glob("manifest-[0-9]*.json"))
        manifest = json.loads(path.read_bytes())
        (entry,) = manifest["content_orders"]
        if not is_content_folder(entry["folder"]):
            return
        content = (cache / entry["folder"] / "content_order.npy").read_bytes()
        entry["num_bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        folder = cache / entry["folder"]
        entry["folder"] = f"content-{entry['sha256'][:16]}"
        folder.rename(cache / entry["folder"])
        manifest.pop("digest", None)
        path.write_bytes(sign(manifest))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return  # what was mutated is one of these files


def edit_order(cache, random):
    """An id of a content order."""
    files = sorted(cache.glob("content-*/*.npy"))
    if not files:
        return "nothing"
    try:
        ids = np.load(files[0])
        at = random.randrange(ids.size)
        ids[at] = random.choice((0, len(ids) - 1, len(ids), 2**31, 2**32 - 1))
    except (ValueError, EOFError, OSError, OverflowError):
        return "nothing"
    np.save(files[0], ids)
    return f"edited id {at} of the content order"


def read_order(store):
    """Read the content order of a store in every way; yields what was read and the documented error."""
    assert (content_label(store) is None) == (store.content_digest is None)
    for name, made in (
        ("itself", lambda: store),
        ("view", lambda: select(store, ids=np.arange(len(store)))),
        ("half", lambda: select(store, ids=np.arange(0, len(store), 2))),
        ("twice", lambda: concat([store, store])),
    ):
        try:
            one = made()
            if content_ids(one) is None:
                continue
            ids = content_ids_at(one, np.arange(len(one)))
            assert ((ids >= 0) & (ids < len(one))).all()
            assert one is store or (np.sort(ids) == np.arange(len(one))).all()
        except StoreError as error:
            yield f"content order of {name}", str(error)
