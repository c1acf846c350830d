"""Where the commands begin. Importing the rest of them takes a moment, and Ctrl-C then ends it without a word."""

import signal


def cache_build() -> None:
    """See `cli.cache_build`."""
    _import_quietly()
    from cache_builder import cli

    cli.cache_build()


def cache_info() -> None:
    """See `cli.cache_info`."""
    _import_quietly()
    from cache_builder import cli

    cli.cache_info()


def cache_verify() -> None:
    """See `cli.cache_verify`."""
    _import_quietly()
    from cache_builder import cli

    cli.cache_verify()


def _import_quietly() -> None:
    """Nothing has begun, and an exception in the middle of an import is anybody's guess: the signal itself ends it."""
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:  # else it is ignored on purpose
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import cache_builder.cli  # noqa: F401

    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, handler)
