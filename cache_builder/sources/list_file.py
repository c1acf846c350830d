r"""A list of videos: a text file with the path of one video in each line.

- A path that is not absolute counts from the folder of the list; `~` at its beginning is the home folder.
- A line of white space counts for nothing, and so does one whose first other character is `#`.
- A line that begins and ends with `"` is a JSON string. So a name with a line break is `"line\nbreak.mp4"`, and one
  that begins with `#` is `"#1.mp4"`. In other lines every byte counts, spaces and bytes that are no UTF-8 included,
  except for a carriage return at the end.

The videos come in the order of the lines. They are called by their paths below the folder of the list, or, if one of
them does not lie there, below the deepest folder that all of them lie in. `..` is taken out of these paths as text.
The lines may be URLs instead; a list has paths or URLs.
"""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cache_builder.errors import InputFolderError
from cache_builder.sources.contents import NOTHING_PASSED_OVER, SourceContents, SourceVideo
from cache_builder.sources.list_lines import HEAD_BYTES, MAX_LIST_BYTES, is_text, problems_error, texts_in
from cache_builder.sources.names import printable
from cache_builder.sources.remote import look_into_url_list
from cache_builder.staging import Stage
from frame_store.remote import is_url
from frame_store.shared import EXTENSIONS_TEXT, is_video_name, raise_if_out_of_files, user_path


def is_list(path: Path) -> bool:
    """Whether a file may be a list of videos: a regular file whose name is not a video's, and whose content is text.

    Text has no control characters but tabs and line ends; an empty file is text.

    Raises:
        InputFolderError: the file cannot be read.
    """
    if is_video_name(path.name) or not path.is_file():
        return False
    return is_text(_read(path, HEAD_BYTES))


def look_into_list(path: Path, stage: Callable[[], Stage]) -> SourceContents:
    """The videos of the list at `path`, which is absolute, in the order of its lines.

    `stage` says where videos at URLs are downloaded to.

    Raises:
        InputFolderError: the list cannot be read, is too long or names no video; or a line of it is no path, names no
            file, a folder, a file without the extension of a video, or the file of another line; or some lines are
            paths and others URLs.
        MachineError: a store cannot be reached.
    """
    data = _read(path, MAX_LIST_BYTES + 1)
    if len(data) > MAX_LIST_BYTES:
        raise InputFolderError(path, f"is over {MAX_LIST_BYTES} bytes, too long for a list of videos")
    texts = [*texts_in(data)]
    if any(is_url(text) for _, text in texts):
        return look_into_url_list(texts, name=str(path), base=None, stage=stage)
    lines: dict[str, _Line] = {}
    problems: list[str] = []
    for number, text in texts:
        try:
            if isinstance(text, ValueError):
                raise text
            line = _Line(number=number, text=text, path=path.parent / user_path(text))
            line.check()
            where = os.path.normpath(line.path)
            if where in lines:
                raise ValueError(f"{text!r} is the file of line {lines[where].number}")
            lines[where] = line
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if problems or not lines:
        raise problems_error(path, problems)
    top = _common_folder(list(lines), os.fspath(path.parent))
    videos = [
        SourceVideo(relative_path=printable(Path(where).relative_to(top).as_posix()), path=line.path)
        for where, line in lines.items()
    ]
    return SourceContents(videos=videos, passed_over=NOTHING_PASSED_OVER)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Line:
    number: int
    """Counts from 1."""
    text: str
    path: Path

    def check(self) -> None:
        """Raise a ValueError if the line names no video."""
        try:
            mode = self.path.stat().st_mode
        except OSError as error:
            raise_if_out_of_files(error)
            is_missing = isinstance(error, FileNotFoundError | NotADirectoryError)
            reason = "no such file" if is_missing else error.strerror
            raise ValueError(f"{self.text!r}: {reason}") from error
        if stat.S_ISDIR(mode):
            raise ValueError(f"{self.text!r} is a folder; give it as a source of its own")
        if not is_video_name(self.path.name):
            raise ValueError(f"{self.text!r} has not the extension of a video: {EXTENSIONS_TEXT}")


def _common_folder(paths: list[str], folder: str) -> str:
    """`folder` if all paths lie in it, else the deepest folder that all of them lie in. All are absolute."""
    parents = sorted({os.path.dirname(path) for path in paths})  # noqa: PTH120 - text, of perhaps a million paths
    common = os.path.commonpath(parents)
    return folder if os.path.commonpath([common, folder]) == folder else common


def _read(path: Path, num_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(num_bytes)
    except OSError as error:
        raise_if_out_of_files(error)
        raise InputFolderError(path, f"cannot be read: {error.strerror}") from error
