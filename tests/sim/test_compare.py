import copy
from dataclasses import replace

import numpy as np
import pytest
from firstspike.firmware.errors import DataError, Mismatch
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.sim.compare import Divergence, first_divergence, require_equal
from firstspike.sim.golden import infer

NETWORK = Network(
    [
        Layer(np.array([[9, 5, 3, 2], [0, 5, 3, 1]]), 4, 18),
        Layer(np.array([[3, 1], [3, 1], [1, 3], [1, 3]]), 4, 60),
    ],
    40,
)
SAMPLES = np.array([[0, 0], [0, 2], [3, NEVER]])


@pytest.fixture
def expected():
    return infer(NETWORK, SAMPLES)


@pytest.fixture
def actual():
    """What the same run gave on the other side, to be spoilt by the test."""
    return infer(NETWORK, SAMPLES)


def test_equal(expected, actual):
    assert expected.fired.all()
    assert first_divergence(expected, actual, NETWORK) is None
    require_equal(expected, actual, NETWORK)


def test_late_spike_shows_when_it_is_missed(expected, actual):
    ours = int(expected.spikes[0][1, 2])
    actual.spikes[0][1, 2] = ours + 2
    found = first_divergence(expected, actual, NETWORK, names=("model", "board"))
    assert found == Divergence(
        sample=1,
        what="spike",
        expected=ours,
        actual=ours + 2,
        step=ours,
        layer=0,
        neuron=2,
        names=("model", "board"),
    )
    assert str(found) == (
        f"sample 1, step {ours}, layer 0, neuron 2: "
        f"model spikes in step {ours}, board spikes in step {ours + 2}"
    )


def test_missing_spike_and_spurious_spike(expected, actual):
    ours = int(expected.spikes[0][0, 0])
    actual.spikes[0][0, 0] = NEVER
    assert str(first_divergence(expected, actual, NETWORK)) == (
        f"sample 0, step {ours}, layer 0, neuron 0: the golden model spikes in step {ours}, "
        "the model under test has no spike"
    )
    found = first_divergence(actual, expected, NETWORK)
    assert (found.expected, found.actual, found.step) == (NEVER, ours, ours)


def test_sample_then_step_then_layer_then_neuron(expected, actual):
    late = int(expected.step[1])
    for spikes in actual.spikes:
        spikes[2] = 0
    actual.spikes[1][1] = [late - 1, late - 1]
    actual.spikes[0][1] = late - 1
    found = first_divergence(expected, actual, NETWORK)
    parting = np.minimum(expected.spikes[0][1] % 1000, late - 1)
    assert found.sample == 1
    assert (found.step, found.layer) == (parting.min(), 0)
    assert found.neuron == parting.argmin()

    again = copy.deepcopy(expected)
    again.spikes[1][1] = [late - 1, late - 1]
    found = first_divergence(expected, again, NETWORK)
    assert (found.step, found.layer, found.neuron) == (late - 1, 1, 0)


@pytest.mark.parametrize(
    ("field", "layer", "neuron"),
    [
        ("step", None, None),
        ("fired", None, None),
        ("label", None, None),
        ("tied", None, None),
        ("potential", 1, 1),
        ("events", 1, None),
        ("rows", 1, None),
    ],
)
def test_fields_after_the_spikes(expected, actual, field, layer, neuron):
    array = getattr(actual, field)
    array[(2, 1) if array.ndim == 2 else 2] ^= 1
    found = first_divergence(expected, actual, NETWORK)
    assert (found.what, found.sample, found.layer, found.neuron) == (field, 2, layer, neuron)
    assert found.expected ^ found.actual == 1
    assert f"has {field} {found.actual}" in str(found)


def test_spikes_come_before_the_fields(expected, actual):
    actual.label[1] ^= 1
    actual.spikes[0][1, 3] = 39
    assert first_divergence(expected, actual, NETWORK).what == "spike"


def test_cycle_is_told(expected, actual):
    actual.label[0] ^= 1
    found = replace(first_divergence(expected, actual, NETWORK), cycle=1234)
    assert "cycle 1234" in str(found)


def test_require_equal_raises(expected, actual):
    actual.spikes[1][0, 0] = NEVER
    with pytest.raises(Mismatch, match=r"sample 0, step \d+, layer 1, neuron 0: "):
        require_equal(expected, actual, NETWORK)


def test_refuses_what_cannot_be_compared(expected):
    with pytest.raises(DataError, match="2 samples"):
        first_divergence(expected, infer(NETWORK, SAMPLES[:2]), NETWORK)
    other = Network([NETWORK.layers[0]], 40)
    with pytest.raises(DataError, match="layers"):
        first_divergence(expected, infer(other, SAMPLES), NETWORK)
    with pytest.raises(DataError, match="layers"):
        first_divergence(expected, expected, other)
