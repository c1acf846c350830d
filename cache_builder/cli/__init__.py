"""The commands cache-build, cache-compact, cache-fetch, cache-info and cache-verify."""

from typing import TYPE_CHECKING

from frame_store.shared import lazy_names

if TYPE_CHECKING:
    from cache_builder.cli.build_command import cache_build
    from cache_builder.cli.caches import cache_compact, cache_fetch
    from cache_builder.cli.content_orders import write_content_orders
    from cache_builder.cli.entry_points import import_quietly
    from cache_builder.cli.exit_status import (
        EXIT_INTERRUPTED,
        EXIT_MACHINE_FAILED,
        EXIT_TERMINATED,
        EXIT_WRONG_COMMAND,
        OneLineCommand,
        PathName,
        PlaceName,
        SigtermAsInterrupt,
        Terminated,
        error_text,
        exit_code,
        exit_codes,
        say,
        say_error,
    )
    from cache_builder.cli.info import cache_info
    from cache_builder.cli.verify_command import cache_verify

__all__ = [
    "EXIT_INTERRUPTED",
    "EXIT_MACHINE_FAILED",
    "EXIT_TERMINATED",
    "EXIT_WRONG_COMMAND",
    "OneLineCommand",
    "PathName",
    "PlaceName",
    "SigtermAsInterrupt",
    "Terminated",
    "cache_build",
    "cache_compact",
    "cache_fetch",
    "cache_info",
    "cache_verify",
    "error_text",
    "exit_code",
    "exit_codes",
    "import_quietly",
    "say",
    "say_error",
    "write_content_orders",
]

__getattr__ = lazy_names(
    __name__,
    {
        "cache_builder.cli.build_command": ["cache_build"],
        "cache_builder.cli.caches": ["cache_compact", "cache_fetch"],
        "cache_builder.cli.content_orders": ["write_content_orders"],
        "cache_builder.cli.exit_status": [
            "EXIT_INTERRUPTED",
            "EXIT_MACHINE_FAILED",
            "EXIT_TERMINATED",
            "EXIT_WRONG_COMMAND",
            "PlaceName",
            "OneLineCommand",
            "PathName",
            "SigtermAsInterrupt",
            "Terminated",
            "error_text",
            "exit_code",
            "exit_codes",
            "say",
            "say_error",
        ],
        "cache_builder.cli.entry_points": ["import_quietly"],
        "cache_builder.cli.info": ["cache_info"],
        "cache_builder.cli.verify_command": ["cache_verify"],
    },
)
