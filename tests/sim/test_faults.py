"""Faults are drawn as often as asked, the same for the same seed, and counted."""

import itertools
import re
import time
from pathlib import Path

import firstspike
import numpy as np
import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError, DeviceLost
from firstspike.firmware.framing import Frame
from firstspike.firmware.protocol import Op
from firstspike.sim.faults import Faults, FaultyLine, FaultyTransport
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from hypothesis import given, settings
from hypothesis import strategies as st

CONFIG = Config([LayerConfig(24, 10, 4), LayerConfig(10, 3, 3)], max_steps=32)
DATA = np.random.default_rng(0).integers(0, 256, 20_000, dtype=np.uint8).tobytes()
EVERYTHING = Faults(
    **dict.fromkeys(("flip", "drop", "duplicate", "insert", "burst", "lose", "repeat", "swap"), 0.1)
)


class Echo:
    """A device that returns what it is sent, and never waits."""

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
    while chunk := line.read(60):
        received += chunk
    return received


def test_without_faults_everything_passes():
    line = FaultyTransport(Echo())
    assert through(line) == DATA
    assert not line.injected.total()


def test_flips_invert_single_bits():
    line = FaultyTransport(Echo(), to_device=Faults(flip=0.001), seed=1)
    received = through(line)
    assert len(received) == len(DATA)
    difference = np.frombuffer(received, np.uint8) ^ np.frombuffer(DATA, np.uint8)
    assert np.bitwise_count(difference).sum() == line.injected["flip"]
    assert 120 < line.injected["flip"] < 200
    # In every bit of a byte alike.
    assert (np.unpackbits(difference[:, None], axis=1).sum(axis=0) > 5).all()


@pytest.mark.parametrize(("kind", "sign"), [("drop", -1), ("insert", 1), ("duplicate", 1)])
def test_the_length_changes_by_the_faults_that_are_counted(kind, sign):
    line = FaultyTransport(Echo(), to_host=Faults(**{kind: 0.02}), seed=2)
    received = through(line)
    assert len(received) == len(DATA) + sign * line.injected[kind]
    assert 300 < line.injected[kind] < 500


def test_duplicates_stand_side_by_side():
    line = FaultyTransport(Echo(), to_device=Faults(duplicate=1.0))
    assert through(line, b"abc") == b"aabbcc"


def test_bursts_cover_up_to_64_bytes():
    zeros = bytes(1000)
    line = FaultyTransport(Echo(), to_device=Faults(burst=0.002), seed=3)
    received = np.frombuffer(b"".join(through(line, zeros) for _ in range(50)), np.uint8)
    assert len(received) == 50_000
    changed = np.flatnonzero(received)
    starts = changed[np.diff(changed, prepend=-100) > 64]
    assert 50 < len(starts) <= line.injected["burst"] < 150
    assert 0.03 < len(changed) / len(received) < 0.1


FRAMES = [bytes([1 + number % 255] * 3) + b"\0" for number in range(3000)]


def frames_through(**faults):
    line = FaultyTransport(Echo(), to_device=Faults(**faults), seed=5)
    received = through(line, b"".join(FRAMES)).split(b"\0")
    assert received.pop() == b""
    return [frame + b"\0" for frame in received], line.injected


def test_frames_are_lost_whole():
    received, injected = frames_through(lose=0.1)
    assert 200 < injected["lose"] == len(FRAMES) - len(received) < 400
    remaining = iter(FRAMES)
    assert all(frame in remaining for frame in received)


def test_frames_come_twice():
    received, injected = frames_through(repeat=0.1)
    assert 200 < injected["repeat"] == len(received) - len(FRAMES) < 400
    assert received == [
        frame
        for index, frame in enumerate(received)
        if index == 0 or frame != received[index - 1]
        for frame in [frame] * (1 + (index + 1 < len(received) and received[index + 1] == frame))
    ]


def test_frames_change_places_with_the_next():
    received, injected = frames_through(swap=0.1)
    moved = [index for index, frame in enumerate(received) if frame != FRAMES[index]]
    assert 200 < injected["swap"] < 400
    assert len(moved) == 2 * injected["swap"]
    for first, second in zip(moved[::2], moved[1::2], strict=True):
        assert second == first + 1
        assert received[first : second + 1] == FRAMES[first : second + 1][::-1]


def test_a_frame_that_no_other_follows_waits_for_one():
    line = FaultyTransport(Echo(), to_device=Faults(swap=1.0))
    assert through(line, b"one\0tw") == b""
    assert through(line, b"o\0") == b"two\0one\0"


@settings(deadline=None)
@given(st.lists(st.integers(0, len(DATA)), max_size=20), st.integers(0, 3))
def test_the_seed_decides_and_not_the_blocks(cuts, seed):
    def run(blocks):
        line = FaultyTransport(Echo(), to_device=EVERYTHING, seed=seed)
        return b"".join(through(line, block) for block in blocks)

    places = [0, *sorted(cuts), 2000]
    blocks = [DATA[start:stop] for start, stop in itertools.pairwise(places)]
    whole = DATA[: max(places[1:])]
    assert run([*blocks, whole[sum(map(len, blocks)) :]]) == run([whole])


def test_another_seed_and_the_other_direction_meet_other_faults():
    def run(seed, **ways):
        return through(FaultyTransport(Echo(), seed=seed, **ways))

    assert len({run(seed, **{way: EVERYTHING}) for seed in (4, 5) for way in WAYS}) == 4


WAYS = ("to_device", "to_host")


def test_kinds_do_not_disturb_each_other():
    """What is flipped stays flipped when bytes are lost as well."""
    flips = FaultyTransport(Echo(), to_device=Faults(flip=0.001), seed=7)
    both = FaultyTransport(Echo(), to_device=Faults(flip=0.001, drop=0.01), seed=7)
    assert len(through(both)) < len(through(flips))
    assert both.injected["flip"] == flips.injected["flip"]


def test_silence_swallows_answers():
    line = FaultyTransport(Echo())
    line.silent = True
    assert through(line) == b""
    assert line.injected["silence"] == len(DATA)
    line.silent = False
    assert through(line, b"abc") == b"abc"


def test_a_read_that_loses_everything_goes_on_to_the_next_bytes():
    line = FaultyTransport(Echo(), to_host=Faults(drop=0.999), seed=6)
    line.write(DATA)
    assert line.read(60)


class Chatter:
    """A port that is never quiet."""

    def __init__(self):
        self.reads = 0

    def write(self, data):
        pass

    def read(self, timeout):
        self.reads += 1
        assert self.reads < 1000, "the read does not come back"
        time.sleep(1e-3)
        return b"boot> "


@pytest.mark.parametrize("silent", [False, True])
def test_a_read_ends_in_time_though_bytes_come_that_are_lost(silent):
    chatter = Chatter()
    line = FaultyTransport(chatter, to_host=Faults(drop=1.0))
    line.silent = silent
    assert line.read(0.02) == b""
    assert chatter.reads


def test_a_pulled_cable_cuts_a_block_in_two():
    echo = Echo()
    line = FaultyTransport(echo, to_device=Faults(unplug=1e-3), seed=8)
    with pytest.raises(DeviceLost, match="unplugged"):
        line.write(DATA)
    assert DATA.startswith(echo.held)
    assert 0 < len(echo.held) < len(DATA)
    assert line.injected == {"unplug": 1}
    for action in (lambda: line.read(0), lambda: line.write(b"h")):
        with pytest.raises(DeviceLost, match="unplugged"):
            action()
    line.close()
    assert echo.closed


def test_what_arrived_before_the_cable_was_pulled_is_still_read():
    line = FaultyTransport(Echo(), to_host=Faults(unplug=4e-3), seed=9)
    line.write(DATA)
    received = line.read(0)
    assert DATA.startswith(received)
    assert 0 < len(received) < 1000
    with pytest.raises(DeviceLost, match="unplugged"):
        line.read(0)


def test_a_line_that_stands_still_loses_nothing():
    board = VirtualBoard(ModelBackend(CONFIG))
    line = FaultyTransport(board, to_device=Faults(stall=0.05, pause=0.25), seed=10)
    device = firstspike.open("model:", config=CONFIG, timeout=100, line=lambda connect: line)
    waited = []
    for _ in range(20):
        before, stalls = board.use.elapsed, line.injected["stall"]
        assert device.read_register("steps") == 1
        waited.append((board.use.elapsed - before, line.injected["stall"] - stalls))
    assert line.injected["stall"] > 5
    for seconds, stalls in waited:
        assert 0.25 * stalls <= seconds < 0.25 * stalls + 0.001
    assert device.statistics.retries == 0


@pytest.mark.parametrize("error", [-0.05, -0.02, 0.02, 0.05])
def test_a_baud_rate_that_is_a_little_wrong_harms_nothing(error):
    """The tenth bit of a byte is looked at half a bit from its edges."""
    assert through(FaultyTransport(Echo(), to_device=Faults(baud=error))) == DATA


@pytest.mark.parametrize("error", [-0.06, 0.06, 0.1])
def test_a_baud_rate_that_is_too_wrong_spoils_nearly_everything(error):
    received = through(FaultyTransport(Echo(), to_device=Faults(baud=error)))
    assert received != DATA


def test_a_single_byte_at_a_wrong_baud_rate():
    """Too slow a receiver takes the stop bit for bit 7, too quick a one takes bit 7 for it."""

    def read(byte, error):
        return through(FaultyTransport(Echo(), to_device=Faults(baud=error)), bytes([byte]))

    assert read(0x12, 0.06) == b"\x92"
    assert read(0x92, 0.06) == b"\x92"
    assert read(0x12, -0.06) == b""
    assert read(0x92, -0.06) == b"\x12"


def test_a_line_from_text():
    line = FaultyLine("flip=1e-3, drop=0.002/0.01 ,seed=12")
    transport = line(Echo)
    received = through(transport)
    same = FaultyTransport(
        Echo(),
        to_device=Faults(flip=1e-3, drop=0.002),
        to_host=Faults(flip=1e-3, drop=0.01),
        seed=12,
    )
    assert received == through(same)
    assert line.injected == {"drop": same.injected["drop"], "flip": same.injected["flip"]}


def test_the_example_of_the_page_runs(capsys):
    pytest.importorskip("sklearn")
    page = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(block, "faults.md", "exec"), {})
    assert re.fullmatch(r"\d+ \{'drop': \d+, 'flip': \d+\}\n", capsys.readouterr().out)


def test_a_line_without_faults():
    line = FaultyLine("")
    assert line.injected == {}
    assert through(line(Echo)) == DATA
    assert line.injected == {}


def test_a_cable_is_plugged_in_again_and_its_faults_go_on():
    opened = []

    def connect():
        opened.append(Echo())
        return opened[-1]

    line = FaultyLine("unplug=1e-3/0", seed=13)
    places = []
    for _ in range(5):
        transport = line(connect)
        with pytest.raises(DeviceLost):
            transport.write(DATA)
        places.append(len(opened[-1].held))
        transport.close()
    assert len(opened) == 5
    assert len(set(places)) == 5
    assert line.injected == {"unplug": 5}


def test_a_virtual_board_keeps_what_it_holds_while_unplugged():
    line = FaultyLine("unplug=1e-3", seed=14)
    with firstspike.open("model:", config=CONFIG, line=line) as device:
        device.write_register("steps", 9)
        for _ in range(100):
            try:
                assert device.read_register("steps") == 9
            except DeviceLost:
                assert device.counters()["boots"] == 1  # which finds it again
    assert line.injected["unplug"] >= 3


@pytest.mark.parametrize(("kind", "boots"), [("reset", 2), ("brownout", 1)])
def test_a_board_that_is_reset_forgets(kind, boots):
    line = FaultyLine(f"{kind}=3e-4/0", seed=15)
    with firstspike.open("model:", config=CONFIG, line=line, timeout=0.01) as device:
        device.write_register("steps", 9)
        assert device.read_register("steps") == 9
        while not line.injected:
            device.read_register("boots")
        assert device.read_register("steps") == 1
        assert device.read_register("boots") == boots
    assert line.injected == {kind: 1}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("flips=1", r"there is no fault flips \(did you mean flip\?\)$"),
        ("sede=1", r"there is no fault sede \(did you mean seed\?\)$"),
        ("xyz=1", r"there is no fault xyz \(there are flip, drop, .*, seed\)$"),
        ("=5", "^=5 names no fault; write one as in flip=1e-3$"),
        ("flip=1,drop=0,flip=0", "flip is given twice; give it once"),
        ("seed=1,seed=1", "seed is given twice"),
        ("flip=1e-3,pause=5", "pause says how long a stall takes, but no stall is given"),
        ("flip", "flip is no fault; write a number as in flip=1e-3"),
        ("drop=a", "drop=a is no fault"),
        ("drop=1/2/3", "drop=1/2/3 is no fault"),
        ("drop=1.5", r"drop is 1\.5, but the range is 0 to 1"),
        ("drop=nan", "drop is nan"),
        ("stall=1,pause=-1", r"pause of a stall is -1\.0 s"),
        ("stall=1,pause=inf", "pause of a stall is inf"),
        ("baud=0.3", r"wrong by 0\.3, but the range is -0\.2 to 0\.2"),
        ("seed=x", "seed=x is no fault"),
        ("seed=-1", "seed of the faults is -1"),
    ],
)
def test_a_text_that_describes_no_faults(text, sentence):
    with pytest.raises(DataError, match=sentence):
        FaultyLine(text)


def test_a_seed_that_is_none():
    with pytest.raises(DataError, match="the seed of the faults is -1, but it takes at least 0"):
        FaultyLine("flip=1e-3", seed=-1)


def test_a_line_before_another_keeps_the_time_of_the_board():
    board = VirtualBoard(ModelBackend(CONFIG))
    inner = FaultyTransport(board, to_host=Faults(drop=1.0))
    outer = FaultyTransport(inner, to_device=Faults(reset=1.0))
    outer.write(Frame(Op.HELLO, 0).encode())
    assert outer.read(100.0) == b""
    assert outer.clock() == board.clock() >= 100.0
    assert outer.injected["reset"] > 0
    outer.close()
    with pytest.raises(DeviceLost):
        board.read(0)


@pytest.mark.parametrize("kind", ["reset", "brownout"])
def test_only_a_virtual_board_is_reset_by_a_fault(kind):
    echo = Echo()
    with pytest.raises(DataError, match=f"the fault {kind} is for virtual boards alone"):
        FaultyLine(f"{kind}=1e-3")(lambda: echo)
    assert echo.closed
