"""A proxy on loopback that stands before an object store and spoils requests: at random, but the same for each seed.

What happens to request number n is a function of the seed and of n alone. Which request is number n is a matter of time
where several are under way.
"""

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from typing import Final, Literal, TypeAlias, get_args

from tests.support.object_stores.scripted_server import read_head_and_body
from tests.support.object_stores.seaweed import RunningStore

Fault: TypeAlias = Literal[
    "drop_before", "drop_after", "delay", "cut_head", "cut_body", "busy", "sent_twice", "body_twice"
]
_BUSY: Final = ((503, "SlowDown"), (500, "InternalError"), (429, "TooManyRequests"), (502, "BadGateway"))
_RESET: Final = b"\x01\x00\x00\x00\x00\x00\x00\x00"


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How many of all requests meet each fault, from 0 to 1."""

    drop_before: float = 0.0
    """The connection ends before the store sees the request."""
    drop_after: float = 0.0
    """The store has done what was asked, and the answer is lost."""
    delay: float = 0.0
    """The request waits for `delay_seconds` at most."""
    cut_head: float = 0.0
    """The connection ends within the head of the answer."""
    cut_body: float = 0.0
    """The connection ends within the body."""
    busy: float = 0.0
    """503, 500, 429 or 502, and the store does not see the request."""
    sent_twice: float = 0.0
    """The store sees the request twice; the first answer counts."""
    body_twice: float = 0.0
    """The body comes twice, behind a head that names it once."""
    delay_seconds: float = 0.1

    @classmethod
    def of_all_kinds(cls, rate: float, *, delay_seconds: float = 0.1) -> "Faults":
        """`rate` of all requests meet a fault; each kind is as frequent as the others."""
        each = rate / len(get_args(Fault))
        return cls(**dict.fromkeys(get_args(Fault), each), delay_seconds=delay_seconds)

    def drawn(self, seed: int, number: int) -> tuple[Fault | None, random.Random]:
        """The fault of a request, and where further chances of it come from."""
        chances = random.Random(f"{seed}:{number}")
        left = chances.random()
        for each in fields(self):
            if each.name == "delay_seconds":
                continue
            left -= getattr(self, each.name)
            if left < 0:
                return each.name, chances  # type: ignore[return-value]
        return None, chances


@dataclass(kw_only=True)
class Counts:
    """What went through."""

    requests: int = 0
    bytes_in: int = 0
    """Of bodies that the store saw."""
    bytes_out: int = 0
    """Of bodies, to the client."""
    faults: Counter[str] = field(default_factory=Counter)
    methods: Counter[str] = field(default_factory=Counter)


class FaultyProxy:
    """The running proxy. `faults` may be changed at any time."""

    def __init__(self, upstream_port: int, faults: Faults, *, seed: int) -> None:
        self.faults, self.seed, self.counts = faults, seed, Counts()
        self._upstream_port = upstream_port
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listening: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        """Listen; after `stop` at the same port as before."""
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=256)
        self.port = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, args=(self._listening,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Refuse connections from now on, and reset those that are open."""
        listening, self._listening = self._listening, None
        if listening is None:
            return
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        assert self._thread is not None
        self._thread.join()
        with self._lock:
            still_open, self._open = self._open, set()
        for each in still_open:
            _reset(each)

    @contextmanager
    def dead(self) -> Iterator[None]:
        """The store is away for as long as the context."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    def die_for(self, seconds: float) -> threading.Thread:
        """The store is away from now on, and comes back by itself. Join the thread that brings it back."""
        self.stop()

        def come_back() -> None:
            time.sleep(seconds)
            self.start()

        thread = threading.Thread(target=come_back, daemon=True)
        thread.start()
        return thread

    def store(self, upstream: RunningStore) -> RunningStore:
        """The store as it is seen through the proxy."""
        return replace(upstream, port=self.port)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, http.client.HTTPException):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(60)
                while self._serve_one(connection):
                    pass
        finally:
            with self._lock:
                self._open.discard(connection)
            connection.close()

    def _serve_one(self, connection: socket.socket) -> bool:  # noqa: PLR0911
        """Whether the connection serves another request."""
        found = read_head_and_body(connection)
        if found is None:
            return False
        head, body = found
        method = head.split(b" ", 1)[0].decode()
        with self._lock:
            number = self.counts.requests
            self.counts.requests += 1
            self.counts.methods[method] += 1
            fault, chances = self.faults.drawn(self.seed, number)
            if fault is not None:
                self.counts.faults[fault] += 1
        if fault == "drop_before":
            _reset(connection)
            return False
        if fault == "busy":
            return self._send(connection, *_busy(*chances.choice(_BUSY), method))
        if fault == "delay":
            time.sleep(chances.uniform(0, self.faults.delay_seconds))
        answer_head, answer_body = self._asked(method, head, body)
        with self._lock:
            self.counts.bytes_in += len(body)
        if fault == "sent_twice":
            self._asked(method, head, body)
        if fault == "drop_after":
            _reset(connection)
            return False
        if fault == "cut_head":
            connection.sendall(answer_head[: chances.randrange(len(answer_head))])
            return False
        if fault == "cut_body" and answer_body:
            connection.sendall(answer_head + answer_body[: chances.randrange(len(answer_body))])
            return False
        if fault == "body_twice" and answer_body:
            connection.sendall(answer_head + answer_body + answer_body)
            return False
        return self._send(connection, answer_head, answer_body)

    def _send(self, connection: socket.socket, head: bytes, body: bytes) -> bool:
        connection.sendall(head + body)
        with self._lock:
            self.counts.bytes_out += len(body)
        return True

    def _asked(self, method: str, head: bytes, body: bytes) -> tuple[bytes, bytes]:
        """Head and body of the store's answer. The request goes on as it came: its signature covers the header Host."""
        with socket.create_connection(("127.0.0.1", self._upstream_port), timeout=60) as upstream:
            upstream.sendall(head + body)
            answer = http.client.HTTPResponse(upstream, method=method)
            answer.begin()
            data = answer.read()
            lines = [f"HTTP/1.1 {answer.status} {answer.reason}"]
            hidden = {"transfer-encoding", "connection", "content-length"}
            lines += [f"{name}: {value}" for name, value in answer.getheaders() if name.lower() not in hidden]
            num_bytes = answer.getheader("Content-Length", "0") if method == "HEAD" else len(data)
            answer.close()
        lines.append(f"Content-Length: {num_bytes}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1"), data


@contextmanager
def faulty_proxy(upstream: RunningStore, faults: Faults, *, seed: int = 0) -> Iterator[FaultyProxy]:
    """A proxy before `upstream` that runs as long as the context."""
    proxy = FaultyProxy(upstream.port, faults, seed=seed)
    try:
        yield proxy
    finally:
        proxy.stop()


def _busy(status: int, code: str, method: str) -> tuple[bytes, bytes]:
    body = b"" if method == "HEAD" else f"<Error><Code>{code}</Code><Message>later</Message></Error>".encode()
    head = f"HTTP/1.1 {status} {code}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode(), body


def _reset(connection: socket.socket) -> None:
    """End it so that the other side sees a reset."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
