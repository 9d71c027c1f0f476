"""The connection to a device: it is opened, and found again if the device goes away."""

import random
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import TypeVar

from .exchange import Statistics
from .firmware.config import DEFAULT_BUFFER_BYTES, Config
from .firmware.errors import ConfigurationMismatch, DeviceLost, LinkError, NoReply, PortError
from .firmware.protocol import Hello
from .firmware.transport import Transport
from .link import Link
from .transport import (
    DEFAULT_BAUD,
    VIRTUAL_BAUD,
    Line,
    SerialTransport,
    is_virtual,
    open_virtual,
)

__all__ = ["RECOVERIES", "Connection", "demand_same"]

_T = TypeVar("_T")

#: Times that a device may be lost or reset without having answered a sample in between.
RECOVERIES = 8

#: Seconds of silence before a frame is sent again, on top of what a full buffer takes on the line.
_PATIENCE = 1.0

#: Seconds between two attempts to find a lost device again.
_RECONNECT_INTERVAL = 0.1


class Connection:
    """The port of a device, with what is known of the device behind it.

    Parameters
    ----------
    port, baud, timeout, retries, reconnect, line
        See :class:`~firstspike.device.Device`.

    Attributes
    ----------
    port : str
    statistics : Statistics
        Counts of all links there have been, and of what went wrong besides.
    see_to_model : callable
        Called when a device that was lost is there again, to see to what it holds.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int | None,
        timeout: float | None,
        retries: int,
        reconnect: float,
        line: Line | None,
    ) -> None:
        self.port = port
        self.statistics = Statistics()
        self.see_to_model: Callable[[], None] = lambda: None
        self._line = line
        default = VIRTUAL_BAUD if is_virtual(port) else DEFAULT_BAUD
        self._baud = default if baud is None else baud
        self._timeout = timeout
        self._retries = retries
        self._reconnect = reconnect
        self._connected: tuple[Link, Hello] | None = None

    @property
    def is_open(self) -> bool:
        """Whether it has ever been opened."""
        return self._connected is not None

    @property
    def link(self) -> Link:
        """The link; raises what :attr:`hello` does."""
        return self._demand_open()[0]

    @property
    def hello(self) -> Hello:
        """The device's account of itself.

        Raises
        ------
        LinkError
            If the port is virtual and nothing says yet what to build.
        """
        return self._demand_open()[1]

    @property
    def config(self) -> Config:
        """What the device is built for; raises what :attr:`hello` does."""
        return self.hello.config

    def open(self, config: Config | None) -> None:
        """Open the port and greet the device.

        Parameters
        ----------
        config : Config, optional
            What the device is expected to be built for; a virtual one is built for it.

        Raises
        ------
        PortError, NoReply, ConfigurationMismatch, BuildError
            See :class:`~firstspike.device.Device`.
        """

        def connect() -> Transport:
            if is_virtual(self.port):
                assert config is not None
                return open_virtual(self.port, config, self._baud)
            return SerialTransport(self.port, self._baud)

        transport = connect() if self._line is None else self._line(connect)
        timeout = self._timeout
        if timeout is None:
            buffer = config.buffer_bytes if config else DEFAULT_BUFFER_BYTES
            # Ten bits a byte, there and back.
            timeout = _PATIENCE + 20 * buffer / self._baud
        try:
            link = Link(
                transport,
                f"{self.port} at {self._baud} baud",
                timeout,
                self._retries,
                self.statistics,
                first=self._first_sequence(),
            )
            hello = link.hello()
            if config is not None:
                demand_same(
                    config, hello.config, f"{self.port} is not the device that was expected"
                )
        except BaseException:
            transport.close()
            raise
        self._connected = link, hello

    def close(self) -> None:
        """Give the port back; closing twice does nothing."""
        if self._connected is not None:
            self._connected[0].close()

    def persistently(self, action: Callable[[], _T]) -> _T:
        """Do something that may be done twice; again if the device goes away and comes back.

        Raises
        ------
        DeviceLost
            If it does not come back, or goes away again and again.
        """
        attempts = 0
        while True:
            try:
                return action()
            except DeviceLost as lost:
                attempts += 1
                if attempts > RECOVERIES:
                    raise
                self.find_again(lost)

    def find_again(self, lost: DeviceLost) -> None:
        """Connect to a lost device once more and have its model seen to, or raise."""
        # A virtual board never goes away by itself, but its cable may be pulled.
        if not self._reconnect or (is_virtual(self.port) and self._line is None):
            raise lost
        self.close()
        deadline = time.monotonic() + self._reconnect
        while True:
            try:
                self.open(self.config)
                self.statistics.reconnections += 1
                self.see_to_model()
                return
            except (PortError, NoReply, DeviceLost) as error:
                if time.monotonic() > deadline:
                    raise DeviceLost(
                        f"{lost} (it did not come back within {self._reconnect:g} s: {error})"
                    ) from error
                self.close()
                time.sleep(_RECONNECT_INTERVAL)

    def _demand_open(self) -> tuple[Link, Hello]:
        if self._connected is None:
            raise LinkError(
                f"{self.port} stands for no device yet; load a model, which says what to build, "
                "or give a configuration when opening it"
            )
        return self._connected

    def _first_sequence(self) -> int:
        """Where sequence numbers begin, so that no answer to an earlier host passes for ours."""
        if self._connected is not None:
            return self.link.next_sequence
        # Nobody else has used a virtual board, and what it says can be told in advance.
        return 0 if is_virtual(self.port) else random.randrange(256)


def demand_same(asked: Config, built: Config, consequence: str) -> None:
    """Raise ConfigurationMismatch, which begins with ``consequence``, unless they are the same."""
    if asked.digest != built.digest:
        raise ConfigurationMismatch(
            f"{consequence}: {_first_difference(asked, built)}; load the network itself, which is "
            "compiled for the device, or rebuild the device"
        )


def _first_difference(asked: Config, built: Config) -> str:
    """Say where two configurations differ."""
    if len(asked.layers) != len(built.layers):
        return f"{len(asked.layers)} layers were asked for, but it is built for {len(built.layers)}"
    pairs = [
        (f"{name} of layer {index}", value, asdict(theirs)[name])
        for index, (ours, theirs) in enumerate(zip(asked.layers, built.layers, strict=True))
        for name, value in asdict(ours).items()
    ]
    pairs += [
        (name, getattr(asked, name), getattr(built, name))
        for name in ("max_steps", "buffer_bytes", "learning")
    ]
    name, ours, theirs = next(pair for pair in pairs if pair[1] != pair[2])
    return f"{name} was to be {ours}, but is {theirs}"
