"""Set up the virtual environment: by uv where it is to be had, else by pip; called by the Makefile.

Needs nothing but Python. Both installers show their progress, take the versions of constraints.txt
and the package indexes that pip is configured with. A second call installs nothing.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

LEAST_PYTHON = (3, 11)
#: What the environment takes on a disk under Linux, in GB, the share of libraries for GPUs in it,
#: and what is fetched. Test tools come to 0.3 GB more.
SIZE_GB, CUDA_GB, DOWNLOAD_GB = 6.6, 4.3, 3.4
INPUTS = ("pyproject.toml", "constraints.txt")
#: Says what is installed; there only after a set-up that came to its end.
NOTE = "realitycheck-set-up.json"

#: uv's variable for a setting of pip, and what stands between several values there.
TRANSLATED = {
    "index-url": ("UV_DEFAULT_INDEX", " "),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "constraint": ("UV_CONSTRAINT", " "),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "cert": ("SSL_CERT_FILE", " "),
    "proxy": ("ALL_PROXY", " "),
    "timeout": ("UV_HTTP_TIMEOUT", " "),
    "default-timeout": ("UV_HTTP_TIMEOUT", " "),
    "no-index": ("UV_NO_INDEX", " "),
}
#: Settings of pip that change nothing of what is installed, or from where.
HARMLESS = {
    *("break-system-packages", "cache-dir", "disable-pip-version-check", "exists-action"),
    *("log", "no-cache-dir", "no-color", "no-input", "no-warn-script-location", "prefer-binary"),
    *("progress-bar", "quiet", "require-virtualenv", "retries", "root-user-action", "use-feature"),
    *("user", "verbose"),
}


def pip_settings(listed: str) -> dict[str, str]:
    """Read what `pip config list` prints: the settings that hold for `pip install`.

    Args:
        listed: Lines such as `global.index-url='…'`; a variable (`:env:`) counts more than the
            section `install`, and that more than `global`.
    """
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):
        for line in listed.splitlines():
            key, is_setting, value = line.partition("=")
            if is_setting and key.startswith(f"{section}."):
                found[key[len(section) + 1 :]] = str(ast.literal_eval(value))
    return found


def uv_variables(settings: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """Say pip's settings in uv's variables.

    Returns:
        The variables, and the settings that uv has no counterpart for.
    """
    # pip takes the newest version of all indexes together, uv by default that of the first one.
    variables = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for key, value in settings.items():
        if key in TRANSLATED:
            name, between = TRANSLATED[key]
            variables[name] = between.join(value.split())
    return variables, sorted(set(settings) - set(TRANSLATED) - HARMLESS)


def digest(folder: Path) -> str:
    """Digest of the files that say what is installed."""
    content = b"\0".join((folder / name).read_bytes() for name in INPUTS)
    return hashlib.sha256(content).hexdigest()


def is_set_up(venv: Path, wanted: dict[str, object]) -> bool:
    """Whether the environment holds what is wanted: the same versions, and the extras at least."""
    try:
        found = json.loads((venv / NOTE).read_text(encoding="utf-8"))
        return found["digest"] == wanted["digest"] and set(wanted["extras"]) <= set(found["extras"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def remove_halves(venv: Path) -> list[str]:
    """Forget packages whose installation was broken off, so that they are installed again.

    Both installers write a package's files first and who installed it (INSTALLER) last, but take a
    package for installed as soon as it has metadata.

    Returns:
        Name and version of each.
    """
    halves = [
        found
        for found in venv.glob("lib*/python*/site-packages/*.dist-info")
        if not found.is_symlink() and not (found / "INSTALLER").is_file()
    ]
    for half in halves:
        shutil.rmtree(half)
    return sorted({half.stem for half in halves})


def announcement(venv: Path, *, tests: bool, free_gb: float) -> str:
    """Say what will come, how large it is, and whether there is room."""
    what = "what the workflow needs" + (" and what the tests need" if tests else "")
    size = f"about {DOWNLOAD_GB} GB to fetch, {SIZE_GB} GB on the disk"
    share = f"{CUDA_GB} GB of it libraries for GPUs, which macOS does without"
    said = f"Setting up {venv}: {what}; {size} ({share}); {free_gb:.0f} GB are free."
    if free_gb < SIZE_GB:
        said += (
            "\nThat may be too little. Make room, or name a folder on another disk: make "
            "VENV=/path. A machine without a GPU needs a quarter of it (docs/installation.md)."
        )
    return said


def installer(venv: Path) -> tuple[list[str], dict[str, str], str]:
    """Choose what installs: uv from the PATH, else uv from the package index, else pip.

    Returns:
        The command's beginning, variables for it, and a name with the reason.
    """
    python = str(venv / "bin" / "python")
    pip = [python, "-m", "pip"]
    listed = subprocess.run([*pip, "config", "list"], capture_output=True, text=True, check=False)
    variables, missing = uv_variables(pip_settings(listed.stdout))
    by_pip = [*pip, "install"]
    if missing:
        return by_pip, {}, f"pip, for uv knows nothing like its setting {', '.join(missing)}"
    uv, name = shutil.which("uv"), "uv"
    if uv is None:
        uv, name = str(venv / "bin" / "uv"), "uv, fetched first"
        if not os.access(uv, os.X_OK):
            print("Fetching uv, which installs faster than pip ...", flush=True)
            fetched = subprocess.run(
                [*by_pip, "--quiet", "--disable-pip-version-check", "uv"], check=False
            )
            if fetched.returncode:
                return by_pip, {}, "pip, for uv is not to be had"
    # Where Python may write none later, each of a run's many jobs would compile its packages again.
    compiles = ["--compile-bytecode"] if os.environ.get("PYTHONDONTWRITEBYTECODE") else []
    return [uv, "pip", "install", "--python", python, *compiles], variables, name


def set_up(venv: Path, *, tests: bool) -> int:
    """Install what is wanted, unless it is there.

    Returns:
        0, or the exit status of the step that failed.
    """
    folder = Path(__file__).resolve().parent.parent
    extras = ["test"] if tests else []
    wanted = {"digest": digest(folder), "extras": extras}
    if is_set_up(venv, wanted):
        return 0
    place = venv if venv.is_dir() else venv.absolute().parent
    free_gb = shutil.disk_usage(place).free / 1e9 if place.is_dir() else 0.0
    print(announcement(venv, tests=tests, free_gb=free_gb), flush=True)
    if not (venv / "bin" / "python").exists():
        made = subprocess.run([sys.executable, "-m", "venv", str(venv)], check=False)
        if made.returncode:
            return made.returncode
    (venv / NOTE).unlink(missing_ok=True)
    if halves := remove_halves(venv):
        print(f"Not finished by the set-up before, installed again: {', '.join(halves)}")
    begin, variables, name = installer(venv)
    print(f"Installed by {name}.", flush=True)
    project = f"{folder}[{','.join(extras)}]" if extras else str(folder)
    installed = subprocess.run(
        [*begin, "--constraint", str(folder / "constraints.txt"), "--editable", project],
        env={**variables, **os.environ},
        check=False,
    )
    if installed.returncode == 0:
        (venv / NOTE).write_text(json.dumps(wanted), encoding="utf-8")
    return installed.returncode


def main() -> int:
    """Set up, and say what to do where that does not come to its end."""
    if sys.version_info < LEAST_PYTHON:
        least = ".".join(map(str, LEAST_PYTHON))
        print(
            f"RealityCheck needs Python {least} or later, and this is "
            f"{sys.version_info[0]}.{sys.version_info[1]}; name one with make PYTHON=python3.12",
            file=sys.stderr,
        )
        return 1
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("venv", type=Path, help="folder of the environment")
    parser.add_argument("--tests", action="store_true", help="also what only tests need")
    given = parser.parse_args()
    why = "was interrupted"
    try:
        status = set_up(given.venv, tests=given.tests)
        why = "failed, as said above"
    except KeyboardInterrupt:
        status = 130
    if status:
        place = given.venv if given.venv.is_dir() else Path.cwd()
        free_gb = shutil.disk_usage(place).free / 1e9
        print(
            f"The set-up {why} ({free_gb:.1f} GB are free at {place.absolute()}, about {SIZE_GB} "
            "GB are needed). The same command goes on from here: what is installed is kept.",
            file=sys.stderr,
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
