"""Entry points of the commands. They import the rest, which takes a moment; Ctrl-C during the import is silent."""

import gc
import importlib
import signal
from typing import Any


def cache_build() -> None:
    """The command `cache-build`."""
    import_quietly("cache_builder.cli.build_command").cache_build()


def cache_compact() -> None:
    """The command `cache-compact`."""
    import_quietly("cache_builder.cli.caches.compact_command").cache_compact()


def cache_fetch() -> None:
    """The command `cache-fetch`."""
    import_quietly("cache_builder.cli.caches.fetch_command").cache_fetch()


def cache_info() -> None:
    """The command `cache-info`."""
    import_quietly("cache_builder.cli.info").cache_info()


def cache_verify() -> None:
    """The command `cache-verify`."""
    import_quietly("cache_builder.cli.verify_command").cache_verify()


def import_quietly(name: str) -> Any:  # noqa: ANN401 - a module, whose functions are called by name
    """Import the module `name`. Ctrl-C during the import ends the process without a traceback.

    No work has begun then, and an exception inside an import could leave modules half initialized. Modules stay until
    the process ends, so the garbage collector does not look at them, which would take a quarter of the time.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # otherwise SIGINT is ignored on purpose
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()
    try:
        module = importlib.import_module(name)
        gc.freeze()
    finally:
        gc.enable()
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    return module
