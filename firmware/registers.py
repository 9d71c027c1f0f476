"""The register table: gateware, driver and documentation are all made from it."""

from collections.abc import Iterator
from dataclasses import dataclass

from .config import Config
from .learning import DEAD_ZONE_RANGE, STEP_RANGE

__all__ = ["REGISTERS", "Register", "register_map", "register_values", "to_markdown"]


@dataclass(frozen=True)
class Register:
    """A 32-bit register.

    Parameters
    ----------
    name : str
    address : int
    writable : bool
        Written by the host; otherwise a free-running counter of the device.
    reset : int
    text : str
        What it holds, for the documentation.
    per_layer : bool
        One register a layer, at consecutive addresses from ``address``.
    learning : bool
        Only in a build that learns.
    hidden : bool
        Only for hidden layers, if ``per_layer``.
    shared : bool
        Written by the host, and by the device while it learns.
    """

    name: str
    address: int
    writable: bool
    reset: int
    text: str
    per_layer: bool = False
    learning: bool = False
    hidden: bool = False
    shared: bool = False


REGISTERS = (
    Register("steps", 0x00, True, 1, "Number of time steps `T` of an inference."),
    Register("classes", 0x01, True, 1, "Outputs that take part in the decision, from index 0."),
    Register("model", 0x02, True, 0, "CRC-32 of the loaded image; 0 while none is verified."),
    Register("frames_accepted", 0x08, False, 0, "Frames received whole."),
    Register(
        "frames_dropped", 0x09, False, 0, "Frames with a bad code, length or CRC, or no room."
    ),
    Register("commands_refused", 0x0A, False, 0, "Frames answered with a status other than `OK`."),
    Register("inferences", 0x0B, False, 0, "Inferences completed."),
    Register("threshold", 0x10, True, 1, "Threshold `θ` of a layer.", per_layer=True),
    Register(
        "learned",
        0x03,
        True,
        0,
        "Samples learned; the low 16 bits number the next one.",
        learning=True,
        shared=True,
    ),
    Register("margin", 0x04, True, 0, "Margin `M` in steps.", learning=True),
    Register(
        "dropout",
        0x05,
        True,
        0,
        "Probability of leaving out a hidden neuron, `2^-16`.",
        learning=True,
    ),
    Register("activity", 0x06, True, 0, "Least spikes of a hidden layer, `H`.", learning=True),
    Register("step", 0x07, True, 1, "Step of the last layer's weights.", learning=True),
    Register(
        "random_update",
        0x0C,
        True,
        1,
        "Generator that chooses rows.",
        learning=True,
        shared=True,
    ),
    Register(
        "input_dropout",
        0x0D,
        True,
        0,
        "Probability of leaving out an input spike, `2^-16`.",
        learning=True,
    ),
    Register("dead_zone", 0x0E, True, 0, "Largest weight without a vote.", learning=True),
    Register(
        "rate",
        0x20,
        True,
        0,
        "Probability of updating a row, `2^-16`.",
        per_layer=True,
        learning=True,
    ),
    Register(
        "random_low",
        0x30,
        True,
        1,
        "Generator that leaves out neurons, low half.",
        per_layer=True,
        learning=True,
        hidden=True,
        shared=True,
    ),
    Register(
        "random_high",
        0x40,
        True,
        0,
        "Its high half.",
        per_layer=True,
        learning=True,
        hidden=True,
        shared=True,
    ),
)


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
        "random_update": word,
        **rates,
        **states,
    }


def to_markdown() -> str:
    """The table as it stands in ``docs/link.md``."""
    lines = ["| address | name | access | reset | holds |", "|---|---|---|---|---|"]
    for register in REGISTERS:
        address = f"0x{register.address:02x}" + (" + layer" if register.per_layer else "")
        access = "read, write" if register.writable else "read"
        lines.append(
            f"| {address} | `{register.name}` | {access} | {register.reset} | {register.text} |"
        )
    return "\n".join(lines)
