"""The packet buffer: what goes in comes out, in order, if and only if it was committed."""

from amaranth.hdl import Module, Mux, Signal
from firstspike.hdl.packet_buffer import PacketBuffer
from prove import Method, prove
from watch import Inside, any_value, assume, claim, free, given, past, reached, stays, taken

SIZES = {
    "4 slots": {"depth": 4},
    "8 slots": {"depth": 8},
    "4 slots, headed": {"depth": 4, "headed": True},
}


class _Count:
    """How many items there should be: ``unread`` that were committed, and ``open`` that were
    not."""

    def __init__(self, m: Module, buffer: PacketBuffer, depth: int, *, headed: bool) -> None:
        self.push = Signal()
        self.pop = Signal()
        self.commits = Signal()
        self.unread = Signal(range(2 * depth))
        self.open = Signal(range(2 * depth))
        m.d.comb += [
            self.push.eq(taken(buffer.i)),
            self.pop.eq(taken(buffer.o)),
            self.commits.eq(buffer.commit & (self.push | ~buffer.i.valid) & ~buffer.discard),
        ]
        more = self.open + self.push
        m.d.sync += [
            self.unread.eq(self.unread - self.pop + Mux(self.commits, more, 0)),
            self.open.eq(Mux(self.commits | buffer.discard, 0, more)),
        ]
        if headed:
            # A packet's head is offered with its commit.
            assume(m, given(buffer.commit, buffer.i.valid))

    def agree(self, m: Module, inside: Inside, depth: int, *, headed: bool) -> None:
        """Relate the counts to the positions in the buffer, for the sake of induction."""
        head, base, tail = (inside[name] for name in ("head", "base", "tail"))
        valid = inside["o__valid"]
        mask = 2 * depth - 1
        stored = Signal(range(2 * depth))
        m.d.comb += stored.eq((head - tail) & mask)
        claim(m, self.unread == ((base - tail) & mask) + valid, "what was committed is counted")
        claim(m, self.open == ((head - base) & mask) - headed, "what was not is counted")
        claim(m, stored <= depth, "no more is stored than there is room for")
        claim(m, given(stored == depth, inside["full"]), "a full buffer says so")
        claim(m, ((base - tail) & mask) <= stored, "packets that are complete come first")


@prove(Method.INDUCTION, 2, cover=9, sizes=SIZES)
def order(m: Module, depth: int, headed: bool = False) -> None:
    """Committed items come out, each once and in their order, and no others: none is lost, made up
    or out of turn, and a discard takes exactly what was not committed. No slot of the memory is
    read in the cycle in which it is written."""
    dut = PacketBuffer(2, depth, headed=headed)
    inside = Inside(m, dut)
    free(m, dut)
    count = _Count(m, dut, depth, headed=headed)
    count.agree(m, inside, depth, headed=headed)

    # One item, any of them, is followed on its way.
    chosen = any_value(m, 1, "chosen")
    followed = Signal()
    kept = Signal()
    item = Signal(2)
    ahead = Signal(range(4 * depth))
    position = count.unread + count.open
    if headed:
        position = Mux(dut.commit, count.unread, position + 1)
    leaves = Signal()
    m.d.comb += leaves.eq(followed & kept & (ahead == 0) & dut.o.valid)
    with m.If(followed):
        m.d.sync += [ahead.eq(ahead - count.pop), kept.eq(kept | count.commits)]
        with m.If((leaves & dut.o.ready) | (dut.discard & ~kept)):
            m.d.sync += followed.eq(0)
    with m.Elif(count.push & chosen & ~dut.discard):
        m.d.sync += [
            followed.eq(1),
            kept.eq(count.commits),
            item.eq(dut.i.payload),
            ahead.eq(position - count.pop),
        ]

    claim(m, given(dut.o.valid, count.unread != 0), "nothing comes out that was not committed")
    claim(m, given(leaves, dut.o.payload == item), "an item comes out in its turn, as it went in")
    reached(m, leaves & (past(m, ahead) != 0), "the item comes out after others")
    reached(m, past(m, dut.discard) & (past(m, count.open) > 1), "several items are discarded")

    first = count.unread + headed
    claim(
        m,
        given(
            followed,
            Mux(kept, ahead < count.unread, (ahead >= first) & (ahead < first + count.open)),
        ),
        "the item has its place",
    )
    slot = inside.word("memory", (inside["tail"] + ahead - dut.o.valid)[: (depth - 1).bit_length()])
    claim(m, given(followed & ~leaves, slot == item), "the item is in its slot")

    written = (Mux(dut.commit, inside["base"], inside["head"]) if headed else inside["head"]) - (
        inside["read__addr"]
    )
    both = count.push & inside["read__en"]
    other = written[: (depth - 1).bit_length()] != 0
    claim(m, given(both, other), "no slot is read in the cycle in which it is written")


@prove(Method.INDUCTION, 2, cover=13, sizes=SIZES)
def progress(m: Module, depth: int, headed: bool = False) -> None:
    """A committed item is offered at once if nothing is, and there is room again at the latest a
    cycle after a slot has become free."""
    dut = PacketBuffer(2, depth, headed=headed)
    inside = Inside(m, dut)
    free(m, dut)
    count = _Count(m, dut, depth, headed=headed)
    count.agree(m, inside, depth, headed=headed)
    claim(m, given(past(m, (count.unread != 0) & ~dut.o.valid), dut.o.valid), "items are offered")
    room = Signal()
    m.d.comb += room.eq(count.unread - dut.o.valid + count.open + headed < depth)
    claim(m, given(past(m, room & ~dut.i.ready), dut.i.ready), "room is offered")
    reached(m, past(m, ~dut.i.ready) & dut.i.ready, "a full buffer has room again")


@prove(Method.INDUCTION, 2, cover=9, sizes=SIZES)
def stable(m: Module, depth: int, headed: bool = False) -> None:
    """An item that is offered stays until it is taken."""
    dut = PacketBuffer(2, depth, headed=headed)
    Inside(m, dut)
    free(m, dut)
    claim(m, stays(m, dut.o), "valid and payload stay")
    reached(m, past(m, dut.o.valid & ~dut.o.ready) & taken(dut.o), "an item waits")
