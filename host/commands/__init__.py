"""The commands, in the order in which the help lists them; one module each.

A module's docstring is its help, ``EXAMPLES`` are arguments that follow its name, ``configure``
adds its arguments to a parser, and ``run`` does the work or raises.
"""

from . import (
    boards,
    build,
    compile,
    demo,
    export,
    flash,
    info,
    learn,
    plot,
    program,
    quantise,
    report,
    run,
    selftest,
    serve,
    simulate,
    soak,
    sweep,
    train,
    verify,
)

__all__ = ["COMMANDS"]

COMMANDS = {
    "demo": demo,
    "train": train,
    "learn": learn,
    "quantise": quantise,
    "compile": compile,
    "simulate": simulate,
    "verify": verify,
    "run": run,
    "serve": serve,
    "export": export,
    "boards": boards,
    "build": build,
    "program": program,
    "flash": flash,
    "report": report,
    "sweep": sweep,
    "plot": plot,
    "info": info,
    "selftest": selftest,
    "soak": soak,
}
