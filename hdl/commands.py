"""Carries out what the host asks for."""

import enum
from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, ResetInserter, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out, connect

from ..firmware.config import Config
from ..firmware.framing import HEAD
from ..firmware.protocol import ANSWER, Hello, Op, Status
from .cobs import packet_byte
from .framing import frame_item
from .hello import HelloRom
from .memory_streamer import MemoryStreamer
from .memory_window import MemoryPort
from .packet_buffer import PacketBuffer
from .registers import RegisterBus
from .sample_check import SampleCheck
from .sample_reader import SampleReader
from .stream_register import StreamRegister
from .token import event_layout, index_shape, result_layout, spike_layout

__all__ = ["CommandProcessor"]


_INFERENCES = (Op.INFER_BITMAP, Op.INFER_SPIKES)
_LESSONS = (Op.LEARN_BITMAP, Op.LEARN_SPIKES)
_BITMAPS = (Op.INFER_BITMAP, Op.LEARN_BITMAP)

#: What tells these operations from each other.
_SAMPLE_BITS = 4

#: Of a lesson's ``arg``.
_LABEL_SHIFT = 16


def _is_any(op: Value, operations: Iterable[Op]) -> Value:
    """Whether an operation is one of several."""
    return Cat(op == operation for operation in operations).any()


class _Answer(enum.Enum):
    """What follows the head of an answer."""

    STATUS = 0  #: nothing
    WORD = 1
    HELLO = 2
    MEMORY = 3


class CommandProcessor(wiring.Component):
    """Executes frames in the order in which they came, and answers each.

    Samples are unpacked while the core still runs the sample before; all else waits until the core
    is idle, so nothing changes under a running sample. Any content gets an answer.

    The core is that behind a :class:`~firstspike.hdl.watchdog.Watchdog`: every sample has a result.

    Parameters
    ----------
    config : Config
    hello : Hello

    Members
    -------
    i : In(stream)
        Frames without their CRCs, as :data:`~firstspike.hdl.framing.frame_item`.
    o : Out(stream)
        Answers without their CRCs, as :data:`~firstspike.hdl.cobs.packet_byte`.
    events : Out(stream)
        Samples for the core, each only once it is known to be right.
    results : In(stream)
    stalled : In(1)
        With a result that is offered: the core has failed and there is none.
    idle : In(1)
        The core is idle.
    memory : Out(MemoryPort(config))
    registers : Out(RegisterBus())
    steps, model : In
        The registers of these names.
    void : Out(1)
        The memories do not hold what they held.
    refused, inferred : Out(1)
        For a cycle each: an answer had another status than ``OK``; an inference was answered.
    classes, learned, learned_known : In
        Only if the build learns: of the registers of these names.
    learns : Out(1)
        Only if the build learns: for a cycle, a sample to learn from was taken.

    Throughput: that of :class:`~firstspike.hdl.sample_reader.SampleReader` and
    :class:`~firstspike.hdl.memory_streamer.MemoryStreamer`, less about ten cycles a frame.
    """

    def __init__(self, config: Config, hello: Hello) -> None:
        self._config = config
        self._hello = hello
        self._lessons = _LESSONS if config.learning else ()
        learning = {
            "classes": In(index_shape(config.outputs + 1)),
            "learned": In(32),
            "learned_known": In(1),
            "learns": Out(1),
        }
        super().__init__(
            {
                "i": In(stream.Signature(frame_item)),
                "o": Out(stream.Signature(packet_byte)),
                "events": Out(stream.Signature(event_layout(config))),
                "results": In(stream.Signature(result_layout(config))),
                "stalled": In(1),
                "idle": In(1),
                "memory": Out(MemoryPort(config)),
                "registers": Out(RegisterBus()),
                "steps": In(index_shape(config.max_steps + 1)),
                "model": In(32),
                "void": Out(1),
                "refused": Out(1),
                "inferred": Out(1),
            }
            | (learning if config.learning else {})
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()

        m.submodules.hello = hello = HelloRom(self._hello)
        # Data come late out of block RAM.
        m.submodules.hello_stage = hello_stage = StreamRegister(packet_byte)
        connect(m, hello.o, hello_stage.i)
        m.submodules.reader = reader = SampleReader(self._config)
        m.submodules.check = check = SampleCheck(self._config)
        m.submodules.streamer = streamer = MemoryStreamer(self._config)
        restart = Signal()
        crc = CRC32_ISO_HDLC().create()
        m.submodules.crc = ResetInserter(restart)(crc)
        spike = spike_layout(self._config)
        m.submodules.samples = samples = PacketBuffer(spike, self._config.inputs + 1)
        connect(m, streamer.memory, wiring.flipped(self.memory))

        # The request at hand, and the word that it brings or that answers it.
        head = Signal(8 * HEAD.size)
        op, seq, arg = head[:8], head[8:16], head[16:]
        word = Signal(32)
        count = Signal(range(8))
        status = Signal(Status)
        answer = Signal(_Answer)
        answering = Signal()
        answered = Signal()

        # The sample that the core works on. It came before the request at hand, so its answer goes
        # first; and one at a time is enough, for the sample after it waits complete. What it was
        # stays known until the next one is handed over, for as long as the core may ask.
        running = Signal()
        running_op = Signal(_SAMPLE_BITS)
        running_seq = Signal.like(seq)
        running_label = Signal(index_shape(self._config.outputs))
        handed_over = Signal()
        learns = _is_any(running_op, self._lessons)
        with m.If(handed_over):
            m.d.sync += [
                running.eq(1),
                running_op.eq(op),
                running_seq.eq(seq),
                running_label.eq(arg[_LABEL_SHIFT:]),
            ]
        m.d.comb += [
            self.events.valid.eq(samples.o.valid),
            samples.o.ready.eq(self.events.ready),
            *(self.events.p[name].eq(samples.o.p[name]) for name in spike.members),
        ]
        if self._config.learning:
            m.d.comb += [
                self.events.p.learn.eq(learns),
                self.events.p.label.eq(running_label),
                self.learns.eq(handed_over & check.learn),
                check.learn.eq(_is_any(op, _LESSONS)),
                check.classes.eq(self.classes),
                check.learned.eq(self.learned),
                check.learned_known.eq(self.learned_known),
            ]
        m.d.comb += self.void.eq(self.memory.store | (learns & running & self.stalled))

        m.d.comb += [
            self.registers.address.eq(arg),
            self.registers.value.eq(word),
            streamer.region.eq(arg[24:]),
            streamer.word.eq(arg[:24]),
            streamer.words.eq(word),
            streamer.i.payload.eq(self.i.p.data),
            check.arg.eq(arg),
            check.model.eq(self.model),
            reader.refusal.eq(check.refusal),
            reader.steps.eq(self.steps),
            reader.i.payload.eq(self.i.payload),
            crc.data.eq(streamer.o.p.data),
        ]
        is_sample = _is_any(op, (*_INFERENCES, *self._lessons))
        m.d.sync += reader.bitmap.eq(_is_any(op, _BITMAPS))

        # Between reader and buffer is a register, for the sake of the clock. A complete sample is
        # handed over only when there is room to note whose it is.
        entry_take = Signal()
        wait = Signal()
        m.d.comb += [
            wait.eq(reader.commit & running),
            entry_take.eq(samples.i.ready | ~samples.i.valid),
            reader.o.ready.eq(entry_take & ~wait),
        ]
        m.d.sync += samples.discard.eq(reader.discard)
        with m.If(entry_take):
            m.d.sync += [
                samples.i.payload.eq(reader.o.payload),
                samples.i.valid.eq(reader.o.valid & ~wait),
                samples.commit.eq(reader.commit & ~wait),
            ]
        with m.If(reader.discard):
            m.d.sync += [samples.i.valid.eq(0), samples.commit.eq(0)]

        def reply(code: ValueLike) -> None:
            m.d.sync += status.eq(code)
            m.next = "answer"

        ended = Signal()
        m.d.comb += ended.eq(self.i.valid & self.i.p.end)

        with m.FSM(name="state"):
            with m.State("head"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [status.eq(Status.OK), answer.eq(_Answer.STATUS)]
                with m.If(self.i.valid):
                    m.d.sync += [head.eq(Cat(head[8:], self.i.p.data)), count.eq(count + 1)]
                    with m.If(self.i.p.end):
                        m.d.sync += count.eq(0)
                    with m.Elif(count == HEAD.size - 1):
                        m.d.sync += count.eq(0)
                        m.next = "begin"

            with m.State("begin"):
                with m.If(is_sample):
                    m.next = "sample"
                # Nothing else may happen while a sample is in the core.
                with m.Elif(~running & self.idle):
                    m.next = "payload"
                    with m.If(op == Op.WRITE_MEMORY):
                        m.d.comb += streamer.write.eq(1)
                        m.next = "write"

            with m.State("sample"):
                m.d.comb += [reader.i.valid.eq(self.i.valid), self.i.ready.eq(reader.i.ready)]
                with m.If(reader.commit & reader.o.ready):
                    m.d.comb += handed_over.eq(1)
                    m.next = "head"
                with m.If(reader.discard):
                    reply(reader.status)

            with m.State("write"):
                m.d.comb += streamer.i.valid.eq(self.i.valid & ~self.i.p.end)
                m.d.comb += self.i.ready.eq(streamer.i.ready)
                with m.If(ended & ~streamer.busy):
                    reply(Status.OK)
                    with m.If(~streamer.known):
                        reply(Status.BAD_ADDRESS)
                    with m.Elif(~streamer.whole):
                        reply(Status.BAD_LENGTH)
                    with m.Elif(streamer.excess):
                        reply(Status.BAD_ADDRESS)

            with m.State("payload"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid & ~self.i.p.end):
                    m.d.sync += word.eq(Cat(word[8:], self.i.p.data))
                    # More than five bytes are as wrong as five.
                    with m.If(count != 5):
                        m.d.sync += count.eq(count + 1)
                with m.If(ended):
                    m.d.sync += count.eq(0)
                    m.next = "execute"
                    with m.Switch(op):
                        with m.Case(Op.HELLO, Op.READ_REGISTER), m.If(count != 0):
                            reply(Status.BAD_LENGTH)
                        with (
                            m.Case(Op.WRITE_REGISTER, Op.MEMORY_CRC, Op.READ_MEMORY),
                            m.If(count != 4),
                        ):
                            reply(Status.BAD_LENGTH)
                        with m.Default():
                            reply(Status.UNKNOWN_OPERATION)

            with m.State("execute"):
                m.next = "answer"
                with m.Switch(op):
                    with m.Case(Op.HELLO):
                        m.d.sync += answer.eq(_Answer.HELLO)
                    with m.Case(Op.READ_REGISTER):
                        with m.If(self.registers.known):
                            m.d.sync += [word.eq(self.registers.current), answer.eq(_Answer.WORD)]
                        with m.Else():
                            reply(Status.BAD_ADDRESS)
                    with m.Case(Op.WRITE_REGISTER):
                        with m.If(~self.registers.known):
                            reply(Status.BAD_ADDRESS)
                        with m.Elif(~self.registers.writable):
                            reply(Status.READ_ONLY)
                        with m.Elif(~self.registers.accepted):
                            reply(Status.BAD_VALUE)
                        with m.Else():
                            m.d.comb += self.registers.write.eq(1)
                    with m.Default():
                        with m.If(streamer.known & streamer.fits):
                            m.d.comb += [streamer.read.eq(1), restart.eq(1)]
                            m.d.sync += answer.eq(_Answer.MEMORY)
                            with m.If(op == Op.MEMORY_CRC):
                                m.next = "crc"
                        with m.Else():
                            reply(Status.BAD_ADDRESS)

            with m.State("crc"):
                m.d.comb += [streamer.o.ready.eq(1), crc.valid.eq(streamer.o.valid)]
                with m.If(~streamer.busy):
                    m.d.sync += [word.eq(crc.crc), answer.eq(_Answer.WORD)]
                    m.next = "answer"

            with m.State("answer"):
                m.d.comb += answering.eq(1)
                with m.If(answered & ~running):
                    m.d.comb += self.refused.eq(status != Status.OK)
                    m.next = "head"

        def number(value: ValueLike, size: int) -> Signal:
            """``value`` as ``size`` bytes."""
            extended = Signal(8 * size)
            m.d.comb += extended.eq(value)
            return extended

        # What an answer is made of, but for the greeting and the contents of memories.
        result = self.results.p
        of_sample = Cat(
            running_op,
            Const(ANSWER >> _SAMPLE_BITS, _SAMPLE_BITS),
            running_seq,
            number(Mux(self.stalled, Status.STALLED, Status.OK), 4),
            number(result.cycles, 4),
            number(result.label, 2),
            number(result.step, 2),
            number(result.fired, 2),
            *(number(rows, 2) for rows in result.rows),
        )
        of_request = Cat(op | ANSWER, seq, number(status, 4), word)

        index = Signal(range(len(of_sample) // 8))
        final = Signal.like(index)
        is_long = Signal()
        m.d.comb += [
            is_long.eq((answer == _Answer.HELLO) | ((answer == _Answer.MEMORY) & streamer.busy)),
            final.eq(HEAD.size - 1),
        ]
        with m.If(running), m.If(~self.stalled):
            m.d.comb += final.eq(len(of_sample) // 8 - 1)
        with m.Elif(answer == _Answer.WORD):
            m.d.comb += final.eq(len(of_request) // 8 - 1)

        def follow(body: stream.Interface) -> None:
            m.d.comb += [
                self.o.payload.eq(body.payload),
                self.o.valid.eq(body.valid),
                body.ready.eq(self.o.ready),
            ]

        with m.If(running | (index < HEAD.size) | ~is_long):
            m.d.comb += [
                self.o.p.data.eq(Mux(running, of_sample, of_request).word_select(index, 8)),
                self.o.p.last.eq((index == final) & (running | ~is_long)),
                self.o.valid.eq(Mux(running, self.results.valid, answering)),
            ]
        with m.Elif(answer == _Answer.HELLO):
            follow(hello_stage.o)
        with m.Else():
            follow(streamer.o)

        m.d.comb += answered.eq(self.o.valid & self.o.ready & self.o.p.last)
        with m.If(self.o.valid & self.o.ready & ((index != HEAD.size) | running | ~is_long)):
            m.d.sync += index.eq(index + 1)
        with m.If(answered):
            m.d.sync += [index.eq(0), running.eq(0)]
            with m.If(running):
                m.d.comb += [
                    self.results.ready.eq(1),
                    self.refused.eq(self.stalled),
                    self.inferred.eq(~self.stalled & ~learns),
                ]

        return m
