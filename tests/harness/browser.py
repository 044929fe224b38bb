"""Pages in a real browser, Chromium, that notes what goes wrong and what it is asked to fetch."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Dialog, Page, sync_playwright

READY = "main:not([aria-busy])"
"""A page of charlm has drawn itself and unpacked all its numbers."""
USUAL: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"}


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield one browser for many pages; skips where there is none."""
    program = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no Chromium on this machine")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Window:
    """A page opened from disk, as a reader has it before them.

    Readers without settings of their own share one tab, one after the other, because a new one costs half a second.
    """

    def __init__(self, browser: Browser, path: Path, fragment: str = "", **settings: Any) -> None:
        self.trouble: list[str] = []
        self.fetched: list[str] = []
        self._own = browser.new_context(**USUAL | settings) if settings else None
        shared = self._own or (browser.contexts[0] if browser.contexts else browser.new_context(**USUAL))
        self.page: Page = shared.pages[0] if shared.pages else shared.new_page()
        self.page.set_default_timeout(20_000)
        self._listeners = {
            "console": lambda message: self._note(message.type, message.text),
            "pageerror": lambda error: self.trouble.append(str(error)),
            "dialog": self._refuse,
            "request": lambda request: self.fetched.append(request.url.partition("#")[0]),
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)
        self.page.goto(f"{path.as_uri()}{fragment}")
        self.page.wait_for_selector(READY)

    def _refuse(self, dialog: Dialog) -> None:
        self.trouble.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.trouble.append(text)

    def look(self, expression: str, argument: Any = None) -> Any:
        """Return what an expression of JavaScript is, once the page is up to date."""
        return self.page.evaluate(f"argument => {{ charlm.render(); return {expression} }}", argument)

    def each(self, selector: str, expression: str) -> Any:
        """Return what an expression is for each ``node`` that the selector finds."""
        return self.look(f"[...document.querySelectorAll(argument)].map((node) => {expression})", selector)

    def close(self) -> None:
        """Close the page; it must have run without trouble and fetched nothing but itself."""
        itself = self.page.url.partition("#")[0]
        if self._own:
            self._own.close()
        else:
            for event, listener in self._listeners.items():
                self.page.remove_listener(event, listener)
            self.page.goto("about:blank")
            self.page.mouse.move(0, 0)
        assert self.trouble == []
        assert {url for url in self.fetched if not url.startswith("blob:")} == {itself}


@contextmanager
def window(browser: Browser, path: Path, fragment: str = "", **settings: Any) -> Iterator[Window]:
    """Open a page from disk, and see at its close that all was well."""
    opened = Window(browser, path, fragment, **settings)
    yield opened
    opened.close()
