import numpy as np
import pytest
from firstspike.sim.neuron import CurrentNeurons, decay, fire, integrate, saturate
from hypothesis import given, settings
from hypothesis import strategies as st

currents = st.integers(-(2**23), 2**23)
shifts = st.integers(1, 8)


def test_decay_rounds_towards_minus_infinity():
    current = np.array([100, 16, 15, 1, 0, -1, -15, -16, -17, -100])
    assert decay(current, 4).tolist() == [94, 15, 15, 1, 0, 0, -14, -15, -15, -93]


@given(currents, shifts)
def test_decay_equals_floor_division(current, k):
    assert decay(np.int64(current), k) == current - current // 2**k


@given(currents, currents, shifts)
def test_decay_is_monotone(first, second, k):
    low, high = sorted((first, second))
    assert decay(np.int64(low), k) <= decay(np.int64(high), k)


@given(currents, shifts)
def test_decay_never_moves_away_from_zero(current, k):
    after = int(decay(np.int64(current), k))
    assert min(current, 0) <= after <= max(current, 0)


@settings(deadline=None)
@given(st.integers(-(2**16), 0), shifts)
def test_negative_current_returns_to_zero(current, k):
    current = np.int64(current)
    for _ in range(2**k * 12 + 2**k):
        current = decay(current, k)
    assert current == 0


@given(shifts, st.integers(0, 255))
def test_small_positive_current_stays(k, current):
    current %= 2**k
    assert decay(np.int64(current), k) == current


@pytest.mark.parametrize("bits", [8, 20, 32])
def test_membrane_saturates_at_its_negative_end_only(bits):
    floor = -(2 ** (bits - 1))
    membrane = np.array([floor - 1, floor, floor + 1, 0, 2**bits])
    assert saturate(membrane, bits).tolist() == [floor, floor, floor + 1, 0, 2**bits]


def test_integrate_adds():
    assert integrate(np.array([-5, 7]), np.array([3, -9])).tolist() == [-2, -2]


def test_fire_at_zero_once():
    membrane = np.array([-1, 0, 1, 0, 1])
    fired = np.array([False, False, False, True, True])
    assert fire(membrane, fired).tolist() == [False, True, True, False, False]


def test_step_order_is_decay_arrivals_integrate_compare():
    neurons = CurrentNeurons(1, k=1, threshold=14, membrane_bits=8)
    trace = []
    for charge in (8, 0, 2, 0):
        spikes = neurons.step(np.array([charge]))
        trace.append((int(neurons.current[0]), int(neurons.membrane[0]), bool(spikes[0])))
    # 8 | 8 − 4 | 4 − 2 + 2 | 4 − 2
    assert trace == [(8, -6, False), (4, -2, False), (4, 2, True), (2, 4, False)]


def test_neurons_do_not_touch_each_other():
    rng = np.random.default_rng(1)
    charges = rng.integers(-50, 100, (20, 6))
    together = CurrentNeurons(6, k=3, threshold=700, membrane_bits=12)
    apart = [CurrentNeurons(1, k=3, threshold=700, membrane_bits=12) for _ in range(6)]
    for charge in charges:
        spikes = together.step(charge)
        assert spikes.tolist() == [
            bool(neuron.step(charge[j : j + 1])[0]) for j, neuron in enumerate(apart)
        ]
    assert together.fired.any()
