"""The steps of a build that are alike in several families."""

from .board import Step

__all__ = ["place_and_route", "synthesise"]

#: No memory of the design is read at the address that is being written, or what is read then is not
#: used. Yosys does not know that and would build a bypass around each.
_READ_DESIGN = (
    "read_rtlil top.il; setparam -set COLLISION_X_MASK 1'1 t:$memrd_v2 r:TRANSPARENCY_MASK=1'0 %i; "
)


def synthesise(commands: str) -> Step:
    """Read the design with Yosys and run ``commands`` on it, which write the netlist."""
    return Step("synthesise", "yosys", ("-p", _READ_DESIGN + commands), "yosys.log")


def place_and_route(
    tool: str, arguments: tuple[str, ...], *, constraint_hz: int, seed: int
) -> Step:
    """Run nextpnr for a clock of ``constraint_hz``; a miss fails only once the report is read.

    Parameters
    ----------
    tool : str
        Its name with that of the family.
    arguments : tuple of str
        Those that name the part and the files.
    constraint_hz, seed : int
    """
    return Step(
        "place_and_route",
        tool,
        (
            *arguments,
            *("--freq", f"{constraint_hz / 1e6:g}", "--seed", str(seed)),
            *("--timing-allow-fail", "--report", "report.json"),
        ),
        "nextpnr.log",
    )
