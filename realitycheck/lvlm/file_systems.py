"""Whether a file lies on a disk of this machine."""

from __future__ import annotations

from pathlib import Path

# File systems on which several processes of one machine may share memory with a file, as SQLite's
# write-ahead log needs. On others, above all network file systems, the rollback journal is used.
_LOCAL_FILE_SYSTEMS = frozenset(
    {
        *("apfs", "bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "hfs", "jfs", "ntfs"),
        *("overlay", "ramfs", "reiserfs", "tmpfs", "xfs", "zfs"),
    }
)


def is_local(path: str | Path) -> bool:
    """Whether a file lies on a disk of this machine, as far as its mount table says.

    Where nothing is known, the answer is no, which costs a few milliseconds a write.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return file_system_of(path, mounts=mounts) in _LOCAL_FILE_SYSTEMS


def file_system_of(path: str | Path, *, mounts: str) -> str:
    """Kind of the file system a path lies on.

    Args:
        path: A file or folder; need not exist.
        mounts: A mount table in the form of `/proc/self/mounts`.
    """
    place = Path(path).resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        folder = Path(fields[1].replace("\\040", " "))
        # Of several mounts on one folder the last is the one that is seen.
        if place.is_relative_to(folder) and len(folder.parts) >= best:
            best, kind = len(folder.parts), fields[2]
    return kind
