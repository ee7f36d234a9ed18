"""The job itself, in this process: train, test, record once; interrupted and resumed; the record is the truth."""

import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from PIL import Image
from torchvision.transforms import functional

from experiments.spec import fingerprint, resolved
from pyconv.checkpoints import load_weights
from pyconv.data import DataError
from pyconv.progress import Diverged
from results.compliance import check
from results.records import record_path
from slurm import job as jobs
from slurm import telling, traces, weights
from slurm.distributed import Seat
from slurm.interrupts import LockedError
from slurm.job import Job, progress_of
from slurm.weights import WeightsError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.digits(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Any:
    job = tiny.job(tmp_path_factory.mktemp("done"), data)
    job()
    return job


def weights_hash(job: Any) -> str:
    record = job.record(tiny.CROP)
    assert record is not None
    return str(record.checkpoint["sha256"])


def test_it_leaves_one_complete_record_of_what_it_did(done: Any) -> None:
    record = done.record(tiny.CROP)
    assert (record.name, record.seed, record.mini) == ("imagenet-tiny-digits", 0, True)
    assert record.fingerprint == fingerprint(done.experiment)
    assert record.experiment == resolved(done.experiment)
    assert record.counted_samples == record.expected_samples == tiny.TESTED
    assert record.metrics["top1_err"].n == tiny.TESTED
    assert record.observed == {"input": [16, 16]}
    assert set(record.outcomes) == {"top1_err", "top5_err"}  # and give the metrics, or it could not be read
    assert [entry["epoch"] for entry in record.history] == [1, 2]
    assert record.data["splits"]["train"]["samples"] == tiny.TRAINED
    assert record.environment["threads"] == 1
    assert record.timings["test"] > 0
    assert record.job["executor"] is None  # nobody submitted it
    assert check(record).text == "kept"  # what the loop and the test saw is what recipe and protocol say


def test_memory_that_cuts_the_batch_norm_is_seen_and_said(tmp_path: Path, data: Path) -> None:
    job = replace(tiny.job(tmp_path, data), micro_batch=4)
    job()
    assert check(job.record(tiny.CROP)).against == (
        "images in one batch norm 4 instead of 10 (epochs 1-2)",  # of a batch of 10
        "batch norm over 4 samples (micro_batch) instead of the recipe's 32",
    )


def test_its_error_is_that_of_its_weights_by_hand(done: Any, data: Path) -> None:
    model = done.experiment.model.build()
    model.load_state_dict(load_weights(done.folder / "weights.pt"))
    model.eval()
    wrong = 0
    for path in (data / "val").glob("*/*.png"):
        pixels = functional.to_tensor(functional.resize(Image.open(path).convert("RGB"), 16))
        image = functional.normalize(pixels, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
        with torch.inference_mode():
            wrong += int(model(image[None]).argmax()) != int(path.parent.name)
    assert done.record(tiny.CROP).metrics["top1_err"].value == pytest.approx(100 * wrong / tiny.TESTED)


def test_the_best_epochs_weights_are_tested_where_the_protocol_says_so(done: Any) -> None:
    protocol = replace(tiny.CROP, key="crop16-best", weights="best")
    job = replace(done, protocols=(protocol,))
    job()
    record = job.record(protocol)
    errors = [entry["top1_err"] for entry in record.history]
    assert record.checkpoint["epochs"] == 1 + errors.index(min(errors))
    assert record.checkpoint["sha256"] == weights.digest_of(job.folder / "best.pt")
    assert record.protocol["weights"] == "best"


@pytest.mark.parametrize("damage", ["gone", "changed", "never validated"])
def test_best_weights_that_are_not_there_are_told(
    damage: str, done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = weights.sound(done.folder)
    if damage == "changed":
        (tmp_path / "best.pt").write_bytes(b"x")
    elif damage == "never validated":
        monkeypatch.setattr(weights, "digest_of", lambda _: pytest.fail("there is no file to read"))
        made = replace(made, best={})
    words = {"gone": "cannot be read", "changed": "its SHA-256 is", "never validated": "no epoch was validated"}
    with pytest.raises(WeightsError, match=words[damage]):
        weights.tested(tmp_path, made, "best")


def test_params_in_the_record_are_the_built_models(done: Any) -> None:
    params = sum(parameter.numel() for parameter in done.experiment.model.build().parameters())
    assert done.record(tiny.CROP).complexity["params"] == params


def test_what_is_recorded_is_not_done_again(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_live", lambda *_: pytest.fail("measured again"))
    assert done() == [str(record_path(done.records, done.experiment, tiny.CROP))]


def test_a_new_protocol_tests_and_does_not_train(done: Any, capsys: pytest.CaptureFixture[str]) -> None:
    larger = replace(tiny.CROP, key="crop24", crop=24, resize=24)
    more = replace(done, protocols=(tiny.CROP, larger))
    before = json.loads(record_path(done.records, done.experiment, tiny.CROP).read_text())
    more()
    assert "epoch 1/2" not in capsys.readouterr().out
    record = more.record(larger)
    assert record.checkpoint["sha256"] == weights_hash(done)
    assert json.loads(record_path(done.records, done.experiment, tiny.CROP).read_text()) == before
    assert record.complexity["flops"]["macs"] > before["complexity"]["flops"]["macs"]  # counted at its own crop


def test_a_torn_record_is_no_record(tmp_path: Path, data: Path) -> None:
    job = tiny.job(tmp_path, data)
    path = record_path(job.records, job.experiment, tiny.CROP)
    path.parent.mkdir(parents=True)
    path.write_text('{"schema": 1, "kind": "meas')
    assert job.missing() == (tiny.CROP,)
    job()
    assert job.missing() == ()
    assert list(path.parent.glob("*.invalid"))


def test_a_seed_is_another_run_in_the_same_family(done: Any) -> None:
    other = replace(done, experiment=replace(done.experiment, seed=1))
    assert other.missing() == (tiny.CROP,)
    assert other.folder.parent == done.folder.parent
    assert other.folder != done.folder


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGINT])
def test_interrupted_after_any_step_it_resumes_to_the_same_bits(
    number: signal.Signals, tmp_path: Path, data: Path, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Requeued(BaseException):
        """What submitit's handler, or Python's for Ctrl-C, does: it leaves."""

    def leave(*_: object) -> None:
        raise Requeued

    job = tiny.job(tmp_path, data)
    steps, original = [], telling.Teller.step

    def step(self: Any, report: Any) -> None:
        original(self, report)
        steps.append(report)
        if len(steps) == 6:  # in the middle of the second epoch
            signal.raise_signal(number)

    monkeypatch.setattr(telling.Teller, "step", step)
    before = signal.signal(number, leave)
    try:
        with pytest.raises(Requeued):
            job()
        # Ctrl-C does afterwards what it did; a job that was requeued once must not be requeued again
        assert signal.getsignal(number) is (leave if number == signal.SIGINT else signal.SIG_IGN)
        signal.signal(number, leave)
        assert job.missing() == (tiny.CROP,)
        job()
    finally:
        signal.signal(number, before)
    assert len(steps) <= 9  # four steps an epoch: nothing but the step in flight was repeated
    assert weights_hash(job) == weights_hash(done)
    assert check(job.record(tiny.CROP)).text == "kept"  # the log of two lives is that of one


def test_what_submitit_requeues_is_the_same_job(done: Any) -> None:
    again = done.checkpoint()
    assert again.function == done
    assert pickle.loads(pickle.dumps(done)) == done


def test_missing_data_is_told_with_the_option_that_gives_it(tmp_path: Path) -> None:
    job = tiny.job(tmp_path, tmp_path)
    recipe = replace(job.experiment.recipe, data="imagenet")
    with pytest.raises(ValueError, match="--data imagenet=DIR"):
        replace(job, experiment=replace(job.experiment, recipe=recipe))()


def test_wrong_data_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no such split"):
        tiny.job(tmp_path, tmp_path / "empty")()


def test_an_init_that_was_not_trained_is_named(tmp_path: Path, data: Path) -> None:
    first = tiny.experiment(seed=3)
    job = tiny.job(tmp_path, data, experiment=tiny.experiment(init=first))
    with pytest.raises(ValueError, match=r"seed-3/weights\.pt"):
        job()


def test_weights_of_init_are_where_training_starts(done: Any) -> None:
    scratch = replace(done, experiment=tiny.experiment(epochs=1))
    second = replace(done, experiment=tiny.experiment(epochs=1, init=done.experiment))
    scratch()
    second()
    first_loss = [job.record(tiny.CROP).history[0]["train_loss"] for job in (scratch, second)]
    assert first_loss[1] < first_loss[0]  # what was learned is not learned again


def test_progress_is_told_and_a_missing_file_is_no_progress(done: Any, tmp_path: Path) -> None:
    part, text = progress_of(done)
    assert part == 1
    assert text.startswith("epoch 2/2")
    assert progress_of(tiny.job(tmp_path, tmp_path)) == (0.0, "starting")


def test_a_training_tests_nothing_and_a_test_trains_nothing(
    tmp_path: Path, data: Path, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tiny.job(tmp_path, data, code={"commit": "a" * 40, "dirty": True, "diff_sha256": "b" * 64})
    training, test = replace(whole, part="train", protocols=()), replace(whole, part="test")
    assert not jobs.trained(whole.runs, whole.experiment)
    with pytest.raises(WeightsError, match=r"trained\.json: not there"):
        test()
    training()
    assert training.done()
    assert jobs.trained(whole.runs, whole.experiment)
    assert not test.done()
    monkeypatch.setattr("slurm.measure.train", lambda *_, **__: pytest.fail("trained again"))
    training()
    replace(test, code=None)()
    record, alone = whole.record(tiny.CROP), done.record(tiny.CROP)
    assert record is not None
    assert record.metrics == alone.metrics
    assert record.checkpoint["sha256"] == weights_hash(done)
    assert record.history[0]["train_loss"] == alone.history[0]["train_loss"]
    assert record.data == alone.data
    assert record.checkpoint["training"]["code"] == whole.code  # the snapshot's, not the checkout's
    assert record.code != whole.code


def test_a_test_has_traces_of_its_own(tmp_path: Path, data: Path) -> None:
    training = tiny.job(tmp_path, data, part="train")
    test = replace(training, part="test")
    training()
    test()
    assert test.unit_folder == training.folder / "tests" / "crop16"
    assert test.unit_folder == jobs.unit_folder(test.runs, test.experiment, tiny.CROP)
    assert training.unit_folder == training.folder == jobs.unit_folder(test.runs, test.experiment, None)
    assert [len(traces.lives(job.unit_folder)) for job in (training, test)] == [1, 1]
    told = traces.told(training.unit_folder)
    assert told is not None
    assert (told.done, told.epoch, told.epochs) == (1.0, 2, 2)
    assert set(told.metric) == {"top1_err", "top5_err"}
    assert progress_of(test) == (1.0, "tested")


def test_damaged_weights_are_not_tested_and_are_made_again(tmp_path: Path, data: Path, done: Any) -> None:
    training = tiny.job(tmp_path, data, part="train")
    training()
    path = training.folder / "weights.pt"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert jobs.trained(training.runs, training.experiment)  # by its size
    assert not training.done()  # by its bits
    with pytest.raises(WeightsError, match="damaged or changed"):
        replace(training, part="test")()
    training()
    assert path.read_bytes() == content
    path.write_bytes(content[:-1])
    assert not jobs.trained(training.runs, training.experiment)
    assert weights_hash(done) == weights.read(training.folder).sha256  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), "oom"),
        (MemoryError(), "oom"),
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (OSError(errno.EACCES, "Permission denied"), "own"),
        (KeyError("typo"), "own"),
    ],
)
def test_why_a_life_ended_is_kept(
    error: Exception, kind: str, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    job = tiny.job(tmp_path, data, snapshot="0123456789abcdef")
    monkeypatch.setattr("slurm.measure.train", fail)
    with pytest.raises(type(error)):
        job()
    failed = traces.failed(job.unit_folder)
    assert failed is not None
    assert (failed.kind, failed.snapshot, failed.job) == (kind, "0123456789abcdef", "")
    assert type(error).__name__ in failed.error
    assert "in fail" in failed.traceback


def test_memory_that_the_processor_refuses_is_out_of_memory() -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(2**60, dtype=torch.uint8)
    assert telling.kind(refused.value) == "oom"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[/build/third_party/gloo/gloo/transport/tcp/pair.cc:545] Read error: Connection reset by peer"),
        RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. "),
        RuntimeError("DataLoader worker (pid(s) 4711, 4712) exited unexpectedly"),
        torch.distributed.DistNetworkError("failed to recv, got 0 bytes"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        LockedError("lock: job 17 on node1 has been at this run for 600 s; end it first"),
    ],
)
def test_the_end_of_another_process_is_not_an_error_of_this_one(error: Exception) -> None:
    assert telling.kind(error) == "peer"


def test_a_reader_of_images_that_is_killed_is_not_an_error_of_the_run() -> None:
    class Deadly(torch.utils.data.Dataset[int]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> int:
            os.kill(os.getpid(), signal.SIGKILL)
            return index

    with pytest.raises(RuntimeError) as lost:
        list(torch.utils.data.DataLoader(Deadly(), num_workers=1))
    assert telling.kind(lost.value) == "peer"


@pytest.mark.parametrize(("first", "second", "kept"), [(0, 1, 1), (1, 0, 1), (0, 0, 0)])
def test_whoever_knows_why_is_believed_before_who_lost_another(
    first: int, second: int, kept: int, tmp_path: Path
) -> None:
    errors = (ConnectionResetError("lost rank 1"), ValueError("no such class"))
    seat = Seat(job="17", node="node1")
    for error in (errors[first], errors[second]):
        telling.fail(tmp_path, seat, error, "abc", before=None)
    failed = traces.failed(tmp_path)
    assert failed is not None
    assert str(errors[kept]) in failed.error


def test_a_diverged_run_stops_with_that_failure(tmp_path: Path, data: Path) -> None:
    job = tiny.job(tmp_path, data)
    recipe = replace(job.experiment.recipe, lr=1e30)
    with pytest.raises(Diverged, match="the run has diverged"):
        replace(job, experiment=replace(job.experiment, recipe=recipe), part="train")()
    (failure,) = job.runs.rglob("failure.json")
    failed = traces.failed(failure.parent)
    assert failed is not None
    assert failed.kind == "diverged"
    assert not list(job.runs.rglob("weights.pt"))


@pytest.mark.cluster  # mounts a disk, as root may
def test_a_disk_that_fills_during_a_run_ends_it_and_with_room_it_goes_on_to_the_same_bits(
    tmp_path: Path, data: Path, done: Any
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(small)], check=True)
    try:
        job = tiny.job(small, data)
        filler = small / "filler"
        filler.write_bytes(bytes(shutil.disk_usage(small).free - 16_384))  # room for traces, not for a checkpoint
        with pytest.raises(OSError, match="No space left"):
            job()
        failed = traces.failed(job.unit_folder)
        assert failed is not None
        assert failed.kind == "disk"
        assert not list(job.runs.rglob("*.tmp"))
        filler.unlink()
        job()
        records = [one.record(tiny.CROP) for one in (job, done)]
        assert records[0].checkpoint["sha256"] == records[1].checkpoint["sha256"]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_full_disk_hides_no_error_and_ends_no_training(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("add_life", "tell", "fail"):
        monkeypatch.setattr(traces, name, full)
    job = tiny.job(tmp_path, data)
    job()  # hints are passed over
    assert job.done()
    with pytest.raises(DataError, match="no such split"):
        tiny.job(tmp_path / "other", tmp_path / "nowhere")()


def test_the_first_failure_of_a_life_is_kept(tmp_path: Path) -> None:
    seat = Seat(node="node1")
    telling.fail(tmp_path, seat, MemoryError(), "", before=None)
    telling.fail(tmp_path, seat, RuntimeError("Connection closed by peer"), "", before=None)
    first = traces.failed(tmp_path)
    assert first is not None
    assert first.kind == "oom"
    telling.fail(tmp_path, seat, KeyError("next life"), "", before=first)
    second = traces.failed(tmp_path)
    assert second is not None
    assert second.kind == "own"


def test_a_second_life_that_finishes_again_keeps_the_first_record(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tiny.job(tmp_path, data)
    job()
    path = record_path(job.records, job.experiment, tiny.CROP)
    before = path.read_bytes()
    monkeypatch.setattr(Job, "missing", lambda own: own.protocols)  # it looked before the first life had recorded
    job()
    assert "the first record is kept" in capsys.readouterr().out
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_signal_during_the_test_requeues_and_leaves_no_half_record(
    tmp_path: Path, data: Path, done: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Requeued(BaseException):
        """submitit's handler has left."""

    def leave(*_: object) -> None:
        raise Requeued

    job = tiny.job(tmp_path, data)
    before = signal.signal(signal.SIGUSR2, leave)
    try:
        with monkeypatch.context() as patched:
            patched.setattr("results.files.os.fsync", lambda _: signal.raise_signal(signal.SIGUSR2))
            with pytest.raises(Requeued):
                replace(job, part="train")()
        assert not job.done()
        signal.signal(signal.SIGUSR2, leave)
        with monkeypatch.context() as patched:
            patched.setattr("slurm.measure.write", lambda *_: signal.raise_signal(signal.SIGUSR2))
            with pytest.raises(Requeued):
                job()
        assert job.missing()
        assert not list(job.records.rglob("*.json"))
        job()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert weights_hash(job) == weights_hash(done)
