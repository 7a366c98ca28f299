"""Tell files from pipes, sockets and devices, which keep a reader waiting or never end."""

import stat


def special_kind(mode: int) -> str | None:
    """Name what is neither a file nor a folder; None for these.

    Args:
        mode: `st_mode` of its status.
    """
    kinds = (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), None)
