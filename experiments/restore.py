"""The inverse of `experiments.spec.resolved` for recipes: a record is checked by the recipe that stands in it alone."""

from dataclasses import fields
from typing import Any, get_args

from pyconv.recipe import Augment, Recipe

_TYPES: dict[str, type] = {kind.__name__: kind for kind in (Recipe, *get_args(Augment))}


def recipe(plain: object) -> Recipe:
    """The recipe of which `resolved` made `plain`: `recipe(resolved(r)) == r`.

    Raises ValueError naming the field when `plain` is of another version of the specs, or no recipe.
    """
    found = _value(plain, "recipe")
    if not isinstance(found, Recipe):
        raise ValueError(f"recipe is a {type(found).__name__}; a resolved Recipe is right")
    return found


def _value(plain: object, where: str) -> Any:
    if isinstance(plain, list):
        return tuple(_value(item, where) for item in plain)
    return _instance(plain, where) if isinstance(plain, dict) else plain


def _instance(plain: dict[str, Any], where: str) -> Any:
    """The dataclass that `type` names, with exactly its fields: what a missing one meant is not known."""
    kind = _TYPES.get(str(plain.get("type")))
    if kind is None:
        raise ValueError(f"{where}.type is {plain.get('type')!r}; valid: {', '.join(_TYPES)}")
    given, known = set(plain) - {"type"}, {f.name for f in fields(kind)}
    if different := sorted(given ^ known):
        state = "missing" if different[0] in known else f"not a field of {kind.__name__}"
        raise ValueError(f"{where}.{different[0]} is {state}")
    content = {name: _value(plain[name], f"{where}.{name}") for name in sorted(given)}
    try:
        return kind(**content)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None
