"""Fingerprints: stable in any process and Python, equal for equal experiments, different in every single field."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from experiments import trainings
from experiments.recipes import ade20k, coco, imagenet, kinetics
from experiments.spec import SCHEMA, Experiment, family, fingerprint, resolved
from pyconv.architectures import pyconvresnet, pyconvresnet3d, pyconvsegnet, pyconvssd, resnet

ROOT = Path(__file__).parents[1]
RESNET50 = imagenet(resnet(50))
ALL_KINDS = {
    "imagenet": imagenet(pyconvresnet(50)),
    "ade20k": ade20k(pyconvsegnet(pyconvresnet(50))),
    "coco": coco(pyconvssd(50)),
    "kinetics": kinetics(pyconvresnet3d(50)),
}
PRINT_ALL = "import json; from experiments import trainings; print(json.dumps(list(trainings())))"


def pythons() -> list[str]:
    """This interpreter, and newer ones found on this machine that start."""
    found = [sys.executable]
    beside = Path(sys.base_prefix).parent  # where several versions are installed side by side
    for version in ("3.12", "3.13", "3.14"):
        candidates = [shutil.which(f"python{version}"), *map(str, beside.glob(f"*{version}*/bin/python{version}"))]
        working = (
            path
            for path in candidates
            if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0
        )
        if path := next(working, None):
            found.append(path)
    return found


@pytest.mark.parametrize("python", pythons(), ids=lambda path: Path(path).name)
@pytest.mark.parametrize("hash_seed", ["0", "12345"])
def test_stable_across_processes_hash_seeds_and_python_versions(python: str, hash_seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    output = subprocess.run(
        [python, "-c", PRINT_ALL], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert json.loads(output.stdout) == list(trainings())


def test_equal_experiments_have_one_fingerprint() -> None:
    again = imagenet(pyconvresnet(50, levels=(1, 1, 1, 1), pool="stem"))  # ResNet-50 by another way
    assert again == RESNET50
    assert fingerprint(again) == fingerprint(RESNET50)


def test_numbers_that_are_equal_are_one_spec() -> None:
    whole, fractional = (replace(RESNET50, recipe=replace(RESNET50.recipe, lr=lr)) for lr in (1, 1.0))
    assert whole == fractional
    assert fingerprint(whole) == fingerprint(fractional)


def test_a_list_is_a_tuple() -> None:
    listed = replace(RESNET50, recipe=replace(RESNET50.recipe, milestones=[30, 60, 80]))
    assert fingerprint(listed) == fingerprint(RESNET50)


def test_order_matters() -> None:
    stages = RESNET50.model.stages
    swapped = replace(RESNET50, model=replace(RESNET50.model, stages=(stages[1], stages[0], *stages[2:])))
    assert fingerprint(swapped) != fingerprint(RESNET50)


def test_labels_are_no_identity() -> None:
    renamed = replace(RESNET50, model=replace(RESNET50.model, name="my network"))
    assert renamed == RESNET50
    assert fingerprint(renamed) == fingerprint(RESNET50)
    assert renamed.name != RESNET50.name


def test_the_seed_is_identity_but_not_family() -> None:
    other = replace(RESNET50, seed=1)
    assert fingerprint(other) != fingerprint(RESNET50)
    assert family(other) == family(RESNET50) == fingerprint(RESNET50)


def test_the_seed_of_the_pretraining_is_family() -> None:
    segmentation = ALL_KINDS["ade20k"]
    assert family(replace(segmentation, init=replace(segmentation.init, seed=1))) != family(segmentation)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_every_single_field_changes_the_fingerprint(kind: str) -> None:
    """Walk all fields of all dataclasses inside, generically, so that a new field is covered the day it is added."""
    experiment = ALL_KINDS[kind]
    changed = {path: fingerprint(changed) for path, changed in mutations(experiment, "")}
    assert len(changed) > 60
    assert fingerprint(experiment) not in changed.values()
    assert len(set(changed.values())) == len(changed)
    for part in (experiment, experiment.recipe, experiment.recipe.augment, experiment.model):
        for field in fields(part):
            if field.compare:
                assert any(f".{field.name}" in path for path in changed)


def mutations(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """(path, value with one thing changed) for everything inside `value`; validation is left out on purpose."""
    if is_dataclass(value):
        for field in fields(value):
            if field.compare:
                for where, other in mutations(getattr(value, field.name), f"{path}.{field.name}"):
                    yield where, with_field(value, field.name, other)
    elif isinstance(value, (tuple, list)):
        yield f"{path} longer", (*value, 0)
        yield f"{path} shorter", value[:-1] if value else (1, 2)
        for i, item in enumerate(value):
            for where, other in mutations(item, f"{path}[{i}]"):
                yield where, (*value[:i], other, *value[i + 1 :])
    elif value is None:
        yield f"{path} given", RESNET50
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, str):
        yield path, value + "x"
    else:
        yield path, value + 1
        yield f"{path} slightly", value * 1.0001 + 1e-9


def with_field(value: Any, name: str, other: Any) -> Any:
    """`dataclasses.replace` without `__post_init__`."""
    changed = copy(value)
    object.__setattr__(changed, name, other)
    return changed


def test_what_has_no_place_in_a_spec_is_refused() -> None:
    for wrong in (float("nan"), float("inf"), object(), {"a": 1}):
        with pytest.raises(TypeError, match="has no place in a spec"):
            resolved((1, wrong))


def test_resolved_is_plain_json_with_the_defaults_and_without_the_labels() -> None:
    plain = resolved(RESNET50)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["recipe"]["momentum"] == 0.9
    assert plain["seed"] == 0
    assert "name" not in plain["model"]


def test_the_schema_has_not_changed_unnoticed() -> None:
    # A tripwire, not a truth: records are found by fingerprint. When this fails because a default, a field or a type
    # changed what is trained, that is right: put the new value here. When only the way of writing a spec changed, raise
    # experiments.spec.SCHEMA and say in the commit how older records are read.
    assert SCHEMA == 1
    assert fingerprint(RESNET50) == "feb1c6ff7211"


def test_the_name_says_task_network_and_other_data() -> None:
    assert RESNET50.name == "imagenet-resnet50"
    on_digits = replace(RESNET50, recipe=replace(RESNET50.recipe, data="digits"))
    assert on_digits.name == "imagenet-resnet50-digits"


def test_importing_the_specs_loads_no_heavy_package() -> None:
    code = (
        "import sys, experiments, experiments.claims, experiments.targets, experiments.mini; "
        "print([m for m in ('torch', 'numpy', 'pandas', 'submitit', 'fvcore') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


def test_an_experiment_is_a_value() -> None:
    assert len({RESNET50, imagenet(resnet(50)), replace(RESNET50, seed=1)}) == 2
    with pytest.raises(AttributeError):
        RESNET50.seed = 1
    with pytest.raises(TypeError, match="lerning_rate"):
        replace(RESNET50.recipe, lerning_rate=1)
    assert isinstance(ALL_KINDS["ade20k"].init, Experiment)
