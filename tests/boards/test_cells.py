"""Resources by component: names that tools make, and the types of three families."""

import json

import pytest
from firstspike.boards import tools
from firstspike.boards.board import Resources, Step
from firstspike.boards.cells import TOP, Netlist, part_of
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import BuildError

CELLS = {
    "LUT4": Resources(luts=1),
    "CCU2C": Resources(luts=2, carries=1),
    "TRELLIS_FF": Resources(ffs=1),
    "DP16KD": Resources(block_rams=1),
    "TRELLIS_DPR16X4": Resources(luts=4, distributed_rams=1),
}

SCOPES = [
    "accelerator",
    "accelerator.accelerator",
    "accelerator.accelerator.commands",
    "accelerator.accelerator.commands.crc$108",
    "accelerator.accelerator.core",
    "accelerator.accelerator.core.layer_0",
    "accelerator.accelerator.core.layer_0.neuron_12",
    "accelerator.accelerator.core.layer_0.weights",
    "accelerator.receiver",
]


def write(path, cells, scopes=SCOPES):
    """A netlist with cells of the given names and types."""
    cells = cells | dict.fromkeys(scopes, "$scopeinfo")
    modules = {
        "LUT4": {"attributes": {"blackbox": "1"}, "cells": {}},
        "top": {
            "attributes": {"top": "00000000000000000000000000000001"},
            "cells": {name: {"type": kind} for name, kind in cells.items()},
        },
    }
    path.write_text(json.dumps({"modules": modules}))
    return Netlist(path)


@pytest.mark.parametrize(
    ("name", "component", "signal"),
    [
        ("accelerator.accelerator.commands.word_TRELLIS_FF_Q_22", "commands", "word"),
        (
            "accelerator.accelerator.commands.crc$108.crc_reg_TRELLIS_FF_Q",
            "commands.crc",
            "crc_reg",
        ),
        (
            "accelerator.accelerator.core.layer_0.weights.storage.0.1",
            "core.layer_0.weights",
            "storage",
        ),
        ("accelerator.accelerator.core.layer_0.states[2]_SB_DFFE_Q_136", "core.layer_0", "states"),
        ("accelerator.accelerator.core.layer_0.data_LUT4_Z$lc_COMB1", "core.layer_0", "data"),
        ("accelerator.accelerator.core.layer_0.$signature__data$48_DFF_Q", "core.layer_0", ""),
        ("accelerator.accelerator.core.layer_0.neuron_12.next", "core.layer_0.neuron_12", "next"),
        ("accelerator.accelerator.bus__value_SB_DFFE_Q_30", "accelerator", "bus__value"),
        ("accelerator.receiver.left_SB_DFFESR_Q", "receiver", "left"),
        ("tx_TRELLIS_FF_Q", "", "tx"),
        ("$nextpnr_ICESTORM_LC_33", "", ""),
    ],
)
def test_names(tmp_path, name, component, signal):
    netlist = write(tmp_path / "top.json", {})
    assert netlist.component(name) == component
    assert netlist.signal(name) == signal


def test_parts():
    assert part_of("core.layer_0.weights.block_3") == "core.layer_0.weights"
    assert part_of("core.layer_0.neuron_12") == "core.layer_0"
    assert part_of("core.scanner_0.queue") == "core.scanner_0"
    assert part_of("core") == "core"
    assert part_of("commands.crc") == "commands"
    assert part_of("pin_uart_0__tx") == TOP
    assert part_of("") == ""


def test_resources(tmp_path):
    netlist = write(
        tmp_path / "top.json",
        {
            "tx_TRELLIS_FF_Q": "TRELLIS_FF",
            "accelerator.accelerator.core.layer_0.a_LUT4_Z": "LUT4",
            "accelerator.accelerator.core.layer_0.neuron_12.a_CCU2C_S0": "CCU2C",
            "accelerator.accelerator.core.layer_0.a_PFUMX_Z": "PFUMX",
            "accelerator.accelerator.core.layer_0.weights.storage.0.0": "DP16KD",
            "accelerator.accelerator.core.layer_0.weights.storage.0.1": "DP16KD",
            "accelerator.receiver.a_TRELLIS_FF_Q": "TRELLIS_FF",
        },
    )
    assert netlist.counts["DP16KD"] == 2
    assert netlist.resources(CELLS) == {
        TOP: Resources(ffs=1),
        "core.layer_0": Resources(luts=3, carries=1),
        "core.layer_0.weights": Resources(block_rams=2),
        "receiver": Resources(ffs=1),
    }


@pytest.fixture(scope="module")
def synthesised(tmp_path_factory):
    """The core of a small network as Yosys writes it for an ECP5."""
    pytest.importorskip("amaranth")
    from amaranth.back import rtlil
    from amaranth.hdl import Module
    from amaranth.lib import wiring
    from firstspike.hdl.core import Core

    class Top(wiring.Component):
        def __init__(self, config):
            self.core = Core(config)
            super().__init__(self.core.signature)

        def elaborate(self, platform):
            m = Module()
            m.submodules.core = self.core
            wiring.connect(m, wiring.flipped(self), self.core)
            return m

    try:
        tools.find("yosys")
    except BuildError as error:
        pytest.skip(str(error))
    config = Config([LayerConfig(40, 12, 3, 4, 3, 9, 12), LayerConfig(12, 3, 3, 4, 3, 8, 12)], 16)
    folder = tmp_path_factory.mktemp("synthesised")
    (folder / "top.il").write_text(rtlil.convert(Top(config), name="top"))
    script = "read_rtlil top.il; synth_ecp5 -top top -json top.json"
    tools.run(Step("synthesise", "yosys", ("-q", "-p", script), "yosys.log"), folder)
    return Netlist(folder / "top.json")


def test_every_cell_of_a_real_netlist_is_counted(synthesised):
    parts = synthesised.resources(CELLS)
    whole = sum(parts.values(), Resources())
    assert whole == Resources.of(synthesised.counts, CELLS)
    assert {"core.layer_0", "core.layer_0.weights", "core.scanner_0", "core.decision"} <= set(parts)
    assert parts["core.layer_0"].luts > 100
    assert parts["core.layer_0.weights"].block_rams == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is no netlist of Yosys"),
        ("[]", "is no netlist of Yosys"),
        ('{"modules": {}}', "is no netlist of Yosys"),
        ('{"modules": {"a": {"attributes": {"top": "1"}, "cells": {}}}}', "does not say what"),
    ],
)
def test_errors(tmp_path, text, sentence):
    path = tmp_path / "top.json"
    path.write_text(text)
    with pytest.raises(BuildError, match=sentence):
        Netlist(path)
    with pytest.raises(BuildError, match=r"none\.json cannot be read"):
        Netlist(tmp_path / "none.json")
