"""Numbers in columns that siunitx aligns at the decimal point, bold, underlined or marked, and words among them."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from results.printers.latex_text import escape

Style = Literal["plain", "bold", "underlined"]
NUMBER = re.compile(r"([+-]?)([0-9]+)(?:\.([0-9]+))?", re.ASCII)
# Numbers in the weight of the text around them, signs of deltas as they are, marks next to the last digit.
OPTIONS = (
    "text-series-to-math=true, reset-math-version=false, propagate-math-font=true,\n  "
    "retain-explicit-plus=true, group-digits=none, table-align-text-after=false"
)


@dataclass(frozen=True)
class Entry:
    """What stands in one place of a column: a number or a word, "" for nothing; `marks`: raised behind it, as text."""

    text: str
    marks: str = ""
    style: Style = "plain"

    @property
    def parts(self) -> tuple[str, str, str] | None:
        """Sign, digits before and digits after the point; None for a word."""
        found = NUMBER.fullmatch(self.text)
        return (found[1], found[2], found[3] or "") if found else None


@dataclass(frozen=True)
class Column:
    """An S column that has room for all its numbers: a sign, `whole` and `decimals` digits, `marks` behind them."""

    sign: str
    whole: int
    decimals: int
    marks: str

    @property
    def spec(self) -> str:
        """The column in the preamble of a tabular."""
        digits = f"{self.whole}.{self.decimals}" if self.decimals else str(self.whole)
        return f"S[table-format={self.sign}{digits}{raised(self.marks)}]"

    def source(self, entry: Entry) -> str:
        """`entry` between two alignment signs; words stand in braces, which siunitx does not read into."""
        if not entry.text:
            return ""
        marks = raised(entry.marks)
        if entry.parts is None:
            return f"{{{word(entry.text)}{marks}}}"
        if entry.style == "underlined":
            return self._underlined(entry)
        return rf"\bfseries {entry.text}{marks}" if entry.style == "bold" else f"{entry.text}{marks}"

    def _underlined(self, entry: Entry) -> str:
        """A word to siunitx, so what the number lacks of the column's width is put beside it, invisibly."""
        assert entry.parts is not None
        sign, whole, decimals = entry.parts
        before = ("" if sign else self.sign) + "0" * (self.whole - len(whole))
        behind = "0" * (self.decimals - len(decimals))
        marks = raised(entry.marks) or _unseen(raised(self.marks))
        return rf"{{{_unseen(before)}\underline{{{entry.text}}}{_unseen(behind)}{marks}}}"


def column(entries: Iterable[Entry]) -> Column:
    """The column that fits all `entries`; one of words only has the width of the paper's commonest numbers."""
    entries = list(entries)
    numbers = [entry.parts for entry in entries if entry.parts is not None] or [("", "00", "00")]
    signs = {sign for sign, _, _ in numbers if sign}
    marks = max((entry.marks for entry in entries if entry.parts is not None), key=_width, default="")
    return Column(
        "+" if signs else "",
        max(len(whole) for _, whole, _ in numbers),
        max(len(decimals) for _, _, decimals in numbers),
        marks,
    )


def word(text: str) -> str:
    """A word in the place of a number; a dash is printed as one, verdicts in italics."""
    if text == "-":
        return "--"
    return rf"\textit{{{escape(text)}}}" if text.isalpha() else escape(text)


def raised(marks: str) -> str:
    """Marks behind a number; never bold, in braces, so that siunitx takes them for text."""
    return rf"{{\textsuperscript{{\mdseries {escape(marks)}}}}}" if marks else ""


def _width(marks: str) -> int:
    """How wide marks are, about, in tenths of their size."""
    return sum({"w": 7, "b": 6, "d": 6, "i": 3, ",": 3}.get(mark, 5) for mark in marks)


def _unseen(source: str) -> str:
    return rf"\phantom{{{source}}}" if source else ""
