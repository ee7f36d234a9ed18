"""Bundles: the same bytes everywhere, everything that a report rests on, and the same report again."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bundles import BASELINE, FINAL, bundle, contents, packed, records, tables
from click.testing import CliRunner, Result
from evidence import save

from experiments.protocols import CROP224
from experiments.spec import fingerprint
from results import bundle as bundles
from results.bundle import About, make, used
from results.bundle_check import opened
from results.bundle_layout import CRATE, MANIFEST, RECORDS_LINK, BundleError
from results.evidence import Evidence
from results.report import render
from results.specs import differences, specs
from slurm.cli import cli

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Path]:
    """A bundle of Table 2, its digest, and the records that it was made of."""
    folder = tmp_path_factory.mktemp("made")
    path, said = bundle(folder)
    return path, said.digest, folder / "evidence"


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_what_was_rendered_is_rendered_again_to_the_same_bytes(made: tuple[Path, str, Path], tmp_path: Path) -> None:
    path, _, root = made
    clean = shutil.copytree(root, tmp_path / "clean")
    (clean / "torn.json").unlink()  # no evidence: a report tells it, a bundle has it not
    pages = render(tables(), Evidence.load(clean), records_link=RECORDS_LINK)
    direct = {name: page for name, page in pages.items() if isinstance(page, str)}
    own = {name.removeprefix("report/"): page for name, page in contents(path).items() if name.startswith("report/")}
    assert own == {name: page.encode() for name, page in direct.items()}
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked)
    for source in (path, unpacked):
        out = tmp_path / f"out-{source.name}"
        result = call("report", "--from", source, "--output", out, "--format", "md,latex,json,html")
        assert result.exit_code == 0, result.output
        assert "differently" not in result.stderr
        assert {page.name: page.read_bytes() for page in out.iterdir()} == own
    assert call("report", "--from", path).stdout == direct["table2.md"] + "\n" + direct["claims.md"]


def test_the_same_records_give_the_same_bytes_in_any_process(made: tuple[Path, str, Path], tmp_path: Path) -> None:
    _, digest, root = made
    other = tmp_path / "elsewhere"
    for file in sorted(root.rglob("*.json"), reverse=True):  # another order, other dates
        (other / file.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, other / file.relative_to(root))
    outputs = []
    for number, (records_, seed, zone, mask) in enumerate(
        [(root, "1", "Pacific/Kiritimati", 0o022), (other, "2", "America/Lima", 0o077)]
    ):
        out = tmp_path / f"{number}.zip"
        program = f"import os; os.umask({mask}); from slurm.cli import main; main()"
        command = [sys.executable, "-c", program, "archive", "table2", "--records", records_, "--output", out]
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": zone, "LC_ALL": "C"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout == f"{digest}\n"
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1]


def test_the_digest_and_the_manifest_are_plain_sha256(made: tuple[Path, str, Path]) -> None:
    path, digest, root = made
    found = contents(path)
    assert hashlib.sha256(found[MANIFEST]).hexdigest() == digest
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(found.items())]
    assert found[MANIFEST].decode() == "".join(line for line in lines if not line.endswith(f"{MANIFEST}\n"))
    for name in found:
        if name.startswith("records/"):
            assert found[name] == (root / name.removeprefix("records/")).read_bytes()


def test_what_the_tables_rest_on_is_in_it_and_nothing_else(made: tuple[Path, str, Path]) -> None:
    evidence = Evidence.load(made[2])
    assert (len(evidence.records), len(evidence.counts), len(evidence.problems)) == (3, 2, 1)
    kept = used(tables(), evidence)
    assert {record.fingerprint for record in kept.records.values()} == {fingerprint(FINAL), fingerprint(BASELINE)}
    assert [count.name for count in kept.counts.values()] == ["resnet50"]
    assert not kept.problems
    started = used(tables("table5"), evidence)  # all of its networks start from the ResNet-50 of Table 2
    assert [record.fingerprint for record in started.records.values()] == [fingerprint(BASELINE)]


def test_specs_are_named_by_what_they_say(made: tuple[Path, str, Path]) -> None:
    """An experiment's name is the first twelve digits of the SHA-256 of its canonical JSON under the schema."""
    content = json.loads(contents(made[0])["specs.json"])
    assert [row["target"] for row in content["tables"][0]["rows"]] == [f"table2/{row.key}" for row in tables()[0].rows]
    for name, spec in [*content["experiments"].items(), *content["protocols"].items()]:
        text = json.dumps([content["spec_schema"], spec], sort_keys=True, separators=(",", ":"))
        assert hashlib.sha256(text.encode()).hexdigest()[:12] == name
    final = next(row for row in content["tables"][0]["rows"] if row["target"] == "table2/final")
    assert final["published"] == {"top1_err": 22.12, "top5_err": 6.2, "params": 24.85, "flops": 3.88}
    assert final["fingerprint"] in content["experiments"]


def test_software_machines_and_data_are_told_once_each(made: tuple[Path, str, Path]) -> None:
    found = contents(made[0])
    environments, data = (json.loads(found[name]) for name in ("environments.json", "data-manifests.json"))
    measured = [name.removeprefix("records/") for name in found if name.startswith("records/imagenet-")]
    assert sorted(place for e in environments["environments"] for place in e["measured"]) == sorted(
        name.removeprefix("records/") for name in found if name.startswith("records/")
    )
    assert [entry["code"]["commit"] for entry in environments["code"]] == ["0" * 40]
    assert [(entry["name"], entry["split"], entry["records"]) for entry in data["data"]] == [
        ("imagenet", "val", measured)
    ]


def test_the_library_reads_it_as_an_ro_crate(made: tuple[Path, str, Path], tmp_path: Path) -> None:
    library = pytest.importorskip("rocrate.rocrate")
    shutil.copyfile(made[0], tmp_path / "bundle.zip")
    crate = library.ROCrate(tmp_path / "bundle.zip")
    found = contents(made[0])
    files = {entity.id: entity for entity in crate.data_entities if entity.type == "File"}
    assert set(files) == set(found) - {CRATE}
    for name, entity in files.items():
        if name != MANIFEST:
            assert entity["sha256"] == hashlib.sha256(found[name]).hexdigest()
            assert entity["contentSize"] == str(len(found[name]))
    made_by = {action["result"].id: action for action in crate.root_dataset["mentions"]}
    assert set(made_by) == {name for name in found if name.startswith("records/")} | {"report/"}
    assert all(
        "0" * 40 in action["instrument"][0]["softwareVersion"] for name, action in made_by.items() if ".json" in name
    )
    assert {part.id for part in crate.get("records/")["hasPart"]} == {n for n in found if n.startswith("records/")}
    assert crate.metadata["conformsTo"] in ("https://w3id.org/ro/crate/1.1", crate.get("https://w3id.org/ro/crate/1.1"))
    assert all(crate.root_dataset.get(key) for key in ("name", "description", "license", "datePublished"))


def test_a_license_and_a_day_are_stated_as_given(tmp_path: Path) -> None:
    evidence = Evidence.load(records(tmp_path / "evidence"))
    url = "https://creativecommons.org/licenses/by/4.0/"
    make(tables("table2/final"), evidence, About("table2/final", False, url, "2026-11-30"), tmp_path / "b.zip")
    graph = {entity["@id"]: entity for entity in json.loads(contents(tmp_path / "b.zip")[CRATE])["@graph"]}
    assert (graph["./"]["license"], graph["./"]["datePublished"]) == ({"@id": url}, "2026-11-30")
    assert graph[url]["@type"] == "CreativeWork"
    wrong = call("archive", "table2", "--output", tmp_path / "c.zip", "--published", "yesterday")
    assert wrong.exit_code == 2
    assert "2026-11-30" in wrong.stderr


def test_without_a_commit_there_is_no_day_rather_than_a_clock_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundles, "commit_day", lambda: None)  # an installed package
    path, _ = bundle(tmp_path, "table2/final")
    root = next(entity for entity in json.loads(contents(path)[CRATE])["@graph"] if entity["@id"] == "./")
    assert "datePublished" not in root


def test_an_interrupted_bundle_leaves_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = bundle(tmp_path, "table2/final")
    before = path.read_bytes()

    def interrupted(_members: object, file: Any) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "write_zip", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make(tables(), Evidence.load(tmp_path / "evidence"), About("table2"), path)
    assert path.read_bytes() == before
    assert {entry.name for entry in tmp_path.iterdir()} == {"bundle.zip", "evidence"}


def test_a_record_changed_meanwhile_is_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = records(tmp_path / "evidence")
    (first,) = root.glob(f"*-{fingerprint(FINAL)}/*/*.json")
    gather = bundles.contents

    def then_changed(*arguments: Any) -> Any:
        members = gather(*arguments)
        first.write_text("{}")
        return members

    monkeypatch.setattr(bundles, "contents", then_changed)
    with pytest.raises(BundleError, match="changed while"):
        make(tables(), Evidence.load(root), About("table2"), tmp_path / "b.zip")
    assert not (tmp_path / "b.zip").exists()


def test_a_folder_of_records_with_a_name_that_not_every_system_keeps_is_told(tmp_path: Path) -> None:
    root = records(tmp_path / "evidence")
    folder = next(root.glob("imagenet-pyconvresnet50-*"))
    folder.rename(folder.with_name(f"my: {folder.name}"))
    with pytest.raises(BundleError, match="no name of a member"):
        make(tables(), Evidence.load(root), About("table2"), tmp_path / "b.zip")


def test_making_needs_the_library_and_reading_does_not(made: tuple[Path, str, Path], tmp_path: Path) -> None:
    program = "import sys; sys.modules['rocrate'] = sys.modules['torch'] = None; from slurm.cli import main; main()"

    def run(*arguments: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True)

    without = run("archive", "table2", "--records", made[2], "--output", tmp_path / "b.zip")
    assert (without.returncode, without.stdout) == (1, "")
    assert "pyconv[archive]" in without.stderr
    assert run("archive", "--check", made[0]).stdout == f"{made[1]}\n"
    assert run("report", "--from", made[0]).stdout.startswith("# Table 2")


def test_a_page_that_this_program_renders_differently_is_told(made: tuple[Path, str, Path], tmp_path: Path) -> None:
    members = contents(made[0])
    members["report/table2.md"] = members["report/table2.md"].replace(b"22.30", b"21.30")
    result = call("report", "--from", packed(members, tmp_path / "b.zip"))
    assert result.exit_code == 0
    assert "renders 1 of 2 pages differently from the bundle's own (rendered by commit" in result.stderr
    assert "22.30" in result.stdout
    assert "21.30" not in result.stdout


def test_rows_that_are_something_else_today_are_told(made: tuple[Path, str, Path], tmp_path: Path) -> None:
    members = contents(made[0])
    content = json.loads(members["specs.json"])
    assert differences(content, specs(tables())) == []
    first, second, third = content["tables"][0]["rows"][:3]
    first["fingerprint"] = "0" * 12
    second["published"]["top1_err"] = 1.5
    third["target"] = "table2/gone"
    assert [text.partition(":")[0] for text in differences(content, specs(tables()))] == [
        "table2/baseline",
        "table2/2221/top1_err",
        "'table2/gone'",
    ]
    members["specs.json"] = json.dumps(content).encode()
    result = call("report", "--from", packed(members, tmp_path / "b.zip"))
    assert result.exit_code == 0
    assert result.stderr.count("the specs have changed") == 3
    assert "not in the bundle: table2/3321" in result.stderr


def test_another_target_of_the_bundle_may_be_asked_for(made: tuple[Path, str, Path]) -> None:
    result = call("report", "table2/final", "--from", made[0])
    assert "22.30" in result.stdout
    assert "23.90" not in result.stdout
    other = call("report", "table4", "--from", made[0])
    assert "not in the bundle: table4/" in other.stderr
    both = call("report", "--from", made[0], "--records", made[2])
    assert both.exit_code == 2


def test_weights_and_seeds_come_along(tmp_path: Path) -> None:
    """Seeds of one run are all in it, and so is what they say of their spread."""
    root = tmp_path / "evidence"
    for seed, error in enumerate((22.1, 22.3, 22.6)):
        save(root, replace(FINAL, seed=seed), CROP224, errors=(error, 6.2))
    make(tables("table2/final"), Evidence.load(root), About("table2/final"), tmp_path / "b.zip")
    with opened(tmp_path / "b.zip") as found:
        assert sorted(record.seed for record in found.evidence.records.values()) == [0, 1, 2]
