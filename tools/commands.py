"""Where the commands of `tools` begin: importing the rest takes seconds, and Ctrl-C ends it without a word."""

from cache_builder.cli import import_quietly


def cache_bias() -> None:
    """The command `cache-bias`."""
    import_quietly("frame_cache_tools.bias.cli").main()


def cache_bench() -> None:
    """The command `cache-bench`."""
    import_quietly("frame_cache_tools.bench.cli").main()


def cache_report() -> None:
    """The command `cache-report`."""
    import_quietly("frame_cache_tools.report.cli").main()
