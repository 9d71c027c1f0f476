"""Pictures: what they show, and that they are written whole."""

from dataclasses import replace

import numpy as np
import pytest
from firstspike.firmware.errors import BuildError, DataError
from firstspike.firmware.formats import NEVER
from firstspike.firmware.network import Layer, Network
from firstspike.learning import Epoch
from firstspike.sim import golden
from firstspike.sim.random_networks import random_case

pytest.importorskip("matplotlib")

from firstspike import plots


@pytest.mark.parametrize("seed", range(10))
def test_raster_shows_every_spike_up_to_the_decision(seed):
    case = random_case(seed)
    inference = golden.infer(case.network, case.samples[:1])
    figure = plots.raster(case.network, case.samples[0])
    *axes, membranes = figure.axes
    shown = [
        {(int(step), int(index)) for step, index in axis.collections[0].get_offsets()}
        for axis in axes
    ]
    arriving = np.where(case.samples[0] <= inference.step[0], case.samples[0], NEVER)
    expected = [arriving, *(spikes[0] for spikes in inference.spikes)]
    for points, spikes in zip(shown, expected, strict=True):
        fired = np.flatnonzero(spikes != NEVER)
        assert points == {(int(spikes[index]), int(index)) for index in fired}
    # The membranes end where the golden model's do.
    winner = membranes.get_legend_handles_labels()[0][0]
    layer = case.network.layers[-1]
    potential = inference.potential[0, inference.label[0]]
    assert winner.get_ydata()[-1] == pytest.approx(potential / layer.threshold + 1)
    assert len(winner.get_xdata()) == inference.step[0] + 1


def test_decision_steps_counts_samples():
    case = random_case(2, batch=50)
    inference = golden.infer(case.network, case.samples)
    (axis,) = plots.decision_steps(inference).axes
    heights = [bar.get_height() for bar in axis.patches]
    assert heights == np.bincount(inference.step).tolist()


def test_accuracy_by_step_ends_with_the_accuracy():
    case = random_case(2, batch=50)
    inference = golden.infer(case.network, case.samples)
    labels = np.arange(50) % case.network.outputs
    decided, correct = plots.shares_by_step(inference, labels)
    assert decided[-1] == 1
    assert correct[-1] == (inference.label == labels).mean()
    assert (np.diff(decided) >= 0).all()
    assert (correct <= decided).all()
    for step, (share, right) in enumerate(zip(decided, correct, strict=True)):
        early = inference.step <= step
        assert share == pytest.approx(early.mean())
        assert right == pytest.approx((early & (inference.label == labels)).mean())
    plots.accuracy_by_step(inference, labels)


def test_errors():
    network = Network([Layer(np.ones((3, 2), np.int8), 4, 10)], 10)
    empty = golden.infer(network, np.zeros((0, 3), np.int32))
    with pytest.raises(DataError, match="there are no samples"):
        plots.decision_steps(empty)
    with pytest.raises(DataError, match="0 samples and labels of shape"):
        plots.accuracy_by_step(empty, np.zeros(2))
    with pytest.raises(DataError, match="samples have shape"):
        plots.raster(network, np.zeros(4, np.int32))


@pytest.mark.parametrize(
    ("name", "start"), [("a.png", b"\x89PNG"), ("a.SVG", b"<?xml"), ("a.pdf", b"%PDF")]
)
def test_files_are_a_function_of_the_picture(tmp_path, name, start):
    case = random_case(2)
    contents = []
    for _ in range(2):
        plots.save(plots.raster(case.network, case.samples[0]), tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]
    assert contents[0].startswith(start)
    with pytest.raises(DataError, match="must end in"):
        plots.save(plots.raster(case.network, case.samples[0]), tmp_path / "a.gif")


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.figure", None)
    case = random_case(2)
    with pytest.raises(BuildError, match=r"pip install 'firstspike\[plot\]'"):
        plots.raster(case.network, case.samples[0])


def test_a_learning_curve():
    history = [
        Epoch(1, 100, 0.5, None, None, (20.0, 30.0), (1.0, 0.5), 10.0),
        Epoch(2, 200, 0.75, None, None, (20.0, 30.0), (0.5, 0.25), 10.0),
    ]
    accuracy, rates = plots.learning_curve(history, test=0.7).axes
    learning, test = accuracy.lines
    assert (learning.get_xdata().tolist(), learning.get_ydata().tolist()) == ([100, 200], [50, 75])
    assert test.get_ydata() == [70, 70]
    assert [list(line.get_ydata()) for line in rates.lines] == [[1.0, 0.5], [0.5, 0.25]]
    validated = [replace(epoch, validation=0.5) for epoch in history]
    labels = plots.learning_curve(validated).axes[0].get_legend_handles_labels()[1]
    assert labels == ["while learning", "validation"]
    with pytest.raises(DataError, match="no epoch to draw"):
        plots.learning_curve([])
