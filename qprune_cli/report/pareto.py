"""What is not beaten in both: quality and cost."""

from collections.abc import Sequence


def front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which (cost, quality) no other one beats: none is at most as dear and better, or cheaper and at least as good.

    A point with something that is no number is on no front; equal points are on it together.

    Example:
        >>> front([(1.0, 30.0), (2.0, 31.0), (2.0, 29.0), (3.0, 31.0)])
        [True, True, False, False]
    """
    finite = [point for point in points if point == point and all(value == value for value in point)]
    return [
        all(value == value for value in (cost, quality))
        and not any(c <= cost and q >= quality and (c, q) != (cost, quality) for c, q in finite)
        for cost, quality in points
    ]
