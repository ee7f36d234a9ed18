"""`pyconv data prepare kinetics`: indexed where it stands, or re-encoded frame for frame into another folder."""

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from pyconv.data import DataError, isolated, kinetics_index, prepare_kinetics, reencode
from pyconv.data.kinetics import manifest, read_kinetics
from pyconv.data.kinetics_listing import listed
from pyconv.data.prepare_kinetics import Reencoded, copies, prepare
from pyconv.data.reencode import Copy, Encoding, encode
from pyconv.data.video import probe
from slurm.cli import cli
from tests import video_files
from tests.broken_videos import rotate
from tests.kinetics_files import Probe, class_folders, tree
from tests.video_files import scene

SMALL = Encoding(short_side=32, keyframes_every=5)


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(cli, ["data", "prepare", *map(str, arguments)])


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def stand_in(monkeypatch: pytest.MonkeyPatch) -> Probe:
    probe = Probe()
    monkeypatch.setattr(kinetics_index, "probe", probe)
    return probe


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("sources")
    wide = video_files.encode(folder / "wide.mp4", scene(12, 48, 80))
    fine = ("-pix_fmt", "yuv444p")
    kept = "select='not(between(mod(n,9),3,7))'"
    return {
        "wide": wide,
        "tall": video_files.encode(folder / "tall.webm", scene(12, 80, 48)),
        "odd": video_files.encode(folder / "odd.mp4", scene(12, 49, 81), extra=fine),
        "small and odd": video_files.encode(folder / "small: 'odd'.mp4", scene(12, 25, 31), extra=fine),
        "turned": rotate(wide, folder / "turned.mp4", 90),
        "varying": video_files.encode(
            folder / "varying.mp4", scene(27), extra=("-vf", kept, "-fps_mode", "passthrough")
        ),
    }


# short side to at most 32, the other one by the same factor; both rounded to even numbers
SIZES = {
    "wide": (32, 54),  # 80 * 32 / 48 = 53.3
    "tall": (54, 32),
    "odd": (32, 52),  # 81 * 32 / 49 = 52.9
    "small and odd": (24, 30),  # never enlarged; 31 * 24 / 25 = 29.8
    "turned": (54, 32),  # upright
    "varying": (32, 42),  # 64 * 32 / 48 = 42.7
}


@pytest.mark.parametrize("kind", SIZES)
def test_re_encoded_frame_for_frame(kind: str, sources: Mapping[str, Path], tmp_path: Path) -> None:
    source, target = sources[kind], tmp_path / "x y.mp4"
    assert encode((Copy(source, target), SMALL, "ffmpeg")) == ""
    assert names(tmp_path) == ["x y.mp4"]
    before, after = probe(source, decode=True), probe(target, decode=True)
    assert (after.height, after.width) == SIZES[kind]
    assert (after.frames, after.vfr, after.rotation) == (before.frames, before.vfr, 0)
    assert after.seconds == pytest.approx(before.seconds, abs=1.5 / before.fps)
    old = thumbnails(video_files.decode(source, before.height, before.width))
    new = thumbnails(video_files.decode(target, after.height, after.width))
    unlike = np.abs(old[:, None] - new[None]).mean((2, 3, 4))
    assert unlike.argmin(1).tolist() == [*range(len(old))]  # each is most like its own
    assert unlike.diagonal().max() < 6
    keys = key_frames(target)
    assert (keys[0], max(np.diff([*keys, after.frames])) <= 5) == (0, True)


def thumbnails(frames: np.ndarray) -> np.ndarray:
    """float (T, 12, 12, 3): what is left of a frame at any size."""
    return np.stack(
        [np.asarray(Image.fromarray(frame).resize((12, 12), Image.Resampling.BOX), float) for frame in frames]
    )


def key_frames(path: Path) -> list[int]:
    """Their numbers, by ffprobe."""
    asked = ("-select_streams", "v:0", "-show_entries", "packet=pts,flags", "-of", "json")
    done = subprocess.run(["ffprobe", "-v", "error", *asked, str(path)], check=True, stdout=subprocess.PIPE)
    packets = sorted(json.loads(done.stdout)["packets"], key=lambda packet: int(packet["pts"]))
    return [number for number, packet in enumerate(packets) if "K" in packet["flags"]]


def test_sound_is_dropped_and_what_cannot_be_made_leaves_nothing(sources: Mapping[str, Path], tmp_path: Path) -> None:
    loud, target = tmp_path / "loud.mp4", tmp_path / "made" / "x.mp4"
    target.parent.mkdir()
    tone = ("-f", "lavfi", "-i", "sine=frequency=440:duration=0.4", "-map", "0:v", "-map", "1:a", "-c:v", "copy")
    subprocess.run([*video_files.QUIET, "-i", str(sources["wide"]), *tone, str(loud)], check=True)
    assert b"mp4a" in loud.read_bytes()
    assert encode((Copy(loud, target), SMALL, "ffmpeg")) == ""
    assert b"mp4a" not in target.read_bytes()
    target.unlink()
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(loud.read_bytes()[:-200])
    assert encode((Copy(torn, target), SMALL, "ffmpeg")) == "cut off"
    assert encode((Copy(tmp_path / "none.mp4", target), SMALL, "ffmpeg")) == "unreadable"
    assert encode((Copy(loud, target), SMALL, "false")).startswith("ffmpeg: failed without a word")
    assert encode((Copy(loud, target), SMALL, "true")).startswith("ffmpeg wrote no video")
    assert encode((Copy(loud, target), SMALL, str(tmp_path / "no program"))) == "No such file or directory"
    assert names(target.parent) == []


def test_a_full_disk_ends_it(sources: Mapping[str, Path], tmp_path: Path) -> None:
    full = tmp_path / "ffmpeg"
    full.write_text(
        "#!/bin/sh\necho 'av_interleaved_write_frame(): No space left on device' >&2\necho Bye >&2\nexit 1\n"
    )
    full.chmod(0o755)
    with pytest.raises(DataError, match=r"x.mp4: No space left on device; make room and run it again, it goes on"):
        encode((Copy(sources["wide"], tmp_path / "x.mp4"), SMALL, str(full)))


def test_a_video_that_loses_frames_is_not_taken(
    sources: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = reencode.command
    monkeypatch.setattr(reencode, "command", lambda *given: [*call(*given)[:-1], "-frames:v", "7", call(*given)[-1]])
    told = encode((Copy(sources["wide"], tmp_path / "x.mp4"), SMALL, "ffmpeg"))
    assert told == "cut off (7 of 12 frames decode)"
    assert names(tmp_path) == []


@pytest.mark.parametrize("wrong", [{"short_side": 0}, {"short_side": 33}, {"keyframes_every": 0}])
def test_encodings_that_cannot_be(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Encoding(**wrong)


def test_without_the_right_program_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(reencode.program()).name == "ffmpeg"
    old = tmp_path / "ffmpeg"
    old.write_text("#!/bin/sh\necho \"Unrecognized option 'fps_mode'.\" >&2\nexit 1\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = r"cannot re-encode videos \(Unrecognized option 'fps_mode'.\); ffmpeg 5.1 or later with libx264 is needed"
    with pytest.raises(DataError, match=told):
        reencode.program()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError, match="re-encoded by the program ffmpeg, which is not on the PATH: apt-get install"):
        reencode.program()


def test_where_each_copy_goes(tmp_path: Path) -> None:
    lines = ["x/1.mp4,a b", "y/1.webm,a b", "y/1.mp4,c", "gone.mp4,c", "y/.2.mp4,c"]
    files = {"x/1.mp4": b"1", "y/1.webm": b"1", "y/1.mp4": b"1", "y/.2.mp4": b"1"}
    root = tree(tmp_path / "from", files | {"val.csv": "\n".join(lines).encode()})
    made = {str(copy.target.relative_to(tmp_path / "to")) for copy in copies(listed(root, "val"), tmp_path / "to")}
    twin, dotted = (name for name in sorted(made) if "-" in name)
    assert made == {"val/a b/1.mp4", "val/c/1.mp4", twin, dotted}
    assert twin.startswith("val/a b/1-")
    assert dotted.startswith("val/c/2-")
    (root / "val.csv").write_text("x/1.mp4,a/b\n")
    with pytest.raises(DataError, match="the class 'a/b' can be no folder; name it otherwise in the list"):
        copies(listed(root, "val"), tmp_path)


def test_interrupted_it_goes_on_with_the_videos_that_are_not_made_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The encoder is a stand-in that copies, and is killed before each video in turn."""
    probe = stand_in(monkeypatch)
    source = class_folders(class_folders(tmp_path / "from"), "train")
    made: list[str] = []
    left = [0]

    def copying(task: tuple[Copy, Encoding, str]) -> str:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        made.append(task[0].target.name)
        shutil.copy(task[0].source, task[0].target)
        return ""

    monkeypatch.setattr(reencode, "encode", copying)
    root, small = tmp_path / "to", Reencoded(source, SMALL)
    for _ in range(11):
        left[0] = 1
        with pytest.raises(KeyboardInterrupt):
            prepare(root, small, workers=0)
    left[0] = 99
    done = prepare(root, small, workers=0)
    assert (len(made), len(probe.asked)) == (12, 12)
    assert done == {split: f"6 videos; {root}/index/{split}.jsonl is up to date" for split in ("train", "val")}
    assert {split: manifest(root, split)["samples"] for split in done} == {"train": 6, "val": 6}
    assert not (source / "index").exists()
    with pytest.raises(DataError, match=r'was begun with \{"short_side": 32, "keyframes_every": 5, "crf": 20\}; give'):
        prepare(root, Reencoded(source, Encoding(64)), workers=0)
    with pytest.raises(DataError, match="the videos stand here themselves; give another folder for the small ones"):
        prepare(source, Reencoded(source, SMALL), workers=0)
    with pytest.raises(DataError, match="holds val already, not re-encoded by this program; give another folder"):
        prepare(class_folders(tmp_path / "mine"), Reencoded(source, SMALL), workers=0)


def test_what_could_not_be_re_encoded_is_told_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    source = class_folders(tmp_path / "from")

    def some(task: tuple[Copy, Encoding, str]) -> str:
        if task[0].source.name == "1.mp4":
            return "cut off"
        shutil.copy(task[0].source, task[0].target)
        return ""

    monkeypatch.setattr(reencode, "encode", some)
    told = rf"2 could not be re-encoded: {source}/val/abseiling/1.mp4 \(cut off\), {source}/val/yoga/1.mp4 \(cut off\)"
    with pytest.raises(DataError, match=rf"{told}; replace them, or --broken skip leaves them out"):
        prepare(tmp_path / "to", Reencoded(source, SMALL), workers=0, broken="refuse")
    done = prepare(tmp_path / "to", Reencoded(source, SMALL), workers=0)
    monkeypatch.setattr(reencode, "encode", lambda _: "ffmpeg: Unknown encoder 'libx264'")
    with pytest.raises(
        DataError, match=r"none of val could be re-encoded; 6 could not be .*0.mp4 \(ffmpeg: Unknown en"
    ):
        prepare(tmp_path / "other", Reencoded(source, SMALL), workers=0)
    assert done["val"].startswith("4 videos; ")
    assert "; 2 could not be re-encoded: " in done["val"]
    assert len(read_kinetics(tmp_path / "to", "val")) == 4


def test_on_the_command_line(tmp_path: Path, sources: Mapping[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    each = isolated.each
    monkeypatch.setattr(isolated, "each", lambda function, tasks, _: each(function, tasks, 0))  # saves the processes
    source, root = tmp_path / "from", tmp_path / "to"
    for split, label, kind in (("train", "a", "wide"), ("val", "a", "odd")):
        (source / split / label).mkdir(parents=True)
        shutil.copy(sources[kind], source / split / label)
    (source / "val/a/bad.mp4").write_bytes(b"bad")
    small = call("kinetics", "--from", source, "--root", root, "--short-side", 32, "--workers", 1, "--json")
    assert small.exit_code == 0, small.output
    told = json.loads(small.stdout)
    assert (told["root"], told["splits"]) == (str(root), {split: manifest(root, split) for split in ("train", "val")})
    assert f"val: 1 videos; {root}/index/val.jsonl is up to date; 1 could not be re-encoded: " in small.stderr
    assert read_kinetics(root, "val").facts(0).height == 32
    here = call("kinetics", "--root", source, "--workers", 1)
    assert here.exit_code == 0, here.output
    assert "val: 1 videos, 1 skipped: 1 unreadable (val/a/bad.mp4); " in here.stderr
    assert "  val: 1 videos (1 skipped), 1 classes, sha256 " in here.stdout
    refused = call("kinetics", "--root", source, "--workers", 1, "--broken", "refuse")
    assert (refused.exit_code, "1 of 2 videos of val cannot be used: 1 unreadable" in refused.output) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("kinetics", "--from", "."), "--from and --short-side belong together"),
        (("kinetics", "--short-side", "320"), "--from and --short-side belong together"),
        (("kinetics", "--key-frames", "12"), "--key-frames is for re-encoded videos"),
        (("kinetics", "--from", ".", "--short-side", "321"), "must be an even number of pixels, got 321"),
        (("kinetics", "--labels", "."), "--labels is for imagenet"),
        (("imagenet", "--broken", "skip"), "--broken is for kinetics"),
        (("coco", "--from", ".", "--workers", "2"), "--workers is for kinetics"),
    ],
)
def test_options_that_do_not_go_together(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    refused = call(*arguments, "--root", tmp_path / "x")
    assert (refused.exit_code, told in refused.output) == (2, True), refused.output


def test_what_is_no_kinetics_says_what_is_expected(tmp_path: Path) -> None:
    told = r"holds no split; expected train/<class>/<video> or train.csv with lines of path,label and val/<class>/"
    with pytest.raises(DataError, match=told):
        prepare_kinetics.prepare(tmp_path)
