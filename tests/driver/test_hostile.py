"""Devices that answer as none should: the C driver says what is wrong and ends every call."""

import subprocess
from types import SimpleNamespace

import pytest
from c_driver import HERE, SOURCES, compile_c
from driver_case import refusal
from firstspike.firmware.framing import Frame, FrameDecoder, cobs_encode
from firstspike.firmware.protocol import ANSWER, Hello, Op, Status
from small_learner import CONFIG, make_samples

GREETING = Hello(CONFIG, 48_000_000).encode()


class Imposter:
    """A line whose far end is a function from requests to the bytes that come back."""

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        self.use = SimpleNamespace(elapsed=0.0)
        self._decoder = FrameDecoder()
        self._pending = b""

    def write(self, data):
        for frame in self._decoder.feed(data):
            self.requests.append(frame)
            self._pending += self.answer(frame)

    def read(self, timeout):
        data, self._pending = self._pending, b""
        self.use.elapsed += 1e-3 if data else timeout
        return data


def reply(request, payload=b"", status=0, *, op=ANSWER, seq=0):
    """The bytes of an answer; ``op`` is ORed, ``seq`` added."""
    return Frame(request.op | op, (request.seq + seq) % 256, status, payload).encode()


@pytest.fixture
def meet(open_driver):
    """Makes drivers that meet an imposter, which greets properly but for ``greeting``."""

    def meet(answer, greeting=GREETING, connect=True):
        def respond(request):
            return reply(request, greeting) if request.op == Op.HELLO else answer(request)

        return open_driver(cable=lambda board: Imposter(respond), connect=connect)

    return meet


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        (b"2spk" + GREETING[4:], "NO_DEVICE"),
        (GREETING[:43], "NO_DEVICE"),
        (b"", "NO_DEVICE"),
        (GREETING[:4] + b"\x03" + GREETING[5:], "OTHER_VERSION"),
        (GREETING[:24] + bytes(4) + GREETING[28:], "NO_DEVICE"),
    ],
)
def test_greetings(meet, greeting, error):
    driver = meet(lambda request: b"", greeting, connect=False)
    assert refusal(driver.connect) == error
    assert refusal(driver.read_register, 0) == "NOT_CONNECTED"


def test_a_greeting_of_any_length(meet):
    driver = meet(lambda request: b"", GREETING + bytes(100_000), connect=False)
    assert driver.connect(CONFIG.digest)[-1] == Hello(CONFIG, 1).release


@pytest.mark.parametrize("length", [0, 3, 5, 400])
def test_registers_of_other_lengths(meet, length):
    driver = meet(lambda request: reply(request, bytes(length)))
    assert refusal(driver.read_register, 0) == "BAD_ANSWER"


@pytest.mark.parametrize("length", [0, 8, 9, 11, 13, 401])
def test_outcomes_of_impossible_lengths(meet, length):
    driver = meet(lambda request: reply(request, bytes(length)))
    assert refusal(driver.infer, make_samples(3)[0]) == "BAD_ANSWER"


def test_outcomes_of_any_possible_length(meet):
    driver = meet(lambda request: reply(request, bytes(10) + b"\x01\x02" * 200))
    outcomes = driver.infer(make_samples(3)[0])
    assert [outcome.rows for outcome in outcomes] == [(0x201,) * 4] * 3


@pytest.mark.parametrize("status", [12, 200, 1 << 31])
def test_statuses_that_nobody_knows(meet, status):
    driver = meet(lambda request: reply(request, status=status))
    assert refusal(driver.read_register, 0) == "UNKNOWN_STATUS"


@pytest.mark.parametrize("status", list(Status)[1:], ids=lambda status: status.name)
def test_statuses_are_errors(meet, status):
    driver = meet(lambda request: reply(request, status=status))
    with pytest.raises(Exception, match=status.sentence) as caught:
        driver.read_register(0)
    assert caught.value.name == status.name


@pytest.mark.parametrize(
    "stranger",
    [
        lambda request: reply(request, b"nope", op=0),
        lambda request: reply(request, b"nope", op=ANSWER | 0x40),
        lambda request: reply(request, b"nope", seq=1),
        lambda request: reply(request, b"nope")[:-2] + b"\0",
        lambda request: reply(request, b"nope")[1:],
        lambda request: cobs_encode(b"\1" * 9) + b"\0",
        lambda request: b"\0\0\xff\x05\0\0",
        # Right but for a block that promises more than there is.
        lambda request: b"\xff" + cobs_encode(b"\1" * 20) + b"\0",
    ],
)
def test_frames_that_answer_nothing(meet, stranger):
    driver = meet(lambda request: stranger(request) + reply(request, b"good"))
    assert driver.read_register(0) == int.from_bytes(b"good", "little")


def test_an_answer_that_began_before_its_request(meet):
    """The driver cannot know what it would hold."""

    def answer(request):
        if len(driver.transport.requests) == 2:
            # An answer, and the first half of that to the next request.
            early = reply(request, b"evil", seq=1)
            return reply(request, b"good") + early[:9]
        return reply(request, b"evil")[9:] + reply(request, b"good")

    driver = meet(answer, connect=False)
    driver.connect()
    for _ in range(2):
        assert driver.read_register(0) == int.from_bytes(b"good", "little")


def test_a_block_that_does_not_end(meet):
    """A frame whose CRC is right, but whose last code promises more bytes than there are."""

    def answer(request):
        coded = reply(request, b"evil").rstrip(b"\0")
        position = 0
        while position + coded[position] < len(coded):
            position += coded[position]
        longer = coded[:position] + bytes([coded[position] + 1]) + coded[position + 1 :]
        return longer + b"\0" + reply(request, b"good")

    driver = meet(answer)
    assert driver.read_register(0) == int.from_bytes(b"good", "little")


def number_of(request):
    """The answer to who asks for the number of the next sample, which is 0."""
    return reply(request, bytes(4)) if request.op == Op.READ_REGISTER else b""


def test_a_device_that_never_learns(meet):
    driver = meet(lambda request: number_of(request) or reply(request, status=Status.OUT_OF_ORDER))
    assert refusal(driver.learn, *make_samples(20)) == "OUT_OF_ORDER"
    assert driver.transport.requests[-1].op in (Op.LEARN_BITMAP, Op.LEARN_SPIKES)


def test_a_device_that_leaves_out_every_other_sample(meet):
    """Samples are sent again a bounded number of times, though something always answers."""

    def answer(request):
        if request.op == Op.READ_REGISTER:
            return number_of(request)
        return b"" if request.arg % 2 == 0 else reply(request, status=Status.OUT_OF_ORDER)

    driver = meet(answer)
    assert refusal(driver.learn, *make_samples(8)) == "NO_ANSWER"
    assert len(driver.transport.requests) < 500


@pytest.mark.parametrize("retries", [0, 1, 65_535])
def test_silence_ends_after_any_number_of_retries(meet, retries):
    class Silence:
        """What is sent is counted by its last zero."""

        def __init__(self):
            self.frames = 0
            self.use = SimpleNamespace(elapsed=0.0)

        def write(self, data):
            self.frames += len(data) > 1 and data.endswith(b"\0")
            assert self.frames <= retries + 1

        def read(self, timeout):
            self.use.elapsed += timeout
            return b""

    driver = meet(lambda request: b"")
    driver.call("limits", 1, retries, 1)
    driver.transport = Silence()
    assert refusal(driver.read_register, 0) == "NO_ANSWER"
    assert driver.transport.frames == retries + 1


@pytest.mark.parametrize("retries", [0, 65_535])
def test_lessons_that_overtake_another(meet, retries):
    """One that is refused since another was lost is no trouble of its own."""
    lost = [0]

    def answer(request):
        number = request.arg & 0xFFFF
        if request.op == Op.READ_REGISTER:
            return reply(request, bytes(4))
        if number == 1 and lost[0] < min(retries, 1):
            lost[0] += 1
            return b""
        if number > learned[0]:
            return reply(request, status=Status.OUT_OF_ORDER)
        learned[0] = number + 1
        return reply(request, bytes(14))

    learned = [0]
    driver = meet(answer)
    driver.call("limits", 500, retries, 8)
    assert len(driver.learn(*make_samples(8))) == 8
    assert driver.troubles()[0] == (7 if retries else 0)


@pytest.mark.parametrize("noise", [b"\0", b"\1", b"\xff", b"\x01\x00"], ids=bytes.hex)
def test_noise_without_an_end(meet, noise):
    class Noise(Imposter):
        def read(self, timeout):
            self.use.elapsed += 1e-3
            return self._pending or noise * 16

    driver = meet(lambda request: b"")
    driver.transport = Noise(lambda request: b"")
    assert refusal(driver.read_register, 0) == "NO_ANSWER"
    assert len(driver.transport.requests) == 9


def test_fuzzing(tmp_path):
    """A short run; ``bench/driver_fuzz.py`` makes long ones."""
    program = compile_c(tmp_path / "fuzz", HERE / "fuzz.c", *SOURCES)
    result = subprocess.run(
        [program, "20000", "1"], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    first, *ends = result.stdout.splitlines()
    assert first == "20000 inputs"
    # It goes deep: calls end in every way but a few that are rare.
    assert len(ends) > 20
