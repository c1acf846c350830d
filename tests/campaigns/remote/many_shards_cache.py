"""A cache of 10^5 shards and 10^8 frames that needs no room: its metadata are true files, its shards are made up.

Frames are raw, 2x2, and spell their own id three times, so that any byte of any shard follows from the ids. In a tar
shard each frame takes 2,048 bytes. `serve` answers S3-style GET and HEAD, with ranges, on loopback.
"""

import hashlib
import json
import multiprocessing
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from frame_store.codec import crc32c
from frame_store.containers.shards import FrameRecord
from frame_store.containers.tar import TarShardWriter
from frame_store.manifest import Encoding, Generation, ShardEntry, describe_files
from frame_store.names import INDEX_DTYPE, INDEX_NAME, PIXEL_DTYPE, generation_folder, tar_shard_name
from frame_store.source_files import write_source_order
from frame_store.source_order import SourceOrder
from tests.support.caches.golden_stores import made_up_video
from tests.support.caches.tree import write_tree, write_videos

BUCKET, CACHE = "bkt", "cache"
FRAME_SHAPE = (2, 2, 3)
FRAMES_OF_A_VIDEO = 1000
FRAME_BYTES = 2048
PAYLOAD_START = 640
"""Behind the tar header and the .npy header."""
_SETTINGS = "made_up.json"
_STEP = 1 << 20
_LAST_MODIFIED = "Sun, 29 Nov 2026 00:00:00 GMT"


class MadeUp:
    """The frames: `num_shards` shards of `frames_per_shard`, of videos of 1,000 frames."""

    def __init__(self, num_shards: int, frames_per_shard: int) -> None:
        self.num_shards, self.frames_per_shard = num_shards, frames_per_shard
        self.num_frames = num_shards * frames_per_shard
        self.num_videos = -(-self.num_frames // FRAMES_OF_A_VIDEO)
        # Ids and places: id -> (id * factor + 1) mod N. Products stay below 2^63 for 3 * 10^9 frames.
        self._factor = int(self.num_frames * 0.6180339887) | 1
        while np.gcd(self._factor, self.num_frames) != 1:
            self._factor += 2
        self._inverse = pow(self._factor, -1, self.num_frames)

    @property
    def shard_bytes(self) -> int:
        end = self.frames_per_shard * FRAME_BYTES + 1024
        return end + -end % 10240

    def places_of(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (ids * self._factor + 1) % self.num_frames

    def ids_at(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return (places - 1) % self.num_frames * self._inverse % self.num_frames

    def records(self, ids: npt.NDArray[np.int64]) -> Iterator[FrameRecord]:
        videos, frames = np.divmod(self.places_of(ids), FRAMES_OF_A_VIDEO)
        for frame_id, video, frame in zip(ids.tolist(), videos.tolist(), frames.tolist(), strict=True):
            yield FrameRecord(
                frame_id=frame_id,
                video_id=video,
                video_path=path_of(video),
                frame_in_video=frame,
                pts_seconds=frame / 25,
            )


def path_of(video: int) -> str:
    return f"{video // 1000:04d}/{video:08d}.mp4"


def payloads_of(ids: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Of frames, uint8 (B, 12)."""
    return np.repeat(ids.astype("<u4")[:, None], 3, axis=1).view(np.uint8)


def write_metadata(folder: Path, made_up: MadeUp) -> Path:
    """The cache `folder/bkt/cache` without its shards; kept where it is complete already."""
    cache = folder / BUCKET / CACHE
    settings = {"num_shards": made_up.num_shards, "frames_per_shard": made_up.frames_per_shard}
    done = folder / _SETTINGS
    if done.exists():
        if json.loads(done.read_text()) != settings:
            raise SystemExit(f"{folder} has a cache of another size: remove it, or name another folder")
        return cache
    fingerprint = hashlib.sha256(json.dumps(settings).encode()).hexdigest()
    generation = cache / generation_folder(fingerprint)
    generation.mkdir(parents=True, exist_ok=True)
    _write_index(generation / INDEX_NAME, made_up)
    _write_source_order(generation, made_up)
    sizes = [FRAMES_OF_A_VIDEO] * made_up.num_videos
    sizes[-1] -= sum(sizes) - made_up.num_frames
    write_videos(generation, (made_up_video(path_of(video), size) for video, size in enumerate(sizes)))
    shards = [
        ShardEntry(
            name=tar_shard_name(number),
            num_bytes=made_up.shard_bytes,
            # Nobody has made all shards to hash them; readers of frames compare the CRC of each payload.
            sha256=hashlib.sha256(str(number).encode()).hexdigest(),
            num_frames=made_up.frames_per_shard,
        )
        for number in range(made_up.num_shards)
    ]
    write_tree(
        cache,
        Generation(
            container="wds",
            frame_shape=FRAME_SHAPE,
            pixel="rgb8",
            encoding=Encoding(name="raw"),
            layout="shuffled",
            seed=0,
            num_frames=made_up.num_frames,
            num_videos=made_up.num_videos,
            config={"frames_per_shard": made_up.frames_per_shard},
            library_versions={},
            fidelity=None,
            shards=shards,
            files=describe_files(generation, except_for=set()),
            fingerprint=fingerprint,
            parts=[],
        ),
    )
    done.write_text(json.dumps(settings))
    return cache


def _write_index(path: Path, made_up: MadeUp) -> None:
    low, high = _crc_tables()
    with path.open("wb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(INDEX_DTYPE),
            "fortran_order": False,
            "shape": (made_up.num_frames,),
        }
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, made_up.num_frames, _STEP):
            ids = np.arange(first, min(first + _STEP, made_up.num_frames))
            places = made_up.places_of(ids)
            rows = np.zeros(len(ids), INDEX_DTYPE)
            rows["video_id"], rows["frame_in_video"] = np.divmod(places, FRAMES_OF_A_VIDEO)
            rows["pts_seconds"] = rows["frame_in_video"] / 25
            rows["shard_id"], rows["slot"] = np.divmod(ids, made_up.frames_per_shard)
            rows["byte_offset"] = rows["slot"].astype(np.int64) * FRAME_BYTES + PAYLOAD_START
            rows["byte_length"] = 12
            rows["crc32c"] = low[ids & 0xFFFF] ^ high[ids >> 16]
            file.write(rows.tobytes())


def _crc_tables() -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """The CRC of a payload is that of the low 16 bits of its id, xor what the high ones change: the CRC is linear."""
    halves = np.arange(1 << 16)
    low = np.array([crc32c(payload.tobytes()) for payload in payloads_of(halves)], np.uint32)
    high = np.array([crc32c(payload.tobytes()) for payload in payloads_of(halves << 16)], np.uint32)
    return low, high ^ low[0]


def _write_source_order(folder: Path, made_up: MadeUp) -> None:
    starts = np.minimum(np.arange(made_up.num_videos + 1) * FRAMES_OF_A_VIDEO, made_up.num_frames)
    order = SourceOrder(
        first_row=starts,
        first_stored=starts,
        order=made_up.ids_at(np.arange(made_up.num_frames)),
        source_pts=np.arange(made_up.num_frames) % FRAMES_OF_A_VIDEO / 25,
    )
    write_source_order(folder, order, is_shuffled=True)


class _Memory:
    """What `TarShardWriter` appends to."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.num_bytes = 0

    def append(self, data: bytes) -> int:
        self.parts.append(data)
        self.num_bytes += len(data)
        return self.num_bytes - len(data)


def shard_content(made_up: MadeUp, shard_id: int, first_slot: int, end_slot: int) -> bytes:
    """The bytes of some frames of a shard; of the last one, with the end of the archive."""
    file: Any = _Memory()
    writer = TarShardWriter(
        file, encoding=Encoding(name="raw"), frame_shape=FRAME_SHAPE, frame_dtype=PIXEL_DTYPE["rgb8"]
    )
    first = shard_id * made_up.frames_per_shard
    ids = np.arange(first + first_slot, first + end_slot)
    for slot, (record, payload) in enumerate(zip(made_up.records(ids), payloads_of(ids), strict=True)):
        offset = writer.append(record, payload.tobytes())
        assert (offset, file.num_bytes) == (slot * FRAME_BYTES + PAYLOAD_START, (slot + 1) * FRAME_BYTES)
    if end_slot == made_up.frames_per_shard:
        file.append(bytes(made_up.shard_bytes - end_slot * FRAME_BYTES))
    return b"".join(file.parts)


def _handler(folder: Path, made_up: MadeUp) -> type[BaseHTTPRequestHandler]:
    shard_key = re.compile(rf"/{BUCKET}/{CACHE}/gen-[0-9a-f]{{16}}/shards/(\d{{6}})\.tar")
    whole = lru_cache(maxsize=32)(
        lambda shard_id: shard_content(made_up, shard_id, 0, made_up.frames_per_shard)
    )

    def part_of_shard(shard_id: int, start: int, end: int) -> bytes:
        first, last = start // FRAME_BYTES, -(-end // FRAME_BYTES)
        if last - first > 32 or last > made_up.frames_per_shard:
            return whole(shard_id)[start:end]
        return shard_content(made_up, shard_id, first, last)[
            start - first * FRAME_BYTES : end - first * FRAME_BYTES
        ]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 16

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            key = self.path.partition("?")[0]
            match, path = shard_key.fullmatch(key), folder / key.removeprefix("/")
            if key.count("/") < 2:  # a list of the bucket, which this reader may not see
                self._send(403, {"Content-Length": "0"})
                return
            if match and int(match[1]) < made_up.num_shards:
                size = made_up.shard_bytes
            elif ".." not in key and path.is_file():
                size = path.stat().st_size
            else:
                self._send(404, {"Content-Length": "0"})
                return
            start, end, status = 0, size, 200
            headers = {"ETag": f'"{size:x}"', "Last-Modified": _LAST_MODIFIED, "Accept-Ranges": "bytes"}
            if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
                start, end, status = int(asked[1]), min(int(asked[2] or size - 1) + 1, size), 206
                if start >= end:
                    self._send(416, {"Content-Length": "0", "Content-Range": f"bytes */{size}"})
                    return
                headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            self._send(status, {**headers, "Content-Length": str(end - start)})
            if not with_body:
                return
            if match:
                self.wfile.write(part_of_shard(int(match[1]), start, end))
                return
            self.wfile.flush()
            with path.open("rb") as file:
                while start < end:
                    start += os.sendfile(self.connection.fileno(), file.fileno(), start, end - start)

        def _send(self, status: int, headers: dict[str, str]) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if status >= 400:
                self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Nothing is logged."""

    return Handler


class _Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True


def _serve(folder: Path, made_up: MadeUp, ports: "multiprocessing.connection.Connection[int, int]") -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = _Server(("127.0.0.1", 0), _handler(folder, made_up))
    ports.send(server.server_port)
    server.serve_forever()


@contextmanager
def served(folder: Path, made_up: MadeUp) -> Iterator[dict[str, str]]:
    """Serve the cache from another process; gives the variables by which obstore finds it."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(folder, made_up, theirs), daemon=True)
    process.start()
    try:
        yield {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ours.recv()}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
        }
    finally:
        process.kill()
        process.join()
