"""The design of a board: the accelerator, its clock and its pins."""

import contextlib

from amaranth.build import Platform, ResourceError
from amaranth.hdl import Elaboratable, Module, Mux, Signal
from amaranth.lib import io, wiring
from amaranth.lib.wiring import In, Out

from ..firmware.config import Config
from ..hdl.accelerator import SerialAccelerator
from .board import Board

__all__ = ["Heartbeat", "Top"]


class Heartbeat(wiring.Component):
    """Blinks about once a second, and eight times as fast while the device answers.

    Parameters
    ----------
    clock_hz : int

    Members
    -------
    tx : In(1)
        The line on which the device answers.
    led : Out(1)
    """

    #: The fast blink is this many bits down from the slow one.
    _FASTER = 3

    def __init__(self, clock_hz: int) -> None:
        self._bits = clock_hz.bit_length() - 1
        super().__init__({"tx": In(1), "led": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = Signal(self._bits)
        below = count[: -self._FASTER - 1]
        busy = Signal()
        m.d.sync += count.eq(count + 1)
        with m.If(~self.tx):
            m.d.sync += busy.eq(1)
        with m.Elif(below.all()):
            m.d.sync += busy.eq(0)
        m.d.sync += self.led.eq(Mux(busy, count[-1 - self._FASTER], count[-1]))
        return m


class Top(Elaboratable):
    """Everything between the pins.

    Parameters
    ----------
    board : Board
    config : Config
    clock_hz, baud : int
        What is wanted; the clock plan takes the nearest frequency.
    build_id : int
        32 bits that the device tells of itself.
    boot_flash : int, optional
        Address of the image that it boots from, in the board's flash.
    """

    def __init__(
        self,
        board: Board,
        config: Config,
        *,
        clock_hz: int,
        baud: int,
        build_id: int = 0,
        boot_flash: int | None = None,
    ) -> None:
        self._board = board
        self._config = config
        self._clock_hz = clock_hz
        self._baud = baud
        self._build_id = build_id
        self._boot_flash = boot_flash

    def elaborate(self, platform: Platform) -> Module:
        m = Module()
        family = self._board.family
        clock_hz = family.clock(m, platform, self._board, self._clock_hz)
        rx, tx = self._board.pins(m, platform)
        m.submodules.accelerator = accelerator = SerialAccelerator(
            self._config,
            clock_hz=clock_hz,
            baud=self._baud,
            build=self._build_id,
            memories=family.memories,
            flash=self._boot_flash,
        )
        if self._boot_flash is not None:
            assert self._board.flash is not None
            self._board.flash(m, platform, accelerator.flash)
        m.d.comb += [accelerator.rx.eq(rx), tx.eq(accelerator.tx)]
        with contextlib.suppress(ResourceError):
            m.submodules.led = led = io.Buffer("o", platform.request("led", 0, dir="-"))
            m.submodules.heartbeat = heartbeat = Heartbeat(clock_hz)
            m.d.comb += [heartbeat.tx.eq(accelerator.tx), led.o.eq(heartbeat.led)]
        return m
