"""`metafile.yml`, as the model zoos of OpenMMLab describe their networks: a collection, its models, their results.

Parameters and FLOPs are exact integers, counted under the named convention at the network's own input size. Results
are measured here, in percent: accuracies (100 - error), mIoU, box AP; null where nothing was measured.
"""

from typing import Any

from experiments.columns import PAPER_CONVENTION
from results.gather import Report
from results.models import Model, Tested, models
from results.printers.model_index import accuracy
from results.printers.yaml_text import as_yaml

COLLECTION = "PyConv"
PAPER = {
    "URL": "https://arxiv.org/abs/2006.11538",
    "Title": "Pyramidal Convolution: Rethinking Convolutional Neural Networks for Visual Recognition",
}
HEAD = f"""\
# The networks of one paper, its baselines included. FLOPs: one multiply-add is one, counted as {PAPER_CONVENTION}.
# Results were measured here; null: not measured yet. Nothing is copied from the paper.
"""
TASKS = {
    "imagenet": "Image Classification",
    "ade20k": "Semantic Segmentation",
    "coco": "Object Detection",
    "kinetics": "Action Recognition",
}
DATA = {"imagenet": "ImageNet-1k", "ade20k": "ADE20K", "coco": "COCO", "kinetics": "Kinetics-400"}
METRICS = {
    "top1_err": "Top 1 Accuracy",
    "top5_err": "Top 5 Accuracy",
    "miou": "mIoU",
    "pixel_acc": "aAcc",
    "ap": "box AP",
}


def pages(report: Report) -> dict[str, str]:
    """The page `metafile.yml`."""
    found = [model for model in models(report) if model.params is not None or model.tests]
    names = dict.fromkeys(model.experiment.model.name for model in found)
    content = {
        "Collections": [{"Name": COLLECTION, "Metadata": {"Architecture": list(names)}, "Paper": PAPER}],
        "Models": [_model(model) for model in found],
    }
    return {"metafile.yml": HEAD + as_yaml(content)}


def _model(model: Model) -> dict[str, Any]:
    recipe = model.experiment.recipe
    about: dict[str, Any] = {
        "Training Data": DATA.get(recipe.data, recipe.data),
        "Epochs": recipe.epochs,
        "Batch Size": recipe.batch_size,
    }
    if model.flops is not None:
        about |= {"FLOPs": model.flops, "FLOPs Convention": PAPER_CONVENTION}
    if model.params is not None:
        about["Parameters"] = model.params
    return {
        "Name": model.name,
        "In Collection": COLLECTION,
        "Metadata": about,
        "Results": [_result(model, test) for test in model.tests] or None,
    }


def _result(model: Model, test: Tested) -> dict[str, Any]:
    result: dict[str, Any] = {
        "Task": TASKS[model.experiment.task],
        "Dataset": DATA.get(test.protocol.data, test.protocol.data),
        "Metrics": {METRICS.get(cell.column.metric, cell.column.metric): accuracy(cell) for cell in test.cells},
        "Protocol": test.protocol.key,
        "Seeds": max(cell.seeds for cell in test.cells),
    }
    mini = ["A mini run: it checks the pipeline, not the paper."] if model.mini else []
    notes = [*mini, *test.remarks]
    return result | ({"Notes": notes} if notes else {})
