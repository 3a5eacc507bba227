"""Line drawings within a page: SVG whose text is text and whose colours follow it."""

import re
from pathlib import Path

from markupsafe import Markup, escape

# What a figure's colours are in a page: its style sheet's, which know the dark.
PAGE_COLOURS = {
    "#000000": "currentColor",
    "#2a6f97": "var(--ours)",
    "#c8702a": "var(--leaky)",
    "#c9c9c9": "var(--theirs)",
    "#444444": "var(--muted)",
}
IDS = re.compile(r'(\bid="|href="#|url\(#)')
FONTS = re.compile(r"(font: [\d.]+px)[^;\"]*")


def inline_svg(path: Path, label: str) -> Markup:
    """Return a file of matplotlib as an element of a page, of which it is one of many.

    label: what a screen reader says of it. Its ids get the file's name in front, so
    that two drawings share none.
    """
    text = path.read_text(encoding="utf-8")
    svg = re.sub(r"^.*?(?=<svg)", "", text, count=1, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = IDS.sub(lambda found: f"{found[1]}{path.stem}-", svg)
    svg = FONTS.sub(r"\1 system-ui, sans-serif", svg)
    for colour, own in PAGE_COLOURS.items():
        svg = svg.replace(colour, own)
    # The file is our own figure's, whose texts matplotlib has escaped.
    return Markup(
        svg.replace("<svg", f'<svg role="img" aria-label="{escape(label)}"', 1)
    )
