import json
from dataclasses import replace

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError
from firstspike.firmware.network import Layer, Network
from hypothesis import given
from hypothesis import strategies as st

layers = st.builds(
    LayerConfig,
    inputs=st.just(9),
    neurons=st.integers(8, 40),
    lanes=st.integers(1, 8),
    weight_bits=st.integers(2, 8),
    k=st.integers(1, 8),
    current_bits=st.integers(8, 20),
    membrane_bits=st.integers(20, 32),
    rows=st.integers(1, 9),
)


@given(layers, st.integers(1, 400), st.sampled_from([1 << 10, 1 << 14]))
def test_json_round_trip(layer: LayerConfig, steps: int, buffer_bytes: int) -> None:
    config = Config([layer], steps, buffer_bytes)
    text = config.to_json()
    assert Config.from_json(text) == config
    assert Config.from_json(text).digest == config.digest


@given(layers, layers)
def test_digests_tell_configurations_apart(one: LayerConfig, other: LayerConfig) -> None:
    assert (Config([one]).digest == Config([other]).digest) == (one == other)


@pytest.mark.parametrize(
    ("field", "value", "limit"),
    [
        ("inputs", 0, "1 to 32768"),
        ("neurons", 40_000, "1 to 32768"),
        ("lanes", 6, "1 to 5"),
        ("weight_bits", 9, "2 to 8"),
        ("k", 0, "1 to 8"),
        ("membrane_bits", 33, "8 to 32"),
        ("current_bits", 21, "8 to 20"),
        ("rows", 13, "1 to 12"),
    ],
)
def test_layers_out_of_range_are_refused(field: str, value: int, limit: str) -> None:
    fields = {"inputs": 12, "neurons": 5, "lanes": 5, "rows": 12} | {field: value}
    with pytest.raises(DataError, match=f"{field} of a layer is {value}.* {limit}"):
        LayerConfig(**fields)


def test_what_learns_reads_its_weights_in_time() -> None:
    layers = [LayerConfig(12, 5, 5, fetch_cycles=4), LayerConfig(5, 3, 3, fetch_cycles=5)]
    Config(layers)
    with pytest.raises(DataError, match=r"of layer 1 reads a word in 5 cycles, .* at most 4;"):
        Config(layers, learning=True)
    Config(layers[:1], learning=True)


def test_accelerators_out_of_range_are_refused() -> None:
    layer = LayerConfig(12, 5, 5)
    with pytest.raises(DataError, match="0 layers"):
        Config([])
    with pytest.raises(DataError, match="layer 1 has 12 inputs, but layer 0 has 5 neurons"):
        Config([layer, layer])
    with pytest.raises(DataError, match="only layer 0 has a row map"):
        Config([layer, LayerConfig(5, 3, 3, rows=4)])
    with pytest.raises(DataError, match="max_steps"):
        Config([layer], max_steps=0)
    with pytest.raises(DataError, match="power of two"):
        Config([layer], buffer_bytes=1000)
    with pytest.raises(DataError, match=r"longest frame .* needs 64"):
        Config([layer], buffer_bytes=32)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "7", '{"layers": 3}', '{"layers": [{"inputs": 3}]}', '{"layers": []}']
)
def test_text_that_is_no_configuration(text: str) -> None:
    with pytest.raises(DataError):
        Config.from_json(text)


def test_an_unknown_entry_is_refused() -> None:
    entries = json.loads(Config([LayerConfig(12, 5, 5)]).to_json()) | {"colour": "red"}
    with pytest.raises(DataError, match="colour"):
        Config.from_json(json.dumps(entries))


def test_regions() -> None:
    config = Config([LayerConfig(12, 5, 2, weight_bits=4, rows=7), LayerConfig(5, 3, 3)])
    assert [(r.name, r.words, r.lanes, r.bits, r.signed) for r in config.regions] == [
        ("weights_0", 21, 2, 4, True),
        ("weights_1", 5, 3, 8, True),
        ("row_map", 12, 2, 8, False),
    ]


def test_for_network_is_the_smallest_that_fits() -> None:
    rng = np.random.default_rng(1)
    weights = rng.integers(-7, 8, (20, 9))
    weights[3] = weights[8] = 0
    network = Network(
        [Layer(weights, 3, 50, weight_bits=4), Layer(rng.integers(-127, 128, (9, 4)), 3, 50)], 33
    )
    config = Config.for_network(network, lanes=6)
    assert [layer.lanes for layer in config.layers] == [6, 4]
    assert [layer.rows for layer in config.layers] == [18, 9]
    assert config.max_steps == 33
    compile(network, config)
    for index, layer in enumerate(network.layers):
        low = np.minimum(layer.weights.astype(int), 0).sum(axis=0).min()
        high = np.maximum(layer.weights.astype(int), 0).sum(axis=0).max()
        bits = config.layers[index].current_bits
        assert -(1 << (bits - 1)) <= low
        assert high < 1 << (bits - 1)
        assert bits == layer.weight_bits or not (
            -(1 << (bits - 2)) <= low and high < 1 << (bits - 2)
        )
    assert Config.for_network(network, [2]) == Config.for_network(network, 2)
    with pytest.raises(DataError, match=r"3 lane counts .* layers; give one for all layers or "):
        Config.for_network(network, lanes=[1, 2, 3])


def test_ways_suit_the_layers_around_them():
    before, last = LayerConfig(8, 12, 6), LayerConfig(12, 4, 4, ways=2)
    assert Config([before, last]).layers[1].ways == 2
    for layers, message in (
        ([before, last, LayerConfig(4, 2, 2)], "only the last layer can"),
        ([before, replace(last, lanes=2)], "--ways 2 needs a lane for each .*: 4 instead of 2"),
        ([replace(before, lanes=5), last], "the 5 lanes of layer 0 are no multiple"),
        ([replace(last, inputs=12)], "inputs come one at a time"),
    ):
        with pytest.raises(DataError, match=message):
            Config(layers)
    with pytest.raises(DataError, match="ways of a layer is 3, but it must be a power of two"):
        LayerConfig(12, 4, 4, ways=3)


def test_sum_neurons_only_in_a_first_layer():
    first, last = LayerConfig(8, 12, 6, neuron="sum"), LayerConfig(12, 4, 4)
    config = Config([first, last], max_steps=9)
    assert [region.name for region in config.regions][-1] == "crossings"
    assert config.region("crossings").words == 9
    for layers in ([first], [replace(first, neuron="current"), replace(last, neuron="sum")]):
        with pytest.raises(DataError, match="only a first layer"):
            Config(layers)
    with pytest.raises(DataError, match="the neuron of a layer is 'leaky'"):
        replace(first, neuron="leaky")
    config.check_samples(np.array([[0, -1, 0]]))
    with pytest.raises(DataError, match="sample 0: input 2 spikes in step 4, but"):
        config.check_samples(np.array([[0, -1, 4]]))
