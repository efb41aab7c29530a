"""What each file of the workflow is made from: paths, settings, rows and inputs, for the workflow and the command line.

Standard library only: Snakemake imports this at every dry run.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from memvae.settings.config import Config, Row
from memvae.settings.registry import Registered

SCORECARDS = {"scorecard": ("appendix",), "scorecard_extended": ("appendix", "extended")}  # name -> groups of runs
CHECKS = {"check": "scorecard", "check_extended": "scorecard_extended"}
MEASUREMENTS, ARCHIVE, CHECK, REPORT_PAGE = "measurements", "archive", "check", "report_page"
PAGE = "docs/results.md"
PAPER_VALUES = "config/paper.yaml"
PLANS = ".snakemake/memvae/plans"
TABLE_FORMATS, FIGURE_FORMATS, SCORECARD_FORMATS = ("csv", "md", "tex"), ("png", "pdf"), ("csv", "md")
TITLES = {"scorecard": "Scorecard", "scorecard_extended": "Scorecard, main text too"}  # in Snakemake's report


# ---- paths -----------------------------------------------------------------------------------------------------------
def raw_file(dataset: str, name: str) -> str:
    return f"data/raw/{dataset}/{name}"


def data_file(dataset: str) -> str:
    return f"data/{dataset}.h5"


def model_file(config: Config, run: str) -> str:
    return f"{config.results}/models/{run}.h5"


def classifier_file(config: Config, dataset: str) -> str:
    return f"{config.results}/classifiers/{dataset}.h5"


def analysis_file(config: Config, run: str, analysis: str) -> str:
    """Of one run, or with an empty `run` of all networks."""
    return "/".join(filter(None, (config.results, "evaluation", run, f"{analysis}.h5")))


# ---- tables and figures ----------------------------------------------------------------------------------------------
def shown(config: Config) -> dict[str, tuple[str, Registered]]:
    """Every table and figure: name -> its kind (`table` or `figure`) and its analysis."""
    return {
        name: (kind, one)
        for one in (*_made_analyses(config), *config.apart.values())
        for name, (kind, _) in one.declared.shown.items()
    }


def of_kind(config: Config, kind: str) -> dict[str, Registered]:
    """Every table or every figure, those of ablations too, and the analysis that it shows."""
    return {name: analysis for name, (found, analysis) in shown(config).items() if found == kind}


def tables(config: Config, extended: bool = False) -> list[str]:
    """Every table but those of ablations; `extended`: only those that the target of that name adds."""
    return [name for one in _made_analyses(config) for name in one.declared.titles("table", extended)]


def figures(config: Config, extended: bool = False) -> list[str]:
    """Every figure but those of ablations; `extended`: as for tables."""
    return [name for one in _made_analyses(config) for name in one.declared.titles("figure", extended)]


def title(config: Config, name: str) -> str:
    """The title of a table, a figure or a scorecard in Snakemake's report."""
    if name in TITLES:
        return TITLES[name]
    return shown(config)[name][1].declared.shown[name][1]


def _made_analyses(config: Config) -> list[Registered]:
    """The analyses of which any row is run at this scale, and those of networks alone."""

    def rows(one: Registered) -> list[Row]:
        return config.analysis_rows(one.name) or config.rows("appendix", "own")

    every = config.registered.values()
    return [one for one in every if one.declared.of == "networks" or any(row.runs for row in rows(one))]


# ---- what a job is about ---------------------------------------------------------------------------------------------
def settings(config: Config, analysis: str, dataset: str) -> dict[str, Any]:
    """The settings of an analysis of a run on `dataset`, without what only says which runs it is for.

    A setting that is a mapping goes by data set; one that it does not name has 0.
    """
    chosen = config.settings(analysis)
    return {key: value.get(dataset, 0) if isinstance(value, dict) else value for key, value in chosen.items()}


def part(config: Config, analysis: Registered, groups: tuple[str, ...] = ("appendix", "own")) -> dict[str, Any]:
    """What a table, a figure or a scorecard is drawn from, of one analysis: where it is, its rows, its files.

    groups: of the runs, for an analysis that names no models.
    """
    rows = config.analysis_rows(analysis.name) or config.rows(*groups)
    runs = list(dict.fromkeys(run for row in rows for run in row.runs))
    if analysis.declared.of == "networks":
        inputs = [analysis_file(config, "", analysis.name)]
    elif analysis.declared.of == "models":
        inputs = [model_file(config, run) for run in runs]
    else:
        inputs = [analysis_file(config, run, analysis.name) for run in runs]
    return _part(config, analysis, rows, inputs)


def ablation_part(config: Config, analysis: Registered) -> dict[str, Any]:
    """What a table or figure of an ablation is drawn from; `about`: which rows are of which axis, beside which VAE."""
    plan, rows = config.plans[analysis.ablation], config.ablation_rows(analysis.ablation)
    places = {name: place for place, name in enumerate(rows)}
    inputs = [
        analysis_file(config, run, read)
        for read in analysis.declared.reads
        for name, row in rows.items()
        if plan.variants[name].equal or not config.registered[read].declared.memory
        for run in row.runs
    ]
    about = {
        "title": config.ablations[analysis.ablation]["title"],
        "axes": [[axis, [[label, places[name]] for label, name in points]] for axis, points in plan.axes.items()],
        "parameters": [variant.parameters for variant in plan.variants.values()],
        "equal": [places.get(variant.equal) for variant in plan.variants.values()],
    }
    return {**_part(config, analysis, rows.values(), inputs), "about": about}


def made(config: Config, placed: Callable[[str], str] = str) -> list[str]:
    """The ablations whose target was made here with the current settings, and whose files all exist.

    Tables and figures that show them never start a training: after a change of settings, an ablation is shown again
    only when its target was made again. placed: the place of a file, if it is not at its own path.
    """
    found = []
    for name, analysis in config.apart.items():
        table = files(config, "table", next(iter(analysis.declared.tables)))[0]
        try:
            record = json.loads(Path(placed(f"{table}.run.json")).read_text())
            same = record["made_with"] == _made_with(config, analysis)
        except (OSError, ValueError, KeyError, TypeError):
            continue
        runs = [run for row in config.ablation_rows(name).values() for run in row.runs]
        needed = [*ablation_part(config, analysis)["inputs"], *(model_file(config, run) for run in runs)]
        if same and all(Path(placed(path)).exists() for path in needed):
            found.append(name)
    return found


def _made_with(config: Config, analysis: Registered) -> str:
    """A sha256 of all settings that an ablation's numbers depend on."""
    rows = config.ablation_rows(analysis.ablation).values()
    specs = [config.spec(run) for row in rows for run in row.runs]
    reads = {
        name: [config.registered[name].declared.version, settings(config, name, specs[0].dataset)]
        for name in analysis.declared.reads
    }
    text = json.dumps([[spec.to_json() for spec in specs], reads], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _part(config: Config, analysis: Registered, rows: Iterable[Row], inputs: list[str]) -> dict[str, Any]:
    layout = {"scale": config.scale, "note": config.scale_note(), "rows": [dict(vars(row)) for row in rows]}
    return {"analysis": analysis.name, "module": analysis.reference, "layout": layout, "inputs": inputs}


def target(config: Config, name: str) -> dict[str, Any]:
    """What a table, a figure, a scorecard or the file of measurements is drawn from: kind, name and parts."""
    found = {"kind": name, "name": name}
    if name == MEASUREMENTS:
        ablations = [ablation_part(config, config.apart[one]) for one in config.made]
        return found | {"parts": [*(part(config, one) for one in config.registered.values()), *ablations]}
    if name in SCORECARDS:
        compared = [one for one in config.registered.values() if one.declared.paper]
        return found | {"kind": "scorecard", "parts": [part(config, one, SCORECARDS[name]) for one in compared]}
    found["kind"], analysis = shown(config)[name]
    found["own"] = analysis.own(name)
    if analysis.ablation:
        return found | {"made_with": _made_with(config, analysis), "parts": [ablation_part(config, analysis)]}
    extended = [] if name in analysis.declared.titles(found["kind"]) else ["extended"]
    return found | {"parts": [part(config, analysis, ("appendix", *extended, "own"))]}


def inputs(config: Config, name: str) -> list[str]:
    """The files that a target of `target` is drawn from, each once."""
    return inputs_of(target(config, name))


def inputs_of(*targets: Mapping[str, Any]) -> list[str]:
    """The files that some targets are drawn from, each once."""
    return list(dict.fromkeys(path for one in targets for part in one["parts"] for path in part["inputs"]))


def drawn(config: Config) -> list[dict[str, Any]]:
    """The target of every table and figure, of the scorecard, of the measurements, and of ablations that were made."""
    names = [*tables(config), *figures(config), *_names_of_made(config), "scorecard", MEASUREMENTS]
    return [target(config, name) for name in names]


def networks(config: Config) -> list[dict[str, Any]]:
    """The networks of the paper's data sets, whatever the scale: what an analysis of networks is about."""
    found = []
    for row in {(row.paper_dataset, row.model): row for row in config.rows("appendix", "own")}.values():
        network = config.spec(f"{row.paper_dataset}-{row.model}-k1-s0").network.to_mapping()
        found.append({"dataset": row.paper_dataset, "model": row.model, "network": network})
    return found


# ---- plans: what grows with the number of runs, too long for a command line ------------------------------------------
def plan(config: Config, name: str, placed: Callable[[str], str] = str) -> dict[str, Any]:
    """All that the job of a target is given beside its files. placed: where a file stands, if not at its own path."""
    analysis = config.registered.get(name)
    if analysis and analysis.declared.of == "networks":
        return {"rows": networks(config)}
    if name == ARCHIVE:
        return {"scale": config.scale, "targets": [with_inputs(one, placed) for one in drawn(config)]}
    if name == CHECK:
        reasons = {run: left_out["reason"] for run, left_out in not_run(config).items()}
        return {"scale": config.scale, "not_run": reasons}
    if name in ("page", REPORT_PAGE):
        shown_page = with_inputs(page(config, PAGE if name == "page" else ""), placed)
        return {"page": shown_page, "inputs": [placed(path) for path in page_inputs(config)]}
    return {"target": with_inputs(target(config, name), placed)}


def with_inputs(target: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """A target with its inputs under other names."""
    parts = [{**part, "inputs": [rename(path) for path in part["inputs"]]} for part in target["parts"]]
    return {**target, "parts": parts}


def plan_file(config: Config, name: str, placed: Callable[[str], str] = str) -> tuple[str, str]:
    """The file in which a job of the workflow finds its plan: its path, and its text, JSON.

    The path names the content: another content is another file, a changed parameter of the job, so the target is made
    again.
    """
    text = json.dumps(plan(config, name, placed), sort_keys=True)
    return f"{PLANS}/{config.scale}/{name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json", text


# ---- files -----------------------------------------------------------------------------------------------------------
def files(config: Config, kind: str, name: str) -> list[str]:
    """The files that a job leaves, with the state of a training. kind, name: as its benchmark file has them."""
    if kind == "download":
        return [raw_file(*name.split("-", 1))] if "-" in name else []
    if kind == "train":
        return [model_file(config, name), model_file(config, name).replace(".h5", ".state.h5")]
    if kind == "page":
        return [PAGE, *page_files(config)]
    if kind in config.registered:
        return [analysis_file(config, "" if name == kind else name, kind)]
    known = {
        "prepare": [data_file(name)],
        "classifier": [classifier_file(config, name)],
        "table": [f"{config.results}/tables/{name}.{ending}" for ending in TABLE_FORMATS],
        "figure": [f"{config.figures}/{name}.{ending}" for ending in FIGURE_FORMATS],
        "scorecard": [f"{config.results}/{name}.{ending}" for ending in SCORECARD_FORMATS],
        MEASUREMENTS: [f"{config.results}/{MEASUREMENTS}.csv"],
        ARCHIVE: [f"{config.results}/{ARCHIVE}.zip"],
    }
    return known.get(kind, [])


def all_files(config: Config, extended: bool = False) -> list[str]:
    """Every table and figure, scorecard and measurements; `extended`: what the target of that name adds, too."""
    made = [
        *(("table", name) for name in tables(config)),
        *(("figure", name) for name in figures(config)),
        ("scorecard", "scorecard"),
        (MEASUREMENTS, MEASUREMENTS),
    ]
    if extended:
        made += [("table", name) for name in tables(config, extended=True)]
        made += [*(("figure", name) for name in figures(config, extended=True)), ("scorecard", "scorecard_extended")]
    return [path for kind, name in made for path in files(config, kind, name)]


def _names_of_made(config: Config) -> list[str]:
    """The tables and figures of the ablations that were made."""
    return [name for name, (_, one) in shown(config).items() if one.ablation in config.made]


def ablation_files(config: Config) -> list[str]:
    """Every table and figure of every ablation."""
    return [path for name, (kind, one) in shown(config).items() if one.ablation for path in files(config, kind, name)]


# ---- the page of results ---------------------------------------------------------------------------------------------
def report_page(config: Config) -> str:
    """The page of results as one HTML file, which Snakemake's report shows."""
    return f"{config.results}/report/index.html"


def not_run(config: Config) -> dict[str, dict[str, Any]]:
    """The paper's rows that the targets of `all_files` do without: the reason, and the hours that a training takes."""
    from memvae.operations import cost  # here, since it plans with the targets of this module

    left_out = {}
    for row in (*(row for row in config.rows("appendix") if not row.runs), *config.rows("extended")):
        reason = "main text: target extended, judged by check_extended"
        if not row.runs:
            reason = "no published model" if config.published else f"no data at scale {config.scale}"
        name = f"{row.paper_dataset}-{row.model}-k{row.k}"
        if config.spec(f"{name}-s0").network.pseudo_inputs:
            continue  # a model of ours, none of the paper
        left_out[name] = {"reason": reason, "hours": cost.full_training_hours(config.spec(f"{name}-s0"))}
    return left_out


def page(config: Config, asked: str = PAGE) -> dict[str, Any]:
    """What the page of results is given beside its input files: the scale, the analyses, what was left out, its files.

    asked: what Snakemake is asked for when it is written, "" for everything.
    """
    seeds = "" if config.seeds == [0] else f" 'seeds={config.seeds}'".replace(", ", ",")
    return {
        "scale": config.scale,
        "title": config.title,
        "seeds": config.seeds,
        "command": " ".join(filter(None, ("snakemake", asked, f"--config scale={config.scale}{seeds}"))),
        "parts": [part(config, one) for one in config.registered.values()],
        "ablations": [
            {
                "title": config.ablations[name]["title"],
                "tables": list(config.apart[name].declared.tables),
                "figures": list(config.apart[name].declared.figures),
            }
            for name in config.made
        ],
        "not_run": not_run(config),
        "files": page_files(config),
    }


def page_inputs(config: Config) -> list[str]:
    """What the page shows (tables, scorecard, figures) and what it is judged by (models and analyses)."""
    shown_files = [path for path in _on_page(config) if path.endswith((".md", ".csv", ".png"))]
    rows = [row for one in config.registered.values() for row in part(config, one)["layout"]["rows"]]
    models = [model_file(config, run) for row in rows for run in row["runs"]]
    return list(dict.fromkeys([*shown_files, *inputs_of(*drawn(config)), *models]))


def _on_page(config: Config) -> list[str]:
    """What `all_files` makes, and the tables and figures of the ablations that were made."""
    return [
        *all_files(config),
        *(path for name in _names_of_made(config) for path in files(config, shown(config)[name][0], name)),
    ]


def page_files(config: Config) -> list[str]:
    """The pictures and numbers beside the page."""
    names = [path.rpartition("/")[2] for path in _on_page(config) if path.endswith((".csv", ".png"))]
    own = ["claims", "provenance", *(name for one in config.registered.values() for name in one.declared.records)]
    return [f"{PAGE.removesuffix('.md')}/{name}" for name in (*names, *(f"{name}.csv" for name in own))]
