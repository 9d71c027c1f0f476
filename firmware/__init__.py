"""Both sides of the wire: number formats, networks, configuration, registers, protocol, images.

Nothing here depends on anything but numpy, so the gateware, the simulators and the host library
share one definition of every table.
"""

__all__ = ["__version__"]

#: The release, which every device built with it tells as well.
__version__ = "0.1.0"
