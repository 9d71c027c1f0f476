"""The parser of the command line: every command with its arguments, and errors that suggest."""

import argparse
import re
from collections.abc import Sequence
from typing import NoReturn

from . import __version__
from .commands import COMMANDS
from .firmware.suggest import suggest

__all__ = ["build_parser"]

_CHOICE = re.compile(r"(?:argument (?P<what>.+?): )?invalid choice: '(?P<value>.*)' \(choose from")


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, with what may have been meant."""

    def error(self, message: str) -> NoReturn:
        if match := _CHOICE.match(message):
            what = (match["what"] or "choice").lower()
            message = f"there is no {what} {match['value']}"
            message += suggest(match["value"], self._choices(what))
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def _choices(self, what: str) -> list[str]:
        """Values that the argument called ``what`` takes."""
        for action in self._actions:
            names = [*action.option_strings, action.metavar, action.dest]
            if action.choices and what in [str(name).lower() for name in names]:
                return [str(choice) for choice in action.choices]
        return []

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Say that the first of the arguments that no parser knew does not exist."""
        name = unknown[0].partition("=")[0]
        options = self._option_string_actions
        if not name.startswith("-"):
            self.error(f"{name} is one argument too many")
        if name in options:
            self.error(f"{name} belongs after the name of the command")
        self.error(f"there is no option {name}{suggest(name, options, list_all=False)}")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(
        prog="firstspike",
        description="Time-to-first-spike networks on FPGAs, from training to a verified class.",
        epilog="examples:\n"
        "  firstspike demo\n"
        "  firstspike simulate mnist-784-600-10\n"
        "  firstspike run /dev/ttyUSB1 mnist-784-600-10\n\n"
        "A network is a file, or the name of one that comes with Firstspike: see `firstspike "
        "info`.\nFIRSTSPIKE_DEBUG=1 shows where an error comes from.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"firstspike {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)
    for name, command in COMMANDS.items():
        summary, _, description = str(command.__doc__).partition("\n")
        subparser = commands.add_parser(
            name,
            help=summary[0].lower() + summary[1:].rstrip("."),
            description=f"{summary}\n{description.rstrip()}",
            epilog="examples:\n"
            + "\n".join(f"  firstspike {name} {example}".rstrip() for example in command.EXAMPLES),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.configure(subparser)
        subparser.set_defaults(run=command.run, parser=subparser)
    return parser
