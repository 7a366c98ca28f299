"""Fetch files whose digest is known, and unpack archives without trusting what they hold.

What is fetched is checked before it gets its name, so a file under its final name is whole. A run
that was cut off goes on where it stopped. Without network the message says which file to put where.
"""

import os
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import requests
import tenacity
import urllib3
from tqdm import tqdm

from realitycheck.core.provenance import file_digest
from realitycheck.core.remote import RemoteFile
from realitycheck.core.room import explained

MAX_UNPACKED_BYTES = 100_000_000_000
"""Largest total size that is unpacked: 100 GB, some fifteen times MVTec AD."""

MAX_MEMBERS = 1_000_000
"""Largest number of files in an archive, some hundred times MVTec AD."""

_CHUNK = 1 << 20
_TIMEOUT_S = (15, 60)  # to connect, and between two chunks


class DownloadError(OSError):
    """A file that could not be fetched or does not have the expected content."""


class OfflineError(DownloadError):
    """No server could be reached; the message says which file to put where by hand."""


class ArchiveError(ValueError):
    """An archive that is damaged or wants to do what an archive of data must not."""


class _Interrupted(Exception):
    """A transfer that is worth another attempt; `is_offline` if no server answered."""

    def __init__(self, reason: str, *, is_offline: bool):
        super().__init__(reason)
        self.is_offline = is_offline


class _Refused(Exception):
    """An answer that another attempt at the same address would not change."""


def fetch(
    file: RemoteFile,
    destination: Path,
    *,
    progress: bool = True,
    n_attempts: int = 5,
    backoff_s: float = 1.0,
) -> Path:
    """Fetch a file, or accept the one that is there.

    A file at `destination` with the right digest is accepted without any network. One with another
    digest is set aside as `<name>.bad`. While it arrives, the file is called `<name>.part`, and a
    later call goes on at its end if the server can. No library does all of this: pooch begins
    anew, and fsspec does not check size and digest together.

    Args:
        file: What to fetch.
        destination: Path of the file; folders are made.
        progress: Whether to show a bar on standard error.
        n_attempts: Attempts per address.
        backoff_s: Pause after the first failed attempt, in seconds; it doubles, up to 60.

    Returns:
        `destination`.

    Raises:
        OfflineError: If no address could be reached.
        DownloadError: If a server refuses, the content is wrong, or the disk is too small.
        ValueError: If an address is not http(s) or the digest is none.
    """
    destination = Path(destination)
    addresses = (file.url, *file.mirrors)
    for address in addresses:
        if not address.lower().startswith(("http://", "https://")):
            raise ValueError(f"expected an http or https address, found {address!r}")
    if not re.fullmatch(r"[0-9a-f]{64}", file.sha256):
        raise ValueError(f"{file.name}: expected a sha256 of 64 digits, found {file.sha256!r}")

    troubles = []
    if destination.exists():
        found = file_digest(destination)
        if found == file.sha256:
            return destination
        troubles.append(_set_aside(destination, destination, found))
    destination.parent.mkdir(parents=True, exist_ok=True)
    _check_space(file, destination)

    is_offline = True
    for address in addresses:
        try:
            _fetch_checked(address, destination, file, progress, n_attempts, backoff_s, troubles)
            return destination
        except _Interrupted as error:
            troubles.append(f"{address}: {error}")
            is_offline &= error.is_offline
        except _Refused as error:
            troubles.append(f"{address}: {error}")
            is_offline = False
    raise _failure(is_offline, _by_hand(file, destination, troubles))


def _failure(is_offline: bool, message: str) -> DownloadError:
    return OfflineError(message) if is_offline else DownloadError(message)


def fetch_archives(
    files: Sequence[RemoteFile], root: Path, *, archives: Path, progress: bool = True
) -> None:
    """Fetch and unpack the archives of a public data set.

    Args:
        files: The archives.
        root: Folder of the data set; what the archives hold is put there.
        archives: Folder in which the archives are kept, and looked for.
        progress: Whether to show bars on standard error.

    Raises:
        DownloadError: If archives cannot be fetched; names all of them.
        ArchiveError: If an archive cannot be unpacked safely.
    """
    # All are fetched first: a set without network should name all missing files after one run.
    failures = []
    for file in files:
        try:
            fetch(file, Path(archives) / file.name, progress=progress)
        except DownloadError as error:
            failures.append(error)
    if failures:
        is_offline = all(isinstance(error, OfflineError) for error in failures)
        raise _failure(is_offline, "\n".join(map(str, failures)))
    for file in files:
        unpack(Path(archives) / file.name, root)


def unpack(archive: Path, folder: Path, *, max_bytes: int = MAX_UNPACKED_BYTES) -> Path:
    """Unpack a tar archive (plain, gz, bz2, xz) or a zip archive, safely.

    Refused are members with absolute paths, with `..`, that are links or devices, and archives
    that grow beyond `max_bytes` or `MAX_MEMBERS`. Everything is unpacked beside `folder` first and
    then renamed, so a killed run leaves no half of it. If `folder` exists already, the archive's
    top entries are put into it one by one, and replace entries of the same name.

    Args:
        archive: The file; its content says what it is.
        folder: Where its members go; made if needed.
        max_bytes: Largest total size of the unpacked files.

    Returns:
        `folder`.

    Raises:
        ArchiveError: If the archive is damaged, of an unknown kind, or refused.
        FileNotFoundError: If there is no such file.
    """
    archive, folder = Path(archive), Path(folder)
    if not archive.is_file():
        raise FileNotFoundError(f"{archive}: expected an archive, found nothing; fetch it first")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.parent / f".{folder.name}.unpacking-{archive.name}"
    shutil.rmtree(temporary, ignore_errors=True)  # of a run that was killed
    temporary.mkdir()
    try:
        with archive.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        if is_zip:
            _unpack_zip(archive, temporary, max_bytes)
        else:
            _unpack_tar(archive, temporary, max_bytes)
        _move_into(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _fetch_checked(
    url: str,
    destination: Path,
    file: RemoteFile,
    progress: bool,
    n_attempts: int,
    backoff_s: float,
    troubles: list[str],
) -> None:
    """Fetch from one address, check the digest, and give the file its name."""
    part = destination.with_name(destination.name + ".part")
    is_resumed = part.exists() and part.stat().st_size > 0
    for _ in range(2):
        _transfer_patiently(url, part, file, progress, n_attempts, backoff_s)
        found = file_digest(part)
        if found == file.sha256:
            os.replace(part, destination)
            return
        trouble = _set_aside(part, destination, found)
        if not is_resumed:
            raise _Refused(f"expected sha256 {file.sha256}; {trouble}")
        # What an earlier run left may be of another file: once more from the beginning.
        troubles.append(f"{url}: a resumed download was wrong; {trouble}")
        is_resumed = False


def _transfer_patiently(
    url: str, part: Path, file: RemoteFile, progress: bool, n_attempts: int, backoff_s: float
) -> None:
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_Interrupted),
        stop=tenacity.stop_after_attempt(n_attempts),
        wait=tenacity.wait_exponential(multiplier=backoff_s, max=60),
        reraise=True,
    )
    with tqdm(
        total=file.size_bytes,
        desc=file.name,
        unit="B",
        unit_scale=True,
        unit_divisor=1024,
        disable=not progress,
    ) as bar:
        for attempt in retrying:
            with attempt:
                _transfer(url, part, file, bar)


def _transfer(url: str, part: Path, file: RemoteFile, bar: tqdm) -> None:
    """Append to `part` until the file is complete; one attempt."""
    start = part.stat().st_size if part.exists() else 0
    if file.size_bytes is not None:
        if start == file.size_bytes:
            return
        if start > file.size_bytes:
            part.unlink()
            start = 0
    # Without compression on the way: a server that calls a .tar.gz "gzip-encoded" would otherwise
    # have it unpacked, and positions would not be those of the file.
    headers = {"Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT_S) as answer:
            start = _checked_start(answer, start, part, file)
            bar.n = start
            if bar.total is None and "Content-Length" in answer.headers:
                bar.total = start + int(answer.headers["Content-Length"])
            bar.refresh()
            _append(answer, part, start, file, bar)
    except (requests.exceptions.SSLError, requests.exceptions.InvalidURL) as error:
        raise _Refused(f"no safe connection ({error})") from error
    except requests.ConnectionError as error:
        raise _Interrupted(f"cannot be reached ({_reason(error)})", is_offline=True) from error
    except requests.Timeout as error:
        raise _Interrupted(f"does not answer ({_reason(error)})", is_offline=True) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Interrupted(f"broke off ({_reason(error)})", is_offline=False) from error


def _checked_start(answer: requests.Response, start: int, part: Path, file: RemoteFile) -> int:
    """Check the status of an answer; return where in the file its body begins."""
    status = answer.status_code
    if status == 416:
        # Our part is at least as long as the file, and its size was not known.
        total = re.fullmatch(r"bytes \*/(\d+)", answer.headers.get("Content-Range", ""))
        if not (total and int(total.group(1)) == start):
            part.unlink(missing_ok=True)
            raise _Interrupted("has a shorter file than was begun", is_offline=False)
        return start
    if status == 429 or status >= 500:
        raise _Interrupted(f"answered {status} {answer.reason}", is_offline=False)
    if status == 206:
        given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
        if not given or int(given.group(1)) != start:
            part.unlink(missing_ok=True)
            raise _Interrupted("sent another part than was asked for", is_offline=False)
        return start
    if status != 200:
        raise _Refused(f"answered {status} {answer.reason}")
    length = answer.headers.get("Content-Length")
    if file.size_bytes is not None and length is not None and int(length) != file.size_bytes:
        raise _Refused(f"expected {file.size_bytes} bytes, but it offers {length}")
    return 0  # The server cannot resume.


def _append(answer: requests.Response, part: Path, start: int, file: RemoteFile, bar: tqdm) -> None:
    if answer.status_code == 416:
        return
    size = start
    try:
        with part.open("r+b" if start else "wb") as target:
            target.seek(start)
            for chunk in answer.raw.stream(_CHUNK, decode_content=False):
                size += len(chunk)
                if file.size_bytes is not None and size > file.size_bytes:
                    raise _Refused(f"expected {file.size_bytes} bytes, but it sends more")
                target.write(chunk)
                bar.update(len(chunk))
    except OSError as error:
        if (told := explained(error)) is None:
            raise
        arrived = part.stat().st_size if part.exists() else 0
        of_all = "" if file.size_bytes is None else f" of {file.size_bytes}"
        raise DownloadError(
            f"{part}: {arrived}{of_all} bytes have arrived and are kept, and the next run goes "
            f"on there. {told}"
        ) from error
    if file.size_bytes is not None and size < file.size_bytes:
        raise _Interrupted(f"broke off after {size} of {file.size_bytes} bytes", is_offline=False)


def _reason(error: Exception) -> str:
    """Shorten a nested network error to its innermost message."""
    while error.args and isinstance(error.args[0], Exception):
        error = error.args[0]
    text = str(getattr(error, "reason", None) or error)
    return text.rsplit(">: ", 1)[-1]


def _set_aside(path: Path, destination: Path, found: str) -> str:
    bad = destination.with_name(destination.name + ".bad")
    size = path.stat().st_size
    os.replace(path, bad)
    return f"found sha256 {found} ({size} bytes), set aside as {bad}"


def _check_space(file: RemoteFile, destination: Path) -> None:
    if file.size_bytes is None:
        return
    part = destination.with_name(destination.name + ".part")
    needed = file.size_bytes - (part.stat().st_size if part.exists() else 0)
    free = shutil.disk_usage(destination.parent).free
    if needed > free:
        raise DownloadError(
            f"{destination}: expected {needed} bytes of free disk, found {free}; make room, or "
            "choose another folder; what has arrived is kept, and the next run goes on there"
        )


def _by_hand(file: RemoteFile, destination: Path, troubles: Sequence[str]) -> str:
    size = "size not published" if file.size_bytes is None else f"{file.size_bytes} bytes"
    lines = [
        f"{destination}: expected this file, but it could not be fetched; fetch it on a machine "
        "with network and put it there by hand:",
        f"  file    {file.name} ({size})",
        f"  from    {file.url}",
        *(f"  or      {mirror}" for mirror in file.mirrors),
        f"  sha256  {file.sha256}",
        f"  into    {destination.parent.resolve()}",
        *(f"  tried   {trouble}" for trouble in troubles),
    ]
    return "\n".join(lines)


class _Gate:
    """Lets members of an archive pass: files and folders below it, up to a number and a size."""

    def __init__(self, archive: Path, max_bytes: int):
        self.archive = archive
        self.limits = {"bytes when unpacked": max_bytes, "members": MAX_MEMBERS}
        self.found = dict.fromkeys(self.limits, 0)

    def let_in(self, name: str, *, n_bytes: int, trouble: str | None) -> None:
        """Count a member; refuse one with a trouble, or whose name leaves the folder."""
        path = PurePosixPath(name.replace("\\", "/"))
        if path.is_absolute() or re.match(r"[A-Za-z]:", name):
            trouble = trouble or "an absolute path"
        elif ".." in path.parts:
            trouble = trouble or "a path that leaves the folder"
        if trouble:
            raise ArchiveError(
                f"{self.archive}: expected only files and folders below one place, but {name!r} is "
                f"{trouble}; nothing was unpacked: fetch the archive from its publisher"
            )
        self.found["bytes when unpacked"] += n_bytes
        self.found["members"] += 1
        for what, limit in self.limits.items():
            if self.found[what] > limit:
                raise ArchiveError(
                    f"{self.archive}: expected at most {limit} {what}, found more; if the archive "
                    "can be trusted, unpack it by hand"
                )


class _Member(tarfile.TarInfo):
    """A member that tells its archive when the closing zero block was met.

    Without it, tarfile takes an archive that is cut off between two members for a whole one.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            archive.has_end = True
            raise


def _unpack_tar(archive: Path, folder: Path, max_bytes: int) -> None:
    gate = _Gate(archive, max_bytes)
    try:
        # As a stream: a compressed archive is read once, not once for its table and once more.
        with tarfile.open(archive, "r|*", tarinfo=_Member) as tar:
            for member in tar:
                trouble = None
                if member.issym() or member.islnk():
                    trouble = f"a link to {member.linkname}"
                elif not (member.isfile() or member.isdir()):
                    trouble = "a device or another special file"
                gate.let_in(member.name, n_bytes=member.size, trouble=trouble)
                tar.extract(member, folder, set_attrs=False, filter="data")
            if not getattr(tar, "has_end", False):
                raise tarfile.ReadError("the end is missing")
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the archive
        raise _damaged(archive, error) from error
    except Exception as error:
        # lzma and zlib have errors of their own, which share no base class.
        if isinstance(error, ArchiveError) or type(error).__module__ not in ("_lzma", "zlib"):
            raise
        raise _damaged(archive, error) from error
    if not gate.found["members"]:
        raise _damaged(archive, "it is empty")


def _unpack_zip(archive: Path, folder: Path, max_bytes: int) -> None:
    gate = _Gate(archive, max_bytes)
    try:
        with zipfile.ZipFile(archive) as container:
            for member in container.infolist():
                # The upper half of the attributes is the Unix mode, 0 where the archiver had none.
                kind = stat.S_IFMT(member.external_attr >> 16)
                trouble = None
                if kind == stat.S_IFLNK:
                    trouble = "a link"
                elif kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                    trouble = "a device or another special file"
                elif member.flag_bits & 1:
                    trouble = "an encrypted file"
                # No more than the size it is said to have is ever read of a member.
                gate.let_in(member.filename, n_bytes=member.file_size, trouble=trouble)
            container.extractall(folder)
    except (zipfile.BadZipFile, EOFError, NotImplementedError, zlib.error) as error:
        raise _damaged(archive, error) from error
    if not gate.found["members"]:
        raise _damaged(archive, "it is empty")


def _damaged(archive: Path, reason: object) -> ArchiveError:
    return ArchiveError(
        f"{archive}: expected a whole tar or zip archive, found it damaged or of another kind "
        f"({reason}); fetch it again"
    )


def _move_into(source: Path, folder: Path) -> None:
    """Rename the unpacked folder, or its entries where the target is there already."""
    if not folder.exists():
        os.replace(source, folder)
        return
    for entry in sorted(source.iterdir()):
        target = folder / entry.name
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        os.replace(entry, target)
