"""What a network can be trained for. A task is a module with `training_set`, `collate`, `loss` and `validate`."""

from importlib import import_module
from types import ModuleType

from pyconv.recipe import ImageNetAugment, Recipe


def task_of(recipe: Recipe) -> ModuleType:
    """The task whose augmentation the recipe has; `ValueError` where none is there."""
    match recipe.augment:
        case ImageNetAugment():
            return import_module("pyconv.tasks.imagenet")  # late: the names of the tasks are asked for without torch
    raise ValueError(f"{recipe.data}: no task trains with {type(recipe.augment).__name__}; valid: ImageNetAugment")
