"""What the components of a design take, out of the netlist that Yosys writes."""

import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from ..firmware.errors import BuildError
from .board import Resources

__all__ = ["TOP", "Netlist", "part_of"]

#: Where cells are that are in no component: pins, clock, reset.
TOP = "board"

#: The accelerator itself is no part of the names of its components.
_ROOT = "accelerator"

#: Yosys tells instances of one name apart by a number.
_NUMBERED = re.compile(r"\$\d+$")

#: A name made by Yosys or nextpnr is that of a signal, followed by types and ports of cells.
_MADE = re.compile(r"[_$][A-Z]{2}[A-Z0-9]*(_|$)|\$|\[|\.\d")


class Netlist:
    """The cells of a flattened design by the component that they come from.

    A cell is named after a signal that it drives or is driven by, and the signal after the
    component that it is in; so logic right behind a component's input may count to the component
    around it.

    Parameters
    ----------
    path : path
        Yosys's netlist as JSON, flattened.

    Raises
    ------
    BuildError
        If the file cannot be read or holds no flattened netlist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            modules = json.loads(Path(path).read_text())["modules"]
            (top,) = (module for module in modules.values() if _is_top(module))
            cells = {name: cell["type"] for name, cell in top["cells"].items()}
        except OSError as error:
            raise BuildError(
                f"{path} cannot be read ({error.strerror or error}); build again"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BuildError(f"{path} is no netlist of Yosys ({error}); build again") from error
        self._scopes = {name for name, kind in cells.items() if kind == "$scopeinfo"}
        if not self._scopes:
            raise BuildError(
                f"{path} does not say what its cells come from; let Yosys flatten the design with "
                "scope information"
            )
        self._cells = {name: kind for name, kind in cells.items() if kind != "$scopeinfo"}

    @property
    def counts(self) -> Counter[str]:
        """Number of cells of each type."""
        return Counter(self._cells.values())

    def component(self, name: str) -> str:
        """The component of a cell or net, such as ``core.layer_0.neuron_3``.

        Names that nextpnr made of Yosys's are as good. What is in no component is empty.
        """
        names = [_NUMBERED.sub("", part) for part in self._split(name)[0]]
        while names[1:] and names[0] == _ROOT:
            del names[0]
        return ".".join(names)

    def signal(self, name: str) -> str:
        """The signal that a cell or net is named after, without its component; may be empty."""
        rest = self._split(name)[1]
        made = _MADE.search(rest)
        return rest[: made.start()] if made else rest

    def resources(self, cells: Mapping[str, Resources]) -> dict[str, Resources]:
        """What each part takes, in the order of their names.

        Parts are the components that :func:`part_of` gives.

        Parameters
        ----------
        cells : mapping
            What a cell of each type takes.
        """
        counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name, kind in self._cells.items():
            if kind in cells:
                counts[part_of(self.component(name)) or TOP][kind] += 1
        return {name: Resources.of(counts[name], cells) for name in sorted(counts)}

    def _split(self, name: str) -> tuple[list[str], str]:
        """The names of the components around a cell or net, and the rest."""
        parts = name.split(".")
        for length in range(len(parts) - 1, 0, -1):
            if ".".join(parts[:length]) in self._scopes:
                return parts[:length], ".".join(parts[length:])
        return [], name


def part_of(component: str) -> str:
    """The component that a table lists, which ``component`` is or is in.

    Those are the parts of the accelerator and of the core, and the weight memories of the layers;
    buffers of pins count to the board.
    """
    names = component.split(".")
    if names[0].startswith("pin_"):
        return TOP
    if names[0] != "core":
        return names[0]
    return ".".join(names[: 3 if names[2:3] == ["weights"] else 2])


def _is_top(module: dict) -> bool:
    return int(module["attributes"].get("top", "0"), 2) == 1
