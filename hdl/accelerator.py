"""The whole accelerator: the core behind the link."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from ..firmware.config import Config
from ..firmware.protocol import Hello
from .commands import CommandProcessor
from .core import Core
from .framing import Deframer, Framer, frame_item
from .packet_buffer import PacketBuffer
from .registers import RegisterFile
from .uart import UartReceiver, UartTransmitter

__all__ = ["Accelerator", "SerialAccelerator"]


class Accelerator(wiring.Component):
    """Speaks the protocol of ``docs/link.md`` over two streams of bytes.

    Parameters
    ----------
    config : Config
    clock_hz : int
        Frequency of the clock, for the host to know.
    build : int
        32 bits that identify the build, for the host to know.
    trace : bool
        Whether to build the core's trace ports.

    Members
    -------
    i : In(stream)
        Bytes from the host; always ready.
    o : Out(stream)
        Bytes to the host.

    Attributes
    ----------
    core : Core
    """

    def __init__(
        self, config: Config, *, clock_hz: int, build: int = 0, trace: bool = False
    ) -> None:
        self.core = Core(config, trace=trace)
        self._config = config
        self._hello = Hello(config, clock_hz, build)
        super().__init__({"i": In(stream.Signature(8)), "o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.deframer = deframer = Deframer()
        m.submodules.frames = frames = PacketBuffer(frame_item, self._config.buffer_bytes)
        m.submodules.registers = registers = RegisterFile(self._config)
        m.submodules.commands = commands = CommandProcessor(self._config, self._hello)
        m.submodules.framer = framer = Framer()
        m.submodules.core = core = self.core

        connect(m, wiring.flipped(self.i), deframer.i)
        connect(m, deframer.o, frames.i)
        connect(m, frames.o, commands.i)
        connect(m, commands.o, framer.i)
        connect(m, framer.o, wiring.flipped(self.o))
        connect(m, commands.events, core.i)
        connect(m, core.o, commands.results)
        connect(m, commands.memory, core.memory)
        connect(m, commands.registers, registers.bus)
        m.d.comb += [
            frames.commit.eq(deframer.commit),
            frames.discard.eq(deframer.discard),
            commands.idle.eq(core.idle),
            commands.steps.eq(registers.steps),
            core.steps.eq(registers.steps),
            core.classes.eq(registers.classes),
            registers.frames_accepted.eq(deframer.commit),
            registers.frames_dropped.eq(deframer.discard),
            registers.commands_refused.eq(commands.refused),
            registers.inferences.eq(commands.inferred),
        ]
        for index, threshold in enumerate(core.thresholds):
            m.d.comb += threshold.eq(getattr(registers, f"threshold_{index}"))

        return m


class SerialAccelerator(wiring.Component):
    """An :class:`Accelerator` at a serial line.

    Parameters
    ----------
    config : Config
    clock_hz, baud : int
        At least 4 clocks a bit.
    build : int

    Members
    -------
    rx : In(1)
    tx : Out(1)

    Attributes
    ----------
    accelerator : Accelerator
    """

    def __init__(self, config: Config, *, clock_hz: int, baud: int, build: int = 0) -> None:
        # First, since they may refuse the baud rate.
        self._receiver = UartReceiver(clock_hz, baud)
        self._transmitter = UartTransmitter(clock_hz, baud)
        self.accelerator = Accelerator(config, clock_hz=clock_hz, build=build)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.receiver = receiver = self._receiver
        m.submodules.accelerator = accelerator = self.accelerator
        m.submodules.transmitter = transmitter = self._transmitter

        connect(m, receiver.o, accelerator.i)
        connect(m, accelerator.o, transmitter.i)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]

        return m
