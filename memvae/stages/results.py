"""Tables, figures, scorecard, page of results and archive: drawn from what the analyses wrote."""

from pathlib import Path

from memvae.errors import InputError
from memvae.files import store
from memvae.progress import say
from memvae.settings import targets
from memvae.stages import shared
from memvae.stages.shared import Arguments


def table(arguments: Arguments) -> None:
    """render a table as csv, md and tex"""
    from memvae.report import tables

    output = shared.result(arguments, arguments.output, f"tables/{arguments.name}.csv")
    layout, inputs = shared.drawn_from(arguments)
    paper = Path(arguments.paper)
    tables.write(arguments.name.removesuffix("_extended"), layout, inputs, paper, output)
    shared.record(arguments, [*inputs, paper], [output.with_suffix(f".{kind}") for kind in targets.TABLE_FORMATS])


def figure(arguments: Arguments) -> None:
    """render a figure as png and pdf"""
    from memvae.report import figures

    output = Path(arguments.output or f"{shared.config(arguments).figures}/{arguments.name}.png")
    layout, inputs = shared.drawn_from(arguments)
    figures.write(arguments.name, layout, inputs, output)
    shared.record(arguments, inputs, [output.with_suffix(f".{kind}") for kind in targets.FIGURE_FORMATS])


def scorecard(arguments: Arguments) -> None:
    """put the authors' numbers beside ours"""
    from memvae.report import scorecard as card

    if arguments.name not in targets.SCORECARDS:
        raise InputError(f"scorecard: found {arguments.name!r}, expected one of {', '.join(targets.SCORECARDS)}")
    output = shared.result(arguments, arguments.output, f"{arguments.name}.csv")
    layout, inputs = shared.drawn_from(arguments)
    paper = Path(arguments.paper)
    card.write(layout, inputs, paper, output)
    shared.record(arguments, [*inputs, paper], [output.with_suffix(f".{kind}") for kind in targets.SCORECARD_FORMATS])


def check(arguments: Arguments) -> None:
    """fail when a number of the scorecard is outside its tolerance"""
    from memvae.report import check as gate
    from memvae.report.paper import read_paper

    scale, not_run = shared.told(arguments, targets.CHECK, "scale", "not_run")
    scorecard = shared.result(arguments, arguments.scorecard, "scorecard.csv")
    checked = gate.check(scorecard, read_paper(arguments.paper), scale, not_run)
    print("\n".join(checked.lines), flush=True)
    if checked.failures:
        raise InputError("\n".join(checked.failures))


def page(arguments: Arguments) -> None:
    """write the page of results: every table and figure beside the paper's claims"""
    from memvae.report import page as results

    output = Path(arguments.output or targets.PAGE)
    alone = output.suffix == ".html"  # one file, for Snakemake's report
    spec, inputs = shared.told(arguments, targets.REPORT_PAGE if alone else "page", "page", "inputs")
    read, paper = [Path(path) for path in inputs], Path(arguments.paper)
    if not arguments.plan:
        spec["command"] = f"memvae page --scale {spec['layout']['scale']} --output {output}"
    results.write(spec, read, paper, output)
    say(f"page: wrote {output}")
    beside = [*targets.PAGE_TABLES, *(path.name for path in read if path.suffix in (".csv", ".png"))]
    folder = output.with_suffix("")
    shared.record(arguments, [*read, paper], [output, *([] if alone else [folder / name for name in beside])])


def archive(arguments: Arguments) -> None:
    """put all that tables, figures and the scorecard are drawn from into one file"""
    from memvae.report import archive as archives

    scale, drawn = shared.told(arguments, targets.ARCHIVE, "scale", "targets")
    output = shared.result(arguments, arguments.output, "archive.zip")
    paper = Path(arguments.paper)
    archives.write(scale, drawn, paper, output)
    read = dict.fromkeys(Path(path) for target in drawn for path in target["inputs"])
    shared.record(arguments, [*read, paper], [output])
    say(f"archive: wrote {output} ({output.stat().st_size / 1e6:.1f} MB)")


def redraw(arguments: Arguments) -> None:
    """draw tables, figures and the scorecard from an archive, without torch"""
    from memvae.report import archive as archives

    output = Path(arguments.output)
    manifest = archives.redraw(Path(arguments.archive), output)
    ours = store.provenance()["code_version"]
    if manifest.code_version != ours:
        say(f"redraw: the archive was made by memvae {manifest.code_version}, this is {ours}: bytes may differ")
    say(f"redraw: wrote {len(manifest.targets)} tables, figures and scorecards (scale={manifest.scale}) to {output}/")
