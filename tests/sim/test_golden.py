"""The golden model against hand-worked examples, a scalar oracle and the continuous model."""

import math

import numpy as np
import pytest
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.sim.golden import infer
from firstspike.sim.random_networks import random_case
from firstspike.sim.result import Inference, summarise
from hypothesis import given, settings
from hypothesis import strategies as st


def neuron_history(layer, neuron, arrivals, steps):
    """One neuron on its own: its first spike step and V before the threshold is taken off.

    Written apart from the golden model: scalar, V instead of U, division instead of shift.
    """
    weights = [int(w) for w in layer.weights[:, neuron]]
    lowest = layer.threshold - 2 ** (layer.membrane_bits - 1)
    current, potential, spike, history = 0, 0, None, []
    for now in range(steps):
        current = current - math.floor(current / 2**layer.k)
        for weight, when in zip(weights, arrivals, strict=True):
            if when == now:
                current += weight
        potential += current
        potential = max(potential, lowest)
        if spike is None and potential >= layer.threshold:
            spike = now
        history.append(potential)
    return spike, history


def oracle(network, sample):
    """The whole network, layer by layer over all steps; what follows the decision is cut off."""
    arrivals = [None if step == NEVER else int(step) for step in sample]
    trains, histories = [arrivals], []
    for layer in network.layers:
        found = [neuron_history(layer, j, trains[-1], network.steps) for j in range(layer.neurons)]
        trains.append([spike for spike, _ in found])
        histories = [history for _, history in found]
    first = [spike for spike in trains[-1] if spike is not None]
    end = min(first) if first else network.steps - 1
    cut = [[s if s is not None and s <= end else NEVER for s in train] for train in trains]
    threshold = network.layers[-1].threshold
    potential = [history[end] - threshold for history in histories]
    racers = (
        [j for j, s in enumerate(cut[-1]) if s == end] if first else list(range(len(potential)))
    )
    label = sorted(racers, key=lambda j: (-potential[j], j))[0]
    events = [sum(s != NEVER for s in train) for train in cut[:-1]]
    empty = sum(
        s != NEVER and not any(int(w) for w in network.layers[0].weights[i])
        for i, s in enumerate(cut[0])
    )
    return {
        "label": label,
        "step": end,
        "fired": bool(first),
        "tied": bool(first) and len(racers) > 1,
        "spikes": cut[1:],
        "potential": potential,
        "events": events,
        "rows": [events[0] - empty, *events[1:]],
    }


def row(result, index):
    fields = ("label", "step", "fired", "tied", "potential", "events", "rows")
    found = {name: getattr(result, name)[index].tolist() for name in fields}
    return found | {"spikes": [layer[index].tolist() for layer in result.spikes]}


@pytest.mark.parametrize("block", range(10))
def test_equals_scalar_oracle(block):
    for seed in range(block * 30, block * 30 + 30):
        case = random_case(seed, batch=2)
        result = infer(case.network, case.samples)
        for index, sample in enumerate(case.samples):
            assert row(result, index) == oracle(case.network, sample), f"{case}, sample {index}"


def test_two_layers_by_hand():
    # Layer 0, k = 1, θ = 10:  neuron 0 gets 6 in step 0: I 6 3 2 1 1 …, V 6 9 11 fires in 2.
    #                          neuron 1 gets 6 + 5 in steps 0 and 1: I 6 8, V 6 14 fires in 1.
    # Layer 1, k = 1, θ = 8:   output 0 gets 4 in step 1, then −1 in step 2: I 4 1 1 1, V 4 5 6 7
    #                          and 8 in step 5; output 1 gets 3 in step 2: I 3 2 1, V 3 5 6 …
    network = Network(
        [
            Layer(np.array([[6, 6], [0, 5], [0, 0]]), k=1, threshold=10, membrane_bits=8),
            Layer(np.array([[-1, 3], [4, 0]]), k=1, threshold=8, membrane_bits=8),
        ],
        steps=9,
    )
    result = infer(network, np.array([[0, 1, 0]]))
    assert row(result, 0) == {
        "label": 0,
        "step": 5,
        "fired": True,
        "tied": False,
        "spikes": [[2, 1], [5, NEVER]],
        "potential": [0, 0 - 8 + 3 + 2 + 1 + 1],
        "events": [3, 2],
        "rows": [2, 2],
    }


def test_spike_reaches_the_next_layer_in_the_same_step():
    layers = [Layer(np.array([[5]]), 4, threshold=5) for _ in range(4)]
    result = infer(Network(layers, 3), np.array([[1]]))
    assert result.step.tolist() == [1]
    assert [spikes.tolist() for spikes in result.spikes] == [[[1]]] * 4
    assert result.rows.tolist() == [[1, 1, 1, 1]]


def outputs(weights, threshold, steps=4, membrane_bits=20):
    """One input and one output for each weight."""
    return Network([Layer(np.array([weights]), 4, threshold, 8, membrane_bits)], steps)


def test_tie_goes_to_the_highest_membrane_then_to_the_lowest_index():
    result = infer(outputs([10, 12, 9, 12], 10), np.array([[0]]))
    assert (result.label[0], result.step[0], result.fired[0], result.tied[0]) == (1, 0, True, True)
    assert result.potential.tolist() == [[0, 2, -1, 2]]
    assert result.spikes[0].tolist() == [[0, 0, NEVER, 0]]


def test_earlier_spike_beats_higher_membrane():
    # Both end above the threshold; the first alone does so in step 0.
    result = infer(outputs([10, 9], 10), np.array([[0]]))
    assert (result.label[0], result.tied[0]) == (0, False)
    assert result.spikes[0].tolist() == [[0, NEVER]]


def test_no_spike_decides_by_membrane_in_the_last_step():
    result = infer(outputs([1, 2, 2], 100, steps=3), np.array([[0], [2], [NEVER]]))
    assert result.label.tolist() == [1, 1, 0]
    assert result.step.tolist() == [2, 2, 2]
    assert not result.fired.any()
    assert not result.tied.any()
    assert result.potential.tolist() == [[-97, -94, -94], [-99, -98, -98], [-100] * 3]
    assert result.events.tolist() == [[1], [1], [0]]


def test_membrane_saturates_and_recovers():
    # 8 bits: U from −3 by −127 to −128 (not −130), then the current turns and it climbs from there.
    network = Network([Layer(np.array([[-127], [127], [127]]), 8, 3, 8, 8)], 4)
    result = infer(network, np.array([[0, 1, 1]]))
    # I: −127, −126 + 254 = 128 fires at U = −128 + 128 = 0; unsaturated it would be −2.
    assert (result.step[0], result.fired[0], result.potential[0, 0]) == (1, True, 0)


def test_input_without_weights_counts_as_event_but_fetches_nothing():
    network = Network([Layer(np.array([[0, 0], [0, 1]]), 4, 50)], 5)
    result = infer(network, np.array([[0, 3], [4, NEVER], [NEVER, 0]]))
    assert result.events.tolist() == [[2], [1], [1]]
    assert result.rows.tolist() == [[1], [0], [1]]
    assert result.lookups.tolist() == [[2], [0], [2]]


def test_nothing_exists_after_the_decision():
    first = Layer(np.array([[20, 0], [0, 20]]), 4, threshold=20)
    network = Network([first, Layer(np.array([[9], [9]]), 4, threshold=9)], 10)
    result = infer(network, np.array([[1, 2]]))
    assert result.step.tolist() == [1]
    assert result.spikes[0].tolist() == [[1, NEVER]]
    assert result.events.tolist() == [[1, 1]]


def test_empty_batch():
    assert len(infer(outputs([1], 1), np.empty((0, 1), dtype=int))) == 0


@pytest.mark.parametrize(
    "samples",
    [np.zeros((2, 3), dtype=int), np.zeros(1, dtype=int), np.zeros((1, 1)), [[4]], [[-2]]],
)
def test_refuses_samples_that_do_not_suit(samples):
    with pytest.raises(DataError):
        infer(outputs([1], 1, steps=4), samples)


def closed_form(weights, arrivals, k, threshold):
    """First spike step of the continuous model: z = Σ_C w z / (Σ_C w − 1), and None for none."""
    decay = 1 - 2.0**-k
    tau = -1 / math.log(decay)
    order = np.argsort(arrivals, kind="stable")
    total, weighted = 0.0, 0.0
    for place, index in enumerate(order):
        scaled = weights[index] * 2**k / threshold
        total += scaled
        weighted += scaled * math.exp(arrivals[index] / tau)
        following = arrivals[order[place + 1]] if place + 1 < len(order) else math.inf
        if following == arrivals[index] or total <= 1:
            continue
        step = math.ceil(tau * math.log(weighted / (total - 1)) - 1e-9) - 1
        if step < following:
            return step
    return None


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32 - 1))
def test_agrees_with_the_closed_form_within_the_rounding(seed):
    """The shift leaves less than 1 of each decay, so V runs ahead by at most the sum of these.

    A step's remainder is in [0, 1) and decays with the current, so after m more steps I is ahead by
    less than 2^k·(1 − a^m). So no spike is later than the continuous model's, and none is earlier
    than one of the threshold lowered by what V can be ahead.
    """
    rng = np.random.default_rng(seed)
    k, steps, inputs = int(rng.integers(2, 7)), 200, 40
    weights = rng.integers(-60, 128, (inputs, 1))
    threshold = int(rng.integers(2000, 60000))
    sample = rng.integers(0, 30, inputs)
    network = Network([Layer(weights, k, threshold, membrane_bits=32)], steps)
    result = infer(network, sample[None])
    discrete = int(result.spikes[0][0, 0])
    continuous = closed_form(weights[:, 0], sample, k, threshold)
    if continuous is not None and continuous < steps:
        assert result.fired[0]
        assert discrete <= continuous
    if result.fired[0]:
        decay = 1 - 2.0**-k
        ahead = sum(2**k * (1 - decay**m) for m in range(discrete + 1))
        exact = sum(
            int(w) * 2**k * (1 - decay ** (discrete - int(n) + 1))
            for w, n in zip(weights[:, 0], sample, strict=True)
            if n <= discrete
        )
        assert exact > threshold - ahead - 1e-6 * threshold


def test_closed_form_is_met_in_most_cases():
    rng = np.random.default_rng(3)
    off = []
    for _ in range(200):
        weights = rng.integers(-60, 128, (200, 1))
        sample = rng.integers(0, 10, 200)
        threshold = int(rng.integers(20000, 50000))
        network = Network([Layer(weights, 4, threshold, membrane_bits=32)], 100)
        continuous = closed_form(weights[:, 0], sample, 4, threshold)
        if continuous is not None:
            off.append(continuous - int(infer(network, sample[None]).spikes[0][0, 0]))
    assert len(off) > 100
    assert np.mean(np.array(off) == 0) > 0.9
    assert max(off) <= 1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(0, 20))
def test_later_inputs_shift_everything(seed, shift):
    """Nothing happens before the first input, so a delay of all inputs delays the decision."""
    rng = np.random.default_rng(seed)
    first = Layer(rng.integers(-40, 100, (10, 8)), 3, 300)
    network = Network([first, Layer(rng.integers(-20, 127, (8, 3)), 3, 150)], 80)
    sample = rng.integers(0, 6, (1, 10))
    early, late = infer(network, sample), infer(network, sample + shift)
    if late.fired[0]:
        assert late.step[0] == early.step[0] + shift
        assert late.label[0] == early.label[0]
        assert (late.potential == early.potential).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_order_of_inputs_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    weights = rng.integers(-127, 128, (12, 4))
    sample = rng.integers(NEVER, 10, (1, 12))
    order = rng.permutation(12)
    plain = infer(Network([Layer(weights, 2, 200)], 30), sample)
    mixed = infer(Network([Layer(weights[order], 2, 200)], 30), sample[:, order])
    assert row(plain, 0) == row(mixed, 0)


def test_summary():
    case = random_case(5, batch=20)
    result = infer(case.network, case.samples)
    labels = result.label.copy()
    labels[0] += 1
    summary = summarise(result, labels, case.network)
    assert summary.samples == 20
    assert summary.accuracy == pytest.approx(0.95)
    assert summary.mean_step == pytest.approx(np.mean(result.step))
    assert summary.tie_rate == pytest.approx(np.mean(result.tied))
    assert summary.no_spike_rate == pytest.approx(1 - np.mean(result.fired))
    hidden = sum((spikes != NEVER).sum() for spikes in result.spikes[:-1])
    assert summary.hidden_spikes == pytest.approx(hidden / 20)
    outputs_spikes = (result.spikes[-1] != NEVER).sum()
    total = (result.events[:, 0].sum() + hidden + outputs_spikes) / 20
    assert summary.total_spikes == pytest.approx(total)
    assert len(summary.lookups_percent) == len(case.network.layers)
    assert all(0 <= percent <= 100 for percent in summary.lookups_percent)
    assert "accuracy" in str(summary)
    assert "accuracy" not in str(summarise(result, None, case.network))


def test_summary_refuses_what_does_not_suit():
    network = outputs([1, 2], 1)
    result = infer(network, np.array([[0], [1]]))
    with pytest.raises(DataError, match="labels"):
        summarise(result, np.zeros(3), network)
    with pytest.raises(DataError, match="layers"):
        summarise(result, None, outputs([1], 1))
    with pytest.raises(DataError, match="empty"):
        summarise(infer(network, np.empty((0, 1), dtype=int)), None, network)


def test_concatenate():
    case = random_case(8, batch=10)
    whole = infer(case.network, case.samples)
    joined = Inference.concatenate(
        [infer(case.network, case.samples[:3]), infer(case.network, case.samples[3:])]
    )
    assert [row(joined, i) for i in range(10)] == [row(whole, i) for i in range(10)]
    with pytest.raises(DataError):
        Inference.concatenate([])
    with pytest.raises(DataError):
        Inference.concatenate([whole, infer(outputs([1, 2, 3], 1), np.array([[0]]))])


def test_inference_checks_its_shapes():
    good = Inference.blank(outputs([1, 2], 1), 3)
    fields = vars(good) | {"step": np.zeros(2, dtype=np.int32)}
    with pytest.raises(DataError, match="step"):
        Inference(**fields)
