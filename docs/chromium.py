"""The Chromium on this machine, for the pictures of docs and the tests of pages."""

import os
import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def find_browser() -> str | None:
    """Find the browser that CHROMIUM names, or one on the PATH; None without."""
    wanted = (os.environ.get("CHROMIUM"), *NAMES)
    return next(
        (path for name in wanted if name and (path := shutil.which(name))), None
    )
