"""A memory whose words hold one weight for each lane."""

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..firmware.config import Region
from .memory_window import word_layout
from .token import index_shape

__all__ = ["WeightMemory", "weight_memory_members"]


def weight_memory_members(region: Region) -> dict[str, Any]:
    """Members of every component that holds a region's words; see :class:`WeightMemory`."""
    members = {
        "address": In(index_shape(region.words)),
        "data": Out(word_layout(region)),
        "store": In(1),
        "word": In(word_layout(region)),
    }
    if region.learns:
        members["write_address"] = In(index_shape(region.words))
    return members


class WeightMemory(wiring.Component):
    """Holds the words of one region; reads or writes one a cycle, or does both if it learns.

    This one leaves it to the tools to find block RAM. A board with other memories gives the core
    another component with the same members (:func:`weight_memory_members`) and its own ``latency``.

    Parameters
    ----------
    region : Region
    latency : int
        Cycles from ``address`` to ``data``, at least 1: the first is the memory's own, each
        further one is a register behind it.
    style : str, optional
        What the tools are to make it of, where they would choose something else: the attribute
        ``ram_style``.

    Members
    -------
    address : In
    data : Out(word_layout(region))
        The word that was addressed ``latency`` cycles ago, unless that cycle stored to it.
    store : In(1)
        Write ``word`` to ``address``, or to ``write_address`` if the region learns.
    word : In(word_layout(region))
    write_address : In
        Only if the region learns.
    """

    def __init__(self, region: Region, *, latency: int = 2, style: str | None = None) -> None:
        self.region = region
        self.latency = latency
        self.style = style
        super().__init__(weight_memory_members(region))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.storage = storage = Memory(
            shape=word_layout(self.region),
            depth=self.region.words,
            init=[],
            attrs={"ram_style": self.style} if self.style else {},
        )
        write, read = storage.write_port(), storage.read_port()
        m.d.comb += [
            write.addr.eq(self.write_address if self.region.learns else self.address),
            write.data.eq(self.word),
            write.en.eq(self.store),
            read.addr.eq(self.address),
        ]
        stage = read.data
        for _ in range(self.latency - 1):
            previous, stage = stage, Signal.like(self.data, name="output", reset_less=True)
            m.d.sync += stage.eq(previous)
        m.d.comb += self.data.eq(stage)
        return m
