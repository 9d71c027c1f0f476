"""A virtual board behind a pseudo-terminal, which any serial program can open like a board.

Time is not real here: answers come as soon as they are computed, at whatever baud rate the program
sets.
"""

import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ..firmware.errors import DeviceLost, PortError
from ..firmware.transport import Transport

__all__ = ["PseudoTerminal"]

_CHUNK = 4096

#: Seconds of virtual time after which an answer is not coming, and that pass before the program is
#: looked after again.
_PATIENCE = 1.0
_SLICE = 1e-3


class PseudoTerminal:
    """Serves a transport on a pseudo-terminal.

    The terminal outlives the programs that open it, one after the other, and is gone after
    :meth:`close`. Used as a context manager it serves from a thread of its own.

    Parameters
    ----------
    board : Transport
        Closed together with the terminal.
    symlink : path, optional
        A symbolic link to make to the terminal, for a name that stays the same. An old one that
        leads nowhere is replaced.
    connect : callable, optional
        Opens the board anew after it was lost, as behind a cable that may be pulled; what was on
        its way is lost, the terminal stays. Without, serving ends with the error.

    Attributes
    ----------
    path : str
        The terminal, such as ``/dev/pts/3``.

    Raises
    ------
    PortError
        If the system gives no pseudo-terminal, or the link cannot be made.
    """

    def __init__(
        self,
        board: Transport,
        symlink: str | os.PathLike[str] | None = None,
        *,
        connect: Callable[[], Transport] | None = None,
    ) -> None:
        self._board = board
        self._connect = connect
        self._symlink: Path | None = None
        self._thread: threading.Thread | None = None
        try:
            self._master, self._slave = os.openpty()
        except OSError as error:
            raise PortError(
                f"the system gives no pseudo-terminal ({error.strerror}); close some terminals"
            ) from error
        # Holding the far end open keeps the terminal alive while no program uses it.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._stop, self._stopper = os.pipe()
        if symlink is not None:
            self._link(Path(symlink))

    def serve(self) -> None:
        """Serve until :meth:`close` is called from another thread or a signal handler raises.

        Raises
        ------
        DeviceLost
            If the board is lost for good.
        """
        pending = bytearray()
        patience = 0.0
        while True:
            # Bytes that nobody fetches hold back further ones, as on a real port.
            readable, writable, _ = select.select(
                [self._stop] if pending else [self._stop, self._master],
                [self._master] if pending else [],
                [],
                0 if patience > 0 else None,
            )
            if self._stop in readable:
                return
            if writable:
                with contextlib.suppress(BlockingIOError):
                    del pending[: os.write(self._master, pending)]
            try:
                if self._master in readable:
                    self._board.write(os.read(self._master, _CHUNK))
                    patience = _PATIENCE
                if patience > 0:
                    answer = self._board.read(_SLICE)
                    pending += answer
                    patience = _PATIENCE if answer else patience - _SLICE
            except DeviceLost:
                if self._connect is None:
                    raise
                pending.clear()
                self._board = self._connect()

    def start(self) -> None:
        """Serve from a thread."""
        self._thread = threading.Thread(target=self.serve, name=f"board on {self.path}")
        self._thread.start()

    def close(self) -> None:
        """Stop serving, remove the link, close the board; closing twice does nothing."""
        if self._stopper < 0:
            return
        os.write(self._stopper, b"\0")
        if self._thread is not None:
            self._thread.join()
        if self._symlink is not None:
            with contextlib.suppress(OSError):
                self._symlink.unlink()
        for descriptor in (self._master, self._slave, self._stop, self._stopper):
            os.close(descriptor)
        self._stopper = -1
        self._board.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _link(self, symlink: Path) -> None:
        try:
            if symlink.is_symlink() and not symlink.exists():
                symlink.unlink()
            symlink.symlink_to(self.path)
        except OSError as error:
            self.close()
            remedy = "remove it or choose" if isinstance(error, FileExistsError) else "choose"
            raise PortError(
                f"{symlink} cannot link to the board ({error.strerror}); {remedy} another name"
            ) from error
        self._symlink = symlink
