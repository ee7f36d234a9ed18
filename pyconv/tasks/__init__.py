"""What a network can be trained for. What a task module has is said in `pyconv.tasks.imagenet`."""

from importlib import import_module
from types import ModuleType
from typing import assert_never

from pyconv.recipe import Ade20kAugment, CocoAugment, ImageNetAugment, KineticsAugment, Recipe


def task_of(recipe: Recipe) -> ModuleType:
    """The task whose augmentation the recipe has."""
    match recipe.augment:
        case ImageNetAugment():
            return import_module("pyconv.tasks.imagenet")  # late: the names of the tasks are asked for without torch
        case Ade20kAugment():
            return import_module("pyconv.tasks.ade20k")
        case CocoAugment():
            return import_module("pyconv.tasks.coco")
        case KineticsAugment():
            return import_module("pyconv.tasks.kinetics")
    assert_never(recipe.augment)
