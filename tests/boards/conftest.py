"""What the tests of the boards share."""

import pytest


@pytest.fixture(scope="session")
def design_files():
    """Gives a function that makes a board's design and constraints, as text by file name."""

    def make(board, config, constraint_hz):
        from firstspike.boards.top import Top

        top = Top(board, config, clock_hz=board.clock_hz, baud=board.baud, build_id=7)
        overrides = board.family.overrides(constraint_hz)
        prepared = board.platform().prepare(top, "top", emit_src=False, **overrides)
        return {
            name: text if isinstance(text, str) else text.decode()
            for name, text in prepared.files.items()
        }

    return make
