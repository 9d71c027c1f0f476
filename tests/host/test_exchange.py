"""The link's protocol on any line: a machine of random steps against a small model of its own.

The model shares no code with what it tests: it reads frames with the packages ``cobs`` and
``zlib``, answers a request with a hash of it, and keeps what is on the line in two lists.
"""

import hashlib
import struct
import zlib
from collections import Counter, deque

import pytest
from cobs import cobs
from firstspike.exchange import Exchange, Request
from firstspike.firmware.errors import LinkError, NoReply
from firstspike.firmware.protocol import Op
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

HEAD = struct.Struct("<BBI")
OVERHEAD = HEAD.size + 4
OK, BAD_ADDRESS, REPEATED, OUT_OF_ORDER = 0, 3, 7, 8
ANSWER = 0x80

#: A request with this argument is refused.
NOWHERE = 0xDEAD


def encode(op, seq, arg, payload):
    body = HEAD.pack(op, seq, arg) + payload
    return cobs.encode(body + struct.pack("<I", zlib.crc32(body))) + b"\0"


def decode(coded):
    """op, seq, arg and payload of the bytes before a zero, or None."""
    try:
        data = cobs.decode(coded)
    except cobs.DecodeError:
        return None
    body, crc = data[:-4], data[-4:]
    if len(data) < OVERHEAD or struct.pack("<I", zlib.crc32(body)) != crc:
        return None
    return *HEAD.unpack_from(body), body[HEAD.size :]


def answer_to(op, arg, payload):
    """What the device says to a request that it takes."""
    return hashlib.sha256(repr((int(op), arg, payload)).encode()).digest()[: arg % 20 + 1]


class Device:
    """Answers one frame after the other, keeps as many as there is room for, learns in order."""

    def __init__(self, room):
        self.room = room
        self.waiting = deque()
        self.learned = 0
        self.lessons = []

    def receive(self, coded):
        for run in filter(None, coded.split(b"\0")):
            frame = decode(run)
            held = sum(OVERHEAD + len(payload) for *_, payload in self.waiting)
            if frame and held + OVERHEAD + len(frame[3]) <= self.room:
                self.waiting.append(frame)

    def work(self):
        op, seq, arg, payload = self.waiting.popleft()
        status, answer = OK, answer_to(op, arg, payload)
        if arg == NOWHERE:
            status, answer = BAD_ADDRESS, b""
        elif op == Op.LEARN_BITMAP:
            ahead = (arg - self.learned) & 0xFFFF
            if ahead:
                status, answer = REPEATED if ahead >= 0x8000 else OUT_OF_ORDER, b""
            else:
                self.learned += 1
                self.lessons.append(payload)
        return encode(op | ANSWER, seq, status, answer)


class Conversation(RuleBasedStateMachine):
    """A host, a device, and frames on their way; whatever happens to these may happen."""

    room = 200
    retries = 1000

    @initialize(earlier=st.integers(0, 300), first=st.integers(0, 255))
    def start(self, earlier, first):
        self.exchange = Exchange(self.room, self.retries, first=first)
        self.device = Device(self.room)
        self.to_device, self.to_host = [], []
        #: Requests that wait for their turn to be answered, and how often the line saw each frame.
        self.asked = deque()
        self.frames = Counter()
        #: Bytes that may be on their way because of requests without an answer, by number.
        self.flying = {}
        #: Samples that the host has given, without those that it gave up.
        self.taught = 0
        self.next_sample = 0
        #: Nothing else may be asked before this has been answered.
        self.greeting = False
        for number in range(earlier):
            self.submit(Request(Op.READ_REGISTER, number))
            self.flow()

    # The host

    def submit(self, request):
        if not self.exchange.admits(request):
            return False
        self.exchange.submit(request)
        self.asked.append(request)
        self.collect()
        coded = self.to_device[-1]
        _, seq, *_ = decode(coded[:-1])
        self.flying[seq] = max(len(coded), OVERHEAD + request.answer_bytes)
        return True

    @precondition(lambda self: not self.greeting)
    @rule(arg=st.integers(0, 5), payload=st.binary(max_size=60))
    def ask(self, arg, payload):
        self.submit(Request(Op.MEMORY_CRC, arg, payload, answer_bytes=arg))

    @precondition(lambda self: not self.greeting)
    @rule(payload=st.binary(max_size=40))
    def teach(self, payload):
        payload = struct.pack("<I", self.next_sample) + payload
        arg = self.next_sample & 0xFFFF
        if self.submit(Request(Op.LEARN_BITMAP, arg, payload, in_turn=True)):
            self.next_sample += 1

    @precondition(lambda self: not self.greeting)
    @rule()
    def ask_for_what_is_refused(self):
        self.submit(Request(Op.READ_REGISTER, NOWHERE))

    @rule()
    def time_out(self):
        self.attempt(self.exchange.resend)

    @rule()
    def give_up(self):
        """As Ctrl-C does, and every error: the next request is a greeting, alone."""
        self.exchange.abandon()
        self.asked.clear()
        self.frames.clear()
        self.flying.clear()
        self.greeting = True
        self.collect()
        assert self.exchange.idle
        self.submit(Request(Op.HELLO))

    def collect(self):
        """Put on the line what the host has to say."""
        for run in filter(None, self.exchange.outgoing().split(b"\0")):
            self.to_device.append(run + b"\0")
            self.frames[run] += 1

    def attempt(self, action):
        """Do what may end in a documented error; check that there was reason for it."""
        error = None
        try:
            action()
        except LinkError as raised:
            error = raised
        self.collect()
        if isinstance(error, NoReply):
            assert f"got lost {self.retries + 1} times" in str(error)
            assert max(self.frames.values()) >= self.retries + 1
            self.give_up()
        elif error:
            assert "READ_REGISTER was refused" in str(error)
            assert any(request.arg == NOWHERE for request in self.asked)
            self.give_up()
        for payload in self.exchange.answers():
            self.check(self.asked.popleft(), payload)

    def check(self, request, payload):
        assert request.arg != NOWHERE
        if request.op == Op.HELLO:
            self.greeting = False
            # What the host gave up was learned from or was not; the device says which.
            self.next_sample = self.device.learned
        if request.op == Op.LEARN_BITMAP:
            assert request.payload in self.device.lessons
            if not payload:
                return
        assert payload == answer_to(request.op, request.arg, request.payload)

    # The line and the device

    @precondition(lambda self: self.to_device)
    @rule(count=st.integers(1, 5))
    def deliver(self, count):
        for frame in self.to_device[:count]:
            self.device.receive(frame)
        del self.to_device[:count]

    @precondition(lambda self: self.device.waiting)
    @rule(count=st.integers(1, 5))
    def work(self, count):
        for _ in range(min(count, len(self.device.waiting))):
            self.to_host.append(self.device.work())

    @precondition(lambda self: self.to_host)
    @rule(count=st.integers(1, 5), cut=st.integers(0, 30))
    def answer(self, count, cut):
        data = b"".join(self.to_host[:count])
        del self.to_host[:count]
        for _, seq, status, _ in filter(None, map(decode, data.split(b"\0"))):
            if status != OUT_OF_ORDER:
                self.flying.pop(seq, None)
        # Blocks end anywhere.
        for part in (data[:cut], data[cut:]):
            self.attempt(lambda part=part: self.exchange.receive(part))

    def line(self, back):
        return self.to_host if back else self.to_device

    @rule(back=st.booleans(), place=st.integers(0, 10))
    def lose(self, back, place):
        del self.line(back)[place : place + 1]

    @rule(back=st.booleans(), place=st.integers(0, 10))
    def double(self, back, place):
        line = self.line(back)
        line[place:place] = line[place : place + 1]

    @rule(back=st.booleans(), place=st.integers(0, 10))
    def swap(self, back, place):
        line = self.line(back)
        line[place : place + 2] = line[place : place + 2][::-1]

    @rule(back=st.booleans(), place=st.integers(0, 10), bit=st.integers(0, 400))
    def flip(self, back, place, bit):
        line = self.line(back)
        if place < len(line):
            spoiled = bytearray(line[place])
            spoiled[bit // 8 % len(spoiled)] ^= 1 << bit % 8
            line[place] = bytes(spoiled)

    @rule(back=st.booleans(), place=st.integers(0, 10), noise=st.binary(min_size=1, max_size=9))
    def make_noise(self, back, place, noise):
        self.line(back).insert(place, noise)

    @rule()
    def echo(self):
        """Part of what the host sends comes back to it."""
        self.to_host += self.to_device[:2]

    # What holds

    @invariant()
    def the_device_is_never_asked_more_than_it_holds(self):
        if hasattr(self, "flying"):
            assert len(self.flying) <= 1 or sum(self.flying.values()) <= self.room

    @invariant()
    def nothing_is_learned_twice_or_out_of_order(self):
        if hasattr(self, "device"):
            lessons = self.device.lessons
            numbers = [struct.unpack_from("<I", lesson)[0] for lesson in lessons]
            assert numbers == list(range(len(lessons)))

    def flow(self):
        """Everything on its way arrives, and what comes of it."""
        while self.to_device or self.device.waiting or self.to_host:
            self.deliver(len(self.to_device))
            self.work(len(self.device.waiting))
            self.answer(len(self.to_host), 0)

    @precondition(lambda self: self.asked)
    @rule()
    def settle(self):
        """On a line that has become good, everything asked is answered after one time-out."""
        self.to_host.append(b"\0")
        self.to_device.append(b"\0")
        for _ in range(2):
            self.flow()
            if self.exchange.idle:
                break
            self.attempt(self.exchange.resend)
        else:
            raise AssertionError(f"{len(self.asked)} requests are still unanswered")
        assert not self.asked
        # And what it may have on its way is as much as ever.
        small = Request(Op.READ_REGISTER, 1)
        assert self.submit(small)
        assert self.exchange.admits(small)

    def teardown(self):
        if getattr(self, "asked", None):
            self.settle()


class Impatient(Conversation):
    """The same, where the host gives up soon."""

    retries = 2


@pytest.mark.parametrize("machine", [Conversation, Impatient])
def test_every_request_is_answered_once_by_its_own_answer_in_order(machine):
    run_state_machine_as_test(
        machine, settings=settings(max_examples=100, stateful_step_count=60, deadline=None)
    )
