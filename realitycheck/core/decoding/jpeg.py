"""Walk through the marker segments of a JPEG picture, without decoding it."""

import re
from typing import NamedTuple

#: What ends a scan: any marker but a stuffed byte and the restart markers.
_ENDS_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
#: Start of frame; C4, C8 and CC are other things.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
#: No picture has as many segments; a file that has would only cost time.
_MAX_SEGMENTS = 20_000
#: A progressive picture has some 10 scans. Each costs the time of a whole picture, however short.
_MAX_SCANS = 100


class Jpeg(NamedTuple):
    """What a JPEG picture says of itself.

    Attributes:
        end: Place of the byte behind the picture, where a trailer may begin.
        width_px: Width as stored, before EXIF rotation.
        height_px: Height as stored.
        n_channels: Components.
        bits: Bits per sample.
        has_adobe_marker: Whether Adobe's marker is there, which says that inks are inverted.
        exif: The EXIF block; empty without one.
    """

    end: int
    width_px: int
    height_px: int
    n_channels: int
    bits: int
    has_adobe_marker: bool
    exif: bytes


def look(data: bytes) -> Jpeg:
    """Find the end of the first picture of a JPEG file, and what its header says.

    What follows is a trailer: a video of a phone, a second picture, records of a camera.

    Args:
        data: The file, from its first byte.

    Returns:
        The facts.

    Raises:
        ValueError: If the picture has no end or no size, or more scans than any picture.
    """
    place, n_scans, has_adobe, exif = 2, 0, False, b""
    frame = None
    for _ in range(_MAX_SEGMENTS):
        place = data.find(b"\xff", place)
        while place >= 0 and data[place : place + 1] == b"\xff":
            place += 1
        marker = data[place] if 0 <= place < len(data) else None
        if marker is None or (marker != 0xD9 and place + 3 > len(data)):
            raise ValueError("no end marker: it is cut short")
        place += 1
        if marker == 0xD9:
            if frame is None:
                raise ValueError("no picture before its end marker")
            return Jpeg(place, *frame, has_adobe, exif)
        if marker in (0x00, 0x01, *range(0xD0, 0xD9)):
            continue
        length = int.from_bytes(data[place : place + 2], "big")
        body = data[place + 2 : place + length]
        if marker in _FRAMES and frame is None and len(body) >= 6:
            height, width = (int.from_bytes(body[i : i + 2], "big") for i in (1, 3))
            frame = (width, height, body[5], body[0])
        has_adobe |= marker == 0xEE and body.startswith(b"Adobe")
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
        place += max(length, 2)
        if marker == 0xDA:
            n_scans += 1
            if n_scans > _MAX_SCANS:
                raise ValueError(f"more than {_MAX_SCANS} scans")
            found = _ENDS_SCAN.search(data, place)
            if found is None:
                raise ValueError("no end marker: it is cut short")
            place = found.start()
    raise ValueError(f"more than {_MAX_SEGMENTS} segments")
