"""Text as LaTeX: escaped to plain ASCII that every input encoding, font encoding and shorthand leaves alone."""

import re
import unicodedata
from functools import lru_cache

# Commands of every LaTeX since 2020 without a package, with glyphs of the default fonts, in text and in formulas.
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\`{}",
    "[": "{[}",  # after \\ it would open an optional argument
    "]": "{]}",
    "*": "{*}",
    "\u00d7": r"\ensuremath{\times}",
    "†": r"\ensuremath{\dagger}",
    "‡": r"\ensuremath{\ddagger}",
    "♣": r"\ensuremath{\clubsuit}",
    "≈": r"\ensuremath{\approx}",
    "±": r"\ensuremath{\pm}",
    "≤": r"\ensuremath{\leq}",
    "≥": r"\ensuremath{\geq}",
    "\u2212": r"\ensuremath{-}",
    "\u2013": r"\textendash{}",
    "\u2014": r"\textemdash{}",
    "…": r"\ldots{}",
    "\u2018": r"\textquoteleft{}",
    "\u2019": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
}
ACCENTS = {  # combining characters -> their commands in LaTeX's default font encoding
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
LIGATURES = re.compile(r"(?<=([',-]))(?=\1)")  # two of them would become a dash or a quotation mark
NOT_PLAIN = re.compile(rf"[^ -~]|[{re.escape(''.join(SPECIAL))}]")  # not printed as it is
BY = re.compile(r"(?<![\w.])[1-9]\d*(?:x[1-9]\d*)+(?!\w)", re.ASCII)  # 3x3, 16x224x224
OPENS = re.compile(r'(?:(?<=[\s(])|^)"(?=\S)')


class Tex(str):
    """LaTeX source, not text: the templates print it as it is."""

    __slots__ = ()


@lru_cache(65_536)
def escape(text: str) -> Tex:
    """`text` as text: no character of it is a command, an alignment, a comment or the end of a line.

    Typed signs become the printed ones: 3x3 with a multiplication sign, straight quotes curved ones. A character that
    is not in the default fonts is named: [U+6F22].
    """
    flat = " ".join(text.split())
    signs = BY.sub(lambda found: found[0].replace("x", "\u00d7"), OPENS.sub("“", flat)).replace('"', "”")
    return Tex(LIGATURES.sub("{}", NOT_PLAIN.sub(lambda found: _character(found[0]), signs)))


def _character(character: str) -> str:
    if character in SPECIAL:
        return SPECIAL[character]
    parts = unicodedata.normalize("NFD", character)
    if len(parts) == 2 and parts[1] in ACCENTS and parts[0].isascii() and parts[0].isalpha():
        return rf"\{ACCENTS[parts[1]]}{{{_dotless(parts[0])}}}"
    return f"{{[}}U+{ord(character):04X}{{]}}"


def _dotless(letter: str) -> str:
    return rf"\{letter}" if letter in "ij" else letter
