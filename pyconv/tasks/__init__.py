"""What a network can be trained for. What a task module has is said in `pyconv.tasks.imagenet`."""

from importlib import import_module
from types import ModuleType

from pyconv.recipe import Ade20kAugment, CocoAugment, ImageNetAugment, Recipe


def task_of(recipe: Recipe) -> ModuleType:
    """The task whose augmentation the recipe has; `ValueError` where none is there."""
    match recipe.augment:
        case ImageNetAugment():
            return import_module("pyconv.tasks.imagenet")  # late: the names of the tasks are asked for without torch
        case Ade20kAugment():
            return import_module("pyconv.tasks.ade20k")
        case CocoAugment():
            return import_module("pyconv.tasks.coco")
    kind = type(recipe.augment).__name__
    raise ValueError(f"{recipe.data}: no task trains with {kind}; valid: ImageNetAugment, Ade20kAugment, CocoAugment")
