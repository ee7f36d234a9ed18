"""A bundle described as an RO-Crate 1.1 (https://w3id.org/ro/crate/1.1), with the runs as a Process Run Crate.

Each record is the `result` of a CreateAction, whose `instrument` is the program at a commit and the software under it,
and whose `object` are the copies of the data sets. Written with the library rocrate (the extra `archive`).
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from experiments.spec import digest_resolved
from results.bundle_layout import CRATE, ENVIRONMENTS, MANIFEST, RECORDS, REPORT, SPECS, Member
from results.evidence import Evidence
from results.inventory import placed
from results.records import AnyRecord, CountRecord, ExternalRecord

VERSION = "1.1"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
PAPER = "https://arxiv.org/abs/2006.11538"
PAPER_TITLE = "Pyramidal Convolution: Rethinking Convolutional Neural Networks for Visual Recognition"
NO_LICENSE = "No license was stated when this bundle was made: ask its authors before using it further."
FORMATS = {
    "json": "application/json",
    "md": "text/markdown",
    "tex": "text/x-tex",
    "html": "text/html",
    "csv": "text/csv",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
}


class NoLibrary(ImportError):  # noqa: N818 (a missing extra, not a fault)
    """rocrate is not installed."""


@dataclass(frozen=True)
class Title:
    """What a crate says of itself. `license`: a URL or a sentence, "": none was stated; `published`: a day or ""."""

    name: str
    description: str
    license: str = ""
    published: str = ""


def crate_text(title: Title, renderer: dict[str, Any], members: Iterable[Member], evidence: Evidence) -> str:
    """The text of `ro-crate-metadata.json` for `members`, the same for the same arguments.

    `renderer`: the code that made the report, as `results.provenance.code` tells it. Raises NoLibrary.
    """
    try:
        library = import_module("rocrate.rocrate")
    except ImportError as error:
        raise NoLibrary("making a bundle needs the library rocrate: pip install 'pyconv[archive]'") from error
    crate = library.ROCrate(version=VERSION)
    _describe(crate, title)
    _add_files(crate, members)
    actions = [_add_run(crate, place, record) for place, record in placed(evidence)]
    actions.append(_add_rendering(crate, renderer))
    crate.root_dataset["mentions"] = [{"@id": action} for action in actions]
    return json.dumps(crate.metadata.generate(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _describe(crate: Any, title: Title) -> None:
    root = crate.root_dataset
    root["name"], root["description"] = title.name, title.description
    del root["datePublished"]  # rocrate's clock
    if title.published:
        root["datePublished"] = title.published
    root["license"] = title.license or NO_LICENSE
    if title.license.startswith(("https://", "http://")):
        root["license"] = _add(crate, title.license, "CreativeWork", name=title.license)
    root["conformsTo"] = _add(crate, PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    root["citation"] = _add(crate, PAPER, "ScholarlyArticle", name=PAPER_TITLE)


def _add_files(crate: Any, members: Iterable[Member]) -> None:
    folders: dict[str, list[dict[str, str]]] = {RECORDS: [], REPORT: []}
    for member in sorted(members, key=lambda member: member.name):
        kind = FORMATS.get(member.name.rpartition(".")[2], "text/plain")
        about = {"encodingFormat": kind, "contentSize": str(member.size), "sha256": member.sha256}
        crate.add_file(dest_path=member.name, properties={"name": member.name, **about})
        for folder, parts in folders.items():
            if member.name.startswith(folder):
                parts.append({"@id": member.name})
    about = {"encodingFormat": "text/plain", "description": f"SHA-256 of every other file, {CRATE} among them"}
    crate.add_file(dest_path=MANIFEST, properties={"name": MANIFEST, **about})
    for folder, what in ((RECORDS, "measurements and counts, one file each"), (REPORT, "what was rendered from them")):
        crate.add_dataset(
            dest_path=folder, properties={"name": folder, "description": what, "hasPart": folders[folder]}
        )


def _add_run(crate: Any, place: str, record: AnyRecord) -> str:
    """The action that made the record at `place`; returns its id."""
    if isinstance(record, ExternalRecord):
        return _add_answer(crate, place, record)
    instruments = [_add_code(crate, record.code), _add_environment(crate, record.environment)]
    about: dict[str, Any] = {"instrument": instruments, "result": {"@id": f"{RECORDS}{place}"}}
    if isinstance(record, CountRecord):
        size = "x".join(map(str, record.input_size))
        return _add(crate, f"#run-{place}", "CreateAction", name=f"count of {record.name} at {size}", **about)["@id"]
    weights = "weights from a file" if record.released else f"seed {record.seed}"
    splits = sorted(record.data["splits"].items())
    about["object"] = [_add_split(crate, record.data["name"], split, content) for split, content in splits]
    name = f"{record.name}, {weights}, tested by {record.protocol['key']}"
    return _add(crate, f"#run-{place}", "CreateAction", name=name, **about)["@id"]


def _add_answer(crate: Any, place: str, record: ExternalRecord) -> str:
    """The test server's answer that somebody wrote down at `place`: no program of ours made it."""
    name = f"{record.name}, {record.run}: the test server's answer by {record.protocol['key']}, entered by hand"
    about = {"result": {"@id": f"{RECORDS}{place}"}, "description": record.source, "endTime": record.date}
    return _add(crate, f"#run-{place}", "CreateAction", name=name, **about)["@id"]


def _add_rendering(crate: Any, renderer: dict[str, Any]) -> str:
    about = {"instrument": _add_code(crate, renderer), "result": {"@id": REPORT}}
    inputs = [{"@id": RECORDS}, {"@id": SPECS}]
    return _add(crate, "#rendering", "CreateAction", name="rendering of the report", object=inputs, **about)["@id"]


def _add_code(crate: Any, code: dict[str, Any]) -> dict[str, str]:
    commit = code.get("commit") or "unknown commit"
    changed = f", changed (the difference has SHA-256 {code.get('diff_sha256')})" if code.get("dirty") else ""
    about = {"name": f"pyconv at {commit}{changed}", "softwareVersion": f"{commit}{changed}"}
    return _add(crate, f"#code-{digest_resolved(code)}", "SoftwareApplication", **about)


def _add_environment(crate: Any, environment: dict[str, Any]) -> dict[str, str]:
    """Its packages by name and version; all that is known of it stands in `environments.json`."""
    known = {key: str(value) for key, value in environment.items() if value is not None}
    machine = ("platform", "cpu", "cores", "device", "threads")
    about = {
        "name": ", ".join(f"{key} {value}" for key, value in known.items() if key not in machine) or "unknown software",
        "softwareVersion": f"Python {known.get('python', 'unknown')}",
        "operatingSystem": known.get("platform", "unknown"),
        "processorRequirements": ", ".join(f"{key} {known[key]}" for key in machine[1:] if key in known) or "unknown",
        "subjectOf": {"@id": ENVIRONMENTS},
    }
    return _add(crate, f"#environment-{digest_resolved(environment)}", "SoftwareApplication", **about)


def _add_split(crate: Any, data: str, split: str, content: dict[str, Any]) -> dict[str, str]:
    about = {
        "name": f"{data}, {split}: {content['samples']} samples of {content['classes']} classes",
        "sha256": content["sha256"],
    }
    return _add(crate, f"#data-{digest_resolved([data, split, content])}", "CreativeWork", **about)


def _add(crate: Any, identifier: str, kind: str, **about: Any) -> dict[str, str]:
    """An entity that is no file; added again it is the same one. Returns the reference to it."""
    entity = import_module("rocrate.model").ContextEntity(crate, identifier, {"@type": kind, **about})
    crate.add(entity)  # not add_jsonld, which searches the whole crate first
    return {"@id": identifier}
