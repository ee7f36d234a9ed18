"""The arrow of imports: pyconv <- experiments <- results <- slurm, inside pyconv layers <- models <- tasks <- train."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pyconv", "experiments", "results", "slurm")
INSIDE = ("layers", "models", "tasks", "train")
LEAVES = ("complexity", "data", "recipe")  # for their neighbours on the right: they import neither tasks nor train
HEAVY = ("torch", "torchvision", "pandas", "submitit", "jinja2", "fvcore")
WHOLLY_HEAVY = ("slurm.measure", "slurm.trial", "slurm.cluster")  # what tests and trains; what talks to submitit


def imports(path: Path) -> Iterator[str]:
    """Every module named in an import of the file, wherever in it, but for types only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import) and id(node) not in typing_only:
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and id(node) not in typing_only:
            assert node.level == 0, f"{path}: a relative import; write the package's name"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_what_stands_to_its_left(package: str) -> None:
    right = PACKAGES[PACKAGES.index(package) + 1 :]
    wrong = [(str(f), name) for f in files(package) for name in imports(f) if name.split(".")[0] in (*right, "tests")]
    assert not wrong


@pytest.mark.parametrize("part", [*INSIDE, *LEAVES])
def test_inside_pyconv_too(part: str) -> None:
    right = INSIDE[INSIDE.index(part) + 1 :] if part in INSIDE else ("tasks", "train")
    own = [f for f in files("pyconv") if f.relative_to(ROOT / "pyconv").parts[0].removesuffix(".py") == part]
    assert own
    wrong = [
        (str(f), name) for f in own for name in imports(f) if name.split(".")[:2] in [["pyconv", r] for r in right]
    ]
    assert not wrong


def test_only_the_library_and_late_imports_know_torch() -> None:
    """What is heavy as a whole is imported late as a whole."""
    for package in PACKAGES[1:]:
        for file in files(package):
            if ".".join(file.relative_to(ROOT).with_suffix("").parts) in WHOLLY_HEAVY:
                continue
            top = ast.parse(file.read_text(encoding="utf-8")).body
            names = [n for node in top if isinstance(node, ast.Import) for n in (alias.name for alias in node.names)]
            names += [node.module or "" for node in top if isinstance(node, ast.ImportFrom)]
            assert not {name.split(".")[0] for name in names} & set(HEAVY[:4]), file
            assert not set(names) & set(WHOLLY_HEAVY), file


@pytest.mark.parametrize(
    "module",
    [
        "slurm.cli",
        "slurm.commands.run",
        "slurm.commands.eval",
        "slurm.commands.plan",
        "slurm.commands.submit",
        "slurm.commands.status",
        "slurm.commands.verify",
        "experiments",
        "results.verify",
    ],
)
def test_what_a_command_line_imports_is_light(module: str) -> None:
    program = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"


def test_no_drawer_for_odds_and_ends() -> None:
    assert not [file for package in PACKAGES for file in files(package) if file.stem in ("utils", "helpers", "misc")]
