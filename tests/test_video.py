"""What a video file holds, and in one word why it cannot be used."""

import pickle
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torchcodec

from pyconv.data import video
from pyconv.data.split import DataError
from pyconv.data.video import WORDS, Facts, VideoError, frames, probe
from tests.video_files import QUIET, encode, remux, scene

WHOLE = scene(40)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encode(tmp_path_factory.mktemp("film") / "film.mp4", WHOLE, extra=("-movflags", "+faststart"))


def ffmpeg(*options: str | Path) -> None:
    subprocess.run([*QUIET, *map(str, options)], check=True, timeout=60)


@pytest.mark.parametrize("decode", [False, True])
@pytest.mark.parametrize("ending", ["mp4", "webm", "avi", "mkv", "ts"])
def test_frames_size_rate_and_time_are_those_that_were_encoded(tmp_path: Path, ending: str, decode: bool) -> None:
    path = encode(tmp_path / f"a.{ending}", scene(31, 36, 52), fps=12.5)
    found = probe(path, decode=decode)
    assert (found.frames, found.height, found.width, found.rotation, found.vfr) == (31, 36, 52, 0, False)
    assert found.fps == pytest.approx(12.5, rel=1e-3)
    assert found.seconds == pytest.approx(31 / 12.5, abs=0.09)


def test_ntsc_and_a_single_frame(tmp_path: Path) -> None:
    assert probe(encode(tmp_path / "a.mp4", WHOLE, fps=30000 / 1001), decode=True).fps == pytest.approx(29.97, abs=1e-3)
    one = probe(encode(tmp_path / "b.mp4", WHOLE[:1]), decode=True)
    assert one == Facts(1, 48, 64, fps=25.0, seconds=0.04)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_sizes_are_those_of_upright_frames(film: Path, tmp_path: Path, rotation: int) -> None:
    path = remux(film, tmp_path / "turned.mp4", extra=("-metadata:s:v:0", f"rotate={rotation}"))
    found = probe(path, decode=True)
    assert found.rotation == rotation
    assert (found.height, found.width) == ((64, 48) if rotation != 180 else (48, 64))


def test_frames_shown_unequally_long_are_told(film: Path, tmp_path: Path) -> None:
    path = tmp_path / "uneven.mp4"
    ffmpeg("-i", film, "-vf", r"select=not(mod(n\,3))+not(mod(n\,5))", "-fps_mode", "vfr", path)
    found = probe(path, decode=True)
    assert found.vfr
    kept = [n for n in range(40) if n % 3 == 0 or n % 5 == 0]
    assert found.frames == len(kept)
    assert found.fps == pytest.approx((len(kept) - 1) / ((kept[-1] - kept[0]) / 25), rel=1e-3)


def test_a_clock_of_milliseconds_does_not_make_a_rate_variable(tmp_path: Path) -> None:
    assert not probe(encode(tmp_path / "a.webm", WHOLE, fps=60), decode=False).vfr  # 16, 17, 17 ms


def broken_files(film: Path, folder: Path) -> dict[str, tuple[Path, str, str]]:
    """By what is wrong: the file, its word when decoded, and its word from headers and packets."""
    content, found = film.read_bytes(), {}

    def put(name: str, data: bytes, word: str, from_headers: str | None = None) -> None:
        (folder / name).write_bytes(data)
        found[name] = folder / name, word, from_headers if from_headers is not None else word

    for share in (1, 5, 9):
        put(f"cut at {share} tenths.mp4", content[: len(content) * share // 10], "cut off")
    put("empty.mp4", b"", "unreadable")
    put("text.mp4", b"no video at all\n" * 50, "unreadable")
    put("without index.mp4", content.replace(b"moov", b"xxxx", 1), "unreadable")
    middle = len(content) // 2
    put("zeros inside.mp4", content[:middle] + bytes(2000) + content[middle + 2000 :], "corrupt", "")
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", "1", folder / "still.png")
    put("picture.mp4", (folder / "still.png").read_bytes(), "unreadable")
    ffmpeg("-f", "lavfi", "-i", "sine=d=0.5", folder / "sound.mp4")
    found["sound"] = folder / "sound.mp4", "audio only", "audio only"
    inputs = ("-i", folder / "sound.mp4", "-i", folder / "still.png", "-map", "0", "-map", "1", "-c:v", "copy")
    ffmpeg(*inputs, "-disposition:v:0", "attached_pic", folder / "cover.mp4")
    found["cover"] = folder / "cover.mp4", "audio only", "audio only"
    ffmpeg("-ss", "9", "-i", film, "-c", "copy", folder / "nothing.mp4")
    found["nothing"] = folder / "nothing.mp4", "no frames", "no frames"
    (folder / "folder.mp4").mkdir()
    found["folder"] = folder / "folder.mp4", "unreadable", "unreadable"
    found["gone"] = folder / "gone.mp4", "unreadable", "unreadable"
    return found


def word(path: Path, decode: bool) -> str:
    """The word of a file that cannot be used, nothing of one that can."""
    try:
        probe(path, decode=decode)
    except VideoError as error:
        return error.word if str(path) in str(error) else str(error)
    return ""


def test_every_broken_file_has_its_word(film: Path, tmp_path: Path) -> None:
    files = broken_files(film, tmp_path)
    assert {name: word(path, True) for name, (path, _, _) in files.items()} == {n: w for n, (_, w, _) in files.items()}
    assert {name: word(path, False) for name, (path, _, _) in files.items()} == {n: w for n, (*_, w) in files.items()}
    assert {found for _, found, _ in files.values()} == set(WORDS)


def test_frames_out_of_the_order_of_their_times_and_of_two_sizes_are_corrupt(tmp_path: Path) -> None:
    ordered = encode(tmp_path / "a.mp4", WHOLE, extra=("-bf", "3"))
    ffmpeg("-i", ordered, "-c", "copy", "-bsf:v", "setts=pts=DTS", tmp_path / "disorder.mkv")
    with pytest.raises(VideoError, match=r"corrupt \(its frames are not in the order"):
        probe(tmp_path / "disorder.mkv", decode=True)
    parts = encode(tmp_path / "1.ts", WHOLE), encode(tmp_path / "2.ts", scene(20, 80, 96))
    (tmp_path / "both.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    with pytest.raises(VideoError, match=r"corrupt \(its frames are not all of"):
        probe(tmp_path / "both.ts", decode=True)


def test_names_that_ffmpeg_could_misread_are_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    content = encode(tmp_path / "a.mp4", WHOLE[:3]).read_bytes()
    for name in ("concat:a.mp4", "with space é\n%03d.mp4", "-f.mp4", "http:x"):
        Path(name).write_bytes(content)
        assert probe(Path(name), decode=True).frames == 3
        assert len(frames(Path(name), [0, 2], probe(Path(name), decode=False))) == 2
    odd = Path("caf\udce9.mp4")
    odd.write_bytes(content)
    with pytest.raises(VideoError, match="not UTF-8"):
        probe(odd, decode=True)


def test_a_video_error_crosses_processes() -> None:
    error = VideoError(Path("a.mp4"), "cut off", "too short")
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.word, again.path) == (str(error), "cut off", Path("a.mp4"))
    assert isinstance(again, DataError)


def changed_files(film: Path, folder: Path) -> dict[str, Callable[[Path], object]]:
    other = encode(folder / "other.mp4", WHOLE[:20])
    return {
        "gone": lambda path: path.unlink(),
        "shorter": lambda path: path.write_bytes(other.read_bytes()),
        "no video": lambda path: path.write_bytes(b"?" * 100),
        "cut off": lambda path: path.write_bytes(film.read_bytes()[:-9000]),
    }


def test_a_file_that_changed_since_it_was_indexed_is_named(film: Path, tmp_path: Path) -> None:
    facts = probe(film, decode=True)
    for name, change in changed_files(film, tmp_path).items():
        path = tmp_path / f"{name}.mp4"
        path.write_bytes(film.read_bytes())
        change(path)
        with pytest.raises(DataError, match="prepare this data set again") as caught:
            frames(path, [0, 39], facts)
        assert str(path) in str(caught.value)


def test_frames_outside_the_video_are_refused(film: Path) -> None:
    facts = probe(film, decode=False)
    for numbers in ([], [-1], [40], [3, 40]):
        with pytest.raises(ValueError, match="within 0 to 39"):
            frames(film, numbers, facts)


def test_missing_libraries_are_told_with_what_to_install(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "torchcodec_decoders", video.torchcodec_decoders.__wrapped__)
    monkeypatch.setattr(torchcodec, "ffmpeg_major_version", None)
    with pytest.raises(DataError, match="apt-get install ffmpeg"):
        probe(film, decode=False)
    monkeypatch.setitem(__import__("sys").modules, "torchcodec", None)
    with pytest.raises(DataError, match="pip install torchcodec"):
        frames(film, [0], Facts(40, 48, 64, 25.0, 1.6))


def test_importing_the_module_imports_no_torch() -> None:
    code = "import sys, pyconv.data.video, pyconv.data.clips; sys.exit('torch' in sys.modules)"
    python = Path(np.__file__).parents[4] / "bin/python"
    assert subprocess.run([python, "-c", code], check=False).returncode == 0
