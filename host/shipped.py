"""Networks that come with the package, by name."""

import os
from pathlib import Path

from .firmware.errors import ModelFileError
from .firmware.network import Network
from .firmware.suggest import suggest

__all__ = ["load_network", "names"]

_FOLDER = Path(__file__).with_name("models")


def names() -> tuple[str, ...]:
    """Names of the networks that come with the package."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.npz")))


def load_network(name: str | os.PathLike[str]) -> Network:
    """Load a network that comes with the package, by its name, or any by its path.

    Raises
    ------
    ModelFileError
        If there is no such network, or the file is damaged.
    """
    text = os.fspath(name)
    if text in names():
        return Network.load(_FOLDER / f"{text}.npz")
    if not Path(text).exists():
        raise ModelFileError(
            f"{text} is no file and no network that comes with Firstspike{suggest(text, names())}"
        )
    return Network.load(text)
