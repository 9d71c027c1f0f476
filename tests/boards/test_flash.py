"""Builds that boot from flash: the pins, the clock of a flash that has none, what is refused."""

import json

import pytest
from amaranth_boards.icebreaker import ICEBreakerPlatform
from firstspike import boards
from firstspike.boards.build import build, configure
from firstspike.boards.top import Top
from firstspike.cli import main
from firstspike.commands import flash as command
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError
from firstspike.firmware.flash import read_flash
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


DIGITS = "digits-64-32-10"


@pytest.fixture
def image(tmp_path):
    """The image of a network for one board, and for the smallest build; and the output's path."""
    network = load_network(DIGITS)
    compile(network, board="icebreaker").save(tmp_path / "board.image")
    compile(network).save(tmp_path / "small.image")
    return tmp_path


def run(capsys, *arguments):
    status = main(["flash", *map(str, arguments)])
    return status, capsys.readouterr()


def test_an_image_for_a_board(image, capsys):
    output = image / "model.bin"
    status, said = run(
        capsys, image / "board.image", "--board", "icebreaker", "--json", "-o", output
    )
    assert status == 0, said.err
    config = configure(boards.load("icebreaker"), load_network(DIGITS))
    assert json.loads(said.out)["digest"] == f"{config.digest:016x}"
    assert read_flash(output.read_bytes(), config).network().shape == (64, 32, 10)


@pytest.mark.parametrize("choice", ["board", "config"])
def test_an_image_for_another_build(image, capsys, choice):
    """A device would not boot it, and say nothing."""
    output, value = image / "model.bin", "icebreaker"
    if choice == "config":
        value = image / "device.json"
        value.write_text(configure(boards.load("icebreaker"), load_network(DIGITS)).to_json())
    status, said = run(capsys, image / "small.image", f"--{choice}", value, "-o", output)
    assert status != 0
    assert f"compiled for another configuration than that of {value}; give the network" in said.err
    assert not output.exists()


def test_a_network_for_a_board_and_for_a_configuration(image, capsys):
    config = Config.for_network(load_network(DIGITS), [8, 2])
    (image / "device.json").write_text(config.to_json())
    for option, digest in (
        (("--board", "icebreaker"), configure(boards.load("icebreaker"), load_network(DIGITS))),
        (("--config", image / "device.json"), config),
    ):
        status, said = run(capsys, DIGITS, *option, "--json", "-o", image / "model.bin")
        assert status == 0, said.err
        assert json.loads(said.out)["digest"] == f"{digest.digest:016x}"


def test_what_is_written_is_read_back_first(image, capsys, monkeypatch):
    write = command.write_flash
    monkeypatch.setattr(command, "write_flash", lambda image: write(image)[:-1] + b"?")
    status, said = run(capsys, DIGITS, "-o", image / "model.bin")
    assert status != 0
    assert "truncated or was changed" in said.err
    assert not (image / "model.bin").exists()


@pytest.mark.parametrize(
    ("network", "board", "sentence"),
    [
        (DIGITS, "arty-a7-100t", "has no flash that a model could be booted from"),
        ("mnist-784-600-10", "icebreaker", "3215 kbit of weights, but icebreaker has at most"),
    ],
)
def test_a_board_that_cannot_boot_it(tmp_path, capsys, network, board, sentence):
    output = tmp_path / "model.bin"
    status, said = run(capsys, network, "--board", board, "-o", output)
    assert status != 0
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert not output.exists()
