"""An object store on loopback with latency and a rate per connection: nginx over a folder, S3-style, for reading.

    python -m tests.campaigns.remote.slow_store FOLDER [--latency-ms 30] [--megabytes 90]

It prints the variables by which obstore finds the store, measures the latency and the rate that a connection gets, and
serves until it is interrupted. `FOLDER/bucket/key` is the object `s3://bucket/key`. Requests are not signed, nothing
can be written. LIST answers 403, as S3 does to a reader who may not list, and an object that is not there 404.

It needs `apt-get install nginx libnginx-mod-http-lua`; the instance is a private one and listens on loopback alone.
"""

import argparse
import os
import random
import shutil
import signal
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

LATENCY_SECONDS = 0.03
BYTES_PER_SECOND = 90_000_000
"""Of each connection."""

_MODULES = Path("/usr/lib/nginx/modules")
_LUA_MODULES = ("ndk_http_module.so", "ngx_http_lua_module.so")

_CONFIGURATION = """
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
worker_processes {workers};
daemon off;
pid {own}/nginx.pid;
error_log {own}/error.log crit;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    # Small steps, so that the rate holds within an answer of a few megabytes, too.
    sendfile_max_chunk {step};
    tcp_nodelay on;
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    default_type application/octet-stream;
    open_file_cache max=10000 inactive=600s;
    client_body_temp_path {own}/body;
    proxy_temp_path {own}/proxy;
    fastcgi_temp_path {own}/fastcgi;
    uwsgi_temp_path {own}/uwsgi;
    scgi_temp_path {own}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        root {folder};
        location ~ ^/[^/]*/?$ {{ return 403; }}
        location / {{
            limit_rate {rate};
            access_by_lua_block {{ ngx.sleep({latency}) }}
        }}
    }}
}}
"""


@dataclass(frozen=True, kw_only=True)
class SlowStore:
    """A running store."""

    port: int
    folder: Path
    """`folder/bucket/key` is the object `s3://bucket/key`."""

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which obstore, boto3 and MosaicML Streaming find the store."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "S3_ENDPOINT_URL": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def why_no_slow_store() -> str | None:
    """Why no store can be started here; None where one can."""
    missing = [] if shutil.which("nginx") else ["nginx"]
    missing += [name for name in _LUA_MODULES if not (_MODULES / name).exists()]
    if not missing:
        return None
    return f"{' and '.join(missing)} not found: apt-get install nginx libnginx-mod-http-lua"


@contextmanager
def slow_store(
    folder: Path,
    *,
    latency_seconds: float = LATENCY_SECONDS,
    bytes_per_second: int = BYTES_PER_SECOND,
    port: int | None = None,
) -> Iterator[SlowStore]:
    """Serve `folder`; each request waits `latency_seconds`, each connection gets at most `bytes_per_second`.

    Raises:
        SystemExit: nginx or its Lua module is not installed, or it does not start; the text says so.
    """
    if (reason := why_no_slow_store()) is not None:
        raise SystemExit(reason)
    port = free_port() if port is None else port
    with tempfile.TemporaryDirectory(prefix="slow-store-") as own:
        configuration = Path(own, "nginx.conf")
        configuration.write_text(
            _CONFIGURATION.format(
                modules=_MODULES,
                own=own,
                folder=folder.resolve(),
                port=port,
                workers=os.cpu_count() or 2,
                rate=bytes_per_second,
                step=max(bytes_per_second // 200, 16384),
                latency=latency_seconds,
            )
        )
        # As root, the workers would be another user, who may not enter the folder.
        user = ["-g", "user root;"] if os.geteuid() == 0 else []
        process = subprocess.Popen(
            ["nginx", "-p", own, "-c", str(configuration), *user],
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _wait_until_it_listens(port, process, Path(own, "error.log"))
            yield SlowStore(port=port, folder=folder)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def free_port() -> int:
    """A port that is free. Outgoing connections use those from 32768 on."""
    while True:
        port = random.SystemRandom().randint(11000, 21999)
        with suppress(OSError), socket.socket() as bound:
            bound.bind(("127.0.0.1", port))
            return port


def _wait_until_it_listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + 10
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nginx did not start: {log.read_text() if log.exists() else 'it wrote no log'}")


def measured(store: SlowStore, key: str) -> tuple[float, float]:
    """Seconds to the first byte, and bytes a second of one connection, by ranges of the object `bucket/key`."""
    connection = HTTPConnection("127.0.0.1", store.port)
    num_bytes = min((store.folder / key).stat().st_size, 16_000_000)

    def seconds(last: int) -> float:
        started = time.perf_counter()
        connection.request("GET", f"/{key}", headers={"Range": f"bytes=0-{last}"})
        answer = connection.getresponse()
        while answer.read(1 << 20):
            pass
        return time.perf_counter() - started

    latency = statistics.median(seconds(0) for _ in range(9))
    rate = statistics.median(num_bytes / (seconds(num_bytes - 1) - latency) for _ in range(5))
    connection.close()
    return latency, rate


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--latency-ms", type=float, default=LATENCY_SECONDS * 1e3)
    parser.add_argument(
        "--megabytes", type=float, default=BYTES_PER_SECOND / 1e6, help="a second, of a connection"
    )
    parser.add_argument("--port", type=int)
    options = parser.parse_args()
    with slow_store(
        options.folder,
        latency_seconds=options.latency_ms / 1e3,
        bytes_per_second=int(options.megabytes * 1e6),
        port=options.port,
    ) as store:
        for name, value in store.environment.items():
            print(f"export {name}={value}")
        large = max(options.folder.rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
        latency, rate = measured(store, str(large.relative_to(options.folder)))
        print(f"# {latency * 1e3:.1f} ms to the first byte, {rate / 1e6:.0f} MB/s a connection", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
