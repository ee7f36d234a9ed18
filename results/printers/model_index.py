"""Model cards for the Hugging Face Hub: one a network that was measured, with the results in `model-index` metadata.

`model-cards/<name of the records' folder>.md`: YAML front matter that the Hub reads, below it the same for people. The
Hub knows accuracies, not errors: where a metric's type is `accuracy` and an error was measured, 100 - error is given,
in percent. Every value is self-reported (`verified: false`) and measured here; nothing printed by the paper is in the
metadata. A mini run says so in the names of its data set and metrics.
"""

from typing import Any

from results.cell import Cell
from results.gather import Report
from results.links import one_folder_down, record_url
from results.models import Model, Tested, models
from results.printers.markdown import escape, table
from results.printers.yaml_text import as_yaml

# Task and data set: the Hub's identifier and a name; of other data sets their own name is both.
TASKS = {
    "imagenet": ("image-classification", "Image Classification"),
    "ade20k": ("image-segmentation", "Image Segmentation"),
    "coco": ("object-detection", "Object Detection"),
    "kinetics": ("video-classification", "Video Classification"),
}
DATA = {
    "imagenet": ("imagenet-1k", "ImageNet-1k (ILSVRC 2012)"),
    "ade20k": ("scene_parse_150", "ADE20K"),
    "coco": ("coco", "COCO 2017"),
    "kinetics": ("kinetics400", "Kinetics-400"),
}
SPLITS = {"val": "validation"}
# Metric: the Hub's type and a name; other metrics keep their own. The errors become accuracies.
METRICS = {
    "top1_err": ("accuracy", "Top-1 accuracy"),
    "top5_err": ("accuracy", "Top-5 accuracy"),
    "pixel_acc": ("accuracy", "Pixel accuracy"),
    "miou": ("mean_iou", "Mean IoU"),
}
ERRORS = ("top1_err", "top5_err")


def pages(report: Report) -> dict[str, str]:
    """A card a network with a measured accuracy; none at all where nothing was measured."""
    link = one_folder_down(report.records_link)
    return {f"model-cards/{model.name}.md": card(model, link) for model in models(report) if model.tests}


def card(model: Model, link: str) -> str:
    """Front matter and text of one card; `link`: what stands before a record's place, "" for no links."""
    index = [{"name": model.name, "results": [_result(model, test, link) for test in model.tests]}]
    return f"---\n{as_yaml({'model-index': index})}---\n\n{_text(model, link)}"


def accuracy(cell: Cell) -> float:
    """What was measured, in percent, an error turned into the accuracy; nine decimals."""
    assert cell.measured is not None
    return round(100 - cell.measured if cell.column.metric in ERRORS else cell.measured, 9)


def _result(model: Model, test: Tested, link: str) -> dict[str, Any]:
    task, task_name = TASKS[model.experiment.task]
    data, data_name = DATA.get(test.protocol.data, (test.protocol.data, test.protocol.data))
    about = {
        "type": data,
        "name": f"{data_name} (mini run: checks the pipeline, not the paper)" if model.mini else data_name,
        "split": SPLITS.get(test.protocol.split, test.protocol.split),
    }
    result: dict[str, Any] = {
        "task": {"type": task, "name": task_name},
        "dataset": about | ({"revision": test.revision} if test.revision else {}),
        "metrics": [_metric(model, test, cell) for cell in test.cells],
    }
    if link:
        more = f" and {len(test.places) - 1} more" if len(test.places) > 1 else ""
        result["source"] = {"name": f"{test.places[0]}{more}", "url": record_url(link, test.places[0])}
    return result


def _metric(model: Model, test: Tested, cell: Cell) -> dict[str, Any]:
    kind, _ = METRICS.get(cell.column.metric, (cell.column.metric, ""))
    facts = {"protocol": test.protocol.key, "crop": test.protocol.crop, "seeds": cell.seeds, "samples": cell.n}
    return {
        "type": kind,
        "value": accuracy(cell),
        "name": _name(model, test, cell),
        "args": {key: value for key, value in facts.items() if value is not None},
        "verified": False,
    }


def _name(model: Model, test: Tested, cell: Cell) -> str:
    """`Top-1 accuracy (%), crop224`, and what else must not be missed."""
    _, name = METRICS.get(cell.column.metric, ("", cell.column.metric))
    warnings = [
        "mini run" if model.mini else "",
        "released weights, not trained here" if not cell.seeds else "",
        "off its protocol" if cell.departures else "",
        "the test server's answer, entered by hand" if cell.column.external else "",
    ]
    return ", ".join([f"{name} (%)", test.protocol.key, *filter(None, warnings)])


def _text(model: Model, link: str) -> str:
    rows = [
        [escape(_name(model, test, cell)), f"{accuracy(cell):.{cell.column.decimals}f}", str(cell.seeds)]
        for test in model.tests
        for cell in test.cells
    ]
    counts = f"{model.params:,} parameters, {model.flops:,} FLOPs" if model.params and model.flops else ""
    remarks = dict.fromkeys(f"* {escape(text)}" for test in model.tests for text in test.remarks)
    records = dict.fromkeys(f"* {_link(place, link)}" for test in model.tests for place in test.places)
    title, measured = f"# {escape(model.experiment.name)}", table(["Measured here", "", "seeds"], rows, numbers_from=1)
    parts = [title, counts, measured, "\n".join(remarks), "Records:\n\n" + "\n".join(records)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _link(place: str, link: str) -> str:
    return f"[{escape(place)}]({record_url(link, place)})" if link else escape(place)
