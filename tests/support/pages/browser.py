"""Pages in a real browser: Debian's Chromium, driven by Playwright, with the accessibility checks of axe-core.

Nothing is downloaded: `pip install playwright axe-playwright-python` and the system's `chromium` are all it takes.
Without them, `open_browser` skips the test.
"""

import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
_WIDTHS = (360, 820, 1400)
_INTERACTIVE = "a[href], button, summary, input, select, textarea, [tabindex]:not([tabindex='-1'])"
_MARK_VISIBLE = f"""() => {{
  const shown = [...document.querySelectorAll({_INTERACTIVE!r})].filter(
    each => each.checkVisibility({{checkOpacity: true, checkVisibilityCSS: true}}) && !each.disabled);
  shown.forEach((each, number) => each.setAttribute('data-number', number));
  return shown.map(each => each.outerHTML.slice(0, 120));
}}"""
_TO_TOP = """() => {  // a blur alone would leave the place from which Tab goes on
  scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex');
}"""
_FOCUSED = """() => {
  const each = document.activeElement;
  if (!each || each === document.body || each === document.documentElement) return null;
  const style = getComputedStyle(each);
  const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0;
  const box = each.getBoundingClientRect();
  return {number: Number(each.getAttribute('data-number')), tag: each.tagName, html: each.outerHTML.slice(0, 120),
          marked: outlined || style.boxShadow !== 'none',
          on_screen: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth};
}"""


@contextmanager
def open_browser():
    """A browser, which several pages may use; skips where there is none."""
    for package in ("playwright", "axe_playwright_python"):
        if find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    executable = next(filter(None, map(shutil.which, _CHROMIUM)), None)
    if executable is None:
        pytest.skip("no chromium is installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser, path: Path):
    """The page of an HTML file, which may load nothing but itself; afterwards nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1400, "height": 900}, reduced_motion="reduce")
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    wrong = []
    address = path.as_uri()

    def route(route):
        if route.request.url == address:
            route.continue_()
        else:
            wrong.append(f"request of {route.request.url[:200]}")
            route.abort()

    def dismiss(dialog):
        wrong.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    context.route("**/*", route)
    context.route_web_socket("**/*", lambda socket: wrong.append(f"socket to {socket.url}"))
    page = context.new_page()
    page.on("dialog", dismiss)
    page.on("pageerror", lambda error: wrong.append(f"error: {error}"))
    page.on(
        "console",
        lambda line: wrong.append(f"console: {line.text}") if line.type in {"error", "warning"} else None,
    )
    page.add_init_script(
        "addEventListener('securitypolicyviolation', e => console.error('policy: ' + e.violatedDirective))"
    )
    try:
        page.goto(address)
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def assert_accessible(page):
    """No violation of axe-core's rules in light, and of its rule on contrast in dark: nothing else differs."""
    from axe_playwright_python.sync_playwright import Axe

    for look, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
        page.emulate_media(color_scheme=look)
        found = [
            (look, each["id"], each["help"], [node["html"][:150] for node in each["nodes"][:3]])
            for each in Axe()
            .run(page, options={"resultTypes": ["violations"], **rules})
            .response["violations"]
        ]
        assert not found, found
    page.emulate_media(color_scheme="light")


def assert_fits_its_window(page):
    """The page itself does not scroll to the side, on a telephone, a tablet and a desk, with everything opened."""
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    for width in _WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        widest = page.evaluate("document.documentElement.scrollWidth")
        assert widest <= width, (width, widest)
    page.set_viewport_size({"width": 1400, "height": 900})


def tab_through(page, *, most=400):
    """Press Tab from the top to the end of the page: every element that takes part is reached, and is seen to be.

    Returns the elements' beginnings in order.
    """
    expected = page.evaluate(_MARK_VISIBLE)
    page.evaluate(_TO_TOP)
    reached = []
    for _ in range(min(most, len(expected) + 1)):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None:
            break
        assert focused["marked"], f"no visible focus: {focused['html']}"
        assert focused["on_screen"], f"focused where nobody sees it: {focused['html']}"
        reached.append(focused["number"])
    missed = [expected[number] for number in sorted({*range(len(expected))} - {*reached})]
    assert not missed or len(expected) > most, missed
    assert reached == sorted(reached), "the order of Tab is not that of the page"
    return expected


def assert_opens_by_keyboard(page):
    """Every `details` that is closed opens with Enter on its summary, and closes again."""
    for summary in page.query_selector_all("details:not([open]) > summary"):
        if not summary.is_visible():
            continue
        summary.focus()
        page.keyboard.press("Enter")
        assert summary.evaluate("each => each.parentElement.open"), summary.inner_text()
        page.keyboard.press("Enter")
        assert not summary.evaluate("each => each.parentElement.open"), summary.inner_text()


def printed(page):
    """The page as PDF; on paper it must not be wider than the sheet."""
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 794, "height": 1123})  # A4 at 96 dots an inch
    widest = page.evaluate("document.documentElement.scrollWidth")
    assert widest <= 794, f"{widest} pixels on a sheet of 794"
    assert page.inner_text("body").strip(), "nothing is printed"
    pdf = page.pdf(format="A4")
    page.emulate_media(media="screen")
    page.set_viewport_size({"width": 1400, "height": 900})
    assert pdf.startswith(b"%PDF")
    return pdf
