"""The whole accelerator around a core that fails: each sample is answered, and it goes on."""

import struct

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.formats import NEVER
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.protocol import (
    Op,
    Outcome,
    Status,
    encode_sample,
    learning_argument,
    memory_address,
)
from firstspike.firmware.registers import register_map
from firstspike.hdl import accelerator
from firstspike.hdl.core import Core
from firstspike.sim import fast
from streams import run

RANDOM = np.random.default_rng(1)
NETWORK = Network(
    [
        Layer(RANDOM.integers(-20, 60, (6, 4)), 2, 100),
        Layer(RANDOM.integers(-20, 60, (4, 2)), 2, 100),
    ],
    steps=8,
)
LAST = NETWORK.steps - 1


class Failing(wiring.Component):
    """A core that fails when input 0 spikes in the last step: it takes no more events, or gives no
    result. A reset mends it."""

    def __init__(self, config, *, memories, trace, silent):
        self.silent = silent
        self.core = Core(config, memories=memories, trace=trace)
        super().__init__(self.core.signature)

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = self.core
        wiring.connect(m, wiring.flipped(self), core)
        failed = Signal()
        event = self.i.p
        with m.If(self.i.valid & ~event.end & (event.step == LAST) & (event.index == 0)):
            m.d.sync += failed.eq(1)
        ours, theirs = (self.o, core.o) if self.silent else (core.i, self.i)
        with m.If(failed):
            m.d.comb += [ours.valid.eq(0), theirs.ready.eq(0)]
        return m


def load(image):
    """Frames that load an image."""
    address = {name: at for name, at, _ in register_map(image.config)}
    values = {**image.registers}
    if image.config.learning:
        rule, start = Rule([1 << 16] * 2, margin=2), Progress.start(2)
        values |= rule.registers() | start.registers()
    for name, value in values.items():
        yield Frame(Op.WRITE_REGISTER, 0, address[name], struct.pack("<I", value))
    for number, region in enumerate(image.config.regions):
        yield Frame(Op.WRITE_MEMORY, 1, memory_address(number, 0), image.regions[region.name])
    yield Frame(Op.WRITE_REGISTER, 2, address["model"], struct.pack("<I", image.crc))


def converse(image, frames):
    """Answers of an accelerator to frames, all of them sent at once after it has been loaded."""
    dut = accelerator.Accelerator(image.config, clock_hz=1_000_000)
    answers = []

    async def bench(ctx):
        decoder = FrameDecoder()

        async def ask(asked):
            ctx.set(dut.o.ready, 1)
            sent = b"".join(frame.encode() for frame in asked)
            heard, place = len(answers), 0
            while len(answers) < heard + len(asked):
                ctx.set(dut.i.valid, place < len(sent))
                if place < len(sent):
                    ctx.set(dut.i.payload, sent[place])
                    place += 1
                *_, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
                if valid:
                    answers.extend(decoder.feed(bytes([byte])))

        for frame in load(image):
            await ask([frame])
        answers.clear()
        await ask(frames)

    run(dut, bench, cycles=60_000)
    return answers


@pytest.fixture(params=[True, False], ids=["silent", "stuck"])
def failing(request, monkeypatch):
    """Whether the core says nothing, instead of taking nothing."""
    monkeypatch.setattr(
        accelerator,
        "Core",
        lambda config, **arguments: Failing(config, silent=request.param, **arguments),
    )
    return request.param


def make_samples(count):
    """Every third makes the core fail; some come with more spikes behind that."""
    samples = np.random.default_rng(2).integers(NEVER, LAST, (count, NETWORK.inputs))
    samples[1::3, 0] = LAST
    samples[1::6, 3] = LAST
    return samples.astype(np.int32)


def test_inferences(failing):
    image = compile(NETWORK, Config.for_network(NETWORK, [2, 2], buffer_bytes=512))
    address = {name: at for name, at, _ in register_map(image.config)}
    samples = make_samples(9)
    frames = [
        Frame(op, seq, image.crc, payload)
        for seq, (op, payload) in enumerate(map(encode_sample, samples))
    ]
    counters = ("stalls", "commands_refused", "inferences", "model")
    frames += [Frame(Op.READ_REGISTER, 99, address[name]) for name in counters]
    *answers, stalls, refused, inferences, model = converse(image, frames)
    expected = fast.infer(NETWORK, samples)
    stalled = [index for index, answer in enumerate(answers) if answer.arg == Status.STALLED]
    # One that takes no more events may have decided before: then the next sample finds out.
    assert len(stalled) == 3
    assert all(index % 3 == 1 or (not failing and index % 3 == 2) for index in stalled)
    for index, answer in enumerate(answers):
        assert answer.seq == index
        if index in stalled:
            assert answer.payload == b""
        else:
            assert answer.arg == Status.OK
            outcome = Outcome.decode(answer.payload, 2)
            assert (outcome.label, outcome.step) == (expected.label[index], expected.step[index])
    told = [struct.unpack("<I", answer.payload)[0] for answer in (stalls, refused, inferences)]
    assert told == [3, 3, 6]
    assert struct.unpack("<I", model.payload)[0] == image.crc


@pytest.mark.long
def test_lessons(failing):
    """Weights that may be half updated are those of no model."""
    config = Config.for_network(NETWORK, [4, 2], learning=True, buffer_bytes=512)
    image = compile(NETWORK, config)
    address = {name: at for name, at, _ in register_map(config)}
    frames = []
    for number, sample in enumerate(make_samples(4)):
        op, payload = encode_sample(sample)
        learns = {Op.INFER_BITMAP: Op.LEARN_BITMAP, Op.INFER_SPIKES: Op.LEARN_SPIKES}[op]
        frames.append(Frame(learns, number, learning_argument(number % 2, number), payload))
    op, payload = encode_sample(make_samples(1)[0])
    frames.append(Frame(op, 4, image.crc, payload))
    frames += [Frame(Op.READ_REGISTER, 99, address[name]) for name in ("model", "learned")]
    *answers, model, learned = converse(image, frames)
    assert [answer.arg for answer in answers] == [
        Status.OK,
        Status.STALLED,
        *[Status.NO_MODEL] * 3,
    ]
    assert model.payload == bytes(4)
    assert struct.unpack("<I", learned.payload)[0] == 2
