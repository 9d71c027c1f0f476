"""The example firmware in QEMU: every answer that it prints is the golden model's."""

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from driver_case import IMAGE, make_simulation
from firstspike.firmware.errors import BuildError, Mismatch
from firstspike.sim import golden
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard
from small_learner import CONFIG, NETWORK, make_network, make_samples

ROOT = Path(__file__).parents[2]

specification = importlib.util.spec_from_file_location(
    "microcontroller", ROOT / "examples" / "microcontroller.py"
)
microcontroller = importlib.util.module_from_spec(specification)
sys.modules["microcontroller"] = microcontroller
specification.loader.exec_module(microcontroller)


@pytest.fixture(params=microcontroller.MACHINES)
def machine(request):
    pytest.importorskip("ziglang", reason="there is no cross compiler; pip install ziglang")
    chosen = microcontroller.MACHINES[request.param]
    if not shutil.which(chosen.emulator[0]):
        pytest.skip(
            f"{chosen.emulator[0]} is not installed; apt-get install qemu-system-arm "
            "qemu-system-misc"
        )
    return chosen


def emulate(machine, backend, image, samples, folder):
    program = microcontroller.build(machine, image, samples, folder)
    with PseudoTerminal(VirtualBoard(backend, baud=12_000_000)) as terminal:
        return microcontroller.emulate(machine, program, terminal.path)


@pytest.mark.parametrize("make_backend", [ModelBackend, make_simulation], ids=["model", "gateware"])
def test_answers_are_those_of_the_golden_model(machine, make_backend, tmp_path):
    samples, _ = make_samples(25)
    printed = emulate(machine, make_backend(CONFIG), IMAGE, samples, tmp_path)
    assert printed[-1] == "done"
    microcontroller.check(printed, golden.infer(NETWORK, samples))
    with pytest.raises(Mismatch, match="image 0: the firmware says"):
        microcontroller.check(printed, golden.infer(make_network(seed=77), samples))
    more = golden.infer(NETWORK, np.concatenate([samples, samples[:1]]))
    with pytest.raises(Mismatch, match="printed 25 answers for 26"):
        microcontroller.check(printed, more)


def test_a_device_of_another_configuration(machine, tmp_path):
    other = type(CONFIG)(CONFIG.layers, CONFIG.max_steps + 1, CONFIG.buffer_bytes)
    samples, _ = make_samples(1)
    with pytest.raises(Mismatch, match="built for another configuration"):
        emulate(machine, ModelBackend(other), IMAGE, samples, tmp_path)


def test_firmware_that_does_not_end(machine, tmp_path, monkeypatch):
    program = microcontroller.build(machine, IMAGE, make_samples(1)[0], tmp_path)
    monkeypatch.setattr(microcontroller, "PATIENCE", 0.5)

    class Silence(VirtualBoard):
        def read(self, timeout):
            return b""

    with (
        PseudoTerminal(Silence(ModelBackend(CONFIG), baud=12_000_000)) as terminal,
        pytest.raises(BuildError, match=r"has not ended after 0\.5 s; give it fewer images"),
    ):
        microcontroller.emulate(machine, program, terminal.path)


def test_images_of_a_shipped_network(machine):
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    (name,) = [name for name, entry in microcontroller.MACHINES.items() if entry is machine]
    said = microcontroller.run(name, "digits-64-32-10", "model:", 50)
    assert "every answer as the golden model's, 48 of the labels right" in said


def test_samples_are_those_of_the_network():
    samples, _ = make_samples(4)
    text = microcontroller.samples_source(samples)
    assert text.count("FIRSTSPIKE_BITMAP") + text.count("FIRSTSPIKE_SPIKES") == 4
    assert f"#define SAMPLE_COUNT {len(samples)}" in text
    assert NETWORK.inputs == samples.shape[1]
