"""Whether a video file is as long as it says: ISO base media (mp4, mov), RIFF (avi) and EBML (mkv, webm). No torch.

A download that was cut off keeps its header, which tells the sizes of what should follow; nothing needs to be decoded.
"""

import os
from pathlib import Path
from typing import BinaryIO

BOXES = frozenset((b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"styp", b"moof", b"sidx"))
"""With one of them an ISO base media file (ISO/IEC 14496-12) or a QuickTime file begins."""
_EBML, _SEGMENT = b"\x1aE\xdf\xa3", b"\x18S\x80g"


def missing_bytes(path: Path) -> int:
    """By so many bytes a file ends before what it declares does: 0 when whole, or when it declares no size.

    Raises `OSError` when it cannot be read.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(12)
        if start[4:8] in BOXES:
            end = _end_of_boxes(file, size)
        elif start[:4] == b"RIFF" and start[8:12] == b"AVI ":
            declared = int.from_bytes(start[4:8], "little")
            end = 8 + declared if declared != 2**32 - 1 else 0
        elif start[:4] == _EBML:
            end = _end_of_segment(file, size)
        else:
            end = 0
    return max(0, end - size)


def tells_when_shown(path: Path) -> bool:
    """Whether the container stores when each frame is shown: mp4, mov, mkv and webm do, avi and mpeg do not.

    Raises `OSError` when it cannot be read.
    """
    with Path(path).open("rb") as file:
        start = file.read(8)
    return start[4:8] in BOXES or start[:4] == _EBML


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    """Where the first box that reaches beyond the file ends, else the last."""
    end = 0
    while end < size:
        file.seek(end)
        header = file.read(16)
        length = int.from_bytes(header[:4], "big")
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if len(header) < 8 or length < 8 or (end + length > size and header[4:8] not in BOXES):
            break  # a box to the end of the file, or what somebody appended
        end += length
    return end


def _end_of_segment(file: BinaryIO, size: int) -> int:
    """Where the segment behind the EBML header ends; 0 if that is not told, as of a live recording."""
    file.seek(4)
    file.seek(min(_number(file) or 0, size), os.SEEK_CUR)
    if file.read(4) != _SEGMENT:
        return 0
    length = _number(file)
    return 0 if length is None else file.tell() + length


def _number(file: BinaryIO) -> int | None:
    """EBML's number of variable length (RFC 8794, section 4); None when all its bits are set: unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    value = int.from_bytes(first + file.read(more), "big") & ((1 << bits) - 1)
    return None if value == (1 << bits) - 1 else value
