import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from firstspike.firmware.errors import DataError, ModelFileError
from firstspike.firmware.network import Layer, Network


@pytest.fixture
def network() -> Network:
    rng = np.random.default_rng(3)
    return Network(
        [
            Layer(rng.integers(-7, 8, (20, 8)), 3, 200, 4),
            Layer(rng.integers(-90, 91, (8, 3)), 2, 9),
        ],
        17,
        {"dataset": "none"},
    )


def same(one: Network, other: Network) -> bool:
    return (one.steps, one.meta) == (other.steps, other.meta) and all(
        (a.k, a.threshold, a.weight_bits, a.membrane_bits)
        == (b.k, b.threshold, b.weight_bits, b.membrane_bits)
        and np.array_equal(a.weights, b.weights)
        for a, b in zip(one.layers, other.layers, strict=True)
    )


def test_a_file_holds_the_network(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    network.save(path)
    assert same(Network.load(path), network)
    first = path.read_bytes()
    network.save(path)
    assert path.read_bytes() == first


def test_every_truncation_is_noticed(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    network.save(path)
    whole = path.read_bytes()
    for length in (*range(0, len(whole), 13), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"net\.npz"):
            Network.load(path)


def test_a_changed_byte_is_noticed_or_means_nothing(network: Network, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    network.save(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        try:
            loaded = Network.load(path)
        except ModelFileError:
            continue
        # Dates and the like can change without harm.
        assert same(loaded, network), position


def rewritten(network: Network, path: Path, **entries: object) -> None:
    """Save ``network`` with some entries of its header changed."""
    network.save(path)
    with np.load(path) as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes()) | entries
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"version": 2}, "version 2, but this release reads"),
        ({"format": "other"}, "other"),
        ({"steps": 0}, "steps is 0"),
        ({"layers": []}, "at least one layer"),
        ({"layers": [{"k": 3}] * 2}, "threshold"),
        ({"layers": [{"k": 3, "threshold": 1, "weight_bits": 2}] * 2}, "2-bit weights"),
        ({"layers": 7}, "no firstspike network"),
    ],
)
def test_headers_that_make_no_sense(network, entries, message, tmp_path: Path) -> None:
    path = tmp_path / "net.npz"
    rewritten(network, path, **entries)
    with pytest.raises(ModelFileError, match=message):
        Network.load(path)


def test_files_of_other_kinds(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"is a folder; give a network's \.npz file"):
        Network.load(tmp_path)
    with pytest.raises(ModelFileError, match="does not exist"):
        Network.load(tmp_path / "none.npz")
    path = tmp_path / "net.npz"
    for contents in (b"", b"hello", b"PK\3\4" + bytes(100)):
        path.write_bytes(contents)
        with pytest.raises(ModelFileError, match=r"net\.npz"):
            Network.load(path)
    np.savez(path, weights=np.zeros((2, 2)))
    with pytest.raises(ModelFileError, match="header"):
        Network.load(path)
    np.savez(path, header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ModelFileError, match="no firstspike network"):
        Network.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.npy", b"no array")
    with pytest.raises(ModelFileError, match=r"net\.npz"):
        Network.load(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"weights": np.zeros(3, int)}, "shape"),
        ({"weights": np.zeros((0, 3), int)}, "shape"),
        ({"weights": np.zeros((3, 3))}, "quantise first"),
        ({"weights": np.full((3, 3), -128)}, r"weight \[0, 0\] is -128"),
        ({"weights": np.full((3, 3), 8), "weight_bits": 4}, "±7"),
        ({"weight_bits": 1}, "2 to 8"),
        ({"k": 9}, "1 to 8"),
        ({"membrane_bits": 7}, "8 to 32"),
        ({"threshold": 0}, "1 to 524288"),
        ({"threshold": 129, "membrane_bits": 8}, "1 to 128"),
    ],
)
def test_layers_out_of_range_are_refused(fields, message: str) -> None:
    good = {"weights": np.ones((3, 3), int), "k": 4, "threshold": 5}
    with pytest.raises(DataError, match=message):
        Layer(**(good | fields))


def test_weights_cannot_be_changed_behind_the_network(network: Network) -> None:
    with pytest.raises(ValueError, match="read-only"):
        network.layers[0].weights[0, 0] = 1
    weights = np.ones((2, 2), dtype=np.int8)
    layer = Layer(weights, 4, 5)
    weights[:] = 7
    assert (layer.weights == 1).all()


def test_networks_out_of_range_are_refused(network: Network) -> None:
    with pytest.raises(DataError, match="at least one layer"):
        Network([], 5)
    with pytest.raises(DataError, match="layer 1 has 20 inputs, but layer 0 has 8 neurons"):
        Network([network.layers[0]] * 2, 5)
    with pytest.raises(DataError, match="1 to 32767"):
        Network(network.layers, 32768)


def test_samples_are_checked(network: Network) -> None:
    assert network.check_samples(np.full((2, 20), -1)).dtype == np.int32
    for samples, message in (
        (np.zeros(20, int), "shape"),
        (np.zeros((2, 19), int), "shape"),
        (np.zeros((2, 20)), "dtype"),
        (np.full((1, 20), 17), "steps 0 to 16"),
        (np.full((1, 20), -2), "steps 0 to 16"),
    ):
        with pytest.raises(DataError, match=message):
            network.check_samples(samples)


def test_words(network: Network) -> None:
    assert str(network) == "20-8-3, 4/8-bit weights, 17 steps"
    assert network.shape == (20, 8, 3)
    assert network.with_meta(seed=1).meta == {"dataset": "none", "seed": 1}
    assert network.meta == {"dataset": "none"}
