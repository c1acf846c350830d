"""Where `cache-bias` and `cache-bench` begin: importing the rest takes seconds, and Ctrl-C ends it without a word."""

from cache_builder.cli.commands import import_quietly


def cache_bias() -> None:
    """See `bias_cli.main`."""
    import_quietly("frame_cache_tools.bias.cli")
    from frame_cache_tools.bias import cli as bias_cli

    bias_cli.main()


def cache_bench() -> None:
    """See `bench_cli.main`."""
    import_quietly("frame_cache_tools.bench.cli")
    from frame_cache_tools.bench import cli as bench_cli

    bench_cli.main()
