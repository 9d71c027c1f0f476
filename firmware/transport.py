"""What carries bytes between host and device: a serial port, a socket, a simulated board."""

from typing import Protocol

__all__ = ["Transport"]


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
