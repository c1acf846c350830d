"""Patterns of `--include` and `--exclude`, held to an enumeration of what `**` stands for, and to pathlib's."""

import re
import sys
from fnmatch import fnmatchcase
from itertools import product
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_builder.setting_names import SettingError
from cache_builder.sources import PathPattern

NAMES = st.text("ab.", min_size=1, max_size=3)
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PARTS = st.one_of(st.just("**"), st.text("ab.*?", min_size=1, max_size=3), st.sampled_from(["[ab]", "[!a]*"]))
PATTERNS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
MOST_FOLDERS = 4


def matches_by_enumeration(pattern, path):
    """Put 0 to 4 stars into the place of each `**`, and compare part by part."""
    parts = pattern.split("/")
    if len(parts) == 1:
        parts = ["**", *parts]
    if parts[-1] == "**":
        parts.append("*")
    choices = [
        [["*"] * num for num in range(MOST_FOLDERS + 1)] if part == "**" else [[part]] for part in parts
    ]
    names = path.split("/")
    for chosen in product(*choices):
        plain = [part for some in chosen for part in some]
        if len(plain) == len(names) and all(map(fnmatchcase, names, plain)):
            return True
    return False


@given(PATTERNS, PATHS)
def test_it_matches_what_its_stars_stand_for(pattern, path):
    assume_parts = [part for part in pattern.split("/") if part != "."]
    if len(assume_parts) == len(pattern.split("/")):
        assert PathPattern(pattern).matches(path) == matches_by_enumeration(pattern, path)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="PurePath.full_match came with Python 3.13")
@given(PATTERNS.filter(lambda pattern: "/" in pattern), PATHS.filter(lambda path: ".." not in path))
def test_with_a_slash_it_means_what_pathlib_means(pattern, path):
    if not {".", ".."}.intersection([*pattern.split("/"), *path.split("/")]):
        assert PathPattern(pattern).matches(path) == PurePosixPath(path).full_match(pattern)


@pytest.mark.parametrize(
    ("pattern", "taken", "others"),
    [
        ("*.mp4", ["a.mp4", "x/y/a.mp4", ".mp4"], ["a.MP4", "a.mp4/b.mkv"]),
        ("/*.mp4", ["a.mp4"], ["x/a.mp4"]),
        ("x/*.mp4", ["x/a.mp4"], ["a.mp4", "x/y/a.mp4", "w/x/a.mp4"]),
        ("x/", ["x/a.mp4", "x/y/a.mp4"], ["x", "w/x/a.mp4"]),
        ("x/**", ["x/a.mp4", "x/y/a.mp4"], ["x"]),
        ("**/cam[01]/*", ["cam0/a.mp4", "x/y/cam1/a.mp4"], ["cam2/a.mp4", "cam0/x/a.mp4"]),
        ("x/**/a.mp4", ["x/a.mp4", "x/y/z/a.mp4"], ["a.mp4", "x/ya.mp4"]),
        ("./x/a.mp4", ["x/a.mp4"], ["x/x/a.mp4"]),
        ("[*].mp4", ["*.mp4"], ["a.mp4"]),
        ("?.mp4", ["é.mp4", "\n.mp4", "\\.mp4"], ["ab.mp4", "/.mp4"]),
        ("a b.mp4", ["a b.mp4"], ["ab.mp4"]),
        ("a\\xff*", ["a\\xff.mp4"], ["axff.mp4"]),
        ("a\udcff*", ["a\\xff.mp4"], ["a.mp4"]),
        ("**", ["a.mp4", "x/a.mp4"], []),
    ],
)
def test_examples(pattern, taken, others):
    assert [path for path in [*taken, *others] if PathPattern(pattern).matches(path)] == taken


@pytest.mark.parametrize("text", ["", "/", "//", 3, None])
def test_no_pattern(text):
    with pytest.raises(SettingError, match=re.escape(f"found {text!r}")):
        PathPattern(text)


def test_many_stars_take_no_time():
    """Backtracking over every star would take 2**40 steps."""
    assert not PathPattern("**/a/" * 20 + "b").matches("a/" * 60 + "c")
