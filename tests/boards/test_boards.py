"""Every board's file: what it says of itself, and the design that it makes."""

import subprocess
import sys

import pytest
from firstspike import Config, LayerConfig, boards
from firstspike.boards.build import configure
from firstspike.firmware.errors import BuildError
from firstspike.shipped import load_network

pytest.importorskip("amaranth_boards")

SMALL = Config([LayerConfig(12, 6, 3), LayerConfig(6, 3, 3)], 8, 64)


@pytest.mark.parametrize("name", boards.names())
def test_board_is_called_as_its_file(name):
    board = boards.load(name)
    assert board.name == name
    assert board.resources.luts > 0
    assert board.resources.block_rams > 0
    assert board.vendor_url.startswith("https://")


@pytest.mark.parametrize("name", boards.names())
def test_default_clock_is_reached_and_fast_enough_for_the_line(name):
    board = boards.load(name)
    clock_hz = board.family.nearest_clock(board, board.clock_hz)
    assert clock_hz == pytest.approx(board.clock_hz, rel=0.02)
    assert clock_hz >= 4 * board.baud


@pytest.mark.parametrize("name", boards.names())
def test_clock_out_of_range_is_refused(name):
    board = boards.load(name)
    with pytest.raises(BuildError, match=r"asked for, but the .* reaches .*; choose --clock"):
        board.family.nearest_clock(board, 5_000_000_000)


@pytest.mark.parametrize("name", boards.names())
def test_design_is_the_same_each_time(name, design_files):
    board = boards.load(name)
    first = design_files(board, SMALL, board.clock_hz)
    assert first == design_files(board, SMALL, board.clock_hz)
    assert not any("/" in name for name in first)


@pytest.mark.parametrize("name", boards.names())
def test_every_memory_is_planned(name):
    board = boards.load(name)
    planned = {memory.name: memory for memory in board.family.memory_plan(SMALL)}
    for part in ("frames", "commands.samples", "commands.hello", "core.sequencer", "core.layer_0"):
        assert any(name.startswith(part) for name in planned), part
    assert all(memory.blocks > 0 for memory in planned.values() if memory.kind != "registers")


def test_wrong_name_names_the_nearest():
    with pytest.raises(BuildError, match=r"no board ulx3s-58f \(did you mean ulx3s-85f\?\)"):
        boards.load("ulx3s-58f")
    with pytest.raises(BuildError, match=r"no board zzz \(there are ulx3s-85f, "):
        boards.load("zzz")


def test_configuration_takes_no_more_memory_than_needed():
    board = boards.load("ulx3s-85f")
    config = configure(board, load_network("mnist-784-128-10"))
    assert config.buffer_bytes == 2048
    assert config.max_steps == load_network("mnist-784-128-10").steps
    assert [layer.lanes for layer in config.layers] == [board.lanes, 10]
    assert config.layers[0].neuron == "sum"
    digits = configure(board, load_network("digits-64-32-10"), [8])
    assert [layer.lanes for layer in digits.layers] == [8, 8]
    assert digits.layers[0].neuron == "current"


def test_the_list_of_boards_needs_no_amaranth():
    script = (
        "import sys\n"
        "from firstspike import boards\n"
        "[boards.load(name) for name in boards.names()]\n"
        "assert not any(name.startswith('amaranth') for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("name", boards.names())
def test_builds_that_learn(name):
    """A board's own lanes are rounded down to what can learn."""
    board = boards.load(name)
    network = load_network("mnist-784-128-10")
    config, other = (configure(board, network, learning=learning) for learning in (True, False))
    assert config.learning
    assert 0 <= other.layers[0].lanes - config.layers[0].lanes < 4
    assert config.layers[1].lanes == other.layers[1].lanes
    assert config.layers[0].current_bits > other.layers[0].current_bits


def test_a_memory_with_an_enable_for_each_lane_takes_a_cell_for_each():
    config = Config(
        [LayerConfig(8, 12, 4, neuron="sum", current_bits=12), LayerConfig(12, 3, 3)],
        8,
        64,
        learning=True,
    )
    planned = {
        memory.name: memory for memory in boards.load("ulx3s-85f").family.memory_plan(config)
    }
    errors = planned["core.layer_0.errors.storage"]
    assert (errors.words, errors.bits, errors.kind, errors.blocks) == (3, 8, "distributed", 4)
