"""The Gowin family: clock plans, memories and pins."""

import pytest
from firstspike import boards
from firstspike.boards.build import configure
from firstspike.boards.gowin import GOWIN, ClockPlan
from firstspike.firmware.errors import BuildError
from firstspike.shipped import load_network


@pytest.mark.parametrize("asked", [9_000_000, 27_000_000, 54_000_000, 75_000_000, 108_000_000])
def test_clock_plan(asked):
    plan = ClockPlan.nearest(27_000_000, asked)
    assert abs(plan.hz - asked) <= 0.02 * asked
    assert plan.hz == round(27_000_000 * plan.multiplier / plan.input_divider)
    assert 500e6 <= plan.hz * plan.output_divider <= 1250e6
    assert 27e6 / plan.input_divider >= 3e6
    assert plan.input_divider <= 64
    assert plan.multiplier <= 64


@pytest.mark.parametrize("asked", [1_000_000, 700_000_000])
def test_clock_out_of_range(asked):
    with pytest.raises(BuildError, match=r"the PLL of a GW2A reaches 3\.90625 to 625 MHz"):
        ClockPlan.nearest(27_000_000, asked)


def test_default_network_fits():
    board = boards.load("tang-primer-20k")
    planned = GOWIN.memory_plan(configure(board, load_network("mnist-784-128-10")))
    kinds = {memory.name: memory.kind for memory in planned}
    assert kinds["core.layer_0.weights.storage"] == "block"
    assert kinds["core.layer_1.weights.storage"] == "distributed"
    blocks = sum(memory.blocks for memory in planned if memory.kind == "block")
    assert blocks <= board.resources.block_rams


def test_pins(design_files):
    board = boards.load("tang-primer-20k")
    config = configure(board, load_network("digits-64-32-10"), [4])
    constraints = design_files(board, config, 54_000_000)["top.cst"]
    lines = constraints.replace(";", "").replace('"', "").splitlines()
    pins = dict(line.split()[1:3] for line in lines if line.startswith("IO_LOC"))
    assert pins == {
        "clk27_0__io": "H11",
        "uart_0__rx__io": "T13",
        "uart_0__tx__io": "M11",
        "led_0__io": "C13",
    }


def test_steps():
    board = boards.load("tang-primer-20k")
    steps = GOWIN.commands(board, constraint_hz=54_000_000, seed=7)
    assert [step.tool for step in steps] == ["yosys", "nextpnr-himbaechel-gowin", "gowin_pack"]
    place = steps[1].arguments
    assert place[place.index("--device") + 1] == "GW2A-LV18PG256C8/I7"
    assert place[place.index("--freq") + 1] == "54"
    assert "family=GW2A-18C" in place
