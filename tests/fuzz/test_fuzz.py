"""Short attacks on both ends of the link; ``fuzz.py`` makes longer ones."""

import pytest
from device_fuzz import CONFIGS, NETWORK, DeviceFuzz
from firstspike.firmware.errors import Mismatch
from firstspike.firmware.framing import Frame
from firstspike.sim.virtual_board import ModelBackend
from host_fuzz import DecoderFuzz, DeviceClientFuzz, ExchangeFuzz
from mutations import Mutator

SEED = 1


def drain(steps):
    return sum(steps)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_gateware_answers_as_the_model(name):
    fuzz = DeviceFuzz(CONFIGS[name], SEED)
    assert drain(fuzz.noise(20_000)) >= 20_000
    assert drain(fuzz.run(6000)) >= 6000
    fuzz.close()
    statuses = {"OK", "UNKNOWN_OPERATION", "BAD_LENGTH", "BAD_ADDRESS", "NO_MODEL", "BAD_VALUE"}
    if CONFIGS[name].learning:
        statuses |= {"REPEATED", "OUT_OF_ORDER"}
    assert statuses <= fuzz.statuses.keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_a_flooded_gateware_answers_what_it_had_room_for(name):
    fuzz = DeviceFuzz(CONFIGS[name], SEED)
    assert drain(fuzz.flood(3000)) >= 3000
    fuzz.close()


@pytest.mark.parametrize("name", CONFIGS)
def test_whatever_the_memories_hold_there_is_an_answer(name):
    fuzz = DeviceFuzz(CONFIGS[name], SEED)
    assert drain(fuzz.unspecified(600)) >= 600
    fuzz.close()
    assert {"OK", "NO_MODEL"} <= fuzz.statuses.keys()


def test_a_device_that_answers_otherwise_is_found():
    """The model of another device in place of the gateware."""
    fuzz = DeviceFuzz(CONFIGS["plain"], SEED)
    fuzz._gateware.close()

    class Careless(ModelBackend):
        def _write_register(self, frame):
            answer = super()._write_register(frame)
            return (b"", 0) if frame.arg == 0x10 else answer

    other = Careless(CONFIGS["plain"])
    fuzz._now[other] = fuzz._now.pop(fuzz._gateware)
    fuzz._gateware = other
    other.byte_cycles = 1
    with pytest.raises(Mismatch, match="batch"):
        drain(fuzz.run(20_000))


def test_the_host_takes_no_wrong_answer():
    fuzz = ExchangeFuzz(SEED)
    drain(fuzz.noise(200_000))
    drain(fuzz.run(20_000))
    assert fuzz.answered > 5000


def test_the_decoders_raise_what_they_say():
    assert drain(DecoderFuzz(CONFIGS["learning"], SEED).run(3000)) == 3000


def test_a_device_that_lies_is_an_error():
    fuzz = DeviceClientFuzz(CONFIGS["plain"], NETWORK, SEED)
    drain(fuzz.run(200))
    assert fuzz.frames > 100
    assert {"Refused", "LinkError"} <= fuzz.errors.keys()


def test_the_same_seed_draws_the_same():
    corpus = [Frame(op, 3, 4, bytes(op)) for op in range(12)]

    def drawn(seed):
        mutator = Mutator(corpus, seed)
        return [mutator.any() for _ in range(300)]

    assert drawn(1) == drawn(1) != drawn(2)
