import gc
import re
import warnings

import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import DataError
from firstspike.hdl.accelerator import Accelerator, SerialAccelerator
from firstspike.hdl.core import Core
from firstspike.hdl.verilog import check_name, to_verilog

CONFIG = Config([LayerConfig(12, 6, 3), LayerConfig(6, 3, 3)], max_steps=30, buffer_bytes=128)


def ports(text: str, name: str) -> set[str]:
    """Ports of the top module."""
    (listed,) = re.findall(rf"^module {name}\(([^)]*)\);", text, re.MULTILINE)
    return {port.strip() for port in listed.split(",")}


STREAM = {f"{side}__{part}" for side in "io" for part in ("payload", "valid", "ready")}
ACCELERATOR = {"clk", "rst", "line_error"} | STREAM


def test_ports_of_the_accelerator() -> None:
    text = to_verilog(Accelerator(CONFIG, clock_hz=25_000_000), "accelerator")
    assert ports(text, "accelerator") == ACCELERATOR


def test_trace_ports_are_there_on_request() -> None:
    text = to_verilog(Accelerator(CONFIG, clock_hz=1, trace=True), "accelerator")
    members = ("valid", "step", "group", "spikes", "membranes")
    traces = {f"trace_{layer}__{member}" for layer in range(2) for member in members}
    assert ports(text, "accelerator") == ACCELERATOR | traces


def test_ports_of_the_serial_accelerator() -> None:
    component = SerialAccelerator(CONFIG, clock_hz=25_000_000, baud=3_000_000)
    assert ports(to_verilog(component, "top"), "top") == {"clk", "rst", "rx", "tx"}


def test_ports_of_the_core() -> None:
    text = to_verilog(Core(CONFIG), "core")
    memory = {"region", "word", "shift", "byte", "store", "fetch", "byte_out"}
    assert ports(text, "core") == (
        {"clk", "rst", "idle", "steps", "classes", "thresholds__0", "thresholds__1"}
        | STREAM
        | {f"memory__{member}" for member in memory}
    )


def test_the_comment_tells_where_fields_lie() -> None:
    text = to_verilog(Core(CONFIG), "core")
    for line in (
        "// input  i__payload[9:0]",
        "//     [0]      end",
        "//     [5:1]    step",
        "//     [9:6]    index",
        "//     [47:44]  rows.1",
    ):
        assert line in text.splitlines()


def test_the_same_component_gives_the_same_text() -> None:
    one, other = (to_verilog(Accelerator(CONFIG, clock_hz=1), "a") for _ in range(2))
    assert one == other


def test_two_exports_can_live_in_one_design() -> None:
    texts = [to_verilog(Accelerator(CONFIG, clock_hz=1), name) for name in ("one", "two")]
    modules = [set(re.findall(r"^module (\S+)", text, re.MULTILINE)) for text in texts]
    assert not modules[0] & modules[1]


@pytest.mark.parametrize("name", ["a", "_1", "a$b", "Module", "logic"])
def test_names_that_modules_can_have(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize("name", ["module", "wire", "1a", "$a", "a-b", "a.b", "é", "a\n", ""])
def test_names_that_no_module_can_have(name: str) -> None:
    with pytest.raises(DataError, match="Verilog; choose"):
        check_name(name)


def test_the_name_is_checked() -> None:
    component = Accelerator(CONFIG, clock_hz=1)
    with pytest.raises(DataError, match="module is a keyword of Verilog"):
        to_verilog(component, "module")
    to_verilog(component, "used")


@pytest.mark.parametrize("clock_hz", [-1, 1 << 32])
def test_a_clock_is_one_of_32_bits(clock_hz: int) -> None:
    with warnings.catch_warnings():
        # Amaranth's, of a component that is not used.
        warnings.simplefilter("ignore")
        with pytest.raises(DataError, match="tells its clock in 32 bits"):
            Accelerator(CONFIG, clock_hz=clock_hz)
        with pytest.raises(DataError, match="tells its clock in 32 bits"):
            SerialAccelerator(CONFIG, clock_hz=clock_hz, baud=1)
        gc.collect()
    assert to_verilog(Accelerator(CONFIG, clock_hz=(1 << 32) - 1), "fast")
