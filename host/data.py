"""Data sets by name, or from any ``.npz`` file.

The named sets are MNIST, Fashion-MNIST and KMNIST, each four files in the IDX format, and the 8×8
digits that come with scikit-learn. The IDX files are looked for in this order:

1. ``$FIRSTSPIKE_DATA/<name>/`` and, for MNIST, ``$FIRSTSPIKE_DATA/`` itself,
2. the cache, ``$XDG_CACHE_HOME/firstspike/<name>/`` (``~/.cache`` if the variable is not set),
3. public mirrors, from which they are downloaded into the cache and checked against their MD5.

A file may be compressed (``.gz``) or not.
"""

import gzip
import hashlib
import http.client
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from .encode import from_meta
from .firmware.errors import DataError
from .firmware.files import cache_folder, write_atomically
from .firmware.network import Network

__all__ = ["NAMES", "Dataset", "encode_test_images", "load", "read_idx"]

#: Names that :func:`load` knows.
NAMES = ("mnist", "fashion-mnist", "kmnist", "digits")

_TIMEOUT = 30.0


@dataclass(frozen=True)
class _Source:
    mirrors: tuple[str, ...]
    md5: dict[str, str]


# The checksums are those that the data sets' publishers and torchvision give for the .gz files.
_SOURCES = {
    "mnist": _Source(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": _Source(
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "kmnist": _Source(
        ("http://codh.rois.ac.jp/kmnist/dataset/kmnist/",),
        {
            "train-images-idx3-ubyte": "bdb82020997e1d708af4cf47b453dcf7",
            "train-labels-idx1-ubyte": "e144d726b3acfaa3e44228e80efcd344",
            "t10k-images-idx3-ubyte": "5c965bf0a639b31b8f53240b1b52f4d7",
            "t10k-labels-idx1-ubyte": "7320c461ea6c1c855c0b718fb2a4b134",
        },
    ),
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images and labels for training and for testing.

    Parameters
    ----------
    name : str
        Where it came from; recorded in trained networks.
    x_train, x_test : (n, height, width) or (n, inputs) ``uint8``
        Grey levels, 0 … 255.
    y_train, y_test : (n,) integers
        Classes, 0 … ``classes - 1``; stored as ``int64``.

    Raises
    ------
    DataError
        If shapes, dtypes or lengths do not fit together.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray

    def __post_init__(self) -> None:
        for part in ("train", "test"):
            x = np.asarray(getattr(self, f"x_{part}"))
            y = np.asarray(getattr(self, f"y_{part}"))
            if x.dtype != np.uint8 or x.ndim not in (2, 3):
                raise DataError(
                    f"{self.name}: x_{part} is {x.dtype} of shape {x.shape}, but images are uint8 "
                    "of shape (n, height, width) or (n, inputs)"
                )
            if y.dtype.kind not in "iu" or y.shape != (len(x),):
                raise DataError(
                    f"{self.name}: y_{part} is {y.dtype} of shape {y.shape}, but the {len(x)} "
                    f"images of x_{part} need integer labels of shape ({len(x)},)"
                )
            if y.size and int(y.min()) < 0:
                raise DataError(f"{self.name}: y_{part} holds the negative label {y.min()}")
            object.__setattr__(self, f"x_{part}", x)
            object.__setattr__(self, f"y_{part}", y.astype(np.int64))
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise DataError(
                f"{self.name}: training images have shape {self.x_train.shape[1:]}, but test "
                f"images have {self.x_test.shape[1:]}"
            )
        if not len(self.x_train):
            raise DataError(f"{self.name} holds no training images")

    @property
    def inputs(self) -> int:
        """Pixels of an image."""
        return int(np.prod(self.x_train.shape[1:]))

    @property
    def classes(self) -> int:
        """Number of classes, from the largest label."""
        return int(max(self.y_train.max(), self.y_test.max(initial=0))) + 1

    def split_validation(self, count: int, seed: int | None = None) -> Self:
        """Hold ``count`` training images back and put them in the place of the test images.

        Settings are chosen on what this returns, so that the test images stay unseen.

        Parameters
        ----------
        count : int
            Images to hold back, at least 1 and fewer than there are.
        seed : int, optional
            Hold back a random choice; without a seed, the last ``count`` images.

        Raises
        ------
        DataError
            If ``count`` is out of range.
        """
        total = len(self.x_train)
        if not 1 <= count < total:
            raise DataError(
                f"{count} images were to be held back for validation, but {self.name} has "
                f"{total} training images; the range is 1 to {total - 1}"
            )
        order = np.arange(total)
        if seed is not None:
            order = np.random.default_rng(seed).permutation(total)
        kept, held = np.sort(order[:-count]), np.sort(order[-count:])
        return replace(
            self,
            x_train=self.x_train[kept],
            y_train=self.y_train[kept],
            x_test=self.x_train[held],
            y_test=self.y_train[held],
        )


def load(name: str | os.PathLike[str], *, progress: bool = True) -> Dataset:
    """Load a data set.

    Parameters
    ----------
    name : str or path
        One of :data:`NAMES`, or a ``.npz`` file with the arrays ``x_train``, ``y_train``,
        ``x_test`` and ``y_test``.
    progress : bool
        Show a bar while downloading.

    Raises
    ------
    DataError
        If the name is unknown, a file is damaged, or nothing can be found or downloaded.
    """
    text = os.fspath(name)
    if text.endswith(".npz"):
        return _load_npz(Path(text))
    if text == "digits":
        return _load_digits()
    if text not in _SOURCES:
        raise DataError(
            f"there is no data set {text!r}; choose one of {', '.join(NAMES)} or give the path of "
            "a .npz file with x_train, y_train, x_test and y_test"
        )
    arrays = []
    for part in ("train", "t10k"):
        for kind, dimensions in (("images-idx3", 3), ("labels-idx1", 1)):
            path = _find(text, f"{part}-{kind}-ubyte", progress)
            arrays.append(read_idx(path, dimensions))
        if len(arrays[-1]) != len(arrays[-2]):
            raise DataError(
                f"{path} holds {len(arrays[-1])} labels for {len(arrays[-2])} images; the files "
                "do not belong together"
            )
    return Dataset(text, *arrays)


def encode_test_images(network: Network) -> tuple[np.ndarray, np.ndarray, str]:
    """Load the test images of the data set that a network is for, encoded as it takes them.

    Returns
    -------
    samples : (batch, inputs) int32
        Spike steps.
    labels : (batch,) integers
    name : str
        What the samples are, such as ``mnist test``.

    Raises
    ------
    DataError
        If the network does not say what it is for, or the data set cannot be had.
    """
    for name in ("dataset", "encoding"):
        if name not in network.meta:
            raise DataError(f"the network does not say its {name}; train or quantise it with one")
    dataset = load(network.meta["dataset"], progress=False)
    samples = from_meta(network.meta["encoding"]).encode(dataset.x_test)
    return samples, dataset.y_test, f"{dataset.name} test"


def read_idx(path: str | os.PathLike[str], dimensions: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, compressed or not.

    The format is described at http://yann.lecun.com/exdb/mnist: two zero bytes, the type (8 for
    unsigned bytes), the number of dimensions, each dimension as a big-endian 32-bit number, data.

    Parameters
    ----------
    path : path
        Decompressed if it ends in ``.gz``.
    dimensions : int
        How many the file must have.

    Raises
    ------
    DataError
        If the file cannot be read, is no such file, or is too short or too long.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch it again") from error
    magic = bytes((0, 0, 8, dimensions))
    header = 4 + 4 * dimensions
    if len(content) < header or content[:4] != magic:
        raise DataError(
            f"{path} starts with {content[:4].hex() or 'nothing'}, but an IDX file of unsigned "
            f"bytes with {dimensions} dimension{'s' * (dimensions > 1)} starts with {magic.hex()}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    expected = int(np.prod(shape, dtype=object))
    if len(content) - header != expected:
        raise DataError(
            f"{path} holds {len(content) - header} bytes of data, but its header says "
            f"{'×'.join(map(str, shape))} = {expected}; fetch it again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _load_npz(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = [archive[key] for key in ("x_train", "y_train", "x_test", "y_test")]
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except KeyError as error:
        raise DataError(
            f"{path} lacks an array ({error.args[0]}); a data set needs x_train, y_train, x_test "
            "and y_test"
        ) from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a .npz file ({error})") from error
    return Dataset(path.stem, *arrays)


def _load_digits() -> Dataset:
    """Scikit-learn's 1797 digits of 8×8 pixels; every fifth one is a test image."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            "the digits come with scikit-learn, which is not installed; "
            "run pip install 'firstspike[digits]'"
        ) from error
    bunch = load_digits()
    # Levels 0 … 16 become 0 … 255.
    images = np.minimum(bunch.images * 16, 255).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    test = np.arange(len(labels)) % 5 == 4
    return Dataset("digits", images[~test], labels[~test], images[test], labels[test])


def _find(name: str, file: str, progress: bool) -> Path:
    """Path of one file of the set ``name``, after downloading it if need be."""
    folders: list[Path] = []
    if root := os.environ.get("FIRSTSPIKE_DATA"):
        folders.append(Path(root) / name)
        if name == "mnist":
            folders.append(Path(root))
    cache = cache_folder(name)
    folders.append(cache)
    for folder in folders:
        for candidate in (folder / f"{file}.gz", folder / file):
            if candidate.is_file():
                return candidate
    return _download(name, file, cache, progress)


def _download(name: str, file: str, cache: Path, progress: bool) -> Path:
    source = _SOURCES[name]
    target = cache / f"{file}.gz"
    reasons = []
    for mirror in source.mirrors:
        url = f"{mirror}{file}.gz"
        try:
            content = _fetch(url, f"{name} {file}", progress)
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            reasons.append(f"{url}: {reason}")
            continue
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != source.md5[file]:
            reasons.append(f"{url}: the checksum is wrong")
            continue
        try:
            cache.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{cache} cannot be made ({error.strerror})") from error
        with write_atomically(target) as output:
            output.write(content)
        return target
    raise DataError(
        f"{name} could not be downloaded ({_join(reasons)}); put its four .gz files in a folder "
        f"{name} and set FIRSTSPIKE_DATA to the folder above it"
    )


def _join(reasons: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))


def _fetch(url: str, label: str, progress: bool) -> bytes:
    from tqdm import tqdm

    with urllib.request.urlopen(url, timeout=_TIMEOUT) as response:
        size = int(response.headers.get("Content-Length", 0)) or None
        parts = []
        with tqdm(
            total=size, desc=label, unit="B", unit_scale=True, disable=None if progress else True
        ) as bar:
            while part := response.read(1 << 16):
                parts.append(part)
                bar.update(len(part))
    return b"".join(parts)
