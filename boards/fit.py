"""Whether a design fits a part: before any tool runs, and once there is a netlist."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..firmware.config import Config
from ..firmware.errors import BuildError
from ..firmware.formats import WEIGHT_BITS_RANGE
from .board import Board, PlannedMemory, Resources

__all__ = ["check_memories", "check_netlist"]

_KINDS = {"block": "block_rams", "large": "large_rams"}
_WORDS = {
    "luts": "LUTs",
    "ffs": "flip-flops",
    "block_rams": "block RAMs",
    "large_rams": "large RAMs",
}


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
    shape = "-".join(str(n) for n in (config.inputs, *(each.neurons for each in config.layers)))
    raise BuildError(
        f"{shape} at {config.layers[0].weight_bits} bits needs {needed} {_WORDS[name]}, but "
        f"{board.name} has {available}; "
        f"{_remedy(board, config, available / needed)}"
    )


def _remedy(board: Board, config: Config, share: float) -> str:
    """What would fit instead, if ``share`` of the memory needed is there.

    The weights take nearly all of it, so the search starts where they would suffice.
    """

    def fits(changed: Config) -> bool:
        return _short(board.family.memory_plan(changed), board.resources) is None

    remedies = []
    bits = int(config.layers[0].weight_bits * share)
    while bits in WEIGHT_BITS_RANGE and not fits(_with(config, weight_bits=bits)):
        bits -= 1
    if bits in WEIGHT_BITS_RANGE:
        remedies.append(f"quantise the weights to {bits} bits")
    if len(config.layers) > 1:
        neurons = int(config.layers[0].neurons * share)
        while neurons and not fits(_with(config, neurons=neurons)):
            neurons = int(neurons * 0.96)
        if neurons:
            remedies.append(f"train about {neurons} neurons in the first layer")
    return " or ".join([*remedies, "choose a larger board"])


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
