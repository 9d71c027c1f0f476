"""The critical path, out of reports such as nextpnr writes."""

import json

import pytest
from firstspike.boards.cells import TOP, Netlist
from firstspike.boards.timing import Timing
from firstspike.firmware.errors import BuildError

CORE = "accelerator.accelerator.core"
SCOPES = [
    "accelerator",
    "accelerator.accelerator",
    CORE,
    f"{CORE}.layer_0",
    f"{CORE}.layer_0.weights",
    f"{CORE}.layer_0.window",
]


@pytest.fixture
def netlist(tmp_path):
    top = {
        "attributes": {"top": "1"},
        "cells": {name: {"type": "$scopeinfo"} for name in SCOPES},
    }
    (tmp_path / "top.json").write_text(json.dumps({"modules": {"top": top}}))
    return Netlist(tmp_path / "top.json")


def step(kind, delay, source, target):
    ends = {"from": {"cell": source, "loc": [1, 2], "port": "Q"}}
    return ends | {"type": kind, "delay": delay, "to": {"cell": target, "loc": [1, 3], "port": "A"}}


RAM = f"{CORE}.layer_0.weights.storage.0.1"
LUT = f"{CORE}.layer_0.data_TRELLIS_FF_Q_5_DI_LUT4_Z_COMB"
ADDED = "$nextpnr_CCU2C_163"
FF = f"{CORE}.layer_0.window.shift_TRELLIS_FF_Q_5"

PATH = [
    step("clk-to-q", 4.0, RAM, RAM),
    step("routing", 2.5, RAM, LUT),
    step("logic", 0.5, LUT, LUT),
    step("routing", 0.0, LUT, ADDED),
    step("logic", 0.25, ADDED, ADDED),
    step("routing", 2.75, ADDED, FF),
    step("setup", 0.0, FF, FF),
]
TINY = [step("clk-to-q", 0.5, "led_TRELLIS_FF_Q", "led_TRELLIS_FF_Q"), step("setup", 0.1, FF, FF)]


def report(path, **changes):
    """A report on two clocks, of which ``fast`` is further from its constraint."""
    values = {
        "fmax": {
            "slow": {"achieved": 30.0, "constraint": 25.0},
            "fast": {"achieved": 100.0, "constraint": 120.0},
        },
        "critical_paths": [
            {"from": "posedge slow", "to": "posedge slow", "path": TINY},
            {"from": "posedge slow", "to": "posedge fast", "path": TINY},
            {"from": "posedge fast", "to": "posedge fast", "path": PATH},
            {"from": "<async>", "to": "<async>", "path": TINY},
        ],
        "utilization": {},
    }
    path.write_text(json.dumps(values | changes))
    return path


def test_the_path_that_limits_the_clock(tmp_path, netlist):
    timing = Timing.load(report(tmp_path / "report.json"), netlist)
    assert timing.fmax_hz == {"slow": 30e6, "fast": 100e6}
    path = timing.critical
    assert str(path) == (
        "from core.layer_0.weights (storage) to core.layer_0.window (shift), 10.0 ns, 52 % routing"
    )
    assert path.cells == 2
    # The cell that nextpnr added is where its neighbour is.
    assert path.by_component() == [
        ("core.layer_0.weights", 4.0, 2.5),
        ("core.layer_0", 0.75, 2.75),
        ("core.layer_0.window", 0.0, 0.0),
    ]
    assert sum(logic + wires for _, logic, wires in path.by_component()) == path.delay_ns


def test_a_path_from_the_top(tmp_path, netlist):
    clock = {"slow": {"achieved": 30.0, "constraint": 25.0}}
    timing = Timing.load(report(tmp_path / "report.json", fmax=clock), netlist)
    assert timing.critical.start == TOP
    assert str(timing.critical).startswith(
        "from board (led) to core.layer_0.window (shift), 0.6 ns"
    )


def test_no_path(tmp_path, netlist):
    timing = Timing.load(report(tmp_path / "report.json", critical_paths=[]), netlist)
    assert timing.critical is None


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fmax": {"a": {}}, "critical_paths": []}'])
def test_errors(tmp_path, netlist, text):
    path = tmp_path / "report.json"
    path.write_text(text)
    with pytest.raises(BuildError, match="is no report of nextpnr"):
        Timing.load(path, netlist)
    with pytest.raises(BuildError, match=r"none\.json cannot be read"):
        Timing.load(tmp_path / "none.json", netlist)
