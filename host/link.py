"""The host's side of the link: requests go in, answers come out, whatever the line does to both.

:class:`Link` moves the bytes of an :class:`~firstspike.exchange.Exchange`, which is the protocol,
over a transport, which is anything that can ``write``, ``read`` and ``close``: a serial port, a
socket, a simulator.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

from .exchange import Exchange, Request, Statistics
from .firmware.errors import ConfigurationMismatch, DataError, NoReply, Refused
from .firmware.protocol import Hello, Op
from .firmware.transport import Transport, VirtualTransport

__all__ = ["Link"]

#: Share of the time-out that is waited for an answer once the device is known to be quick, and what
#: the wait is multiplied by with each answer.
_SHORTEST_WAIT = 1 / 16
_SHORTER = 0.5

#: Times that a greeting is sent again before there is no device.
_SILENCES = 3


class Link:
    """A conversation with a device over a transport.

    Parameters
    ----------
    transport : Transport
    name : str
        What the errors call the device, such as ``/dev/ttyUSB1 at 1000000 baud``.
    timeout : float
        Seconds of silence after which unanswered requests are sent again. It must exceed the time
        that a full device buffer takes on the line. While answers come, a sixteenth of it will do;
        each silence doubles the wait, and an answer that comes twice, as after too short a one,
        makes it whole again.
    retries : int
    statistics : Statistics, optional
    first : int
        See :class:`~firstspike.exchange.Exchange`.
    """

    def __init__(
        self,
        transport: Transport,
        name: str,
        timeout: float = 0.5,
        retries: int = 8,
        statistics: Statistics | None = None,
        *,
        first: int = 0,
    ) -> None:
        self._transport = transport
        self._clock = transport.clock if isinstance(transport, VirtualTransport) else time.monotonic
        self._name = name
        self._timeout = self._wait = timeout
        self._retries = retries
        self._exchange = Exchange(retries=retries, statistics=statistics, first=first)
        self._settled = False
        self._noise = b""
        # Where the counts stood when this link was opened, and that of damage at the last answer.
        self._first = replace(self.statistics)
        self._damaged = self.statistics.dropped

    @property
    def statistics(self) -> Statistics:
        """Counts since the link was opened, and those that it went on from."""
        return self._exchange.statistics

    @property
    def next_sequence(self) -> int:
        """Sequence number of the next request."""
        return self._exchange.next_sequence

    def hello(self) -> Hello:
        """Ask the device for an account of itself; whatever was under way before is forgotten.

        Raises
        ------
        NoReply
            If nothing that makes sense comes back.
        DeviceLost
            If the device went away.
        ConfigurationMismatch
            If it speaks another protocol version or contradicts itself.
        """
        self._exchange.abandon()
        (payload,) = self._run([Request(Op.HELLO)])
        try:
            hello = Hello.decode(payload)
        except DataError as error:
            raise ConfigurationMismatch(f"{self._name}: {error}") from error
        self._exchange.credit = hello.config.buffer_bytes
        return hello

    def call(self, request: Request) -> bytes:
        """Make one request and return its answer's payload; raises what :meth:`stream` does."""
        (payload,) = self.stream([request])
        return payload

    def stream(self, requests: Iterable[Request]) -> Iterator[bytes]:
        """Make requests and yield the payloads of their answers, in the order of the requests.

        As many requests are on their way as the device can hold. ``requests`` is consumed as the
        answers come in. Stopping early, also by an exception, leaves the link usable.

        Raises
        ------
        NoReply
            If the device does not answer, or the line loses every attempt.
        DeviceLost
            If the device went away.
        Refused
            If the device refused a request; the answers before it have been yielded.
        """
        if not self._settled:
            self.hello()
        yield from self._run(requests)

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def _run(self, requests: Iterable[Request]) -> Iterator[bytes]:
        """Do what :meth:`stream` does, without a greeting."""
        exchange = self._exchange
        upcoming = iter(requests)
        request = next(upcoming, None)
        # Stays unset if anything ends this generator before its end.
        self._settled = False
        silences = 0
        # How long to wait is for the transport to measure, whose time may be a simulation's. The
        # deadline is for a line that never falls silent and yet never brings an answer.
        deadline = self._clock() + self._timeout
        while request or not exchange.idle:
            while request and exchange.admits(request):
                exchange.submit(request)
                request = next(upcoming, None)
            if outgoing := exchange.outgoing():
                self._transport.write(outgoing)
            data = self._transport.read(self._wait)
            stray = self.statistics.stray
            try:
                heard = exchange.receive(data)
            except Refused:
                yield from exchange.answers()
                raise
            if self.statistics.stray > stray:
                self._wait = self._timeout
                if self._owed:
                    # Late answers to what was sent again: what is new comes after them, and to send
                    # it again as well would make more of them.
                    deadline = self._clock() + self._timeout
            elif heard:
                self._wait = max(self._timeout * _SHORTEST_WAIT, self._wait * _SHORTER)
            if heard:
                silences = 0
                self._damaged = self.statistics.dropped
            elif data and self._clock() < deadline:
                self._noise = data
                continue
            elif silences >= (self._retries if self._plausible else _SILENCES):
                raise NoReply(self._explain_silence())
            else:
                hasty = self._wait < self._timeout
                silences += not hasty
                self._wait = min(self._timeout, 2 * self._wait)
                exchange.resend(hasty=hasty)
            yield from exchange.answers()
            deadline = self._clock() + self._timeout
        self._settled = True

    @property
    def _owed(self) -> bool:
        """Whether no more frames have come than were sent: one that is stray may be ours."""
        sent = self.statistics.frames_sent - self._first.frames_sent
        return self.statistics.frames_received - self._first.frames_received <= sent

    @property
    def _plausible(self) -> bool:
        """Whether a device may be there behind a bad line: it has answered, or tried to."""
        return self._answers or self.statistics.dropped > self._first.dropped

    @property
    def _answers(self) -> bool:
        """Whether the device has answered."""
        return self.statistics.requests > self._first.requests

    def _explain_silence(self) -> str:
        """Say why there is no reply."""
        damaged = self.statistics.dropped - self._damaged
        if self._answers and damaged:
            return (
                f"{self._name} stopped answering after {damaged} damaged answers; the line is too "
                "noisy, so lower the baud rate or check the cable"
            )
        if self._answers:
            return (
                f"{self._name} stopped answering; check its power and cable, reset it and load the "
                "model again"
            )
        if self._noise:
            return (
                f"{self._name} sends bytes that are no answers, such as "
                f"{self._noise[:8].hex(' ')}; check that it is a Firstspike device, that the baud "
                "rates agree and that no other program uses it"
            )
        return (
            f"{self._name} does not answer; check that it is programmed with a Firstspike "
            "bitstream and that the baud rates agree"
        )
