"""Reports of earlier builds and appends, kept because nothing else gives a damaged table of videos again."""

import hashlib
import shutil
from pathlib import Path

import msgspec

from cache_builder.stages.workspace import Workspace
from frame_store.files import write_file
from frame_store.shared import raise_if_out_of_files


class _Append(msgspec.Struct):
    num_videos_added: int


class _Report(msgspec.Struct):
    videos: msgspec.Raw
    append: _Append | None = None


def write_report(workspace: Workspace, content: bytes) -> None:
    """Write `CACHE.report.json`. The one before goes to `CACHE.reports/` if it has the table of another generation.

    Raises:
        OSError: disk full or failing.
    """
    before, after = _read(workspace.report), msgspec.json.decode(content, type=_Report)
    has_a_table = before is not None and (before.append is None or before.append.num_videos_added > 0)
    if before is not None and has_a_table and bytes(before.videos) != bytes(after.videos):
        earlier = workspace.report.read_bytes()
        workspace.reports.mkdir(exist_ok=True)
        write_file(workspace.reports / f"{hashlib.sha256(earlier).hexdigest()[:16]}.json", earlier)
    write_file(workspace.report, content)


def reports_of(workspace: Workspace) -> list[Path]:
    """The reports that are there: the last one, then the earlier ones."""
    earlier = sorted(workspace.reports.glob("*.json")) if workspace.reports.is_dir() else []
    return [workspace.report, *earlier]


def remove_reports(workspace: Workspace) -> None:
    """Remove the reports of a cache that another one has replaced."""
    shutil.rmtree(workspace.reports, ignore_errors=True)


def _read(path: Path) -> _Report | None:
    """A report; None where none can be read. Where an append added no video, its videos are those of the cache."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Report)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise_if_out_of_files(error)
        return None
