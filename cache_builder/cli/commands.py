"""Where the commands begin. Importing the rest of them takes a moment, and Ctrl-C then ends it without a word."""

import importlib
import signal
from typing import Any


def cache_build() -> None:
    """The command `cache-build`."""
    import_quietly("cache_builder.cli.build_command").cache_build()


def cache_info() -> None:
    """The command `cache-info`."""
    import_quietly("cache_builder.cli.info_command").cache_info()


def cache_verify() -> None:
    """The command `cache-verify`."""
    import_quietly("cache_builder.cli.verify_command").cache_verify()


def import_quietly(name: str) -> Any:  # noqa: ANN401 - a module, whose functions are called by name
    """The module `name`. A Ctrl-C while it is imported ends the process without a traceback.

    Nothing has begun at that time, and an exception in the middle of an import can leave modules half made.
    """
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else it is ignored on purpose
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    module = importlib.import_module(name)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
    return module
