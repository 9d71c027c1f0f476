"""Documents: the same figures as text, as JSON and as one HTML page that needs nothing else."""

import html
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .firmware.errors import DataError, FirstspikeError
from .firmware.files import require_writable, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Document",
    "html_figure",
    "html_list",
    "html_page",
    "html_table",
    "make_folder",
    "require_ending",
    "text_table",
]


class Document(ABC):
    """Something that is read on a terminal, by a program or in a browser."""

    #: What makes the text of a file, by the end of its name.
    _WRITERS: ClassVar[Mapping[str, Callable[[Any], str]]] = {
        ".txt": methodcaller("to_text"),
        ".json": methodcaller("to_json"),
        ".html": methodcaller("to_html"),
    }

    @abstractmethod
    def to_text(self) -> str:
        """The document for a terminal."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The document as plain values, which JSON holds."""

    @abstractmethod
    def to_html(self) -> str:
        """The document as one page that needs nothing else, with figures.

        Raises
        ------
        BuildError
            If matplotlib is missing.
        """

    def to_json(self) -> str:
        """The document as JSON text."""
        return json.dumps(self.to_dict(), indent=2)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the document as whatever ``path`` ends in; whole or not at all.

        Raises
        ------
        DataError
            If ``path`` ends in something else.
        BuildError
            If figures are asked for and matplotlib is missing.
        FirstspikeError
            If the file cannot be written.
        """
        write = self._WRITERS[require_ending(path, self._WRITERS, "a report")]
        text = write(self).rstrip("\n") + "\n"
        with write_atomically(path) as file:
            file.write(text.encode())

    @classmethod
    def require_savable(cls, path: str | os.PathLike[str]) -> None:
        """Refuse a file that could not be written, before long work for it begins.

        Raises
        ------
        DataError, FirstspikeError
            As :meth:`save` does.
        """
        require_ending(path, cls._WRITERS, "a report")
        require_writable(path)


def require_ending(path: str | os.PathLike[str], endings: Collection[str], what: str) -> str:
    """How a file's name ends, in lower case.

    Parameters
    ----------
    path : path
    endings : collection of str
        Those that are known.
    what : str
        What the file is to be, with its article.

    Raises
    ------
    DataError
        If it ends in something else.
    """
    ending = Path(path).suffix.lower()
    if ending not in endings:
        raise DataError(f"{path} was to be {what}; its name must end in {', '.join(endings)}")
    return ending


def make_folder(name: str | os.PathLike[str]) -> Path:
    """Make the folder for results first, so that no work is lost on one that cannot be made.

    Raises
    ------
    FirstspikeError
        If it cannot be made or written to.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FirstspikeError(
            f"the folder {folder} cannot be made or written to ({error.strerror or error}); choose "
            "another"
        ) from error
    return folder


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose first column is flush left and the others flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:>{width}}" if index else f"{cell:<{width}}"
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def html_page(title: str, lead: str, parts: Iterable[str]) -> str:
    """A whole page, of a title, a sentence and pieces of HTML."""
    head = _HEAD.format(title=html.escape(title), lead=html.escape(lead))
    return "\n".join([head, *parts]) + "\n"


def html_table(rows: Sequence[Sequence[str]]) -> str:
    """A table whose first row is its head."""
    head, *body = (
        "".join(_html_cell(tag, cell) for cell in row)
        for tag, row in zip(["th"] + ["td"] * (len(rows) - 1), rows, strict=True)
    )
    return "<table>\n" + "\n".join(f"<tr>{row}" for row in [head, *body]) + "\n</table>"


def _html_cell(tag: str, text: str) -> str:
    """A cell. A digest in it may be broken anywhere, a number may not."""
    is_long = any(len(word) > _LONG_WORD for word in text.split())
    return f"<{tag}{' class=long' if is_long else ''}>{html.escape(text)}"


def html_list(items: Iterable[str]) -> str:
    """A list of sentences."""
    return "<ul>\n" + "\n".join(f"<li>{html.escape(item)}" for item in items) + "\n</ul>"


def html_figure(name: str, figure: "Figure") -> str:
    """A figure below its name."""
    from . import plots

    return f"<h2>{html.escape(name)}</h2>\n{plots.to_svg(figure)}"


#: Characters of a word that no column can be as wide as.
_LONG_WORD = 32

_HEAD = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: auto; padding: 1rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd; text-align: right; }}
th:first-child, td:first-child {{ text-align: left; white-space: nowrap; }}
.long, li {{ overflow-wrap: anywhere; }}
svg {{ max-width: 100%; height: auto; }}
.small {{ color: #555; font-size: .85rem; }}
</style>
<h1>{title}</h1>
<p>{lead}</p>"""
