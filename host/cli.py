"""The command line: ``firstspike COMMAND …``, thin over the public API (see ``docs/cli.md``).

This module imports next to nothing, so that Ctrl-C is caught from the very start.
"""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Sequence

__all__ = ["main"]

#: Exit codes besides those of :mod:`firstspike.firmware.errors`.
EXIT_BUG = 70
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors are one sentence on standard error."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return _fail("interrupted", EXIT_INTERRUPTED)


def _run(arguments: Sequence[str] | None) -> int:
    from .firmware.errors import FirstspikeError

    debug = bool(os.environ.get("FIRSTSPIKE_DEBUG"))
    # Whoever ends a command politely gets the same tidy end as Ctrl-C. Only a main thread may ask.
    with contextlib.suppress(ValueError):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        from .parser import build_parser

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
