"""Caches with something wrong, by a seed, and the errors that reading them may give."""

import hashlib
import json
import random
import re
import shutil
import warnings
from collections.abc import Iterator

import numpy as np

import frame_store
from frame_store.errors import FrameIdError, StoreError
from frame_store.index import INDEX_DTYPE
from frame_store.source_files import SOURCE_FILE_NAMES
from frame_store.verify import verify_store
from tests.support.caches.golden_stores import STRIDED, write_golden_stores
from tests.support.caches.tree import generation_folder
from tests.support.content_orders.order_mutations import edit_order, read_order, resign_order
from tests.support.mutations.of_columns import (
    edit_column,
    edit_versions,
    read_columns,
    resign_columns,
    write_with_columns,
)

ODD_NUMBERS = (
    0,
    1,
    -1,
    2,
    3,
    7,
    255,
    2**31,
    2**32 - 1,
    2**32,
    2**40,
    2**63 - 1,
    2**63,
    2**64,
    10**30,
    -(2**63),
)
ODD_VALUES = (
    *ODD_NUMBERS,
    None,
    True,
    "",
    "../x",
    "/etc/passwd",
    "x" * 300,
    [],
    [[[[1]]]],
    {},
    1.5,
    1e308,
    "\x1b[2J",
    "M8[s/0]",
    "|O",
    "gen-../..",
    "columns-0123456789abcdef",
    "content-0123456789abcdef",
)

GOLDEN_WITH_COLUMNS = [f"{name}-columns" for name in ("wds-jpeg", STRIDED, "zarr-raw")]


def write_golden_caches(folder):
    write_golden_stores(folder)
    for name in GOLDEN_WITH_COLUMNS:
        write_with_columns(folder / name.removesuffix("-columns"), folder / name)
    return sorted(folder.iterdir())


def files_of(cache):
    return sorted(path for path in cache.rglob("*") if path.is_file() and not path.is_symlink())


def sign(document):
    """A manifest with a right digest, as an attacker would write it."""
    body = json.dumps(document, indent=1).removesuffix("\n}").encode()
    return body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'


def resign(cache):
    """Put the sizes and hashes of the files as they are into the JSON files that record them, with right digests."""
    try:
        folder = generation_folder(cache)
        document = json.loads((folder / "generation.json").read_bytes())
        document.pop("digest", None)
        for entry in [*document["shards"], *document["files"]]:
            content = (folder / entry["name"]).read_bytes()
            entry["num_bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        (folder / "generation.json").write_bytes(sign(document))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        pass  # what was mutated is `generation.json`
    resign_manifest(cache)
    resign_columns(cache, sign)
    resign_order(cache, sign)


def resign_manifest(cache):
    """Put the hash of `generation.json` as it is into the manifests, with right digests."""
    for path in cache.glob("manifest-*.json"):
        try:
            document = json.loads(path.read_bytes())
            document.pop("digest", None)
            content = (generation_folder(cache) / "generation.json").read_bytes()
            document["generations"][0]["digest"] = hashlib.sha256(content).hexdigest()
        except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
            continue  # what was mutated is the manifest
        path.write_bytes(sign(document))


class Mutator:
    """Spoils a copy of a cache in one way or a few. Equal seeds give equal results."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def spoil(self, cache):
        """Spoil `cache`; returns what was done, in words."""
        ways = [
            self.flip,
            self.truncate,
            self.splice,
            self.swap,
            self.edit_json,
            self.edit_index,
            self.edit_header,
        ]
        ways += [self.link, self.edit_json, self.edit_index, self.overwrite_numbers]
        ways += [self.edit_source_order]
        if any(cache.glob("columns-*")):
            ways += 3 * [self.edit_column, self.edit_versions]
        if any(cache.glob("content-*")):
            ways += 3 * [lambda cache: edit_order(cache, self.random)]
        done = [self.random.choice(ways)(cache) for _ in range(self.random.choice((1, 1, 1, 2)))]
        if self.random.random() < 0.7:  # an attacker makes the hashes right
            resign(cache)
            done.append("signed again")
        return "; ".join(done)

    def _pick(self, cache, pattern=""):
        files = files_of(cache)
        return self.random.choice([file for file in files if re.search(pattern, file.as_posix())] or files)

    def flip(self, cache):
        file = self._pick(cache)
        content = bytearray(file.read_bytes())
        for _ in range(self.random.choice((1, 1, 8))):
            if content:
                content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        file.write_bytes(content)
        return f"flipped bits of {file.name}"

    def truncate(self, cache):
        file = self._pick(cache)
        content = file.read_bytes()
        at = self.random.randrange(len(content) + 1)
        file.write_bytes(content[:at] if self.random.random() < 0.7 else content + content[:at])
        return f"cut or lengthened {file.name} at {at}"

    def splice(self, cache):
        file, other = self._pick(cache), self._pick(cache)
        content, strange = bytearray(file.read_bytes()), other.read_bytes()
        at, length = self.random.randrange(len(content) + 1), self.random.randrange(1, 600)
        start = self.random.randrange(len(strange) + 1)
        content[at : at + self.random.choice((0, length))] = strange[start : start + length]
        file.write_bytes(content)
        return f"spliced {other.name} into {file.name}"

    def swap(self, cache):
        file, other = self._pick(cache), self._pick(cache)
        one, two = file.read_bytes(), other.read_bytes()
        file.write_bytes(two)
        other.write_bytes(one)
        return f"swapped {file.name} and {other.name}"

    def edit_json(self, cache):
        file = self._pick(cache, r"\.jsonl?$")
        before = b""
        try:
            content = file.read_bytes()
            if file.suffix == ".jsonl":  # the last record
                before, _, content = content.rstrip(b"\n").rpartition(b"\n")
            document = json.loads(content)
            leaves = list(_leaves(document))
        except ValueError:
            leaves = []
        if not leaves:
            return "nothing"
        holder, key = self.random.choice(leaves)
        value = self.random.choice(ODD_VALUES)
        if self.random.random() < 0.1:
            holder["surprise" if isinstance(holder, dict) else 0] = value
        elif isinstance(holder[key], int) and self.random.random() < 0.5:
            value = holder[key] = holder[key] + self.random.choice((-1, 1, 1000))
        else:
            holder[key] = value
        is_signed = file.name.startswith(("manifest-", "generation.json", "columns.json"))
        if is_signed and isinstance(document, dict):
            document.pop("digest", None)
        if file.suffix == ".jsonl":
            file.write_bytes(before + b"\n" * bool(before) + json.dumps(document).encode() + b"\n")
        else:
            file.write_bytes(sign(document) if is_signed else json.dumps(document).encode())
        return f"set {key!r} of {file.name} to {value!r:.40}"

    def edit_index(self, cache):
        file = next(cache.rglob("index.npy"), cache / "index.npy")
        content = bytearray(file.read_bytes() if file.is_file() else b"")
        first = 10 + int.from_bytes(content[8:10], "little")
        if len(content) < first + INDEX_DTYPE.itemsize:
            return "nothing"
        rows = np.frombuffer(content, INDEX_DTYPE, (len(content) - first) // INDEX_DTYPE.itemsize, first)
        field = self.random.choice(INDEX_DTYPE.names)
        row, other = self.random.randrange(len(rows)), self.random.randrange(len(rows))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if field == "pts_seconds":
                rows[field][row] = self.random.choice((-1.0, 1e308, float("nan"), float("inf")))
            elif self.random.random() < 0.3:
                rows[row] = rows[other]
            elif self.random.random() < 0.5:
                rows[field][row] = rows[field][other]
            else:
                limit = np.iinfo(INDEX_DTYPE[field]).max
                rows[field][row] = self.random.choice(
                    [number for number in ODD_NUMBERS if 0 <= number <= limit]
                )
        file.write_bytes(content)
        return f"edited {field} of row {row} of the index"

    def edit_source_order(self, cache):
        """A number of `first_row.npy` or of another file of source order."""
        file = self._pick(cache, rf"({'|'.join(SOURCE_FILE_NAMES)})$")
        try:
            numbers = np.load(file)
        except (ValueError, EOFError, OSError):
            return "nothing"
        if file.name not in SOURCE_FILE_NAMES or not numbers.size:
            return "nothing"
        at = self.random.randrange(numbers.size)
        if numbers.dtype.kind == "f":
            numbers[at] = self.random.choice((-1.0, 1e308, float("nan"), float("inf")))
        elif numbers.dtype.kind == "u":
            limit = np.iinfo(numbers.dtype).max
            odd = [number for number in ODD_NUMBERS if 0 <= number <= limit]
            numbers[at] = self.random.choice((*odd, numbers[self.random.randrange(numbers.size)]))
        np.save(file, numbers)
        return f"edited number {at} of {file.name}"

    def edit_column(self, cache):
        return edit_column(cache, self.random)

    def edit_versions(self, cache):
        return edit_versions(cache, self.random)

    def edit_header(self, cache):
        """`.npy` headers, of the index and in tar shards, and the numbers in tar headers."""
        file = self._pick(cache, r"(npy|tar)$")
        content = file.read_bytes()
        old, new = self.random.choice(
            (
                (rb"\(16, 24, 3\)", b"(16, 99999999, 3)"),
                (rb"\(10,\)", b"(10000000000000,)"),
                (rb"\(10,\)", b"(-1,)"),
                (rb"\|u1|<u4|<u8|<i4|<f4|\|b1", b"|O"),
                (rb"'(\|u1|<u4|<u8|<i4|<f4|\|b1)'", b"'M8[s/0]'"),
                (rb"False", b"True "),
                (rb"\x93NUMPY\x01", b"\x93NUMPY\x03"),
                (rb"\{'descr'", b"{" + b"[" * 60 + b"'descr'"),
                (rb"0000000[0-7]{4}\0", b"77777777777\0"),
                (rb"ustar\x0000", b"ustar  \0"),
            )
        )
        places = list(re.finditer(old, content))
        if not places:
            return "nothing"
        place = self.random.choice(places)
        width = place.end() - place.start()
        if self.random.random() < 0.5:  # the same length where it fits, so that offsets stay right
            new = new[:width].ljust(width)
        file.write_bytes(content[: place.start()] + new + content[place.end() :])
        return f"edited a header of {file.name} at {place.start()}"

    def overwrite_numbers(self, cache):
        """Eight bytes near the end of a file, where Zarr shards keep their index."""
        file = self._pick(cache)
        content = bytearray(file.read_bytes())
        at = max(0, len(content) - self.random.randrange(1, 90))
        content[at : at + 8] = (self.random.choice(ODD_NUMBERS) % 2**64).to_bytes(8, "little")
        file.write_bytes(content)
        return f"overwrote 8 bytes of {file.name} at {at}"

    def link(self, cache):
        """A symbolic link in the place of a file or folder, to the same content outside."""
        entries = sorted(path for path in cache.rglob("*") if not path.is_symlink())
        path = self.random.choice(entries)
        outside = cache.with_name(cache.name + ".outside") / path.name
        shutil.rmtree(outside.parent, ignore_errors=True)
        outside.parent.mkdir()
        path.rename(outside)
        path.symlink_to(outside)
        return f"made {path.name} a link"


def _leaves(value) -> Iterator[tuple[object, object]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from _leaves(inner)


def read_everything(cache, *, with_loader):
    """Open, read and verify in every way; returns the documented errors by the call that raised them.

    Any other exception leaves this function: that is the find.
    """
    errors = {}
    for reads in ("map", "pread"):
        for verify_reads in (False, True):
            way = f"{reads} {'verified' if verify_reads else 'unverified'}"
            try:
                store = frame_store.open_store(cache, reads=reads, verify_reads=verify_reads)
            except StoreError as error:
                errors[way] = str(error)
            else:
                errors |= {f"{way} {what}": error for what, error in _read(store)}
                if with_loader:
                    errors |= {f"{way} {what}": error for what, error in _load(store)}
    if with_loader:
        errors |= dict(_load_with_webdataset(cache))
    try:
        problems = verify_store(cache).problems
    except StoreError as error:
        problems = [str(error)]
    if problems:
        errors["verify"] = "\n".join(problems)
    return errors


def _read(store):
    frame_ids = list(range(min(len(store), 10)))
    for ids in (frame_ids, *([frame_id] for frame_id in frame_ids)):
        for read in (store.read_frames, store.read_encoded, store.prefetch):
            try:
                read(ids)
            except (StoreError, FrameIdError) as error:
                yield read.__name__, str(error)

    for video_id in range(min(store.common.num_videos, 3)):
        try:
            ids = store.ids_of_video(video_id)
            assert ((ids >= 0) & (ids < len(store))).all()
            order, video_ids = store.source_order, np.full(len(ids), video_id)
            places = np.arange(*order.first_stored[video_id : video_id + 2])
            frames = order.frames_at(places, video_ids)
            order.source_pts[order.rows_of(video_ids, frames)]
        except StoreError as error:
            yield f"ids of video {video_id}", str(error)
    yield from read_columns(store)
    yield from read_order(store)
    try:
        list(store.videos)
    except StoreError as error:
        yield "videos", str(error)


def _load(store):
    from loader import FrameLoader
    from loader.errors import SamplingError

    for sampling, options in (("permutation", {}), ("sequential", {"clip_frames": 2})):
        try:
            for _ in FrameLoader(
                store, batch_size=2, sampling=sampling, seed=0, remainder="uneven", **options
            ):
                pass
        except (StoreError, SamplingError) as error:
            yield sampling, str(error)


def _load_with_webdataset(cache):
    from loader import webdataset_batches
    from loader.errors import SamplingError

    try:
        for _ in webdataset_batches(cache, batch_size=3):
            pass
    except (StoreError, SamplingError) as error:
        yield "webdataset", str(error)
