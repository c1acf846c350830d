"""A Ray cluster that is joined or started: its address, its nodes and what they have. Host names are never told."""

import logging
import os
import signal
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from cache_builder.errors import ConfigError, MachineError
from cache_builder.executors.choice import OWN_CLUSTER
from cache_builder.executors.ray_joining import AUTOMATIC, require_joinable
from frame_store.shared import counted, num_usable_cpus

_ADDRESS_VARIABLE: Final = "RAY_ADDRESS"
_OBJECT_STORE_BYTES: Final = 100 << 20
"""Of a cluster that is started: jobs and results are small, and videos and frames lie on disk."""
_SECONDS_TO_ANSWER: Final = 10.0
_SECONDS_BETWEEN_LOOKS: Final = 2.0
_SURROUNDINGS: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to anybody
    "RAY_BACKEND_LOG_LEVEL": "fatal",  # else a cluster that ends prints addresses
    "RAY_worker_niceness": "0",  # like the processes of a local build
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # the way of coming versions, without a warning of it
}
_QUIET_AT_IMPORT: Final = {"RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""No line of a raylet is printed: it goes to stdout, and names machines."""


class RayCluster:
    """A cluster that this process has joined; `leave` ends it if it was started here."""

    def __init__(self, ray: Any, *, leaves: bool, is_own: bool) -> None:  # noqa: ANN401 - the module
        self._ray = ray
        self.leaves = leaves
        """False where the caller of the build had joined it before."""
        self.is_own = is_own
        self._seen_at = 0.0
        self._resources: dict[str, float] = {}

    @classmethod
    def join(cls, address: str | None, *, num_cpus: int | None, tell: Callable[[str], None]) -> "RayCluster":
        """Join the cluster at `address`, or start one of `num_cpus`; see `RayChoice.address`.

        Raises:
            ConfigError: Ray is not installed, or this process has joined another cluster.
            MachineError: there is no cluster at the address, or none can be started.
        """
        ray = imported_ray()
        if ray.is_initialized():
            if address is not None:
                raise ConfigError(
                    "{--executor}: this process has joined a Ray cluster already; give {--executor ray} to use that one"
                )
            tell("uses the Ray cluster that this process has joined")
            return cls(ray, leaves=False, is_own=False)
        found, whence = (address, "at the given address") if address is not None else _address_found()
        is_own = found is None or found == OWN_CLUSTER
        if is_own:
            tell("starts a Ray cluster of its own on this machine, which takes some 10 seconds")
            options: dict[str, Any] = {
                "address": OWN_CLUSTER,
                "num_cpus": num_cpus or num_usable_cpus(),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
            }
        else:
            assert found is not None
            tell(f"joins the Ray cluster {whence}; `ray:local` would start one of its own")
            if found != AUTOMATIC:
                _require_answer(found, whence)
            require_joinable(found, whence)
            options = {"address": found}
        _init(ray, options, what="start" if is_own else "be joined")
        return cls(ray, leaves=True, is_own=is_own)

    def leave(self) -> None:
        """Disconnect; a cluster that was started here ends."""
        if self.leaves and self._ray.is_initialized():
            with _signals_kept():
                self._ray.shutdown()

    def nodes(self) -> list[str]:
        """Ids of the nodes that are alive and have CPUs for tasks."""
        return [
            node["NodeID"]
            for node in self._ray.nodes()
            if node["Alive"] and node["Resources"].get("CPU", 0) > 0
        ]

    def amount(self, resource: str) -> int:
        """How many CPUs or GPUs the cluster has, as it was within the last seconds."""
        if time.monotonic() >= self._seen_at + _SECONDS_BETWEEN_LOOKS:
            self._resources = self._ray.cluster_resources()
            self._seen_at = time.monotonic()
        return int(self._resources.get(resource, 0))

    def summary(self) -> str:
        """For example `a Ray cluster of 3 nodes, 12 CPUs`."""
        gpus = self.amount("GPU")
        with_gpus = f", {counted(gpus, 'GPU')}" if gpus else ""
        return f"a Ray cluster of {counted(len(self.nodes()), 'node')}, {counted(self.amount('CPU'), 'CPU')}{with_gpus}"


def imported_ray() -> Any:  # noqa: ANN401 - the module
    """The module `ray`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        with warnings.catch_warnings(), _environment(_QUIET_AT_IMPORT):
            warnings.simplefilter("ignore")
            import ray
    except ImportError as error:
        raise ConfigError(
            f"{{--executor ray}}: Ray is not installed ({error}): pip install 'frame-cache[ray]', or leave the option "
            "out"
        ) from None
    return ray


def _address_found() -> tuple[str | None, str]:
    """The address of a cluster that is there already, and where it stands; None if there is none."""
    given = os.environ.get(_ADDRESS_VARIABLE)
    if given and given != AUTOMATIC:
        return given, f"at {_ADDRESS_VARIABLE}"
    file = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    with suppress(OSError, UnicodeDecodeError):
        address = file.read_text().strip()
        if address and _answers(address):
            return AUTOMATIC, "of `ray start` on this machine"
    if given:
        raise MachineError(f"{_ADDRESS_VARIABLE} is auto, and no Ray cluster runs on this machine")
    return None, ""


def _require_answer(address: str, whence: str) -> None:
    """Ray itself tries for hours, and prints addresses meanwhile."""
    if not _answers(address):
        raise MachineError(
            f"no Ray cluster answers {whence}; start it (`ray start`), or give another address"
        )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS_TO_ANSWER).close()
    except (OSError, ValueError):
        return False
    return True


def _init(ray: Any, options: dict[str, Any], *, what: str) -> None:  # noqa: ANN401 - the module
    failure = None
    try:
        # Ray prefers the variable to the argument.
        with (
            warnings.catch_warnings(),
            _signals_kept(),
            _environment({**_SURROUNDINGS, _ADDRESS_VARIABLE: None}),
            _stderr_silenced(),
        ):
            warnings.simplefilter("ignore")
            ray.init(**options, log_to_driver=False, logging_level=logging.CRITICAL)
    except Exception as error:  # noqa: BLE001 - what Ray raises here is no contract, and names hosts
        failure = type(error).__name__
    if failure is not None:
        ray.shutdown()
        raise MachineError(
            f"the Ray cluster cannot {what} ({failure}): Ray and Python must have the same versions on all machines, "
            "and this machine must be one of the cluster's"
        )


@contextmanager
def _environment(changes: Mapping[str, str | None]) -> Iterator[None]:
    """Variables that have these values for a while; None removes one. A value that the user has set stays."""
    before = {name: os.environ.get(name) for name in changes}
    for name, value in changes.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name, earlier in before.items():
            if earlier is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = earlier


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Nothing reaches this process's stderr: Ray's C++ prints addresses there, and that it was told not to."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Undo what Ray does to the signals of this process: its caller has a way to end already."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            if handler is not None:
                signal.signal(number, handler)
