"""Pages of stores whose videos have hostile names, in a real browser."""

from pathlib import Path

import pytest
from frame_cache_tools.report import write_report
from frame_cache_tools.report.folder import page_of_folder, report_of_folder

from cache_builder import build_cache, open_videos
from frame_store import open_store
from frame_store.verify import verify_store
from loader import FrameLoader
from tests.support.pages.browser import (
    assert_accessible,
    assert_fits_its_window,
    assert_opens_by_keyboard,
    open_browser,
    opened,
    printed,
    tab_through,
)
from tests.support.videos.tiny_videos import tiny_video

FOLDER = "<script>alert(1)<"
VIDEO = "<img src=x onerror=alert(1)>.mp4"


@pytest.fixture(scope="module")
def browser():
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def videos(browser, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile") / FOLDER
    folder.mkdir()
    for number, name in enumerate([VIDEO, "plain.mp4"]):
        tiny_video(folder, path=Path(name), video_number=number, num_frames=12)
    (folder / "text.mp4").write_bytes(b"hello" * 100)  # a word that no line of a phone holds
    return folder


@pytest.fixture(scope="module")
def cache(videos):
    out = videos.parent / "<b>a" / "a.cache"
    out.parent.mkdir()
    build_cache(videos, out, size=32, workers=1, on_error="skip")
    return out


def test_outputs_of_a_notebook_are_harmless_and_readable(browser, videos, cache, tmp_path):
    store = open_store(cache)
    batch = next(iter(FrameLoader(store, batch_size=4, frame_offsets=(0, 1, 2), seed=0)))
    shown = [store, open_videos(videos, size=32), batch, verify_store(cache)]
    page = tmp_path / "notebook.html"
    outputs = "".join(f"<section>{each._repr_html_()}</section>" for each in shown)
    page.write_text(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Outputs</title><style>"
        ":root{color-scheme:light dark}body{margin:8px;background:Canvas;color:CanvasText}</style>"
        f"<body><main><h1>Outputs</h1>{outputs}</main>"
    )
    with opened(browser, page) as seen:
        assert seen.get_by_text(VIDEO, exact=False).count() >= 2
        assert seen.locator("script, img[src='x']").count() == 0
        assert all(seen.eval_on_selector_all("img", "all => all.map(each => each.naturalWidth > 0)"))
        assert_accessible(seen)
        assert_fits_its_window(seen)
        assert tab_through(seen) == []
        printed(seen)


def assert_page_is_sound(browser, path, *, names):
    """A page of ours: hostile names are text, and everybody can use it, by eye, by keyboard and on paper."""
    with opened(browser, path) as seen:
        for name in names:
            assert seen.get_by_text(name, exact=False).count(), name
        assert seen.locator("script").count() == 1
        assert seen.locator("img:not([src^='data:image/jpeg;base64,'])").count() == 0
        assert all(seen.eval_on_selector_all("img", "all => all.map(each => each.naturalWidth > 0)"))
        assert_opens_by_keyboard(seen)
        assert_fits_its_window(seen)  # and leaves all details open
        assert_accessible(seen)
        tab_through(seen)
        copy = seen.locator("button[data-copies=snippet]")
        copy.focus()
        seen.keyboard.press("Enter")
        seen.get_by_role("button", name="Copied").wait_for()
        assert seen.evaluate("navigator.clipboard.readText()") == seen.locator("#snippet").text_content()
        printed(seen)


def test_the_page_of_a_cache_is_sound(browser, cache, tmp_path):
    page = tmp_path / "cache.html"
    write_report(cache, page)
    assert_page_is_sound(browser, page, names=[VIDEO])


def test_the_page_of_a_folder_is_sound(browser, videos, tmp_path):
    (videos / "<b>.mp4").write_text("This is no video.\n")
    page = tmp_path / "folder.html"
    report = report_of_folder(videos, workers=1, with_estimate=False)
    (videos / "<b>.mp4").unlink()
    page.write_text(page_of_folder(report))
    assert_page_is_sound(browser, page, names=[VIDEO, FOLDER, "<b>.mp4"])


GOOD = "<!doctype html><html lang=en><meta charset=utf-8><title>T</title><main><h1>H</h1>{}</main>"


@pytest.mark.parametrize(
    ("body", "found", "look"),
    [
        ("<img alt=a src=https://a.example/a.png>", "request of https://a.example", None),
        ("<img alt=a src=missing.png>", "request of file:", None),
        ("<script>alert(1)</script>", "dialog: 1", None),
        ("<script>console.error('oh')</script>", "console: oh", None),
        ("<script>throw 'up'</script>", "up", None),
        (
            "<meta http-equiv=Content-Security-Policy content=\"script-src 'none'\"><script>1</script>",
            "policy",
            None,
        ),
        ("<p style='color:#aaa;background:#fff'>pale</p>", "color-contrast", assert_accessible),
        ("<div style='width:900px'>wide</div>", "360, 9", assert_fits_its_window),
        ("<button style='outline:none'>b</button>", "no visible focus", tab_through),
        ("<a href=#a tabindex=2>a</a><a href=#b tabindex=1>b</a>", "tabindex", tab_through),
        (
            "<details><summary onkeydown='event.preventDefault()'>s</summary>t</details>",
            "s",
            assert_opens_by_keyboard,
        ),
        ("<style>@media print{main{width:2000px}}</style>", "794", printed),
    ],
)
def test_what_is_wrong_in_a_page_is_found(browser, tmp_path, body, found, look):
    page = tmp_path / "a.html"
    page.write_text(GOOD.format(body))
    with pytest.raises(AssertionError, match=found), opened(browser, page) as seen:  # noqa: PT012
        if look is not None:
            look(seen)
