"""Float weights to integer layers, and changes of the time constant."""

import numpy as np
import pytest
from firstspike.firmware.errors import DataError
from firstspike.firmware.formats import NEVER, column_bounds, signed_bits, weight_limit
from firstspike.firmware.network import Layer, Network
from firstspike.quantise import prune, quantise, quantise_layer, retime, threshold_for
from firstspike.sim import golden


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("k", [1, 4, 8])
def test_rounding_error_is_half_a_unit(bits, k):
    weights = np.random.default_rng(bits).normal(0, 0.2, (30, 8)).astype(np.float32)
    layer = quantise_layer(weights, bits=bits, k=k, clip=0.4)
    unit = 2**k / layer.threshold
    assert layer.weight_bits == bits
    assert np.abs(layer.weights).max() <= weight_limit(bits)
    inside = np.abs(weights) <= weight_limit(bits) * unit
    error = np.abs(layer.weights * unit - weights)
    assert error[inside].max() <= unit / 2 * (1 + 1e-5)
    np.testing.assert_array_equal(
        layer.weights[~inside], (np.sign(weights[~inside]) * weight_limit(bits)).astype(int)
    )


def test_without_a_clip_the_largest_weight_is_the_largest_integer():
    weights = np.array([[0.5, -1.5], [0.25, 0.0]])
    layer = quantise_layer(weights, bits=8, k=4)
    assert layer.threshold == round(127 * 16 / 1.5)
    np.testing.assert_array_equal(layer.weights, [[42, -127], [21, 0]])


def test_weights_of_nothing_but_zeros():
    assert not quantise_layer(np.zeros((3, 2))).weights.any()


@pytest.mark.parametrize("clip", [0.1, 0.5, 3.0])
def test_threshold_is_what_a_weight_of_one_reaches(clip):
    threshold = threshold_for(clip, 8, 4)
    assert threshold * clip / 16 == pytest.approx(127, abs=0.5 * clip / 16)


def test_membrane_bits_grow_with_the_threshold():
    weights = np.full((2, 2), 0.001)
    layer = quantise_layer(weights, k=8, clip=0.01)
    assert layer.threshold == 3251200
    assert layer.membrane_bits == 23
    with pytest.raises(DataError, match="larger value or take a smaller k"):
        quantise_layer(weights, k=8, clip=1e-6)


def random_network(k: int = 5) -> Network:
    random = np.random.default_rng(3)
    weights = [random.normal(0.003, 0.03, (400, 300)), random.normal(0.04, 0.03, (300, 4))]
    return quantise(weights, k=k, clips=(0.08, 0.1), meta={"name": "random"})


def test_network_has_the_float_weights_meaning():
    network = random_network()
    assert network.shape == (400, 300, 4)
    assert network.steps == 128
    assert network.meta == {"name": "random"}


def test_discrete_times_follow_the_closed_form():
    """One layer, all inputs in step 0: step = ceil(τ_e · ln z) - 1, apart from rounding."""
    weights = np.random.default_rng(5).normal(0.1, 0.2, (12, 200))
    network = quantise([weights], k=6, clips=[1.0], steps=200)
    steps = np.zeros((1, 12), np.int32)
    layer = network.layers[0]
    drive = layer.weights.sum(axis=0) * (2**6 / layer.threshold)
    tau = -1 / np.log1p(-(2.0**-6))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.ceil(-tau * np.log1p(-1 / drive)) - 1
    first = np.nanmin(np.where(drive > 1, expected, np.nan))
    found = golden.infer(network, steps)
    assert abs(int(found.step[0]) - first) <= 1
    assert found.fired[0]


@pytest.mark.parametrize("k", [3, 4, 6])
def test_retiming_scales_spike_times(k):
    network = random_network()
    other = retime(network, k)
    scale = 2.0 ** (k - 5)
    assert other.steps == round(128 * scale)
    for before, after in zip(network.layers, other.layers, strict=True):
        assert after.k == k
        assert after.threshold == pytest.approx(before.threshold * scale, abs=0.5)
        np.testing.assert_array_equal(after.weights, before.weights)
    samples = np.where(np.random.default_rng(1).random((40, 400)) < 0.5, 0, NEVER).astype(np.int32)
    slow, fast = golden.infer(network, samples), golden.infer(other, samples)
    both = slow.fired & fast.fired
    assert both.sum() > 20
    # A step lasts 2**-k of a time constant; both layers round moments to steps.
    difference = np.abs((slow.step[both] + 1) / 32 - (fast.step[both] + 1) / 2**k)
    assert difference.mean() <= 2 * max(1 / 32, 2.0**-k)


def test_retiming_back_gives_the_same_network():
    network = random_network()
    again = retime(retime(network, 6), 5)
    assert [layer.threshold for layer in again.layers] == [
        layer.threshold for layer in network.layers
    ]
    assert again.steps == network.steps


def test_retiming_refuses_what_does_not_fit():
    network = random_network()
    with pytest.raises(DataError, match="k is 9"):
        retime(network, 9)
    long = Network(network.layers, 30_000)
    with pytest.raises(DataError, match="would run 60000 steps"):
        retime(long, 6)
    layer = network.layers[1]
    mixed = Network([network.layers[0], Layer(layer.weights, 3, layer.threshold)], 64)
    with pytest.raises(DataError, match="different decay shifts"):
        retime(mixed, 4)


def test_pruning_drops_what_is_never_used():
    network = random_network()
    samples = np.where(np.random.default_rng(2).random((60, 400)) < 0.5, 0, NEVER).astype(np.int32)
    samples[:, 100:130] = NEVER
    pruned = prune(network, samples, current_bits=20)
    expected = network.layers[0].weights.copy()
    expected[100:130] = 0
    np.testing.assert_array_equal(pruned.layers[0].weights, expected)
    np.testing.assert_array_equal(pruned.layers[1].weights, network.layers[1].weights)
    before, after = golden.infer(network, samples), golden.infer(pruned, samples)
    np.testing.assert_array_equal(before.label, after.label)
    np.testing.assert_array_equal(before.step, after.step)


@pytest.mark.parametrize("bits", [8, 11, 13])
def test_pruning_fits_the_current_and_spares_frequent_inputs(bits):
    network = random_network()
    rate = np.linspace(0.02, 1, 400)
    samples = np.where(np.random.default_rng(2).random((200, 400)) < rate, 0, NEVER)
    pruned = prune(network, samples, current_bits=bits)
    count = (samples == 0).sum(axis=0)
    for index, (before, after) in enumerate(zip(network.layers, pruned.layers, strict=True)):
        low, high = column_bounds(after.weights)
        assert signed_bits(int(low.min()), int(high.max())) <= bits
        assert set(np.unique(after.weights[after.weights != before.weights])) <= {0}
        if index == 0:
            gone = before.weights != after.weights
            assert gone.any()
            assert not gone.all(axis=0).any()
            for sign in (-1, 1):
                for j in range(0, before.neurons, 17):
                    kept = count[(np.sign(after.weights[:, j]) == sign)]
                    lost = count[gone[:, j] & (np.sign(before.weights[:, j]) == sign)]
                    assert not lost.size or lost.max() <= kept.min()


def test_pruning_refuses_a_current_narrower_than_a_weight():
    with pytest.raises(DataError, match="7 bits was asked for"):
        prune(random_network(), np.zeros((1, 400), np.int32), current_bits=7)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: quantise_layer(np.zeros((2, 2), int)), "a float matrix"),
        (lambda: quantise_layer(np.zeros(4)), "a float matrix"),
        (lambda: quantise_layer(np.array([[np.nan]])), "training diverged"),
        (lambda: quantise_layer(np.ones((2, 2)), bits=9), "2 to 8 bits"),
        (lambda: quantise_layer(np.ones((2, 2)), k=0), "k is 0"),
        (lambda: quantise_layer(np.ones((2, 2)), clip=0.0), "clip is 0.0"),
        (lambda: quantise([np.ones((2, 2))], clips=[1.0, 1.0]), "2 clips were given for 1 layers"),
        (lambda: quantise([np.ones((2, 3)), np.ones((2, 3))]), "layer 1 has 2 inputs"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(DataError, match=message):
        make()


def test_prune_keeps_the_rows_that_are_used_most():
    network = random_network()
    rng = np.random.default_rng(5)
    often = rng.random(network.inputs)
    samples = np.where(rng.random((500, network.inputs)) < often, 0, NEVER)
    pruned = prune(network, samples, current_bits=20, rows=network.inputs // 2)
    kept = pruned.layers[0].weights.any(axis=1)
    count = (samples != NEVER).sum(axis=0)
    assert kept.sum() == network.inputs // 2
    assert count[kept].min() >= count[~kept].max()
    np.testing.assert_array_equal(pruned.layers[0].weights[kept], network.layers[0].weights[kept])
    with pytest.raises(DataError, match="0 rows were asked for"):
        prune(network, samples, current_bits=20, rows=0)


def test_figures_of_another_network_are_not_kept():
    network = random_network()
    network = Network(network.layers, network.steps, {"name": "random", "test": {"accuracy": 1.0}})
    samples = np.zeros((1, network.inputs), np.int32)
    for changed in (retime(network, 4), prune(network, samples, current_bits=20)):
        assert dict(changed.meta) == {"name": "random"}
