"""What is fetched is whole and known, and what is unpacked stays in its folder."""

import gzip
import hashlib
import io
import re
import resource
import signal
import stat
import tarfile
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from realitycheck.core.remote import RemoteFile
from realitycheck.datasets import download
from realitycheck.datasets.download import (
    ArchiveError,
    DownloadError,
    OfflineError,
    fetch,
    fetch_archives,
    unpack,
)
from realitycheck.datasets.registry import FORMATS

CONTENT = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
DEAD = "http://127.0.0.1:9/file.bin"  # the discard port, where nothing listens


class Server(ThreadingHTTPServer):
    """A web server on this machine that misbehaves on demand."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.has_ranges = True
        self.n_break_offs = 0  # answers that end in the middle
        self.n_busy = 0  # answers 503
        self.headers_sent = {}
        self.ranges = []  # the Range header of each request

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file.bin")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if self.path != "/file.bin":
            self.send_error(404)
            return
        if server.n_busy:
            server.n_busy -= 1
            self.send_error(503)
            return
        start = 0
        asked = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and server.has_ranges:
            start = int(asked.group(1))
            if start >= len(server.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(server.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206)
            end = len(server.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{end}/{end + 1}")
        else:
            self.send_response(200)
        body = server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        for name, value in server.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        if server.n_break_offs:
            server.n_break_offs -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield running
        running.shutdown()


def remote(url, *, name="file.bin", sha256=SHA256, **options):
    return RemoteFile(name, url, sha256, "CC0-1.0", **options)


def get(url, destination, *, n_attempts=5, **options):
    file = remote(url, **options)
    return fetch(file, destination, progress=False, n_attempts=n_attempts, backoff_s=0.001)


def test_file_is_fetched_and_checked(server, tmp_path):
    """Folders are made, and no partial file is left."""
    path = get(server.url, tmp_path / "a" / "file.bin", size_bytes=len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in path.parent.iterdir()] == ["file.bin"]


def test_file_that_is_there_needs_no_network(tmp_path):
    """This is how a machine without network is served."""
    (tmp_path / "file.bin").write_bytes(CONTENT)
    assert get(DEAD, tmp_path / "file.bin") == tmp_path / "file.bin"


@pytest.mark.parametrize("size_bytes", [len(CONTENT), None])
def test_partial_file_is_continued(server, tmp_path, size_bytes):
    """Five gigabytes are not fetched twice."""
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    path = get(server.url, tmp_path / "file.bin", size_bytes=size_bytes)
    assert path.read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("size_bytes", [len(CONTENT), None])
def test_complete_partial_file_is_only_renamed(server, tmp_path, size_bytes):
    """A run may be killed between the last byte and the renaming."""
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert get(server.url, tmp_path / "file.bin", size_bytes=size_bytes).read_bytes() == CONTENT


@pytest.mark.parametrize("size_bytes", [len(CONTENT), None])
def test_too_long_partial_file_is_begun_anew(server, tmp_path, size_bytes):
    """Its digest could never be right."""
    (tmp_path / "file.bin.part").write_bytes(CONTENT + b"more")
    assert get(server.url, tmp_path / "file.bin", size_bytes=size_bytes).read_bytes() == CONTENT


def test_server_without_ranges_sends_all_again(server, tmp_path):
    """The whole answer must not be appended to the part."""
    server.has_ranges = False
    (tmp_path / "file.bin.part").write_bytes(CONTENT[:1000])
    assert get(server.url, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-"]


def test_wrong_partial_file_costs_one_more_download(server, tmp_path):
    """What an earlier run left may be of another version of the file."""
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    assert get(server.url, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.ranges == ["bytes=1000-", None]


@pytest.mark.parametrize("size_bytes", [len(CONTENT), None])
def test_broken_transfer_goes_on_where_it_stopped(server, tmp_path, size_bytes):
    """Two break-offs, each in the middle of what was left."""
    server.n_break_offs = 2
    path = get(server.url, tmp_path / "file.bin", size_bytes=size_bytes)
    assert path.read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=128000-", "bytes=192000-"]


def test_busy_server_is_asked_again(server, tmp_path):
    """503 means later."""
    server.n_busy = 3
    assert get(server.url, tmp_path / "file.bin").read_bytes() == CONTENT


def test_patience_ends(server, tmp_path):
    """A server that answers is not called unreachable."""
    server.n_busy = 100
    with pytest.raises(DownloadError, match="answered 503") as caught:
        get(server.url, tmp_path / "file.bin", n_attempts=3)
    assert not isinstance(caught.value, OfflineError)
    assert len(server.ranges) == 3


def test_redirect_is_followed(server, tmp_path):
    """The pets' archive has moved to another host."""
    url = server.url.replace("/file.bin", "/moved")
    assert get(url, tmp_path / "file.bin").read_bytes() == CONTENT


def test_archive_called_gzip_encoded_is_not_unpacked_on_the_way(server, tmp_path):
    """Some servers send .tar.gz files with Content-Encoding: gzip; the digest is of the file."""
    server.content = gzip.compress(CONTENT)
    server.headers_sent = {"Content-Encoding": "gzip"}
    digest = hashlib.sha256(server.content).hexdigest()
    path = get(server.url, tmp_path / "file.bin", sha256=digest)
    assert path.read_bytes() == server.content


def test_wrong_content_is_set_aside(server, tmp_path):
    """The message has both digests, and the file can be looked at."""
    server.content = b"an error page"
    found = hashlib.sha256(b"an error page").hexdigest()
    with pytest.raises(DownloadError, match=f"{SHA256}; found sha256 {found}"):
        get(server.url, tmp_path / "file.bin")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.bin.bad"]


def test_wrong_file_that_is_there_is_set_aside_and_replaced(server, tmp_path):
    """A file put there by hand may be the wrong one."""
    (tmp_path / "file.bin").write_bytes(b"other")
    assert get(server.url, tmp_path / "file.bin").read_bytes() == CONTENT
    assert (tmp_path / "file.bin.bad").read_bytes() == b"other"


def test_wrong_size_is_refused_before_it_is_fetched(server, tmp_path):
    """A server that offers another file need not send it."""
    with pytest.raises(DownloadError, match="expected 7 bytes, but it offers 256000"):
        get(server.url, tmp_path / "file.bin", size_bytes=7)
    assert not list(tmp_path.iterdir())


def test_mirror_is_tried_after_a_failure(server, tmp_path):
    """A link that died, and one that was never there."""
    gone = server.url.replace("file.bin", "gone.bin")
    path = get(DEAD, tmp_path / "file.bin", mirrors=(gone, server.url), n_attempts=1)
    assert path.read_bytes() == CONTENT


def test_missing_page_is_not_asked_for_again(server, tmp_path):
    """404 does not get better."""
    gone = server.url.replace("file.bin", "gone.bin")
    with pytest.raises(DownloadError, match="answered 404") as caught:
        get(gone, tmp_path / "file.bin")
    assert not isinstance(caught.value, OfflineError)
    assert len(server.ranges) == 1


def test_without_network_the_message_says_what_to_put_where(tmp_path, monkeypatch):
    """Name, size, address, digest and folder: all that a person needs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(OfflineError) as caught:
        get(DEAD, tmp_path / "file.bin", size_bytes=256_000, mirrors=(DEAD + "2",), n_attempts=2)
    message = str(caught.value)
    for part in ("file.bin (256000 bytes)", DEAD, DEAD + "2", SHA256, str(tmp_path), "refused"):
        assert part in message
    assert isinstance(caught.value, OSError)


def test_full_disk_is_noticed_before(tmp_path):
    """Better than after four gigabytes."""
    with pytest.raises(DownloadError, match="bytes of free disk"):
        get(DEAD, tmp_path / "file.bin", size_bytes=10**18)


def test_disk_that_fills_up_on_the_way_is_told_in_our_words(tmp_path, server):
    """Other programs write too. What has arrived is kept."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(DownloadError, match="100000 of 256000 bytes have arrived and are kept"):
            get(server.url, tmp_path / "file.bin", size_bytes=len(CONTENT))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert get(server.url, tmp_path / "file.bin", size_bytes=len(CONTENT)).exists()
    assert server.ranges[-1] == "bytes=100000-"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/file", "data/file.bin"])
def test_only_http_is_fetched(tmp_path, url):
    """Other schemes reach into this machine."""
    with pytest.raises(ValueError, match="expected an http or https address"):
        get(url, tmp_path / "file.bin")


def test_digest_must_be_one(tmp_path):
    """An md5 in its place would never match."""
    with pytest.raises(ValueError, match="sha256 of 64 digits, found 'abc'"):
        get(DEAD, tmp_path / "file.bin", sha256="abc")


def test_registry_is_well_formed():
    """Both public sets, each file with size and digest."""
    opened = {name: FORMATS.open(name) for name in FORMATS.modules}
    fetched = [module for module in opened.values() if module.Settings.fetchable]
    assert fetched == [opened["mvtec_ad"], opened["oxford_iiit_pet"]]
    files = [file for module in fetched for file in module.ARCHIVES]
    assert sum(file.size_bytes for file in files) == 5_264_982_680 + 791_918_971 + 19_173_078
    assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in files)
    assert all(file.url.startswith("https://") for file in files)


def tar_of(path, members, mode="w:gz"):
    """Write a tar; a member is name: content, or name: a function that changes its TarInfo."""
    with tarfile.open(path, mode) as tar:
        for name, value in members.items():
            info = tarfile.TarInfo(name)
            if callable(value):
                value(info)
                tar.addfile(info)
            else:
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
    return path


def zip_of(path, members):
    with zipfile.ZipFile(path, "w") as container:
        for name, value in members.items():
            container.writestr(name, value)
    return path


def files_below(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


FILES = {"images/a.txt": b"A", "images/deep/b.txt": b"B", "readme": b"R"}


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_is_unpacked(tmp_path, mode):
    """The name says nothing about the kind."""
    archive = tar_of(tmp_path / "archive.bin", FILES, mode)
    assert files_below(unpack(archive, tmp_path / "deep" / "out")) == FILES
    assert sorted(entry.name for entry in (tmp_path / "deep").iterdir()) == ["out"]


def test_zip_is_unpacked(tmp_path):
    """Empty folders come too."""
    archive = zip_of(tmp_path / "archive.bin", FILES | {"empty/": b""})
    assert files_below(unpack(archive, tmp_path / "out")) == FILES
    assert (tmp_path / "out" / "empty").is_dir()


def test_tar_that_holds_a_zip_is_a_tar(tmp_path):
    """A zip is found from its end, and this file ends with one."""
    inner = zip_of(tmp_path / "inner.zip", {"x": b"x"}).read_bytes()
    archive = tar_of(tmp_path / "a.tar", {"inner.zip": inner}, "w")
    assert files_below(unpack(archive, tmp_path / "out")) == {"inner.zip": inner}


def test_two_archives_share_a_folder(tmp_path):
    """The pets come as images/ and annotations/; unpacking again replaces."""
    out = tmp_path / "pets"
    unpack(tar_of(tmp_path / "1.tar.gz", {"images/a": b"A", "images/old": b"O"}), out)
    unpack(tar_of(tmp_path / "2.tar.gz", {"annotations/list": b"L"}), out)
    unpack(tar_of(tmp_path / "3.tar.gz", {"images/a": b"B"}), out)
    assert files_below(out) == {"images/a": b"B", "annotations/list": b"L"}


def linked(kind, target):
    def change(info):
        info.type, info.linkname = kind, target

    return change


def special(kind):
    def change(info):
        info.type = kind

    return change


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("/etc/evil", b"x", "'/etc/evil' is an absolute path"),
        ("../evil", b"x", "'../evil' is a path that leaves the folder"),
        ("a/../../evil", b"x", "a path that leaves the folder"),
        ("link", linked(tarfile.SYMTYPE, "../../evil"), "'link' is a link to ../../evil"),
        ("hard", linked(tarfile.LNKTYPE, "/etc/passwd"), "'hard' is a link to /etc/passwd"),
        ("tty", special(tarfile.CHRTYPE), "'tty' is a device"),
        ("pipe", special(tarfile.FIFOTYPE), "'pipe' is a device or another special file"),
    ],
)
def test_tar_that_reaches_out_is_refused_whole(tmp_path, name, value, message):
    """Nothing of it stays, not even its harmless members."""
    archive = tar_of(tmp_path / "bad.tar.gz", {"good": b"G", name: value})
    with pytest.raises(ArchiveError, match=re.escape(message)):
        unpack(archive, tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_link_out_and_file_through_it_are_refused(tmp_path):
    """The second member has an innocent name, and would land outside."""
    members = {"d": linked(tarfile.SYMTYPE, str(tmp_path)), "d/evil": b"x"}
    with pytest.raises(ArchiveError, match="a link to"):
        unpack(tar_of(tmp_path / "bad.tar", members, "w"), tmp_path / "out")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("/etc/evil", "an absolute path"),
        ("C:\\evil", "an absolute path"),
        ("../evil", "a path that leaves the folder"),
        ("a\\..\\..\\evil", "a path that leaves the folder"),
    ],
)
def test_zip_that_reaches_out_is_refused_whole(tmp_path, name, message):
    """zipfile would bend such names; we would rather not have the archive."""
    archive = zip_of(tmp_path / "bad.zip", {"good": b"G", name: b"x"})
    with pytest.raises(ArchiveError, match=message):
        unpack(archive, tmp_path / "out")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.zip"]


@pytest.mark.parametrize(
    ("kind", "message"), [(stat.S_IFLNK, "a link"), (stat.S_IFIFO, "a device or another")]
)
def test_special_zip_members_are_refused(tmp_path, kind, message):
    """A zip marks them in the upper half of its attributes."""
    info = zipfile.ZipInfo("odd")
    info.external_attr = (kind | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as container:
        container.writestr(info, "/etc/passwd")
    with pytest.raises(ArchiveError, match=f"'odd' is {message}"):
        unpack(tmp_path / "bad.zip", tmp_path / "out")


def test_bomb_is_refused(tmp_path):
    """A megabyte of zeros is a kilobyte when packed."""
    for archive in (
        tar_of(tmp_path / "bomb.tar.gz", {"zeros": bytes(1_000_000)}),
        zip_of(tmp_path / "bomb.zip", {"zeros": bytes(1_000_000)}),
    ):
        with pytest.raises(ArchiveError, match="at most 999999 bytes when unpacked"):
            unpack(archive, tmp_path / "out", max_bytes=999_999)
        assert not (tmp_path / "out").exists()
        unpack(archive, tmp_path / "out", max_bytes=1_000_000)
        (tmp_path / "out" / "zeros").unlink()
        (tmp_path / "out").rmdir()


def test_archive_of_too_many_files_is_refused(tmp_path, monkeypatch):
    """Empty files weigh nothing and still fill a disk's index."""
    monkeypatch.setattr(download, "MAX_MEMBERS", 2)
    with pytest.raises(ArchiveError, match="at most 2 members"):
        unpack(tar_of(tmp_path / "many.tar", {str(i): b"" for i in range(3)}), tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_archive_that_is_cut_short_is_refused(tmp_path, mode, share):
    """No half data set takes the place of a whole one."""
    noise = hashlib.shake_256(b"noise").digest(60_000)
    archive = tar_of(tmp_path / "cut", {"a": noise[:30_000], "b": noise[30_000:]}, mode)
    archive.write_bytes(archive.read_bytes()[: int(archive.stat().st_size * share)])
    with pytest.raises(ArchiveError, match="damaged or of another kind"):
        unpack(archive, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == ["cut"]


def test_tar_that_is_cut_between_members_is_refused(tmp_path):
    """tarfile alone takes this for the end of the archive."""
    archive = tar_of(tmp_path / "cut", {"a": b"A", "b": b"B"}, "w")
    archive.write_bytes(archive.read_bytes()[:1024])
    with pytest.raises(ArchiveError, match="the end is missing"):
        unpack(archive, tmp_path / "out")


def test_damaged_and_foreign_files_are_refused(tmp_path):
    """An error page under the archive's name, an empty file, a zip with a wrong checksum."""
    (tmp_path / "page").write_bytes(b"<html>not found</html>" * 100)
    (tmp_path / "empty").write_bytes(b"")
    data = bytearray(zip_of(tmp_path / "zip", {"a": b"content"}).read_bytes())
    data[data.index(b"content")] ^= 1
    (tmp_path / "zip").write_bytes(data)
    for name in ("page", "empty", "zip"):
        with pytest.raises(ArchiveError, match="fetch it again"):
            unpack(tmp_path / name, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="expected an archive, found nothing"):
        unpack(tmp_path / "nothing", tmp_path / "out")


def test_rests_of_a_killed_run_do_not_matter(tmp_path):
    """The folder in which a killed run unpacked is cleared first."""
    rest = tmp_path / ".out.unpacking-a.tar.gz"
    rest.mkdir()
    (rest / "half").write_bytes(b"H")
    unpack(tar_of(tmp_path / "a.tar.gz", FILES), tmp_path / "out")
    assert files_below(tmp_path / "out") == FILES
    assert not rest.exists()


def test_data_set_is_fetched_and_unpacked(server, tmp_path):
    """Archives that are there already are used, the others fetched."""
    (tmp_path / "archives").mkdir()
    there = tar_of(tmp_path / "archives" / "there.tar.gz", {"annotations/l": b"L"}).read_bytes()
    server.content = tar_of(tmp_path / "away.tar.gz", {"images/a": b"A"}).read_bytes()
    files = (
        remote(server.url, sha256=hashlib.sha256(server.content).hexdigest()),
        remote(DEAD, name="there.tar.gz", sha256=hashlib.sha256(there).hexdigest()),
    )
    fetch_archives(files, tmp_path / "two", archives=tmp_path / "archives", progress=False)
    assert files_below(tmp_path / "two") == {"images/a": b"A", "annotations/l": b"L"}


def test_all_missing_archives_are_named_at_once(server, tmp_path):
    """One trip to another machine fetches both."""
    gone = server.url.replace("file.bin", "gone")
    files = [remote(gone, name=name) for name in ("one.tar", "two.tar")]
    with pytest.raises(DownloadError, match=r"(?s)one\.tar.*two\.tar"):
        fetch_archives(files, tmp_path / "two", archives=tmp_path / "archives", progress=False)
    assert not (tmp_path / "two").exists()
