"""The register table: gateware, driver and documentation are all made from it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .config import Config
from .learning import DEAD_ZONE_RANGE, STEP_RANGE

__all__ = [
    "REGISTERS",
    "Register",
    "counter_differences",
    "device_errors",
    "register_map",
    "register_values",
    "to_markdown",
]


@dataclass(frozen=True)
class Register:
    """A register.

    Parameters
    ----------
    name : str
    address : int
    text : str
        What it holds, for the documentation.
    writable : bool
        Written by the host; otherwise a free-running counter of the device.
    reset : int
        What it holds after a reset.
    bits : int
        Width; a counter wraps at two to the power of it.
    per_layer : bool
        One register a layer, at consecutive addresses from ``address``.
    learning : bool
        Only in a build that learns.
    hidden : bool
        Only for hidden layers, if ``per_layer``.
    shared : bool
        Written by the host, and by the device while it learns.
    of_model : bool
        A write changes what the device infers, and so sets the register ``model`` to 0.
    unset : bool
        Counts as unknown from a reset until it is written.
    kept : bool
        A counter that a reset of the logic does not clear.
    """

    name: str
    address: int
    text: str
    writable: bool = True
    reset: int = 0
    bits: int = 32
    per_layer: bool = False
    learning: bool = False
    hidden: bool = False
    shared: bool = False
    of_model: bool = False
    unset: bool = False
    kept: bool = False


def _counter(name: str, address: int, bits: int, text: str, *, kept: bool = False) -> Register:
    return Register(name, address, text, writable=False, bits=bits, kept=kept)


REGISTERS = (
    Register("steps", 0x00, "Number of time steps `T` of an inference.", reset=1, of_model=True),
    Register(
        "classes",
        0x01,
        "Outputs that take part in the decision, from index 0.",
        reset=1,
        of_model=True,
    ),
    Register("model", 0x02, "CRC-32 of the loaded image; 0 while none is verified."),
    _counter("frames_accepted", 0x08, 24, "Frames received whole."),
    _counter("frames_damaged", 0x09, 12, "Runs of bytes with a bad code, length or CRC."),
    _counter("frames_overrun", 0x0A, 12, "Frames received whole for which there was no room."),
    _counter("line_errors", 0x0B, 12, "Bytes without a stop bit; left out."),
    _counter("commands_refused", 0x0C, 12, "Frames answered with a status other than `OK`."),
    _counter("inferences", 0x0D, 24, "Inferences completed."),
    _counter("stalls", 0x0E, 8, "Times that the watchdog has reset the core."),
    _counter(
        "boots", 0x0F, 8, "Resets since the device was configured, the first included.", kept=True
    ),
    Register(
        "threshold", 0x10, "Threshold `θ` of a layer.", reset=1, per_layer=True, of_model=True
    ),
    Register(
        "learned",
        0x20,
        "Samples learned; the low 16 bits number the next one.",
        learning=True,
        shared=True,
        unset=True,
    ),
    Register("margin", 0x21, "Margin `M` in steps.", learning=True),
    Register("step", 0x22, "Step of the last layer's weights.", reset=1, learning=True),
    Register("activity", 0x23, "Least spikes of a hidden layer, `H`.", learning=True),
    Register("dead_zone", 0x24, "Largest weight without a vote.", learning=True),
    Register(
        "dropout", 0x25, "Probability of leaving out a hidden neuron, `2^-16`.", learning=True
    ),
    Register(
        "input_dropout", 0x26, "Probability of leaving out an input spike, `2^-16`.", learning=True
    ),
    Register(
        "random_update",
        0x27,
        "Generator that chooses rows.",
        reset=1,
        learning=True,
        shared=True,
    ),
    Register(
        "rate", 0x30, "Probability of updating a row, `2^-16`.", per_layer=True, learning=True
    ),
    Register(
        "random_low",
        0x40,
        "Generator that leaves out neurons, low half.",
        reset=1,
        per_layer=True,
        learning=True,
        hidden=True,
        shared=True,
    ),
    Register(
        "random_high",
        0x50,
        "Its high half.",
        per_layer=True,
        learning=True,
        hidden=True,
        shared=True,
    ),
)


_ERRORS = ("frames_damaged", "frames_overrun", "line_errors", "commands_refused", "stalls")


def register_map(config: Config) -> Iterator[tuple[str, int, Register]]:
    """Every register of a configuration: name (``threshold_1`` for layer 1), address, entry."""
    for register in REGISTERS:
        if register.learning and not config.learning:
            continue
        if register.per_layer:
            for index in range(len(config.layers) - register.hidden):
                yield f"{register.name}_{index}", register.address + index, register
        else:
            yield register.name, register.address, register


def counter_differences(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What each counter has counted between two readings, by name; it may have wrapped once."""
    return {
        register.name: (after[register.name] - before[register.name]) % (1 << register.bits)
        for register in REGISTERS
        if not register.writable
    }


def device_errors(counts: Mapping[str, int]) -> dict[str, int]:
    """Of counts by name those of what went wrong, but for those of which there are none."""
    return {name: counts[name] for name in _ERRORS if counts[name]}


def register_values(config: Config) -> dict[str, range]:
    """Values that each writable register takes; the device refuses others.

    Without such limits a write could make the core run for ever.
    """
    thresholds = {
        f"threshold_{index}": range(1, (1 << (layer.membrane_bits - 1)) + 1)
        for index, layer in enumerate(config.layers)
    }
    return {
        "steps": range(1, config.max_steps + 1),
        "classes": range(1, config.outputs + 1),
        "model": range(1 << 32),
        **thresholds,
        **(_learning_values(config) if config.learning else {}),
    }


def _learning_values(config: Config) -> dict[str, range]:
    word = range(1 << 32)
    rates = {f"rate_{index}": range((1 << 16) + 1) for index in range(len(config.layers))}
    states = {
        f"random_{half}_{index}": word
        for half in ("low", "high")
        for index in range(len(config.layers) - 1)
    }
    return {
        "learned": word,
        "margin": range(config.max_steps),
        "dropout": range(1 << 16),
        "activity": range(1 << 16),
        "step": STEP_RANGE,
        "input_dropout": range(1 << 16),
        "dead_zone": DEAD_ZONE_RANGE,
        "random_update": word[1:],
        **rates,
        **states,
    }


def to_markdown() -> str:
    """The table as it stands in ``docs/link.md``."""
    lines = ["| address | name | access | reset | holds |", "|---|---|---|---|---|"]
    for register in REGISTERS:
        address = f"0x{register.address:02x}" + (" + layer" if register.per_layer else "")
        access = "read, write" if register.writable else f"counter, {register.bits} bits"
        reset = "kept" if register.kept else register.reset
        lines.append(f"| {address} | `{register.name}` | {access} | {reset} | {register.text} |")
    return "\n".join(lines)
