"""Questions about a file, a target, a machine; nothing is computed."""

from pathlib import Path

from memvae.errors import InputError
from memvae.progress import say
from memvae.settings import config as configuration
from memvae.stages import shared
from memvae.stages.shared import Arguments


def trace(arguments: Arguments) -> None:
    """tell where a file comes from: all that it was made of, down to the raw files"""
    from memvae.operations import trace as lineage

    found = lineage.trace(arguments.path)
    links = lineage.verify(found, lambda: shared.config(arguments).datasets) if arguments.verify else []
    print(lineage.as_json(found, links) if arguments.json else lineage.as_tree(found, links), flush=True)
    if broken := lineage.problems(links):
        raise InputError("\n".join(broken))
    if links:
        say(f"trace: {len(links)} checksums hold")


def cost(arguments: Arguments) -> None:
    """say which jobs a target still needs here, roughly how long they take, and how much disk"""
    from memvae.operations import forecast

    def load(scale: str) -> configuration.Config:
        return configuration.load(Path(arguments.config), {"scale": scale}, arguments.configfile)

    options = ["--configfile", *map(str, arguments.configfile)] if arguments.configfile else []
    options += ["--config", f"scale={arguments.scale}"] if arguments.scale else []
    print(forecast.describe(shared.config(arguments), arguments.target, options, load))


def doctor(arguments: Arguments) -> None:
    """say what this machine has, what is missing, and what to do; exit code 2 when the demo cannot run"""
    from memvae.operations import doctor as doctors

    try:
        config = shared.config(arguments)
    except ImportError:
        config = None
    doctors.tell(config)
