"""Firstspike: time-to-first-spike networks on FPGAs, from training to a verified class."""

from .compile import compile
from .device import Device, Result, open
from .firmware import __version__
from .firmware.config import Config, LayerConfig
from .firmware.errors import FirstspikeError
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
