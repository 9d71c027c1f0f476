"""The deframer: what is a frame and what is not, and that it finds its way back from anything."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from firstspike.firmware.framing import FRAME_OVERHEAD
from firstspike.hdl.framing import Deframer, Framer
from prove import Method, prove
from watch import Inside, any_value, assume, claim, free, given, past, reached, stays, taken

_POLYNOMIAL = 0xEDB88320
_ONES = 0xFFFFFFFF
#: What is left of bytes with their CRC.
_RESIDUE = 0xDEBB20E3


def _crc_step(m: Module, crc: Value, byte: Value) -> Value:
    """CRC-32 of one more byte, a bit at a time."""
    for bit in range(8):
        following = Signal(32, name="crc_step")
        m.d.comb += following.eq(crc[1:] ^ Mux(crc[0] ^ byte[bit], _POLYNOMIAL, 0))
        crc = following
    return crc


class _Frame:
    """What the bytes since the last zero amount to, by the words of ``docs/link.md``."""

    def __init__(self, m: Module, line) -> None:
        comes = taken(line)
        byte = line.payload
        # Bytes until the next code, and whether that code stands for a zero.
        self.left = Signal(8)
        self.zero = Signal()
        self.begun = Signal()
        decoded = Signal()
        value = Signal(8)
        m.d.comb += [
            decoded.eq(comes & (byte != 0) & ((self.left != 0) | self.zero)),
            value.eq(Mux(self.left == 0, 0, byte)),
        ]
        with m.If(comes):
            m.d.sync += self.begun.eq(byte != 0)
            with m.If(byte == 0):
                m.d.sync += [self.left.eq(0), self.zero.eq(0)]
            with m.Elif(self.left == 0):
                m.d.sync += [self.left.eq(byte - 1), self.zero.eq(byte != 0xFF)]
            with m.Else():
                m.d.sync += self.left.eq(self.left - 1)

        # The last four bytes, the CRC of those before, and their number, up to the shortest frame.
        self.last = Signal(32)
        self.crc = Signal(32, init=_ONES)
        self.count = Signal(range(FRAME_OVERHEAD + 1))
        self.passes = Signal()
        self.passing = self.last[:8]
        m.d.comb += self.passes.eq(decoded & (self.count >= 4))
        with m.If(decoded):
            m.d.sync += self.last.eq(Cat(self.last[8:], value))
            with m.If(self.count != FRAME_OVERHEAD):
                m.d.sync += self.count.eq(self.count + 1)
        with m.If(self.passes):
            m.d.sync += self.crc.eq(_crc_step(m, self.crc, self.passing))
        self.ends = Signal()
        self.right = Signal()
        m.d.comb += [
            self.ends.eq(comes & (byte == 0) & self.begun),
            self.right.eq(
                (self.left == 0) & (self.count == FRAME_OVERHEAD) & (self.last == self.crc ^ _ONES)
            ),
        ]
        with m.If(self.ends):
            m.d.sync += [self.crc.eq(_ONES), self.count.eq(0)]


def _checksum(m: Module, frame: _Frame) -> Value:
    """The CRC of everything since the last zero."""
    crc = frame.crc
    for place in range(4):
        there = frame.count >= 4 - place
        crc = Mux(there, _crc_step(m, crc, frame.last.word_select(place, 8)), crc)
    return crc


@prove(Method.EQUIVALENCE, 1)
def residue(m: Module) -> None:
    """Bytes are followed by their CRC-32 if and only if the CRC of them all has one certain value,
    whatever the bytes: so the deframer needs to look at no more than that."""
    crc, last = any_value(m, 32, "crc"), any_value(m, 32, "last")
    total = crc
    for place in range(4):
        total = _crc_step(m, total, last.word_select(place, 8))
    claim(m, (total == _RESIDUE) == (last == crc ^ _ONES), "the value tells whether it is right")
    reached(m, total == _RESIDUE, "it is right")


@prove(Method.INDUCTION, 1, cover=14)
def crc(m: Module) -> None:
    """Whatever comes on the line, a packet is committed if and only if its bytes have a right code,
    are enough, end with the CRC-32 of those before, and all found room; what is passed on are its
    bytes without the CRC; and every other end discards."""
    dut = Deframer()
    inside = Inside(m, dut)
    free(m, dut)
    frame = _Frame(m, dut.i)
    lost = Signal()
    with m.If(frame.ends):
        m.d.sync += lost.eq(0)
    with m.Elif(dut.o.valid & ~dut.o.ready):
        m.d.sync += lost.eq(1)

    right = frame.ends & frame.right
    claim(m, dut.i.ready, "the line never waits")
    claim(m, dut.commit == (right & ~lost & dut.o.ready), "a right frame is committed, no other is")
    claim(m, dut.discard == (frame.ends & ~dut.commit), "any other end discards")
    claim(m, dut.o.valid == frame.passes | (right & ~lost), "bytes pass, and the end of a frame")
    claim(m, given(dut.o.valid, dut.o.p.end == frame.ends), "the end is marked")
    claim(m, given(frame.passes, dut.o.p.data == frame.passing), "bytes pass as they are")
    reached(m, frame.ends & (frame.count == FRAME_OVERHEAD) & ~frame.right, "a wrong frame ends")
    reached(m, right & lost, "a right frame has found no room")

    claim(m, inside["decoder.left"] == frame.left, "the decoder is where the specification is")
    claim(m, inside["decoder.zero_due"] == frame.zero, "so is its zero")
    claim(m, inside["decoder.begun"] == frame.begun, "and whether it has begun")
    claim(m, inside["delay"] == frame.last, "the last bytes are kept")
    claim(m, inside["count"] == frame.count, "the bytes are counted")
    claim(m, inside["lost"] == lost, "what found no room is remembered")
    checksum = _checksum(m, frame)
    claim(m, inside["crc.crc_reg"] == checksum[::-1], "the CRC is that of all bytes")
    # As proved above.
    is_right = frame.last == frame.crc ^ _ONES
    assume(m, given(frame.count >= 4, (checksum == _RESIDUE) == is_right))
    claim(m, given(~frame.begun, frame.count == 0), "nothing comes before the beginning")
    claim(m, frame.count <= FRAME_OVERHEAD, "so many are enough")
    claim(m, given(frame.count <= 4, frame.crc == _ONES), "the first four bytes wait")


@prove(Method.INDUCTION, 1, cover=14)
def idle(m: Module) -> None:
    """After a zero the deframer is as after its reset, whatever came before; only the last four
    bytes are left in it, and nothing depends on them."""
    first, second = Deframer(), Deframer()
    insides = [Inside(m, first, "first"), Inside(m, second, "second")]
    free(m, first)
    free(m, second)
    # Two that have seen different things see a zero, and then the same.
    zero = taken(first.i) & (first.i.payload == 0)
    joined = Signal()
    with m.If(zero & taken(second.i) & (second.i.payload == 0)):
        m.d.sync += joined.eq(1)
    for input_ in ("valid", "payload"):
        assume(m, given(joined, getattr(first.i, input_) == getattr(second.i, input_)))
    assume(m, given(joined, first.o.ready == second.o.ready))
    same = (
        (first.o.valid == second.o.valid)
        & (~first.o.valid | (first.o.payload == second.o.payload))
        & (first.commit == second.commit)
        & (first.discard == second.discard)
    )
    claim(m, given(joined, same), "the same follows, whatever was before")
    reached(m, joined & first.commit, "a frame comes after garbage")

    pairs = zip(*(inside.registers() for inside in insides), strict=True)
    for (name, register), (_, other) in pairs:
        if name != "delay":
            claim(m, given(joined, register == other), f"{name} is the same")
            for inside, mine in zip(insides, (register, other), strict=True):
                between = ~inside["decoder.begun"]
                claim(m, given(between, mine == mine.init), f"{name} is as after a reset")
    claim(m, given(past(m, zero), ~insides[0]["decoder.begun"]), "a zero ends everything")
    delays = [inside["delay"] for inside in insides]
    count = insides[0]["count"]
    for age in range(1, 5):
        known = [delay.word_select(4 - age, 8) for delay in delays]
        claim(m, given(joined & (count >= age), known[0] == known[1]), "new bytes are the same")


@prove(Method.INDUCTION, 2, cover=6)
def framer_stable(m: Module) -> None:
    """A byte that is offered to the line stays until it is taken."""
    m.submodules.dut = dut = Framer()
    free(m, dut)
    claim(m, stays(m, dut.o), "valid and payload stay")
    reached(m, past(m, dut.o.valid & ~dut.o.ready) & taken(dut.o), "a byte waits")
