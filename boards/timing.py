"""What limits the clock, out of nextpnr's report."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..firmware.errors import BuildError
from .cells import TOP, Netlist

__all__ = ["CriticalPath", "Segment", "Timing"]


@dataclass(frozen=True)
class Segment:
    """One part of a path.

    Parameters
    ----------
    kind : str
        ``clk-to-q``, ``logic``, ``routing`` or ``setup``.
    delay_ns : float
    source, target : str
        Components of the cells at its ends.
    """

    kind: str
    delay_ns: float
    source: str
    target: str


@dataclass(frozen=True)
class CriticalPath:
    """The path that takes longest.

    Parameters
    ----------
    start, end : str
        Components of the registers or memories at its ends.
    start_signal, end_signal : str
        Their signals; empty where the tools gave them no name.
    segments : sequence of Segment
    """

    start: str
    end: str
    start_signal: str
    end_signal: str
    segments: Sequence[Segment]

    @property
    def delay_ns(self) -> float:
        """How long it takes."""
        return sum(segment.delay_ns for segment in self.segments)

    @property
    def routing_share(self) -> float:
        """Share of that which is spent on wires."""
        wires = sum(part.delay_ns for part in self.segments if part.kind == "routing")
        return wires / self.delay_ns if self.segments else 0.0

    @property
    def cells(self) -> int:
        """Cells between its ends."""
        return sum(segment.kind == "logic" for segment in self.segments)

    def by_component(self) -> list[tuple[str, float, float]]:
        """Component, delay of its cells and delay of the wires to the next cell, in their order.

        Neighbours of the same component are joined.
        """
        joined: list[tuple[str, float, float]] = []
        for segment in self.segments:
            name, logic, wires = segment.source, segment.delay_ns, 0.0
            if segment.kind == "routing":
                logic, wires = wires, logic
            if joined and joined[-1][0] == name:
                _, earlier_logic, earlier_wires = joined.pop()
                logic, wires = earlier_logic + logic, earlier_wires + wires
            joined.append((name, logic, wires))
        return joined

    def __str__(self) -> str:
        return (
            f"from {_end(self.start, self.start_signal)} to {_end(self.end, self.end_signal)}, "
            f"{self.delay_ns:.1f} ns, {100 * self.routing_share:.0f} % routing"
        )


def _end(component: str, signal: str) -> str:
    return f"{component} ({signal})" if signal else component


@dataclass(frozen=True)
class Timing:
    """What place and route says of the clocks.

    Parameters
    ----------
    fmax_hz : dict
        What each clock reaches, by nextpnr's name.
    critical : CriticalPath or None
        The path that limits the clock which misses its constraint most, or meets it least; None if
        no register feeds another.
    """

    fmax_hz: dict[str, float]
    critical: CriticalPath | None

    @classmethod
    def load(cls, path: str | os.PathLike[str], netlist: Netlist) -> Self:
        """Read nextpnr's report (``--report``).

        Raises
        ------
        BuildError
            If it cannot be read.
        """
        try:
            report = json.loads(Path(path).read_text())
            fmax = {name: 1e6 * clock["achieved"] for name, clock in report["fmax"].items()}
            margin = {
                f"posedge {name}": clock["achieved"] / clock["constraint"]
                for name, clock in report["fmax"].items()
            }
            inside = [
                path
                for path in report["critical_paths"]
                if path["from"] == path["to"] and path["from"] in margin
            ]
            worst = min(inside, key=lambda path: margin[path["from"]], default=None)
            return cls(fmax, worst and _path(worst["path"], netlist))
        except OSError as error:
            raise BuildError(
                f"{path} cannot be read ({error.strerror or error}); build again"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise BuildError(f"{path} is no report of nextpnr ({error!r}); build again") from error


def _path(steps: list[dict[str, Any]], netlist: Netlist) -> CriticalPath:
    segments: list[Segment] = []
    source = TOP
    for step in steps:
        # Cells that nextpnr added, such as one that enters a carry chain, are where they come from.
        source = netlist.component(step["from"]["cell"]) or source
        target = netlist.component(step["to"]["cell"]) or source
        segments.append(Segment(step["type"], step["delay"], source, target))
    return CriticalPath(
        segments[0].source,
        segments[-1].target,
        netlist.signal(steps[0]["from"]["cell"]),
        netlist.signal(steps[-1]["to"]["cell"]),
        segments,
    )
