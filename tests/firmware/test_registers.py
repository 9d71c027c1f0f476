from dataclasses import replace
from pathlib import Path

import pytest
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.registers import REGISTERS, register_map, register_values, to_markdown

CONFIG = Config([LayerConfig(12, 5, 4, membrane_bits=16), LayerConfig(5, 3, 2)], max_steps=30)


def test_names_and_addresses_are_unique() -> None:
    most = Config([LayerConfig(4, 4, 4) for _ in range(15)])
    names, addresses, _ = zip(*register_map(most), strict=True)
    assert len(set(names)) == len(names)
    assert len(set(addresses)) == len(addresses)


def test_every_writable_register_has_its_values() -> None:
    values = register_values(CONFIG)
    writable = [name for name, _, register in register_map(CONFIG) if register.writable]
    assert list(values) == writable
    for name, _, register in register_map(CONFIG):
        if register.writable:
            assert register.reset in values[name], name
    assert values["steps"][-1] == 30
    assert values["classes"][-1] == 3
    assert values["threshold_0"][-1] == 1 << 15
    assert values["threshold_1"][-1] == 1 << 19


def test_a_generator_is_never_0() -> None:
    values = register_values(replace(CONFIG, learning=True, layers=[LayerConfig(12, 5, 5)]))
    assert values["random_update"] == range(1, 1 << 32)


def test_one_register_a_layer() -> None:
    thresholds = [a for name, a, _ in register_map(CONFIG) if name.startswith("threshold")]
    assert thresholds == [0x10, 0x11]


@pytest.mark.parametrize("register", REGISTERS, ids=lambda register: register.name)
def test_the_table_lists_every_register(register) -> None:
    (row,) = [line for line in to_markdown().splitlines() if f"`{register.name}`" in line]
    assert f"0x{register.address:02x}" in row
    assert register.text in row


def test_the_documentation_holds_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "link.md"
    assert to_markdown() in page.read_text()
