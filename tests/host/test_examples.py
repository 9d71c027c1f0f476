"""The examples run, and write what they say."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from firstspike.learning import Schedule, initial_network

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_adapt(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    script = EXAMPLES / "adapt.py"
    result = subprocess.run(
        [sys.executable, script, "--quick", "--out", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    curves = {curve["name"]: curve for curve in json.loads((tmp_path / "adapt.json").read_text())}
    rotated = curves["rotated by 60°"]["accuracy"]
    assert rotated[0] < 0.4
    assert rotated[-1] > 0.85
    assert curves["new class 9"]["accuracy"][0] < 0.1
    assert curves["new class 9"]["accuracy"][-1] > 0.6
    assert (tmp_path / "adapt.txt").read_text() == result.stdout
    assert (tmp_path / "adapt.png").read_bytes().startswith(b"\x89PNG")


def test_adapt_on_a_device(monkeypatch):
    """The device goes the way of the golden learner, to the last answer."""
    spec = importlib.util.spec_from_file_location("adapt", EXAMPLES / "adapt.py")
    adapt = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "adapt", adapt)
    spec.loader.exec_module(adapt)
    random = np.random.default_rng(3)
    used = np.arange(30) > 5
    network = initial_network([30, 24, 4], used=used, charges=(100, 100))
    # What was dark before is not any more.
    samples = np.where(random.random((200, 30)) < 0.4, 0, -1)
    labels = random.integers(0, 4, 200)
    batches = [(samples[start : start + 50], labels[start : start + 50]) for start in (0, 50, 100)]
    tests = [(samples, labels), (samples[150:], labels[150:])]
    golden, device = (
        adapt.adapt(network, batches, Schedule(hold=0.0, margin=5), tests, port=port)
        for port in (None, "model:")
    )
    assert golden == device
    learned, (curve, _) = golden
    assert learned == [0, 50, 100, 150]
    assert len(set(curve)) > 1
