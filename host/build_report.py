"""Reports of builds: what a bitstream takes of the part, how fast it is, and what limits it."""

import html
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .compile import compile
from .document import Document, html_figure, html_page, html_table, text_table
from .firmware.config import Config
from .firmware.errors import DataError
from .firmware.framing import Frame
from .firmware.network import Network
from .firmware.protocol import ANSWER, Op, Outcome, encode_sample
from .shipped import load_network, names

if TYPE_CHECKING:
    from .boards.board import Board, Resources
    from .boards.build import Build
    from .boards.cells import Netlist
    from .boards.timing import CriticalPath

__all__ = ["BAUDS", "BuildReport", "LinkRate", "Spread", "network_of"]

#: The first row is the head.
_Table = list[tuple[str, ...]]

#: Rates of the line that images a second are told for.
BAUDS = (115_200, 1_000_000, 3_000_000, 12_000_000)

#: A byte on the line has a start and a stop bit, and the receiver needs this many clocks a bit.
_LINE_BITS, _CLOCKS_PER_BIT = 10, 4

#: Kinds of resources, as :class:`~firstspike.boards.board.Resources` and a reader call them.
RESOURCES = {
    "luts": "LUT",
    "ffs": "FF",
    "block_rams": "block RAM",
    "large_rams": "large RAM",
    "carries": "carry",
    "distributed_rams": "LUT RAM",
}


@dataclass(frozen=True)
class Spread:
    """Mean, median and the value that 99 % of the samples stay below."""

    mean: float
    median: float
    p99: float

    @classmethod
    def of(cls, values: np.ndarray) -> Self:
        """The spread of one value a sample."""
        return cls(float(values.mean()), float(np.median(values)), float(np.percentile(values, 99)))

    def __mul__(self, factor: float) -> "Spread":
        return Spread(self.mean * factor, self.median * factor, self.p99 * factor)


@dataclass(frozen=True)
class LinkRate:
    """What a line of some baud rate can carry.

    Parameters
    ----------
    baud : int
    images_per_second : float
        0 if the clock is too slow for the line.
    limit : str
        What would have to be faster for more.
    """

    baud: int
    images_per_second: float
    limit: str


@dataclass(frozen=True, eq=False)
class BuildReport(Document):
    """A build, and what a network does on it.

    Parameters
    ----------
    build : Build
    network : Network
    dataset : str
        What the samples are, such as ``mnist test``.
    accuracy : float
    cycles : (batch,) integers
        Clock cycles from the first event of each sample to its result.
    busy_cycles : float
        Mean of the cycles in which the device can take no other image.
    request_bytes, answer_bytes : float
        Mean of those on the line for an image.
    """

    build: "Build"
    network: Network
    dataset: str
    accuracy: float
    cycles: np.ndarray
    busy_cycles: float
    request_bytes: float
    answer_bytes: float

    @classmethod
    def of(
        cls, build: "Build", network: Network, samples: np.ndarray, labels: np.ndarray, dataset: str
    ) -> Self:
        """Infer samples and predict what the device takes for each.

        Parameters
        ----------
        build : Build
        network : Network
        samples : (batch, inputs) integers
            Spike steps.
        labels : (batch,) integers
            The true classes.
        dataset : str

        Raises
        ------
        CapacityError
            If the network does not fit the build.
        DataError
            If there are no samples, or they do not suit network or labels.
        """
        from .sim import fast
        from .sim.cycles import predict
        from .sim.result import summarise

        compile(network, build.config)
        inference = fast.infer(network, samples)
        summary = summarise(inference, labels, network)
        cycles = predict(build.config, network, samples, inference)
        requests = [encode_sample(sample) for sample in samples]
        sent = [len(Frame(op, 0, 0, payload).encode()) for op, payload in requests]
        # A sample is read while the one before is in the core; see the sample reader.
        spikes = (samples >= 0).sum(axis=1)
        extra = [
            spikes[index] if op == Op.INFER_BITMAP else len(payload) // 2
            for index, (op, payload) in enumerate(requests)
        ]
        outcome = Outcome(0, 0, True, 0, (0,) * len(network.layers))
        return cls(
            build,
            network,
            dataset,
            float(summary.accuracy or 0),
            cycles,
            float(np.maximum(cycles + 1, np.add(sent, extra)).mean()),
            float(np.mean(sent)),
            len(Frame(Op.INFER_BITMAP | ANSWER, 0, 0, outcome.encode()).encode()),
        )

    @property
    def title(self) -> str:
        """What was measured, in a line."""
        return f"{self.network.meta.get('name', 'network')} on {self.board.title}"

    @cached_property
    def board(self) -> "Board":
        """What it was built for."""
        from .boards import load

        return load(self.build.board)

    @property
    def clock_hz(self) -> float:
        """The clock that the figures are for: the build's, or what it reached if that is less."""
        reached = self.build.fmax_hz or self.build.clock_hz
        return min(self.build.clock_hz, reached)

    @property
    def cycle_spread(self) -> Spread:
        """Clock cycles an image."""
        return Spread.of(self.cycles)

    @property
    def latency_us(self) -> Spread:
        """Microseconds from the first event to the result, at :attr:`clock_hz`."""
        return self.cycle_spread * (1e6 / self.clock_hz)

    @property
    def images_per_second(self) -> float:
        """Images that the core alone does, one after the other."""
        return self.clock_hz / (self.cycle_spread.mean + 1)

    def over_link(self, baud: int) -> LinkRate:
        """What a line can carry if no bit is lost on it and the host is quick enough."""
        if baud * _CLOCKS_PER_BIT > self.build.clock_hz:
            return LinkRate(baud, 0, f"clock below {baud * _CLOCKS_PER_BIT / 1e6:g} MHz")
        seconds = {
            "line to the device": self.request_bytes * _LINE_BITS / baud,
            "line to the host": self.answer_bytes * _LINE_BITS / baud,
            "device": self.busy_cycles / self.clock_hz,
        }
        limit = max(seconds, key=lambda name: seconds[name])
        return LinkRate(baud, 1 / seconds[limit], limit)

    @cached_property
    def components(self) -> dict[str, "Resources"]:
        """What each part of the design takes, and at the end what place and route added."""
        from .boards.board import Resources

        netlist = self._netlist
        if netlist is None:
            return {}
        parts = netlist.resources(self.board.family.cells)
        sums = asdict(sum(parts.values(), Resources()))
        added = {kind: count - sums[kind] for kind, count in asdict(self.build.used).items()}
        if any(added.values()):
            parts["place and route"] = Resources(**added)
        return parts

    @cached_property
    def critical_path(self) -> "CriticalPath | None":
        """What limits the clock; None where the vendor's tools have yet to find it."""
        from .boards.timing import Timing

        netlist = self._netlist
        return Timing.load(self.build.timing, netlist).critical if netlist else None

    @cached_property
    def _netlist(self) -> "Netlist | None":
        from .boards.cells import Netlist

        return Netlist(self.build.netlist) if self.build.fmax_hz else None

    # Tables

    def figures(self) -> list[tuple[str, str]]:
        """What there is to say in a line each: what, how much."""
        build, latency, cycles = self.build, self.latency_us, self.cycle_spread
        weights = [layer.weights.size for layer in self.network.layers]
        bits = [layer.weight_bits for layer in self.network.layers]
        total = sum(size * width for size, width in zip(weights, bits, strict=True))
        clock = f"{build.clock_hz / 1e6:g} MHz"
        if build.fmax_hz:
            verdict = "met" if build.meets_timing else "missed"
            clock += (
                f", {verdict}: {build.fmax_hz / 1e6:.2f} MHz reached, "
                f"{build.constraint_hz / 1e6:g} MHz asked of place and route"
            )
        at = f"at {self.clock_hz / 1e6:g} MHz"
        rows = [
            ("board", f"{self.board.title}, {self.board.part}"),
            ("network", str(self.network)),
            ("weights", f"{sum(weights):,} of {_joined(bits)} bits, {total / 1024:,.0f} Kibit"),
            ("lanes", _joined([layer.lanes for layer in build.config.layers])),
            ("accuracy", f"{100 * self.accuracy:.2f} % of {len(self.cycles)}, {self.dataset}"),
            ("clock", clock),
            ("cycles an image", f"mean {cycles.mean:.1f}, median {cycles.median:g}, "
             f"99 % {cycles.p99:g}"),
            (f"latency {at}", f"mean {latency.mean:.2f} µs, median {latency.median:.2f} µs, "
             f"99 % {latency.p99:.2f} µs"),
            (f"core alone {at}", f"{self.images_per_second:,.0f} images a second"),
        ]  # fmt: skip
        if self.critical_path:
            rows.append(("what limits the clock", str(self.critical_path)))
        rows += [
            ("bitstream", f"SHA-256 {build.sha256}" if build.sha256 else "none"),
            ("build", f"{build.build_id:08x}, seed {build.seed}, {build.baud} baud"),
            ("tools", ", ".join(dict.fromkeys(build.tools.values())) or "none"),
            ("wall time", ", ".join(f"{name.replace('_', ' ')} {seconds:.0f} s"
                                    for name, seconds in build.seconds.items())),
        ]  # fmt: skip
        return rows

    def resource_table(self) -> _Table:
        """What the whole takes of the part."""
        used, available = asdict(self.build.used), asdict(self.build.available)
        rows: _Table = [("", "used", "available", "share")]
        for kind, name in RESOURCES.items():
            if used[kind] or available[kind]:
                of, share = "–", "–"
                if available[kind]:
                    of, share = f"{available[kind]}", f"{100 * used[kind] / available[kind]:.1f} %"
                rows.append((name, f"{used[kind]}", of, share))
        return rows

    def component_table(self) -> _Table:
        """What each part of the design takes, with its share of the part's LUTs."""
        kinds = [kind for kind, count in asdict(self.build.used).items() if count]
        rows: _Table = [("", *(RESOURCES[kind] for kind in kinds), "share of LUT")]
        whole = self.build.available.luts
        for name, resources in self.components.items():
            counts = asdict(resources)
            share = f"{100 * resources.luts / whole:.1f} %" if whole else "–"
            rows.append((name, *(f"{counts[kind]}" for kind in kinds), share))
        return rows

    def memory_table(self) -> _Table:
        """The memories, and what each is made of."""
        rows: _Table = [("", "words", "bits", "kind", "number")]
        rows += [
            (
                memory.name,
                f"{memory.words or '–'}",
                f"{memory.bits or '–'}",
                memory.kind,
                f"{memory.blocks}",
            )
            for memory in self.build.planned
        ]
        return rows

    def link_table(self) -> _Table:
        """Images a second over lines of several rates."""
        rows: _Table = [("baud", "images a second", "limited by")]
        for rate in map(self.over_link, BAUDS):
            shown = f"{rate.images_per_second:,.0f}" if rate.images_per_second else "–"
            rows.append((f"{rate.baud}", shown, rate.limit))
        return rows

    def _tables(self) -> dict[str, _Table]:
        tables: dict[str, _Table] = {
            "Resources": self.resource_table(),
            "By component": self.component_table(),
            "Memories": self.memory_table(),
            "Over the link": self.link_table(),
        }
        return {name: rows for name, rows in tables.items() if len(rows) > 1}

    # Formats

    def to_text(self) -> str:
        figures = self.figures()
        width = max(len(what) for what, _ in figures)
        lines = [self.title, "", *(f"{what:<{width}}  {value}" for what, value in figures)]
        for name, rows in self._tables().items():
            lines += ["", name, *text_table(rows)]
        return "\n".join([*lines, "", _LINK_NOTE])

    def to_dict(self) -> dict[str, Any]:
        from . import __version__

        build, path = self.build, self.critical_path
        described = build.to_dict()
        for name in ("bitstream", "netlist", "timing", "logs"):
            del described[name]
        return {
            "firstspike": __version__,
            "build": described,
            "network": {
                "name": self.network.meta.get("name"),
                "shape": list(self.network.shape),
                "steps": self.network.steps,
                "weight_bits": [layer.weight_bits for layer in self.network.layers],
                "weights": [layer.weights.size for layer in self.network.layers],
            },
            "dataset": self.dataset,
            "samples": len(self.cycles),
            "accuracy": self.accuracy,
            "clock_hz": self.clock_hz,
            "cycles": asdict(self.cycle_spread),
            "latency_us": asdict(self.latency_us),
            "images_per_second": self.images_per_second,
            "over_link": [asdict(self.over_link(baud)) for baud in BAUDS],
            "components": {name: asdict(taken) for name, taken in self.components.items()},
            "critical_path": path and {
                "sentence": str(path),
                "delay_ns": path.delay_ns,
                "routing_share": path.routing_share,
                "components": [
                    {"component": name, "logic_ns": logic, "routing_ns": wires}
                    for name, logic, wires in path.by_component()
                ],
            },
        }  # fmt: skip

    def to_html(self) -> str:
        from . import plots

        parts = [html_table([("", ""), *self.figures()])]
        for name, rows in self._tables().items():
            parts += [f"<h2>{html.escape(name)}</h2>", html_table(rows)]
        parts.append(f"<p class=small>{html.escape(_LINK_NOTE)}</p>")
        if self.components:
            figure = plots.components(self.components, self.build.available)
            parts.append(html_figure("Share of the part by component", figure))
        if self.critical_path:
            figure = plots.critical_path(self.critical_path)
            parts.append(html_figure("What limits the clock", figure))
        parts.append(html_figure("Cycles an image", plots.cycles(self.cycles)))
        return html_page(self.title, str(self.network), parts)


_LINK_NOTE = (
    "Over the link: what the bytes of requests and answers allow; batches reach about 97 % of it "
    "(bench/link.py)."
)


def _joined(values: list[int]) -> str:
    """The values of the layers, or the one that they all have."""
    return " / ".join(map(str, values if len(set(values)) > 1 else values[:1]))


def network_of(config: Config) -> Network:
    """The network that comes with Firstspike for which a configuration is the smallest.

    Raises
    ------
    DataError
        If there is none.
    """
    for name in names():
        network = load_network(name)
        if _suits(config, network):
            return network
    raise DataError("the build is for none of the networks that come with Firstspike; give --model")


def _suits(config: Config, network: Network) -> bool:
    if len(network.layers) != len(config.layers):
        return False
    lanes = [layer.lanes for layer in config.layers]
    smallest = Config.for_network(network, lanes, buffer_bytes=config.buffer_bytes)
    return network.shape == (config.inputs, *(layer.neurons for layer in config.layers)) and all(
        ours.weight_bits == theirs.weight_bits and ours.rows == theirs.rows
        for ours, theirs in zip(smallest.layers, config.layers, strict=True)
    )
