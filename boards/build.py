"""From a configuration to a bitstream, or to one sentence that says why there is none."""

import json
import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from ..firmware.config import Config
from ..firmware.errors import BuildError
from ..firmware.files import write_atomically
from .board import PlannedMemory, Resources

__all__ = ["Build"]

_RECORD = "build.json"
_PATHS = ("bitstream", "netlist", "timing")


@dataclass(frozen=True)
class Build:
    """A finished build; its files are in ``folder``, and ``build.json`` there describes it.

    Parameters
    ----------
    board : str
    folder : Path
    config : Config
    clock_hz : int
        The core's clock, exactly.
    constraint_hz : int
        What place and route was asked for.
    baud, seed : int
    fmax_hz : float
        What place and route reached; 0 where the vendor's tools have yet to do it.
    tools : dict
        Version of each tool.
    seconds : dict
        Wall time of ``elaborate``, ``synthesise``, ``place_and_route`` and ``pack``.
    used, available : Resources
    planned : list of PlannedMemory
    bitstream : Path or None
        None if timing was missed.
    sha256 : str
        Of the bitstream; empty if there is none.
    build_id : int
        The 32 bits that the device tells of itself.
    netlist : Path
        Yosys's, flattened; names carry the hierarchy.
    timing : Path
        nextpnr's report.
    logs : tuple of Path
    """

    board: str
    folder: Path
    config: Config
    clock_hz: int
    constraint_hz: int
    baud: int
    seed: int
    fmax_hz: float
    tools: dict[str, str]
    seconds: dict[str, float]
    used: Resources
    available: Resources
    planned: list[PlannedMemory]
    bitstream: Path | None
    sha256: str
    build_id: int
    netlist: Path
    timing: Path
    logs: tuple[Path, ...] = field(default=())

    @property
    def meets_timing(self) -> bool:
        """Whether place and route reached the clock."""
        return self.fmax_hz >= self.clock_hz

    def to_dict(self) -> dict[str, Any]:
        """Everything but the folder, as plain JSON values; file names are relative to it."""
        values: dict[str, Any] = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        del values["folder"]
        values["config"] = json.loads(self.config.to_json())
        values["used"] = asdict(self.used)
        values["available"] = asdict(self.available)
        values["planned"] = [asdict(memory) for memory in self.planned]
        for name in _PATHS:
            values[name] = values[name] and values[name].name
        values["logs"] = [path.name for path in self.logs]
        return values

    def save(self) -> None:
        """Write ``build.json``.

        Raises
        ------
        FirstspikeError
            If the folder cannot be written.
        """
        with write_atomically(self.folder / _RECORD) as file:
            file.write(json.dumps(self.to_dict(), indent=2).encode() + b"\n")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        BuildError
            If there is no build in ``folder``, or its description is damaged.
        """
        folder = Path(folder)
        path = folder / _RECORD
        try:
            values = json.loads(path.read_text())
            values["config"] = Config.from_json(json.dumps(values["config"]))
            values["used"] = Resources(**values["used"])
            values["available"] = Resources(**values["available"])
            values["planned"] = [PlannedMemory(**memory) for memory in values["planned"]]
            for name in _PATHS:
                values[name] = values[name] and folder / values[name]
            values["logs"] = tuple(folder / name for name in values["logs"])
            return cls(folder=folder, **values)
        except OSError as error:
            raise BuildError(
                f"{folder} holds no build ({path.name}: {error.strerror or error}); make one with "
                "`firstspike build`"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BuildError(
                f"{path} describes no build ({error}); build again with `firstspike build`"
            ) from error
