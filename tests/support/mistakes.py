"""Typical mistakes of a first day, made in a scratch folder, with what each prints.

`python -m tests.support.mistakes` writes docs/MISTAKES.md; test_mistakes_document.py holds it to the
code.
"""

import errno
import os
import shlex
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from contextlib import chdir, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import click
from click.testing import CliRunner

from tests.support.faults.not_writable import not_writable

DOCUMENT = Path(__file__).parents[2] / "docs" / "MISTAKES.md"


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """What somebody typed in the folder that `sandbox` makes."""

    title: str
    typed: str
    """A command line, or Python where it begins with no command of ours."""
    says: Sequence[str]
    """Parts of what is printed: what is wrong, and what to do."""
    exit_code: int | None = 2
    """Of a command."""
    environment: Mapping[str, str] = field(default_factory=dict)
    read_only: str | None = None
    """A folder in which nothing can be created."""

    @property
    def is_command(self) -> bool:
        """Whether a shell would run it."""
        return self.typed.startswith("cache-")


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a mistake prints."""

    exit_code: int | None
    text: str

    @property
    def message(self) -> str:
        """Without the lines about the command's progress."""
        lines = self.text.splitlines()
        begin = next((place for place, line in enumerate(lines) if line.startswith("error: ")), 0)
        return "\n".join(lines[begin:])


_COMMANDS = (
    Mistake(
        title="A folder that is not there",
        typed="cache-build nosuch",
        says=["nosuch", "no such"],
    ),
    Mistake(
        title="No folder at all",
        typed="cache-build",
        says=["cache-build SOURCE", "a folder of videos"],
    ),
    Mistake(
        title="Several folders without an output",
        typed="cache-build clips broken",
        says=["2 sources", "clips, broken", "--out"],
    ),
    Mistake(
        title="A text file that lists no videos",
        typed="cache-build notes/todo.txt",
        says=["todo.txt", "a list of videos", "line 1", "Buy milk."],
    ),
    Mistake(
        title="A pattern that matches no video",
        typed="cache-build clips --include 'day1/*.mp4'",
        says=["--include", "day1/*.mp4", "of 2", "00.mp4"],
    ),
    Mistake(
        title="A misspelt flag",
        typed="cache-build clips --sise 128",
        says=["--sise", "--size"],
    ),
    Mistake(
        title="A size out of range",
        typed="cache-build clips --size 5",
        says=["--size", "8 to 8192", "5"],
    ),
    Mistake(
        title="Two flags that do not go together",
        typed="cache-build clips --format zarr --encoding jpeg",
        says=["--encoding", "zstd"],
    ),
    Mistake(
        title="A preset that is not there",
        typed="cache-build clips --config exercize",
        says=["exercize", "exercise"],
    ),
    Mistake(
        title="A cache of another size stands there already",
        typed="cache-build clips --size 128",
        says=["clips.cache", "--size", "64", "128", "--overwrite", "--out"],
    ),
    Mistake(
        title="A cache where videos are expected",
        typed="cache-build clips.cache --size 64",
        says=["clips.cache", "cache"],
    ),
    Mistake(
        title="A folder without videos",
        typed="cache-build notes",
        says=["notes", "no video"],
    ),
    Mistake(
        title="A share that is read-only",
        typed="cache-build share/clips",
        says=["share", "Read-only file system", "--out"],
        read_only="share",
    ),
    Mistake(
        title="A video that is cut off",
        typed="cache-build broken --size 64",
        says=["01.mp4", "--on-error skip"],
        exit_code=1,
    ),
    Mistake(
        title="Videos where a cache is expected",
        typed="cache-info clips",
        says=["clips", "the cache beside it: clips.cache"],
    ),
    Mistake(
        title="A cache that is not there",
        typed="cache-bias nosuch.cache",
        says=["nosuch.cache", "no such"],
    ),
    Mistake(
        title="A table of columns with the names of other videos",
        typed="cache-build --columns tables/other.csv --out clips.cache",
        says=["tables/other.csv", "none of its 2 rows matches", "kitchen.mp4", "00.mp4"],
    ),
    Mistake(
        title="A table that lacks the last row of a video",
        typed="cache-build --columns tables/short.csv --out clips.cache",
        says=["tables/short.csv", "expected a row for each of", "--on-error skip"],
    ),
    Mistake(
        title="A table with an empty cell",
        typed="cache-build --columns tables/empty.csv --out clips.cache",
        says=["tables/empty.csv", "column 'speed'", "line 3", "the cell is empty"],
    ),
    Mistake(
        title="A table of some of the videos",
        typed="cache-build --columns tables/part.csv --out clips.cache",
        says=["tables/part.csv", "1 of 2 videos has no row", "--columns-missing mask"],
    ),
    Mistake(
        title="An append with another size",
        typed="cache-build more --out clips.cache --append --size 128",
        says=["clips.cache", "--size", "64", "128"],
    ),
    Mistake(
        title="An append of a video that was cut again since",
        typed="cache-build cut --out clips.cache --append",
        says=["00.mp4", "--forget", "--overwrite"],
    ),
    Mistake(
        title="Forgetting a video that is not there",
        typed="cache-build --forget 0.mp4 --out clips.cache",
        says=["0.mp4", "00.mp4"],
    ),
    Mistake(
        title="A page about a folder of videos, given as a cache",
        typed="cache-report clips",
        says=["clips", "give the cache beside it: clips.cache"],
    ),
    Mistake(
        title="A signed URL",
        typed="cache-fetch 'https://store.example/clips.cache?X-Amz-Signature=abc' copy.cache",
        says=["a signature is for one object", "credentials in the environment"],
    ),
    Mistake(
        title="A cache at a URL that is to be compacted",
        typed="cache-compact s3://bucket/clips.cache",
        says=["s3://bucket/clips.cache is a URL", "cache-fetch URL DIR"],
    ),
    Mistake(
        title="Windows longer than every video",
        typed="cache-bias clips.cache --clip-frames 400",
        says=["longer than every video", "frames"],
    ),
)

_SCRIPTS = (
    Mistake(
        title="A wrong path in a script",
        typed='from loader import FrameLoader\nFrameLoader("nosuch.cache")',
        says=["nosuch.cache", "no such"],
    ),
    Mistake(
        title="Videos where a script expects a cache",
        typed='from loader import FrameLoader\nFrameLoader("share/clips")',
        says=["share/clips", "cache-build", "open_videos"],
    ),
    Mistake(
        title="`shuffle=`, as torch's DataLoader has it",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", shuffle=True)',
        says=["shuffle", "sampling="],
    ),
    Mistake(
        title="`num_workers=`",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", num_workers=4)',
        says=["num_workers", "num_threads"],
    ),
    Mistake(
        title="`transform=`",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", transform=str)',
        says=["transform", "augment"],
    ),
    Mistake(
        title="A misspelt option",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", batchsize=8)',
        says=["batchsize", "batch_size"],
    ),
    Mistake(
        title="Two processes, and the loader has no rank",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", batch_size=8)',
        says=["rank", "world_size", "rank_and_world_size"],
        environment={"RANK": "1", "WORLD_SIZE": "2"},
    ),
    Mistake(
        title="A batch that is larger than the cache",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", batch_size=4096)',
        says=["4096", "43", "one"],
    ),
    Mistake(
        title="A checkpoint of another run",
        typed="from loader import FrameLoader\n"
        'state = FrameLoader("clips.cache", batch_size=8, seed=1).state_dict()\n'
        'FrameLoader("clips.cache", batch_size=8, seed=2).load_state_dict(state)',
        says=["seed: 1 in the state, 2 here", "begin without a state"],
    ),
    Mistake(
        title="A transform that returns something else than a batch",
        typed='from loader import FrameLoader\nnext(iter(FrameLoader("clips.cache", batch_size=8, augment=len)))',
        says=["augment=len", "first dimension 8", "int"],
    ),
    Mistake(
        title="A column that the cache does not have",
        typed='from loader import FrameLoader\nFrameLoader("clips.cache", columns=["action"])',
        says=["there is no column 'action'", "the store has no columns"],
    ),
    Mistake(
        title="A frame that is not there",
        typed='import frame_store\nframe_store.open_store("clips.cache").read_frames([43])',
        says=["43"],
    ),
)

MISTAKES = (*_COMMANDS, *_SCRIPTS)


def sandbox(folder: Path) -> None:
    """Fill `folder` with what the mistakes are made on."""
    from tests.support.commands import run
    from tests.support.videos.tiny_videos import simple_specs, tiny_folder, truncate_file

    for name in ("clips", "broken", "cut", "more", "notes", "share/clips", "tables"):
        (folder / name).mkdir(parents=True)
    clips = tiny_folder(folder / "clips", simple_specs(2))
    tiny_folder(folder / "broken", simple_specs(2))
    truncate_file(folder / "broken" / "01.mp4", 0.6)
    tiny_folder(folder / "cut", simple_specs(2))
    truncate_file(folder / "cut" / "00.mp4", 0.9)
    tiny_folder(folder / "more", simple_specs(3))
    (folder / "notes" / "todo.txt").write_text("Buy milk.")
    tiny_folder(folder / "share" / "clips", simple_specs(1))
    frames = [(spec.path.name, frame) for spec in clips.specs for frame in range(spec.num_frames)]
    lines = [f"{name},{frame},0.5" for name, frame in frames]
    for name, table in {
        "other": ["video,speed", "kitchen.mp4,1", "lab.mp4,2"],
        "short": ["video,frame,speed", *lines[:-1]],
        "empty": ["video,speed", "00,1", "01,"],
        "part": ["video,speed", "00,1"],
    }.items():
        (folder / "tables" / f"{name}.csv").write_text("\n".join(table))
    with chdir(folder):
        assert run("clips", "--size", "64", "--workers", "1").exit_code == 0


def commands() -> dict[str, click.Command]:
    """By the name that a shell knows."""
    from frame_cache_tools.bias.cli import main as cache_bias
    from frame_cache_tools.report import cli as report_cli

    from cache_builder.cli import cache_build, cache_compact, cache_fetch, cache_info, cache_verify

    return {
        "cache-build": cache_build,
        "cache-compact": cache_compact,
        "cache-fetch": cache_fetch,
        "cache-info": cache_info,
        "cache-verify": cache_verify,
        "cache-bias": cache_bias,
        "cache-report": report_cli.main,
    }


def make(mistake: Mistake, folder: Path) -> Printed:
    """Make the mistake in `folder`."""
    is_read_only = (
        nullcontext() if mistake.read_only is None else not_writable(folder / mistake.read_only, errno.EROFS)
    )
    with chdir(folder), patch.dict(os.environ, mistake.environment), is_read_only:
        if not mistake.is_command:
            return Printed(exit_code=None, text=_raised_or_warned(mistake.typed))
        name, *arguments = shlex.split(mistake.typed)
        result = CliRunner().invoke(commands()[name], arguments, prog_name=name)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Printed(exit_code=result.exit_code, text=result.stderr.strip())


def _raised_or_warned(source: str) -> str:
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            exec(compile(source, "train.py", "exec"), {"__name__": "train"})
        except Exception as error:  # noqa: BLE001 - whatever a user would see
            return f"{type(error).__name__}: {error}"
    return "\n".join(f"{warning.category.__name__}: {warning.message}" for warning in warned)


def document(folder: Path) -> str:
    """docs/MISTAKES.md, of what is printed in `folder`, which it calls /data."""
    sections = []
    for mistake in MISTAKES:
        printed = make(mistake, folder).message.replace(str(folder), "/data")
        typed = f"$ {mistake.typed}" if mistake.is_command else mistake.typed
        where = [f"{name}={value}" for name, value in mistake.environment.items()]
        title = " ".join([mistake.title, *([f"(in the environment: {' '.join(where)})"] if where else [])])
        sections.append(f"## {title}\n```\n{typed}\n\n{printed}\n```\n")
    return "\n".join([_INTRODUCTION, *sections])


_INTRODUCTION = """# Typical mistakes

Each gets one line: what is wrong, and what to do. Here `/data` holds `clips/` (two videos), `clips.cache`
(built of them with `--size 64`), `broken/` (a video of it is cut off), `cut/` (those of `clips/`, one of them
cut shorter since), `more/` (three videos), `notes/` (no video) and `share/` (read-only).
`python -m tests.support.mistakes` writes this page, and a test holds it to what is printed. The line of a command goes
to standard error; its exit code is 2, and 1 where a video is not whole. A script raises the error, or warns.
"""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        sandbox(Path(scratch).resolve())
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(document(Path(scratch).resolve()))
