"""What carries bytes between host and device: a serial port, a socket, a simulated board."""

from typing import Protocol, runtime_checkable

__all__ = ["Transport", "VirtualTransport"]


class Transport(Protocol):
    """What carries the bytes, seen from the host, and keeps the time while it waits for them."""

    def write(self, data: bytes) -> None:
        """Send all of ``data``; raise DeviceLost if the other side is gone."""

    def read(self, timeout: float) -> bytes:
        """Return what has arrived, at least one byte, or ``b""`` after ``timeout`` seconds.

        Raise DeviceLost if the other side is gone.
        """

    def close(self) -> None:
        """Give the port back; nothing can be sent or received any more."""


@runtime_checkable
class VirtualTransport(Transport, Protocol):
    """A transport to a board that is not real, whose time need not pass as fast as others'.

    What stands before one has the same two members.
    """

    def clock(self) -> float:
        """Seconds by the board's own clock."""

    def reset(self, *, power: bool = False) -> None:
        """Reset the device; with ``power``, as if it had been switched off and on again."""
