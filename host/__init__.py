"""Firstspike: time-to-first-spike networks on FPGAs, from training to a verified class."""

import importlib
import sys
from types import ModuleType

from .firmware import __version__
from .firmware.errors import FirstspikeError

TYPE_CHECKING = False  # to import that of typing would take longer than all the rest
if TYPE_CHECKING:
    from .compile import compile
    from .device import Device, Result, open
    from .firmware.config import Config, LayerConfig
    from .firmware.image import Image
    from .firmware.network import Layer, Network
    from .shipped import load_network

__all__ = [
    "Config",
    "Device",
    "FirstspikeError",
    "Image",
    "Layer",
    "LayerConfig",
    "Network",
    "Result",
    "__version__",
    "compile",
    "load_network",
    "open",
]

#: Where names are that are imported when they are first asked for, so that the command line can
#: start, and be interrupted, before numpy is loaded.
_MODULES = {
    "Config": ".firmware.config",
    "Device": ".device",
    "Image": ".firmware.image",
    "Layer": ".firmware.network",
    "LayerConfig": ".firmware.config",
    "Network": ".firmware.network",
    "Result": ".device",
    "load_network": ".shipped",
    "open": ".device",
}


if not TYPE_CHECKING:

    def __getattr__(name):
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_MODULES[name], __name__), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """This package, in which ``compile`` is the function whoever imports the module it is in."""

    @property
    def compile(self) -> object:
        return importlib.import_module(".compile", __name__).compile

    @compile.setter
    def compile(self, module: ModuleType) -> None:
        # The import system puts the module here once it is imported.
        pass


sys.modules[__name__].__class__ = _Package
