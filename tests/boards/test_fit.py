"""What does not fit is refused, with what would: without tools, and with few elaborations."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from firstspike import boards
from firstspike.boards.board import PlannedMemory, Resources
from firstspike.boards.build import configure
from firstspike.boards.fit import check_memories, check_weights
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import BuildError
from firstspike.shipped import load_network

CONFIG = Config([LayerConfig(784, 600, 8, rows=686), LayerConfig(600, 10, 5)])

BLOCK_BITS = 4_096


class Family:
    """Weights in block RAMs, beside ``others``; and as many more for each neuron as they say."""

    block_ram_bits = BLOCK_BITS
    lut_bits = 0

    def __init__(self, others=20, a_neuron=0.0):
        self.others = others
        self.a_neuron = a_neuron
        self.asked = []

    def memory_plan(self, config):
        self.asked.append(config)
        weights = [
            PlannedMemory(
                f"core.layer_{index}.weights.storage",
                layer.groups * layer.rows,
                layer.lanes * layer.weight_bits,
                "block",
                -(-layer.groups * layer.rows * layer.lanes * layer.weight_bits // BLOCK_BITS),
            )
            for index, layer in enumerate(config.layers)
        ]
        blocks = self.others + int(self.a_neuron * (600 - config.layers[0].neurons))
        return [*weights, PlannedMemory("frames.memory", 1024, 8, "block", blocks)]


def refused(family, block_rams):
    """The sentence, and the configurations that were planned to find it."""
    board = SimpleNamespace(
        name="board", family=family, resources=Resources(luts=1000, block_rams=block_rams)
    )
    planned = family.memory_plan(CONFIG)
    family.asked.clear()
    with pytest.raises(BuildError) as raised:
        check_memories(board, CONFIG, planned)
    return str(raised.value), family.asked


def test_what_is_advised_is_planned_once():
    """Weights of 4 bits would take 402 + 6 + 20 blocks, and 292 neurons 397 + 6 + 20."""
    sentence, asked = refused(Family(), 420)
    assert "784-600-10 at 8 bits needs 836 block RAMs, but board has 420" in sentence
    assert "; quantise the weights to 3 bits or train about 281 neurons in the first" in sentence
    assert [config.layers[0].weight_bits for config in asked] == [3, 8]
    assert [config.layers[0].neurons for config in asked] == [600, 281]
    assert asked[1].layers[1].inputs == 281


def test_an_estimate_that_was_wrong_is_followed_by_the_next():
    """Fewer neurons take more of something else."""
    sentence, asked = refused(Family(a_neuron=0.05), 420)
    assert "train about 269 neurons" in sentence
    assert [config.layers[0].neurons for config in asked] == [600, 281, 269]


def test_the_search_ends_soon():
    sentence, asked = refused(Family(a_neuron=2.0), 420)
    assert "quantise the weights to 3 bits or choose a larger board" in sentence
    assert len(asked) == 1 + 3


def test_nothing_fits_beside_the_others():
    sentence, asked = refused(Family(others=500), 420)
    assert sentence.endswith("but board has 420; choose a larger board")
    assert not asked


@pytest.mark.parametrize(
    ("board", "network"),
    [
        ("ulx3s-85f", "mnist-784-600-10"),
        ("ulx3s-25f", "mnist-784-600-10-ternary"),
        ("tang-primer-20k", "mnist-784-128-10"),
        ("icebreaker", "mnist-784-128-10"),
        ("icesugar", "mnist-784-128-10"),
        ("arty-a7-100t", "mnist-784-600-10"),
    ],
)
def test_weights_of_what_is_built(board, network):
    loaded = boards.load(board)
    check_weights(loaded, configure(loaded, load_network(network)))


@pytest.mark.parametrize("board", ["ulx3s-25f", "tang-primer-20k", "icebreaker", "icesugar"])
def test_weights_beyond_all_memory(board):
    loaded = boards.load(board)
    config = configure(loaded, load_network("mnist-784-600-10"))
    with pytest.raises(BuildError, match=rf"kbit of weights, but {board} has at most \d+ kbit"):
        check_weights(loaded, config)


def test_all_kinds_of_memory_count():
    board = boards.load("icebreaker")
    layer = LayerConfig(1, 1, 1, weight_bits=8)
    bits = board.resources.block_rams * 4_096 + board.resources.large_rams * 262_144
    assert board.family.lut_bits == 0
    fits = replace(layer, inputs=1024, rows=1024, neurons=bits // 8192, lanes=1)
    assert fits.rows * fits.neurons * 8 <= bits < fits.rows * (fits.neurons + 1) * 8
    check_weights(board, Config([fits], 8))
    with pytest.raises(BuildError, match="choose a larger board"):
        check_weights(board, Config([replace(fits, neurons=fits.neurons + 1)], 8))
