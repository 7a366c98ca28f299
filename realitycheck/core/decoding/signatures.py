"""Tell what kind of file some bytes are, by their first ones and never by a name."""

import re

_PICTURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"BM", "BMP"),
    (b"GIF8", "GIF"),
)
#: Beginnings of pictures that were cut off within their signature.
_STUBS = ((b"\x89PNG", "PNG"), (b"\xff\xd8", "JPEG"))

_EXPORT = "export it as PNG, 8 or 16 bits"
_DEVELOP = "develop it with the camera maker's program, and export 16-bit TIFF or PNG"
_FETCH = "download it again: what came is the answer of a website, such as a login page"
_UNPACK = "unpack it, and put the images where it lies"
_VIDEO = "export single frames as PNG"

#: Kind and remedy by the bytes at the start.
_OTHERS = (
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer",
        "run `git lfs pull` in its repository",
    ),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS image", _EXPORT),
    (b"\0\0\0\x0cjP  \r\n", "a JPEG 2000 image", _EXPORT),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image", _EXPORT),
    (b"\0\0\0\x0cJXL \r\n", "a JPEG XL image", _EXPORT),
    (b"\xff\x0a", "a JPEG XL image", _EXPORT),
    (b"II\xbc", "a JPEG XR image", _EXPORT),
    (b"8BPS", "a Photoshop document", _EXPORT),
    (b"gimp xcf", "a GIMP document", _EXPORT),
    (b"v/1\x01", "an OpenEXR image", _EXPORT),
    (b"#?RADIANCE", "a Radiance HDR image", _EXPORT),
    (b"SIMPLE  =", "a FITS image", _EXPORT),
    (b"\0\0\x01\0", "a Windows icon", _EXPORT),
    (b"qoif", "a QOI image", _EXPORT),
    (b"DDS ", "a DirectDraw texture", _EXPORT),
    (b"%PDF", "a PDF document", "export its images as PNG"),
    (b"%!PS", "a PostScript document", "export its images as PNG"),
    (b"\x93NUMPY", "a NumPy array", "write it as PNG or TIFF"),
    (b"\x89HDF", "an HDF5 file", "write its arrays as PNG or TIFF"),
    (b"MATLAB", "a MATLAB file", "write its arrays as PNG or TIFF"),
    (b"IIRO", "a camera's raw file (Olympus)", _DEVELOP),
    (b"IIU\0", "a camera's raw file (Panasonic)", _DEVELOP),
    (b"FUJIFILMCCD-RAW", "a camera's raw file (Fujifilm)", _DEVELOP),
    (b"PK\x03\x04", "a ZIP archive", _UNPACK),
    (b"\x1f\x8b", "a gzip archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (b"Rar!", "a RAR archive", _UNPACK),
    (b"\x1a\x45\xdf\xa3", "a Matroska video", _VIDEO),
    (b"\0\x05\x16\x07", "a macOS attachment (._ file)", "delete it; the image lies beside it"),
    (b"bplist00", "a macOS property list", "download the image itself, for example from iCloud"),
)
_BRANDS = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    b"crx ": "Canon raw",
}


def kind_of(data: bytes) -> str | None:
    """Name the kind of a picture that can be decoded: PNG, JPEG, TIFF, BMP, GIF; else None."""
    if data.startswith(b"\xff\xd8\xff\xf7"):
        return None
    for start, kind in _PICTURES:
        if data.startswith(start):
            return kind
    return next((kind for start, kind in _STUBS if start.startswith(data[:4]) and data), None)


def other_kind(data: bytes) -> tuple[str, str]:
    """Name a file that is no picture which can be decoded, and say what to do about it.

    Args:
        data: The whole file, or enough of its start.

    Returns:
        What it is, with its article, and the remedy.
    """
    for start, kind, remedy in _OTHERS:
        if data.startswith(start):
            return kind, remedy
    if data[4:8] == b"ftyp":
        brand = _BRANDS.get(data[8:12])
        if brand is None:
            return "an MP4 or QuickTime video", _VIDEO
        return f"a {brand} image" if brand != "AVIF" else "an AVIF image", _EXPORT
    if data.startswith(b"RIFF"):
        if data[8:12] == b"WEBP":
            return "a WebP image", _EXPORT
        return "a RIFF file, such as an AVI video", _VIDEO
    if data[128:132] == b"DICM":
        return "a DICOM image", "export it as 16-bit PNG"
    if re.match(rb"P[1-7][\s#]", data) or re.match(rb"P[Ff]\s", data):
        return "a Netpbm image (PBM, PGM, PPM, PFM)", _EXPORT
    head = data[:4096]
    if not head.strip(b"\0"):
        return f"{len(data)} bytes that begin with zeros only", "copy it again from its source"
    return _text_kind(head) or (
        f"{len(data)} bytes that begin with {data[:8]!r}",
        "convert it, or move it out of the data set",
    )


def _text_kind(head: bytes) -> tuple[str, str] | None:
    """Name a text file; None for what is no text."""
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "an HTML page", _FETCH
    if start.startswith(b"<svg") or (start.startswith(b"<?xml") and b"<svg" in start):
        return "an SVG drawing", _EXPORT
    if start.startswith(b"<?xml"):
        return "an XML document", _FETCH
    if re.match(rb"(outs:\s*\n)?\s*-?\s*(md5|etag): ", start):
        return "a DVC pointer", "run `dvc pull` in its repository"
    if b"annex/objects/" in start[:300]:
        return "a git-annex pointer", "run `git annex get` in its repository"
    if start.startswith((b"{", b"[")):
        return "a JSON document", _FETCH
    return None
