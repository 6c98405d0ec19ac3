"""Two axes with round numbers, and lines across the area between them."""

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from qprune_cli.report.scale import Scale, short
from qprune_cli.report.svg import node

WIDTH, HEIGHT = 400.0, 270.0  # of every chart: at this width its letters are legible on a phone
LEFT, RIGHT, TOP, BOTTOM = 54.0, 14.0, 26.0, 42.0
SIDES = {"left": (LEFT + 5, ""), "middle": ((LEFT + WIDTH - RIGHT) / 2, "middle"), "right": (WIDTH - RIGHT - 4, "end")}  # of a line's name


@dataclass(frozen=True)
class Axes:
    """The two axes of a chart: where values lie on the drawing, and how their numbers are written.

    Attributes:
        x: values to the right.
        y: values upward.
        x_title: what stands below.
        y_title: what stands above, over the numbers of the upward axis.
        x_text: how the numbers of the axis to the right are written.
        y_text: how those of the upward axis are.
    """

    x: Scale
    y: Scale
    x_title: str
    y_title: str
    x_text: Callable[[float], str] = short
    y_text: Callable[[float], str] = short

    @staticmethod
    def over(
        x: tuple[float, float],
        y: tuple[float, float],
        titles: tuple[str, str],
        log: tuple[bool, bool] = (False, False),
        texts: tuple[Callable[[float], str], Callable[[float], str]] = (short, short),
    ) -> "Axes":
        """Axes of a chart of the usual size.

        Args:
            x: least and largest value to the right.
            y: upward.
            titles: of both.
            log: which are logarithmic.
            texts: how their numbers are written.
        """
        across, up = Scale(*x, LEFT, WIDTH - RIGHT, log[0]), Scale(*y, HEIGHT - BOTTOM, TOP, log[1])
        return Axes(across, up, *titles, *texts)

    def drawn(self) -> Markup:
        """The grid, the numbers and the titles of both axes as SVG."""
        parts = [node("text", self.y_title, x=2.0, y=13.0, class_="axis")]
        for value in self.y.ticks(5):
            y = self.y(value)
            parts.append(node("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid"))
            parts.append(node("text", self.y_text(value), x=LEFT - 6, y=y + 4, class_="tick end"))
        for value in self.x.ticks(6):
            x = self.x(value)
            parts.append(node("line", x1=x, x2=x, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM + 4, class_="rule"))
            parts.append(node("text", self.x_text(value), x=x, y=HEIGHT - BOTTOM + 17, class_="tick middle"))
        parts.append(node("line", x1=LEFT, x2=WIDTH - RIGHT, y1=HEIGHT - BOTTOM, y2=HEIGHT - BOTTOM, class_="rule"))
        parts.append(node("text", self.x_title, x=WIDTH - RIGHT, y=HEIGHT - 6, class_="axis end"))
        return Markup("").join(parts)

    def level(self, value: float, name: str, kind: str = "", below: bool = False, side: str = "left") -> Markup:
        """A line across at a value, with its name above or below it: at the ``left``, in the ``middle`` or at the ``right``."""
        y = self.y(value)
        x, anchor = SIDES[side]
        position = {"x": x, "class_": f"note {anchor}".strip()}
        words = node("text", name, y=y + (13 if below else -5), **position) if name else Markup("")
        return node("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_=f"level {kind}".strip()) + words
