"""Whatever texts say, a page has the elements and attributes that the code wrote, and no others."""

from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from frame_store.html import Html, InlineScript, InlineStyle, element, joined, name_of, picture_of, shrunk
from frame_store.shared import without_controls


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


HOSTILE = [
    "<img src=x onerror=alert(1)>.mp4",
    "</script><script>alert(1)</script>",
    "\"'><svg onload=alert(1)>",
    "\x00\x1b[2J\u202egnp.exe\u2066",
    "a&lt;b&amp;#60;script&#62;",
    "\ud800 lone",
    "--><!-- ]]>",
]


@given(st.text(max_size=60))
@example(HOSTILE[0])
@example(HOSTILE[1])
@example(HOSTILE[2])
@example(HOSTILE[3])
@example(HOSTILE[4])
@example(HOSTILE[5])
@example(HOSTILE[6])
def test_texts_and_attributes_stay_texts_and_attributes(text: str) -> None:
    reader = _Reader()
    reader.feed(str(element("p", text, joined([text, "x"], between=text), title=text, class_="c")))
    reader.close()
    assert reader.tags == [("p", [("title", without_controls(text)), ("class", "c")])]
    shown = without_controls(text, kept="\n")
    assert "".join(reader.texts) == f"{shown}{shown}{shown}x"


@given(st.text(max_size=60))
@example(HOSTILE[3])
def test_names_have_no_character_that_changes_the_text_around_them(text: str) -> None:
    reader = _Reader()
    reader.feed(str(name_of(text)))
    reader.close()
    assert reader.tags == [("bdi", [("class", "name")])]
    assert "".join(reader.texts).isprintable()


@pytest.mark.parametrize(
    ("tag", "attributes"),
    [
        ("script", {}),
        ("iframe", {}),
        ("a", {"href": "https://elsewhere.example"}),
        ("a", {"href": "javascript:alert(1)"}),
        ("img", {"src": "https://elsewhere.example/a.png"}),
        ("img", {"src": "data:image/svg+xml;base64,AAAA"}),
        ("p", {"onclick": "alert(1)"}),
        ("p", {"ONCLICK": "alert(1)"}),
        ("p", {"style": "background: red"}),
        ("rect", {"fill": "url(https://elsewhere.example)"}),
        ("p", {"a b": "x"}),
    ],
)
def test_what_runs_code_or_loads_something_is_refused(tag: str, attributes: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"element|attribute|link|src"):
        element(tag, **attributes)


def test_markup_cannot_be_made_elsewhere() -> None:
    with pytest.raises(TypeError, match="escape"):
        Html("<b>", made_by=object())
    for wrong in (lambda: InlineScript(text="</script>"), lambda: InlineStyle(text="a{b:url(x)}")):
        with pytest.raises(ValueError, match="holds no end"):
            wrong()


def test_a_picture_is_the_mean_of_what_it_covers() -> None:
    frame = np.zeros((4, 8, 3), np.uint8)
    frame[:, 4:] = 200
    small = shrunk(frame, 4)
    assert small.shape == (2, 4, 3)
    assert small[0, :, 0].tolist() == [0, 0, 200, 200]
    assert shrunk(frame, 8) is frame


def test_depth_is_scaled_between_its_levels_which_are_stated() -> None:
    frame = np.full((8, 8, 1), 1000, np.uint16)
    frame[:, 4:] = 3000
    picture = picture_of(frame, quality=95)
    assert picture.levels == (1000, 3000) and (picture.width, picture.height) == (8, 8)
    assert picture == picture_of(frame.copy(), quality=95)
    assert str(picture.html(alt="<a>")).startswith('<img src="data:image/jpeg;base64,')
    assert len(str(picture.html(alt=""))) >= picture.num_page_bytes
