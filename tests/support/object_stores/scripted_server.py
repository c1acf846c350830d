"""A server on loopback that answers each request by a script: raw bytes of HTTP, cut off, held up, or none at all."""

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

_END_OF_HEAD: Final = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request as it came."""

    method: str
    target: str
    """Path and query, as in the first line."""
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What is sent back, and how."""

    data: bytes = b""
    """Head and body. None of it: the connection is closed without an answer."""
    stall_seconds: float = 0.0
    """Time between `data` and `rest`."""
    rest: bytes = b""
    closes: bool = True
    resets: bool = False
    """Whether the connection ends by a reset."""


Script = Callable[[Request, int], Answer]
"""The answer to a request, and to its number from 0 on."""


def answer(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, num_bytes: int | None = None
) -> Answer:
    """A whole answer. `num_bytes`: the Content-Length that it claims, where it lies."""
    lines = [f"HTTP/1.1 {status} Text", f"Content-Length: {len(body) if num_bytes is None else num_bytes}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return Answer(data="\r\n".join([*lines, "Connection: close"]).encode() + _END_OF_HEAD + body)


@dataclass(kw_only=True)
class ScriptedServer:
    """The running server."""

    port: int
    requests: list[Request] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which obstore finds it as an S3 store."""
        from tests.support.object_stores.seaweed import ACCESS_KEY, SECRET_KEY

        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }


@contextmanager
def scripted_server(script: Script) -> Iterator[ScriptedServer]:
    """A server that runs as long as the context."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=64)
    server = ScriptedServer(port=listening.getsockname()[1])
    ended = threading.Event()
    lock = threading.Lock()

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.settimeout(30)
            request = read_request(connection)
            if request is None:
                return
            with lock:
                number = len(server.requests)
                server.requests.append(request)
            _send(connection, script(request, number), ended)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        ended.set()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def read_request(connection: socket.socket) -> Request | None:
    """The next request of a connection; None where it ends first."""
    found = read_head_and_body(connection)
    if found is None:
        return None
    head, body = found
    method, target, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return Request(method=method, target=target, headers=headers_of(head), body=body)


def read_head_and_body(connection: socket.socket) -> tuple[bytes, bytes] | None:
    """The next request of a connection, the head with its empty line; None where the connection ends first."""
    data = b""
    while _END_OF_HEAD not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(_END_OF_HEAD)
    headers = headers_of(head)
    if headers.get("expect", "").lower() == "100-continue":
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    missing = int(headers.get("content-length", "0")) - len(body)
    parts = [body]
    while missing > 0:
        more = connection.recv(min(1 << 20, missing))
        if not more:
            return None
        parts.append(more)
        missing -= len(more)
    return head + _END_OF_HEAD, b"".join(parts)


def headers_of(head: bytes) -> dict[str, str]:
    """The headers of a request, their names in lower case."""
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (re.split(r":\s*", line, maxsplit=1) for line in lines if line)
    return {name.lower(): value for name, value in pairs}


def _send(connection: socket.socket, planned: Answer, ended: threading.Event) -> None:
    connection.sendall(planned.data)
    if planned.stall_seconds:
        ended.wait(planned.stall_seconds)
        connection.sendall(planned.rest)
    if planned.resets:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        time.sleep(0.01)
    elif not planned.closes:
        ended.wait(30)
