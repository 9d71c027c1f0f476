"""Sweeps: what a board gives for a network of so many lanes and weight bits, point by point."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from .document import (
    Document,
    html_figure,
    html_list,
    html_page,
    html_table,
    make_folder,
    text_table,
)
from .firmware.errors import BuildError, CapacityError, DataError, ModelFileError
from .shipped import load_network, names

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

__all__ = ["RECORD", "Outcome", "Point", "Settings", "Sweep", "measure", "run", "variant"]

#: The file that a sweep goes on from.
RECORD = "sweep.json"

#: Seconds that a build has to put its files in order when it is interrupted.
_GRACE = 10


@dataclass(frozen=True)
class Point:
    """One build of a sweep.

    Parameters
    ----------
    network : str
        By name or file.
    bits : int
        Of its weights.
    lanes : int
        Of the first layer; the board says how many later layers have.
    """

    network: str
    bits: int
    lanes: int

    def __str__(self) -> str:
        return f"{self.bits} bits, {self.lanes} lanes"


@dataclass(frozen=True)
class Settings:
    """What all points of a sweep share.

    Parameters
    ----------
    board : str
    constraint_hz : int
        What place and route is asked for; higher than it can reach, so that it does what it can.
    seed : int
    ways : int
        Spikes per cycle that the last layer takes.
    """

    board: str
    constraint_hz: int
    seed: int = 1
    ways: int = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a point.

    Parameters
    ----------
    point : Point
    error : str
        Why there is no build; empty if there is one, and only then the rest means something.
    used : dict
        Resources by kind.
    fmax_hz : float
        What place and route reached.
    cycles : float
        Mean clock cycles an image.
    latency_us : float
        The same in microseconds, at the clock reached.
    accuracy : float
    limit : str
        What limits the clock.
    seconds : float
        Wall time of the tools.
    """

    point: Point
    error: str = ""
    used: dict[str, int] = field(default_factory=dict)
    fmax_hz: float = 0
    cycles: float = 0
    latency_us: float = 0
    accuracy: float = 0
    limit: str = ""
    seconds: float = 0

    def __str__(self) -> str:
        if self.error:
            return f"{self.point}: {self.error}"
        return (
            f"{self.point}: {self.used['luts']} LUT, {self.fmax_hz / 1e6:.1f} MHz, "
            f"{self.latency_us:.2f} µs, {100 * self.accuracy:.2f} %"
        )


@dataclass(frozen=True)
class Sweep(Document):
    """Points of a sweep and what became of them.

    Parameters
    ----------
    settings : Settings
    outcomes : sequence of Outcome
    """

    settings: Settings
    outcomes: Sequence[Outcome]

    _WRITERS: ClassVar = {**Document._WRITERS, ".md": methodcaller("to_markdown")}

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        return f"Lanes and weight bits on {self.settings.board}"

    @property
    def lead(self) -> str:
        """How it was measured, in a sentence."""
        return (
            f"Spikes per cycle that the last layer takes: {self.settings.ways}. Place and route "
            f"was asked for {self.settings.constraint_hz / 1e6:g} MHz, seed {self.settings.seed}; "
            "latencies are at the clock that it reached."
        )

    def table(self) -> list[tuple[str, ...]]:
        """A row for each point; those without a build have none of the figures."""
        rows: list[tuple[str, ...]] = [
            ("weight bits", "lanes", "LUT", "FF", "block RAM", "Fmax, MHz", "cycles an image",
             "latency, µs", "accuracy", "wall time"),
        ]  # fmt: skip
        for outcome in self.outcomes:
            point = (f"{outcome.point.bits}", f"{outcome.point.lanes}")
            if outcome.error:
                rows.append((*point, *["–"] * 8))
                continue
            rows.append(
                (
                    *point,
                    *(f"{outcome.used[kind]}" for kind in ("luts", "ffs", "block_rams")),
                    f"{outcome.fmax_hz / 1e6:.1f}",
                    f"{outcome.cycles:.1f}",
                    f"{outcome.latency_us:.2f}",
                    f"{100 * outcome.accuracy:.2f} %",
                    f"{outcome.seconds / 60:.1f} min",
                )
            )
        return rows

    def remarks(self) -> list[str]:
        """Sentences below the table: what there is no build of, and why."""
        return [str(outcome) for outcome in self.outcomes if outcome.error]

    def to_text(self) -> str:
        parts = [self.title, "", *text_table(self.table()), "", self.lead]
        return "\n".join([*parts, *self.remarks()])

    def to_markdown(self) -> str:
        """The table, for documentation."""
        head, *body = (f"| {' | '.join(row)} |" for row in self.table())
        rule = "|---" * len(self.table()[0]) + "|"
        return "\n".join([head, rule, *body, "", self.lead, *(f"- {r}" for r in self.remarks())])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self.settings) | {"points": [asdict(outcome) for outcome in self.outcomes]}

    def to_html(self) -> str:
        from . import plots

        parts = [html_table(self.table()), html_figure("Against lanes", plots.sweep(self))]
        if self.remarks():
            parts.append(html_list(self.remarks()))
        return html_page(self.title, self.lead, parts)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ModelFileError
            If the file cannot be read or holds no sweep.
        """
        try:
            values = json.loads(Path(path).read_text())
            outcomes = [
                Outcome(**entry | {"point": Point(**entry["point"])})
                for entry in values.pop("points")
            ]
            return cls(Settings(**values), outcomes)
        except OSError as error:
            raise ModelFileError(f"{path} cannot be read ({error.strerror or error})") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(
                f"{path} holds no sweep ({error}); choose another folder or remove the file"
            ) from error


def variant(network: str, bits: int) -> str:
    """The network like ``network`` whose weights have so many bits.

    Parameters
    ----------
    network : str
        A file, which has to have them, or the name of a network that comes with Firstspike, of
        which there may be others whose names go on.
    bits : int

    Returns
    -------
    str
        Its name.

    Raises
    ------
    DataError
        If there is none.
    ModelFileError
        If there is no such network at all.
    """
    candidates = [network, *(name for name in names() if name.startswith(f"{network}-"))]
    there: dict[int, str] = {}
    for name in candidates:
        widest = max(layer.weight_bits for layer in load_network(name).layers)
        there.setdefault(widest, name)
    if bits not in there:
        raise DataError(
            f"{network} was asked for with {bits}-bit weights, but there "
            f"{_that_there_are(sorted(there))}; choose --bits among them"
        )
    return there[bits]


def _that_there_are(bits: Sequence[int]) -> str:
    """Words for the networks that have so many bits, such as ``are networks with 2 and 4 bits``."""
    *most, last = map(str, bits)
    return (
        f"are networks with {', '.join(most)} and {last} bits"
        if most
        else (f"is one with {last} bits")
    )


def measure(settings: Settings, point: Point) -> Outcome:
    """Build a point and measure it; that the tools cannot build it is an outcome as well.

    Raises
    ------
    FirstspikeError
        If it is not the point's fault that there is no build.
    """
    from .boards import load
    from .boards.build import build, configure
    from .build_report import BuildReport
    from .data import encode_test_images

    board = load(settings.board)
    network = load_network(point.network)
    # First, so that no build is lost on a network whose images cannot be had.
    samples, labels, dataset = encode_test_images(network)
    lanes = [point.lanes] + [board.later_lanes] * (len(network.layers) - 1)
    try:
        built = build(
            board,
            configure(board, network, lanes, ways=settings.ways),
            seed=settings.seed,
            constraint_hz=settings.constraint_hz,
            allow_timing_miss=True,
        )
    except (BuildError, CapacityError, DataError) as error:
        if isinstance(error.__cause__, OSError | ImportError):
            raise
        return Outcome(point, error=str(error))
    report = BuildReport.of(built, network, samples, labels, dataset)
    cycles = report.cycle_spread.mean
    return Outcome(
        point,
        used=asdict(built.used),
        fmax_hz=built.fmax_hz,
        cycles=cycles,
        latency_us=1e6 * cycles / built.fmax_hz,
        accuracy=report.accuracy,
        limit=str(report.critical_path or ""),
        seconds=sum(built.seconds.values()),
    )


def run(
    settings: Settings,
    points: Sequence[Point],
    folder: Path,
    *,
    jobs: int = 1,
    again: bool = False,
    progress: Callable[[str], None] | None = None,
    measure: Callable[[Settings, Point], Outcome] = measure,
) -> Sweep:
    """Measure points, each in a process of its own, and keep what is finished in ``folder``.

    Points that the folder has are not measured again, unless ``again`` asks for it.

    Parameters
    ----------
    settings : Settings
    points : sequence of Point
    folder : Path
        Made if it is not there.
    jobs : int
        Points that are measured at a time.
    again : bool
        Whether to retry points that failed to build.
    progress : callable, optional
        Is told, in a sentence, of each point that is begun or finished.
    measure : callable
        Does the work of one point.

    Returns
    -------
    Sweep
        The points asked for, in their order.

    Raises
    ------
    ModelFileError
        If the folder holds something else than a sweep.
    DataError
        If it holds a sweep with other settings.
    FirstspikeError
        If the folder cannot be written, or a point fails for a reason that is not its own.
    """
    finished = _resume(settings, folder)
    if again:
        finished = {point: there for point, there in finished.items() if not there.error}
    asked = list(dict.fromkeys(points))
    waiting = [point for point in asked if point not in finished]
    tell = progress or (lambda sentence: None)
    if len(waiting) < len(asked):
        tell(f"{len(asked) - len(waiting)} of {len(asked)} points are there already")
    running: dict[Connection, tuple[Point, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                point = waiting.pop(0)
                tell(f"{point}: begun")
                receiver, process = _start(measure, settings, point)
                running[receiver] = point, process
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                outcome = _receive(ready, *running.pop(ready))
                finished[outcome.point] = outcome
                Sweep(settings, list(finished.values())).save(folder / RECORD)
                tell(str(outcome))
    finally:
        _stop([process for _, process in running.values()])
    return Sweep(settings, [finished[point] for point in asked])


def _resume(settings: Settings, folder: Path) -> dict[Point, Outcome]:
    """What a folder holds of a sweep with these settings."""
    make_folder(folder)
    if not (folder / RECORD).exists():
        return {}
    earlier = Sweep.load(folder / RECORD)
    for name, asked in asdict(settings).items():
        there = getattr(earlier.settings, name)
        if asked != there:
            raise DataError(
                f"{folder} holds a sweep with {name} {there}, but {asked} was asked for; choose "
                "another folder"
            )
    return {outcome.point: outcome for outcome in earlier.outcomes}


def _start(
    measure: Callable[[Settings, Point], Outcome], settings: Settings, point: Point
) -> "tuple[Connection, SpawnProcess]":
    """Begin a point in a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(measure, settings, point, sender), daemon=True)
    process.start()
    sender.close()
    return receiver, process


def _work(
    measure: Callable[[Settings, Point], Outcome],
    settings: Settings,
    point: Point,
    sender: Connection,
) -> None:
    """Measure a point and send what became of it, be it an error."""
    # Only the sweep interrupts a build, and once; even if a shell had it ignore interrupts.
    os.setpgrp()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sender.send(measure(settings, point))
    except KeyboardInterrupt:
        pass
    except Exception as error:
        sender.send(error)


def _receive(receiver: Connection, point: Point, process: "SpawnProcess") -> Outcome:
    """Take what a process sent, and raise if that is an error."""
    try:
        result = receiver.recv()
    except EOFError:
        process.join()
        raise BuildError(
            f"the build with {point} ended without a result (exit code {process.exitcode}), "
            "perhaps for want of memory; repeat the command with --jobs 1, it goes on where it was"
        ) from None
    finally:
        receiver.close()
    process.join()
    if isinstance(result, Exception):
        raise result
    assert isinstance(result, Outcome)
    return result


def _stop(processes: "Sequence[SpawnProcess]") -> None:
    """Interrupt what still runs, so that it can end the tools that it has started."""
    for process in processes:
        if process.pid is not None and process.is_alive():
            os.kill(process.pid, signal.SIGINT)
    deadline = time.monotonic() + _GRACE
    for process in processes:
        process.join(max(0, deadline - time.monotonic()))
        if process.is_alive():
            process.kill()
            process.join()
