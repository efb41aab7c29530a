"""A real Slurm of several nodes on this machine, on loopback: for tests, and to try profiles/slurm without a cluster.

    python tests/slurm.py start FOLDER       # prints `export ...` lines: eval "$(...)"
    python tests/slurm.py stop FOLDER

Nodes n1, n2, ... are one `slurmd` each, with a name, a port and a hostname of its own; they share this machine's file
system, as the nodes of a cluster share theirs. n2 pretends to have two GPUs. Needs root and Debian's munge, slurmctld,
slurmd and slurm-client; no systemd, no cgroups, no database. All files lie in FOLDER; nothing listens off loopback.
"""

import argparse
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = {"munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd", "sbatch": "slurm-client"}
GPU_NODE, GPUS = 2, 2

CONF = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdSpoolDir={folder}/spool/%n
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/log/%n.log
# no cgroups, no binding to cores, no mail: memory and cores are counted, not enforced
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SwitchType=switch/none
MailProg=/bin/true
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory,CR_LLN
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,batch_sched_delay=0,defer_batch
KillWait=5
# what no node can ever run is refused by sbatch, not left pending
EnforcePartLimits=ALL
# no database: squeue and scontrol remember finished jobs for so many seconds
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs.txt
MinJobAge=3600
GresTypes=gpu
"""


class Slurm:
    """A cluster in a folder; a context manager that starts and stops it.

    `environment` holds what programs need to find it. Raises RuntimeError when the nodes do not become ready.
    """

    def __init__(self, folder: Path, nodes: int = 2, cpus: int = 4, memory_mb: int = 16000):
        self.folder, self.nodes, self.cpus, self.memory_mb = folder.resolve(), nodes, cpus, memory_mb
        self.environment = {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def __enter__(self) -> "Slurm":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts the daemons, unless they run."""
        if self._answers():
            return
        for name in ("state", "spool", "log", "bin"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self._configure()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        paths = {"socket": "munge.socket", "key-file": key.name, "pid-file": "munged.pid", "seed-file": "munge.seed"}
        options = [f"--{option}={self.folder / name}" for option, name in paths.items()]
        self._daemon("munged", "--force", *options, f"--log-file={self.folder}/log/munged.log", "--num-threads=2")
        self._daemon("slurmctld", "-c")
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {socket.gethostname()} {' '.join(self.names)}\n")
        for node in self.names:  # a hostname of its own, as on a cluster
            named = f"hostname {node} && mount --bind {shlex.quote(str(hosts))} /etc/hosts && exec slurmd -N {node}"
            self._daemon("unshare", "--uts", "--mount", "sh", "-c", named)
        deadline = time.monotonic() + 30
        while not self._ready():
            if time.monotonic() > deadline:
                logs = "\n".join(path.read_text()[-800:] for path in (self.folder / "log").iterdir())
                self.stop()
                raise RuntimeError(f"Slurm's nodes were not ready in 30 s:\n{logs}")
            time.sleep(0.2)

    def stop(self) -> None:
        for name in (*self.names, "slurmctld", "munged"):
            try:
                pid = int((self.folder / f"{name}.pid").read_text())
                os.kill(pid, signal.SIGTERM)
                for _ in range(50):
                    os.kill(pid, 0)
                    time.sleep(0.1)
                os.kill(pid, signal.SIGKILL)
            except (OSError, ValueError):
                continue

    @property
    def names(self) -> list[str]:
        return [f"n{number}" for number in range(1, self.nodes + 1)]

    def run(self, *command: str) -> str:
        """Standard output of one of Slurm's programs; raises CalledProcessError when it fails."""
        environment = os.environ | self.environment
        return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

    def jobs(self) -> list[dict[str, str]]:
        """All jobs since the start, in order: what `scontrol show job` says of each."""
        lines = self.run("scontrol", "-o", "show", "job").splitlines()
        found = [dict(word.partition("=")[::2] for word in line.split() if "=" in word) for line in lines]
        return sorted((job for job in found if "JobId" in job), key=lambda job: int(job["JobId"]))

    def _ready(self) -> bool:
        return (
            self._answers() and self.run("sinfo", "-h", "-N", "-p", "cpu", "-o", "%T").split() == ["idle"] * self.nodes
        )

    def _answers(self) -> bool:
        environment = os.environ | self.environment
        return subprocess.run(["scontrol", "ping"], env=environment, capture_output=True).returncode == 0

    def _configure(self) -> None:
        ports = iter(_free_ports(self.nodes + 1))
        lines = [CONF.format(folder=self.folder, host=socket.gethostname(), port=next(ports))]
        gres = []
        for number, name in enumerate(self.names, start=1):
            has = f" Gres=gpu:{GPUS}" if number == GPU_NODE else ""
            lines.append(
                f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={next(ports)} CPUs={self.cpus} "
                f"RealMemory={self.memory_mb}{has} State=UNKNOWN"
            )
        for gpu in range(GPUS):  # slurmd wants a device: /dev/null under another name
            device = self.folder / f"gpu{gpu}"
            if not device.exists():
                os.mknod(device, 0o20666, os.makedev(1, 3))
            gres.append(f"NodeName=n{GPU_NODE} Name=gpu File={device}")
        for name, members in {"cpu": ",".join(self.names), "gpu": f"n{GPU_NODE}"}.items():
            default = "YES" if name == "cpu" else "NO"
            lines.append(f"PartitionName={name} Nodes={members} Default={default} MaxTime=1-0 State=UP")
        (self.folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        (self.folder / "gres.conf").write_text("\n".join(gres) + "\n")
        # The executor plugin takes SLURM_CONF out of the environment of its inner srun; a cluster has it in /etc.
        wrapper = self.folder / "bin/srun"
        program = Path(str(shutil.which("sinfo"))).parent / "srun"
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {program} "$@"\n')
        wrapper.chmod(0o755)

    def _daemon(self, *command: str) -> None:
        with open(self.folder / "log/daemons.txt", "a") as log:
            environment = os.environ | self.environment
            subprocess.run(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=True)


def missing() -> str:
    """Why no Slurm can be started here; empty where one can."""
    packages = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if packages:
        return f"Slurm is not installed: apt-get install {' '.join(packages)}"
    return "" if os.geteuid() == 0 else "Slurm's daemons need root"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=["start", "stop"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nodes", type=int, default=2)
    arguments = parser.parse_args()
    slurm = Slurm(arguments.folder, arguments.nodes)
    if arguments.action == "stop":
        slurm.stop()
    elif reason := missing():
        sys.exit(f"slurm.py: {reason}")
    else:
        slurm.start()
        print("\n".join(f"export {name}={value}" for name, value in slurm.environment.items()))


if __name__ == "__main__":
    _main()
