"""The command line: one subcommand per stage (memvae/commands.py), which is also a rule of the workflow.

Parses the arguments, runs the stage and exits. An expected failure prints one line (or one line for each failure found
together) and exits with code 2; any other failure keeps its traceback.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from memvae import __version__, signals
from memvae.errors import InputError
from memvae.progress import say
from memvae.settings import config as configuration

OPTIONS = {
    "file": "one raw file of the data set (default: all)",
    "spec": "the complete specification as JSON (default: from the configuration)",
    "settings": "the settings of the analysis as JSON (default: from the configuration)",
    "module": "where the analysis is declared, module:object (default: as the configuration says)",
    "plan": "the plan that the workflow writes (default: from the configuration)",
    "raw": "the folder with the raw files (default: data/raw/<dataset>)",
    "data": "the data set's HDF5 file (default: data/<dataset>.h5)",
    "model": "the model file (default: <results>/models/<run>.h5)",
    "classifier": "the classifier file (default: <results>/classifiers/<dataset>.h5)",
    "paper": "the paper's numbers and protocol (default: config/paper.yaml)",
    "scorecard": "the scorecard's csv (default: <results>/scorecard.csv)",
    "output": "output path (default: the workflow's)",
}
FLAGS = {
    "verify": "compare every recorded checksum with the current files; exit code 2 if one differs",
    "json": "print JSON",
}


def main() -> None:
    try:
        parser = _parser()
    except ModuleNotFoundError as error:  # nothing is installed: the doctor alone runs without numpy and h5py
        _without_packages(error.name or "")
    arguments = parser.parse_args(_with_analyse(sys.argv[1:]))
    if arguments.command == "analyse":
        arguments.command = arguments.name
    try:
        with signals.raising():
            arguments.stage(arguments)
            sys.stdout.flush()  # a reader that is gone shows here, not when Python ends
    except InputError as error:
        _refuse(arguments.command, error)
    except BrokenPipeError:  # the reader, such as `| head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is still in the buffer
        sys.exit(128 + signal.SIGPIPE)
    except signals.Ended as ended:
        signals.tell(ended.number)
        sys.exit(128 + ended.number)


def _refuse(command: str, error: InputError) -> NoReturn:
    for line in str(error).splitlines():
        say(f"memvae {command}: {line}")
    sys.exit(2)


def _without_packages(name: str) -> NoReturn:
    from memvae.operations import doctor

    if sys.argv[1:2] != ["doctor"]:
        say(f"memvae: the package {name} is not installed; `python -m memvae doctor` says what is missing")
        sys.exit(2)
    try:
        doctor.report(None)
    except InputError as error:
        _refuse("doctor", error)
    sys.exit()


def _with_analyse(words: list[str]) -> list[str]:
    """`memvae slots RUN` is short for `memvae analyse slots RUN`, for every analysis that is part of memvae."""
    from memvae.settings.registry import shipped

    return ["analyse", *words] if words[:1] and words[0] in shipped() else words


def _parser() -> argparse.ArgumentParser:
    from memvae import commands
    from memvae.settings import registry, targets

    parser = argparse.ArgumentParser(
        prog="memvae", description="Reproduction of `Learning to Generate with Memory` (ICML 2016), stage by stage."
    )
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="STAGE")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help=f"the configuration (default: {configuration.CONFIG})")
    common.add_argument(
        "--configfile", type=Path, nargs="+", default=[], help="further YAML files, merged into it in this order"
    )
    common.add_argument(
        "--scale", help="paper, published, long, quick, demo or one of your own (default: the configuration's)"
    )
    common.set_defaults(started=time.monotonic())

    def stage(
        function: Callable[[argparse.Namespace], None], *options: str, flags: Sequence[str] = (), **positional: str
    ) -> None:
        text = (function.__doc__ or "").strip()
        command = subparsers.add_parser(function.__name__, help=text, description=text, parents=[common])
        for name, description in positional.items():
            command.add_argument(name, help=description)
        for option in options:
            command.add_argument(f"--{option}", help=OPTIONS[option])
        for flag in flags:
            command.add_argument(f"--{flag}", help=FLAGS[flag], action="store_true")
        command.set_defaults(stage=function)

    stage(commands.download, "file", "spec", "output", dataset="e.g. mnist")
    stage(commands.prepare, "spec", "raw", "output", dataset="e.g. mnist")
    stage(commands.train, "spec", "data", "output", run=f"e.g. {commands.RUN}")
    stage(commands.published, "spec", "model", "output", run=f"e.g. {commands.RUN}")
    stage(commands.classifier, "settings", "data", "output", dataset="e.g. mnist")
    analyses = (
        f"{', '.join(registry.shipped())}, or your own; `memvae slots RUN` is short for `memvae analyse slots RUN`"
    )
    options = ("module", "settings", "plan", "model", "data", "classifier", "output")
    stage(commands.analyse, *options, name=analyses)
    subparsers.choices["analyse"].add_argument("run", nargs="?", default="", help=f"e.g. {commands.RUN}")
    stage(commands.table, "plan", "paper", "output", name="e.g. table4")
    stage(commands.figure, "plan", "output", name="e.g. fig7")
    stage(commands.scorecard, "plan", "paper", "output", name=" or ".join(targets.SCORECARDS))
    stage(commands.measurements, "plan", "paper", "output")
    stage(commands.check, "plan", "paper", "scorecard")
    stage(commands.page, "plan", "paper", "output")
    stage(commands.archive, "plan", "paper", "output")
    stage(commands.redraw, "output", archive="e.g. results/archive.zip")
    stage(commands.trace, flags=("verify", "json"), path="a table, figure or HDF5 file, e.g. figures/fig7.png")
    stage(commands.doctor)
    stage(commands.cost, target="e.g. figures/fig7.png")
    for name in ("table", "scorecard", "measurements", "check", "page", "archive"):
        subparsers.choices[name].set_defaults(paper=configuration.brought(Path(targets.PAPER_VALUES)))
    subparsers.choices["redraw"].set_defaults(output="redrawn")
    return parser


if __name__ == "__main__":
    main()
