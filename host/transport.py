"""Transports: serial ports, pyserial's URLs, and boards that exist only as a model or simulation.

A transport moves bytes and knows nothing of frames; :class:`~firstspike.link.Link` does.
"""

import contextlib
import errno
import os
import select
import sys
import time
from collections.abc import Callable
from typing import Any

from .firmware.config import Config
from .firmware.errors import DataError, DeviceLost, PortError
from .firmware.network import Network
from .firmware.suggest import suggest
from .firmware.transport import Transport

__all__ = [
    "DEFAULT_BAUD",
    "MAX_BAUD",
    "VIRTUAL",
    "VIRTUAL_BAUD",
    "Line",
    "SerialTransport",
    "is_virtual",
    "open_virtual",
    "virtual_config",
]

#: What lies between host and port: opens the port by the function it is given, and returns the
#: transport to use.
Line = Callable[[Callable[[], Transport]], Transport]

DEFAULT_BAUD = 1_000_000
MAX_BAUD = 12_000_000

#: Of the boards below: the fewer cycles a byte takes, the sooner a simulation is done.
VIRTUAL_BAUD = MAX_BAUD

#: Ports that stand for no device: the golden model, and the compiled cycle-accurate simulation,
#: each behind the same link as a board.
VIRTUAL = ("model:", "sim:")

#: Before the name of a board: the netlist that is synthesised for it, simulated behind the link.
_NETLIST = "netlist:"

#: Seconds that the other side may leave our bytes where they are.
_WRITE_TIMEOUT = 10.0

#: Seconds between two looks at a port that cannot be waited for.
_POLL = 0.001

_CHUNK = 1 << 16


def is_virtual(port: str) -> bool:
    """Whether ``port`` names a board that needs no hardware."""
    return port in VIRTUAL or port.startswith(_NETLIST)


def virtual_config(port: str, network: Network) -> Config:
    """What the board that ``port`` names is built for, if nothing but the network is given.

    Raises
    ------
    BuildError
        If there is no such board.
    """
    if port.startswith(_NETLIST):
        from .netlist_port import configure

        return configure(port.removeprefix(_NETLIST), network)
    return Config.for_network(network)


def open_virtual(port: str, config: Config, baud: int = VIRTUAL_BAUD) -> Transport:
    """Make the board that ``model:``, ``sim:`` or ``netlist:BOARD`` names.

    Parameters
    ----------
    port : str
        For which :func:`is_virtual` holds.
    config : Config
        What the board is built for.
    baud : int
        Rate of its line; time on it is virtual, so it costs nothing to wait.

    Raises
    ------
    BuildError
        If the simulation's tools are missing or fail.
    DataError
        If the board's clock cannot be divided down to the baud rate.
    """
    from .sim.virtual_board import DEFAULT_CLOCK_HZ, Backend, ModelBackend, VirtualBoard

    backend: Backend
    if port == "model:":
        backend = ModelBackend(config)
    else:
        from .sim.engine import AcceleratorSimulation

        netlist = None
        if port.startswith(_NETLIST):
            from .netlist_port import synthesise

            netlist = synthesise(port.removeprefix(_NETLIST), config, DEFAULT_CLOCK_HZ)
        backend = AcceleratorSimulation(config, netlist=netlist)
    return VirtualBoard(backend, baud=baud)


class SerialTransport:
    """A serial port, or anything else that pyserial opens.

    Parameters
    ----------
    port : str
        ``/dev/ttyUSB1``, ``COM3``, ``socket://host:4000``, ``rfc2217://host:4000`` …
    baud : int

    Raises
    ------
    PortError
        If the port does not exist, may not be used, is in use or is no serial port.
    DataError
        If the baud rate is out of range.
    """

    def __init__(self, port: str, baud: int = DEFAULT_BAUD) -> None:
        import serial

        if not 0 < baud <= MAX_BAUD:
            raise DataError(f"the baud rate is {baud}, but the range is 1 to {MAX_BAUD}")
        self._name = port
        # pyserial's RFC 2217 client knows no time-out for writing.
        patience = None if port.startswith("rfc2217:") else _WRITE_TIMEOUT
        try:
            # Reading never blocks: waiting is done here, for any number of bytes.
            self._port: Any = serial.serial_for_url(
                port, baud, timeout=0, write_timeout=patience, exclusive=True
            )
        except (OSError, ValueError) as error:
            raise PortError(_explain(port, error)) from error
        self._descriptor = self._find_descriptor()
        # An FTDI chip otherwise keeps short answers for 16 ms. Linux alone can ask it not to, which
        # means nothing to a URL (AttributeError) or to other chips (ValueError).
        if sys.platform == "linux":
            with contextlib.suppress(AttributeError, OSError, ValueError):
                self._port.set_low_latency_mode(True)

    def write(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises
        ------
        DeviceLost
            If the port is gone, or takes no bytes.
        """
        try:
            self._port.write(data)
        except OSError as error:
            raise self._lost(error) from error

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, at least one byte, or ``b""`` after ``timeout`` seconds.

        Raises
        ------
        DeviceLost
            If the port is gone.
        """
        deadline = time.monotonic() + timeout
        try:
            while True:
                data = self._port.read(_CHUNK)
                left = deadline - time.monotonic()
                if data or left <= 0:
                    return data
                if self._descriptor is None:
                    time.sleep(min(left, _POLL))
                else:
                    select.select([self._descriptor], [], [], left)
        except (OSError, TypeError) as error:
            # pyserial lets a TypeError through when the port is closed under its hands.
            raise self._lost(error) from error

    def close(self) -> None:
        """Give the port back; closing twice does nothing."""
        # Where the other side is gone, pyserial forgets its socket without closing it.
        forgotten = getattr(self._port, "_socket", None)
        self._port.close()
        if forgotten is not None:
            forgotten.close()

    def _find_descriptor(self) -> int | None:
        """What ``select`` can wait for, where there is such a thing."""
        try:
            return self._port.fileno()
        except (AttributeError, OSError):
            return None

    def _lost(self, error: Exception) -> DeviceLost:
        return DeviceLost(
            f"{self._name} went away while it was in use ({_reason(error)}); "
            "plug it in again or start what served it"
        )


def _cause(error: BaseException) -> OSError | None:
    """The system's own error, which pyserial puts a text around."""
    while not (isinstance(error, OSError) and error.errno):
        number = error.args[0] if error.args and isinstance(error.args[0], int) else None
        if number:
            # termios.error is no OSError, but carries the same number.
            return OSError(number, os.strerror(number))
        inner = error.__cause__ or error.__context__
        if inner is None:
            return None
        error = inner
    return error


def _reason(error: Exception) -> str:
    """The system's reason for a failure, or what pyserial says."""
    cause = _cause(error)
    return str(cause.strerror or cause) if cause else str(error)


def _explain(port: str, error: Exception) -> str:
    """Say in one sentence why a port cannot be opened, and what to do."""
    cause = _cause(error)
    match cause.errno if cause else None:
        case errno.ENOENT | errno.ENODEV | errno.ENXIO if "://" not in port:
            near = suggest(port, (*VIRTUAL, f"{_NETLIST}BOARD"), list_all=False)
            return f"there is no port {port}{near}; {_ports_present()}"
        case errno.EACCES | errno.EPERM:
            return (
                f"{port} may not be used by this account; join the group that owns it "
                f"(`sudo usermod -aG {_group(port)} $USER`) and log in again"
            )
        case errno.EBUSY | errno.EAGAIN:
            return f"{port} is in use by another program; close that first"
        case errno.ENOTTY | errno.EISDIR | errno.EINVAL if "://" not in port:
            return f"{port} is no serial port; {_ports_present()}"
    reason = _reason(error)
    if isinstance(error.__context__, TypeError):
        # pyserial compares the number that a URL lacks.
        reason = "it has no number of a port"
    return f"{port} cannot be opened ({reason}); {_ports_present()}"


def _ports_present() -> str:
    from serial.tools.list_ports import comports

    ports = sorted(found.device for found in comports())
    return f"give one of {', '.join([*ports, *VIRTUAL])} or a URL such as socket://host:4000"


def _group(port: str) -> str:
    """The group that owns a port, ``dialout`` where that cannot be told."""
    # Not every system knows groups, and not every group has a name.
    with contextlib.suppress(ImportError, OSError, KeyError):
        import grp

        return grp.getgrgid(os.stat(port).st_gid).gr_name
    return "dialout"
