"""Samples a second of processor time, and a table of them."""

import time
from collections.abc import Callable, Mapping

__all__ = ["rate", "rate_lines"]


def rate(run: Callable[[], object], count: int, repeats: int = 1) -> float:
    """Samples a second if ``run`` goes through ``count`` of them, the best of ``repeats``."""
    best = float("inf")
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return count / best


def rate_lines(rates: Mapping[str, float], peer: str, unit: str) -> list[str]:
    """A line for each of ``rates``, with its ratio to that of the peer, below a head."""
    width = max(map(len, rates)) + 3
    lines = [f"{'one core':<{width}}{unit:>12}{'ratio':>10}"]
    for name, value in rates.items():
        lines.append(f"{name:<{width}}{value:>12,.0f}{value / rates[peer]:>10.2f}")
    return lines
