"""What failures leave of a program's time, in closed form, and the best time from one checkpoint to the next.

Failures come at random and do not know of each other, as atoms decay; with B seconds between two on average, work is
saved every T seconds, which takes S, and a restart takes R. Then T seconds of work take
B exp(R / B) (exp((T + S) / B) - 1) on average, with all that is done again, and with failures while the program saves
and restarts (Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, 2006). The best T
solves exp((T + S) / B) (1 - T / B) = 1, whatever R is; for S far below B that is about sqrt(2 S B) (Young, 1974).
"""

from math import exp, expm1, inf, log, sqrt

_MOST = 700.0  # exp of more is no number


def expected_goodput(work: float, save: float, restart: float, between: float) -> float:
    """The part of the time that goes into work that is kept."""
    if max((work + save) / between, restart / between) > _MOST:
        return 0.0
    return work / (between * exp(restart / between) * expm1((work + save) / between))


def best_interval(save: float, between: float) -> float:
    """The seconds of work between two checkpoints that leave most."""
    low, high = 0.0, 1.0
    for _ in range(100):
        middle = (low + high) / 2
        # Both sides of the equation as logarithms, so that no large number is needed.
        if middle + save / between + (log(1 - middle) if middle < 1 else -inf) > 0:
            low = middle
        else:
            high = middle
    return low * between


def best_steps(step: float, save: float, restart: float, between: float) -> int:
    """The same in whole steps."""
    fewer = max(1, int(best_interval(save, between) / step))
    return max((fewer, fewer + 1), key=lambda steps: expected_goodput(steps * step, save, restart, between))


def young(save: float, between: float) -> float:
    """The best interval, if saving takes far less time than passes between failures."""
    return sqrt(2 * save * between)
