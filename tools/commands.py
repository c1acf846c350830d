"""Where `cache-bias` and `cache-bench` begin: importing the rest takes seconds, and Ctrl-C ends it without a word."""

from cache_builder.cli import import_quietly


def cache_bias() -> None:
    """The command `cache-bias`."""
    import_quietly("frame_cache_tools.bias.cli").main()


def cache_bench() -> None:
    """The command `cache-bench`."""
    import_quietly("frame_cache_tools.bench.cli").main()
