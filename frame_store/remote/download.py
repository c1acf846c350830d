"""Objects copied to files: in parts, several at once, in bounded memory, going on after an interruption."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from frame_store.errors import ObjectMissingError
from frame_store.remote.request_threads import Call, RequestThreads
from frame_store.remote.requests import ObjectClient
from frame_store.shared import counted

PART_BYTES: Final = 4 << 20
"""A request of this size takes three times as long as the wait for its first byte, at 30 ms and 90 MB/s."""
PARTS_PER_JOB: Final = 2
"""Parts that are asked for or wait to be written, per job: memory is at most jobs x this x `PART_BYTES`."""
_PART_ENDING: Final = ".part"


@dataclass(frozen=True, kw_only=True)
class WantedObject:
    """An object, and the file that it becomes."""

    key: str
    """Relative to the URL of the client."""
    path: Path
    """Its folder is made. `path` with `.part` behind it has the first bytes until all are there."""
    num_bytes: int
    sha256: str | None
    """In hex; None where the content is checked elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """How the download of an object ended. The file is there, whole and synced, unless there is a problem."""

    wanted: WantedObject
    problem: str | None = None
    """What is wrong with the object, without its name; its `.part` is then removed."""
    num_bytes_found: int | None = None
    """Of the object, where it is there."""


def download_objects(
    client: ObjectClient,
    wanted: Iterable[WantedObject],
    *,
    jobs: int,
    received: Callable[[int], None] = lambda _: None,
    part_bytes: int = PART_BYTES,
    sync: bool = True,
) -> Iterator[Downloaded]:
    """Copy objects to files, in their order; up to `jobs` requests are on their way.

    A part follows the parts before it, so that the length of a `.part` file tells where an interrupted download goes
    on. What such a file has is hashed again. Objects are not asked for before their turn comes near: a caller that
    removes each file before it takes the next one needs the disk space of one file. The size of an object is asked for
    first: a range of a shorter one is an answer that was cut off, and would be tried again.

    Args:
        client: of the folder that the keys are relative to.
        wanted: what to copy.
        jobs: the most requests at once.
        received: called with the bytes that were written, or were there already.
        part_bytes: the most bytes that a request asks for.
        sync: fsync each file.

    Raises:
        ObjectStoreError: the store cannot be reached, or refuses the credentials. What was written stays.
        OSError: disk full or failing.
    """
    with ExitStack() as stack:
        threads = RequestThreads(jobs)
        stack.callback(threads.close)
        parts = _parts(wanted, part_bytes)
        waiting: deque[tuple[_Part, Call[memoryview]]] = deque()
        file: _PartFile | None = None
        failed: WantedObject | None = None
        problem: str | None
        while True:
            while len(waiting) < jobs * PARTS_PER_JOB and (part := next(parts, None)) is not None:
                call = Call(part.fetcher(client))
                threads.submit([call], urgent=False)
                waiting.append((part, call))
            if not waiting:
                return
            part, call = waiting.popleft()
            if part.wanted is failed:
                call.cancel()
                continue
            if file is None:
                file = stack.enter_context(_PartFile(part.wanted, part.start, received))
            try:
                file.append(call.result())
            except (ObjectMissingError, _OtherSizeError) as error:
                failed, problem = part.wanted, _problem(error, part.wanted)
            else:
                if not part.is_last:
                    continue
                problem = file.finish(sync=sync)
            file.close(keeps=problem is None)
            file = None
            yield Downloaded(wanted=part.wanted, problem=problem, num_bytes_found=part.size.found)


class _OtherSizeError(Exception):
    """The object has another number of bytes than expected."""


def _problem(error: Exception, wanted: WantedObject) -> str:
    if isinstance(error, _OtherSizeError):
        return f"expected {counted(wanted.num_bytes, 'byte')}, found {error}"
    return "is not there (404)"


@dataclass(kw_only=True, eq=False)
class _Size:
    """The size of an object, asked for once by the thread that has its first part."""

    found: int | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """Some bytes of an object."""

    wanted: WantedObject
    size: _Size
    start: int
    num_bytes: int
    is_first: bool

    @property
    def is_last(self) -> bool:
        return self.start + self.num_bytes == self.wanted.num_bytes

    def fetcher(self, client: ObjectClient) -> Callable[[], memoryview]:
        def fetch() -> memoryview:
            if self.is_first:
                self.size.found = client.head(self.wanted.key).num_bytes
            if self.size.found is not None and self.size.found != self.wanted.num_bytes:
                raise _OtherSizeError(str(self.size.found))
            if not self.num_bytes:
                return memoryview(b"")
            return client.get_range(self.wanted.key, self.start, self.num_bytes)

        return fetch


def _parts(wanted: Iterable[WantedObject], part_bytes: int) -> Iterator[_Part]:
    for each in wanted:
        begin = start = _num_bytes_there(each)
        size = _Size()
        while True:
            num_bytes = min(part_bytes, each.num_bytes - start)
            yield _Part(wanted=each, size=size, start=start, num_bytes=num_bytes, is_first=start == begin)
            start += num_bytes
            if start >= each.num_bytes:
                break


def _part_path(wanted: WantedObject) -> Path:
    return wanted.path.with_name(wanted.path.name + _PART_ENDING)


def _num_bytes_there(wanted: WantedObject) -> int:
    """Bytes of an earlier download that can be taken over; 0 where nothing could tell that they are right."""
    if wanted.sha256 is None:
        return 0
    try:
        return min(_part_path(wanted).stat().st_size, wanted.num_bytes)
    except OSError:
        return 0


class _PartFile:
    """The file of an object that is being downloaded."""

    def __init__(self, wanted: WantedObject, start: int, received: Callable[[int], None]) -> None:
        self._wanted = wanted
        self._path = _part_path(wanted)
        self._received = received
        self._digest = hashlib.sha256()
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = self._path.open("r+b" if start else "wb")
        self._file.truncate(start)
        while some := self._file.read(PART_BYTES) if start else b"":
            self._digest.update(some)
        received(start)

    def append(self, data: memoryview) -> None:
        self._file.write(data)
        self._file.flush()
        if self._wanted.sha256 is not None:
            self._digest.update(data)
        self._received(len(data))

    def finish(self, *, sync: bool) -> str | None:
        """Give the file its name, unless its content is wrong: then what is wrong."""
        if self._wanted.sha256 is not None and self._digest.hexdigest() != self._wanted.sha256:
            return "sha256 is not the recorded one"
        if sync:
            os.fsync(self._file.fileno())
        self._path.replace(self._wanted.path)
        return None

    def close(self, *, keeps: bool) -> None:
        self._file.close()
        if not keeps:
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> "_PartFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
