import numpy as np
import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError
from firstspike.firmware.layout import (
    pack_row_map,
    pack_weights,
    row_numbers,
    unpack_row_map,
    unpack_weights,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp


@st.composite
def packings(draw):
    layer = LayerConfig(
        inputs=draw(st.integers(1, 12)),
        neurons=(neurons := draw(st.integers(1, 20))),
        lanes=draw(st.integers(1, neurons)),
    )
    shape = (draw(st.integers(1, layer.rows)), draw(st.integers(1, layer.neurons)))
    return layer, draw(hnp.arrays(np.int8, shape, elements=st.integers(-127, 127)))


@given(packings())
def test_every_weight_is_where_the_page_says(case) -> None:
    layer, weights = case
    data = pack_weights(weights, layer)
    assert len(data) == layer.groups * layer.rows * layer.lanes
    words = np.frombuffer(data, np.int8).reshape(-1, layer.lanes)
    for (row, neuron), weight in np.ndenumerate(weights):
        group, lane = divmod(neuron, layer.lanes)
        assert words[group * layer.rows + row, lane] == weight
    assert np.count_nonzero(words) == np.count_nonzero(weights)
    np.testing.assert_array_equal(
        unpack_weights(data, layer)[: weights.shape[0], : weights.shape[1]], weights
    )


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_rows_are_given_to_used_inputs_in_order(used: list[bool]) -> None:
    weights = np.array(used)[:, None] * np.array([[3, -2]])
    rows = row_numbers(weights)
    assert rows[np.array(used)].tolist() == list(range(sum(used)))
    assert (rows[~np.array(used)] == -1).all()
    config = Config([LayerConfig(len(used) + 2, 2, 2)])
    unpacked = unpack_row_map(pack_row_map(rows, config), config)
    np.testing.assert_array_equal(unpacked, [*rows, -1, -1])


def test_a_row_that_is_not_built_is_refused() -> None:
    config = Config([LayerConfig(4, 2, 2, rows=2)])
    with pytest.raises(DataError, match=r"input 1 maps to row 2, but .* 2 rows"):
        unpack_row_map(pack_row_map([0, 2, -1, 1], config), config)
