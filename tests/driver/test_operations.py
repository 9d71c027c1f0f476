"""Every operation of the C driver, on the golden model and on the compiled gateware."""

import re
import struct
import zlib
from itertools import pairwise

import numpy as np
import pytest
from c_driver import C_FOLDER
from driver_case import (
    ADDRESS,
    IMAGE,
    PACKED,
    check_learned,
    check_outcomes,
    make_simulation,
    refusal,
    start_learning,
)
from firstspike import __version__
from firstspike.compile import compile
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.packed import pack
from firstspike.firmware.registers import REGISTERS
from firstspike.sim import golden
from firstspike.sim.learner import Learner
from firstspike.sim.virtual_board import DEFAULT_CLOCK_HZ, ModelBackend
from small_learner import CONFIG, NETWORK, RULE, START, make_network, make_samples

OTHER = pack(compile(make_network(seed=77), CONFIG))


@pytest.fixture(params=[ModelBackend, make_simulation], ids=["model", "gateware"])
def driver(request, open_driver):
    return open_driver(request.param(CONFIG))


@pytest.fixture
def loaded(driver):
    driver.load(PACKED)
    return driver


# Connecting


def test_the_greeting(driver):
    assert driver.connect(CONFIG.digest) == [
        *(str(CONFIG.digest), str(DEFAULT_CLOCK_HZ), "0", str(CONFIG.buffer_bytes), __version__)
    ]


def test_another_configuration(driver):
    assert refusal(driver.connect, CONFIG.digest ^ 1 << 63) == "OTHER_CONFIGURATION"
    assert refusal(driver.read_register, 0) == "NOT_CONNECTED"


def test_a_model_for_another_configuration(driver):
    other = Config(CONFIG.layers, CONFIG.max_steps, 2 * CONFIG.buffer_bytes, CONFIG.learning)
    model = pack(compile(NETWORK, other))
    driver.load(PACKED)
    assert refusal(driver.load, model) == "OTHER_CONFIGURATION"
    assert refusal(driver.verify, model) == "OTHER_CONFIGURATION"
    assert refusal(driver.selftest, model) == "OTHER_CONFIGURATION"
    # Nothing was written.
    driver.verify(PACKED)
    assert driver.read_register(ADDRESS["model"]) == IMAGE.crc
    assert refusal(driver.connect, CONFIG.digest ^ 1) == "OTHER_CONFIGURATION"
    for call in (driver.load, driver.verify, driver.selftest):
        assert refusal(call, PACKED) == "NOT_CONNECTED"


# Registers


def test_registers(driver):
    driver.write_register(ADDRESS["threshold_1"], 1234)
    assert driver.read_register(ADDRESS["threshold_1"]) == 1234
    assert refusal(driver.write_register, ADDRESS["steps"], 0) == "BAD_VALUE"
    assert refusal(driver.write_register, ADDRESS["inferences"], 0) == "READ_ONLY"
    assert refusal(driver.read_register, 0x1000) == "BAD_ADDRESS"


def test_counters(loaded):
    names = [register.name for register in REGISTERS if not register.writable]
    before = dict(zip(names, loaded.read_counters(), strict=True))
    samples, _ = make_samples(7)
    loaded.infer(samples)
    refusal(loaded.read_register, 0x1000)
    after = dict(zip(names, loaded.read_counters(), strict=True))
    assert after["inferences"] - before["inferences"] == 7
    assert after["commands_refused"] - before["commands_refused"] == 1
    assert after["frames_accepted"] - before["frames_accepted"] == 7 + 1 + len(names)
    assert after["frames_damaged"] == before["frames_damaged"]
    assert loaded.troubles() == (0, 0)


# Memory


@pytest.mark.parametrize("number", range(len(CONFIG.regions)))
def test_memory(driver, number):
    region = CONFIG.regions[number]
    data = bytes(range(1, 128))[: region.lanes] * region.words
    driver.write_memory(number, 0, region.words, region.lanes, data)
    assert driver.read_memory(number, 0, region.words, region.lanes) == data
    assert driver.memory_crc(number, 0, region.words, region.lanes) == zlib.crc32(data)
    driver.write_memory(number, 1, 1, region.lanes, bytes(region.lanes))
    changed = data[: region.lanes] + bytes(region.lanes) + data[2 * region.lanes :]
    assert driver.read_memory(number, 0, region.words, region.lanes) == changed
    part = changed[region.lanes :]
    assert driver.memory_crc(number, 1, region.words - 1, region.lanes) == zlib.crc32(part)


def test_memory_that_does_not_exist(driver):
    region = CONFIG.regions[0]
    assert refusal(driver.memory_crc, 9, 0, 1, 1) == "BAD_ADDRESS"
    assert refusal(driver.read_memory, 0, region.words, 1, region.lanes) == "BAD_ADDRESS"
    assert refusal(driver.read_memory, 0, 0, 4, region.lanes + 1) == "BAD_ANSWER"
    assert refusal(driver.read_memory, 0, 0, 4, 0) == "BAD_LENGTH"
    assert refusal(driver.write_memory, 0, 0, 4, 0, b"") == "BAD_LENGTH"
    assert refusal(driver.write_memory, 0, 0, 1, 3, b"abc") == "BAD_LENGTH"
    assert refusal(driver.memory_crc, 0, 0, 4, 0) == "BAD_LENGTH"


@pytest.mark.parametrize(
    ("word", "words"), [(1 << 24, 1), (0xFFFFFF, 2), (0xFFFFFFFF, 1), (1, 1 << 24), (0, 1 << 25)]
)
def test_words_that_would_be_those_of_another_region(driver, word, words):
    """Region 0 has no such words; their addresses would be of region 1."""
    lanes = CONFIG.regions[0].lanes
    words_held = [region.words for region in CONFIG.regions]
    held = [driver.read_memory(n, 0, words_held[n], r.lanes) for n, r in enumerate(CONFIG.regions)]
    accepted = driver.read_register(ADDRESS["frames_accepted"])
    few = b"\x55" * lanes * min(words, 4)
    assert refusal(driver.write_memory, 0, word, words, lanes, few) == "BAD_ADDRESS"
    assert refusal(driver.memory_crc, 0, word, words, lanes) == "BAD_ADDRESS"
    if words < 100:
        assert refusal(driver.read_memory, 0, word, words, lanes) == "BAD_ADDRESS"
    assert driver.read_register(ADDRESS["frames_accepted"]) == accepted + 1
    for number, region in enumerate(CONFIG.regions):
        assert driver.read_memory(number, 0, region.words, region.lanes) == held[number]


# Models


@pytest.mark.parametrize("capacity", [0, 24, 64, 4096])
def test_loading(driver, capacity):
    driver.load(PACKED, capacity)
    driver.verify(PACKED, capacity)
    # Nothing was lost for want of room, and nothing was damaged.
    assert driver.troubles() == (0, 0)
    assert driver.read_register(ADDRESS["model"]) == IMAGE.crc
    for number, (name, data) in enumerate(IMAGE.regions.items()):
        region = CONFIG.region(name)
        assert driver.read_memory(number, 0, region.words, region.lanes) == data
    for name, value in IMAGE.registers.items():
        assert driver.read_register(ADDRESS[name]) == value


def test_loading_sends_only_what_differs(loaded):
    def seconds_to_device(model):
        start = loaded.transport.use.to_device
        loaded.load(model)
        return loaded.transport.use.to_device - start

    weights = sum(region.bytes for region in CONFIG.regions if region.name.startswith("weights"))
    byte = 10 / 3_000_000
    assert seconds_to_device(OTHER) - seconds_to_device(OTHER) > weights * byte


def test_verifying_finds_every_difference(loaded):
    for number, region in enumerate(CONFIG.regions):
        word = region.words // 2
        held = loaded.read_memory(number, word, 1, region.lanes)
        loaded.write_memory(number, word, 1, region.lanes, bytes([held[0] ^ 1, *held[1:]]))
        assert refusal(loaded.verify, PACKED) == "WRONG_MEMORY"
        assert loaded.call("wrong_region") == [str(number)]
        loaded.write_memory(number, word, 1, region.lanes, held)
        loaded.verify(PACKED)
    for name, value in IMAGE.registers.items():
        other = value + 1 if name not in ("steps", "classes") else value - 1
        loaded.write_register(ADDRESS[name], other)
        assert refusal(loaded.verify, PACKED) == "WRONG_REGISTER"
        loaded.write_register(ADDRESS[name], value)
    loaded.verify(PACKED)


def test_damaged_models_are_refused(driver):
    table = PACKED[: len(PACKED) - sum(region.bytes for region in CONFIG.regions)]
    for position in range(len(table)):
        damaged = bytearray(PACKED)
        damaged[position] ^= 0x10
        assert refusal(driver.load, damaged) == "BAD_MODEL", position
    # Contents are summed up by the device.
    assert refusal(driver.load, PACKED[:-1] + bytes([PACKED[-1] ^ 1])) == "WRONG_MEMORY"
    assert refusal(driver.load, PACKED[:-1]) == "BAD_MODEL"
    assert refusal(driver.load, PACKED[:-1], 64) == "READ_FAILED"
    assert refusal(driver.load, b"") == "BAD_MODEL"
    assert refusal(driver.load, PACKED, 12) == "BUFFER_TOO_SMALL"
    assert driver.read_register(ADDRESS["model"]) == 0


def test_resuming(loaded):
    samples, _ = make_samples(3)
    expected = loaded.infer(samples)
    loaded.connect()
    assert refusal(loaded.call, "resume", IMAGE.crc ^ 1) == "NO_MODEL"
    loaded.call("resume", IMAGE.crc)
    assert loaded.infer(samples) == expected
    loaded.write_register(ADDRESS["model"], 0)
    assert refusal(loaded.call, "resume", 0) == "NO_MODEL"


def test_selftest(driver):
    driver.selftest(PACKED)
    driver.verify(PACKED, 24)
    driver.selftest(PACKED, 24)
    assert driver.read_register(ADDRESS["model"]) == IMAGE.crc
    samples, _ = make_samples(5)
    check_outcomes(driver.infer(samples), golden.infer(NETWORK, samples))


@pytest.mark.parametrize("number", range(len(CONFIG.regions)))
def test_selftest_tells_the_region(open_driver, number):
    """A memory that does not keep a bit."""
    backend = ModelBackend(CONFIG)
    driver = open_driver(backend)
    receive = backend.receive

    def stick(deadline):
        answer = receive(deadline)
        backend._memories[number][5] |= 1
        return answer

    backend.receive = stick
    assert refusal(driver.selftest, PACKED) == "WRONG_MEMORY"
    assert driver.call("wrong_region") == [str(number)]


# Inference


@pytest.mark.parametrize("in_flight", [1, 2, 8])
@pytest.mark.parametrize("count", [1, 50])
def test_inference(loaded, in_flight, count):
    loaded.call("limits", 500, 8, in_flight)
    samples, _ = make_samples(count)
    check_outcomes(loaded.infer(samples), golden.infer(NETWORK, samples))


def test_no_samples(loaded):
    assert loaded.infer([]) == []


def test_streaming_keeps_the_line_busy(loaded):
    samples, _ = make_samples(60)

    def seconds(in_flight):
        loaded.call("limits", 500, 8, in_flight)
        start = loaded.elapsed
        loaded.infer(samples)
        return loaded.elapsed - start

    assert seconds(8) < 0.8 * seconds(1)


def test_another_model_is_told(loaded):
    samples, _ = make_samples(20)
    expected = loaded.infer(samples)
    # As another program would leave the device.
    loaded.write_register(ADDRESS["model"], 77)
    assert refusal(loaded.infer, samples) == "NO_MODEL"
    # What was on its way is gone from the line, so the next answer is the right one.
    assert loaded.read_register(ADDRESS["model"]) == 77
    loaded.load(PACKED)
    assert loaded.infer(samples) == expected
    assert loaded.troubles() == (0, 0)


def test_samples_that_are_refused(loaded):
    samples, _ = make_samples(10)
    samples[4, 2] = NETWORK.steps
    assert refusal(loaded.infer, samples) == "BAD_SAMPLE"
    samples[4, 2] = 0
    check_outcomes(loaded.infer(samples), golden.infer(NETWORK, samples))
    assert loaded.troubles() == (0, 0)


def test_lists_of_spikes(driver):
    assert refusal(driver.call, "spikes", 0, 2, 2, 0, 1, 0, 2) == "BUFFER_TOO_SMALL"
    assert refusal(driver.call, "spikes", 0, 2, 1, 1, 1) == "BUFFER_TOO_SMALL"
    assert refusal(driver.call, "spikes", 0, 99, 2, 3, 1, 2, 2) == "BAD_SAMPLE"
    assert refusal(driver.call, "spikes", 0, 99, 1, 0x8000, 1) == "BAD_SAMPLE"
    assert refusal(driver.call, "spikes", 0, 99, 1, 0, 0x8000) == "BAD_SAMPLE"
    # In a step, inputs ascend; in the next one they begin anew.
    assert refusal(driver.call, "spikes", 0, 99, 2, 0, 2, 0, 1) == "BAD_SAMPLE"
    assert refusal(driver.call, "spikes", 0, 99, 2, 4, 7, 4, 7) == "BAD_SAMPLE"
    driver.call("spikes", 0, 99, 4, 0, 2, 0, 7, 4, 0, 4, 0x7FFF)
    assert driver.call("sample") == [struct.pack("<5H", 2, 7, 0x8004, 0, 0x7FFF).hex()]


@pytest.mark.parametrize("room", [2, 3, 4, 5])
def test_a_spike_without_room_leaves_the_list_as_it_was(driver, room):
    assert refusal(driver.call, "spikes", 0, room, 2, 0, 1, 3, 2) == "BUFFER_TOO_SMALL"
    assert driver.call("sample") == ["0100"]


def test_a_request_that_is_too_long(loaded):
    loaded.call("clear")
    loaded.call("bitmap", 0, "00" * (CONFIG.buffer_bytes - 13))
    assert refusal(loaded.call, "infer") == "TOO_LONG"
    loaded.call("clear")
    # What it takes more on the line: head and CRC, a code for every 254 bytes, and the zero.
    loaded.call("bitmap", 0, "ff" * (CONFIG.buffer_bytes - 14))
    assert refusal(loaded.call, "infer") == "BAD_LENGTH"


# Learning


@pytest.mark.parametrize("in_flight", [1, 8])
def test_learning(loaded, in_flight):
    loaded.call("limits", 500, 8, in_flight)
    start_learning(loaded)
    samples, labels = make_samples(120)
    learner = Learner(NETWORK, RULE, START)
    outcomes = loaded.learn(samples[:70], labels[:70])
    outcomes += loaded.learn(samples[70:], labels[70:], number=70)
    check_outcomes(outcomes, learner.learn(samples, labels))
    check_learned(loaded, learner)
    assert refusal(loaded.verify, PACKED) == "WRONG_MEMORY"
    check_outcomes(loaded.infer(samples), golden.infer(learner.network, samples))


def test_learning_over_the_end_of_the_numbers(loaded):
    start_learning(loaded)
    loaded.write_register(ADDRESS["learned"], 0x1FFFA)
    samples, labels = make_samples(12)
    learner = Learner(NETWORK, RULE, START)
    check_outcomes(loaded.learn(samples, labels, number=0x1FFFA), learner.learn(samples, labels))
    assert loaded.read_register(ADDRESS["learned"]) == 0x20006


def test_samples_that_were_learned_before(loaded):
    start_learning(loaded)
    samples, labels = make_samples(10)
    loaded.learn(samples, labels)
    weights = loaded.read_memory(0, 0, CONFIG.regions[0].words, CONFIG.regions[0].lanes)
    for number in (0, 9, 11, 0x8000, 0xFFFF):
        assert refusal(loaded.learn, samples, labels, number) == "OUT_OF_ORDER"
    assert weights == loaded.read_memory(0, 0, CONFIG.regions[0].words, CONFIG.regions[0].lanes)
    assert loaded.read_register(ADDRESS["learned"]) == 10


def test_going_on_with_a_batch_whose_answers_were_lost(open_driver):
    """Each lesson is learned once: those that were not told of are not given again."""
    driver = open_driver(ModelBackend(CONFIG))
    driver.load(PACKED)
    start_learning(driver)
    samples, labels = make_samples(12)
    driver.call("limits", 500, 0, 3)
    board = driver.transport

    class Broken:
        """The line to the host breaks after the number and four outcomes."""

        def __init__(self):
            self.left = 5

        @property
        def use(self):
            return board.use

        def write(self, data):
            board.write(data)

        def read(self, timeout):
            data = board.read(timeout)
            self.left -= bool(data)
            return data if self.left >= 0 else b""

    driver.transport = Broken()
    assert refusal(driver.learn, samples, labels) == "NO_ANSWER"
    driver.transport = board
    driver.call("limits", 500, 8, 8)
    driver.connect()
    learned = driver.read_register(ADDRESS["learned"])
    assert 4 < learned < 12
    assert refusal(driver.learn, samples, labels) == "OUT_OF_ORDER"
    driver.learn(samples[learned:], labels[learned:], learned)
    learner = Learner(NETWORK, RULE, START)
    learner.learn(samples, labels)
    check_learned(driver, learner)


def test_learning_that_is_refused(loaded):
    start_learning(loaded)
    samples, labels = make_samples(10)
    assert refusal(loaded.learn, samples, labels, 3) == "OUT_OF_ORDER"
    assert loaded.read_register(ADDRESS["learned"]) == 0
    labels[6] = NETWORK.outputs
    assert refusal(loaded.learn, samples, labels) == "BAD_LABEL"
    # The register tells how far it came, and there it goes on.
    assert loaded.read_register(ADDRESS["learned"]) == 6
    labels[6] = 0
    loaded.learn(samples[6:], labels[6:], number=6)
    learner = Learner(NETWORK, RULE, START)
    learner.learn(samples, labels)
    check_learned(loaded, learner)
    loaded.write_register(ADDRESS["model"], 0)
    assert refusal(loaded.learn, samples, labels, 10) == "NO_MODEL"


def test_learned_weights_come_back(loaded):
    """What was read from a device and written to another one is what was learned."""
    start_learning(loaded)
    samples, labels = make_samples(40)
    learner = Learner(NETWORK, RULE, START)
    learner.learn(samples, labels)
    loaded.learn(samples, labels)
    regions = CONFIG.regions[:2]
    held = [loaded.read_memory(n, 0, r.words, r.lanes) for n, r in enumerate(regions)]
    loaded.load(PACKED)
    for number, (region, data) in enumerate(zip(regions, held, strict=True)):
        loaded.write_memory(number, 0, region.words, region.lanes, data)
    mark = zlib.crc32(b"".join(held))
    loaded.write_register(ADDRESS["model"], mark)
    loaded.call("resume", mark)
    check_outcomes(loaded.infer(samples), golden.infer(learner.network, samples))


# Other devices


def test_layers_beyond_those_that_are_counted(open_driver):
    """A network of more layers than outcomes have room for."""
    shape = [9, 6, 5, 4, 4, 3]
    layers = [LayerConfig(inputs, neurons, neurons) for inputs, neurons in pairwise(shape)]
    config = Config(layers, max_steps=16, buffer_bytes=64)
    random = np.random.default_rng(1)
    network = Network(
        [Layer(random.integers(-20, 60, (a, b)), 4, 60) for a, b in pairwise(shape)],
        steps=16,
    )
    driver = open_driver(ModelBackend(config))
    driver.load(pack(compile(network, config)))
    samples = random.integers(-1, 16, (12, 9))
    expected = golden.infer(network, samples)
    outcomes = driver.infer(samples)
    check_outcomes(outcomes, expected, rows=False)
    assert [list(outcome.rows) for outcome in outcomes] == expected.rows[:, :4].tolist()


def test_a_device_that_does_not_learn(open_driver):
    config = Config.for_network(NETWORK, [4, 3], buffer_bytes=512)
    driver = open_driver(ModelBackend(config))
    driver.load(pack(compile(NETWORK, config)))
    samples, labels = make_samples(4)
    assert refusal(driver.learn, samples, labels) == "UNKNOWN_OPERATION"


def test_every_error_has_a_text():
    """The compiler demands a case of each code; here, that no two say the same."""
    texts = re.findall(r'return "(.*)";', (C_FOLDER / "firstspike.c").read_text())
    assert len(texts) == len(set(texts)) == 17
