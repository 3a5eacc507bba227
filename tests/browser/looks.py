"""What every page has to pass, whatever it shows."""

from typing import Any

import pytest

GRAVE = {"serious", "critical"}
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]
EVERY_LOOK = pytest.mark.parametrize(("width", "scheme"), LOOKS)


def grave_violations(page: Any) -> list[str]:
    """List axe's serious and critical findings: the rule and the first element."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({len(one['nodes'])}): {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in GRAVE
    ]


def missing_pictures(page: Any) -> list[str]:
    """List pictures without pixels and `use` elements without a target."""
    return page.evaluate(
        """() => [
          ...[...document.images].filter(i => !(i.complete && i.naturalWidth > 0))
            .map(i => 'img ' + i.alt),
          ...[...document.querySelectorAll('use')].map(u => u.href.baseVal)
            .filter(h => !h || !document.getElementById(h.slice(1)))
            .map(h => 'use ' + h),
        ]"""
    )


def broken_anchors(page: Any) -> list[str]:
    """List the links within the page that lead nowhere."""
    return page.evaluate(
        """() => [...document.querySelectorAll('a[href^="#"]')]
          .map(a => a.getAttribute('href'))
          .filter(h => h.length < 2 || !document.getElementById(h.slice(1)))"""
    )


def cut_tables(page: Any) -> list[str]:
    """List the tables that reach out of the window and do not scroll in their box."""
    return page.evaluate(
        """() => [...document.querySelectorAll('table')].filter(t => {
          const box = t.closest('.table-box') || t;
          const scrolls = getComputedStyle(box).overflowX === 'auto';
          return box.getBoundingClientRect().right > window.innerWidth + 1
            || (t.scrollWidth > box.clientWidth + 1 && !scrolls);
        }).map(t => t.innerText.slice(0, 80))"""
    )


def overflow_px(page: Any) -> int:
    """Return by how many pixels the page is wider than its window."""
    return page.evaluate(
        "() => document.documentElement.scrollWidth - window.innerWidth"
    )


def ground(page: Any) -> tuple[int, ...]:
    """Return red, green and blue of the page's background."""
    colour = page.evaluate(
        """() => [document.body, document.documentElement]
          .map(e => getComputedStyle(e).backgroundColor)
          .find(c => c.startsWith('rgb('))"""
    )
    return tuple(int(part) for part in colour[4:-1].split(","))


def assert_sound(page: Any, scheme: str) -> None:
    """Assert all of the above, and that the ground is dark only where it should be."""
    assert missing_pictures(page) == []
    assert broken_anchors(page) == []
    assert overflow_px(page) <= 0
    assert (sum(ground(page)) > 3 * 128) is (scheme == "light")
    assert grave_violations(page) == []
