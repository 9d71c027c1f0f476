"""Data sets: parsing, looking up, downloading, splitting."""

import gzip
import hashlib
import io
import struct
import urllib.error
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from firstspike import data, encode
from firstspike.firmware.errors import DataError
from firstspike.shipped import load_network

FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.ndarray) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def four_files(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        FILES[0]: random.integers(0, 256, (12, 5, 4), np.uint8),
        FILES[1]: random.integers(0, 10, 12, np.uint8),
        FILES[2]: random.integers(0, 256, (7, 5, 4), np.uint8),
        FILES[3]: random.integers(0, 10, 7, np.uint8),
    }


def write(folder: Path, arrays: dict[str, np.ndarray], compressed: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        if compressed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            (folder / name).write_bytes(idx(array))


@pytest.fixture(autouse=True)
def empty_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No data, an empty cache and no network."""

    def offline(url: str, timeout: float) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("urllib.request.urlopen", offline)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("place", ["root", "named", "cache"])
def test_found_where_they_lie(tmp_path, monkeypatch, compressed, place):
    arrays = four_files()
    folder = {
        "root": tmp_path / "data",
        "named": tmp_path / "data" / "mnist",
        "cache": tmp_path / "cache" / "firstspike" / "mnist",
    }[place]
    write(folder, arrays, compressed)
    if place != "cache":
        monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "data"))
    dataset = data.load("mnist")
    assert dataset.name == "mnist"
    for found, name in zip(
        (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test), FILES, strict=True
    ):
        np.testing.assert_array_equal(found, arrays[name])
    assert dataset.inputs == 20
    assert dataset.y_train.dtype == np.int64


def test_root_folder_serves_mnist_alone(tmp_path, monkeypatch):
    write(tmp_path / "data", four_files())
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError, match="fashion-mnist could not be downloaded"):
        data.load("fashion-mnist", progress=False)


class Response(io.BytesIO):
    def __init__(self, content: bytes) -> None:
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content))}


def serve(monkeypatch, contents: dict[str, bytes], mirrors: tuple[str, ...], md5: dict[str, str]):
    """Let ``urlopen`` answer from ``contents``; return the list of what was asked for."""
    asked = []

    def urlopen(url: str, timeout: float) -> Response:
        asked.append(url)
        if url not in contents:
            raise urllib.error.HTTPError(url, 404, "Not Found", {}, None)  # type: ignore[arg-type]
        return Response(contents[url])

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    monkeypatch.setitem(data._SOURCES, "kmnist", data._Source(mirrors, md5))
    return asked


def test_download_falls_back_to_the_next_mirror_and_fills_the_cache(tmp_path, monkeypatch):
    packed = {name: gzip.compress(idx(array)) for name, array in four_files().items()}
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in packed.items()}
    good = {f"http://b/{name}.gz": content for name, content in packed.items()}
    # The first mirror serves one file damaged and lacks the others.
    bad = {f"http://a/{FILES[0]}.gz": b"<html>moved</html>"}
    asked = serve(monkeypatch, good | bad, ("http://a/", "http://b/"), md5)
    dataset = data.load("kmnist", progress=False)
    assert len(dataset.x_train) == 12
    assert len(asked) == 8
    names = sorted(path.name for path in (tmp_path / "cache" / "firstspike" / "kmnist").iterdir())
    assert names == sorted(f"{name}.gz" for name in FILES)

    asked.clear()
    data.load("kmnist", progress=False)
    assert not asked


def test_wrong_checksum_leaves_nothing_behind(tmp_path, monkeypatch):
    packed = {f"http://a/{name}.gz": gzip.compress(idx(a)) for name, a in four_files().items()}
    serve(monkeypatch, packed, ("http://a/",), dict.fromkeys(FILES, "0" * 32))
    with pytest.raises(DataError, match="checksum"):
        data.load("kmnist", progress=False)
    assert not list(tmp_path.rglob("*.gz"))


def test_no_network_is_one_sentence():
    with pytest.raises(DataError) as caught:
        data.load("mnist", progress=False)
    message = str(caught.value)
    assert "no route to host" in message
    assert "FIRSTSPIKE_DATA" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-1], "holds 239 bytes of data"),
        (lambda content: content + b"x", "holds 241 bytes of data"),
        (lambda content: content[:10], "starts with 00000803"),
        (lambda content: b"", "starts with nothing"),
        (lambda content: b"\x00\x00\x08\x01" + content[4:], "starts with 00000801"),
        (lambda content: b"PK\x03\x04" + content[4:], "starts with 504b0304"),
    ],
)
def test_damaged_idx(tmp_path, damage, message):
    path = tmp_path / FILES[0]
    path.write_bytes(damage(idx(four_files()[FILES[0]])))
    with pytest.raises(DataError, match=message):
        data.read_idx(path, 3)


@pytest.mark.parametrize("cut", [5, -8])
def test_truncated_gzip(tmp_path, cut):
    path = tmp_path / f"{FILES[0]}.gz"
    path.write_bytes(gzip.compress(idx(four_files()[FILES[0]]))[:cut])
    with pytest.raises(DataError, match="cannot be read"):
        data.read_idx(path, 3)


def test_files_that_do_not_belong_together(tmp_path, monkeypatch):
    arrays = four_files()
    arrays[FILES[1]] = arrays[FILES[1]][:-1]
    write(tmp_path, arrays)
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path))
    with pytest.raises(DataError, match="11 labels for 12 images"):
        data.load("mnist")


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(DataError, match="mnist, fashion-mnist, kmnist, digits"):
        data.load("mnits")


def test_npz(tmp_path):
    arrays = dict(
        zip(("x_train", "y_train", "x_test", "y_test"), four_files().values(), strict=True)
    )
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    dataset = data.load(path)
    assert dataset.name == "mine"
    np.testing.assert_array_equal(dataset.x_test, arrays["x_test"])

    np.savez(path, **{key: value for key, value in arrays.items() if key != "y_test"})
    with pytest.raises(DataError, match="y_test"):
        data.load(path)
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read"):
        data.load(path)
    with pytest.raises(DataError, match="does not exist"):
        data.load(tmp_path / "other.npz")


def test_digits_are_split_the_same_way_each_time():
    first, second = data.load("digits"), data.load("digits")
    assert first.x_train.shape == (1438, 8, 8)
    assert first.x_test.shape == (359, 8, 8)
    assert first.x_train.max() == 255
    assert first.classes == 10
    np.testing.assert_array_equal(first.x_train, second.x_train)


def small(count: int = 10) -> data.Dataset:
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2)
    labels = np.arange(count) % 3
    return data.Dataset("small", images, labels, images[:2], labels[:2])


def test_test_images_as_a_network_takes_them():
    pytest.importorskip("sklearn")
    network = load_network("digits-64-32-10")
    samples, labels, name = data.encode_test_images(network)
    digits = data.load("digits")
    expected = encode.from_meta(network.meta["encoding"]).encode(digits.x_test)
    np.testing.assert_array_equal(samples, expected)
    np.testing.assert_array_equal(labels, digits.y_test)
    assert name == "digits test"
    for missing in ("dataset", "encoding"):
        meta = {key: value for key, value in network.meta.items() if key != missing}
        with pytest.raises(DataError, match=f"does not say its {missing}"):
            data.encode_test_images(replace(network, meta=meta))


def test_split_takes_the_last_images():
    dataset = small().split_validation(3)
    np.testing.assert_array_equal(dataset.x_test, small().x_train[-3:])
    np.testing.assert_array_equal(dataset.x_train, small().x_train[:-3])


def test_random_split_is_a_partition_and_repeats():
    first, second = small().split_validation(4, seed=7), small().split_validation(4, seed=7)
    np.testing.assert_array_equal(first.x_test, second.x_test)
    both = np.concatenate([first.x_train, first.x_test])[:, 0, 0]
    assert sorted(both) == sorted(small().x_train[:, 0, 0])
    assert len(first.x_test) == 4
    assert not np.array_equal(first.x_test, small().x_train[-4:])


@pytest.mark.parametrize("count", [0, -1, 10])
def test_split_out_of_range(count):
    with pytest.raises(DataError, match="the range is 1 to 9"):
        small().split_validation(count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((10, 2, 2))}, "x_train is float64"),
        ({"y_train": np.zeros(9, int)}, "need integer labels of shape"),
        ({"y_test": np.zeros(2)}, "y_test is float64"),
        ({"x_test": np.zeros((2, 3, 2), np.uint8)}, "test images have"),
        ({"y_test": np.array([0, -1])}, "negative label -1"),
        ({"x_train": np.zeros((0, 2, 2), np.uint8), "y_train": np.zeros(0, int)}, "no training"),
    ],
)
def test_arrays_that_do_not_fit(change, message):
    base = small()
    fields = {key: getattr(base, key) for key in ("name", "x_train", "y_train", "x_test", "y_test")}
    with pytest.raises(DataError, match=message):
        data.Dataset(**{**fields, **change})
