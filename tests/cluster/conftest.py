"""A SLURM of one node with two GPUs that are none, started for a test and stopped after it."""

import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from filelock import FileLock

_shared = importlib.util.spec_from_file_location(
    "workflow_runs", Path(__file__).parents[1] / "workflow" / "conftest.py"
)
workflow_runs = importlib.util.module_from_spec(_shared)
_shared.loader.exec_module(workflow_runs)
shared_base, code = workflow_runs.shared_base, workflow_runs.code
made_once, finished_run, run = (
    workflow_runs.made_once,
    workflow_runs.finished_run,
    workflow_runs.run,
)

N_GPUS = 2
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
#: The one place outside its folder: a job's inner srun finds the cluster through it.
CONFIGURATION = Path("/etc/slurm/slurm.conf")


def reason_to_skip():
    """Why no SLURM can be started here, or nothing."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"SLURM is not installed here ({', '.join(absent)}: Debian's slurm-wlm and munge)"
    if importlib.util.find_spec("snakemake_executor_plugin_slurm") is None:
        return "Snakemake's plugin for SLURM is not installed here (pip install '.[slurm]')"
    if os.geteuid() != 0:
        return "the daemons of SLURM are started by root only"
    if CONFIGURATION.exists():
        return f"this machine has a SLURM of its own ({CONFIGURATION})"
    return None


def pytest_collection_modifyitems(items):
    """Mark every test of this folder."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.cluster)


class Slurm:
    """Controller and node daemon of a cluster, and what they say of its jobs.

    Args:
        home: Folder of everything they write.
    """

    def __init__(self, home):
        self.home = home
        self._daemons = []

    def start(self):
        """Start the daemons and wait until the node takes jobs."""
        for name in ("munge", "state", "spool", "devices"):
            (self.home / name).mkdir(mode=0o755)
        key = self.home / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        for number in range(N_GPUS):
            # The node daemon wants character devices; which ones does not matter to it.
            (self.home / "devices" / f"gpu{number}").symlink_to(os.devnull)
        self._configure()
        munge = {"key-file": key, "socket": self.socket, "pid-file": self.home / "munge" / "pid"}
        munge |= {"log-file": self.home / "munged.log", "seed-file": self.home / "munge" / "seed"}
        self._daemon("munged", "--foreground", *(f"--{k}={v}" for k, v in munge.items()))
        self._wait(self.socket.exists, "munged")
        self._daemon("slurmctld", "-D", "-c")
        self._wait(lambda: "UP" in self.ask("scontrol", "ping"), "slurmctld")
        self._daemon("slurmd", "-D", "-N", self.node)
        self._wait(lambda: self.ask("sinfo", "-h", "-o", "%T").strip() == "idle", "slurmd")

    def _configure(self):
        ports = _free_ports(2)
        self.node = socket.gethostname().partition(".")[0]
        self.socket = self.home / "munge" / "socket"
        lines = {
            "ClusterName": "trial",
            "SlurmctldHost": f"{self.node}(127.0.0.1)",
            "SlurmctldPort": ports[0],
            "SlurmdPort": ports[1],
            "SlurmUser": "root",
            "SlurmdUser": "root",
            "AuthType": "auth/munge",
            "AuthInfo": f"socket={self.socket}",
            "CredType": "cred/munge",
            "SlurmctldPidFile": self.home / "slurmctld.pid",
            "SlurmdPidFile": self.home / "slurmd.pid",
            "SlurmctldLogFile": self.home / "slurmctld.log",
            "SlurmdLogFile": self.home / "slurmd.log",
            "StateSaveLocation": self.home / "state",
            "SlurmdSpoolDir": self.home / "spool",
            "SwitchType": "switch/none",
            "MpiDefault": "none",
            "ProctrackType": "proctrack/linuxproc",
            "TaskPlugin": "task/none",
            "AccountingStorageType": "accounting_storage/none",
            "JobAcctGatherType": "jobacct_gather/none",
            "SchedulerParameters": "batch_sched_delay=0,sched_interval=1,bf_interval=1",
            "SelectType": "select/cons_tres",
            "SelectTypeParameters": "CR_Core_Memory",
            "GresTypes": "gpu",
            "CommunicationParameters": "NoInAddrAny,NoCtldInAddrAny",
            # More processors and memory than there are, so that both GPUs are always in use.
            "SlurmdParameters": "config_overrides",
            "ReturnToService": 2,
            "MinJobAge": 300,
            "KillWait": 2,
        }
        text = "".join(f"{name}={value}\n" for name, value in lines.items())
        text += (
            f"NodeName={self.node} NodeAddr=127.0.0.1 CPUs=8 RealMemory=64000 "
            f"Gres=gpu:{N_GPUS} State=UNKNOWN\n"
            f"PartitionName=normal Nodes={self.node} Default=YES MaxTime=2:00:00 State=UP\n"
        )
        (self.home / "slurm.conf").write_text(text)
        devices = self.home / "devices" / f"gpu[0-{N_GPUS - 1}]"
        (self.home / "gres.conf").write_text(f"NodeName={self.node} Name=gpu File={devices}\n")
        CONFIGURATION.parent.mkdir(parents=True, exist_ok=True)
        CONFIGURATION.symlink_to(self.home / "slurm.conf")

    def _daemon(self, *command):
        with (self.home / f"{command[0]}.out").open("w") as said:
            environment = {**os.environ, "SLURM_CONF": str(self.home / "slurm.conf")}
            daemon = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        self._daemons.append(daemon)

    def _wait(self, is_up, name):
        patience = time.monotonic() + 20
        while not is_up():
            if time.monotonic() > patience or self._daemons[-1].poll() is not None:
                logs = [*self.home.glob(f"{name}.*")]
                said = "\n".join(p.read_text(errors="replace")[-2000:] for p in logs if p.is_file())
                pytest.fail(f"{name} did not come up:\n{said}", pytrace=False)
            time.sleep(0.1)

    def stop(self):
        """Cancel what runs and end the daemons, the last one started first."""
        if len(self._daemons) > 1:
            self.ask("scancel", "--user", "root")
            patience = time.monotonic() + 20
            while self.ask("squeue", "-h").strip() and time.monotonic() < patience:
                time.sleep(0.2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        if CONFIGURATION.is_symlink() and CONFIGURATION.readlink().parent == self.home:
            CONFIGURATION.unlink()

    def ask(self, *command):
        """Standard output of one of SLURM's programs."""
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        return done.stdout

    def jobs(self):
        """What scontrol knows of every job: its fields by name, `rule` and `gpu` among them."""
        found = []
        for line in self.ask("scontrol", "show", "job", "--details", "--oneliner").splitlines():
            fields = dict(re.findall(r"([^\s=]+)=(\S*)", line))
            if "JobId" not in fields:
                continue  # it says that there is none
            comment = re.search(r"rule_(\w+?)(?:_wildcards|$)", fields.get("Comment", ""))
            number = re.search(r"GRES=gpu:1\(IDX:(\d+)\)", line)
            fields["rule"] = comment[1] if comment else ""
            fields["gpu"] = int(number[1]) if number else None
            found.append(fields)
        return found


def _free_ports(n):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(n)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


@pytest.fixture
def slurm():
    """A running SLURM, the only one of this machine."""
    with FileLock(Path(tempfile.gettempdir()) / "realitycheck-trial-slurm.lock"):
        reason = reason_to_skip()
        if reason:
            pytest.skip(reason)
        # Not below pytest's folder: munge wants a path that every user may enter.
        home = Path(tempfile.mkdtemp(prefix="realitycheck-slurm-"))
        home.chmod(0o755)
        cluster = Slurm(home)
        try:
            cluster.start()
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(home, ignore_errors=True)
