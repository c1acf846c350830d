"""A text file that lists videos."""

import os
import re

import pytest

from cache_builder.errors import InputFolderError
from cache_builder.sources import list_file, look_into
from tests.cache_builder.sources.test_folder import touch


def written(tmp_path, text, name="list.txt"):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def paths_in(path):
    return [video.relative_path for video in look_into(path).videos]


def test_the_order_is_that_of_the_lines(tmp_path):
    touch(tmp_path, "a.mp4", "sub/b.mkv", "c.mp4", "d.mp4")
    path = written(tmp_path, "# chosen by hand\nc.mp4\n\nsub/b.mkv\r\n  # another\n./a.mp4")
    contents = look_into(path)
    assert [video.relative_path for video in contents.videos] == ["c.mp4", "sub/b.mkv", "a.mp4"]
    assert [video.path.samefile(tmp_path / video.relative_path) for video in contents.videos] == [True] * 3
    assert contents.passed_over.text is None


def test_paths_below_the_list_are_called_by_where_they_lie_below_it(tmp_path):
    touch(tmp_path, "in/x/a.mp4", "in/x/b.mp4")
    assert paths_in(written(tmp_path, f"x/a.mp4\n{tmp_path}/in/x/b.mp4\n", "in/list")) == [
        "x/a.mp4",
        "x/b.mp4",
    ]
    assert paths_in(written(tmp_path, "x/../x/a.mp4\n", "in/list")) == ["x/a.mp4"]


def test_other_paths_are_called_by_where_they_lie_below_the_folder_of_all(tmp_path):
    touch(tmp_path, "data/x/a.mp4", "data/x/b.mp4", "data/y/a.mp4", "lists/c.mp4")
    text = f"{tmp_path}/data/x/a.mp4\n../data/x/b.mp4\n"
    assert paths_in(written(tmp_path, text, "lists/one.txt")) == ["a.mp4", "b.mp4"]
    assert paths_in(written(tmp_path, text + "../data/y/a.mp4", "lists/two.txt")) == [
        "x/a.mp4",
        "x/b.mp4",
        "y/a.mp4",
    ]
    assert paths_in(written(tmp_path, text + "c.mp4", "lists/three.txt")) == [
        "data/x/a.mp4",
        "data/x/b.mp4",
        "lists/c.mp4",
    ]


def test_names_of_every_kind(tmp_path):
    names = [" with spaces .mp4", "é🎞.mp4", "line\nbreak.mp4", "#1.mp4", '"q".mp4', "tab\t.mp4", "~x.mp4"]
    touch(tmp_path, *names)
    lines = [names[0], names[1], '"line\\nbreak.mp4"', '  "#1.mp4" ', '"\\"q\\".mp4"', names[5], names[6]]
    assert paths_in(written(tmp_path, "\n".join(lines))) == names
    # As an editor on another system saves it.
    assert paths_in(written(tmp_path, b"\xef\xbb\xbf" + "\r\n".join(lines).encode())) == names


def test_bytes_that_are_no_utf8(tmp_path):
    raw = b"b\xff.mp4"
    try:
        open(os.fsencode(tmp_path) + b"/" + raw, "w").close()  # noqa: PTH123 - a name of bytes
    except OSError:
        pytest.skip("this file system takes valid UTF-8 only")
    (video,) = look_into(written(tmp_path, raw + b"\n")).videos
    assert (video.relative_path, video.path.exists()) == ("b\\xff.mp4", True)


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    touch(tmp_path, "home/a.mp4")
    assert paths_in(written(tmp_path, "~/a.mp4\n")) == ["home/a.mp4"]


def test_every_wrong_line_is_named(tmp_path):
    touch(tmp_path, "a.mp4", "sub/b.mp4", "notes.doc")
    path = written(
        tmp_path, '# these\na.mp4\ngone.mp4\nsub\nnotes.doc\n./a.mp4\n"bad\n"\\x"\n""\na.mp4/b.mp4\n'
    )
    with pytest.raises(InputFolderError) as caught:
        look_into(path)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{path}: is read as a list of videos, the path of one in each line:"
    assert lines[1:4] == [
        "  line 3: 'gone.mp4': no such file",
        "  line 4: 'sub' is a folder; give it as a source of its own",
        lines[3],
    ]
    assert lines[3].startswith("  line 5: 'notes.doc' has not the extension of a video: 264 ")
    assert lines[4] == "  line 6: './a.mp4' is the file of line 2"
    assert lines[5:] == ["  line 7: '\"bad': no such file", "  and 3 others"]
    path.write_text('"\\x"\n')
    with pytest.raises(
        InputFolderError, match=re.escape("line 1: '\"\\\\x\"' is in quotes, and no JSON string")
    ):
        look_into(path)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n"])
def test_a_list_of_nothing(tmp_path, text):
    with pytest.raises(InputFolderError, match=r"and names none$"):
        look_into(written(tmp_path, text))


def test_only_text_is_a_list(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4")
    assert paths_in(written(tmp_path, "a.mp4", "list")) == ["a.mp4"]
    assert paths_in(written(tmp_path, "a.mp4", "chosen.csv")) == ["a.mp4"]
    with pytest.raises(InputFolderError, match="nor text that lists videos"):
        look_into(written(tmp_path, b"a.mp4\0b.mp4\0"))
    # A name of a video is one, whatever is in the file: the scan reports that.
    assert paths_in(written(tmp_path, "a.mp4", "list.ts")) == ["list.ts"]
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputFolderError, match="nor text that lists videos"):
        look_into(tmp_path / "pipe")
    monkeypatch.setattr(list_file, "MAX_LIST_BYTES", 4)
    with pytest.raises(InputFolderError, match="over 4 bytes, too long for a list"):
        look_into(written(tmp_path, "a.mp4"))


def test_a_link_to_a_list_counts_from_its_own_folder(tmp_path):
    touch(tmp_path, "here/a.mp4")
    (tmp_path / "here/list.txt").symlink_to(written(tmp_path, "a.mp4", "there/list.txt"))
    assert paths_in(tmp_path / "here/list.txt") == ["a.mp4"]
