"""A real browser for the tests of the page: headless Chromium, which may fetch nothing but the page's own file."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Text and its background of every visible text, as [ratio, text]: WCAG 2.2, relative luminance and contrast.
CONTRASTS = """() => {
  const rgba = text => text.match(/[\\d.]+/g).map(Number);
  const linear = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const found = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    if (element.closest("script, style, .sr")) continue;
    const style = getComputedStyle(element), ink = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const pair = [light(rgba(ink)), light(behind(element))].sort((a, b) => b - a);
    found.push([(pair[0] + 0.05) / (pair[1] + 0.05), walker.currentNode.data.trim().slice(0, 40)]);
  }
  return found;
}"""


@contextmanager
def launched() -> Iterator[Any]:
    """The browser; skips the tests that need it where it or playwright is missing."""
    driver = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[dev]')")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium (Debian: chromium)")
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield browser
        browser.close()


@dataclass
class Seen:
    """What must not happen: requests beyond the page, errors and warnings of the script, boxes that pop up."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@contextmanager
def visit(browser: Any, path: Path, place: str = "", **options: Any) -> Iterator[Any]:
    """The page at `path` in a window of its own; fails when it fetched, complained or popped up anything."""
    seen = Seen()
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.set_default_timeout(10_000)

    def fetch(route: Any) -> None:
        if route.request.url.partition("#")[0] == path.as_uri():
            route.continue_()
        else:
            seen.requests.append(route.request.url)
            route.abort()

    def popped(box: Any) -> None:
        seen.complaints.append(f"{box.type}: {box.message}")
        box.dismiss()

    context.route("**/*", fetch)
    page.on("dialog", popped)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("console", lambda told: seen.complaints.append(told.text))
    try:
        page.goto(path.as_uri() + place)
        yield page
    finally:
        context.close()
    assert seen == Seen()


def cell(page: Any, target: str) -> Any:
    """The button of a number."""
    return page.locator(f'[id="{target}"]')


def focused(page: Any) -> str:
    """The id of the element that has the focus."""
    return str(page.evaluate("document.activeElement.id"))
