"""Firstspike: time-to-first-spike networks on FPGAs, from training to a verified class."""

from .firmware.network import Layer, Network

__all__ = ["Layer", "Network", "__version__"]
__version__ = "0.1.0"
