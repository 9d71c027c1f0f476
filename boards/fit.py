"""Whether a design fits a part: before any tool runs, and once there is a netlist."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ..firmware.config import Config, LayerConfig
from ..firmware.errors import BuildError
from ..firmware.formats import WEIGHT_BITS_RANGE
from .board import LARGE_RAM_BITS, Board, PlannedMemory, Resources

__all__ = ["check_memories", "check_netlist", "check_weights"]

_KINDS = {"block": "block_rams", "large": "large_rams"}
_WORDS = {
    "luts": "LUTs",
    "ffs": "flip-flops",
    "block_rams": "block RAMs",
    "large_rams": "large RAMs",
}

#: Weight memories by the layer that they are of.
_WEIGHTS = re.compile(r"core\.layer_(\d+)\.weights")

#: Designs that are elaborated in search of one that fits, for each remedy.
_TRIES = 3


def _short(planned: Sequence[PlannedMemory], resources: Resources) -> tuple[str, int, int] | None:
    """The first kind of memory that does not suffice, how many are needed, and how many there
    are."""
    for kind, name in _KINDS.items():
        needed = sum(memory.blocks for memory in planned if memory.kind == kind)
        if needed > getattr(resources, name):
            return name, needed, getattr(resources, name)
    return None


def check_memories(board: Board, config: Config, planned: Sequence[PlannedMemory]) -> None:
    """Refuse a design whose memories are more than the part has.

    Raises
    ------
    BuildError
        The message says which memory, by how much, and what would fit.
    """
    short = _short(planned, board.resources)
    if short is None:
        return
    name, needed, available = short
    raise BuildError(
        f"{_shape(config)} at {config.layers[0].weight_bits} bits needs {needed} {_WORDS[name]}, "
        f"but {board.name} has {available}; {_remedy(board, config, planned)}"
    )


def check_weights(board: Board, config: Config) -> None:
    """Refuse weights that are more than all memory of the part, which is quickly known.

    What passes may still be refused by :func:`check_memories`, for which the design is elaborated.

    Raises
    ------
    BuildError
        The message says how much the weights are, and how much there is.
    """
    family, resources = board.family, board.resources
    needed = sum(map(_bits, config.layers))
    available = (
        resources.block_rams * family.block_ram_bits
        + resources.large_rams * LARGE_RAM_BITS
        + resources.luts * family.lut_bits
    )
    if needed > available:
        raise BuildError(
            f"{_shape(config)} at {config.layers[0].weight_bits} bits has {needed // 1024} kbit of "
            f"weights, but {board.name} has at most {available // 1024} kbit of memory; quantise "
            "the weights to fewer bits, train fewer neurons or choose a larger board"
        )


def _shape(config: Config) -> str:
    return "-".join(str(n) for n in (config.inputs, *(each.neurons for each in config.layers)))


def _remedy(board: Board, config: Config, planned: Sequence[PlannedMemory]) -> str:
    """What would fit instead.

    A plan takes an elaboration of the whole design, so what may fit is estimated from the plan that
    there is, and only that is tried.
    """

    def estimate(changed: Config) -> list[PlannedMemory]:
        """The plan if the weights alone changed, with them in memories of the same shape."""
        return [replace(memory, blocks=_scaled(memory, config, changed)) for memory in planned]

    def fits(changed: Config) -> bool:
        return _short(board.family.memory_plan(changed), board.resources) is None

    def largest(candidates: Iterable[int], change: Callable[[int], Config]) -> int | None:
        """The first candidate that fits, of those that may."""
        tries = 0
        for candidate in candidates:
            changed = change(candidate)
            if _short(estimate(changed), board.resources) is not None:
                continue
            if fits(changed):
                return candidate
            tries += 1
            if tries == _TRIES:
                break
        return None

    remedies = []
    bits = largest(
        range(config.layers[0].weight_bits - 1, WEIGHT_BITS_RANGE[0] - 1, -1),
        lambda bits: _with(config, weight_bits=bits),
    )
    if bits is not None:
        remedies.append(f"quantise the weights to {bits} bits")
    if len(config.layers) > 1:
        neurons = largest(
            _fewer(config.layers[0].neurons), lambda neurons: _with(config, neurons=neurons)
        )
        if neurons is not None:
            remedies.append(f"train about {neurons} neurons in the first layer")
    return " or ".join([*remedies, "choose a larger board"])


def _fewer(neurons: int) -> Iterator[int]:
    """Fewer and fewer neurons."""
    while neurons := int(neurons * 0.96):
        yield neurons


def _scaled(memory: PlannedMemory, config: Config, changed: Config) -> int:
    """Blocks that a memory takes if it grows and shrinks with the weights that it holds."""
    match = _WEIGHTS.match(memory.name)
    if match is None:
        return memory.blocks
    before, after = (_bits(each.layers[int(match[1])]) for each in (config, changed))
    return -(-memory.blocks * after // before)


def _bits(layer: LayerConfig) -> int:
    """Bits of a layer's weights, as they are stored."""
    return layer.groups * layer.rows * layer.lanes * layer.weight_bits


def _with(config: Config, *, weight_bits: int | None = None, neurons: int | None = None) -> Config:
    """``config`` with other weights, or another number of neurons in the first layer."""
    layers = list(config.layers)
    if weight_bits is not None:
        layers = [
            replace(layer, weight_bits=min(layer.weight_bits, weight_bits)) for layer in layers
        ]
    if neurons is not None:
        lanes = min(layers[0].lanes, neurons)
        layers[0] = replace(layers[0], neurons=neurons, lanes=lanes)
        layers[1] = replace(layers[1], inputs=neurons, rows=neurons)
    return replace(config, layers=layers)


def check_netlist(
    board: Board, planned: Sequence[PlannedMemory], cells: Iterable[tuple[str, str]]
) -> None:
    """Refuse a netlist that is more than the part has, or whose memories are not as planned.

    Parameters
    ----------
    board : Board
    planned : sequence of PlannedMemory
    cells : iterable of (name, type)

    Raises
    ------
    BuildError
        The message names the resource, or the memory.
    """
    cells = list(cells)
    family = board.family
    needed = Resources.of(Counter(kind for _, kind in cells), family.cells)
    for name, words in _WORDS.items():
        asked, available = getattr(needed, name), getattr(board.resources, name)
        if asked > available:
            raise BuildError(
                f"the design needs {asked} {words}, but {board.name} has {available}; build it "
                "with fewer --lanes or choose a larger board"
            )
    memories = [
        (name, family.memory_cells[kind]) for name, kind in cells if kind in family.memory_cells
    ]
    for memory in planned:
        if memory.kind == "registers":
            continue
        found = Counter(kind for name, kind in memories if f".{memory.name}." in f".{name}.")
        # Yosys may leave out bits that nothing reads, so it may take fewer.
        if not 0 < found[memory.kind] <= memory.blocks:
            made = ", ".join(f"{n} {kind} RAMs" for kind, n in sorted(found.items())) or "registers"
            raise BuildError(
                f"memory {memory.name} ({memory.words} words of {memory.bits} bits) was to take "
                f"{memory.blocks} {memory.kind} RAMs, but Yosys made it of {made}; use the version "
                "of Yosys that the boards extra installs"
            )
