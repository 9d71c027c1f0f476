"""Both sides of the wire: number formats, networks, configuration, registers, protocol, images.

Nothing here depends on anything but numpy, so the gateware, the simulators and the host library
share one definition of every table.
"""
