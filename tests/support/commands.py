"""Runs the commands in this process, and looks at the files that they leave."""

import os

from click.testing import CliRunner

from cache_builder.cli import cache_build

SMALL = ("--size", "64", "--workers", "2")


def run(*arguments, command=cache_build):
    """Exit code, stdout and stderr of a command that must end by itself, without a traceback."""
    result = CliRunner().invoke(command, [os.fsdecode(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert "Traceback" not in result.stderr
    return result


def names_beside(output):
    return sorted(path.name for path in output.parent.iterdir())


def digests(cache):
    return {path: path.read_bytes() for path in sorted(cache.rglob("*")) if path.is_file()}
