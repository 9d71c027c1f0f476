"""What the clock plans of all families say in the same way."""

from ..firmware.errors import BuildError

__all__ = ["check_reach"]


def check_reach(clock_hz: int, reach: tuple[int, int], what: str) -> None:
    """Refuse a clock that ``what``, such as ``the PLL of an ECP5``, does not reach.

    Parameters
    ----------
    clock_hz : int
        What is asked for.
    reach : pair of int
        Lowest and highest frequency, in Hz.

    Raises
    ------
    BuildError
        If it is out of reach.
    """
    if not reach[0] <= clock_hz <= reach[1]:
        raise BuildError(
            f"a clock of {clock_hz / 1e6:g} MHz was asked for, but {what} reaches "
            f"{reach[0] / 1e6:g} to {reach[1] / 1e6:g} MHz; choose --clock in this range"
        )
