"""The whole accelerator: the core behind the link."""

from collections.abc import Callable

from amaranth.hdl import Cat, Module, ResetInserter
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect

from ..firmware.config import Config, Region
from ..firmware.errors import DataError
from ..firmware.learning import SETTINGS
from ..firmware.protocol import Hello
from .cobs import packet_byte
from .commands import CommandProcessor
from .core import Core
from .flash_boot import FlashBoot
from .flash_reader import SpiPins
from .framing import Deframer, Framer, frame_item
from .packet_buffer import PacketBuffer
from .registers import RegisterFile
from .stream_register import StreamRegister
from .token import event_layout
from .trace import TraceSignature
from .uart import UartReceiver, UartTransmitter
from .watchdog import Watchdog
from .weight_memory import WeightMemory

__all__ = ["Accelerator", "SerialAccelerator", "check_clock"]

#: The device tells its clock in so many bits.
_CLOCK_BITS = 32


def check_clock(clock_hz: int) -> None:
    """Refuse a frequency that the device could not tell.

    Raises
    ------
    DataError
        If it is not one of 32 bits.
    """
    if not 0 <= clock_hz < 1 << _CLOCK_BITS:
        raise DataError(
            f"a clock of {clock_hz} Hz was asked for, but the device tells its clock in "
            f"{_CLOCK_BITS} bits; choose one of at most {(1 << _CLOCK_BITS) - 1} Hz"
        )


class Accelerator(wiring.Component):
    """Speaks the protocol of ``docs/link.md`` over two streams of bytes.

    Parameters
    ----------
    config : Config
    clock_hz : int
        Frequency of the clock, for the host to know.
    build : int
        32 bits that identify the build, for the host to know.
    memories : callable, optional
        Makes the weight memory of a region, in place of
        :class:`~firstspike.hdl.weight_memory.WeightMemory`.
    trace : bool
        Whether to build the core's trace ports.
    flash : int, optional
        Address of an image in flash to boot from (see ``docs/flash.md``).

    Members
    -------
    i : In(stream)
        Bytes from the host; always ready. While the device boots, they are lost.
    o : Out(stream)
        Bytes to the host.
    line_error : In(1)
        For a cycle: a byte from the host was left out.
    flash : Out(SpiPins())
        Only with ``flash``.
    trace_0, trace_1, … : Out(TraceSignature(config, layer))
        Only with ``trace``.

    Raises
    ------
    DataError
        If the clock is not one of 32 bits.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock_hz: int,
        build: int = 0,
        memories: Callable[[Region], WeightMemory] | None = None,
        trace: bool = False,
        flash: int | None = None,
    ) -> None:
        check_clock(clock_hz)
        self._config = config
        self._clock_hz = clock_hz
        self._hello = Hello(config, clock_hz, build)
        self._flash = flash
        self._memories = memories
        self._traces = {
            f"trace_{layer}": Out(TraceSignature(config, layer))
            for layer in range(len(config.layers) if trace else 0)
        }
        super().__init__(
            {
                "i": In(stream.Signature(8)),
                "o": Out(stream.Signature(8)),
                "line_error": In(1),
                **({} if flash is None else {"flash": Out(SpiPins())}),
                **self._traces,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.deframer = deframer = Deframer()
        m.submodules.frames = frames = PacketBuffer(frame_item, self._config.buffer_bytes)
        m.submodules.registers = registers = RegisterFile(self._config)
        m.submodules.commands = commands = CommandProcessor(self._config, self._hello)
        m.submodules.framer = framer = Framer()
        m.submodules.watchdog = watchdog = Watchdog(self._config)
        guarded = ResetInserter(watchdog.restart)
        core = Core(self._config, memories=self._memories, trace=bool(self._traces))
        m.submodules.core = guarded(core)

        # Data come late out of block RAM, and much is done with them in each of these places.
        m.submodules.request_stage = request_stage = StreamRegister(frame_item)
        m.submodules.answer_stage = answer_stage = StreamRegister(packet_byte)
        event_stage = StreamRegister(event_layout(self._config))
        m.submodules.event_stage = guarded(event_stage)

        connect(m, deframer.o, frames.i)
        connect(m, frames.o, request_stage.i)
        connect(m, request_stage.o, commands.i)
        connect(m, answer_stage.o, framer.i)
        connect(m, framer.o, wiring.flipped(self.o))
        connect(m, commands.events, watchdog.i_events)
        connect(m, watchdog.o_events, event_stage.i)
        connect(m, event_stage.o, core.i)
        connect(m, core.o, watchdog.i_results)
        connect(m, watchdog.o_results, commands.results)
        connect(m, commands.memory, core.memory)
        connect(m, commands.registers, registers.bus)
        if self._flash is None:
            connect(m, wiring.flipped(self.i), deframer.i)
            connect(m, commands.o, answer_stage.i)
        else:
            self._boot(m, self._flash, deframer, commands, answer_stage)
        if self._config.learning:
            self._share(m, registers, commands, core)
        m.d.comb += [
            frames.commit.eq(deframer.commit),
            frames.discard.eq(deframer.discard),
            watchdog.idle.eq(core.idle),
            commands.idle.eq(core.idle),
            commands.stalled.eq(watchdog.stalled),
            commands.steps.eq(registers.steps),
            commands.model.eq(registers.model),
            core.steps.eq(registers.steps),
            core.classes.eq(registers.classes),
            registers.frames_accepted.eq(deframer.commit),
            registers.frames_damaged.eq(deframer.damaged),
            registers.frames_overrun.eq(deframer.overrun),
            registers.line_errors.eq(self.line_error),
            registers.commands_refused.eq(commands.refused),
            registers.inferences.eq(commands.inferred),
            registers.stalls.eq(watchdog.barked),
            registers.void.eq(commands.void),
        ]
        for name in self._traces:
            connect(m, getattr(core, name), wiring.flipped(getattr(self, name)))
        for index, threshold in enumerate(core.thresholds):
            m.d.comb += threshold.eq(getattr(registers, f"threshold_{index}"))

        return m

    def _boot(
        self,
        m: Module,
        address: int,
        deframer: Deframer,
        commands: CommandProcessor,
        answers: StreamRegister,
    ) -> None:
        """Put the flash in the line's place until the device has booted."""
        m.submodules.boot = boot = FlashBoot(self._config, clock_hz=self._clock_hz, address=address)
        connect(m, boot.pins, wiring.flipped(self.flash))
        m.d.comb += self.i.ready.eq(1)
        with m.If(boot.active):
            m.d.comb += [
                deframer.i.payload.eq(boot.o.payload),
                deframer.i.valid.eq(boot.o.valid),
                boot.o.ready.eq(deframer.i.ready),
                commands.o.ready.eq(1),
                boot.done.eq(commands.o.valid & commands.o.p.last & ~commands.refused),
                boot.failed.eq(deframer.discard | commands.refused),
            ]
        with m.Else():
            m.d.comb += [
                deframer.i.payload.eq(self.i.payload),
                deframer.i.valid.eq(self.i.valid),
                answers.i.payload.eq(commands.o.payload),
                answers.i.valid.eq(commands.o.valid),
                commands.o.ready.eq(answers.i.ready),
            ]

    def _share(
        self, m: Module, registers: RegisterFile, commands: CommandProcessor, core: Core
    ) -> None:
        """Connect the registers of learning."""
        m.d.comb += [
            *(
                getattr(core, name).eq(getattr(registers, name))
                for name in (*SETTINGS, "random_update")
            ),
            *(
                rate.eq(getattr(registers, f"rate_{index}"))
                for index, rate in enumerate(core.rates)
            ),
            registers.random_update_next.eq(core.random_update_next),
            registers.random_update_load.eq(core.random_update_load),
            commands.classes.eq(registers.classes),
            commands.learned.eq(registers.learned),
            commands.learned_known.eq(registers.learned_known),
            registers.learned_next.eq(registers.learned + 1),
            registers.learned_load.eq(commands.learns),
        ]
        for index in range(len(self._config.layers) - 1):
            names = [f"random_{half}_{index}" for half in ("low", "high")]
            m.d.comb += [
                core.random_dropout[index].eq(Cat(getattr(registers, name) for name in names)),
                Cat(getattr(registers, f"{name}_next") for name in names).eq(
                    core.random_dropout_next[index]
                ),
                *(
                    getattr(registers, f"{name}_load").eq(core.random_dropout_load[index])
                    for name in names
                ),
            ]


class SerialAccelerator(wiring.Component):
    """An :class:`Accelerator` at a serial line.

    Parameters
    ----------
    config : Config
    clock_hz, baud : int
        At least 4 clocks a bit.
    build, memories, flash
        As in :class:`Accelerator`.

    Members
    -------
    rx : In(1)
    tx : Out(1)
    flash : Out(SpiPins())
        Only with ``flash``.

    Raises
    ------
    DataError
        If the clock is too slow for the baud rate, or not one of 32 bits.
    """

    def __init__(
        self,
        config: Config,
        *,
        clock_hz: int,
        baud: int,
        build: int = 0,
        memories: Callable[[Region], WeightMemory] | None = None,
        flash: int | None = None,
    ) -> None:
        # First what may be refused: the clock, then the baud rate.
        check_clock(clock_hz)
        self._receiver = UartReceiver(clock_hz, baud)
        self._transmitter = UartTransmitter(clock_hz, baud)
        self._accelerator = Accelerator(
            config, clock_hz=clock_hz, build=build, memories=memories, flash=flash
        )
        self._boots = flash is not None
        super().__init__(
            {"rx": In(1, init=1), "tx": Out(1, init=1)}
            | ({"flash": Out(SpiPins())} if self._boots else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.receiver = receiver = self._receiver
        m.submodules.accelerator = accelerator = self._accelerator
        m.submodules.transmitter = transmitter = self._transmitter

        connect(m, receiver.o, accelerator.i)
        connect(m, accelerator.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            accelerator.line_error.eq(receiver.error),
            self.tx.eq(transmitter.tx),
        ]
        if self._boots:
            connect(m, accelerator.flash, wiring.flipped(self.flash))

        return m
