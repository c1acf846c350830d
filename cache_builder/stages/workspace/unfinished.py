"""A folder of unfinished work: it belongs to one set of inputs and settings, which its `identity.json` states."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from cache_builder.errors import OutputError
from cache_builder.stages.identity import identity_differences
from frame_store.files import write_file
from frame_store.shared import listed, raise_if_out_of_files

IDENTITY_NAME: Final = "identity.json"


def claim_folder(
    building: Path,
    identity: dict[str, Any],
    *,
    folders: Sequence[Path],
    overwrite: bool,
    to_discard: str,
) -> None:
    """Make a folder belong to `identity`, keeping what an interrupted build of the same left there.

    `folders` are made; those of them that lie in `building` are what a build puts there. `to_discard` states how to get
    rid of unfinished work of another identity.

    Raises:
        OutputError: it holds an unfinished build of something else and `overwrite` is not given, or other files.
        OSError: disk full or failing.
    """
    if building.exists():
        found = read_identity(building)
        if found == identity:
            make_folders(folders)
            return
        if found is None:
            _require_ours(building, folders)
        elif not overwrite:
            raise OutputError(of_something_else(str(building), identity, found, to_discard))
        # The identity first: a half-removed folder must not pass for a resumable one.
        (building / IDENTITY_NAME).unlink(missing_ok=True)
        shutil.rmtree(building)
    building.mkdir(parents=True)
    make_folders(folders)
    write_file(building / IDENTITY_NAME, identity_content(identity))


def remove_folder(building: Path, *, folders: Sequence[Path], of: dict[str, Any]) -> None:
    """Remove the working files of a finished build of identity `of`; unfinished work of another identity stays."""
    if read_identity(building) in (of, None):
        for folder in folders:
            if folder.parent == building:
                shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(building, ignore_errors=True)  # the identity goes last: it states whose folder this is


def read_identity(building: Path) -> dict[str, Any] | None:
    """The identity of unfinished work; None where there is none, or it has no identity that can be read.

    Raises:
        OSError: no more files can be opened: the identity is there, and nothing may be removed.
    """
    try:
        return msgspec.json.decode((building / IDENTITY_NAME).read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise_if_out_of_files(error)
        return None


def identity_content(identity: dict[str, Any]) -> bytes:
    """What `identity.json` has."""
    return msgspec.json.format(msgspec.json.encode(identity), indent=1)


def of_something_else(where: str, identity: dict[str, Any], found: dict[str, Any], to_discard: str) -> str:
    """The message about unfinished work of another identity, `found`."""
    return listed(
        f"{where}: holds an unfinished build of something else",
        identity_differences(identity, found),
        f"finish that one with its own command, or {to_discard}",
    )


def make_folders(folders: Sequence[Path]) -> None:
    """Make those that do not exist."""
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)


def _require_ours(building: Path, folders: Sequence[Path]) -> None:
    """Refuse a folder without an identity, unless it holds only what a build leaves when it is half removed."""
    known = {path.name for path in folders}
    strange = sorted(
        path.name
        for path in building.iterdir()
        if path.name not in known and not path.name.startswith(IDENTITY_NAME)
    )
    if strange:
        raise OutputError(
            f"{building}: holds {strange[0]!r}, which no build put there; move it away, or give another {{--out}}"
        )
