"""The register table: gateware, driver and documentation are all made from it."""

from collections.abc import Iterator
from dataclasses import dataclass

from .config import Config

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
    """

    name: str
    address: int
    writable: bool
    reset: int
    text: str
    per_layer: bool = False


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
)


def register_map(config: Config) -> Iterator[tuple[str, int, Register]]:
    """Every register of a configuration: name (``threshold_1`` for layer 1), address, entry."""
    for register in REGISTERS:
        if register.per_layer:
            for index in range(len(config.layers)):
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
