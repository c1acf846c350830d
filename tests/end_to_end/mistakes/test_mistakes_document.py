"""Each typical mistake gets one line with what is wrong and what to do, and docs/MISTAKES.md shows that line."""

import pytest

pytest.importorskip("torch")  # half of them are made in training scripts

from tests.support.mistakes import DOCUMENT, MISTAKES, document, make, sandbox


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("mistakes")
    sandbox(path)
    return path


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.title)
def test_a_mistake_gets_one_line_that_says_what_to_do(folder, mistake):
    before = sorted(folder.rglob("*.cache"))
    printed = make(mistake, folder)
    assert len(printed.message.splitlines()) == 1, printed.text
    assert [part for part in mistake.says if part not in printed.message] == [], printed.message
    if mistake.is_command:
        assert printed.exit_code == mistake.exit_code
    assert sorted(folder.rglob("*.cache")) == before


def test_the_document_shows_what_is_printed(folder):
    assert DOCUMENT.read_text() == document(folder)
