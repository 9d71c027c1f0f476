"""The command processor: one answer for each request, in their order."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.framing import HEAD
from firstspike.firmware.protocol import ANSWER, Hello, Op
from firstspike.hdl.commands import CommandProcessor, _Answer
from prove import Method, prove
from watch import Inside, any_value, assume, claim, free, given, past, reached, stays, taken

_CONFIG = Config([LayerConfig(3, 2, 2, current_bits=10, membrane_bits=10)], max_steps=4)
_HEAD = HEAD.size
#: Bytes that follow the head of an inference's answer and of a register's.
_RESULT, _WORD = 10, 4


@prove(Method.INDUCTION, 2, cover=16)
def answers(m: Module) -> None:
    """Of all requests that have come in whole, at most two are not answered: one whose sample is in
    the core, and after it the one at hand. Answers come in the order of the requests, one for each,
    and name the operation and the sequence number. An answer that is due is offered at once, but
    for one that waits for the core or for a memory, and stays until it is taken."""
    dut = CommandProcessor(_CONFIG, Hello(_CONFIG, 1_000_000))
    inside = Inside(m, dut)
    free(m, dut)

    def at(*states: str):
        return inside.state("state", *states)

    # The deframer lets no request through that is shorter than its head.
    place = Signal(range(_HEAD + 1))
    begins = taken(dut.i) & (place == 0)
    ends = taken(dut.i) & dut.i.p.end
    with m.If(taken(dut.i)):
        m.d.sync += place.eq(Mux(dut.i.p.end, 0, Mux(place == _HEAD, _HEAD, place + 1)))
    assume(m, given(dut.i.valid & dut.i.p.end, place == _HEAD))

    # A result is kept until it is taken; the payload of one that there is not may be anything.
    waits = past(m, dut.results.valid & ~dut.results.ready)
    result = Value.cast(dut.results.payload)
    kept = dut.stalled == past(m, dut.stalled)
    kept &= dut.stalled | (result == past(m, result))
    assume(m, given(waits, dut.results.valid & kept))
    # A byte that is read out of a memory is kept, as memory_streamer.stable proves.
    streamed = inside.state("streamer.state", "read")
    waits = past(m, streamed & ~dut.memory.shift)
    assume(m, given(waits, dut.memory.byte_out == past(m, dut.memory.byte_out)))

    answered = taken(dut.o) & dut.o.p.last
    open_ = Signal(range(4))
    m.d.sync += open_.eq(open_ + ends - answered)
    running, index = inside["running"], inside["index"]
    at_hand = at("execute", "crc", "answer")
    claim(m, open_ <= 2, "no more than two requests are not answered")
    claim(m, open_ == running + at_hand, "what is not answered is in the core or at hand")
    claim(m, given(dut.o.valid, open_ != 0), "no answer comes without a request")

    # One request, any of them, and its answer.
    chosen = any_value(m, 1, "chosen")
    followed, whole = Signal(), Signal()
    op, seq = Signal(8), Signal(8)
    ahead = Signal(range(4))
    with m.If(~followed & begins & chosen):
        m.d.sync += [followed.eq(1), op.eq(dut.i.p.data)]
    with m.Elif(followed & ~whole):
        with m.If(taken(dut.i) & (place == 1)):
            m.d.sync += seq.eq(dut.i.p.data)
        with m.If(ends):
            m.d.sync += [whole.eq(1), ahead.eq(open_ - answered)]
    with m.Elif(whole & answered):
        m.d.sync += ahead.eq(ahead - 1)
        with m.If(ahead == 0):
            m.d.sync += [followed.eq(0), whole.eq(0)]
    byte = Signal(range(4))
    with m.If(taken(dut.o)):
        m.d.sync += byte.eq(Mux(dut.o.p.last, 0, Mux(byte == 3, 3, byte + 1)))
    mine = dut.o.valid & whole & (ahead == 0)
    claim(m, given(mine & (byte == 0), dut.o.p.data == (op | ANSWER)), "it names the operation")
    claim(m, given(mine & (byte == 1), dut.o.p.data == seq), "it names the sequence number")
    claim(m, given(dut.o.valid & dut.o.p.last, byte == 3), "no answer is shorter than its head")

    reads = (inside["answer"] == _Answer.MEMORY.value) & (index == _HEAD)
    due = Mux(running, dut.results.valid, at("answer") & ~reads)
    claim(m, given(due, dut.o.valid), "an answer that is due is offered")
    claim(m, given(past(m, at("execute") & ~reads), ~at("execute")), "it is due at once")
    claim(m, stays(m, dut.o), "an answer stays until it is taken")
    claim(m, stays(m, dut.events), "an event stays until it is taken")
    reached(m, past(m, answered) & (open_ == 0), "a request is answered")
    reached(m, taken(dut.results) & (open_ == 1), "an inference is answered")

    # Where the request at hand is, and what is known of it.
    count, head = inside["count"], inside["head"]
    claim(m, given(at("head"), (count == place) & (place < _HEAD)), "the head is counted")
    claim(m, given(at("begin", "sample", "write", "payload"), place == _HEAD), "it is complete")
    claim(m, given(at("begin", "sample", "write") | at_hand, count == 0), "then it counts anew")
    claim(m, given(at("payload"), count <= 5), "the payload's bytes")
    claim(m, given(at_hand, place == 0), "the request has ended")
    claim(m, given(at("write", "payload", "execute", "crc"), ~running), "the core is empty")
    sample = head[:8].matches(Op.INFER_BITMAP, Op.INFER_SPIKES)
    claim(m, given(at("sample"), sample), "it is a sample")

    # Where the bytes of the one that is followed are.
    in_core = whole & (ahead == 0) & running
    claim(m, given(followed & ~whole, ~at_hand), "it is coming in")
    claim(m, given(followed & ~whole & at("head"), place != 0), "it has begun")
    claim(m, given(whole, (ahead < open_) & followed), "it has its turn")
    for number in range(1, _HEAD):
        there = followed & ~whole & at("head") & (place == number)
        first = head[8 * (_HEAD - number) :][:8]
        claim(m, given(there, first == op), "its operation comes in")
        if number > 1:
            second = head[8 * (_HEAD - number + 1) :][:8]
            claim(m, given(there, second == seq), "its sequence number comes in")
    here = followed & ~in_core & ~at("head")
    claim(m, given(here, (head[:8] == op) & (head[8:16] == seq)), "its head is at hand")
    of_core = (inside["running_op"] == op) & (inside["running_seq"] == seq)
    claim(m, given(in_core, of_core), "its head is with its sample")

    # How far the answer is.
    kind = inside["answer"]
    busy = ~inside.state("streamer.state", "idle")
    claim(m, byte == Mux(index > 3, 3, index), "the answer's bytes are counted")
    claim(m, given(~running & ~at("answer"), index == 0), "none has begun")
    claim(m, given(running & (index != 0), dut.results.valid), "a result has begun")
    claim(m, given(running & (index >= _HEAD), ~dut.stalled), "one that there is")
    claim(m, given(running, index < _HEAD + _RESULT + 2 * len(dut.results.p.rows)), "it ends")
    longest = {
        _Answer.STATUS: Const(_HEAD - 1),
        _Answer.WORD: Const(_HEAD + _WORD - 1),
        _Answer.HELLO: Const(_HEAD),
        _Answer.MEMORY: Mux(busy, _HEAD, _HEAD - 1),
    }
    for what, end in longest.items():
        here = at("answer") & ~running & (kind == what.value)
        claim(m, given(here, index <= end), f"an answer with {what.name} ends")
    claim(m, given(~at("head", "crc", "answer"), kind == _Answer.STATUS.value), "nothing follows")
    memory = kind == _Answer.MEMORY.value
    claim(m, given(at("crc"), memory), "a memory is read")
    claim(m, given(at("answer") & running, kind == _Answer.STATUS.value), "after a sample, status")
    moves = at("write", "crc") | (at("answer") & memory)
    claim(m, given(busy, moves), "a memory is accessed")
    stores = inside.state("streamer.state", "store", "settle")
    claim(m, given(stores, at("write")), "a memory is written")
    claim(m, given(past(m, 1), inside["hello.o__valid"]), "the greeting is always there")
    claim(m, given(past(m, past(m, 1)), inside["hello_stage.o__valid"]), "and offered")
    claim(m, given(at("answer"), past(m, past(m, 1))), "by the time of an answer")
