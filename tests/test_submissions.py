"""What was handed to SLURM is written down before and after, and one process at a time submits."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from slurm import submissions
from slurm.submissions import Member, Place, Sent, Submission, SubmissionError


def member(number: int, folder: Path) -> Member:
    return Member(
        f"{number:012x}/train", "train", f"net{number}", "f" * 12, number, (f"table2/r{number}",), folder / "run"
    )


def submission(runs: Path, *sizes: int) -> Submission:
    folder = submissions.new_folder(runs)
    arrays = tuple(
        Sent(submissions.array_name(folder, n), tuple(member(10 * n + i, folder) for i in range(size)), {"mem_gb": 3.5})
        for n, size in enumerate(sizes)
    )
    return Submission(folder, arrays, "lab", "abc")


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    sent = submission(tmp_path, 3, 1)
    submissions.begin(sent)
    submissions.confirm(sent, 0, "17")
    (read,), problems = submissions.load(tmp_path)
    assert problems == []
    assert read.arrays[0].job_id == "17"
    assert read.arrays[1].job_id is None
    assert read.arrays[0].members == sent.arrays[0].members
    assert read.arrays[0].keywords == {"mem_gb": 3.5}
    assert (read.profile, read.snapshot, read.by, read.time) == (sent.profile, sent.snapshot, sent.by, sent.time)


@pytest.mark.parametrize(("size", "ids"), [(1, ["17"]), (3, ["17_0", "17_1", "17_2"])])
def test_an_array_of_one_is_a_plain_job(tmp_path: Path, size: int, ids: list[str]) -> None:
    array = Sent("pyconv-x-0", tuple(member(i, tmp_path) for i in range(size)), {}, job_id="17")
    assert [array.member_id(index) for index in range(size)] == ids


def test_before_sbatch_answers_nobody_has_an_id(tmp_path: Path) -> None:
    sent = submission(tmp_path, 2)
    assert Place(sent, sent.arrays[0], 1).job_id is None


def test_an_array_whose_submitter_died_after_sbatch_is_found_by_its_name(tmp_path: Path) -> None:
    sent = submission(tmp_path, 2, 2)
    submissions.begin(sent)
    submissions.confirm(sent, 0, "17")
    found = submissions.adopt(submissions.load(tmp_path)[0], {sent.arrays[1].name: "18", "pyconv-other-0": "19"})
    assert [array.job_id for array in found[0].arrays] == ["17", "18"]
    assert [array.job_id for array in submissions.load(tmp_path)[0][0].arrays] == ["17", "18"]  # and kept


def test_the_newest_submission_of_a_unit_comes_last(tmp_path: Path) -> None:
    first = submission(tmp_path, 2)
    submissions.begin(first)
    second = Submission(first.folder.with_name("99991231-235959-ffffffff"), first.arrays, "lab", "def")
    submissions.begin(second)
    places = submissions.places(submissions.load(tmp_path)[0])
    assert [place.submission.snapshot for place in places[member(0, tmp_path).key]] == ["abc", "def"]


def test_a_submission_interrupted_at_any_byte_is_told_and_hides_no_other(tmp_path: Path) -> None:
    whole = submission(tmp_path, 2)
    submissions.begin(whole)
    submissions.confirm(whole, 0, "17")
    text = (whole.folder / "submission.json").read_text()
    torn = whole.folder.with_name("20200101-000000-00000000")
    torn.mkdir()
    for end in range(0, len(text), 7):
        (torn / "submission.json").write_text(text[:end])
        found, problems = submissions.load(tmp_path)
        assert [one.folder.name for one in found] == [whole.folder.name]
        assert str(torn) in problems[0]
    (torn / "submission.json").unlink()
    assert submissions.load(tmp_path)[1] == []  # killed before it wrote anything: nothing was submitted


@pytest.mark.parametrize("text", ["", "1", "x17", "17\nand more"])
def test_a_torn_id_is_no_id(tmp_path: Path, text: str) -> None:
    sent = submission(tmp_path, 1)
    submissions.begin(sent)
    (sent.folder / "0.job").write_text(text)
    read = submissions.load(tmp_path)[0][0].arrays[0].job_id
    assert read == ("1" if text == "1" else None)


def _hold(runs: Path, seconds: float, order: "multiprocessing.Queue[str]", name: str) -> None:
    with submissions.alone(runs):
        order.put(f"{name} in")
        time.sleep(seconds)
        order.put(f"{name} out")


def test_one_submitter_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    order: multiprocessing.Queue[str] = context.Queue()
    holders = [context.Process(target=_hold, args=(tmp_path, 0.2, order, str(n))) for n in range(3)]
    for holder in holders:
        holder.start()
    told = [order.get(timeout=60) for _ in range(6)]
    for holder in holders:
        holder.join()
    order.close()
    assert all(told[i].split()[0] == told[i + 1].split()[0] for i in (0, 2, 4))
    assert [line.split()[1] for line in told] == ["in", "out"] * 3


def test_waiting_for_another_submitter_ends_with_words(tmp_path: Path) -> None:
    with (
        submissions.alone(tmp_path),
        pytest.raises(SubmissionError, match="held by another pyconv"),
        submissions.alone(tmp_path, wait=0.2),
    ):
        pytest.fail("two at once")


def test_names_are_told_apart_and_sort_by_time(tmp_path: Path) -> None:
    folders = [submissions.new_folder(tmp_path) for _ in range(100)]
    assert len({submissions.array_name(folder, 0) for folder in folders}) == 100
    assert folders[0].name[:15] <= folders[-1].name[:15]


def test_the_intent_is_plain_json(tmp_path: Path) -> None:
    sent = submission(tmp_path, 2)
    submissions.begin(sent)
    content = json.loads((sent.folder / "submission.json").read_text())
    assert content["arrays"][0]["members"][1]["rows"] == ["table2/r1"]
