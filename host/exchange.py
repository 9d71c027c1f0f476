"""The host's side of the protocol, sans-IO: what to write, and which request is answered.

:class:`Exchange` is told what arrived, and that nothing arrived; :class:`~firstspike.link.Link`
moves its bytes.
"""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from .firmware.errors import DataError, NoisyLine, Refused
from .firmware.framing import FRAME_OVERHEAD, Frame, FrameDecoder, coded_bytes
from .firmware.protocol import ANSWER, Op, Status

__all__ = ["Exchange", "Request", "Statistics"]

#: Sequence numbers in use at once. Half of what 8 bits tell apart: an answer that comes twice, as
#: after a time-out that was too short, comes before that of the request that reuses its number.
_WINDOW = 128

#: Credit before the device has told its buffer: enough for one greeting.
_FIRST_CREDIT = 64

#: Requests in turn that may be on their way at any rate: enough for one of them to get through, so
#: that the loss of the others is heard of without waiting.
_LEAST_IN_TURN = 8.0

_TERMINATOR = b"\0"


@dataclass(frozen=True)
class Request:
    """One operation for the device.

    Parameters
    ----------
    op : Op
    arg : int
    payload : bytes
    answer_bytes : int
        Size of the answer's payload where it is larger than the request, which keeps the bytes on
        their way back as few as those on their way out.
    in_turn : bool
        The device takes it only after those made before it, as a sample to learn. If it comes too
        early it is sent again; if it was done before, its answer's payload is empty.
    """

    op: Op
    arg: int = 0
    payload: bytes = b""
    answer_bytes: int = 0
    in_turn: bool = False


@dataclass
class Statistics:
    """Counts since the device was opened.

    Parameters
    ----------
    requests : int
        Requests done.
    refused : int
        Requests that the device refused.
    frames_sent, frames_received : int
        Frames in each direction; those received were whole.
    retries : int
        Frames sent again.
    silences : int
        Times that an answer was waited for in vain.
    dropped : int
        Runs of bytes received that were no frame.
    stray : int
        Whole frames received that answer nothing that is asked.
    bytes_sent, bytes_received : int
    reconnections : int
        Times that the device went away and came back.
    resets : int
        Times that it was found to have been reset.
    reloads : int
        Times that a model was loaded once more, because of a reset or because it was not held.
    """

    requests: int = 0
    refused: int = 0
    frames_sent: int = 0
    frames_received: int = 0
    retries: int = 0
    silences: int = 0
    dropped: int = 0
    stray: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    reconnections: int = 0
    resets: int = 0
    reloads: int = 0

    @property
    def errors(self) -> dict[str, int]:
        """Counts of what went wrong, but for those of which there are none."""
        return {name: value for name in _ERRORS if (value := getattr(self, name))}


_ERRORS = (
    *("refused", "retries", "silences", "dropped", "stray"),
    *("reconnections", "resets", "reloads"),
)


class _Pending:
    """A request that waits for its answer."""

    __slots__ = ("attempts", "cost", "frame", "request", "sent")

    def __init__(self, request: Request, frame: bytes) -> None:
        self.request = request
        self.frame = frame
        self.cost = max(len(frame), request.answer_bytes + FRAME_OVERHEAD)
        self.attempts = 1
        #: Numbers of its transmissions that may still be answered.
        self.sent: deque[int] = deque()


class Exchange:
    """Matches answers to requests, keeps within the device's buffer, sends again what got lost.

    The device answers in the order in which frames reach it. So an answer tells that every frame
    sent before its own, and still unanswered, was lost on the way out or back: these are sent
    again at once, under the same sequence number. Of a request that was sent more than once, an
    answer counts as that to the first transmission that may still be answered. Only silence needs a
    clock, see :meth:`resend`.

    Requests that the device takes in turn are refused while one before them is missing. Each is
    sent again when that is heard, and so after the missing one and in the order in which they were
    made. All that is on its way behind a missing one is sent in vain. So after each loss, half as
    many are on their way, and with each answer a little more, as in the congestion control of TCP
    (Jacobson, 1988).

    Parameters
    ----------
    credit : int
        Bytes that may be on their way at once: the device's buffer.
    retries : int
        Times that one request is sent again before the line counts as unusable.
    statistics : Statistics, optional
        Counts to go on from.
    first : int
        Sequence number of the first request. A device may still have answers to give to whoever
        used it before, and these must not pass for answers to this host.

    Attributes
    ----------
    statistics : Statistics
    """

    def __init__(
        self,
        credit: int = _FIRST_CREDIT,
        retries: int = 8,
        statistics: Statistics | None = None,
        *,
        first: int = 0,
    ) -> None:
        self.credit = credit
        self.statistics = Statistics() if statistics is None else statistics
        self._retries = retries
        self._decoder = FrameDecoder()
        self._outgoing = bytearray()
        self._seq = first % 256
        # In the order of transmission, which is the order of the answers.
        self._pending: dict[int, _Pending] = {}
        self._in_flight = 0
        # Number of the last transmission, and of the last that an answer told of.
        self._last = self._heard = 0
        # Requests in turn that are on their way, and how many may be.
        self._in_turn = 0
        self._most_in_turn = float(_WINDOW)
        # Answers whose turn has not come, by sequence number, and the number whose turn it is.
        self._answered: dict[int, bytes] = {}
        self._turn = self._seq

    @property
    def next_sequence(self) -> int:
        """Sequence number of the next request."""
        return self._seq

    @property
    def idle(self) -> bool:
        """Whether every request has been answered and every answer taken."""
        return not self._pending and not self._answered

    def admits(self, request: Request) -> bool:
        """Whether :meth:`submit` may be called now."""
        if self.idle:
            return True
        coded = coded_bytes(len(request.payload))
        cost = max(coded, request.answer_bytes + FRAME_OVERHEAD)
        if request.in_turn and self._in_turn >= self._most_in_turn:
            return False
        return (self._seq - self._turn) % 256 < _WINDOW and self._in_flight + cost <= self.credit

    def submit(self, request: Request) -> None:
        """Take a request; its bytes are in :meth:`outgoing`.

        Raises
        ------
        DataError
            If it is longer than the device's buffer.
        """
        frame = Frame(request.op, self._seq, request.arg, request.payload).encode()
        if len(frame) > self.credit:
            raise DataError(
                f"a request of {len(frame)} bytes was made, but the device's buffer holds "
                f"{self.credit}"
            )
        pending = _Pending(request, frame)
        self._pending[self._seq] = pending
        self._in_flight += pending.cost
        self._in_turn += request.in_turn
        self._seq = (self._seq + 1) % 256
        self._send(pending)

    def outgoing(self) -> bytes:
        """Take the bytes to write."""
        data = bytes(self._outgoing)
        self._outgoing.clear()
        self.statistics.bytes_sent += len(data)
        return data

    def receive(self, data: bytes) -> bool:
        """Take bytes that arrived; return whether a request was answered, or told to wait its turn.

        Raises
        ------
        NoReply
            If a request got lost more often than it may be sent again.
        Refused
            If the device refused a request. Answers that came before can still be taken.
        """
        self.statistics.bytes_received += len(data)
        accepted, dropped = self._decoder.accepted, self._decoder.dropped
        frames = list(self._decoder.feed(data))
        self.statistics.frames_received += self._decoder.accepted - accepted
        self.statistics.dropped += self._decoder.dropped - dropped
        heard = False
        for frame in frames:
            # What answers nothing that is asked is no sign of life: an echo of our own requests, or
            # answers to somebody else's.
            heard |= self._take(frame)
        return heard

    def resend(self, *, hasty: bool = False) -> None:
        """Send everything unanswered again: nothing has been heard for too long.

        Parameters
        ----------
        hasty : bool
            The wait was short, so that this counts for nobody as an attempt.

        Raises
        ------
        NoReply
            If a request got lost more often than it may be sent again.
        """
        self.statistics.silences += 1
        # What the line made up meanwhile must not become the head of a frame.
        self._outgoing += _TERMINATOR
        for pending in self._pending.values():
            pending.sent.clear()
            pending.attempts -= hasty
        self._send_all_again(list(self._pending))

    def answers(self) -> Iterator[bytes]:
        """Take the payloads of the answers that have come, in the order of their requests."""
        while self._turn in self._answered:
            payload = self._answered.pop(self._turn)
            self._turn = (self._turn + 1) % 256
            yield payload

    def abandon(self) -> None:
        """Forget every request, and close what may have been written of a frame."""
        self._pending.clear()
        self._answered.clear()
        self._in_flight = self._in_turn = 0
        self._turn = self._seq
        self._outgoing[:] = _TERMINATOR

    def _send(self, pending: _Pending) -> None:
        self._last += 1
        pending.sent.append(self._last)
        self._outgoing += pending.frame
        self.statistics.frames_sent += 1

    def _send_all_again(self, lost: list[int]) -> None:
        """Send what got lost again, in the order in which it was asked for."""
        for seq in sorted(lost, key=self._age):
            self._pending[seq] = pending = self._pending.pop(seq)
            self._send_again(pending)

    def _age(self, seq: int) -> int:
        """Requests between the one whose turn it is and that of a sequence number in use."""
        return (seq - self._turn) % 256

    def _send_again(self, pending: _Pending) -> None:
        pending.attempts += 1
        if pending.attempts > self._retries + 1:
            raise NoisyLine(
                f"a request got lost {self._retries + 1} times; the line is too noisy, so lower "
                "the baud rate or check the cable"
            )
        self.statistics.retries += 1
        self._send(pending)

    def _take(self, frame: Frame) -> bool:
        """Match one frame; return whether it belongs to a request."""
        pending = self._pending.get(frame.seq)
        if pending is None or frame.op != pending.request.op | ANSWER:
            self.statistics.stray += 1
            return False
        lost = self._lost_before(pending)
        if self._came_early(frame, pending):
            if lost:
                self._most_in_turn = max(self._in_turn / 2, _LEAST_IN_TURN)
            pending.sent.popleft()
            if not pending.sent:
                # It reached the device, so the line cannot be blamed for this attempt.
                pending.attempts -= 1
                lost.append(frame.seq)
            self._send_all_again(lost)
            return True
        del self._pending[frame.seq]
        self._in_flight -= pending.cost
        if pending.request.in_turn:
            self._in_turn -= 1
            self._most_in_turn = min(self._most_in_turn + 1 / self._most_in_turn, _WINDOW)
        repeated = pending.request.in_turn and frame.arg == Status.REPEATED
        if frame.arg != Status.OK and not repeated:
            self.statistics.refused += 1
            raise Refused(
                f"{pending.request.op.name} was refused: {_sentence(frame.arg)}", frame.arg
            )
        self.statistics.requests += 1
        self._answered[frame.seq] = frame.payload
        self._send_all_again(lost)
        return True

    def _lost_before(self, answered: _Pending) -> list[int]:
        """Requests of which an answer tells that no transmission will be answered any more."""
        sent = answered.sent
        while len(sent) > 1 and sent[0] < self._heard:
            sent.popleft()
        self._heard = max(self._heard, sent[0])
        # They stand in the order of their last transmissions.
        return [
            seq
            for seq, _ in itertools.takewhile(
                lambda item: item[1].sent[-1] < sent[0], self._pending.items()
            )
        ]

    def _came_early(self, frame: Frame, pending: _Pending) -> bool:
        """Whether a request was refused because one before it is missing."""
        if not pending.request.in_turn or frame.arg != Status.OUT_OF_ORDER:
            return False
        return any(
            other.request.in_turn and self._age(seq) < self._age(frame.seq)
            for seq, other in self._pending.items()
        )


def _sentence(status: int) -> str:
    """A status in words, also one that this release does not know."""
    try:
        return Status(status).sentence
    except ValueError:
        return f"the device gave status {status}"
