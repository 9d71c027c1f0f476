import zlib

from cobs import cobs
from firstspike.firmware.framing import (
    FRAME_OVERHEAD,
    HEAD,
    Frame,
    FrameDecoder,
    cobs_decode,
    cobs_encode,
    coded_bytes,
)
from hypothesis import example, given
from hypothesis import strategies as st

#: Bytes with enough zeros, and with runs around the longest that one code can announce.
blobs = st.one_of(
    st.binary(max_size=600),
    st.lists(st.sampled_from([0, 1, 2, 255]), max_size=60).map(bytes),
    st.lists(st.sampled_from([0, 1, 253, 254, 255, 508]), max_size=4).map(
        lambda runs: b"\0".join(b"\7" * run for run in runs)
    ),
)
frames = st.builds(
    Frame, st.integers(0, 255), st.integers(0, 255), st.integers(0, 2**32 - 1), blobs
)


@given(blobs)
@example(b"")
@example(b"\7" * 254)
@example(b"\7" * 254 + b"\0")
def test_cobs_against_an_independent_one(data: bytes) -> None:
    coded = cobs_encode(data)
    assert 0 not in coded
    assert cobs.decode(coded) == data
    assert cobs_decode(coded) == data
    assert cobs_decode(cobs.encode(data)) == data


@given(st.binary(max_size=300))
def test_malformed_cobs_is_told_from_well_formed(coded: bytes) -> None:
    try:
        expected = cobs.decode(coded)
    except cobs.DecodeError:
        expected = None
    assert cobs_decode(coded) == expected


@given(frames)
def test_a_frame_is_what_the_page_says(frame: Frame) -> None:
    coded = frame.encode()
    assert coded.endswith(b"\0")
    body = HEAD.pack(frame.op, frame.seq, frame.arg) + frame.payload
    assert cobs.decode(coded[:-1]) == body + zlib.crc32(body).to_bytes(4, "little")
    assert Frame.decode(coded[:-1]) == frame


@given(st.lists(frames, max_size=6), st.data())
def test_the_decoder_does_not_mind_how_bytes_are_cut(
    sent: list[Frame], data: st.DataObject
) -> None:
    line = b"\0\0".join(frame.encode() for frame in sent)
    decoder = FrameDecoder()
    received = []
    while line:
        size = data.draw(st.integers(1, len(line)))
        received += decoder.feed(line[:size])
        line = line[size:]
    assert received == sent
    assert (decoder.accepted, decoder.dropped) == (len(sent), 0)


@given(frames, st.data())
def test_one_flipped_bit_never_gets_through(frame: Frame, data: st.DataObject) -> None:
    coded = bytearray(frame.encode())
    position = data.draw(st.integers(0, 8 * len(coded) - 1))
    coded[position // 8] ^= 1 << position % 8
    decoder = FrameDecoder()
    # A flip can make a zero of a byte, so one frame can become two runs, or swallow the next.
    assert frame not in list(decoder.feed(bytes(coded) + b"\0"))
    assert decoder.accepted == 0
    assert 1 <= decoder.dropped <= 2
    assert list(decoder.feed(frame.encode())) == [frame]


@given(frames, st.binary(max_size=40))
def test_after_garbage_a_zero_is_enough(frame: Frame, garbage: bytes) -> None:
    decoder = FrameDecoder()
    assert list(decoder.feed(garbage + b"\0" + frame.encode()))[-1] == frame


def test_runs_over_the_limit_are_dropped_and_cost_no_memory() -> None:
    decoder = FrameDecoder(limit=64)
    frame = Frame(1, 2, 3, b"payload")
    for _ in range(1000):
        assert not list(decoder.feed(b"\1" * 100))
    assert len(decoder._pending) <= 65
    assert list(decoder.feed(b"\0" + frame.encode())) == [frame]
    assert (decoder.accepted, decoder.dropped) == (1, 1)
    assert not list(decoder.feed(Frame(1, 2, 3, bytes(64)).encode()))
    assert decoder.dropped == 2


def test_what_is_too_short_for_a_frame_is_none() -> None:
    assert Frame.decode(b"") is None
    short = b"\7" * (FRAME_OVERHEAD - 5)
    assert Frame.decode(cobs_encode(short + zlib.crc32(short).to_bytes(4, "little"))) is None


@given(frames)
def test_no_frame_takes_more_on_the_line(frame: Frame) -> None:
    assert len(frame.encode()) <= coded_bytes(len(frame.payload))


def test_frames_that_take_the_most_on_the_line() -> None:
    """Bytes without a zero, as one of the many headers and CRCs gives them."""
    for length in range(600):
        body = b"\7" * (FRAME_OVERHEAD + length)
        assert len(cobs_encode(body)) + 1 == coded_bytes(length)
