"""The link's client against the virtual board, over good lines and bad ones."""

import itertools
import json
import re
import struct
import time
from pathlib import Path

import pytest
from firstspike.exchange import Exchange, Request
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import ConfigurationMismatch, DataError, LinkError, NoReply
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.protocol import ANSWER, Hello, Op
from firstspike.firmware.registers import register_map
from firstspike.link import Link
from firstspike.sim.faults import Faults, FaultyTransport
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard

CONFIG = Config([LayerConfig(24, 10, 4), LayerConfig(10, 3, 3)], max_steps=32)
THRESHOLD = 0x10


def board(**arguments):
    return VirtualBoard(ModelBackend(CONFIG), **arguments)


def writes(values):
    """Requests that write ``values`` to a register, one after the other, and read it back."""
    for value in values:
        yield Request(Op.WRITE_REGISTER, THRESHOLD, struct.pack("<I", value))
        yield Request(Op.READ_REGISTER, THRESHOLD)


def name_model(number):
    """Says that the memories hold a model, whatever they hold."""
    (address,) = (at for name, at, _ in register_map(CONFIG) if name == "model")
    return Request(Op.WRITE_REGISTER, address, struct.pack("<I", number))


def read_back(answers):
    return [struct.unpack("<I", answer)[0] for answer in itertools.islice(answers, 1, None, 2)]


class Echo:
    """A line whose ends are joined."""

    def __init__(self):
        self.waiting = b""

    def write(self, data):
        self.waiting += data

    def read(self, timeout):
        data, self.waiting = self.waiting, b""
        return data

    def close(self):
        pass


class Chatter(Echo):
    """Something that talks without being asked, in words of its own."""

    def __init__(self, text):
        super().__init__()
        self.text = text
        self.reads = 0

    def write(self, data):
        pass

    def read(self, timeout):
        self.reads += 1
        assert self.reads < 1_000_000, "this goes on for ever"
        return self.text


class Scripted(Echo):
    """Answers each request as ``answer`` says."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.decoder = FrameDecoder()

    def write(self, data):
        for frame in self.decoder.feed(data):
            self.waiting += self.answer(frame)


class Watched:
    """Passes bytes on and keeps the largest number of request bytes without an answer."""

    def __init__(self, transport):
        self.transport = transport
        self.sent, self.received = FrameDecoder(), FrameDecoder()
        self.sizes = {}
        self.most = 0

    def write(self, data):
        for frame in self.sent.feed(data):
            self.sizes[frame.seq] = len(frame.encode())
        self.most = max(self.most, sum(self.sizes.values()))
        self.transport.write(data)

    def read(self, timeout):
        data = self.transport.read(timeout)
        for frame in self.received.feed(data):
            del self.sizes[frame.seq]
        return data


def test_hello():
    link = Link(board(), "board")
    hello = link.hello()
    assert hello.config == CONFIG
    assert link.statistics.requests == 1
    assert link.statistics.retries == 0


def test_answers_come_in_the_order_of_the_requests_past_the_wrap_of_sequence_numbers():
    values = list(range(1, 700))
    link = Link(board(), "board")
    assert read_back(link.stream(writes(values))) == values
    assert link.statistics.requests == 2 * len(values) + 1
    assert link.statistics.frames_sent == link.statistics.frames_received


def test_no_more_bytes_in_flight_than_the_device_holds():
    transport = Watched(board())
    link = Link(transport, "board")
    payload = bytes(400)
    region = len(CONFIG.regions) - 1
    words = 24
    requests = [
        *(Request(Op.WRITE_MEMORY, region << 24, bytes(2 * words)) for _ in range(300)),
        name_model(7),
        *(Request(Op.INFER_SPIKES, 7) for _ in range(300)),
    ]
    assert len(list(link.stream(requests))) == 601
    assert transport.most <= CONFIG.buffer_bytes
    assert transport.most > CONFIG.buffer_bytes - len(payload)


@pytest.mark.parametrize(
    ("baud", "latency"), [(115_200, 0), (115_200, 1e-3), (1_000_000, 1e-3), (12_000_000, 1e-4)]
)
def test_the_line_is_busy(baud, latency):
    """While a batch runs, nothing waits for answers; they keep their own line busy."""
    transport = board(baud=baud, latency=latency)
    link = Link(transport, "board", timeout=2)
    link.call(name_model(7))
    before = transport.use
    requests = [Request(Op.INFER_BITMAP, 7, b"\xff" * 3)] * 1500
    assert len(list(link.stream(requests))) == 1500
    use = transport.use - before
    assert use.to_host > 0.98 * use.elapsed, str(use)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "faults",
    [
        Faults(flip=6e-4),
        Faults(drop=0.005),
        Faults(duplicate=0.005),
        Faults(insert=0.005),
        Faults(burst=0.002),
        Faults(flip=1e-4, drop=0.001, duplicate=0.001, insert=0.001, burst=2e-4),
    ],
    ids=["flip", "drop", "duplicate", "insert", "burst", "all"],
)
def test_answers_are_right_over_a_bad_line(faults, seed):
    transport = FaultyTransport(board(), to_device=faults, to_host=faults, seed=seed)
    link = Link(transport, "board", timeout=0.1, retries=30)
    values = list(range(1, 200))
    # Each write waits for the read before it: a request that is sent again late must not undo a
    # later one.
    read = []
    for value in values:
        link.call(Request(Op.WRITE_REGISTER, THRESHOLD, struct.pack("<I", value)))
        read += struct.unpack("<I", link.call(Request(Op.READ_REGISTER, THRESHOLD)))
    assert read == values
    # Reads depend on nothing, so they may be streamed.
    addresses = [0x00, THRESHOLD, 0x01, THRESHOLD + 1] * 100
    answers = link.stream(Request(Op.READ_REGISTER, address) for address in addresses)
    assert [struct.unpack("<I", answer)[0] for answer in answers] == [1, 199, 1, 1] * 100
    assert transport.injected.total() > 0
    assert link.statistics.retries > 0


def test_lost_frames_are_found_by_later_answers_without_waiting():
    """Only the last frames of a batch can need a time-out."""
    transport = board()
    link = Link(FaultyTransport(transport, to_device=Faults(drop=0.002)), "board", timeout=1.0)
    link.hello()
    list(link.stream([Request(Op.READ_REGISTER, 0)] * 3000))
    assert link.statistics.retries > 50
    assert transport.use.elapsed < 5


def test_answers_that_come_twice_are_ignored():
    """A time-out that is too short makes the device answer everything again, later."""
    link = Link(board(latency=20e-3), "board", timeout=15e-3)
    values = list(range(1, 200))
    read = []
    for value in values:
        link.call(Request(Op.WRITE_REGISTER, THRESHOLD, struct.pack("<I", value)))
        read += struct.unpack("<I", link.call(Request(Op.READ_REGISTER, THRESHOLD)))
    assert read == values
    assert link.statistics.stray > 0


def test_late_answers_are_waited_for():
    """What comes late, and then as often as it was sent, is no reason to send more of it."""

    class Slow(Watched):
        """The answer to each frame takes its time, by the clock on the wall."""

        def read(self, timeout):
            data = self.transport.read(timeout)
            if data:
                time.sleep(0.002)
            return data

    link = Link(Slow(board()), "board", timeout=0.01, retries=4)
    link.hello()
    first = link.statistics.frames_sent
    for _ in range(3):  # as after a silence
        link._exchange.submit(Request(Op.READ_REGISTER, 0))
        for _ in range(12):
            link._exchange.resend(hasty=True)
        link._transport.write(link._exchange.outgoing())
        link._exchange.abandon()
    late = link.statistics.frames_sent - first
    assert link.call(Request(Op.READ_REGISTER, 0)) == struct.pack("<I", 1)
    assert link.statistics.stray >= late
    assert link.statistics.frames_sent - first - late <= 2


def test_answers_that_are_owed_to_another_host_are_ignored():
    """A program that ended before its answers came; the next one counts from elsewhere."""
    transport = board(latency=20e-3)
    earlier = Link(transport, "board", timeout=0.1)
    earlier.call(Request(Op.WRITE_REGISTER, 0, struct.pack("<I", 9)))
    owed = Exchange(first=5)
    for _ in range(3):
        owed.submit(Request(Op.READ_REGISTER, 1))
    transport.write(owed.outgoing())
    later = Link(transport, "board", timeout=0.1, first=100)
    assert later.call(Request(Op.READ_REGISTER, 0)) == struct.pack("<I", 9)
    assert later.statistics.stray == 3
    assert later.next_sequence == 102


def test_a_stream_that_stops_early_leaves_the_link_usable():
    link = Link(board(), "board")
    stream = link.stream([Request(Op.READ_REGISTER, 0)] * 1000)
    for _ in range(10):
        next(stream)
    stream.close()
    assert read_back(link.stream(writes([5, 6]))) == [5, 6]
    assert link.statistics.stray > 0


def test_a_refusal_is_an_error_and_leaves_the_link_usable():
    link = Link(board(), "board")
    requests = [
        Request(Op.READ_REGISTER, 0),
        Request(Op.READ_REGISTER, 0xFF),
        Request(Op.READ_REGISTER, 1),
    ]
    with pytest.raises(LinkError, match="READ_REGISTER was refused: there is no register"):
        list(link.stream(requests))
    assert read_back(link.stream(writes([5]))) == [5]


def test_an_unknown_status_is_named():
    def answer(frame):
        status, payload = (0, Hello(CONFIG, 1).encode()) if frame.op == Op.HELLO else (99, b"")
        return Frame(frame.op | ANSWER, frame.seq, status, payload).encode()

    with pytest.raises(LinkError, match="refused: the device gave status 99"):
        Link(Scripted(answer), "board").call(Request(Op.READ_REGISTER, 0))


def test_silence():
    transport = FaultyTransport(board(), seed=0)
    transport.silent = True
    with pytest.raises(NoReply, match=r"^it does not answer; check that it is programmed"):
        Link(transport, "it").hello()


def test_silence_later_on():
    transport = FaultyTransport(board(), seed=0)
    link = Link(transport, "it")
    link.hello()
    transport.silent = True
    with pytest.raises(NoReply, match=r"^it stopped answering; check its power"):
        link.call(Request(Op.READ_REGISTER, 0))
    transport.silent = False
    assert link.call(Request(Op.READ_REGISTER, 0)) == struct.pack("<I", 1)


@pytest.mark.parametrize("silences", [0, 20])
def test_noise_later_on(silences):
    """What is left of answers tells that the device is there, however good the line was before."""
    transport = FaultyTransport(board(), seed=0)
    link = Link(transport, "it", timeout=0.02, retries=4)
    link.hello()
    link.statistics.silences += silences
    noise = FaultyTransport(board(), to_host=Faults(drop=0.2), seed=0)
    transport.write, transport.read = noise.write, noise.read
    with pytest.raises(NoReply, match=r"^it stopped answering after \d+ damaged answers; the"):
        list(link.stream([Request(Op.READ_MEMORY, 0, struct.pack("<I", 60), answer_bytes=240)]))


@pytest.mark.parametrize("text", [b"boot> \r\n", b"\0", b"\0\1\2\0", bytes(range(1, 256))])
def test_garbage(text):
    with pytest.raises(NoReply, match="sends bytes that are no answers"):
        Link(Chatter(text), "it", timeout=0.02).hello()


def test_echo():
    with pytest.raises(NoReply, match="sends bytes that are no answers, such as 00 02 01"):
        Link(Echo(), "it", timeout=0.02).hello()


def test_answers_to_somebody_else():
    """They are answers as whole as any, but nothing that was asked is answered."""
    answers = Chatter(Frame(Op.INFER_BITMAP | ANSWER, 77, 0, b"").encode())
    with pytest.raises(NoReply, match=r"are no answers, .* and that no other program uses it"):
        Link(answers, "it", timeout=0.02).hello()


def test_answers_to_somebody_else_later_on():
    transport = Watched(board())
    link = Link(transport, "it", timeout=0.02)
    link.hello()
    answers = Chatter(Frame(Op.READ_REGISTER | ANSWER, 200, 0, b"").encode())
    transport.read = answers.read
    with pytest.raises(NoReply, match="it stopped answering"):
        link.call(Request(Op.READ_REGISTER, 0))


def test_a_line_that_loses_everything_but_greetings():
    def answer(frame):
        if frame.op == Op.READ_REGISTER and frame.arg == 1:
            return b""
        payload = Hello(CONFIG, 1).encode() if frame.op == Op.HELLO else bytes(4)
        return Frame(frame.op | ANSWER, frame.seq, 0, payload).encode()

    requests = [Request(Op.READ_REGISTER, 1)] + [Request(Op.READ_REGISTER, 0)] * 1000
    with pytest.raises(NoReply, match="got lost 4 times; the line is too noisy"):
        list(Link(Scripted(answer), "it", timeout=0.02, retries=3).stream(requests))


def test_the_documented_fields_of_a_greeting():
    text = (Path(__file__).parents[2] / "docs" / "link.md").read_text()
    (sentence,) = re.findall(r"^The JSON has (.*?\.)\n\n", text, re.MULTILINE | re.DOTALL)
    whole, layer = sentence.split("which has")
    told = json.loads(CONFIG.to_json())
    assert set(re.findall(r"`(\w+)`", whole)) == set(told)
    assert set(re.findall(r"`(\w+)`", layer)) == set(told["layers"][0])


def test_another_protocol_version():
    def answer(frame):
        return Frame(frame.op | ANSWER, frame.seq, 0, Hello(CONFIG, 1, version=9).encode()).encode()

    with pytest.raises(ConfigurationMismatch, match="it: the device speaks protocol version 9"):
        Link(Scripted(answer), "it").hello()


def test_a_request_over_the_buffer():
    exchange = Exchange(credit=64)
    with pytest.raises(DataError, match="device's buffer holds 64"):
        exchange.submit(Request(Op.WRITE_MEMORY, payload=bytes(range(1, 100))))
    assert exchange.idle


def test_large_answers_wait_for_each_other():
    """Answers on their way are kept as few as requests, so that no buffer on the way back fills."""
    exchange = Exchange(credit=1000)
    request = Request(Op.READ_MEMORY, payload=bytes(4), answer_bytes=400)
    exchange.submit(request)
    assert exchange.admits(request)
    exchange.submit(request)
    assert not exchange.admits(request)
