"""The command line: ``firstspike COMMAND …``, thin over the public API (see ``docs/cli.md``)."""

import argparse
import contextlib
import errno
import os
import re
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

# Nothing that imports numpy: until `main` runs, Ctrl-C is not caught.
from . import __version__
from .firmware.errors import FirstspikeError
from .firmware.suggest import suggest

__all__ = ["build_parser", "main"]

#: Exit codes besides those of :mod:`firstspike.firmware.errors`.
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

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
    from .commands import COMMANDS

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors are one sentence on standard error."""
    debug = bool(os.environ.get("FIRSTSPIKE_DEBUG"))
    # Whoever ends a command politely gets the same tidy end as Ctrl-C. Only a main thread may ask.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        options, unknown = build_parser().parse_known_args(arguments)
        if unknown:
            options.parser.refuse(unknown)
        options.run(options)
        sys.stdout.flush()
        return 0
    except FirstspikeError as error:
        if debug:
            raise
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        _forget_output()
        return EXIT_BROKEN_PIPE
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            _forget_output()
            return _fail(f"the output could not be written ({error.strerror})", 1)
        text = " ".join(str(error).split())
        return _fail(
            f"{type(error).__name__}: {text}; this is a bug in Firstspike, please report it with "
            "what FIRSTSPIKE_DEBUG=1 shows",
            EXIT_BUG,
        )


def _fail(sentence: str, code: int) -> int:
    # Below a progress bar, and whatever happened to standard error itself.
    with contextlib.suppress(OSError):
        print(f"firstspike: {sentence}", file=sys.stderr)
    return code


def _forget_output() -> None:
    """Keep the interpreter from trying, and failing, to write the rest when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
