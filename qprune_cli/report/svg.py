"""Drawings as inline SVG: elements that are escaped, coloured by classes of the page's style sheet, and described in words."""

import hashlib

from markupsafe import Markup, escape

VOID = ("img",)  # elements that HTML never closes


def node(name: str, *children: object, **attributes: object) -> Markup:
    """One element of SVG or HTML; texts are escaped, attributes that are None are left out.

    Args:
        name: of the element.
        children: elements and texts.
        attributes: ``stroke_width=2`` becomes ``stroke-width="2"``, ``class_="a"`` becomes ``class="a"``.

    Example:
        >>> str(node("text", "a < b", x=1.0, class_="tick"))
        '<text x="1" class="tick">a &lt; b</text>'
    """
    written = "".join(f' {escape(_name(key))}="{escape(_value(value))}"' for key, value in attributes.items() if value is not None)
    inside = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{written}>" if name in VOID else f"<{name}{written}>{inside}</{name}>")


def picture(width: float, height: float, title: str, description: str, *children: object) -> Markup:
    """A drawing with its text alternative.

    Args:
        width: of the drawing's own coordinates; it is scaled to the page.
        height: likewise.
        title: what it is.
        description: what is to be seen in it, in a sentence with figures.
        children: elements.
    """
    name = f"p{hashlib.sha256(f'{title}{description}'.encode()).hexdigest()[:10]}"
    words = node("title", title, id=f"{name}t"), node("desc", description, id=f"{name}d")
    return node("svg", *words, *children, viewBox=f"0 0 {_value(width)} {_value(height)}", role="img", aria_labelledby=f"{name}t {name}d")


def path(points: list[tuple[float, float]]) -> str:
    """A line through points, as the ``d`` of a path.

    Example:
        >>> path([(0, 1), (2.25, 3)])
        'M0 1L2.2 3'
    """
    return "".join(f"{'L' if k else 'M'}{_value(x)} {_value(y)}" for k, (x, y) in enumerate(points))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")


def _value(value: object) -> object:
    """Numbers to a tenth, which no eye can tell from more."""
    if not isinstance(value, float):
        return value
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text
