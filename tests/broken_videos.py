"""A class folder of videos that are broken or odd in every way we know, each with the word that is right for it."""

import os
import struct
import subprocess
from pathlib import Path

from PIL import Image

from tests.video_files import QUIET, encode, remux, scene

FRAMES = 30
SOUND = ("-f", "lavfi", "-i", "sine=frequency=440:duration=1")


def write_all(folder: Path) -> dict[str, str | None]:
    """File name -> its word, None for those that can be used."""
    folder.mkdir(parents=True)
    plain = encode(folder / "plain.mp4", scene(FRAMES))
    words = {**_odd(folder, plain), **_torn(folder, plain.read_bytes()), **_huge(folder, plain), **_none(folder, plain)}
    return {"plain.mp4": None, **words}


def box(content: bytes, name: bytes) -> int:
    """Where a box of an MP4 file begins."""
    return content.index(name) - 4


def rotate(source: Path, path: Path, degrees: int) -> Path:
    """The same packets, to be turned when shown."""
    return remux(source, path, extra=("-metadata:s:v:0", f"rotate={degrees}"))


def _odd(folder: Path, plain: Path) -> dict[str, str | None]:
    """Unusual, and usable."""
    rotate(plain, folder / "rotated 90.mp4", 90)
    rotate(plain, folder / "rotated 180.mp4", 180)
    encode(folder / "odd sizes.mp4", scene(FRAMES, 49, 65), extra=("-pix_fmt", "yuv444p"))
    encode(folder / "webm.webm", scene(FRAMES)).rename(folder / "webm in name.mp4")
    encode(folder / "one frame.mp4", scene(1))
    encode(folder / "very short.mp4", scene(3))
    thinned = ("-vf", "select='not(between(mod(n,9),3,7))'", "-fps_mode", "passthrough")
    encode(folder / "variable.mp4", scene(FRAMES), extra=thinned)
    for number, name in enumerate(("spaces  in it.mp4", "ünï 電影 🎬.mp4", "new\nline.mp4", "-dash: 100%d.mp4")):
        padding = b"\0\0\0\x09free" + bytes([number])  # a box without meaning: no two files are the same
        (folder / name).write_bytes(plain.read_bytes() + padding)
    return dict.fromkeys({path.name for path in folder.iterdir()} - {plain.name})


def _torn(folder: Path, whole: bytes) -> dict[str, str | None]:
    """Cut, or with bytes changed."""
    for part in (10, 50, 95):
        (folder / f"cut at {part}%.mp4").write_bytes(whole[: len(whole) * part // 100])
    data = box(whole, b"mdat")
    flipped = bytearray(whole)
    start, length = data + 8 + 800, (len(whole) - data) // 3
    flipped[start : start + length] = bytes(255 - byte for byte in whole[start : start + length])
    (folder / "bytes flipped.mp4").write_bytes(flipped)
    (folder / "no moov.mp4").write_bytes(whole[: box(whole, b"moov")])
    (folder / "empty.mp4").write_bytes(b"")
    return {
        **{f"cut at {part}%.mp4": "cut off" for part in (10, 50, 95)},
        "bytes flipped.mp4": "corrupt",
        "no moov.mp4": "unreadable",
        "empty.mp4": "empty",
    }


def _huge(folder: Path, plain: Path) -> dict[str, str | None]:
    """Sizes that are not true, told by the container: a codec that knows its own is not misled."""
    of_container = plain.read_bytes().replace(struct.pack(">HH", 64, 48), struct.pack(">HH", 65000, 65000))
    (folder / "huge in container.mp4").write_bytes(of_container)
    trusting = encode(folder / "trusting.avi", scene(3), extra=("-c:v", "huffyuv", "-pix_fmt", "yuv422p"))
    told = trusting.read_bytes().replace(struct.pack("<II", 64, 48), struct.pack("<II", 30000, 30000))
    (folder / "huge.avi").write_bytes(told)
    trusting.unlink()
    return {"huge in container.mp4": None, "huge.avi": "corrupt"}


def _none(folder: Path, plain: Path) -> dict[str, str | None]:
    """No videos at all."""
    (folder / "text.mp4").write_text("<html>404 not found</html>\n" * 20)
    (folder / "folder.mp4").mkdir()
    (folder / "dangling.mp4").symlink_to(folder / "nowhere.mp4")
    os.mkfifo(folder / "pipe.mp4")
    Image.fromarray(scene(1)[0]).save(folder / "photo.mp4", "JPEG")
    pictures = [Image.fromarray(frame) for frame in scene(5)]
    pictures[0].save(folder / "animation.mp4", "GIF", save_all=True, append_images=pictures[1:])
    subprocess.run([*QUIET, *SOUND, str(folder / "audio.mp4")], check=True)
    subprocess.run([*QUIET, "-i", str(plain), "-frames:v", "0", "-c", "copy", str(folder / "zero.mp4")], check=False)
    return {
        "text.mp4": "unreadable",
        "folder.mp4": "folder",
        "dangling.mp4": "missing",
        "pipe.mp4": "no file",
        "photo.mp4": "unreadable",
        "animation.mp4": None,
        "audio.mp4": "audio only",
        "zero.mp4": "no frames",
    }
