"""Values as YAML, as PyYAML writes them, in less time: of thousands of sentences it looks at every character twice."""

import re
from copy import copy
from functools import cache
from typing import Any

WIDTH = 10_000  # nothing is wrapped
_WORD = re.compile(r"[A-Za-z0-9]+")
_BREAK = re.compile("[\n\x85\u2028\u2029]")


def as_yaml(value: Any) -> str:
    """`value` as block YAML, keys in their order, nothing wrapped: the bytes of `yaml.safe_dump`."""
    import yaml

    return str(yaml.dump(value, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=WIDTH))


@cache
def _dumper() -> Any:
    import yaml  # late: two of the printers need it

    class Dumper(yaml.SafeDumper):
        """What a text may look like is said by its signs and spaces: a word of one letter stands for any word."""

        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self.analyses: dict[str, Any] = {}

        def analyze_scalar(self, scalar: str) -> Any:
            signs = _WORD.sub("a", scalar)
            if signs not in self.analyses:
                self.analyses[signs] = super().analyze_scalar(signs)
            found = copy(self.analyses[signs])
            found.scalar = scalar
            return found

        def write_single_quoted(self, text: str, split: bool = True) -> None:
            quoted = text.replace("'", "''")
            if _BREAK.search(text) or self.column + len(quoted) >= WIDTH:
                super().write_single_quoted(text, split)
                return
            self.write_indicator("'", True)
            self.column += len(quoted)
            self.stream.write(quoted)
            self.write_indicator("'", False)

    return Dumper
