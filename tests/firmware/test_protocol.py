import struct
from importlib import metadata

import numpy as np
import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.protocol import (
    Hello,
    Op,
    Outcome,
    Status,
    decode_sample,
    encode_sample,
    memory_address,
    split_memory_address,
)
from hypothesis import given
from hypothesis import strategies as st

CONFIG = Config([LayerConfig(12, 5, 4), LayerConfig(5, 3, 2)], max_steps=30)
STEP = 0x8000


@st.composite
def samples(draw):
    """A sample and the steps of the network that it is for."""
    inputs = draw(st.integers(1, 40))
    steps = draw(st.integers(1, 20))
    spikes = st.integers(NEVER, draw(st.integers(0, steps - 1)))
    drawn = draw(st.lists(spikes, min_size=inputs, max_size=inputs))
    return np.array(drawn, dtype=np.int32), steps


@given(samples())
def test_samples_survive_the_way_to_the_device(case) -> None:
    sample, steps = case
    op, payload = encode_sample(sample)
    np.testing.assert_array_equal(decode_sample(op, payload, len(sample), steps), sample)


@given(samples())
def test_the_shorter_request_is_chosen(case) -> None:
    sample, _ = case
    op, payload = encode_sample(sample)
    spikes = int((sample != NEVER).sum())
    words = spikes + len(set(sample.tolist()) - {NEVER, 0})
    if op == Op.INFER_SPIKES:
        assert len(payload) == 2 * words
    if not (sample > 0).any():
        assert len(payload) == min(2 * words, -(-len(sample) // 8))


@given(st.sampled_from([Op.INFER_BITMAP, Op.INFER_SPIKES]), st.binary(max_size=20))
def test_any_payload_is_a_sample_or_a_status(op: Op, payload: bytes) -> None:
    decoded = decode_sample(op, payload, 13, 4)
    if isinstance(decoded, Status):
        assert decoded in (Status.BAD_LENGTH, Status.BAD_SAMPLE)
    else:
        assert decoded.shape == (13,)
        assert decoded.min() >= NEVER
        assert decoded.max() < 4


@pytest.mark.parametrize(
    ("op", "payload", "status"),
    [
        (Op.INFER_BITMAP, b"\0", Status.BAD_LENGTH),
        (Op.INFER_BITMAP, b"\0\0\0", Status.BAD_LENGTH),
        (Op.INFER_BITMAP, b"\0\x20", Status.BAD_SAMPLE),
        (Op.INFER_SPIKES, b"\0", Status.BAD_LENGTH),
        (Op.INFER_SPIKES, struct.pack("<H", 13), Status.BAD_SAMPLE),
        (Op.INFER_SPIKES, struct.pack("<H", STEP | 4), Status.BAD_SAMPLE),
        (Op.INFER_SPIKES, struct.pack("<2H", STEP | 2, STEP | 1), Status.BAD_SAMPLE),
        (Op.INFER_SPIKES, struct.pack("<14H", *[0] * 14), Status.BAD_SAMPLE),
    ],
)
def test_refused_samples(op: Op, payload: bytes, status: Status) -> None:
    assert decode_sample(op, payload, 13, 4) == status


def test_every_status_has_its_sentence() -> None:
    assert len({status.sentence for status in Status}) == len(Status)


@given(st.integers(0, 255), st.integers(0, 2**24 - 1))
def test_memory_addresses(region: int, word: int) -> None:
    arg = memory_address(region, word)
    assert 0 <= arg < 1 << 32
    assert split_memory_address(arg) == (region, word)


def test_hello() -> None:
    hello = Hello(CONFIG, 25_000_000, 0xDEADBEEF)
    decoded = Hello.decode(hello.encode())
    assert decoded == Hello(CONFIG, 25_000_000, 0xDEADBEEF, digest=CONFIG.digest)
    assert decoded.release == metadata.version("firstspike")


def test_a_hello_tells_any_release() -> None:
    for release in ("", "0.1.0", "12.34.56.dev7890"):
        assert Hello.decode(Hello(CONFIG, 1, release=release).encode()).release == release


def test_a_hello_of_another_kind_is_refused_with_the_remedy() -> None:
    payload = Hello(CONFIG, 1).encode()
    with pytest.raises(DataError, match="no greeting"):
        Hello.decode(b"2" + payload[1:])
    with pytest.raises(DataError, match="no greeting"):
        Hello.decode(payload[:5])
    with pytest.raises(DataError, match="cut short"):
        Hello.decode(payload[:40])
    # An older device has another head, and is told apart by its version first.
    with pytest.raises(DataError, match=r"version 1.*rebuild"):
        Hello.decode(payload[:4] + b"\1\0" + payload[6:24])
    with pytest.raises(DataError, match=r"version 9.*rebuild"):
        Hello.decode(Hello(CONFIG, 1, version=9).encode())
    with pytest.raises(DataError, match=r"digest.*rebuild"):
        Hello.decode(Hello(CONFIG, 1, digest=1).encode())
    with pytest.raises(DataError):
        Hello.decode(payload[:-1])


@given(
    st.integers(0, 2**16 - 1),
    st.integers(0, 2**15 - 1),
    st.booleans(),
    st.integers(0, 2**32 - 1),
    st.lists(st.integers(0, 2**16 - 1), min_size=1, max_size=15),
)
def test_outcome(label: int, step: int, fired: bool, cycles: int, rows: list[int]) -> None:
    outcome = Outcome(label, step, fired, cycles, tuple(rows))
    payload = outcome.encode()
    assert Outcome.decode(payload, len(rows)) == outcome
    with pytest.raises(DataError, match="bytes"):
        Outcome.decode(payload + b"\0", len(rows))
