"""Benchmarks as programs."""

import sys
from collections.abc import Callable

from firstspike.firmware.errors import FirstspikeError

__all__ = ["run"]


def run(main: Callable[[], int]) -> int:
    """Exit code of ``main``; an error is one line and a code of its own."""
    try:
        return main()
    except FirstspikeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"error: {error}; pip install 'firstspike[bench]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
