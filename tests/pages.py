"""A page as a program reads it: its tags, ids, links, texts and the data of its script; and records for curves."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from math import exp
from pathlib import Path
from typing import Any

from evidence import save

from experiments import TABLES
from experiments.protocols import CROP224
from experiments.spec import Table


class Page(HTMLParser):
    """Tags in their order, ids, links and texts; refuses an attribute that runs something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.buttons: dict[str, str] = {}  # id of a cell's button -> its text
        self.blocks: dict[str, str] = {"": "", "application/json": ""}  # type of a script -> its content
        self.text = ""
        self._in: tuple[str, str] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        assert not [name for name in found if name.startswith("on") or name == "style"]
        self.ids += [found["id"] or ""] if "id" in found else []
        self.links += [found["href"] or ""] if "href" in found else []
        if tag in ("script", "button"):
            self._in = (tag, (found.get("type") if tag == "script" else found.get("id")) or "")

    def handle_endtag(self, tag: str) -> None:
        if self._in is not None and self._in[0] == tag:
            self._in = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in is not None:
            tag, name = self._in
            into = self.blocks if tag == "script" else self.buttons
            into[name] = into.get(name, "") + data

    @property
    def data(self) -> dict[str, Any]:
        """What the dialog is made of."""
        content: dict[str, Any] = json.loads(self.blocks["application/json"])
        return content

    def facts(self, of: dict[str, Any]) -> list[tuple[str, str]]:
        """The facts of a cell or a record of `data`, in words."""
        texts = self.data["texts"]
        return [(texts[what], texts[text]) for what, text in of["facts"]]


def history(final: float, epochs: int = 90) -> list[dict[str, float]]:
    """A training that ends at `final`."""
    errors = [round(final + 60 * exp(-epoch / 9), 3) for epoch in range(1, epochs)] + [final]
    return [
        {"epoch": epoch, "train_top1_err": round(error - 1, 3), "top1_err": error}
        for epoch, error in enumerate(errors, start=1)
    ]


def save_figure_7(root: Path, depths: tuple[str, ...] = ("50",), seeds: int = 1, **changes: Any) -> None:
    """Runs of the networks of the paper's Figure 7 that end a tenth of a point a seed above the printed errors."""
    table = TABLES[3]
    assert isinstance(table, Table)
    for row in table.rows:
        if row.key not in ("resnet", "pyconvresnet", "pyconvhgresnet") or row.group not in depths:
            continue
        top1, top5, *_ = row.published
        assert row.experiment is not None
        assert isinstance(top1, float)
        assert isinstance(top5, float)
        for seed in range(seeds):
            end = round(top1 + 0.1 * seed, 2)
            content = {"errors": (end, top5), "history": history(end), **changes}
            save(root, replace(row.experiment, seed=seed), CROP224, **content)
