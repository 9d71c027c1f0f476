"""The ECP5's clock plan and memory rules."""

import pytest
from firstspike import boards
from firstspike.boards.build import configure
from firstspike.boards.ecp5 import ClockPlan
from firstspike.boards.fit import check_memories
from firstspike.boards.memories import plan
from firstspike.firmware.errors import BuildError
from firstspike.shipped import load_network

BOARD = boards.load("ulx3s-25f")


@pytest.mark.parametrize("oscillator_hz", [12_000_000, 25_000_000, 100_000_000])
@pytest.mark.parametrize("clock_hz", [4_000_000, 25_000_000, 66_666_667, 80_000_000, 387_000_000])
def test_clock_plan_keeps_to_the_data_sheet(oscillator_hz, clock_hz):
    plan = ClockPlan.nearest(oscillator_hz, clock_hz)
    detector = oscillator_hz / plan.input_divider
    assert 10e6 <= detector <= 400e6
    assert 400e6 <= detector * plan.multiplier <= 800e6
    assert 1 <= plan.multiplier <= 128
    assert 1 <= plan.output_divider <= 128
    assert plan.hz == round(detector * plan.multiplier / plan.output_divider)
    assert plan.hz == pytest.approx(clock_hz, rel=0.05)


def test_clock_plan_is_the_nearest_of_all():
    reachable = {
        25e6 / divider * multiplier / output
        for divider in (1, 2)
        for multiplier in range(1, 129)
        for output in range(1, 129)
        if 400e6 <= 25e6 / divider * multiplier <= 800e6
    }
    for clock_hz in range(50_000_000, 140_000_000, 1_234_567):
        best = min(abs(hz - clock_hz) for hz in reachable)
        assert abs(ClockPlan.nearest(25_000_000, clock_hz).hz - clock_hz) <= best + 1


def test_clock_plan_is_exact_where_it_can_be():
    for mhz in (50, 75, 80, 100, 120):
        assert ClockPlan.nearest(25_000_000, mhz * 1_000_000).hz == mhz * 1_000_000


def test_plan_of_a_small_network():
    config = configure(BOARD, load_network("digits-64-32-10"), [16, 10])
    planned = {
        memory.name: (memory.kind, memory.blocks) for memory in BOARD.family.memory_plan(config)
    }
    # As Yosys 0.70 makes them.
    assert planned["frames.memory"] == ("block", 1)
    assert planned["commands.samples.memory"] == ("block", 1)
    assert planned["commands.hello.memory"] == ("block", 1)
    assert planned["framer.encoder.runs.memory"] == ("block", 1)
    assert planned["core.sequencer.row_map"] == ("distributed", 16)
    assert planned["core.layer_0.weights"] == ("block", 4)
    assert planned["core.layer_0.states"] == ("distributed", 132)
    assert planned["core.layer_1.weights.storage"] == ("distributed", 40)


def test_the_accelerator_says_where_its_memories_are():
    config = configure(BOARD, load_network("digits-64-32-10"), [16, 10])
    found = plan(config, BOARD.family.memories, lambda *_: ("block", 1), {})
    names = [memory.name for memory in found]
    assert names == sorted(names)
    assert "core.layer_0.states" in names


def test_model_that_does_not_fit_says_what_would():
    network = load_network("mnist-784-600-10")
    config = configure(BOARD, network)
    with pytest.raises(
        BuildError,
        match=r"784-600-10 at 8 bits needs \d+ block RAMs, but ulx3s-25f has 56; quantise the "
        r"weights to \d bits or train about \d+ neurons in the first layer or choose a larger "
        r"board",
    ):
        check_memories(BOARD, config, BOARD.family.memory_plan(config))
