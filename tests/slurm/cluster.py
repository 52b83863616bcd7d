"""A real Slurm of one node, this machine, for as long as a test needs it.

    with cluster() as environment:
        subprocess.run(["sbatch", ...], env={**os.environ, **environment})

By hand, `python tests/slurm/cluster.py [DIR]` prints the line to paste into another shell, and runs until Ctrl-D.

It needs Linux, root, and slurmctld, slurmd and munged (Debian: `slurm-wlm` and `munge`), but no systemd, no cgroups, no
database. All state is in one temporary folder (DIR, if given, is kept), ports are free ones of the loopback address,
and nothing outside it is contacted. As on many a real cluster there is no accounting: `sacct` knows nothing.

The daemons belong to a process of their own, which stops them when its standard input ends: so they also go when the
test run is killed. It adopts whatever its descendants orphan, jobs included, and leaves only when none is left.

How long things take here: a job starts at once. One that `scancel` kills is COMPLETING for 7 seconds if it ignores
SIGTERM, as submitit's jobs do (Slurm allows 5 at least). A requeued one waits 6.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
START_SECONDS = 30
SINFO = ["sinfo", "--noheader", "--format=%T"]

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

# Not to wait for: cred_expire before a requeued job starts (default 120 s), KillWait before a stubborn one is killed
# (30 s), and the scheduler's rounds (3 s after a submission, 60 s otherwise).
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=1
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory}
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """Why there can be no cluster here, or nothing."""
    absent = [name for name in DAEMONS if not program(name)]
    if absent:
        return f"no {', '.join(absent)} here (Debian: apt install slurm-wlm munge)"
    return "" if os.geteuid() == 0 else "Slurm's daemons must be started by root"


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """A running cluster: the environment variables its clients need."""
    command = [sys.executable, __file__]
    # Out of the terminal's process group: Ctrl-C is for pytest, which then ends this in order.
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as keeper:  # leaving closes its standard input, and waits until all has stopped
        name, _, value = keeper.stdout.readline().removeprefix("export ").strip().partition("=")
        if not value:
            raise RuntimeError("Slurm did not start; its logs are above")
        yield {name: value}


def program(name: str) -> str | None:
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def configure(folder: Path) -> None:
    """Write the key and the configuration; forget what a cluster before left in this folder."""
    for name in ("state", "spool"):
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).mkdir()
    (folder / "munge.socket").unlink(missing_ok=True)
    key = folder / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    controller, node = free_ports(2)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    host = socket.gethostname().split(".")[0]
    text = CONFIGURATION.format(
        folder=folder, host=host, controller=controller, node=node, cpus=os.cpu_count(), memory=memory
    )
    (folder / "slurm.conf").write_text(text)
    # slurmd looks for cgroups even where none is used, and fails where they are not to its taste. "disabled" is new in
    # 24.05; before, the plugin for v1 leaves them alone.
    version = subprocess.run([program("slurmd"), "-V"], capture_output=True, text=True, check=True).stdout.split()[-1]
    modern = tuple(map(int, version.split(".")[:2])) >= (24, 5)
    (folder / "cgroup.conf").write_text(f"CgroupPlugin={'disabled' if modern else 'cgroup/v1'}\n")


def die_with_the_keeper() -> None:
    """For a daemon about to start: if the process that would stop it is itself killed, follow it."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def start(folder: Path, running: dict[str, subprocess.Popen]) -> None:
    """Start the three daemons, each entered in `running`, and wait for the node."""
    configure(folder)
    os.environ["SLURM_CONF"] = f"{folder}/slurm.conf"
    munge = ["--foreground", "--force", f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket"]
    munge += [f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed"]
    launch("munged", munge, folder, running)
    wait_for((folder / "munge.socket").exists, running)
    launch("slurmctld", ["-D"], folder, running)
    launch("slurmd", ["-D"], folder, running)
    wait_for(lambda: subprocess.run(SINFO, capture_output=True, text=True).stdout.strip() == "idle", running)


def launch(name: str, arguments: list[str], folder: Path, running: dict[str, subprocess.Popen]) -> None:
    with (folder / f"{name}.err").open("w") as log:
        running[name] = subprocess.Popen(
            [program(name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=die_with_the_keeper,
        )


def wait_for(ready: Callable[[], bool], running: dict[str, subprocess.Popen]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        dead = [name for name, process in running.items() if process.poll() is not None]
        if dead or time.monotonic() > deadline:
            raise RuntimeError(f"Slurm did not start: {' and '.join(dead) or 'its node'} did not come up")
        time.sleep(0.05)


def descendants() -> list[int]:
    """All processes below this one."""
    parent = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [os.getpid()]
    for one in found:
        found += [process for process, above in parent.items() if above == one]
    return found[1:]


def stop(running: dict[str, subprocess.Popen]) -> None:
    """Ask the daemons to end, then kill whatever is left, jobs included, and wait for the last."""
    for process in reversed(running.values()):
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(2)  # slurmd would wait longer for its jobs
    while left := descendants():
        for process in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        os.waitpid(-1, 0)


def keep(folder: Path) -> None:
    """Run a cluster until standard input ends or somebody asks to stop."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    running: dict[str, subprocess.Popen] = {}
    try:
        start(folder, running)
        print(f"export SLURM_CONF={folder}/slurm.conf", flush=True)
        sys.stdin.read()
    except RuntimeError as error:
        for log in sorted(folder.glob("*.err")):
            print(f"--- {log.stem}", *log.read_text().splitlines()[-20:], sep="\n", file=sys.stderr)
        sys.exit(str(error))
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        stop(running)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        keep(Path(sys.argv[1]).resolve())
    else:
        with tempfile.TemporaryDirectory(prefix="slurm-") as temporary:
            keep(Path(temporary))
