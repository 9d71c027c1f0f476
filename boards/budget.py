"""Budgets: what builds may take and have to reach, and records of what they did take and reach.

``budgets.json`` has an entry for every build that is kept an eye on, ``records/`` the report of
each (see :class:`firstspike.build_report.BuildReport`) as it was measured last.
``bench/budgets.py`` builds them anew.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from ..firmware.errors import DataError
from .board import Resources

__all__ = ["BUDGETS", "RECORDS", "Budget", "budgets"]

_HERE = Path(__file__).parent
BUDGETS = _HERE / "budgets.json"
RECORDS = _HERE / "records"

#: Of these there may be fewer; of memories there have to be just as many, since one that is missing
#: was made of logic.
_LIMITS = {"luts": "LUTs", "ffs": "flip-flops", "carries": "carry cells"}
_EXACT = {"block_rams": "block RAMs", "large_rams": "large RAMs", "distributed_rams": "LUT RAMs"}


@dataclass(frozen=True)
class Budget:
    """What a build may take and has to reach.

    Parameters
    ----------
    board, network : str
        By name.
    lanes : tuple of int
        Of each layer.
    ways : int
        Spikes per cycle that the last layer takes.
    learning : bool
        Whether the build learns.
    clock_hz, constraint_hz, seed : int
        As in :func:`firstspike.boards.build.build`.
    resources : Resources
        At most so many LUTs, flip-flops and carry cells, and just as many memories.
    fmax_hz : int
        At least.
    """

    board: str
    network: str
    lanes: tuple[int, ...]
    ways: int
    clock_hz: int
    constraint_hz: int
    seed: int
    resources: Resources
    fmax_hz: int
    learning: bool = False

    @property
    def name(self) -> str:
        """Tells it from others; the record's file has this name."""
        name = f"{self.board}_{self.network}_{self.lanes[0]}"
        return f"{name}_learning" if self.learning else name

    def excesses(self, used: Resources, fmax_hz: float) -> list[str]:
        """What a build does not keep to, in a sentence each; none if it keeps to everything."""
        sentences = []
        taken, allowed = asdict(used), asdict(self.resources)
        for kind, called in (_LIMITS | _EXACT).items():
            if taken[kind] > allowed[kind]:
                sentences.append(
                    f"{self.name} takes {taken[kind]} {called}, but its budget is {allowed[kind]}"
                )
        for kind, called in _EXACT.items():
            if taken[kind] < allowed[kind]:
                sentences.append(
                    f"{self.name} takes {taken[kind]} {called} where its budget expects "
                    f"{allowed[kind]}, so a memory may have become logic"
                )
        if fmax_hz < self.fmax_hz:
            sentences.append(
                f"{self.name} reaches {fmax_hz / 1e6:.2f} MHz, but its budget is "
                f"{self.fmax_hz / 1e6:g} MHz"
            )
        return sentences

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read an entry of ``budgets.json``."""
        values = dict(values)
        return cls(
            lanes=tuple(values.pop("lanes")),
            resources=Resources(**values.pop("resources")),
            **values,
        )


def budgets(path: Path = BUDGETS) -> list[Budget]:
    """Every budget.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    try:
        return [Budget.from_dict(entry) for entry in json.loads(path.read_text())]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} holds no budgets ({error}); restore it") from error
