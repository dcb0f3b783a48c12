"""A browser for the tests of a module, and its pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.chromium import Page, chromium


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture
def opened(folder: Path, browser: Page) -> Callable[[str], Page]:
    """Opens a page of the module's own ``folder``; what came up in it before is forgotten."""

    def open_(name: str) -> Page:
        browser.problems.clear()
        browser.asked.clear()
        browser.open((folder / name).as_uri())
        return browser

    return open_
