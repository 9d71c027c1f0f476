"""Learning from the host: networks to start from, schedules, passes over the data, checkpoints."""

import shutil
import subprocess
import sys
from dataclasses import replace

import firstspike
import numpy as np
import pytest
from firstspike import cli, encode
from firstspike.augment import Distortion, shifted
from firstspike.commands import common
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import CapacityError, DataError, ModelFileError
from firstspike.firmware.learning import ALWAYS, Progress
from firstspike.firmware.network import Layer, Network
from firstspike.learning import (
    Checkpoint,
    Fit,
    Schedule,
    initial_network,
    learning_config,
    new_learner,
    suggested_schedule,
)
from firstspike.sim.pty import PseudoTerminal
from firstspike.sim.virtual_board import ModelBackend, VirtualBoard

ENCODER = encode.Binary()


def make_images(count=300, seed=4):
    """Bars of three directions in 9×9 pixels, and which direction each has."""
    random = np.random.default_rng(seed)
    images = (random.random((count, 9, 9)) < 0.05) * np.uint8(200)
    labels = random.integers(0, 3, count)
    for image, label, place in zip(images, labels, random.integers(1, 8, count), strict=True):
        if label == 0:
            image[place] = 255
        elif label == 1:
            image[:, place] = 255
        else:
            np.fill_diagonal(image, 255)
    return images, labels


X, Y = make_images()
NETWORK = initial_network([81, 16, 3], k=4, steps=32, charges=(100, 100))


def same(one, other):
    """Whether two networks have the same weights."""
    return all(
        (a.weights == b.weights).all() for a, b in zip(one.layers, other.layers, strict=True)
    )


# Networks to start from


def test_an_initial_network():
    used = np.arange(81) % 5 > 0
    network = initial_network(
        [81, 30, 20, 3], used=used, seed=3, k=3, steps=20, charges=(200, 100), dataset="bars"
    )
    assert network.shape == (81, 30, 20, 3)
    assert network.meta == {"dataset": "bars"}
    assert network.steps == 20
    assert [(layer.k, layer.threshold) for layer in network.layers] == [
        (3, 1600),
        (3, 1600),
        (3, 800),
    ]
    assert (network.layers[0].weights.any(axis=1) == used).all()
    first, _, last = (layer.weights for layer in network.layers)
    assert first[used].mean() == pytest.approx(-4, abs=1)
    assert first[used].std() == pytest.approx(8, abs=1)
    assert last.std() == pytest.approx(6, abs=1)
    again = initial_network([81, 30, 20, 3], used=used, seed=3, k=3, steps=20, charges=(200, 100))
    other = initial_network([81, 30, 20, 3], used=used, seed=4, k=3, steps=20, charges=(200, 100))
    assert same(network, again)
    assert not same(network, other)


def test_every_input_in_use_has_a_row_at_the_start():
    network = initial_network([50, 2, 2], hidden=(0.0, 0.001), weight_bits=4)
    assert network.layers[0].weights.any(axis=1).all()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"shape": [784]}, "the shape is 784, but it needs inputs"),
        ({"shape": [4, 0, 2]}, "the shape is 4-0-2"),
        ({"shape": [4, 2], "used": np.zeros(4)}, "0 of 4 are in use"),
        ({"shape": [4, 2], "used": np.ones(5)}, "of 4 inputs, 5 of 5 are in use"),
        ({"shape": [4, 2], "k": 9}, "decay shift k is 9"),
        ({"shape": [4, 2], "seed": -1}, "the seed is -1, but it is at least 0"),
    ],
)
def test_impossible_initial_networks(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        initial_network(**arguments)


# Compiling for accelerators that learn


def test_an_image_for_an_accelerator_that_learns():
    config = learning_config(NETWORK, 8)
    image = compile(NETWORK, config)
    assert config.learning
    assert image.registers["learned"] == 0
    assert image.registers["rate_1"] == 0
    assert image.registers["random_update"] == 1
    assert same(image.network(), NETWORK)


def test_currents_are_as_wide_as_any_weights_need():
    """Weights that fit today need not fit after learning."""
    narrow = Config.for_network(NETWORK, 8)
    compile(NETWORK, narrow)
    with pytest.raises(CapacityError, match="layer 0, neuron 0: weights that are learned may sum"):
        compile(NETWORK, replace(narrow, learning=True))


def test_rows_of_inputs_without_weights():
    weights = NETWORK.layers[0].weights.copy()
    weights[[2, 5]] = 0
    network = replace(
        NETWORK, layers=[replace(NETWORK.layers[0], weights=weights), NETWORK.layers[1]]
    )
    has_row = np.arange(81) != 5
    config = learning_config(network, 8, has_row)
    assert config.layers[0].rows == 80
    image = compile(network, config, has_row=has_row)
    assert same(image.network(), network)
    rows = np.frombuffer(image.regions["row_map"], "<u2")
    assert (rows > 0).tolist() == has_row.tolist()
    with pytest.raises(CapacityError, match="uses 81 weight rows"):
        compile(network, config, has_row=np.ones(81, bool))
    with pytest.raises(DataError, match="input 7 has weights, so it needs a row"):
        compile(network, config, has_row=np.arange(81) != 7)
    with pytest.raises(DataError, match="has_row is float64"):
        compile(network, config, has_row=np.ones(81))


@pytest.mark.parametrize(
    ("shape", "activity", "dropout"),
    [
        ([784, 600, 10], 12, (0.2, 0.1)),
        ([784, 600, 300, 10], 6, (0.2, 0.1)),
        ([784, 300, 260, 10], 5, (0.1, 0.05)),
        ([64, 32, 10], 4, (0.1, 0.05)),
        ([64, 10], 4, (0.1, 0.05)),
    ],
)
def test_settings_suit_the_network(shape, activity, dropout):
    schedule = suggested_schedule(shape)
    assert schedule.activity == activity
    assert (schedule.dropout, schedule.input_dropout) == dropout


def test_the_defaults_are_those_of_a_large_network():
    assert suggested_schedule([784, 600, 10]) == Schedule()


# Schedules


@pytest.mark.parametrize(
    ("anneal", "half"), [("linear", 0.505), ("cosine", 0.505), ("exponential", 0.1)]
)
def test_rates_over_training(anneal, half):
    schedule = Schedule([1.0], [0.01], anneal, hold=0.0, restart=0.0, margin=1, dropout=0.5,
                        input_dropout=0.25, activity=7, step=3, dead_zone=5)  # fmt: skip
    first, middle, last = (schedule.rule(moment, 3) for moment in (0, 0.5, 1))
    assert first.rates == (ALWAYS,) * 3
    assert middle.rates == (round(half * ALWAYS),) * 3
    assert last.rates == (655,) * 3
    assert (first.margin, first.dropout, first.activity, first.step) == (1, 32768, 7, 3)
    assert (first.input_dropout, first.dead_zone) == (16384, 5)


def test_rates_start_anew():
    """They fall to a tenth in the second half of the share."""
    schedule = Schedule([1.0, 0.5], [0.0], hold=0.5, restart=0.2)
    for moment, part in ((0.0, 1.0), (0.1, 1.0), (0.15, 0.55), (0.2 - 1e-9, 0.1), (0.2, 1.0)):
        assert schedule.rule(moment, 2).rates == (round(part * ALWAYS), round(part * ALWAYS / 2))
    annealed = Schedule([1.0], [0.0], hold=0.0, restart=0.5).rule(0.375, 1)
    assert annealed.rates == (round(0.55 * 0.625 * ALWAYS),)


def test_rates_of_each_layer():
    schedule = Schedule([1.0, 0.5], [0.0, 0.25], hold=0.5, restart=0.0)
    assert schedule.rule(0.5, 2).rates == (ALWAYS, ALWAYS // 2)
    assert schedule.rule(0.75, 2).rates == (ALWAYS // 2, ALWAYS * 3 // 8)
    with pytest.raises(DataError, match="2 rates were given, but the network has 3 layers"):
        Schedule([1.0, 0.5]).rule(0, 3)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"anneal": "slow"}, "no way slow to change the rates; choose one of linear"),
        ({"first": [1.5]}, "a rate is 1.5"),
        ({"last": [float("nan")]}, "a rate is nan"),
        ({"last": [0.0], "anneal": "exponential"}, "must be above 0"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"hold": 1.0}, "hold is 1.0"),
        ({"restart": -0.1}, "restart is -0.1"),
    ],
)
def test_impossible_schedules(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        Schedule(**arguments)


# Passes over the data

SCHEDULE = Schedule(
    hold=0.0, margin=1, dropout=0.1, input_dropout=0.05, activity=3, step=2, dead_zone=1
)


def fit(pupil=None, **changes):
    """A run over the bars, with everything random switched on."""
    arguments = {
        "epochs": 3,
        "schedule": SCHEDULE,
        "encoder": ENCODER,
        "distortion": Distortion(rotation=2),
        "shift": 1,
        "batch": 70,
    }
    return Fit(new_learner(NETWORK) if pupil is None else pupil, X, Y, **arguments | changes)


def test_it_learns():
    x, y = make_images(200, seed=9)
    schedule = replace(SCHEDULE, input_dropout=0.0)
    run = fit(epochs=12, schedule=schedule, validation=(x, y), shift=0, distortion=None)
    history = list(run)
    assert history == run.history
    assert [epoch.epoch for epoch in history] == list(range(1, 13))
    assert history[-1].learned == 12 * len(X)
    assert history[0].accuracy < 0.6
    assert history[-1].validation > 0.9
    assert history[-1].erred < history[0].erred
    assert history[0].rates[0] > history[-1].rates[0] > 0
    assert history[-1].rows[0] > 9
    inference = new_learner(run.network).infer(ENCODER.encode(x))
    assert (inference.label == y).mean() == history[-1].validation
    assert "validation" in str(history[-1])


def comparable(history):
    """Epochs without the time that they took."""
    return [replace(epoch, samples_per_second=0) for epoch in history]


@pytest.fixture(scope="module")
def uninterrupted():
    run = fit()
    list(run)
    return run.state()


def test_the_same_settings_give_the_same_weights(uninterrupted):
    again, other = fit(), fit(seed=2)
    list(again), list(other)
    assert same(again.network, uninterrupted.network)
    assert not same(other.network, uninterrupted.network)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_resumed_after_an_epoch(tmp_path, uninterrupted, after):
    path = tmp_path / "state.npz"
    for epoch in fit(checkpoint=path):
        if epoch.epoch == after:
            break
    resume = Checkpoint.load(path)
    assert resume.epoch == after
    run = fit(resume.learner(), resume=resume)
    assert run.remaining == (3 - after) * len(X)
    list(run)
    check_end(run.state(), uninterrupted)


def check_end(state, uninterrupted):
    assert same(state.network, uninterrupted.network)
    assert state.progress == uninterrupted.progress
    assert comparable(state.history) == comparable(uninterrupted.history)


def test_resumed_within_an_epoch(tmp_path, uninterrupted, monkeypatch):
    """The state is also written now and then between two batches."""
    monkeypatch.setattr("firstspike.learning._CHECKPOINT_INTERVAL", 0)
    path = tmp_path / "state.npz"
    left = 420

    def interrupt(count):
        nonlocal left
        left -= count
        if left < 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(fit(checkpoint=path, progress=interrupt))
    resume = Checkpoint.load(path)
    assert (resume.epoch, resume.done) == (1, 70)
    run = fit(resume.learner(), resume=resume)
    list(run)
    check_end(run.state(), uninterrupted)


def test_a_device_learns_the_same(tmp_path, uninterrupted):
    """Also when it is switched off in between."""
    config = learning_config(NETWORK, 8)
    path = tmp_path / "state.npz"
    with firstspike.open("model:", config=config) as device:
        device.load(NETWORK)
        device.start_learning(SCHEDULE.rule(0, 2), Progress.start(2))
        for _ in fit(device, checkpoint=path):
            break
    with firstspike.open("model:", config=config) as device:
        resume = Checkpoint.load(path)
        resume.load_into(device)
        run = fit(device, resume=resume)
        list(run)
        state = run.state()
    assert same(state.network, uninterrupted.network)
    assert state.progress == uninterrupted.progress
    for ours, golden in zip(state.history, uninterrupted.history, strict=True):
        assert (ours.accuracy, ours.rows) == (golden.accuracy, golden.rows)
        assert ours.erred is None


@pytest.fixture
def larger_board(tmp_path):
    """A board that is built for more inputs, hidden neurons and outputs than 64-30-10 has."""
    large = initial_network([70, 38, 12])
    board = VirtualBoard(ModelBackend(learning_config(large, 8)))
    with PseudoTerminal(board, tmp_path / "board"):
        yield str(tmp_path / "board")


def test_a_device_that_is_built_larger(tmp_path, larger_board, monkeypatch, capsys):
    """The network becomes as wide as the device, which is said, and stays so without the device."""
    pytest.importorskip("sklearn")
    monkeypatch.chdir(tmp_path)
    learn = ["learn", "--dataset", "digits", "--shape", "64-30-10", "-n", "150", "--epochs", "2"]
    device = [*learn, "--port", larger_board, "--checkpoint", "run.npz"]
    said = []

    def stop(options, text):
        said.append(text)
        if text.startswith("epoch   1"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(common, "say", stop)
        assert cli.main([*device, "-o", "x.npz"]) == 130
    assert any("the network is widened to 70-38-10, and the new neurons" in text for text in said)
    shutil.copy("run.npz", "copy.npz")
    assert cli.main([*device, "--resume", "-o", "device.npz"]) == 0
    assert cli.main([*learn, "--checkpoint", "copy.npz", "--resume", "-o", "golden.npz"]) == 0
    network = Network.load("device.npz")
    assert network.shape == (70, 38, 10)
    assert same(network, Network.load("golden.npz"))
    # The neurons that were not there have learned, with those that were.
    assert network.layers[0].weights[:, 30:].any()
    assert network.layers[1].weights[30:].any()

    capsys.readouterr()
    assert cli.main([*learn, "-o", "small.npz"]) == 0
    assert "widened" not in capsys.readouterr().err
    assert not same(narrowed(network), Network.load("small.npz"))


def narrowed(network):
    """The part of a 70-38-10 that is a 64-30-10."""
    first, last = network.layers
    layers = [
        replace(first, weights=first.weights[:64, :30]),
        replace(last, weights=last.weights[:30]),
    ]
    return Network(layers, network.steps)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--seed", "-1"], 2, "-1 is not a whole number of at least 0"),
        (["--margin", "64", "--port", "model:"], 3, "the margin is 64 steps, but the network runs"),
        (["--margin", "64"], 3, "runs for 64; give a margin of 0 to 63"),
    ],
)
def test_what_is_refused_before_anything_begins(arguments, code, sentence, capsys):
    pytest.importorskip("sklearn")
    try:
        found = cli.main(["learn", "--dataset", "digits", *arguments])
    except SystemExit as stop:
        found = stop.code
    assert found == code
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert sentence in lines[0]


def test_rows_survive_a_checkpoint(tmp_path):
    has_row = np.ones(81, bool)
    weights = NETWORK.layers[0].weights.copy()
    weights[3] = 0
    network = replace(
        NETWORK, layers=[replace(NETWORK.layers[0], weights=weights), NETWORK.layers[1]]
    )
    run = fit(new_learner(network, has_row=has_row))
    run.state().save(tmp_path / "state.npz")
    resume = Checkpoint.load(tmp_path / "state.npz")
    assert resume.has_row.all()
    assert not resume.network.layers[0].weights[3].any()
    list(fit(resume.learner(), resume=resume))


def test_spike_steps_instead_of_images():
    samples = ENCODER.encode(X)
    run = Fit(new_learner(NETWORK), samples, Y, epochs=1, validation=(samples, Y))
    (epoch,) = run
    assert epoch.validation is not None


def test_a_checkpoint_of_something_else(tmp_path):
    run = fit()
    state = run.state()
    for changes, sentence in (
        ({"seed": 5}, "seed of the checkpoint is 1, but 5 was asked for"),
        ({"shift": 2}, "shift of the checkpoint is 1"),
        ({"schedule": Schedule()}, "schedule of the checkpoint"),
    ):
        with pytest.raises(DataError, match=sentence):
            fit(state.learner(), resume=state, **changes)
    with pytest.raises(DataError, match="data of the checkpoint"):
        Fit(state.learner(), X, Y[::-1], epochs=3, schedule=SCHEDULE, encoder=ENCODER, shift=1,
            distortion=Distortion(rotation=2), batch=70, resume=state)  # fmt: skip
    with pytest.raises(DataError, match="not in the state of the checkpoint"):
        fit(new_learner(NETWORK, seed=8), resume=state)


def test_damaged_checkpoints(tmp_path):
    path = tmp_path / "state.npz"
    fit().state().save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelFileError, match="no checkpoint of learning, or it is damaged"):
        Checkpoint.load(path)
    with pytest.raises(ModelFileError, match="cannot be read"):
        Checkpoint.load(tmp_path / "missing.npz")
    NETWORK.save(path)
    with pytest.raises(ModelFileError, match="it is firstspike-network version 1"):
        Checkpoint.load(path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder": None}, "only images of shape .* with an encoder"),
        ({"epochs": 0}, "epochs is 0"),
        ({"shift": -1}, "shift is -1"),
        ({"schedule": Schedule([1.0, 0.5, 0.25])}, "3 rates were given"),
    ],
)
def test_impossible_runs(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        fit(**changes)


def test_labels_that_do_not_suit():
    with pytest.raises(DataError, match="300 training samples and 299 labels"):
        Fit(new_learner(NETWORK), X, Y[:-1], encoder=ENCODER)
    with pytest.raises(DataError, match="a label is 3, but the outputs are 0 to 2"):
        list(Fit(new_learner(NETWORK), X, Y + 1, encoder=ENCODER))


def test_shifts():
    images = make_images(200)[0]
    moved = shifted(images, 2, np.random.default_rng(1))
    found = set()
    for image, after in zip(images, moved, strict=True):
        padded = np.pad(image, 2)
        matches = [
            (y, x) for y in range(5) for x in range(5)
            if (padded[y : y + 9, x : x + 9] == after).all()
        ]  # fmt: skip
        assert matches
        found |= {match for match in matches if len(matches) == 1}
    assert len(found) == 25


def test_one_layer():
    network = Network([Layer(np.ones((81, 3), np.int8), 4, 500)], 16)
    run = Fit(new_learner(network), X, Y, epochs=2, schedule=SCHEDULE, encoder=ENCODER)
    assert len(list(run)) == 2


def test_neither_pytorch_nor_amaranth_is_needed():
    script = (
        "import sys, numpy as np, firstspike.learning as l, firstspike.augment\n"
        "from firstspike import encode\n"
        "x, y = np.zeros((4, 9, 9), np.uint8), np.zeros(4, int)\n"
        "pupil = l.new_learner(l.initial_network([81, 4, 2]))\n"
        "augment = firstspike.augment.Distortion()\n"
        "list(l.Fit(pupil, x, y, epochs=1, encoder=encode.Binary(), distortion=augment))\n"
        "assert not {'torch', 'amaranth', 'sklearn', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
