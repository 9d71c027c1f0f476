"""The gateware itself, compiled and simulated cycle by cycle."""

import ctypes
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Self

import numpy as np

from .. import firmware
from ..firmware.config import Config
from ..firmware.errors import DataError, Mismatch
from ..firmware.formats import NEVER
from ..firmware.image import Image
from ..firmware.learning import Progress, Rule
from .learner import Learned, check_labels
from .result import Inference
from .verilate import Verilated, required_packages
from .virtual_board import DEFAULT_CLOCK_HZ

__all__ = ["AcceleratorSimulation", "CoreSimulation"]

_HERE = Path(__file__).parent
_ROOM = 1 << 16

#: Samples run in one go: enough to forget the call, few enough for a smooth progress bar.
_CHUNK = 64

#: More than it takes to fetch a word from a memory, besides shifting it out.
_WORD_CYCLES = 32
#: Before a sample, the core looks at its settings.
_SETTLE_CYCLES = 2


@cache
def _gateware_digest() -> str:
    """Changes whenever any source changes that the gateware is made from."""
    with required_packages():
        import amaranth

        from .. import hdl
    digest = hashlib.sha256(amaranth.__version__.encode())
    for package in (firmware, hdl):
        for path in sorted(Path(package.__path__[0]).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


class _Flash(ctypes.Structure):
    """As in ``accelerator.cpp``."""

    _fields_ = (
        ("contents", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("size", "start", "hz", "awake", "risen", "apart")),
        *(
            (name, ctypes.c_uint32)
            for name in ("asleep", "selected", "clock", "bits", "taken", "command", "address")
        ),
        *((name, ctypes.c_uint32) for name in ("fast", "hasty", "early", "stray")),
    )


class _Line(ctypes.Structure):
    """As in ``accelerator.cpp``."""

    _fields_ = (
        ("now", ctypes.c_uint64),
        ("byte_cycles", ctypes.c_uint64),
        ("transmitter_free", ctypes.c_uint64),
        ("patience", ctypes.c_uint64),
        ("still", ctypes.c_uint64),
        ("flash", _Flash),
    )


def _patience(config: Config) -> int:
    """Cycles that no operation of an accelerator exceeds without a byte in or out."""
    from ..hdl.watchdog import stall_limit

    memory = max(region.words * (region.lanes + _WORD_CYCLES) for region in config.regions)
    return 2 * max(stall_limit(config), memory)


class AcceleratorSimulation:
    """The gateware from byte stream to byte stream, as the backend of a virtual board.

    Parameters
    ----------
    config : Config
    clock_hz : int
    build : int
        32 bits that the greeting tells.
    netlist : str, optional
        Verilog of what synthesis has made of the gateware, to simulate in its place.
    waveform : path, optional
        VCD file for every signal's changes; cycles in which nothing changes are left out.
    flash : bytes, optional
        Contents of an SPI flash that it boots from; see ``docs/flash.md``.
    flash_address : int
        Where they begin, and it boots from; before them there are other bytes.

    Raises
    ------
    BuildError
        If a tool is missing or fails.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock_hz: int = DEFAULT_CLOCK_HZ,
        build: int = 0,
        netlist: str | None = None,
        waveform: str | os.PathLike[str] | None = None,
        flash: bytes | None = None,
        flash_address: int = 0,
    ) -> None:
        with required_packages():
            from ..hdl.accelerator import Accelerator
        self.clock_hz = clock_hz
        self._line = _Line(byte_cycles=1, patience=_patience(config))
        boots = None if flash is None else flash_address
        self._contents = ctypes.create_string_buffer(flash or b"", len(flash or b""))
        self._line.flash = _Flash(
            contents=ctypes.addressof(self._contents),
            size=len(flash or b""),
            start=flash_address,
            hz=clock_hz,
            asleep=1,
        )
        self._incoming = np.empty(0, np.uint8)
        self._arrivals = np.empty(0, np.uint64)
        self._outgoing = np.empty(_ROOM, np.uint8)
        self._simulation = Verilated(
            lambda: Accelerator(config, clock_hz=clock_hz, build=build, flash=boots),
            [_HERE / "accelerator.cpp"],
            header=f"#define FLASH {int(boots is not None)}\n",
            identity=f"Accelerator {config.to_json()} {clock_hz} {build} {boots} "
            f"{_gateware_digest()}",
            netlist=netlist,
            waveform=waveform,
        )
        library = self._simulation.functions
        library.accelerator_tick.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        library.accelerator_run.restype = ctypes.c_uint64
        library.accelerator_run.argtypes = [
            *(ctypes.c_void_p, ctypes.c_void_p),
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64),
            *(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p),
        ]

    @property
    def byte_cycles(self) -> int:
        """Cycles that a byte takes on the line."""
        return self._line.byte_cycles

    @byte_cycles.setter
    def byte_cycles(self, cycles: int) -> None:
        self._line.byte_cycles = cycles

    @property
    def flash_faults(self) -> dict[str, int]:
        """What the flash was asked for and no data sheet allows, by kind.

        ``fast``: clocks above 20 MHz; ``hasty``: commands within 100 ns of another one; ``early``:
        within 33 µs of waking it up; ``stray``: those that it does not know, or sleeps through.
        """
        return {
            name: getattr(self._line.flash, name) for name in ("fast", "hasty", "early", "stray")
        }

    def send(self, data: bytes, start: int) -> None:
        """See :meth:`firstspike.sim.virtual_board.Backend.send`."""
        arrivals = start + self.byte_cycles * np.arange(1, len(data) + 1, dtype=np.uint64)
        self._incoming = np.concatenate([self._incoming, np.frombuffer(data, np.uint8)])
        self._arrivals = np.concatenate([self._arrivals, arrivals])

    def receive(self, deadline: int) -> tuple[bytes, int]:
        """See :meth:`firstspike.sim.virtual_board.Backend.receive`."""
        taken = ctypes.c_uint64()
        written = self._simulation.functions.accelerator_run(
            self._simulation.handle,
            ctypes.byref(self._line),
            self._incoming.ctypes.data,
            self._arrivals.ctypes.data,
            len(self._incoming),
            max(deadline, 0),
            self._outgoing.ctypes.data,
            _ROOM,
            ctypes.byref(taken),
        )
        self._incoming = self._incoming[taken.value :]
        self._arrivals = self._arrivals[taken.value :]
        return self._outgoing[:written].tobytes(), self._line.transmitter_free

    def reset(self, *, power: bool = False) -> None:
        """See :meth:`firstspike.sim.virtual_board.Backend.reset`."""
        if power:
            self._simulation.restart()
            flash = self._line.flash
            flash.asleep, flash.awake, flash.selected, flash.apart = 1, 0, 0, 0
        self._simulation.set("i__valid", 0)
        for level in (1, 0):
            self._simulation.set("rst", level)
            self._simulation.functions.accelerator_tick(
                self._simulation.handle, ctypes.byref(self._line)
            )
        self._line.still = 0

    def close(self) -> None:
        """End the simulation."""
        self._simulation.close()


class _Samples(ctypes.Structure):
    """As in ``core.cpp``."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("first", "step", "index"))


class _Results(ctypes.Structure):
    """As in ``core.cpp``."""

    _fields_ = tuple(
        (name, ctypes.c_void_p)
        for name in ("label", "step", "fired", "cycles", "rows", "spikes", "potential")
    )


class _Log(ctypes.Structure):
    """As in ``core.cpp``."""

    _fields_ = (
        ("sightings", ctypes.c_void_p),
        ("room", ctypes.c_uint64),
        ("count", ctypes.c_uint64),
    )


def _core_header(config: Config) -> str:
    """What ``core.cpp`` has to know about a configuration."""
    from ..hdl.memory_window import FETCH_CYCLES, SHIFT_CYCLES

    layers = config.layers
    last = len(layers) - 1
    bases = np.cumsum([0, *(layer.neurons for layer in layers)]).tolist()

    def table(name: str, values: Sequence[object], kind: str = "unsigned") -> str:
        return f"constexpr {kind} {name}[] = {{{', '.join(map(str, values))}}};"

    lines = [
        "namespace core {",
        f"constexpr unsigned LAYERS = {len(layers)}, TOTAL = {bases[-1]};",
        f"constexpr unsigned OUTPUTS = {config.outputs}, STEPS = {config.max_steps};",
        f"constexpr unsigned FETCH_CYCLES = {FETCH_CYCLES};",
        f"constexpr unsigned SHIFT_CYCLES = {SHIFT_CYCLES};",
        table("NEURONS", [layer.neurons for layer in layers]),
        table("LANES", [layer.lanes for layer in layers]),
        table("BASE", bases[:-1]),
        table("ROWS", [f"fields::o__payload__rows__{i}" for i in range(len(layers))], "Field"),
        "template <typename Take> void each_group(const Ports &io, Take take) {",
        *(
            f"    if (io.trace_{i}__valid)"
            f" take({i}, io.trace_{i}__group, io.trace_{i}__step, io.trace_{i}__spikes);"
            for i in range(len(layers))
        ),
        "}",
        "inline void read_membranes(const Ports &io, int32_t *lanes) {",
        *(
            f"    lanes[{lane}] = get_signed(io.trace_{last}__membranes,"
            f" fields::trace_{last}__membranes__{lane});"
            for lane in range(layers[last].lanes)
        ),
        "}",
        "inline void set_label(Ports &io, bool learn, unsigned label) {",
        *(
            f"    set(io.i__payload, fields::i__payload__{name}, {name});"
            for name in ("learn", "label")
            if config.learning
        ),
        "}",
        # What the core gives the registers that it shares with the host.
        "inline void edge(Bench &bench) {",
        "    Ports &io = bench.io;",
        *(
            f"    const auto load_{n} = io.{name}_load{number};"
            f" const auto next_{n} = io.{name}_next{number};"
            for n, (name, number) in enumerate(_states(config))
        ),
        "    bench.edge();",
        *(
            f"    if (load_{n}) io.{name}{number} = next_{n};"
            for n, (name, number) in enumerate(_states(config))
        ),
        "}",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _states(config: Config) -> list[tuple[str, str]]:
    """Ports of the random generators: name, and what follows it and its companions."""
    if not config.learning:
        return []
    hidden = range(len(config.layers) - 1)
    return [("random_update", ""), *(("random_dropout", f"__{index}") for index in hidden)]


class CoreSimulation:
    """The core of the gateware, with an image loaded and every spike observed.

    Parameters
    ----------
    image : Image
        Loaded through the core's memory port.
    waveform : path, optional
        VCD file for every signal's changes; it grows by megabytes a sample.

    Attributes
    ----------
    network : Network
        What the image makes the core run.

    Raises
    ------
    BuildError
        If a tool is missing or fails.
    """

    def __init__(self, image: Image, *, waveform: str | os.PathLike[str] | None = None) -> None:
        with required_packages():
            from ..hdl.core import Core
        self.config = config = image.config
        self._simulation = Verilated(
            lambda: Core(config, trace=True),
            [_HERE / "core.cpp"],
            header=_core_header(config),
            identity=f"Core {config.to_json()} {_gateware_digest()}",
            waveform=waveform,
        )
        library = self._simulation.functions
        library.core_store.argtypes = library.core_fetch.argtypes = [
            *(ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p)
        ]
        library.core_infer.argtypes = [
            *(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64),
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_void_p),
        ]
        library.core_infer.restype = ctypes.c_uint64
        library.core_learn.argtypes = [
            *(ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_void_p),
            *(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64),
        ]
        library.core_learn.restype = ctypes.c_uint64
        self.load(image)

    def load(self, image: Image) -> None:
        """Load another image.

        Raises
        ------
        DataError
            If it is for another configuration.
        """
        if image.config != self.config:
            raise DataError(
                "the image is for another configuration than the simulated core; compile the "
                "network for this one or simulate that one"
            )
        self.network = image.network()
        simulation = self._simulation
        simulation.set("steps", image.registers["steps"])
        simulation.set("classes", image.registers["classes"])
        for index in range(len(self.config.layers)):
            simulation.set(f"thresholds__{index}", image.registers[f"threshold_{index}"])
        for number, region in enumerate(self.config.regions):
            simulation.functions.core_store(
                simulation.handle, number, region.words, region.lanes, image.regions[region.name]
            )
        if self.config.learning:
            self.rule = Rule.from_registers(dict(image.registers), self.config)
            self.progress = Progress.from_registers(dict(image.registers), self.config)

    @property
    def rule(self) -> Rule:
        """The settings of learning, of a core that learns."""
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        rule.check(len(self.config.layers))
        for name, value in rule.registers().items():
            self._simulation.set(name.replace("rate_", "rates__"), value)
        self._simulation.tick(_SETTLE_CYCLES)
        self._rule = rule

    @property
    def progress(self) -> Progress:
        """Where learning stands, of a core that learns."""
        names = [name + number for name, number in _states(self.config)]
        update, *dropout = (self._simulation.get(name) for name in names)
        return Progress(update, dropout, self._learned)

    @progress.setter
    def progress(self, progress: Progress) -> None:
        values = [progress.update, *progress.dropout]
        for (name, number), value in zip(_states(self.config), values, strict=True):
            self._simulation.set(name + number, value)
        self._simulation.tick(_SETTLE_CYCLES)
        self._learned = progress.learned

    def learn(
        self,
        samples: np.ndarray,
        labels: np.ndarray,
        *,
        progress: Callable[[int], object] | None = None,
    ) -> tuple[Learned, np.ndarray]:
        """Learn from samples, one after the other; :meth:`read_back` tells the weights.

        Of a core that does not learn there is no such thing. Parameters are those of
        :meth:`firstspike.sim.learner.Learner.learn`.

        Returns
        -------
        learned : Learned
            What the gateware reports: label, step, fired and rows. Of the rest it tells nothing;
            those fields are −1, and ``erred`` false.
        cycles : (batch,) int64
            Clock cycles from the first event of a sample to its result, as the gateware counts.

        Raises
        ------
        DataError
            If samples or labels do not suit the network.
        Mismatch
            If a sample has no result long after it should have one.
        """
        samples = self.network.check_samples(samples)
        self.config.check_samples(samples)
        labels = check_labels(labels, len(samples), self.network.outputs).astype(np.uint32)
        learned = Learned.blank(len(samples), len(self.config.layers))
        for unknown in (learned.stop, learned.updated):
            unknown.fill(-1)
        cycles = np.empty(len(samples), dtype=np.int64)
        results = (learned.label, learned.step, learned.fired, cycles, learned.rows)
        functions, handle = self._simulation.functions, self._simulation.handle
        self._run(
            samples,
            results,
            lambda start, stop, events, where: functions.core_learn(
                handle, start, stop, events, labels.ctypes.data, where, _patience(self.config)
            ),
            progress,
        )
        self._learned = (self._learned + len(samples)) & ((1 << 32) - 1)
        return learned, cycles

    def read_back(self) -> dict[str, bytes]:
        """Contents of every memory region, by name, as they are read through the memory port."""
        contents = {}
        for number, region in enumerate(self.config.regions):
            buffer = ctypes.create_string_buffer(region.bytes)
            self._simulation.functions.core_fetch(
                self._simulation.handle, number, region.words, region.lanes, buffer
            )
            contents[region.name] = buffer.raw
        return contents

    def infer(
        self, samples: np.ndarray, *, progress: Callable[[int], object] | None = None
    ) -> tuple[Inference, np.ndarray]:
        """Classify samples.

        Parameters
        ----------
        samples : (batch, inputs) integers
            Spike step of each input, 0 … T−1, or ``NEVER``.
        progress : callable, optional
            Called with the number of samples finished since the last call, like ``tqdm.update``.

        Returns
        -------
        inference : Inference
            Of :attr:`network`, each field observed or reported by the gateware; only ``events`` and
            ``tied`` are counted from the samples and the observed spikes.
        cycles : (batch,) int64
            Clock cycles from the first event of a sample to its result, as the gateware counts.

        Raises
        ------
        DataError
            If the samples do not suit the network.
        Mismatch
            If a sample has no result long after it should have one.
        """
        samples = self.network.check_samples(samples)
        self.config.check_samples(samples)
        return self._infer(samples, progress)

    def locate(self, sample: np.ndarray, layer: int, neuron: int, step: int) -> int | None:
        """Cycle of a sample in which a neuron finishes a step, spiking or not.

        Parameters
        ----------
        sample : (inputs,) integers
            Spike steps.
        layer, neuron, step : int

        Returns
        -------
        int or None
            Counted as the gateware counts the cycles of a sample; None if the core decides before
            the neuron comes to that step.
        """
        room = self.config.max_steps * sum(layer.groups for layer in self.config.layers)
        sightings = np.empty((room, 4), dtype=np.uint32)
        log = _Log(sightings.ctypes.data, room, 0)
        self._infer(self.network.check_samples(sample[None]), log=ctypes.byref(log))
        group = neuron // self.config.layers[layer].lanes
        found = (sightings[: log.count, :3] == (layer, group, step)).all(axis=1)
        return int(sightings[found.argmax(), 3]) if found.any() else None

    def _infer(
        self,
        samples: np.ndarray,
        progress: Callable[[int], object] | None = None,
        log: object = None,
    ) -> tuple[Inference, np.ndarray]:
        network, config = self.network, self.config
        batch, layers = len(samples), len(config.layers)
        neurons = sum(layer.neurons for layer in config.layers)
        label, decision = (np.empty(batch, dtype=np.int32) for _ in range(2))
        fired = np.empty(batch, dtype=bool)
        cycles = np.empty(batch, dtype=np.int64)
        rows = np.empty((batch, layers), dtype=np.int32)
        spikes = np.empty((batch, neurons), dtype=np.int32)
        potential = np.empty((batch, config.outputs), dtype=np.int32)
        results: tuple[np.ndarray, ...] = (label, decision, fired, cycles, rows, spikes, potential)
        functions, handle = self._simulation.functions, self._simulation.handle
        self._run(
            samples,
            results,
            lambda start, stop, events, where: functions.core_infer(
                handle, start, stop, events, where, _patience(config), log
            ),
            progress,
        )
        split = np.split(spikes, np.cumsum([layer.neurons for layer in config.layers])[:-1], axis=1)
        # Outputs beyond the classes run along but take no part.
        split[-1] = split[-1][:, : network.outputs]
        arrived = [((samples != NEVER) & (samples <= decision[:, None])).sum(axis=1)]
        arrived += [(layer != NEVER).sum(axis=1) for layer in split[:-1]]
        inference = Inference(
            label=label,
            step=decision,
            fired=fired,
            tied=((split[-1] == decision[:, None]).sum(axis=1) > 1),
            spikes=tuple(split),
            potential=potential[:, : network.outputs],
            events=np.stack(arrived, axis=1).astype(np.int32),
            rows=rows,
        )
        return inference, cycles

    def _run(
        self,
        samples: np.ndarray,
        results: Sequence[np.ndarray],
        run: Callable[[int, int, object, object], int],
        progress: Callable[[int], object] | None,
    ) -> None:
        """Run checked samples, in pieces.

        Parameters
        ----------
        results
            As many of the arrays of :class:`_Results` as are filled.
        run
            Runs samples of these numbers and returns that of the one that it comes to.
        """
        # In the order in which the link sends them: by step, then by index.
        owner, index = np.nonzero(samples != NEVER)
        step = samples[owner, index]
        order = np.lexsort((index, step, owner))
        events: list[np.ndarray] = [
            np.concatenate([[0], np.cumsum((samples != NEVER).sum(axis=1))]).astype(np.uint64),
            step[order].astype(np.uint32),
            index[order].astype(np.uint32),
        ]
        given = ctypes.byref(_Samples(*(array.ctypes.data for array in events)))
        where = ctypes.byref(_Results(*(array.ctypes.data for array in results)))
        for start in range(0, len(samples), _CHUNK):
            stop = min(start + _CHUNK, len(samples))
            if (reached := run(start, stop, given, where)) < stop:
                raise Mismatch(
                    f"sample {reached}: the simulated core has no result after "
                    f"{_patience(self.config)} cycles"
                )
            if progress is not None:
                progress(stop - start)

    def close(self) -> None:
        """End the simulation and finish the waveform file."""
        self._simulation.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
