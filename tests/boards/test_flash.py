"""Builds that boot from flash: the pins, the clock of a flash that has none, what is refused."""

import pytest
from amaranth_boards.icebreaker import ICEBreakerPlatform
from firstspike import boards
from firstspike.boards.build import build, configure
from firstspike.boards.top import Top
from firstspike.firmware.errors import DataError
from firstspike.shipped import load_network

NAMES = ("icebreaker", "icesugar", "ulx3s-85f", "ulx3s-25f")


def files(name, boot_flash):
    board = boards.load(name)
    config = configure(board, load_network("digits-64-32-10"), [4])
    top = Top(board, config, clock_hz=25_000_000, baud=1_000_000, boot_flash=boot_flash)
    plan = board.platform().prepare(top, "top", **board.family.overrides(25_000_000))
    return {name: plan.files[name] for name in ("top.il", *plan.files) if name.startswith("top.")}


@pytest.mark.parametrize("name", NAMES)
def test_without_it_there_is_nothing_of_it(name):
    for contents in files(name, None).values():
        text = contents.decode() if isinstance(contents, bytes) else contents
        assert "flash" not in text
        assert "USRMCLK" not in text


@pytest.mark.parametrize("name", ["icebreaker", "icesugar"])
def test_pins_of_an_ice40(name):
    """Those that the part is configured by."""
    constraints = str(files(name, 0x100000)["top.pcf"])
    flash = ICEBreakerPlatform().lookup("spi_flash_1x", 0)
    for signal, pin in {"cs": "16", "clk": "15", "copi": "14", "cipo": "17"}.items():
        assert signal in {member.name for member in flash.ios}
        assert f"set_io spi_flash_1x_0__{signal}__io {pin}" in constraints


@pytest.mark.parametrize("name", ["ulx3s-85f", "ulx3s-25f"])
def test_the_clock_of_an_ecp5(name):
    made = files(name, 0x200000)
    assert "USRMCLK" in str(made["top.il"])
    constraints = str(made["top.lpf"])
    for signal, pin in {"cs": "R2", "copi": "W2", "cipo": "V2"}.items():
        assert f'LOCATE COMP "spi_flash_0__{signal}__io" SITE "{pin}"' in constraints
    assert "spi_flash_0__clk" not in constraints


def test_what_is_refused():
    network = load_network("digits-64-32-10")
    arty = boards.load("arty-a7-100t")
    with pytest.raises(DataError, match="arty-a7-100t has no flash that a model could be booted"):
        build(arty, configure(arty, network), boot_flash=0x100000)
    board = boards.load("icebreaker")
    for address in (-1, 7, 1 << 24):
        with pytest.raises(DataError, match="choose the start of one behind the bitstream"):
            build(board, configure(board, network), boot_flash=address)
