"""Golden caches with columns, in a second and third version of the manifest, and what may be wrong with these parts."""

import hashlib
import json
import re
import shutil

import numpy as np

from cache_builder import add_columns
from frame_store.errors import ColumnError, StoreError
from frame_store.names import is_columns_folder
from tests.support.caches.tree import decoded_frames_of

VIDEO_TABLE = {"video": ["first", "second ü"], "task": ["push", "open"], "robot": [3, 4]}
"""A table with a row for each video of a golden cache."""


def frame_table(cache):
    """A table with a row for every decoded frame of the first video of a golden cache."""
    places = [(path, frame) for path, frame in decoded_frames_of(cache) if path == "first.mp4"]
    return {
        "video": [path for path, _ in places],
        "frame": [frame for _, frame in places],
        "action": np.arange(len(places) * 2, dtype=np.float32).reshape(-1, 2),
        "grasped": np.arange(len(places)) % 3 == 0,
        "note": [f"note {frame % 4}" for _, frame in places],
    }


def write_with_columns(cache, path):
    """A copy of a golden cache with texts, numbers and booleans per video and per frame, some of them missing."""
    shutil.copytree(cache, path)
    add_columns(path, VIDEO_TABLE)
    add_columns(path, frame_table(path), missing="mask")
    path.with_name(f"{path.name}.lock").unlink()


def newest_manifest(cache):
    return max(cache.glob("manifest-[0-9]*.json"))


def columns_folder_of(cache):
    """The folder of columns that the newest manifest names."""
    return cache / json.loads(newest_manifest(cache).read_bytes())["columns"][0]["folder"]


def resign_columns(cache, sign):
    """Put the hashes of the files of columns as they are into `columns.json`, and its hash into the newest manifest."""
    try:
        manifest = json.loads(newest_manifest(cache).read_bytes())
        entry = manifest["columns"][0]
        if not is_columns_folder(entry["folder"]):
            return
        folder = cache / entry["folder"]
        record = json.loads((folder / "columns.json").read_bytes())
        record.pop("digest", None)
        for column in record["columns"]:
            for file in (column["values"], column["codes"], column["valid"]):
                if file is not None and "/" not in file["name"]:
                    content = (folder / file["name"]).read_bytes()
                    file["num_bytes"], file["sha256"] = len(content), hashlib.sha256(content).hexdigest()
        content = sign(record)
        (folder / "columns.json").write_bytes(content)
        entry["digest"] = hashlib.sha256(content).hexdigest()
        entry["folder"] = f"columns-{entry['digest'][:16]}"
        folder.rename(cache / entry["folder"])
        manifest.pop("digest", None)
        newest_manifest(cache).write_bytes(sign(manifest))
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return  # what was mutated is one of these files


def edit_column(cache, random):
    """A number, a code or a mark of a column."""
    files = sorted(cache.glob("columns-*/*.npy"))
    if not files:
        return "nothing"
    file = random.choice(files)
    try:
        values = np.load(file)
        at = random.randrange(values.size)
    except (ValueError, EOFError, OSError):
        return "nothing"
    odd = random.choice((b"\xff", b"\x7f", b"\x02", b"\x00", b"\x80"))
    raw = bytearray(values.tobytes())
    raw[at * values.itemsize : (at + 1) * values.itemsize] = odd * values.itemsize
    np.save(file, np.frombuffer(raw, values.dtype).reshape(values.shape))
    return f"put {odd!r} into number {at} of {file.name}"


def edit_versions(cache, random):
    """Manifests that are missing, copied to another version, or called like none."""
    files = sorted(cache.glob("manifest-*.json"))
    if not files:
        return "nothing"
    file = random.choice(files)
    name = random.choice(
        (
            "manifest-0000.json",
            f"manifest-{len(files):04d}.json",
            "manifest-0007.json",
            "manifest-00001.json",
            "manifest-999999999.json",
            "manifest-99999999999999999999.json",
            "manifest-0001.json.json",
            "manifest-\x1b[2J.json",
        )
    )
    if random.random() < 0.3:
        file.unlink()
        return f"removed {file.name}"
    content = file.read_bytes()
    version = re.fullmatch(r"manifest-([0-9]+)\.json", name)
    if version and random.random() < 0.5:
        content = re.sub(rb'"version": [0-9]+', b'"version": %d' % int(version.group(1)), content)
        body = content.partition(b',\n "digest"')[0]
        content = body + b',\n "digest": "' + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n'
    (cache / name).write_bytes(content)
    return f"copied {file.name} to {name!r}"


def read_columns(store):
    """Gather all values of all columns in every way; yields what was read and the documented error."""
    try:
        columns = store.columns
    except (StoreError, ColumnError) as error:
        yield "columns", str(error)
        return
    for name, column in columns.items():
        try:
            codes = column.gather(np.arange(len(column)))
            assert codes.shape == (len(column), *column.shape)
            valid = column.gather_valid(np.arange(len(column)))
            assert valid.shape == (len(column),)
            if column.strings is not None:
                [column.text_of(code) for code in codes.tolist()]
        except StoreError as error:
            yield f"column {name}", str(error)
