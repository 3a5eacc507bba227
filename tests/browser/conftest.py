"""A headless Chromium, and pages opened in it that must be without faults.

    python -m pytest -m browser tests/browser

Skipped where Playwright or a Chromium is missing. The browser is the first of CHROMIUM
(an environment variable) and the usual names on the PATH.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docs.chromium import FLAGS, NAMES, find_browser

pytest.register_assert_rewrite("looks")  # before it is imported: says what was found
HEIGHT = 900
Open = Callable[..., Any]  # a path and how to look at it, to Playwright's Page


# Not of the session: the driver's event loop would stay in the way of other tests.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Start the browser."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright installed")
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} on the PATH, no CHROMIUM")
    with api.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=[*FLAGS])
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Open pages; at the end none may have had an error or a failed request."""
    contexts, faults = [], []

    def open_it(
        path: Path,
        width: int = 1280,
        scheme: str = "light",
        script: bool = True,
        anchor: str = "",
    ) -> Any:
        context = browser.new_context(
            viewport={"width": width, "height": HEIGHT},
            color_scheme=scheme,
            java_script_enabled=script,
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "console",
            lambda said: (
                said.type == "error" and faults.append(f"console: {said.text}")
            ),
        )
        page.on("requestfailed", lambda asked: faults.append(f"failed: {asked.url}"))
        page.on("request", lambda asked: faults.extend(_outside(asked.url)))
        page.goto(path.as_uri() + anchor)
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert faults == []


def _outside(url: str) -> list[str]:
    """List a request that is for neither a file nor something within the page."""
    return [] if url.startswith(("file:", "data:", "blob:")) else [f"asked for {url}"]
