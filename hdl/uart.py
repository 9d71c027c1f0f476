"""An asynchronous serial line, 8N1, as streams of bytes."""

from fractions import Fraction

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from ..firmware.errors import DataError

__all__ = ["UartReceiver", "UartTransmitter", "bit_period"]

#: With fewer clocks a bit, a receiver cannot keep clear of the edges at 2 % baud error.
_MIN_CLOCKS = 4
_MAX_FRACTION_BITS = 8
_TOLERANCE = Fraction(1, 1000)

_DATA_BITS = 8


def bit_period(clock_hz: int, baud: int) -> tuple[int, int]:
    """Length of a bit in clocks, as a fixed-point number.

    Returns
    -------
    period, fraction_bits
        The bit lasts ``period / 2**fraction_bits`` clocks, within 0.1 % of what was asked wherever
        8 fraction bits suffice for that; there are no more of them than needed.

    Raises
    ------
    DataError
        If the clock is too slow for the baud rate.
    """
    exact = Fraction(clock_hz, baud)
    if exact < _MIN_CLOCKS:
        raise DataError(
            f"{baud} baud were asked for, but with a clock of {clock_hz} Hz the limit is "
            f"{clock_hz // _MIN_CLOCKS} ({_MIN_CLOCKS} clocks a bit); "
            "choose a lower baud rate or a faster clock"
        )
    for fraction_bits in range(_MAX_FRACTION_BITS + 1):
        period = round(exact * (1 << fraction_bits))
        if abs(Fraction(period, 1 << fraction_bits) - exact) <= _TOLERANCE * exact:
            break
    return period, fraction_bits


class _BitTimer(wiring.Component):
    """Marks points in time that are a bit apart on average, each on the next whole clock.

    Parameters
    ----------
    period, fraction_bits : int
        See :func:`bit_period`.

    Members
    -------
    restart : In(1)
        The first point is ``first`` clocks from now, in units of the period.
    first : In
        As ``period``; at least one clock.
    strobe : Out(1)
        A point in time.
    """

    def __init__(self, period: int, fraction_bits: int) -> None:
        self.period = period
        self.fraction_bits = fraction_bits
        self.clock = 1 << fraction_bits
        super().__init__({"restart": In(1), "first": In(range(self.period + 1)), "strobe": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        left = Signal.like(self.first, init=0)
        step = Signal(range(-self.clock, self.period - self.clock + 1))
        m.d.comb += [
            self.strobe.eq(left[self.fraction_bits :] == 0),
            step.eq(-self.clock),
        ]
        with m.If(self.strobe):
            m.d.comb += step.eq(self.period - self.clock)
        m.d.sync += left.eq(left + step)
        with m.If(self.restart):
            m.d.sync += left.eq(self.first - self.clock)
        return m


class UartReceiver(wiring.Component):
    """Receives bytes.

    A start bit that is over before its middle is a glitch; a byte whose stop bit is low is left
    out. The baud rate may be wrong by 2 % even at 4 clocks a bit.

    Parameters
    ----------
    clock_hz, baud : int
        At least 4 clocks a bit.

    Members
    -------
    rx : In(1)
        The line; need not be synchronous.
    o : Out(stream)
        Bytes. One that is complete before the one before it was taken is lost.
    error : Out(1)
        For a cycle: a byte was left out since it had no stop bit.

    Latency: 3 cycles after the middle of the stop bit.
    """

    def __init__(self, clock_hz: int, baud: int) -> None:
        self._period = bit_period(clock_hz, baud)
        super().__init__({"rx": In(1, init=1), "o": Out(stream.Signature(8)), "error": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.timer = timer = _BitTimer(*self._period)

        line = Signal(init=1)
        before = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)
        m.d.sync += before.eq(line)

        # An edge is seen half a clock late on average; points between clocks are another half late.
        whole = timer.fraction_bits == 0
        m.d.comb += timer.first.eq((timer.period - whole) // 2)

        # A one moves through the register ahead of the data and tells when they are complete.
        shift = Signal(_DATA_BITS + 1)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM(name="state"):
            with m.State("idle"):
                m.d.sync += shift.eq(1 << _DATA_BITS)
                m.d.comb += timer.restart.eq(1)
                with m.If(before & ~line):
                    m.next = "start"
            with m.State("start"), m.If(timer.strobe):
                m.next = "data"
                with m.If(line):
                    m.next = "idle"
            with m.State("data"), m.If(timer.strobe):
                m.d.sync += shift.eq(Cat(shift[1:], line))
                with m.If(shift[1]):
                    m.next = "stop"
            with m.State("stop"), m.If(timer.strobe):
                m.next = "idle"
                m.d.comb += self.error.eq(~line)
                with m.If(line & (self.o.ready | ~self.o.valid)):
                    m.d.sync += [self.o.payload.eq(shift[1:]), self.o.valid.eq(1)]

        return m


class UartTransmitter(wiring.Component):
    """Sends bytes.

    Parameters
    ----------
    clock_hz, baud : int
        At least 4 clocks a bit.

    Members
    -------
    i : In(stream)
        Bytes.
    tx : Out(1)
        The line, driven by a register.

    Latency: 1 cycle to the start bit. Throughput: a byte every ten bits.
    """

    def __init__(self, clock_hz: int, baud: int) -> None:
        self._period = bit_period(clock_hz, baud)
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.timer = timer = _BitTimer(*self._period)
        m.d.comb += timer.first.eq(timer.period)

        # Ones follow the byte out; the first of them is the stop bit.
        shift = Signal(_DATA_BITS + 1, init=-1)
        left = Signal(range(_DATA_BITS + 3))

        m.d.comb += self.tx.eq(shift[0])
        with m.If(timer.strobe & (left != 0)):
            m.d.sync += [shift.eq(Cat(shift[1:], Const(1))), left.eq(left - 1)]
        m.d.comb += self.i.ready.eq((left == 0) | ((left == 1) & timer.strobe))
        with m.If(self.i.valid & self.i.ready):
            m.d.comb += timer.restart.eq(1)
            m.d.sync += [
                shift.eq(Cat(Const(0, 1), self.i.payload)),
                left.eq(_DATA_BITS + 2),
            ]

        return m
