"""The pages' templates: their environment and filters."""

import re
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from src import __version__
from src.console import cell

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: object) -> str:
    """Render a template of templates/; raises if it names a value that is not given."""
    return _environment().get_template(template).render(values)


def code_spans(text: str) -> Markup:
    """Escape a sentence for HTML and turn its words in back-ticks into code spans."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": cell, "code_spans": code_spans}
    environment.globals["version"] = __version__
    return environment
