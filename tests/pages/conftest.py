"""One Chromium for all pages, in each test process that opens some."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.harness.browser import chromium


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what opens a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Return a browser; skips where there is none."""
    with chromium() as program:
        yield program
