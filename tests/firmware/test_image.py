import errno
import os
import resource
import signal
import stat
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from firstspike.compile import compile
from firstspike.firmware.config import Config
from firstspike.firmware.errors import DataError, FirstspikeError, ModelFileError
from firstspike.firmware.files import require_writable
from firstspike.firmware.image import Image
from firstspike.firmware.network import Layer, Network


@pytest.fixture(scope="module")
def network() -> Network:
    rng = np.random.default_rng(3)
    weights = rng.integers(-90, 91, (20, 8))
    weights[[2, 7]] = 0
    return Network(
        [Layer(weights, 3, 200), Layer(rng.integers(-90, 91, (8, 3)), 2, 100)],
        17,
        {"dataset": "none", "accuracy": 0.5},
    )


@pytest.fixture(scope="module")
def image(network: Network) -> Image:
    return compile(network, Config.for_network(network, lanes=3))


def same(one: Image, other: Image) -> bool:
    return (one.config, one.registers, one.regions, one.meta, one.crc) == (
        other.config,
        other.registers,
        other.regions,
        other.meta,
        other.crc,
    )


def test_a_file_holds_the_image(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "net.image"
    image.save(path)
    assert same(Image.load(path), image)
    first = path.read_bytes()
    image.save(path)
    assert path.read_bytes() == first


def test_the_network_comes_back(network: Network, image: Image) -> None:
    unpacked = image.network()
    assert (unpacked.steps, unpacked.meta) == (network.steps, network.meta)
    for one, other in zip(unpacked.layers, network.layers, strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        assert (one.k, one.threshold) == (other.k, other.threshold)


def test_the_crc_covers_everything(image: Image) -> None:
    registers = dict(image.registers) | {"threshold_1": 101}
    regions = dict(image.regions)
    regions["weights_1"] = bytes(1) + regions["weights_1"][1:]
    assert len({image.crc, Image(image.config, registers, image.regions).crc}) == 2
    assert len({image.crc, Image(image.config, image.registers, regions).crc}) == 2


def test_registers_and_regions_have_to_be_whole(image: Image) -> None:
    registers = {name: value for name, value in image.registers.items() if name != "classes"}
    with pytest.raises(DataError, match="classes"):
        Image(image.config, registers, image.regions)
    with pytest.raises(DataError, match="model"):
        Image(image.config, {**image.registers, "model": 1}, image.regions)
    with pytest.raises(DataError, match="regions of the sizes"):
        Image(image.config, image.registers, {**image.regions, "row_map": b""})


def test_every_changed_byte_is_noticed(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "net.image"
    image.save(path)
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(ModelFileError, match=r"net\.image"):
            Image.load(path)


def test_every_truncation_is_noticed(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "net.image"
    image.save(path)
    whole = path.read_bytes()
    for length in (0, 1, 16, 17, 22, 26, *range(30, len(whole), 11), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelFileError, match=r"net\.image"):
            Image.load(path)


def resealed(body: bytes) -> bytes:
    """A file whose CRC is right, whatever stands in it."""
    return body + struct.pack("<I", zlib.crc32(body))


def test_well_sealed_nonsense_is_refused(image: Image, tmp_path: Path) -> None:
    path = tmp_path / "net.image"
    image.save(path)
    body = path.read_bytes()[:-4]
    magic = b"firstspike image\n"
    version = body.replace(magic + b"\1\0", magic + b"\2\0")
    path.write_bytes(resealed(version))
    with pytest.raises(ModelFileError, match=r"version 2.*compile the network again"):
        Image.load(path)
    head = magic + struct.pack("<HI", 1, 2)
    for rest in (b"", b"{}", b"[]", b"{}" + zlib.compress(b""), b"\xff\xfe" + zlib.compress(b"")):
        path.write_bytes(resealed(head + rest))
        with pytest.raises(ModelFileError):
            Image.load(path)
    path.write_bytes(resealed(body.replace(b'"steps"', b'"stops"')))
    with pytest.raises(ModelFileError):
        Image.load(path)


def test_a_file_that_is_not_there_or_no_image(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        Image.load(tmp_path / "none.image")
    with pytest.raises(ModelFileError, match="Is a directory"):
        Image.load(tmp_path)
    other = tmp_path / "other"
    other.write_bytes(b"PK" * 100)
    with pytest.raises(ModelFileError, match="firstspike compile"):
        Image.load(other)


# Writing: all or nothing. The networks' files are written in the same way.


@pytest.fixture(params=["image", "network"])
def saved(request: pytest.FixtureRequest):
    return request.getfixturevalue(request.param)


def only_the_old_file(path: Path) -> None:
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("step", ["fsync", "replace", "chmod"])
def test_a_full_disk_leaves_the_old_file(saved, step: str, tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(FirstspikeError, match=r"No space left .* left as it was"):
        saved.save(path)
    monkeypatch.undo()
    only_the_old_file(path)


def test_a_limit_met_while_writing_leaves_the_old_file(saved, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(FirstspikeError, match="could not be written"):
            saved.save(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    only_the_old_file(path)


def test_a_process_that_dies_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = (
        "import os, sys\n"
        "from firstspike.firmware.files import write_atomically\n"
        "with write_atomically(sys.argv[1]) as file:\n"
        "    file.write(b'new' * 100_000)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_not_there(saved, tmp_path: Path) -> None:
    with pytest.raises(
        FirstspikeError, match=r"none/file could not be written .*; check the folder"
    ):
        saved.save(tmp_path / "none" / "file")


def test_two_files_in_one_place(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("file")
    for other in ("file", "../" + tmp_path.name + "/file", "link"):
        with pytest.raises(FirstspikeError, match="was given for two files"):
            require_writable(tmp_path / "file", None, tmp_path / other)
    require_writable(tmp_path / "file", tmp_path / "other")


def test_files_get_the_usual_permissions(saved, tmp_path: Path) -> None:
    path = tmp_path / "file"
    mask = os.umask(0o027)
    try:
        saved.save(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
