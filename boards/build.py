"""From a configuration to a bitstream, or to one sentence that says why there is none."""

import hashlib
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ..firmware import __version__
from ..firmware.config import DROPOUT_DRAWS, Config
from ..firmware.errors import BuildError, DataError, FirstspikeError
from ..firmware.files import cache_folder, locked, write_atomically
from ..firmware.network import Network
from .board import Board, PlannedMemory, Resources
from .fit import check_memories, check_netlist
from .tools import Progress, find_all

if TYPE_CHECKING:
    from .top import Top

__all__ = ["NEURONS", "Build", "build", "check_flash", "configure"]

#: Choices of the first layer's neurons; ``auto`` takes the smallest that suit the network.
NEURONS = ("auto", "current", "sum")

#: As far as the read command of every flash reaches.
_FLASH_BYTES = 1 << 24
#: What a flash erases at once.
_FLASH_BLOCK = 0x10000

_RECORD = "build.json"
_NETLIST = "top.json"
_REPORT = "report.json"
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


def configure(
    board: Board,
    network: Network,
    lanes: Sequence[int] | None = None,
    *,
    neuron: str = "auto",
    ways: int = 1,
    learning: bool = False,
) -> Config:
    """The configuration that ``board`` is to be built with for ``network``.

    It takes no more block RAM than needed: the receive buffer just holds the longest frame.

    Parameters
    ----------
    board : Board
    network : Network
    lanes : sequence of int, optional
        For all layers or for each. Default: the board's.
    neuron : str
        One of :data:`NEURONS`.
    ways : int
        Spikes per cycle that the last layer takes.
    learning : bool
        Build what learns; the board's own lanes of hidden layers are then rounded down to what can.
    """
    if lanes is None:
        lanes = [board.lanes, *[board.later_lanes] * (len(network.layers) - 1)]
        if learning:
            lanes[:-1] = [count - count % DROPOUT_DRAWS for count in lanes[:-1]]
    if neuron == "auto":
        in_step_0 = network.meta.get("encoding", {}).get("kind") == "binary"
        neuron = "sum" if in_step_0 and len(network.layers) > 1 else "current"
    config = Config.for_network(network, lanes, neuron=neuron, ways=ways, learning=learning)
    smaller = config.buffer_bytes
    while smaller > 1:
        smaller //= 2
        try:
            config = replace(config, buffer_bytes=smaller)
        except DataError:
            break
    if board.buffer_bytes is not None:
        config = replace(config, buffer_bytes=max(config.buffer_bytes, board.buffer_bytes))
    layers = []
    # The regions of the layers come first.
    for layer, region in zip(config.layers, config.regions, strict=False):
        way = replace(region, words=-(-region.words // layer.ways))
        layers.append(replace(layer, fetch_cycles=board.family.fetch_cycles(way)))
    return replace(config, layers=layers)


def check_flash(board: Board) -> None:
    """Refuse a board that cannot boot a model from its flash.

    Raises
    ------
    DataError
        If it has no flash that the design can read.
    """
    if board.flash is None:
        raise DataError(
            f"{board.name} has no flash that a model could be booted from; build without "
            "--boot-flash and load the model over the link"
        )


def _check_flash(board: Board, address: int) -> None:
    check_flash(board)
    if address not in range(0, _FLASH_BYTES, _FLASH_BLOCK):
        raise DataError(
            f"the flash was to hold a model at {address:#x}, but it is written in blocks of "
            f"{_FLASH_BLOCK:#x} from 0 to {_FLASH_BYTES - _FLASH_BLOCK:#x}; choose the start of "
            "one behind the bitstream"
        )


def _check_room(bitstream: Path, address: int) -> None:
    """Refuse a model that would lie where the bitstream does."""
    size = bitstream.stat().st_size
    if address < size:
        behind = -(-size // _FLASH_BLOCK) * _FLASH_BLOCK
        raise DataError(
            f"the flash was to hold a model at {address:#x}, but the bitstream takes its first "
            f"{size:#x} bytes; choose {behind:#x} or a later block"
        )


def build(
    board: Board,
    config: Config,
    *,
    clock_hz: int | None = None,
    baud: int | None = None,
    seed: int = 1,
    native: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
    allow_timing_miss: bool = False,
    constraint_hz: int | None = None,
    boot_flash: int | None = None,
) -> Build:
    """Make a bitstream, or find it in the cache.

    Parameters
    ----------
    board : Board
    config : Config
    clock_hz, baud : int, optional
        Default: the board's. The clock is the nearest that the clock plan reaches.
    seed : int
        Of the placement.
    native : bool
        Take the tools on PATH instead of those from PyPI.
    folder : Path, optional
        Folder for a copy of the build, which is otherwise left in the cache.
    progress : callable, optional
        Told what is being done and, where known, the share of it that is done.
    allow_timing_miss : bool
        Return a build that misses timing, which has no bitstream, instead of raising.
    constraint_hz : int, optional
        What place and route is asked for. Default: the clock.
    boot_flash : int, optional
        Address in the board's flash of an image to boot from; see ``docs/flash.md``.

    Raises
    ------
    DataError
        If there is no such address in the board's flash.
    BuildError
        If a tool is missing or fails, the design does not fit, or timing is missed.
    """
    if boot_flash is not None:
        _check_flash(board, boot_flash)
    progress = progress or (lambda text, share: None)
    asked = board.clock_hz if clock_hz is None else clock_hz
    baud = board.baud if baud is None else baud
    clock_hz = board.family.nearest_clock(board, asked)
    constraint_hz = clock_hz if constraint_hz is None else constraint_hz
    steps = board.family.commands(board, constraint_hz=constraint_hz, seed=seed)
    tools = find_all(dict.fromkeys(step.tool for step in steps), native=native)

    started = time.monotonic()
    progress("elaborating", None)
    try:
        from ..hdl.uart import bit_period
        from .top import Top

        # First, since it may refuse the baud rate.
        bit_period(clock_hz, baud)
        planned = board.family.memory_plan(config)
        check_memories(board, config, planned)

        def files(build_id: int) -> dict[str, str]:
            top = Top(
                board,
                config,
                clock_hz=clock_hz,
                baud=baud,
                build_id=build_id,
                boot_flash=boot_flash,
            )
            return _files(board, top, constraint_hz)

        # Everything that a build depends on; the design includes the configuration.
        identity = [
            __version__,
            board.name,
            *(f"{name}\0{text}" for name, text in files(0).items()),
            *(f"{step.tool} {' '.join(step.arguments)}" for step in steps),
            *(f"{tool.name} {tool.version}" for tool in tools.values()),
        ]
        key = hashlib.sha256("\0".join(identity).encode()).digest()
        build_id = int.from_bytes(key[:4], "big")
        cache = cache_folder("builds")
        entry = cache / key.hex()[:32]

        def make(work: Path) -> None:
            for name, text in files(build_id).items():
                (work / name).write_text(text)
            seconds = {"elaborate": time.monotonic() - started}
            cells: list[tuple[str, str]] = []
            for step in steps:
                began = time.monotonic()
                if step.stage == "pack" and _fmax(work) < clock_hz:
                    break
                progress(step.tool, None)
                tools[step.tool].run(step, work, progress)
                seconds[step.stage] = time.monotonic() - began
                if step.stage == "synthesise":
                    cells = _cells(work / _NETLIST)
                    check_netlist(board, planned, cells)
            bitstream = work / board.family.bitstream
            made = bitstream.exists()
            if made and boot_flash is not None:
                _check_room(bitstream, boot_flash)
            Build(
                board=board.name,
                folder=work,
                config=config,
                clock_hz=clock_hz,
                constraint_hz=constraint_hz,
                baud=baud,
                seed=seed,
                fmax_hz=_fmax(work),
                tools={name: tool.version for name, tool in tools.items()},
                seconds={name: round(value, 1) for name, value in seconds.items()},
                used=_used(board, work, cells),
                available=board.resources,
                planned=planned,
                bitstream=bitstream if made else None,
                sha256=hashlib.sha256(bitstream.read_bytes()).hexdigest() if made else "",
                build_id=build_id,
                netlist=work / _NETLIST,
                timing=work / _REPORT,
                logs=tuple(work / step.log for step in steps if (work / step.log).exists()),
            ).save()

        if not (entry / _RECORD).exists():
            _make_entry(entry, make)
        if folder is not None:
            shutil.copytree(entry, folder, dirs_exist_ok=True)
    except OSError as error:
        raise BuildError(
            f"the build could not be written to {error.filename or cache_folder('builds')} "
            f"({error.strerror or error}); make room there or set XDG_CACHE_HOME to another folder"
        ) from error
    except ImportError as error:
        raise BuildError(
            f"the package {error.name} is not installed; pip install 'firstspike[boards]'"
        ) from error
    finished = Build.load(entry if folder is None else folder)
    if steps and not (finished.meets_timing or allow_timing_miss):
        raise BuildError(
            f"{board.name} was asked for {clock_hz / 1e6:.2f} MHz, but place and route reached "
            f"{finished.fmax_hz / 1e6:.2f} MHz; try --clock {_below(finished.fmax_hz)} or another "
            f"--seed (the reports are in {finished.folder})"
        )
    return finished


def _below(hz: float) -> str:
    """A clock in MHz that is a little slower than ``hz``."""
    return f"{int(hz / 1e6 * 0.98)}"


def _make_entry(entry: Path, make: Callable[[Path], None]) -> None:
    """Let ``make`` fill the cache's folder ``entry``, which appears whole or not at all.

    A build that fails leaves its logs in a folder beside it, for reading; the next attempt
    removes them.
    """
    entry.parent.mkdir(parents=True, exist_ok=True)
    with locked(entry.parent / f"{entry.name}.lock"):
        if (entry / _RECORD).exists():
            return
        work = entry.parent / f"{entry.name}.failed"
        shutil.rmtree(work, ignore_errors=True)
        # Whatever another process left that was killed; the lock tells that none is at work.
        shutil.rmtree(entry, ignore_errors=True)
        work.mkdir()
        try:
            make(work)
            work.rename(entry)
        except FirstspikeError:
            raise
        except BaseException:
            shutil.rmtree(work, ignore_errors=True)
            raise


def _files(board: Board, top: "Top", constraint_hz: int) -> dict[str, str]:
    """The design and its constraints, by file name."""
    # Without source locations the text depends on nothing but the design.
    prepared = board.platform().prepare(
        top, "top", emit_src=False, **board.family.overrides(constraint_hz)
    )
    files = {
        name: text if isinstance(text, str) else text.decode()
        for name, text in prepared.files.items()
    }
    return {
        name: text
        for name, text in files.items()
        if not name.startswith("build_") and not name.endswith(".debug.v")
    }


def _fmax(folder: Path) -> float:
    """What place and route reached, in Hz; 0 without its report."""
    path = folder / _REPORT
    if not path.exists():
        return 0.0
    clocks = json.loads(path.read_text())["fmax"].values()
    return min((clock["achieved"] for clock in clocks), default=0.0) * 1e6


def _used(board: Board, folder: Path, cells: list[tuple[str, str]]) -> Resources:
    """What the placed design takes, as nextpnr counts, or Yosys where nextpnr does not."""
    path = folder / _REPORT
    if not path.exists():
        return Resources()
    utilisation = json.loads(path.read_text())["utilization"]
    counts = {kind: entry["used"] for kind, entry in utilisation.items()}
    synthesised = Resources.of(Counter(kind for _, kind in cells), board.family.cells)
    placed = Resources.of(counts, board.family.cells)
    return Resources(
        **{name: value or getattr(synthesised, name) for name, value in asdict(placed).items()}
    )


def _cells(netlist: Path) -> list[tuple[str, str]]:
    """Names and types of the cells of a flattened netlist."""
    cells = json.loads(netlist.read_text())["modules"]["top"]["cells"]
    return [(name, cell["type"]) for name, cell in cells.items()]
