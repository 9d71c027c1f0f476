"""What reads bytes from a line, on any bytes: an independent reading, or the documented error."""

import itertools
import json
import struct
import zlib

import pytest
from cobs import cobs
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError
from firstspike.firmware.framing import Frame, FrameDecoder
from firstspike.firmware.protocol import (
    Hello,
    Outcome,
    learning_argument,
    memory_address,
    split_memory_address,
)
from hypothesis import given
from hypothesis import strategies as st

CONFIG = Config([LayerConfig(24, 10, 4), LayerConfig(10, 3, 3)], max_steps=32)
u16 = st.integers(0, 0xFFFF)
u32 = st.integers(0, 0xFFFFFFFF)


def read(line):
    """Frames between the zeros of a line, and the number of runs that are none."""
    frames, dropped = [], 0
    for run in filter(None, line.split(b"\0")[:-1]):
        try:
            data = cobs.decode(run)
        except cobs.DecodeError:
            data = b""
        if len(data) < 10 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            dropped += 1
        else:
            frames.append((*struct.unpack_from("<BBI", data), data[6:-4]))
    return frames, dropped


@st.composite
def lines(draw):
    """Frames, noise and frames with noise in them, in blocks."""
    pieces = []
    for payload in draw(st.lists(st.binary(max_size=20), max_size=6)):
        coded = Frame(draw(st.integers(0, 255)), 0, draw(u32), payload).encode()
        place = draw(st.integers(0, len(coded)))
        noise = draw(st.one_of(st.just(b""), st.binary(max_size=5)))
        pieces.append(coded[:place] + noise + coded[place:])
        pieces.append(draw(st.sampled_from([b"", b"\0", b"\1", b"\0\0\5\0"])))
    whole = b"".join(pieces)
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    places = [0, *cuts, len(whole)]
    return [whole[start:stop] for start, stop in itertools.pairwise(places)]


@given(lines())
def test_frames_are_those_of_an_independent_reader(blocks) -> None:
    decoder = FrameDecoder()
    found = [
        (frame.op, frame.seq, frame.arg, frame.payload)
        for block in blocks
        for frame in decoder.feed(block)
    ]
    frames, dropped = read(b"".join(blocks))
    assert found == frames
    assert (decoder.accepted, decoder.dropped) == (len(frames), dropped)


@given(u16, u16, st.booleans(), u32, st.lists(u16, max_size=6))
def test_outcomes_survive(label, step, fired, cycles, rows) -> None:
    outcome = Outcome(label, step, fired, cycles, tuple(rows))
    assert Outcome.decode(outcome.encode(), len(rows)) == outcome


@given(st.binary(max_size=40), st.integers(0, 8))
def test_any_bytes_are_an_outcome_or_an_error(payload, layers) -> None:
    try:
        outcome = Outcome.decode(payload, layers)
    except DataError:
        assert len(payload) != 10 + 2 * layers
    else:
        assert len(outcome.rows) == layers


@given(u16, u32)
def test_a_lesson_has_label_and_number(label, number) -> None:
    assert struct.pack("<I", learning_argument(label, number)) == struct.pack(
        "<HH", number & 0xFFFF, label
    )


@given(u32)
def test_memory_addresses_are_region_and_word(arg) -> None:
    assert memory_address(*split_memory_address(arg)) == arg


@given(st.binary(max_size=80))
def test_any_bytes_are_a_greeting_or_an_error(noise) -> None:
    for payload in (noise, b"1spk" + noise, Hello(CONFIG, 1).encode()[:44] + noise):
        try:
            Hello.decode(payload)
        except DataError:
            continue
        raise AssertionError("noise was taken for a greeting")


def test_a_greeting_that_is_nested_too_deeply_is_an_error() -> None:
    head = Hello(CONFIG, 1).encode()[: -len(CONFIG.to_json())]
    for text in (b"[", b'{"layers":', b'{"layers":[{"inputs":'):
        with pytest.raises(DataError, match="not an accelerator configuration"):
            Hello.decode(head + 60_000 * text)


values = st.recursive(
    st.sampled_from([None, True, "", "sum", 1.5, 1e400, -1, 0, 1, 2, 7, 33, 1 << 15, 1 << 70]),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(st.sampled_from(["inputs", "k", ""]), children, max_size=2)
    ),
    max_leaves=4,
)


@given(st.data())
def test_any_json_is_a_configuration_or_an_error(data) -> None:
    tree = json.loads(CONFIG.to_json())
    owner = data.draw(st.sampled_from([tree, *tree["layers"]]))
    name = data.draw(st.sampled_from([*owner, "surplus"]))
    if data.draw(st.booleans()):
        owner[name] = data.draw(values)
    else:
        owner.pop(name, None)
    try:
        config = Config.from_json(json.dumps(tree))
    except DataError:
        return
    assert Config.from_json(config.to_json()) == config
