"""Training: settings, rounding, resuming, reproducibility, and networks that work."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from firstspike import data, encode
from firstspike.firmware.errors import DataError
from firstspike.firmware.network import Network
from firstspike.quantise import quantise_layer, threshold_for
from firstspike.sim import golden

torch = pytest.importorskip("torch")

from firstspike import train  # noqa: E402
from firstspike.augment import Distortion  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load("digits")


def quick(**changes) -> train.TrainingConfig:
    settings = {"epochs": 2, "validation": 300, **changes}
    return train.TrainingConfig.preset("digits-64-32-10", **settings)


def weights_of(network: Network) -> list[np.ndarray]:
    return [layer.weights for layer in network.layers]


def assert_same(first: Network, second: Network) -> None:
    for one, other in zip(weights_of(first), weights_of(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_digits_reach_real_accuracy(digits):
    config = quick(epochs=40, validation=0)
    network = train.train(config, digits, progress=False)
    encoder = encode.from_meta(network.meta["encoding"])
    result = golden.infer(network, encoder.encode(digits.x_test))
    accuracy = np.mean(result.label == digits.y_test)
    assert accuracy > 0.85
    assert network.shape == (64, 32, 10)
    json.dumps(network.meta)


@pytest.mark.parametrize(
    "changes",
    [
        {"hidden": (24, 16), "clips": (1.0, 0.8, 0.5)},
        {"bits": 2, "clips": (0.4, 0.3)},
        {"encoding": {"kind": "linear", "levels": 4, "spacing": 2, "floor": 32}},
        {"encoding": {"kind": "logarithmic", "tau": 8.0, "theta": 0.2, "limit": 12}},
        {"dropout": 0.2, "sparsity": 0.01, "smoothing": 0.05, "k": 3, "steps": 32},
    ],
    ids=str,
)
def test_every_kind_of_network_learns(digits, changes):
    reports = []
    network = train.train(
        quick(epochs=8, **changes), digits, progress=False, on_epoch=reports.append
    )
    assert [report.epoch for report in reports] == list(range(1, 9))
    assert reports[-1].loss < 0.7 * reports[0].loss
    assert reports[-1].accuracy > 0.3
    assert len(reports[-1].spikes) == len(network.layers)
    assert network.meta["validation"]["accuracy"] == pytest.approx(reports[-1].accuracy, abs=1e-6)


@pytest.mark.parametrize("bits", range(2, 9))
def test_training_rounds_as_quantising_does(bits):
    clip = 0.37
    random = np.random.default_rng(bits)
    weights = random.normal(0, 0.3, (50, 40)).astype(np.float32)
    unit = 2**4 / threshold_for(clip, bits, 4)
    # Ties between two integers and the values beside them are where roundings differ.
    ties = (np.arange(-3, 4)[:, None] + 0.5) * unit
    weights[:7, :1] = ties
    weights[:7, 1:2] = np.nextafter(ties.astype(np.float32), 1)
    rounded = train._Round.apply(torch.from_numpy(weights), unit, (1 << (bits - 1)) - 1)
    layer = quantise_layer(weights, bits=bits, k=4, clip=clip)
    np.testing.assert_array_equal(rounded.numpy(), layer.weights)


def test_rounding_passes_the_gradient_straight_through():
    weights = torch.tensor([[0.1, -0.9]], requires_grad=True)
    (train._Round.apply(weights, 0.25, 3) * torch.tensor([[1.0, 2.0]])).sum().backward()
    torch.testing.assert_close(weights.grad, torch.tensor([[4.0, 8.0]]))


def test_same_seed_same_network(digits):
    first = train.train(quick(dropout=0.1), digits, progress=False)
    second = train.train(quick(dropout=0.1), digits, progress=False)
    other = train.train(quick(dropout=0.1, seed=2), digits, progress=False)
    assert_same(first, second)
    assert not np.array_equal(weights_of(first)[0], weights_of(other)[0])


class Interrupt(Exception):
    pass


def test_resuming_gives_the_same_network(digits, tmp_path):
    config = quick(epochs=4, dropout=0.1)
    whole = train.train(config, digits, progress=False)
    path = tmp_path / "checkpoint"

    def stop(report: train.EpochReport) -> None:
        if report.epoch == 2:
            raise Interrupt

    with pytest.raises(Interrupt):
        train.train(config, digits, progress=False, checkpoint=path, on_epoch=stop)
    seen = []
    resumed = train.train(
        config, digits, progress=False, checkpoint=path, on_epoch=lambda r: seen.append(r.epoch)
    )
    assert seen == [3, 4]
    assert_same(whole, resumed)
    # A finished training is only read back.
    assert_same(whole, train.train(config, digits, progress=False, checkpoint=path))


def test_interrupt_leaves_the_last_checkpoint(digits, tmp_path, monkeypatch):
    config = quick(epochs=3)
    path = tmp_path / "checkpoint"
    original = train._Trainer.train_batch

    def interrupted(self, samples, labels, number, random):
        if number == self.batches + 3:
            raise KeyboardInterrupt
        return original(self, samples, labels, number, random)

    monkeypatch.setattr(train._Trainer, "train_batch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.train(config, digits, progress=False, checkpoint=path)
    assert torch.load(path, weights_only=True)["epoch"] == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["checkpoint"]
    monkeypatch.undo()
    assert_same(
        train.train(config, digits, progress=False, checkpoint=path),
        train.train(config, digits, progress=False),
    )


def test_checkpoints_that_do_not_belong(digits, tmp_path):
    path = tmp_path / "checkpoint"
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="is no checkpoint of this release"):
        train.train(quick(), digits, progress=False, checkpoint=path)
    path.unlink()
    train.train(quick(epochs=1), digits, progress=False, checkpoint=path)
    with pytest.raises(DataError, match=r"other settings \(epochs, seed\)"):
        train.train(quick(seed=5), digits, progress=False, checkpoint=path)


def test_starting_from_a_network(digits, tmp_path):
    first = train.train(quick(), digits, progress=False)
    path = tmp_path / "first.npz"
    first.save(path)
    config = quick(initial=str(path), epochs=1, learning_rate=1e-9)
    assert_same(first, train.train(config, digits, progress=False))
    with pytest.raises(DataError, match="64-32-10, but one of 64-20-10 is to be trained"):
        train.train(replace(config, hidden=(20,)), digits, progress=False)


def test_sparsity_costs_spikes_and_a_budget_spares_them(digits):
    def spikes(**changes) -> float:
        reports = []
        config = quick(epochs=10, **changes)
        train.train(config, digits, progress=False, on_epoch=reports.append)
        return reports[-1].spikes[1]

    free, pressed = spikes(), spikes(sparsity=0.3)
    assert pressed < 0.7 * free
    assert spikes(sparsity=0.3, spike_budget=32) == free
    assert pressed < spikes(sparsity=0.3, spike_budget=free * 0.8) < free


def test_learning_from_a_teacher(digits, tmp_path):
    teacher = train.train(quick(hidden=(24, 16), clips=(1.0, 0.8, 0.5)), digits, progress=False)
    path = tmp_path / "teacher.npz"
    teacher.save(path)
    taught = train.train(quick(teacher=str(path)), digits, progress=False)
    alone = train.train(quick(), digits, progress=False)
    assert not np.array_equal(weights_of(taught)[0], weights_of(alone)[0])
    with pytest.raises(DataError, match="takes inputs encoded as"):
        train.train(quick(teacher=str(path), encoding={"kind": "binary"}), digits, progress=False)
    with pytest.raises(DataError, match="784 inputs and 10 classes, but digits has 64 and 10"):
        train.train(quick(teacher="mnist-784-128-10"), digits, progress=False)


def test_test_images_are_never_looked_at(digits):
    blind = replace(
        digits, x_test=np.zeros_like(digits.x_test), y_test=np.zeros_like(digits.y_test)
    )
    assert_same(
        train.train(quick(), digits, progress=False), train.train(quick(), blind, progress=False)
    )


def test_divergence_is_reported(digits, monkeypatch):
    monkeypatch.setattr(
        torch.nn.functional, "cross_entropy", lambda *_, **__: torch.tensor(float("nan"))
    )
    with pytest.raises(DataError, match="training diverged in epoch 1"):
        train.train(quick(), digits, progress=False)


def test_matmul_precision_is_put_back(digits):
    before = torch.get_float32_matmul_precision()
    train.train(quick(epochs=1), digits, progress=False)
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize("name", train.TrainingConfig.presets())
def test_presets_are_valid(name):
    config = train.TrainingConfig.preset(name)
    assert config.name == name
    inputs = 64 if config.dataset == "digits" else 784
    assert name.startswith("-".join(map(str, (config.dataset, inputs, *config.hidden, 10))))
    encode.from_meta(config.encoding)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": ()}, "at least one layer"),
        ({"hidden": (0,)}, "at least one layer"),
        ({"clips": (0.5,)}, "1 clips were given, but there are 2 layers"),
        ({"bits": 9}, "2 to 8 bits"),
        ({"k": 0}, "k is 0"),
        ({"epochs": 0}, "epochs is 0, but the range is 1 and above"),
        ({"dropout": 1.0}, "dropout is 1.0, but the range is 0 to 0.99"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"momentum": 0.9}, "no training setting 'momentum'"),
    ],
)
def test_settings_out_of_range(changes, message):
    with pytest.raises(DataError, match=message):
        quick(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": "abc"}, "epochs is abc, but it is a whole number"),
        ({"epochs": 2.5}, "epochs is 2.5, but it is a whole number"),
        ({"batch": True}, "batch is True, but it is a whole number"),
        ({"hidden": 300}, r"hidden is 300, but it is a list of whole numbers, such as \[300\]"),
        ({"hidden": "300"}, "hidden is 300, but it is a list of whole numbers"),
        ({"hidden": [300.5]}, r"hidden is \[300.5\], but it is a list of whole numbers"),
        ({"clips": ["a", 1]}, "but it is a list of numbers, such as"),
        ({"learning_rate": "fast"}, "learning_rate is fast, but it is a number"),
        ({"dataset": 5}, "dataset is 5, but it is a name"),
        ({"teacher": [1]}, "but it is a name or null"),
        ({"encoding": "binary"}, "encoding is binary, but it is an object, such as"),
        ({"distortion": {"rotate": 3}}, "but it is null or an object of numbers, of rotation, "),
        ({"distortion": {"rotation": "x"}}, "but it is null or an object of numbers"),
        ({"distortion": 3}, "distortion is 3, but it is null or an object of numbers"),
    ],
)
def test_settings_of_another_type(changes, message):
    with pytest.raises(DataError, match=message):
        quick(**changes)


@pytest.mark.parametrize("name", train.TrainingConfig.presets())
def test_presets_are_settings(name):
    """Numbers may be numpy's, and lists what JSON has."""
    config = train.TrainingConfig.preset(name, epochs=np.int64(3), sparsity=np.float32(0.5))
    config = replace(config, epochs=3, sparsity=0.5)
    assert train.TrainingConfig(**json.loads(json.dumps(asdict(config)))) == config


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(DataError, match="mnist-784-600-10-sparse"):
        train.TrainingConfig.preset("mnist")


def test_settings_that_do_not_suit_the_data(digits):
    with pytest.raises(DataError, match="validation"):
        train.train(quick(validation=5000), digits, progress=False)
    with pytest.raises(DataError, match="a batch is 5000 images"):
        train.train(quick(batch=5000, validation=0), digits, progress=False)
    slow = {"kind": "linear", "levels": 100, "spacing": 1, "floor": 32}
    with pytest.raises(DataError, match="steps 0 to 99"):
        train.train(quick(encoding=slow), digits, progress=False)


def test_distortion_keeps_shape_and_depends_on_the_seed():
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28), np.uint8)
    distortion = Distortion()
    first = distortion(images, np.random.default_rng(1))
    assert first.shape == images.shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, distortion(images, np.random.default_rng(1)))
    assert not np.array_equal(first, distortion(images, np.random.default_rng(2)))
    nothing = Distortion(rotation=0, scale=0, shear=0, shift=0, elastic=0)
    np.testing.assert_array_equal(nothing(images, np.random.default_rng(1)), images)


def test_distortion_moves_by_as_much_as_it_says():
    images = np.zeros((400, 28, 28), np.uint8)
    images[:, 13:15, 13:15] = 255
    still = {"rotation": 0, "scale": 0, "shear": 0, "elastic": 0}
    moved = Distortion(shift=1.5, **still)(images, np.random.default_rng(3)).astype(float)
    mass = moved.sum(axis=(1, 2))
    rows = (moved.sum(axis=2) * np.arange(28)).sum(axis=1) / mass - 13.5
    columns = (moved.sum(axis=1) * np.arange(28)).sum(axis=1) / mass - 13.5
    assert rows.std() == pytest.approx(1.5, rel=0.15)
    assert columns.std() == pytest.approx(1.5, rel=0.15)
