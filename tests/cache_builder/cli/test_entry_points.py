"""The first moments of a command, in which it imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

INTERRUPTED_MODULE = """
import signal, time
signal.raise_signal(signal.SIGINT)
time.sleep(60)
"""
HELP = """
import contextlib, gc, importlib, signal, sys

command = getattr(importlib.import_module(sys.argv.pop(1)), sys.argv.pop(1))
with contextlib.suppress(SystemExit):
    command()
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
assert gc.isenabled()
"""


def run_python(code, *arguments, path=()):
    root = Path(__file__).parents[3]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([*map(str, path), str(root), *filter(None, sys.path)])},
        # A test run in the background of a shell ignores SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        capture_output=True,
        text=True,
        timeout=50,
    )


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("cache_builder.cli.entry_points", "cache_build"),
        ("frame_cache_tools.commands", "cache_bias"),
        ("frame_cache_tools.commands", "cache_bench"),
    ],
)
def test_ctrl_c_while_it_imports_says_nothing(tmp_path, module, command):
    (tmp_path / "msgspec.py").write_text(INTERRUPTED_MODULE)
    done = run_python(f"from {module} import {command}; {command}()", path=[tmp_path])
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize(
    ("module", "command", "flag"),
    [
        ("cache_builder.cli.entry_points", "cache_build", "--frames-per-shard"),
        ("cache_builder.cli.entry_points", "cache_info", "--against"),
        ("cache_builder.cli.entry_points", "cache_verify", "--repair"),
        ("cache_builder.cli.entry_points", "cache_compact", "--remove-superseded"),
        ("cache_builder.cli.entry_points", "cache_fetch", "--jobs"),
        ("frame_cache_tools.commands", "cache_bias", "--max-chi2"),
        ("frame_cache_tools.commands", "cache_bench", "--quick"),
    ],
)
def test_each_is_the_command_of_its_name_and_ctrl_c_is_an_exception_again(module, command, flag):
    if module.startswith("frame_cache_tools"):
        pytest.importorskip("torch")
    done = run_python(HELP, module, command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage: ") and flag in done.stdout
