"""How often a window that moves over something meets an element of it."""

from functools import cache


@cache
def meetings(
    of: int, size: int, results: int, *, stride: int = 1, low: int = 0, between: int = 1, apart: int = 1
) -> int:
    """Along one dimension: for how many results and elements of the window there is an element below.

    of, size, results: the lengths of what is below, of the window and of the result. low: the padding in front.
    between, apart: how far the elements below, and those of the window, are from each other.
    """
    last = (of - 1) * between
    begins = range(-low, -low + results * stride, stride)
    positions = (begin + element * apart for begin in begins for element in range(size))
    return sum(0 <= position <= last and position % between == 0 for position in positions)
