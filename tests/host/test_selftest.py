"""The self-test finds what can be wrong with a board."""

import firstspike
import pytest
from conftest import CONFIG
from firstspike.firmware.errors import LinkError, Mismatch
from firstspike.firmware.protocol import Status
from firstspike.selftest import patterns, selftest
from firstspike.sim.faults import Faults, FaultyTransport
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from firstspike.transport import VIRTUAL_BAUD


class Broken(ModelBackend):
    """A board on which something can be wrong."""

    fault = None

    def _write_memory(self, frame):
        answer = super()._write_memory(frame)
        if self.fault == "stuck bit":
            self._memories[0][17] |= 4
        if self.fault == "folded address":
            memory, lanes = self._memories[1], self._config.regions[1].lanes
            half = len(memory) // lanes // 2 * lanes
            memory[half : 2 * half] = memory[:half]
        return answer

    def _infer(self, frame):
        answer, cycles = super()._infer(frame)
        if isinstance(answer, bytes):
            place = {"wrong cycles": 0, "wrong label": 4, "wrong rows": 10}.get(self.fault)
            if place is not None:
                answer = answer[:place] + bytes([answer[place] ^ 1]) + answer[place + 1 :]
        return answer, cycles

    def _write_register(self, frame):
        answer, cycles = super()._write_register(frame)
        ignores = self.fault == "takes anything" and answer is Status.READ_ONLY
        return (b"" if ignores else answer), cycles

    def _count(self, name):
        if self.fault != "counts nothing":
            super()._count(name)


@pytest.fixture
def broken():
    """Opens a device with a fault."""

    def make(fault):
        backend = Broken(CONFIG)
        backend.fault = fault
        board = VirtualBoard(backend, baud=VIRTUAL_BAUD)
        return firstspike.open("model:", config=CONFIG, line=lambda connect: board)

    return make


def test_a_good_board_passes(broken):
    steps = []
    with broken(None) as device:
        report = selftest(device, range(3), progress=steps.append)
    assert (report.networks, report.samples, report.refused) == (3, 96, 9)
    assert report.memory_bytes == sum(region.bytes for region in CONFIG.regions)
    assert report.cycles > 0
    assert steps[0] == "link"
    assert steps[-1] == "network 2"


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("stuck bit", Mismatch, r"0x04 in word 3, lane 2 of weights_0, but 0x00 was written"),
        ("folded address", Mismatch, r"of weights_1, but .* was written"),
        ("wrong cycles", Mismatch, r"network of seed 0: sample 0: the cycle model has cycles"),
        ("wrong label", Mismatch, r"network of seed 0: sample 0: the golden model has label"),
        ("wrong rows", Mismatch, r"network of seed 0: sample 0: the golden model has rows"),
        ("takes anything", LinkError, r"a wrong WRITE_REGISTER instead of refusing it"),
        ("counts nothing", LinkError, r"counts 0 more in commands_refused where there were 9"),
    ],
)
def test_a_broken_board_fails(broken, fault, error, message):
    with broken(fault) as device, pytest.raises(error, match=message):
        selftest(device, range(3))


def test_a_noisy_line_fails():
    def open_badly(connect):
        return FaultyTransport(connect(), to_host=Faults(flip=1e-5), seed=1)

    with (
        firstspike.open("model:", config=CONFIG, line=open_badly) as device,
        pytest.raises(LinkError, match="damaged on the line; lower the baud rate"),
    ):
        selftest(device, range(3))


def test_what_was_loaded_is_back_even_if_the_test_fails(broken):
    from firstspike.sim.random_networks import random_case

    case = random_case(1, config=CONFIG)
    with broken("wrong label") as device:
        image = device.load(case.network)
        with pytest.raises(Mismatch):
            selftest(device, range(1))
        assert device.read_register("model") == image.crc
        assert device.image.regions == image.regions


@pytest.mark.parametrize("region", CONFIG.regions, ids=lambda region: region.name)
def test_patterns_find_every_stuck_bit_and_folded_address(region):
    found = patterns(region)
    bits = sum(1 << bit for bit in range(region.bits))
    ones = zeros = 0
    for data in found.values():
        assert data.shape == (region.words, region.lanes)
        ones = ones | data
        zeros = zeros | ~data
    assert (ones & bits == bits).all()
    assert (zeros & bits == bits).all()
    words = {word.tobytes() for word in found["addresses"]}
    assert len(words) == min(region.words, 1 << (region.bits * region.lanes))
