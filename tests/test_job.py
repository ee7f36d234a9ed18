"""The job itself, in this process: train, test, record once; interrupted and resumed; the record is the truth."""

import json
import pickle
import signal
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
from results.records import record_path
from slurm import job as jobs
from slurm.interrupts import alone, between_steps
from slurm.job import progress_of


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
    assert [entry["epoch"] for entry in record.history] == [1, 2]
    assert record.data["splits"]["train"]["samples"] == tiny.TRAINED
    assert record.environment["threads"] == 1
    assert record.timings["test"] > 0
    assert record.job["executor"] is None  # nobody submitted it


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


def test_params_in_the_record_are_the_built_models(done: Any) -> None:
    params = sum(parameter.numel() for parameter in done.experiment.model.build().parameters())
    assert done.record(tiny.CROP).complexity["params"] == params


def test_what_is_recorded_is_not_done_again(done: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_measure", lambda *_: pytest.fail("measured again"))
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
    steps, original = [], jobs._Teller.step

    def step(self: Any, report: Any) -> None:
        original(self, report)
        steps.append(report)
        if len(steps) == 6:  # in the middle of the second epoch
            signal.raise_signal(number)

    monkeypatch.setattr(jobs._Teller, "step", step)
    before = signal.signal(number, leave)
    try:
        with pytest.raises(Requeued):
            job()
        assert signal.getsignal(number) is leave  # afterwards the signal does what it did
        assert job.missing() == (tiny.CROP,)
        job()
    finally:
        signal.signal(number, before)
    assert len(steps) <= 9  # four steps an epoch: nothing but the step in flight was repeated
    assert weights_hash(job) == weights_hash(done)


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


def test_signals_are_remembered_inside_and_work_again_outside() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: seen.append(number))
    try:
        with between_steps() as stop:
            assert not stop.asked()
            signal.raise_signal(signal.SIGUSR2)
            assert stop.asked()
            assert seen == []
            stop.go_on()
        assert seen == [signal.SIGUSR2]
        signal.raise_signal(signal.SIGUSR2)
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert seen == [signal.SIGUSR2] * 2


def test_a_lock_is_let_go(tmp_path: Path) -> None:
    for _ in range(2):
        with alone(tmp_path / "lock"):
            pass
