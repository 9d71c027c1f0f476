"""Bitwuzla as a program that reads SMT-LIB commands, made from its Python package."""

import sys

from bitwuzla import Option, Options, Parser, TermManager


def commands(lines):
    """Complete commands, however many lines they take."""
    command, depth = "", 0
    for line in lines:
        if line.startswith(";"):
            continue
        # Parentheses within |…| belong to names.
        code = "".join(line.split("|")[::2])
        depth += code.count("(") - code.count(")")
        command += line
        if depth == 0:
            yield command.strip()
            command = ""


def main() -> None:
    if "--help" in sys.argv:
        print("--lang")  # what tells the versions with today's options
        return
    options = Options()
    options.set(Option.PRODUCE_MODELS, True)
    parser = Parser(TermManager(), options)
    for command in commands(sys.stdin):
        # The parser itself would forget its levels from one command to the next.
        if command.startswith("(push"):
            parser.bitwuzla().push(1)
        elif command.startswith("(pop"):
            parser.bitwuzla().pop(1)
        elif command.startswith("(exit"):
            break
        elif command and not command.startswith("(set-option"):
            parser.parse(command, False, False)
            sys.stdout.flush()


if __name__ == "__main__":
    main()
