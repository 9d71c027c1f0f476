"""One set of tests for everything that stands behind the link without being a board."""

import os
import struct
import time
import zlib

import numpy as np
import pytest
import serial
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError, DeviceLost, PortError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.layout import unpack_weights
from firstspike.firmware.learning import Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.protocol import (
    ANSWER,
    Hello,
    Op,
    Outcome,
    Status,
    encode_sample,
    learning_argument,
    memory_address,
)
from firstspike.firmware.registers import register_map, register_values
from firstspike.sim import golden
from firstspike.sim.engine import AcceleratorSimulation
from firstspike.sim.fast_learner import Learner
from firstspike.sim.faults import Faults, FaultyLine, FaultyTransport
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard

BACKENDS = [ModelBackend, AcceleratorSimulation]
BYTE = 10 / 3_000_000


def make_network(seed=5):
    """20-12-5, with an input that has no row."""
    random = np.random.default_rng(seed)
    hidden = random.integers(-30, 60, (20, 12))
    hidden[3] = 0
    layers = [Layer(hidden, 3, 300), Layer(random.integers(-50, 80, (12, 5)), 2, 250)]
    return Network(layers, steps=24)


NETWORK = make_network()
IMAGE = compile(NETWORK, Config.for_network(NETWORK, lanes=[5, 3], buffer_bytes=256))
CONFIG = IMAGE.config


def make_samples(count, seed=6):
    random = np.random.default_rng(seed)
    samples = random.integers(0, NETWORK.steps, (count, NETWORK.inputs))
    samples[random.random(samples.shape) < 0.5] = NEVER
    samples[::3] = np.where(samples[::3] >= 0, 0, NEVER)
    return samples


def ask(board, op, arg=0, payload=b"", seq=0):
    """One request and its answer: status and payload."""
    board.write(Frame(op, seq, arg, payload).encode())
    (answer,) = FrameDecoder().feed(board.read(0.1))
    assert (answer.op, answer.seq) == (op | ANSWER, seq)
    return Status(answer.arg), answer.payload


def load(board, image=IMAGE):
    for name, address, _ in register_map(image.config):
        if name in image.registers:
            value = struct.pack("<I", image.registers[name])
            assert ask(board, Op.WRITE_REGISTER, address, value) == (Status.OK, b"")
    for number, region in enumerate(image.config.regions):
        contents = image.regions[region.name]
        for word in range(region.words):
            part = contents[word * region.lanes : (word + 1) * region.lanes]
            arg = memory_address(number, word)
            assert ask(board, Op.WRITE_MEMORY, arg, part) == (Status.OK, b"")
    write_registers(board, {"model": image.crc})


@pytest.fixture(params=BACKENDS)
def board(request):
    board = VirtualBoard(request.param(CONFIG, build=77))
    yield board
    board.close()


@pytest.fixture
def pair():
    boards = [VirtualBoard(backend(CONFIG, build=77)) for backend in BACKENDS]
    yield boards
    for board in boards:
        board.close()


def test_it_greets(board):
    status, payload = ask(board, Op.HELLO)
    assert status == Status.OK
    assert Hello.decode(payload) == Hello(CONFIG, 48_000_000, 77, digest=CONFIG.digest)


def test_it_infers_what_was_loaded(board):
    load(board)
    samples = make_samples(20)
    expected = golden.infer(IMAGE.network(), samples)
    for index, (op, payload) in enumerate(map(encode_sample, samples)):
        status, answer = ask(board, op, IMAGE.crc, payload, seq=index)
        assert status == Status.OK
        outcome = Outcome.decode(answer, 2)
        assert outcome.label == expected.label[index]
        assert outcome.step == expected.step[index]
        assert outcome.fired == expected.fired[index]
        assert outcome.rows == tuple(expected.rows[index])


def test_it_infers_with_its_memory_and_not_with_what_it_was_given_once(board):
    load(board)
    other = compile(make_network(seed=8), CONFIG)
    load(board, other)
    samples = make_samples(10)
    answers = [ask(board, op, other.crc, payload)[1] for op, payload in map(encode_sample, samples)]
    expected = golden.infer(other.network(), samples)
    assert [Outcome.decode(answer, 2).label for answer in answers] == expected.label.tolist()


def test_memories_read_back_as_written(board):
    load(board)
    for number, region in enumerate(CONFIG.regions):
        contents = IMAGE.regions[region.name]
        count = struct.pack("<I", 2)
        arg = memory_address(number, region.words - 2)
        expected = contents[-2 * region.lanes :]
        assert ask(board, Op.READ_MEMORY, arg, count) == (Status.OK, expected)
        whole = struct.pack("<I", region.words)
        crc = struct.pack("<I", zlib.crc32(contents))
        assert ask(board, Op.MEMORY_CRC, memory_address(number, 0), whole) == (Status.OK, crc)


def requests():
    """Requests of every kind, many of them wrong in some way."""
    random = np.random.default_rng(9)
    word = struct.Struct("<I").pack
    table = {name: address for name, address, _ in register_map(CONFIG)}
    yield Op.HELLO, 0, b""
    yield Op.HELLO, 0, b"x"
    for op in (0, 0x09, 0x7F):
        yield op, 0, b"abc"
    for address in (*table.values(), 0x07, 0x12, 0x100, 0xFFFFFFFF):
        yield Op.READ_REGISTER, address, b""
        yield Op.READ_REGISTER, address, b"123"
        yield Op.WRITE_REGISTER, address, b"123"
        yield Op.WRITE_REGISTER, address, b"12345"
    for address in (0x07, 0x12, 0x100, table["inferences"]):
        yield Op.WRITE_REGISTER, address, word(1)
    for name, values in register_values(CONFIG).items():
        for value in (values[0] - 1, values[0], values[-1], values[-1] + 1, 0xFFFFFFFF):
            yield Op.WRITE_REGISTER, table[name], word(value % (1 << 32))
        yield Op.READ_REGISTER, table[name], b""
    for number in range(len(CONFIG.regions) + 2):
        lanes, words = 5, 7
        if number < len(CONFIG.regions):
            lanes, words = CONFIG.regions[number].lanes, CONFIG.regions[number].words
        for start in (0, 1, words - 1, words, words + 1, 0xFFFFFF):
            arg = memory_address(number, start)
            for size in (0, 1, lanes - 1, lanes, lanes + 1, 2 * lanes, 2 * lanes + 1):
                yield Op.WRITE_MEMORY, arg, random.bytes(size)
            for count in (0, 1, 2, words, words + 1, 0xFFFFFFFF):
                yield Op.MEMORY_CRC, arg, word(count)
                if count < words:
                    yield Op.READ_MEMORY, arg, word(count)
            yield Op.READ_MEMORY, arg, b"123"
            yield Op.MEMORY_CRC, arg, b""


def bad_samples():
    """Inferences, right and wrong."""
    spikes = struct.Struct("<4H")
    for payload in (
        *(b"", b"\x01", b"\x01\0\0", b"\xff\xff\x0f", b"\xff\xff\x1f", b"\xff\xff\x0f\0"),
        *(b"\0\0\xf0", b"\0\0\xf0\xff"),
    ):
        yield Op.INFER_BITMAP, IMAGE.crc, payload
    for words in (
        *((0, 1, 2, 3), (0, 0x8000, 1, 2), (0x8005, 1, 0x8003, 2), (0x8005, 1, 0x8005, 2)),
        *((19, 20, 0, 0), (0x8017, 1, 2, 3), (0x8018, 1, 2, 3), (0xFFFF, 1, 2, 3)),
    ):
        yield Op.INFER_SPIKES, IMAGE.crc, spikes.pack(*words)
        yield Op.INFER_SPIKES, IMAGE.crc, spikes.pack(*words)[:-1]
    for model in (0, IMAGE.crc ^ 1, IMAGE.crc ^ 1 << 31):
        for op in (Op.INFER_SPIKES, Op.INFER_BITMAP):
            for payload in (b"", b"\1", b"\1\0\0", struct.pack("<H", 20)):
                yield op, model, payload
    yield Op.INFER_SPIKES, IMAGE.crc, b""
    yield Op.INFER_SPIKES, IMAGE.crc, struct.pack("<20H", *range(20))
    yield Op.INFER_SPIKES, IMAGE.crc, struct.pack("<21H", *range(20), 0)


def compare(boards, requests):
    """Every answer of the model equals that of the gateware."""
    for op, arg, payload in requests:
        model, gateware = (ask(board, op, arg, payload) for board in boards)
        assert model == gateware, (op, arg, payload)


def test_model_and_gateware_answer_alike(pair):
    compare(pair, requests())


def test_model_and_gateware_judge_samples_alike(pair):
    for board in pair:
        load(board)
    compare(pair, bad_samples())
    compare(
        pair, ((op, IMAGE.crc, payload) for op, payload in map(encode_sample, make_samples(50)))
    )
    counters = (address for _, address, entry in register_map(CONFIG) if not entry.writable)
    compare(pair, ((Op.READ_REGISTER, address, b"") for address in counters))


def test_model_and_gateware_drop_the_same_noise(pair):
    random = np.random.default_rng(10)
    good = Frame(Op.HELLO, 1).encode()
    counters = [address for name, address, _ in register_map(CONFIG) if "frames" in name]
    for round_ in range(30):
        # Runs without a zero that are no frames, frames with a byte changed, zeros, long runs.
        noise = random.integers(1, 256, random.integers(1, 40), dtype=np.uint8).tobytes()
        changed = bytearray(good)
        changed[random.integers(len(good) - 1)] ^= 1 << random.integers(8)
        long = bytes(random.integers(1, 256, 3000, dtype=np.uint8)) if round_ % 10 == 0 else b""
        data = b"\0".join([noise, bytes(changed), b"", b"", long, good])
        for board in pair:
            board.write(data)
            received = b""
            while chunk := board.read(0.1):
                received += chunk
            frames = [frame for frame in FrameDecoder().feed(received) if frame.seq == 1]
            assert len(frames) >= 1
        compare(pair, ((Op.READ_REGISTER, address, b"") for address in counters))


def test_frames_without_room_are_dropped_and_the_rest_is_answered(board):
    load(board)
    # Answers are longer than requests, so the buffer fills up while they leave.
    count = struct.pack("<I", 20)
    board.write(
        b"".join(
            Frame(Op.READ_MEMORY, seq, memory_address(0, 0), count).encode() for seq in range(60)
        )
    )
    received = b""
    while chunk := board.read(0.1):
        received += chunk
    answered = [frame.seq for frame in FrameDecoder().feed(received)]
    assert answered[:10] == list(range(10))
    assert len(answered) < 50
    counters = {name: address for name, address, _ in register_map(CONFIG)}
    dropped = struct.pack("<I", 60 - len(answered))
    assert ask(board, Op.READ_REGISTER, counters["frames_overrun"]) == (Status.OK, dropped)


def test_time_passes_on_the_line_only():
    board = VirtualBoard(ModelBackend(CONFIG))
    request = Frame(Op.READ_REGISTER, 0).encode()
    board.write(request)
    assert board.use.elapsed == 0
    time.sleep(0.01)
    answer = board.read(1.0)
    use = board.use
    assert use.to_device == pytest.approx(len(request) * BYTE)
    assert use.to_host == pytest.approx(len(answer) * BYTE)
    # What the device needs comes on top: some cycles of 48 MHz.
    assert use.to_device + use.to_host < use.elapsed < use.to_device + use.to_host + 1e-6
    assert board.read(0.25) == b""
    assert (board.use - use).elapsed == pytest.approx(0.25)
    assert "0.25" in str(board.use - use)


def test_latency_counts_both_ways(board):
    slow = VirtualBoard(ModelBackend(CONFIG), latency=1e-3)
    fast = VirtualBoard(ModelBackend(CONFIG))
    for each in (slow, fast):
        ask(each, Op.HELLO)
    assert slow.use.elapsed - fast.use.elapsed == pytest.approx(2e-3)


def test_both_directions_are_busy_at_once(board):
    load(board)
    before = board.use
    requests = [
        Frame(*encode_sample(sample)[:1], 0, IMAGE.crc, encode_sample(sample)[1]).encode()
        for sample in make_samples(100)
    ]
    answers = 0
    for index, request in enumerate(requests):
        board.write(request)
        if index >= 4:
            answers += board.read(0.1).count(0)
    while chunk := board.read(0.1):
        answers += chunk.count(0)
    assert answers == 100
    use = board.use - before
    # The last reading waited in vain.
    elapsed = use.elapsed - 0.1
    assert max(use.to_device, use.to_host) / elapsed > 0.95
    assert use.to_device <= elapsed
    assert use.to_host <= elapsed


def test_a_read_does_not_wait_longer_than_asked(board):
    board.write(Frame(Op.HELLO, 0).encode())
    assert board.read(5 * BYTE) == b""
    received = b""
    for _ in range(1000):
        received += board.read(50 * BYTE)
    (frame,) = FrameDecoder().feed(received)
    assert frame.op == Op.HELLO | ANSWER


def test_a_closed_board_is_lost(board):
    board.close()
    board.close()
    with pytest.raises(DeviceLost, match="closed"):
        board.write(b"x")
    with pytest.raises(DeviceLost, match="closed"):
        board.read(1)


@pytest.mark.parametrize("baud", [0, -1, 7_000_000, 100_000_000])
def test_a_baud_rate_that_the_clock_does_not_divide_into_is_refused(baud):
    with pytest.raises(DataError, match=f"{baud} baud"):
        VirtualBoard(ModelBackend(CONFIG), baud=baud)


def test_negative_latency_is_refused():
    with pytest.raises(DataError, match="latency"):
        VirtualBoard(ModelBackend(CONFIG), latency=-1.0)


def test_a_model_whose_memories_hold_no_network_is_none():
    """Neither rows that are not built nor weights out of their range have an answer in the link's
    specification; the model of the device refuses, and works on once there is a network again."""
    board = VirtualBoard(ModelBackend(CONFIG))
    load(board)
    rows, op, payload = memory_address(2, 4), *encode_sample(make_samples(1)[0])
    answer = ask(board, op, IMAGE.crc, payload)
    assert answer[0] == Status.OK
    for arg, bad, good in (
        (rows, b"\xff\xff", IMAGE.regions["row_map"][8:10]),
        (memory_address(1, 0), b"\x80\x80\x80", IMAGE.regions["weights_1"][:3]),
    ):
        assert ask(board, Op.WRITE_MEMORY, arg, bad)[0] == Status.OK
        write_registers(board, {"model": IMAGE.crc})
        assert ask(board, op, IMAGE.crc, payload) == (Status.NO_MODEL, b"")
        assert ask(board, Op.WRITE_MEMORY, arg, good)[0] == Status.OK
        write_registers(board, {"model": IMAGE.crc})
        assert ask(board, op, IMAGE.crc, payload) == answer


def test_what_cannot_be_learned_with_is_no_model():
    board = VirtualBoard(ModelBackend(LEARNING.config))
    load(board, LEARNING)
    write_registers(board, RULE.registers() | START.registers())
    sample = make_samples(1)[0]
    write_registers(board, {"random_low_0": 0, "random_high_0": 0})
    assert teach(board, sample, 1, 0) == (Status.NO_MODEL, b"")
    write_registers(board, START.registers())
    assert ask(board, Op.WRITE_MEMORY, memory_address(2, 0), b"\xff\xff")[0] == Status.OK
    write_registers(board, {"model": LEARNING.crc})
    assert teach(board, sample, 1, 0) == (Status.NO_MODEL, b"")
    load(board, LEARNING)
    write_registers(board, RULE.registers() | START.registers())
    assert teach(board, sample, 1, 0)[0] == Status.OK


def test_behind_a_bad_cable_no_answer_is_wrong(board):
    load(board)
    samples = make_samples(200)
    expected = golden.infer(IMAGE.network(), samples)
    harm = Faults(flip=4e-4, drop=0.003, insert=0.003, duplicate=0.003, burst=3e-4)
    line = FaultyTransport(board, to_device=harm, to_host=harm, seed=11)
    decoder = FrameDecoder()
    right = 0
    for index, (op, payload) in enumerate(map(encode_sample, samples)):
        line.write(Frame(op, index, IMAGE.crc, payload).encode())
        while data := line.read(0.01):
            for frame in decoder.feed(data):
                assert frame.seq == index
                assert frame.arg == Status.OK
                right += Outcome.decode(frame.payload, 2).label == expected.label[index]
    assert 50 < right < 200
    assert all(line.injected[kind] for kind in ("flip", "drop", "insert", "duplicate", "burst"))


class TestPseudoTerminal:
    def test_a_serial_program_reaches_the_board(self, board, tmp_path):
        link = tmp_path / "board"
        with PseudoTerminal(board, link):
            # Two programs, one after the other.
            for seq in range(2):
                with serial.Serial(str(link), 3_000_000, timeout=10) as port:
                    port.write(Frame(Op.HELLO, seq).encode())
                    coded = port.read_until(b"\0")
                (frame,) = FrameDecoder().feed(coded)
                assert frame.seq == seq
                assert Hello.decode(frame.payload).config == CONFIG
        assert not link.is_symlink()
        with pytest.raises(DeviceLost):
            board.write(b"")

    def test_answers_that_nobody_fetches_do_not_block_the_end(self):
        with PseudoTerminal(VirtualBoard(ModelBackend(CONFIG))) as terminal:
            port = os.open(terminal.path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
            try:
                for _ in range(200):
                    try:
                        os.write(port, Frame(Op.HELLO, 0).encode())
                    except BlockingIOError:
                        break
                time.sleep(0.1)
            finally:
                os.close(port)

    def test_a_cable_that_is_pulled_is_plugged_in_again(self):
        line = FaultyLine("unplug=1e-2", seed=1)

        def connect():
            return line(lambda: VirtualBoard(ModelBackend(CONFIG)))

        right = 0
        with (
            PseudoTerminal(connect(), connect=connect) as terminal,
            serial.Serial(terminal.path, 3_000_000, timeout=0.2) as port,
        ):
            for seq in range(200):
                port.write(b"\0" + Frame(Op.READ_REGISTER, seq, 0).encode())
                frames = list(FrameDecoder().feed(port.read_until(b"\0")))
                right += [frame.seq for frame in frames] == [seq]
                if line.injected.get("unplug", 0) >= 5 and right > 5:
                    break
        assert line.injected["unplug"] >= 5
        assert right > 5

    def test_a_stale_link_is_replaced_and_another_file_is_not(self, tmp_path):
        stale = tmp_path / "stale"
        stale.symlink_to(tmp_path / "nowhere")
        with PseudoTerminal(VirtualBoard(ModelBackend(CONFIG)), stale) as terminal:
            assert os.readlink(stale) == terminal.path
        taken = tmp_path / "taken"
        taken.touch()
        with pytest.raises(PortError, match="taken"):
            PseudoTerminal(VirtualBoard(ModelBackend(CONFIG)), taken)
        assert taken.exists()

    def test_closing_twice_does_nothing(self):
        terminal = PseudoTerminal(VirtualBoard(ModelBackend(CONFIG)))
        terminal.close()
        terminal.close()


# Learning

LEARNING = compile(NETWORK, Config.for_network(NETWORK, lanes=[4, 3], learning=True))
RULE = Rule([30_000, 50_000], margin=2, dropout=9000, activity=3, input_dropout=4000, dead_zone=5)
START = Progress.start(2, seed=3)


@pytest.fixture(params=BACKENDS)
def learning_board(request):
    board = VirtualBoard(request.param(LEARNING.config))
    load(board, LEARNING)
    write_registers(board, RULE.registers() | START.registers())
    yield board
    board.close()


def write_registers(board, values):
    addresses = {name: address for name, address, _ in register_map(LEARNING.config)}
    for name, value in values.items():
        status, _ = ask(board, Op.WRITE_REGISTER, addresses[name], struct.pack("<I", value))
        assert status == Status.OK


def read_registers(board):
    return {
        name: struct.unpack("<I", ask(board, Op.READ_REGISTER, address)[1])[0]
        for name, address, _ in register_map(LEARNING.config)
    }


def read_memories(board):
    return {
        region.name: ask(
            board, Op.READ_MEMORY, memory_address(number, 0), struct.pack("<I", region.words)
        )[1]
        for number, region in enumerate(LEARNING.config.regions)
    }


def teach(board, sample, label, number):
    op, payload = encode_sample(sample)
    learns = {Op.INFER_BITMAP: Op.LEARN_BITMAP, Op.INFER_SPIKES: Op.LEARN_SPIKES}[op]
    return ask(board, learns, learning_argument(label, number), payload)


def test_it_learns_as_the_golden_learner(learning_board):
    samples = make_samples(60)
    labels = np.arange(60) % 5
    learner = Learner(NETWORK, RULE, START)
    expected = learner.learn(samples, labels)
    for index, (sample, label) in enumerate(zip(samples, labels, strict=True)):
        status, answer = teach(learning_board, sample, int(label), index)
        assert status == Status.OK
        outcome = Outcome.decode(answer, 2)
        assert outcome.label == expected.label[index]
        assert outcome.step == expected.step[index]
        assert outcome.rows == tuple(expected.rows[index])
    learned = compile(learner.network, LEARNING.config)
    assert read_memories(learning_board) == dict(learned.regions) != dict(LEARNING.regions)
    values = read_registers(learning_board)
    assert Progress.from_registers(values, LEARNING.config) == learner.progress
    assert Rule.from_registers(values, LEARNING.config) == RULE


def test_what_is_loaded_while_it_learns_stays(learning_board):
    """Other weights and other states, between two samples."""
    samples, labels = make_samples(20), np.arange(20) % 5
    for index in range(10):
        teach(learning_board, samples[index], int(labels[index]), index)
    other = compile(make_network(seed=8), LEARNING.config)
    load(learning_board, other)
    write_registers(learning_board, RULE.registers() | START.registers())
    learner = Learner(other.network(), RULE, START)
    learner.learn(samples, labels)
    for index in range(20):
        teach(learning_board, samples[index], int(labels[index]), index)
    learned = compile(learner.network, LEARNING.config)
    assert read_memories(learning_board) == dict(learned.regions)


def test_outputs_that_do_not_take_part_keep_their_weights(learning_board):
    write_registers(learning_board, {"classes": 3, "model": LEARNING.crc})
    samples = make_samples(30)
    assert teach(learning_board, samples[0], 3, 0) == (Status.BAD_LABEL, b"")
    for index, sample in enumerate(samples):
        assert teach(learning_board, sample, index % 3, index)[0] == Status.OK
    layer = LEARNING.config.layers[1]
    before = unpack_weights(LEARNING.regions["weights_1"], layer)
    after = unpack_weights(read_memories(learning_board)["weights_1"], layer)
    assert (before[:, 3:] == after[:, 3:]).all()
    assert (before[:, :3] != after[:, :3]).any()


def test_samples_to_learn_that_it_refuses(learning_board):
    """The first of several reasons is told, and nothing changes."""
    sample = make_samples(1)[0]
    assert teach(learning_board, sample, 1, 0)[0] == Status.OK
    before = read_memories(learning_board), read_registers(learning_board)
    bad = struct.pack("<H", NETWORK.inputs)
    refused = [
        (learning_argument(1, 0), bad, Status.REPEATED),
        (learning_argument(99, 0x8001), bad, Status.REPEATED),
        (learning_argument(99, 2), bad, Status.OUT_OF_ORDER),
        (learning_argument(99, 0x8000), bad, Status.OUT_OF_ORDER),
        (learning_argument(5, 1), bad, Status.BAD_LABEL),
        (learning_argument(4, 1), bad, Status.BAD_SAMPLE),
        (learning_argument(99, 2), b"\0", Status.BAD_LENGTH),
    ]
    for arg, payload, status in refused:
        assert ask(learning_board, Op.LEARN_SPIKES, arg, payload) == (status, b"")
    assert ask(learning_board, Op.LEARN_BITMAP, 1, b"\0") == (Status.BAD_LENGTH, b"")
    after = read_memories(learning_board), read_registers(learning_board)
    assert after[0] == before[0]
    assert after[1].pop("commands_refused") == before[1].pop("commands_refused") + len(refused) + 1
    after[1].pop("frames_accepted"), before[1].pop("frames_accepted")
    assert after[1] == before[1]


@pytest.mark.parametrize("op", [Op.LEARN_BITMAP, Op.LEARN_SPIKES])
def test_a_build_that_does_not_learn_does_not_know_how(board, op):
    assert ask(board, op, 0, b"") == (Status.UNKNOWN_OPERATION, b"")
