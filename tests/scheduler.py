"""Stand-ins for the commands of four batch schedulers, for tests: they run job scripts in the background.

`install(folder, scheduler)` makes `qsub`, `bsub` and so on in a folder for PATH. They take the options that the real
ones document and refuse others, and print what the real ones print. Two environment variables disturb:
JOB_NEEDS="<part of the script's name>=<MB>" kills a job that asked for less memory; SCHEDULER_DOWN=1 lets every
question fail.
"""

import argparse
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

KILLED = 137  # 128 + SIGKILL
COMMANDS = {
    "sge": ("qsub", "qstat", "qacct", "qdel"),
    "pbs": ("qsub", "qstat", "qdel"),
    "torque": ("qsub", "qstat", "qdel"),
    "lsf": ("bsub", "bjobs", "bkill"),
}
SUFFIX = {"sge": "", "pbs": ".server", "torque": ".server", "lsf": ""}
Job = dict[str, Any]


def install(folder: Path, scheduler: str) -> Path:
    """The scheduler's commands in `folder/bin`, which it returns; jobs are recorded in `folder/jobs`."""
    commands = folder / "bin"
    commands.mkdir(parents=True)
    (folder / "jobs").mkdir()
    for name in COMMANDS[scheduler]:
        words = shlex.join([sys.executable, __file__, str(folder / "jobs"), scheduler, name])
        (commands / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (commands / name).chmod(0o755)
    return commands


def jobs(folder: Path) -> list[Job]:
    """What was submitted, in order: number, script, resources as words, exit code or None."""
    found = sorted((folder / "jobs").glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) | {"code": _code(path)} for path in found]


# ---- submitting ------------------------------------------------------------------------------------------------------
def submit(records: Path, scheduler: str, words: list[str]) -> None:
    options = _submit_options(scheduler).parse_args(words)
    number = 1 + len(list(records.glob("*.json")))
    path = records / f"{number}.json"
    resources = [options.pe and f"slots={options.pe[1]}"] if scheduler == "sge" else []
    resources += options.l if scheduler != "lsf" else [f"mem={options.M}", f"time={options.W}", f"n={options.n}"]
    resources += [f"gpu {options.gpu}"] if scheduler == "lsf" and options.gpu else []
    output = Path(options.oo.replace("%J", str(number)) if scheduler == "lsf" else options.o)
    if output.is_dir():
        output /= f"{Path(options.script).name}.o{number}"
    record = {"number": number, "script": options.script, "resources": " ".join(resources), "output": str(output)}
    needs, _, least = os.environ.get("JOB_NEEDS", "nothing=0").partition("=")
    if needs in Path(options.script).name and _megabytes(record["resources"]) < int(least):
        record["pid"] = 0
        path.with_suffix(".code").write_text(str(KILLED))
    else:
        command = f"{shlex.quote(options.script)}; echo $? > {shlex.quote(str(path.with_suffix('.code')))}"
        with output.open("wb") as log:
            process = subprocess.Popen(["sh", "-c", command], stdout=log, stderr=log, start_new_session=True)
        record["pid"] = process.pid
    path.write_text(json.dumps(record))
    print(f"Job <{number}> is submitted to default queue <normal>." if scheduler == "lsf" else number, end="")
    print("" if scheduler == "lsf" else SUFFIX[scheduler])


def _submit_options(scheduler: str) -> argparse.ArgumentParser:
    """The options that the profile uses, as the schedulers document them."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    if scheduler == "sge":
        for flag in ("-terse", "-cwd", "-V"):
            parser.add_argument(flag, action="store_true", required=True)
        parser.add_argument("-S", choices=["/bin/sh"], required=True)
        parser.add_argument("-r", choices=["y", "n"])
        parser.add_argument("-j", choices=["y", "n"])
        parser.add_argument("-pe", nargs=2)
        parser.add_argument("-o", type=_existing, required=True)
        parser.add_argument("-l", action="append", type=_matching(r"(mem_free=\d+M|h_rt=\d+|gpu=\d+)"))
    elif scheduler in ("pbs", "torque"):
        chunk = r"select=1:ncpus=\d+:mem=\d+mb(:ngpus=\d+)?"
        nodes = r"nodes=1:ppn=\d+(:gpus=\d+)?|mem=\d+mb"
        parser.add_argument("-V", action="store_true", required=True)
        parser.add_argument("-r", choices=["y", "n"])
        parser.add_argument("-j", choices=["oe"])
        parser.add_argument("-o", type=_existing, required=True)
        parser.add_argument(
            "-l", action="append", type=_matching(rf"(walltime=\d+|{chunk if scheduler == 'pbs' else nodes})")
        )
    else:
        parser.add_argument("-r", action="store_true")
        parser.add_argument("-oo", required=True)
        parser.add_argument("-n", type=int)
        parser.add_argument("-W", type=int)
        parser.add_argument("-M", type=_matching(r"\d+MB"))
        parser.add_argument("-R", type=_matching(r"span\[hosts=1\] rusage\[mem=\d+MB\]"))
        parser.add_argument("-gpu", type=_matching(r"num=\d+"))
    parser.add_argument("script")
    return parser


def _existing(word: str) -> str:
    if not Path(word).is_dir():
        raise argparse.ArgumentTypeError(f"no folder {word}")
    return word


def _matching(pattern: str) -> Any:
    def matched(word: str) -> str:
        if not re.fullmatch(pattern, word):
            raise argparse.ArgumentTypeError(f"found {word}, expected {pattern}")
        return word

    return matched


def _megabytes(resources: str) -> int:
    found = re.search(r"mem(?:_free)?=(\d+)", resources)
    return int(found.group(1)) if found else 0


# ---- asking ----------------------------------------------------------------------------------------------------------
def ask(records: Path, scheduler: str, command: str, words: list[str]) -> int:
    if os.environ.get("SCHEDULER_DOWN"):
        print("error: commlib error: got select error (Connection refused)", file=sys.stderr)
        return 1
    if command == "qstat" and scheduler == "sge":
        return _sge_list(records)
    number = words[-1].removesuffix(SUFFIX[scheduler])
    path = records / f"{number}.json"
    if not path.exists() or (command == "qacct" and _code(path) is None):
        unknown = {"qacct": f"error: job id {number} not found", "bjobs": f"Job <{number}> is not found"}
        print(unknown.get(command, f"qstat: Unknown Job Id {number}.server"), file=sys.stderr)
        return 1
    record, code = json.loads(path.read_text()), _code(path)
    print({"qacct": _sge_account, "qstat": _pbs_full, "bjobs": _lsf_state}[command](record, code, scheduler))
    return 0


def _sge_list(records: Path) -> int:
    running = [path for path in sorted(records.glob("*.json")) if _code(path) is None]
    if running:
        print("job-ID  prior   name       user         state submit/start at     queue                slots ja-task-ID")
        print("-" * 112)
    for path in running:
        print(f"{path.stem:>7} 0.55500 snakejob.t user         r     11/22/2026 18:00:00 all.q@node1              1")
    return 0


def _sge_account(record: Job, code: int | None, _: str) -> str:
    """As Son of Grid Engine 8.1.9 writes it."""
    note = f"{code}                  (Killed)" if code == KILLED else str(code)
    failed = "100 : assumedly after job" if code == KILLED else "0    "
    return (
        f"{'=' * 62}\nqname        all.q               \nhostname     node1               \n"
        f"jobname      {Path(record['script']).name}\njobnumber    {record['number']}\n"
        f"failed       {failed}\nexit_status  {note}\nru_wallclock 12.3s\nmaxvmem      812.4MB"
    )


def _pbs_full(record: Job, code: int | None, scheduler: str) -> str:
    state = "R" if code is None else {"pbs": "F", "torque": "C"}[scheduler]
    word = {"pbs": "Exit_status", "torque": "exit_status"}[scheduler]
    ended = "" if code is None else f"\n    {word} = {271 if code == KILLED else code}"
    return (
        f"Job Id: {record['number']}.server\n    Job_Name = {Path(record['script']).name}\n"
        f"    Job_Owner = user@login\n    job_state = {state}\n    queue = workq\n"
        f"    Variable_List = PBS_O_HOME=/home/user,PBS_O_LANG=C,\n\tPBS_O_PATH=/usr/bin{ended}\n"
    )


def _lsf_state(_: Job, code: int | None, __: str) -> str:
    return "RUN" if code is None else "DONE" if code == 0 else "EXIT"


# ---- cancelling ------------------------------------------------------------------------------------------------------
def cancel(records: Path, scheduler: str, words: list[str]) -> None:
    for word in words:
        path = records / f"{word.removesuffix(SUFFIX[scheduler])}.json"
        if _code(path) is None:
            os.killpg(json.loads(path.read_text())["pid"], signal.SIGKILL)
            path.with_suffix(".code").write_text(str(KILLED))


def _code(path: Path) -> int | None:
    ended = path.with_suffix(".code")
    text = ended.read_text().strip() if ended.exists() else ""
    return int(text) if text else None


if __name__ == "__main__":
    folder, name, called = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if called in ("qsub", "bsub"):
        submit(folder, name, sys.argv[4:])
    elif called in ("qdel", "bkill"):
        cancel(folder, name, sys.argv[4:])
    else:
        sys.exit(ask(folder, name, called, sys.argv[4:]))
