"""Nothing is compiled any more once a board that is not there was made."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import numpy as np
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.network import Layer, Network
from firstspike.firmware.learning import Progress, Rule
import firstspike
from firstspike.sim import cycles, kernels

weight, wide, learning = int(sys.argv[1]), sys.argv[2] == "wide", sys.argv[3] == "learning"

def compiled():
    return {
        name: len(function.signatures)
        for module in (cycles, kernels)
        for name, function in vars(module).items()
        if hasattr(function, "signatures")
    }

def make(weight):
    return Network(
        [Layer(np.full((300, 4), weight), 3, 300), Layer(np.ones((4, 2), int), 2, 2)], steps=8
    )

config = Config.for_network(make(127 if wide else weight), learning=learning)
assert (config.layers[0].current_bits > 16) == (wide or learning), config
network = make(weight)
device = firstspike.open("model:", config=config)
before = compiled()
assert before["infer"] and before["run"]
device.load(network)
samples = np.zeros((3, 300), np.int32)
device.infer(samples)
if learning:
    device.learn(samples, np.zeros(3, int), Rule([9, 9]), Progress.start(2, seed=1))
assert compiled() == before, (before, compiled())
"""


@pytest.mark.parametrize(
    ("weight", "width", "learning"),
    [(1, "narrow", "plain"), (127, "wide", "plain"), (1, "wide", "plain"), (1, "wide", "learning")],
)
def test_what_a_board_uses_is_compiled_when_it_is_made(weight, width, learning):
    command = [sys.executable, "-c", PROGRAM, str(weight), width, learning]
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, result.stderr
