"""Prints what a scheduler says of a job: running, success or failed, the words that Snakemake waits for.

`python3 status.py sge|pbs|torque|lsf JOB`, JOB being the number or name that the submit command printed. A scheduler
that does not answer leaves the job running. One that does not know the job is asked again for a minute, because the
accounting of a finished job comes late; then the job counts as failed.
"""

import argparse
import subprocess
import sys
import time

RUNNING, SUCCESS, FAILED = "running", "success", "failed"


def sge(job: str) -> str | None:
    """Grid Engine: `qstat` while the job waits or runs, then its last record of `qacct`. None if neither knows it."""
    listed = _ask("qstat")
    if listed.returncode:
        return RUNNING
    for words in map(str.split, listed.stdout.splitlines()):
        if words and words[0] == job:  # job-ID, priority, name, user, state
            return FAILED if "E" in words[4] else RUNNING  # Eqw: it could not start, and waits for ever
    accounted = _ask("qacct", "-j", job)
    if accounted.returncode:
        return None
    facts = dict(pair for line in accounted.stdout.splitlines() if len(pair := line.split(None, 1)) == 2)
    codes = (facts["failed"].split()[0], facts["exit_status"].split()[0])  # a word may follow: `137  (Killed)`
    return SUCCESS if codes == ("0", "0") else FAILED


def pbs(job: str) -> str | None:
    """PBS Pro and OpenPBS, which remember finished jobs: `job_history_enable` of the server must be set."""
    return _qstat_full("-x", "-f", job)


def torque(job: str) -> str | None:
    """Torque, which remembers finished jobs for `keep_completed` seconds; there `-x` would mean XML."""
    return _qstat_full("-f", job)


def lsf(job: str) -> str | None:
    """LSF, which remembers finished jobs for CLEAN_PERIOD seconds, one hour by default."""
    shown = _ask("bjobs", "-noheader", "-o", "stat", job)
    if "is not found" in shown.stderr:
        return None
    states = {"DONE": SUCCESS, "EXIT": FAILED, "ZOMBI": FAILED}
    return states.get(shown.stdout.strip(), RUNNING)


def _qstat_full(*options: str) -> str | None:
    shown = _ask("qstat", *options)
    if shown.returncode:
        return None if "Unknown Job" in shown.stderr else RUNNING
    facts = {key.strip().lower(): value.strip() for key, _, value in map(_parted, shown.stdout.splitlines())}
    if facts["job_state"] not in ("C", "F"):
        return RUNNING
    return SUCCESS if facts.get("exit_status") == "0" else FAILED  # a job deleted before its start has none


def _parted(line: str) -> tuple[str, str, str]:
    return line.partition(" = ")


def _ask(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True)


def main() -> None:
    schedulers = {"sge": sge, "pbs": pbs, "torque": torque, "lsf": lsf}
    parser = argparse.ArgumentParser(description="running, success or failed")
    parser.add_argument("scheduler", choices=schedulers)
    parser.add_argument("job")
    parser.add_argument("--patience", type=float, default=60, help="seconds until an unknown job counts as failed")
    options = parser.parse_args()
    deadline = time.monotonic() + options.patience
    status = schedulers[options.scheduler](options.job)
    while status is None and time.monotonic() < deadline:
        time.sleep(min(5, options.patience))
        status = schedulers[options.scheduler](options.job)
    if status is None:
        print(
            f"status.py: {options.scheduler} has known no job {options.job} for {options.patience:g} s; expected one "
            "that waits, runs or is in its records; it counts as failed",
            file=sys.stderr,
        )
    print(status or FAILED)


if __name__ == "__main__":
    main()
