"""Encoders: tables against their definitions, inverses, and what they refuse."""

import json
import math

import numpy as np
import pytest
from firstspike import encode
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER

ENCODERS = [
    encode.Binary(),
    encode.Binary(threshold=0),
    encode.Binary(threshold=254),
    encode.Linear(),
    encode.Linear(levels=1, floor=255),
    encode.Linear(levels=4, spacing=3, floor=1),
    encode.Linear(levels=223, floor=33),
    encode.Logarithmic(),
    encode.Logarithmic(tau=40.0, theta=0.5, limit=200),
    encode.Logarithmic(tau=2.0, theta=0.05, limit=3),
]
ALL = np.arange(256, dtype=np.uint8)[None]


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_brighter_is_never_later(encoder):
    steps = encoder.encode(ALL)[0]
    assert steps.dtype == np.int32
    spiking = steps != NEVER
    assert steps[255] == 0
    # Dark pixels, and only those, do not spike.
    assert np.all(np.diff(spiking.astype(int)) >= 0)
    assert not spiking[0]
    assert np.all(np.diff(steps[spiking]) <= 0)
    assert encoder.steps == steps.max() + 1


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_decode_inverts_encode(encoder):
    steps = encoder.encode(ALL)
    levels = encoder.decode(steps)
    np.testing.assert_array_equal(encoder.encode(levels), steps)
    assert np.all(levels[steps == NEVER] == 0)
    assert np.all(levels[steps == 0] == 255)


@pytest.mark.parametrize("encoder", ENCODERS, ids=repr)
def test_meta_round_trip_through_json(encoder):
    assert encode.from_meta(json.loads(json.dumps(encoder.to_meta()))) == encoder


def test_binary_by_hand():
    steps = encode.Binary(127).encode(np.array([[0, 127, 128, 255]], np.uint8))
    np.testing.assert_array_equal(steps, [[NEVER, NEVER, 0, 0]])


def test_linear_by_hand():
    encoder = encode.Linear(levels=4, spacing=2, floor=56)
    steps = encoder.encode(np.array([[0, 55, 56, 105, 106, 155, 156, 205, 206, 255]], np.uint8))
    np.testing.assert_array_equal(steps, [[NEVER, NEVER, 6, 6, 4, 4, 2, 2, 0, 0]])


def test_logarithmic_is_the_charging_curve():
    encoder = encode.Logarithmic(tau=8.0, theta=0.2, limit=16)
    brightest = 8 * math.log(1 / 0.8)
    for grey, step in enumerate(encoder.encode(ALL)[0]):
        x = grey / 255
        expected = NEVER
        if x > 0.2:
            delay = 8 * math.log(x / (x - 0.2)) - brightest
            expected = math.floor(delay) if delay < 16 else NEVER
        assert step == expected, grey


def test_images_are_flattened():
    images = np.random.default_rng(1).integers(0, 256, (3, 4, 5), np.uint8)
    encoder = encode.Linear()
    np.testing.assert_array_equal(encoder.encode(images), encoder.encode(images.reshape(3, 20)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: encode.Binary(255), "threshold is 255, but the range is 0 to 254"),
        (lambda: encode.Linear(levels=0), "0 levels were asked for"),
        (lambda: encode.Linear(levels=225, floor=32), "1 to 224"),
        (lambda: encode.Linear(floor=0), "floor is 0"),
        (lambda: encode.Linear(spacing=0), "spacing is 0"),
        (lambda: encode.Linear(levels=200, spacing=400), r"must fit in \d+ steps"),
        (lambda: encode.Logarithmic(tau=0.0), "tau is 0.0"),
        (lambda: encode.Logarithmic(tau=math.nan), "tau is nan"),
        (lambda: encode.Logarithmic(theta=1.0), "theta is 1.0"),
        (lambda: encode.Logarithmic(limit=0), "limit is 0"),
        (lambda: encode.from_meta({"kind": "rate"}), "binary, linear, logarithmic"),
        (lambda: encode.from_meta({}), "there is no encoding None"),
        (
            lambda: encode.from_meta({"kind": "linear", "lvls": 3}),
            r"the encoding linear has no parameter lvls \(did you mean levels\?\)",
        ),
        (
            lambda: encode.from_meta({"kind": "binary", "spacing": 3}),
            r"the encoding binary has no parameter spacing \(there are threshold\)",
        ),
        (
            lambda: encode.from_meta({"kind": "linear", "levels": 2.5}),
            "levels of the encoding linear is 2.5, but it is a whole number",
        ),
        (
            lambda: encode.from_meta({"kind": "logarithmic", "tau": "x"}),
            "tau of the encoding logarithmic is 'x', but it is a number",
        ),
        (lambda: encode.from_meta({"kind": ["binary"]}), "there is no encoding"),
        (lambda: encode.Binary().encode(np.zeros((2, 4))), "dtype float64"),
        (lambda: encode.Binary().encode(np.zeros(4, np.uint8)), r"shape \(4,\)"),
        (lambda: encode.Binary().decode(np.zeros(4)), "they are integers"),
        (lambda: encode.Binary().decode(np.array([1])), "uses steps -1 to 0"),
        (lambda: encode.Binary().decode(np.array([-2])), "run from -2"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(DataError, match=message):
        make()


@pytest.mark.parametrize("encoder", ENCODERS[::3], ids=repr)
def test_plot(encoder, tmp_path):
    pytest.importorskip("matplotlib")
    image = ALL.reshape(16, 16)
    figure = encode.plot_encoding(encoder, image)
    figure.savefig(tmp_path / "encoding.png")
    assert (tmp_path / "encoding.png").stat().st_size > 1000
    with pytest.raises(DataError, match="has shape"):
        encode.plot_encoding(encoder, ALL[0])
