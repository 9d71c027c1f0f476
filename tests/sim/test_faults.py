"""Faults are drawn as often as asked, the same for the same seed, and counted."""

import numpy as np
import pytest
from firstspike.firmware.errors import DataError, DeviceLost
from firstspike.sim.faults import Faults, FaultyTransport

DATA = np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8).tobytes()


class Echo:
    """A device that returns what it is sent."""

    def __init__(self):
        self.held = b""
        self.closed = False

    def write(self, data):
        self.held += data

    def read(self, timeout):
        data, self.held = self.held[:1000], self.held[1000:]
        return data

    def close(self):
        self.closed = True


def through(line, data=DATA):
    line.write(data)
    received = b""
    while chunk := line.read(0):
        received += chunk
    return received


def test_without_faults_everything_passes():
    line = FaultyTransport(Echo())
    assert through(line) == DATA
    assert not line.injected.total()


def test_flips_invert_one_bit_each():
    line = FaultyTransport(Echo(), to_device=Faults(flip=0.01), seed=1)
    received = through(line)
    assert len(received) == len(DATA)
    difference = np.frombuffer(received, np.uint8) ^ np.frombuffer(DATA, np.uint8)
    assert (np.bitwise_count(difference) <= 1).all()
    assert np.count_nonzero(difference) == line.injected["flip"]
    assert 150 < line.injected["flip"] < 250


@pytest.mark.parametrize(("kind", "sign"), [("drop", -1), ("insert", 1), ("duplicate", 1)])
def test_the_length_changes_by_the_faults_that_are_counted(kind, sign):
    line = FaultyTransport(Echo(), to_host=Faults(**{kind: 0.02}), seed=2)
    received = through(line)
    assert len(received) == len(DATA) + sign * line.injected[kind]
    assert 300 < line.injected[kind] < 500


def test_duplicates_stand_side_by_side():
    line = FaultyTransport(Echo(), to_device=Faults(duplicate=1.0))
    assert through(line, b"abc") == b"aabbcc"


def test_garbage_comes_before_a_block():
    line = FaultyTransport(Echo(), to_device=Faults(garbage=1.0), seed=3)
    received = through(line, b"abc")
    assert received.endswith(b"abc")
    assert 1 <= len(received) - 3 <= 64
    assert line.injected["garbage"] == 1


def test_the_seed_decides():
    everything = Faults(flip=0.1, drop=0.1, duplicate=0.1, insert=0.1, garbage=0.5)

    def run(seed):
        return through(FaultyTransport(Echo(), to_device=everything, to_host=everything, seed=seed))

    assert run(4) == run(4)
    assert run(4) != run(5)


def test_silence_swallows_answers():
    line = FaultyTransport(Echo())
    line.silent = True
    assert through(line) == b""
    assert line.injected["silence"] == len(DATA)
    line.silent = False
    assert through(line, b"abc") == b"abc"


def test_a_read_that_loses_everything_goes_on_to_the_next_bytes():
    line = FaultyTransport(Echo(), to_host=Faults(drop=0.999), seed=6)
    received = b""
    line.write(DATA)
    received = line.read(0)
    assert received


def test_disconnect_cuts_a_block_in_two():
    echo = Echo()
    line = FaultyTransport(echo)
    line.disconnect(after=5)
    line.write(b"abc")
    with pytest.raises(DeviceLost, match="unplugged"):
        line.write(b"defg")
    with pytest.raises(DeviceLost, match="unplugged"):
        line.read(0)
    with pytest.raises(DeviceLost, match="unplugged"):
        line.write(b"h")
    assert echo.held == b"abcde"
    line.close()
    assert echo.closed


def test_a_probability_out_of_range_is_refused():
    with pytest.raises(DataError, match=r"drop is 1\.5"):
        Faults(drop=1.5)
