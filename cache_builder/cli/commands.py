"""Where the commands begin. Importing the rest of them takes a moment, and Ctrl-C then ends it without a word."""

import importlib
import signal


def cache_build() -> None:
    """See `main.cache_build`."""
    import_quietly("cache_builder.cli.main")
    from cache_builder.cli import main

    main.cache_build()


def cache_info() -> None:
    """See `main.cache_info`."""
    import_quietly("cache_builder.cli.main")
    from cache_builder.cli import main

    main.cache_info()


def cache_verify() -> None:
    """See `main.cache_verify`."""
    import_quietly("cache_builder.cli.main")
    from cache_builder.cli import main

    main.cache_verify()


def import_quietly(module: str) -> None:
    """Nothing has begun, and an exception in the middle of an import is anybody's guess: the signal itself ends it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else it is ignored on purpose
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    importlib.import_module(module)

    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
