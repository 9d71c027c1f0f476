"""The gateware itself, compiled and simulated cycle by cycle."""

import ctypes
import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from .. import firmware
from ..firmware.config import Config
from .verilate import Verilated, required_packages
from .virtual_board import DEFAULT_CLOCK_HZ

__all__ = ["AcceleratorSimulation"]

_HERE = Path(__file__).parent
_ROOM = 1 << 16

#: More than it takes to fetch a word from a memory, besides shifting it out.
_WORD_CYCLES = 32
#: More than the latency from a time step's first token to the decision.
_STEP_CYCLES = 64


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


class _Line(ctypes.Structure):
    """As in ``accelerator.cpp``."""

    _fields_ = (
        ("now", ctypes.c_uint64),
        ("byte_cycles", ctypes.c_uint64),
        ("transmitter_free", ctypes.c_uint64),
        ("patience", ctypes.c_uint64),
        ("still", ctypes.c_uint64),
    )


def _patience(config: Config) -> int:
    """Cycles that no operation of an accelerator exceeds without a byte in or out."""
    sweep = sum(layer.groups for layer in config.layers)
    spikes = sum(layer.inputs * layer.groups + layer.neurons for layer in config.layers)
    memory = max(region.words * (region.lanes + _WORD_CYCLES) for region in config.regions)
    return 2 * max(spikes + config.max_steps * (sweep + _STEP_CYCLES), memory)


class AcceleratorSimulation:
    """The gateware from byte stream to byte stream, as the backend of a virtual board.

    Parameters
    ----------
    config : Config
    clock_hz : int
    build : int
        32 bits that the greeting tells.
    waveform : path, optional
        VCD file for every signal's changes; cycles in which nothing changes are left out.

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
        waveform: str | os.PathLike[str] | None = None,
    ) -> None:
        with required_packages():
            from ..hdl.accelerator import Accelerator
        self.clock_hz = clock_hz
        self._line = _Line(byte_cycles=1, patience=_patience(config))
        self._incoming = np.empty(0, np.uint8)
        self._arrivals = np.empty(0, np.uint64)
        self._outgoing = np.empty(_ROOM, np.uint8)
        self._simulation = Verilated(
            lambda: Accelerator(config, clock_hz=clock_hz, build=build),
            [_HERE / "accelerator.cpp"],
            identity=f"Accelerator {config.to_json()} {clock_hz} {build} {_gateware_digest()}",
            waveform=waveform,
        )
        self._run: Callable[..., int] = self._simulation.library.accelerator_run
        self._run.restype = ctypes.c_uint64  # type: ignore[attr-defined]

    @property
    def byte_cycles(self) -> int:
        """Cycles that a byte takes on the line."""
        return self._line.byte_cycles

    @byte_cycles.setter
    def byte_cycles(self, cycles: int) -> None:
        self._line.byte_cycles = cycles

    def send(self, data: bytes, start: int) -> None:
        """See :meth:`firstspike.sim.virtual_board.Backend.send`."""
        arrivals = start + self.byte_cycles * np.arange(1, len(data) + 1, dtype=np.uint64)
        self._incoming = np.concatenate([self._incoming, np.frombuffer(data, np.uint8)])
        self._arrivals = np.concatenate([self._arrivals, arrivals])

    def receive(self, deadline: int) -> tuple[bytes, int]:
        """See :meth:`firstspike.sim.virtual_board.Backend.receive`."""
        taken = ctypes.c_uint64()
        written = self._run(
            self._simulation.handle,
            ctypes.byref(self._line),
            self._incoming.ctypes,
            self._arrivals.ctypes,
            ctypes.c_uint64(len(self._incoming)),
            ctypes.c_uint64(max(deadline, 0)),
            self._outgoing.ctypes,
            ctypes.c_uint64(_ROOM),
            ctypes.byref(taken),
        )
        self._incoming = self._incoming[taken.value :]
        self._arrivals = self._arrivals[taken.value :]
        return self._outgoing[:written].tobytes(), self._line.transmitter_free

    def close(self) -> None:
        """End the simulation."""
        self._simulation.close()
