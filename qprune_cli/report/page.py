"""From templates to one self-contained page: styles and pictures lie in it, and nothing is fetched."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qprune_cli.report import text


def render(template: str, **values: Any) -> str:
    """Fill a template; everything is escaped that is not a drawing.

    Args:
        template: its name.
        values: what it shows.
    """
    pages = _pages()
    assert pages.loader is not None
    style, _, _ = pages.loader.get_source(pages, "style.css")
    return pages.get_template(template).render(style=Markup(style), **values)


@cache
def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("qprune_cli.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters |= {name: getattr(text, name) for name in ("count", "macs", "size", "ms", "share")}
    return pages
