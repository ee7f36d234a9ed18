"""Tampering with bundles: every changed, missing or additional byte is found, and nothing hostile is unpacked."""

import hashlib
import io
import json
import os
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import bundle, contents, packed
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from results.bundle_check import opened
from results.bundle_layout import MANIFEST, BundleError, name_problems, read_manifest
from slurm.cli import cli

PAGE = "report/table2.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("made"), "table2/final")[0]


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def refused(path: Path, digest: str = "") -> str:
    """What is said of a bundle that is not opened; nothing of it may stay behind."""
    with pytest.raises(BundleError) as caught, opened(path, digest):
        pass
    return str(caught.value)


def unpacked(path: Path, folder: Path) -> Path:
    for name, content in contents(path).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def record_name(members: dict[str, bytes]) -> str:
    return next(name for name in members if name.startswith("records/imagenet-"))


def test_a_byte_changed_anywhere_is_found(made: Path, tmp_path: Path) -> None:
    """All of the directory and of the first headers, and every 499th byte of the rest."""
    good = made.read_bytes()
    with zipfile.ZipFile(made) as archive:
        start = archive.start_dir
    path = tmp_path / "b.zip"
    for place in [*range(120), *range(120, start, 499), *range(start, len(good), 7), *range(len(good) - 22, len(good))]:
        path.write_bytes(good[:place] + bytes([good[place] ^ (1 + place % 255)]) + good[place + 1 :])
        assert refused(path), place


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_bytes_cut_out_or_put_in_are_found(made: Path, tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    good = made.read_bytes()
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, len(good)))
    new = good[:start] + data.draw(st.binary(max_size=40)) + good[end:]
    if new != good:
        path = tmp_path_factory.mktemp("cut") / "b.zip"
        path.write_bytes(new)
        assert refused(path)


def test_a_torn_file_is_found_wherever_it_ends(made: Path, tmp_path: Path) -> None:
    good, path = made.read_bytes(), tmp_path / "b.zip"
    for length in [*range(0, len(good), len(good) // 50), len(good) - 1]:
        path.write_bytes(good[:length])
        assert refused(path), length
        assert call("report", "--from", path).exit_code == 1


def test_each_member_that_was_changed_removed_or_added_is_named(made: Path, tmp_path: Path) -> None:
    members = contents(made)
    record = record_name(members)
    members[PAGE] = members[PAGE].replace(b"22.30", b"21.30")
    members[record] = members[record].replace(b'"value": 22.3', b'"value": 21.3')
    del members["data-manifests.json"]
    members["report/more.md"] = b"more"
    for path in (packed(members, tmp_path / "b.zip", sign=False), unpacked(tmp_path / "b.zip", tmp_path / "folder")):
        result = call("archive", "--check", path)
        assert (result.exit_code, result.stdout) == (1, "")
        for said in (
            f"{PAGE} is not what the manifest says",
            f"{record} is not what the manifest says",
            "data-manifests.json is missing",
            "report/more.md is not in the manifest",
        ):
            assert said in result.stderr
        assert result.stderr.count("not what the manifest says") == 2
        rendered = call("report", "--from", path)
        assert (rendered.exit_code, rendered.stdout) == (1, "")
    told = json.loads(call("archive", "--check", tmp_path / "b.zip", "--json").stdout)
    assert (told["ok"], len(told["problems"])) == (False, 4)


def test_a_renamed_member_is_missing_and_too_many(made: Path, tmp_path: Path) -> None:
    members = contents(made)
    members["report/table3.md"] = members.pop(PAGE)
    said = refused(packed(members, tmp_path / "b.zip", sign=False))
    assert f"{PAGE} is missing" in said
    assert "report/table3.md is not in the manifest" in said


def test_what_was_changed_with_its_manifest_is_found_by_the_digest_only(made: Path, tmp_path: Path) -> None:
    published = hashlib.sha256(contents(made)[MANIFEST]).hexdigest()
    members = contents(made)
    record = record_name(members)
    members[record] = members[record].replace(b'"value": 22.3', b'"value": 21.3')
    forged = packed(members, tmp_path / "b.zip")
    assert call("archive", "--check", forged).exit_code == 0
    found = call("archive", "--check", forged, "--digest", published)
    assert found.exit_code == 1
    assert f"not {published}" in found.stderr
    assert call("archive", "--check", made, "--digest", published.upper()).exit_code == 0
    assert call("archive", "--check", made, "--digest", "12").exit_code == 2
    assert "--digest" in call("archive", "--help").stdout


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: text.replace('"seed": 0', '"seed": 1'),
        lambda text: text.replace('"value": 22.3', '"value": "22.3"'),
        lambda text: text.replace('"value": 22.3', '"value": NaN'),
        lambda text: text.replace('"epochs": 90', '"epochs": 120', 1),
        lambda text: text.replace('"counted_samples": 50000', '"counted_samples": 49999'),
        lambda text: text.replace('"schema": 3', '"schema": 99'),
        lambda text: text[:-5],
        lambda _: "[" * 100_000,
    ],
    ids=["seed", "text", "nan", "recipe", "incomplete", "schema", "torn", "deep"],
)
def test_a_record_that_contradicts_itself_is_refused_whatever_the_manifest_says(
    made: Path, tmp_path: Path, edit: Callable[[str], str]
) -> None:
    members = contents(made)
    record = record_name(members)
    edited = edit(members[record].decode()).encode()
    assert edited != members[record]
    path = packed({**members, record: edited}, tmp_path / "b.zip")
    assert record in refused(path)
    assert call("report", "--from", path).stdout == ""


def test_a_second_copy_of_a_record_is_refused(made: Path, tmp_path: Path) -> None:
    members = contents(made)
    record = record_name(members)
    members[record.replace("records/", "records/copy-of-")] = members[record]
    assert "second record of one measurement" in refused(packed(members, tmp_path / "b.zip"))


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd.json",
        "../evil.json",
        "records/../../evil.json",
        "records/./a.json",
        "records//a.json",
        "records\\..\\evil.json",
        "C:/evil.json",
        "records/a:b.json",
        "records/.hidden.json",
        "records/\x1b[2J.json",
        "records/a\x00.json",
        "records/ä.json",
        "records/run.sh",
        "Report/table2.md",
        "",
        "report/" + "x" * 300,
        "report/table2.md/under",
        "REPORT/table2.md",
    ],
)
def test_hostile_names_are_refused_and_nothing_is_written(made: Path, tmp_path: Path, name: str) -> None:
    """In the zip file and, signed, in the manifest."""
    members, box = contents(made), tmp_path / "box"
    lines = [*members[MANIFEST].decode().splitlines(), f"{hashlib.sha256(b'x').hexdigest()}  {name}"]
    members[MANIFEST] = ("\n".join(sorted(lines, key=lambda line: line[66:])) + "\n").encode()
    box.mkdir()
    path = box / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for own, content in members.items():
            archive.writestr(own, content)
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        archive.writestr(info, b"x")
    assert refused(path)
    result = call("report", "--from", path, "--output", box / "out")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "\x1b" not in result.stderr
    assert {entry.name for entry in box.iterdir()} == {"b.zip"}
    assert {entry.name for entry in tmp_path.iterdir()} == {"box"}
    assert not any("evil" in entry.name for entry in tmp_path.parent.iterdir())


def test_a_name_given_twice_is_refused(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(made.read_bytes())
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")  # of zipfile
        archive.writestr(PAGE, b"another")
    assert "2 members of this name" in refused(path)


def test_links_are_refused_in_a_zip_file_and_in_a_folder(made: Path, tmp_path: Path) -> None:
    members = contents(made)
    path = tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (0o120777 if name == PAGE else 0o100644) << 16
            archive.writestr(info, b"/etc/passwd" if name == PAGE else content)
    assert f"{PAGE}: a symbolic link" in refused(path)
    folder = unpacked(made, tmp_path / "folder")
    (tmp_path / "same.md").write_bytes((folder / PAGE).read_bytes())
    (folder / PAGE).unlink()
    (folder / PAGE).symlink_to(tmp_path / "same.md")
    assert f"{PAGE}: a symbolic link" in refused(folder)
    (folder / PAGE).unlink()
    os.mkfifo(folder / PAGE)
    assert PAGE in refused(folder)


def test_members_that_claim_more_than_there_is_are_not_unpacked(made: Path, tmp_path: Path) -> None:
    members, path = contents(made), tmp_path / "b.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, b"\0" * 50_000_000 if name == PAGE else content)
    assert path.stat().st_size < 1_000_000
    assert "compressed" in refused(path)
    good = bytearray(made.read_bytes())
    place = good.rindex(b"PK\x01\x02")  # of the last member in the directory: its two sizes
    good[place + 20 : place + 28] = struct.pack("<LL", 900_000_000, 900_000_000)
    path.write_bytes(good)
    assert "more than the file's own" in refused(path)


def test_bytes_around_the_members_are_found(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "b.zip"
    path.write_bytes(b"#!/bin/sh\n" + made.read_bytes())
    assert "packed again" in refused(path)
    path.write_bytes(made.read_bytes())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"hello"
    assert "packed again" in refused(path)
    stored = io.BytesIO()
    with zipfile.ZipFile(stored, "w") as archive:  # the same members, of today
        for name, content in contents(made).items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 11, 30, 0, 0, 0)), content)
    path.write_bytes(stored.getvalue())
    assert "unpack it" in refused(path)
    assert call("archive", "--check", unpacked(path, tmp_path / "folder")).exit_code == 0


@pytest.mark.parametrize("name", ["bundle.json", "specs.json"])
@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'{"schema": 1}', b'{"tables": [{}]}', b"\xff", b"[" * 100_000]
)
def test_specs_of_another_shape_are_refused(made: Path, tmp_path: Path, name: str, content: bytes) -> None:
    path = packed({**contents(made), name: content}, tmp_path / "b.zip")
    assert name in refused(path)
    assert call("report", "--from", path).exit_code == 1


def test_what_is_no_bundle_is_told(tmp_path: Path) -> None:
    (tmp_path / "note.zip").write_text("hello")
    assert "not a zip file" in refused(tmp_path / "note.zip")
    assert "not a bundle" in refused(tmp_path)
    assert "no such file" in refused(tmp_path / "nowhere.zip")
    assert call("archive", "--check", tmp_path / "nowhere.zip").exit_code == 2
    assert call("archive", "table2").exit_code == 2
    assert call("archive", "table2", "--output", tmp_path / "b.tar").exit_code == 2


def test_a_manifest_is_read_only_as_it_was_written() -> None:
    line = f"{'a' * 64}  report/a.md\n"
    assert read_manifest(line.encode()) == {"report/a.md": "a" * 64}
    other = f"{'b' * 64}  report/b.md\n"
    for text in (line + line, other + line, line.upper(), line[:-1], line + "\n", line.replace("  ", " ")):
        with pytest.raises(ValueError, match="not as it was written"):
            read_manifest(text.encode())
    assert name_problems(["report/a.md", "report/A.md"])
    assert not name_problems(["report/a.md", "report/b.md", "records/x/seed-0/a.json", "specs.json"])
