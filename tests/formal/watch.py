"""What the proofs share: inputs of any value, the inside of a component, rules for streams."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import (
    Assert,
    Assume,
    Cat,
    Const,
    Cover,
    Elaboratable,
    Fragment,
    Module,
    Shape,
    ShapeLike,
    Signal,
    Value,
    ValueLike,
)
from amaranth.hdl._mem import MemoryInstance
from amaranth.lib.wiring import Flow

__all__ = [
    "Inside",
    "any_constant",
    "any_value",
    "assume",
    "claim",
    "free",
    "given",
    "past",
    "reached",
    "stays",
    "taken",
]


def any_value(m: Module, shape: ShapeLike, name: str) -> Signal:
    """A signal that may be anything in every cycle."""
    signal = Signal(shape, name=name)
    m.d.comb += Value.cast(signal).eq(AnySeq(Shape.cast(shape).width))
    return signal


def any_constant(m: Module, shape: ShapeLike, name: str) -> Signal:
    """A signal that may be anything, but is always the same."""
    signal = Signal(shape, name=name)
    m.d.comb += Value.cast(signal).eq(AnyConst(Shape.cast(shape).width))
    return signal


def free(m: Module, component: Any, *but: str) -> None:
    """Let every input of ``component`` be anything in every cycle.

    Parameters
    ----------
    but
        Inputs to be left out; a stream is named as a whole.
    """
    for path, member, value in component.signature.flatten(component):
        name = "__".join(str(part) for part in path)
        if member.flow == Flow.In and path[0] not in but and name not in but:
            m.d.comb += Value.cast(value).eq(AnySeq(len(Value.cast(value))))


def claim(m: Module, condition: ValueLike, sentence: str) -> None:
    """What is to be proved."""
    m.d.comb += Assert(condition, sentence, src_loc_at=1)


def assume(m: Module, condition: ValueLike) -> None:
    """What the component's environment guarantees."""
    m.d.comb += Assume(condition, src_loc_at=1)


def reached(m: Module, condition: ValueLike, sentence: str) -> None:
    """What has to be possible, or else a proof proves nothing."""
    m.d.comb += Cover(condition, sentence, src_loc_at=1)


def past(m: Module, value: ValueLike, init: int = 0) -> Value:
    """``value`` in the cycle before; ``init`` in the first."""
    value = Value.cast(value)
    signal = Signal(value.shape(), init=init, name="past")
    m.d.sync += signal.eq(value)
    return signal


def given(condition: Value, consequence: ValueLike) -> Value:
    """``condition`` implies ``consequence``."""
    return ~condition.any() | Value.cast(consequence).any()


def taken(stream: Any) -> Value:
    """An item passes."""
    return stream.valid & stream.ready


def stays(m: Module, stream: Any, *beside: Value) -> Value:
    """The rule of streams: what is offered stays as it is until it is taken.

    Parameters
    ----------
    beside
        What goes with the payload.
    """
    waits = past(m, stream.valid & ~stream.ready)
    items = [Value.cast(stream.payload), *beside]
    unchanged = Const(1)
    for item in items:
        unchanged = unchanged & (item == past(m, item))
    return ~waits | (stream.valid & unchanged)


class _Elaborated(Elaboratable):
    def __init__(self, fragment: Fragment) -> None:
        self._fragment = fragment

    def elaborate(self, platform: object) -> Fragment:
        return self._fragment


class Inside:
    """A component whose registers and memories can be seen. Induction needs what relates them; that
    is proved with the property.

    Parameters
    ----------
    m : Module
        Gets the component as a submodule.
    component : Elaboratable
    name : str
    """

    def __init__(self, m: Module, component: Elaboratable, name: str = "dut") -> None:
        self._m = m
        self._fragment = Fragment.get(component, None)
        m.submodules[name] = _Elaborated(self._fragment)

    def registers(self, *path: str) -> Iterator[tuple[str, Signal]]:
        """Names and signals of all registers, each once, those of submodules too. Two may have the
        same name."""
        yield from _registers(self._find(path), "")

    def __getitem__(self, name: str) -> Any:
        """The register or signal of this name; names of submodules come first, with dots.

        Raises
        ------
        KeyError
            There is none, or more than one.
        """
        *path, name = name.split(".")
        fragment = self._find(tuple(path))
        found = {
            id(signal): signal
            for domain in fragment.statements
            for signal in _driven(fragment, domain)
            if signal.name == name
        }
        if len(found) != 1:
            where = ".".join(path) or "the component"
            raise KeyError(f"there are {len(found)} signals {name} in {where}")
        (signal,) = found.values()
        return signal

    def state(self, machine: str, *states: str) -> Value:
        """Whether the state machine of this name is in one of some states."""
        register = self[f"{machine}_state"]
        numbers = {}
        for number in range(1 << len(register)):
            with suppress(KeyError):
                numbers[register.decoder(number).rpartition("/")[0]] = number
        return Cat(register == numbers[state] for state in states).any()

    def word(self, path: str, address: ValueLike) -> Value:
        """The word at ``address`` of a memory."""
        fragment = self._find(tuple(path.split(".")))
        assert isinstance(fragment, MemoryInstance)
        where = Signal((fragment._data.depth - 1).bit_length())
        what = Signal(Shape.cast(fragment._data.shape).width)
        self._m.d.comb += where.eq(address)
        fragment.read_port(domain="comb", addr=where, data=what, en=Const(1), transparent_for=())
        return what

    def _find(self, path: tuple[str, ...]) -> Fragment:
        fragment = self._fragment
        for name in path:
            fragment = fragment.find_subfragment(name)
        return fragment


def _driven(fragment: Fragment, domain: str) -> Iterator[Signal]:
    """Each once."""
    seen = set()
    for statement in fragment.statements.get(domain, []):
        for signal in statement._lhs_signals():
            if id(signal) not in seen:
                seen.add(id(signal))
                yield signal


def _registers(fragment: Fragment, prefix: str) -> Iterator[tuple[str, Signal]]:
    for signal in _driven(fragment, "sync"):
        yield prefix + signal.name, signal
    for part, name, _ in fragment.subfragments:
        yield from _registers(part, f"{prefix}{name}.")
