import os
from pathlib import Path

import pytest

from cache_builder.errors import InputFolderError
from cache_builder.sources import discover_videos, look_into
from frame_store.shared.video_extensions import VIDEO_EXTENSIONS


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_in(folder: Path) -> list[str]:
    return [video.relative_path for video in discover_videos(folder)]


def test_sorted_by_relative_path_with_subfolders(tmp_path):
    touch(tmp_path, "b.mp4", "a/z.mkv", "a.avi", "a/b/c.TS", "a/notes.txt", "no_extension", "a/clip.Mp4")
    assert names_in(tmp_path) == ["a.avi", "a/b/c.TS", "a/clip.Mp4", "a/z.mkv", "b.mp4"]
    for video in discover_videos(tmp_path):
        assert video.path == tmp_path / video.relative_path


def test_every_documented_extension_is_taken(tmp_path):
    touch(tmp_path, *(f"v.{extension}" for extension in VIDEO_EXTENSIONS))
    assert len(names_in(tmp_path)) == len(VIDEO_EXTENSIONS)
    assert {"mp4", "mov", "mkv", "webm", "avi", "ts", "mpg", "flv", "h264", "h265"} <= VIDEO_EXTENSIONS


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, "a.mp4", ".a.mp4", ".git/b.mp4")
    assert names_in(tmp_path) == ["a.mp4"]


def test_names_with_spaces_unicode_and_line_breaks(tmp_path):
    touch(tmp_path, "with space.mp4", "é🎞.mp4", "line\nbreak.mp4", "http:x.mp4", "%03d.mp4")
    assert names_in(tmp_path) == ["%03d.mp4", "http:x.mp4", "line\nbreak.mp4", "with space.mp4", "é🎞.mp4"]


def test_two_files_of_one_name_in_subfolders(tmp_path):
    touch(tmp_path, "one/a.mp4", "two/a.mp4")
    assert names_in(tmp_path) == ["one/a.mp4", "two/a.mp4"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    folder = tmp_path / "videos"
    touch(folder, "a.mp4", "sub/b.mp4")
    touch(tmp_path, "elsewhere/c.mp4", "outside.mp4")
    (folder / "file.mp4").symlink_to(folder / "a.mp4")
    (folder / "other").symlink_to(tmp_path / "elsewhere")
    (folder / "sub" / "back").symlink_to(folder)
    (folder / "sub" / "above").symlink_to(tmp_path)
    (folder / "itself.mp4").symlink_to("itself.mp4")
    (folder / "nowhere.mp4").symlink_to("gone")
    assert names_in(folder) == ["a.mp4", "file.mp4", "itself.mp4", "nowhere.mp4", "other/c.mp4", "sub/b.mp4"]


def test_a_folder_named_like_a_video_is_searched(tmp_path):
    touch(tmp_path, "folder.mp4/in.mp4")
    assert names_in(tmp_path) == ["folder.mp4/in.mp4"]


def test_a_name_that_is_not_utf8_keeps_its_row(tmp_path):
    touch(tmp_path, "c.mp4")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.mp4")).touch()
    except OSError:
        pytest.skip("this file system takes valid UTF-8 only")
    assert names_in(tmp_path) == ["b\\xff.mp4", "c.mp4"]
    discover_videos(tmp_path)[0].relative_path.encode("utf-8")


def test_folders_that_cannot_be_used(tmp_path):
    touch(tmp_path, "empty/readme.txt")
    with pytest.raises(InputFolderError, match="no such folder"):
        discover_videos(tmp_path / "gone")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(InputFolderError, match="neither a folder nor a file with the extension of a video"):
        discover_videos(tmp_path / "picture.png")
    with pytest.raises(InputFolderError, match=r"holds no video.* mp4 "):
        discover_videos(tmp_path / "empty")


def test_an_unreadable_subfolder_is_named(tmp_path, monkeypatch):
    touch(tmp_path, "a.mp4", "sub/locked/b.mp4")
    scandir = os.scandir

    def refuse_locked(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_locked)
    with pytest.raises(InputFolderError, match=r"cannot look into 'sub/locked': Permission denied"):
        discover_videos(tmp_path)


def test_a_subfolder_whose_entries_cannot_be_looked_at_is_named(tmp_path, monkeypatch):
    """Readable but not searchable (chmod 444): its videos and folders must not be skipped in silence."""
    touch(tmp_path, "a.mp4", "sub/deeper/b.mp4")
    plain_stat = Path.stat

    def refuse_deeper(path, **options):
        if path.name == "deeper":
            raise PermissionError(13, "Permission denied", str(path))
        return plain_stat(path, **options)

    monkeypatch.setattr(Path, "stat", refuse_deeper)
    with pytest.raises(InputFolderError, match=r"cannot look into 'sub/deeper': Permission denied"):
        discover_videos(tmp_path)


def test_a_folder_that_cannot_be_looked_at_is_named(tmp_path):
    with pytest.raises(InputFolderError, match="cannot be opened: File name too long"):
        discover_videos(tmp_path / ("long" * 70))


def test_a_mesh_of_links_ends_and_every_folder_counts_once(tmp_path):
    """Nine folders with links to each other: followed by every path they are more than 100,000 folders."""
    for one in range(9):
        touch(tmp_path, f"{one}/video.mp4")
        for other in range(9):
            if other != one:
                (tmp_path / str(one) / f"to_{other}").symlink_to(tmp_path / str(other))
    assert [video.relative_path for video in discover_videos(tmp_path)] == [
        f"{number}/video.mp4" for number in range(9)
    ]


class TestPassedOver:
    def test_counts_by_lower_case_extension_most_first(self, tmp_path):
        touch(tmp_path, "a.mp4", "x/b.LRV", "x/c.lrv", "d.insv", "notes.txt", "no_extension", "e.mp4.part")
        passed_over = look_into(tmp_path).passed_over
        assert list(passed_over.by_extension.items()) == [
            (".lrv", 2),
            ("", 1),
            (".insv", 1),
            (".part", 1),
            (".txt", 1),
        ]
        assert (
            passed_over.text
            == "passed over by extension: 2 .lrv, 1 without an extension, 1 .insv, 1 .part, 1 .txt"
        )

    def test_counts_hidden_files_and_folders(self, tmp_path):
        touch(tmp_path, "a.mp4", ".a.mp4", ".git/b.mp4", "sub/._a.mp4")
        passed_over = look_into(tmp_path).passed_over
        assert (passed_over.by_extension, passed_over.num_hidden) == ({}, 3)
        assert passed_over.text == "passed over as hidden: 3"

    def test_says_nothing_where_all_are_videos(self, tmp_path):
        touch(tmp_path, "a.mp4", "b.MKV")
        assert look_into(tmp_path).passed_over.text is None

    def test_a_build_s_own_files_do_not_count(self, tmp_path):
        touch(tmp_path, "a.mp4", "out/manifest-0000.json", "out.scan", "out.lock")
        own = [tmp_path / name for name in ("out", "out.scan", "out.lock")]
        assert look_into(tmp_path, not_counted=own).passed_over.text is None

    def test_rare_extensions_are_counted_together(self, tmp_path):
        touch(tmp_path, "a.mp4", *(f"{kind}.x{kind}" for kind in range(11)))
        assert look_into(tmp_path).passed_over.text.endswith("1 .x5, 1 .x6, 3 of 3 other kinds")

    def test_a_folder_without_videos_says_what_it_holds(self, tmp_path):
        touch(tmp_path, "a.insv", "b.insv")
        with pytest.raises(InputFolderError, match=r"holds no video \(passed over by extension: 2 \.insv\)"):
            look_into(tmp_path)
