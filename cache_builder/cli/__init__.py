"""The commands cache-build, cache-info and cache-verify."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from cache_builder.cli.command_line import (
        EXIT_INTERRUPTED,
        EXIT_MACHINE_FAILED,
        EXIT_TERMINATED,
        EXIT_WRONG_COMMAND,
        OneLineCommand,
        PathName,
        error_text,
        exit_code,
        exit_codes,
        say,
        say_error,
    )
    from cache_builder.cli.commands import import_quietly
    from cache_builder.cli.interrupts import SigtermAsInterrupt, Terminated
    from cache_builder.cli.main import cache_build, cache_info, cache_verify

__all__ = [
    "EXIT_INTERRUPTED",
    "EXIT_MACHINE_FAILED",
    "EXIT_TERMINATED",
    "EXIT_WRONG_COMMAND",
    "OneLineCommand",
    "PathName",
    "SigtermAsInterrupt",
    "Terminated",
    "cache_build",
    "cache_info",
    "cache_verify",
    "error_text",
    "exit_code",
    "exit_codes",
    "import_quietly",
    "say",
    "say_error",
]

__getattr__ = lazy_names(
    __name__,
    {
        "cache_builder.cli.command_line": [
            "EXIT_INTERRUPTED",
            "EXIT_MACHINE_FAILED",
            "EXIT_TERMINATED",
            "EXIT_WRONG_COMMAND",
            "OneLineCommand",
            "PathName",
            "error_text",
            "exit_code",
            "exit_codes",
            "say",
            "say_error",
        ],
        "cache_builder.cli.commands": ["import_quietly"],
        "cache_builder.cli.interrupts": ["SigtermAsInterrupt", "Terminated"],
        "cache_builder.cli.main": ["cache_build", "cache_info", "cache_verify"],
    },
)
