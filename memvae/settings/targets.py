"""What each file is made of: paths, settings and inputs, the same for the workflow and for the command line.

Standard library only: Snakemake imports this at every dry run.
"""

import dataclasses
import hashlib
import json
from typing import Any

from memvae.operations import cost
from memvae.settings.config import Config, Row

TABLES = ("table3", "table4", "slots", "likelihood", "detail", "probing", "imputation")
FIGURES = ("fig6", "fig7", "fig8", "training")
EXTENDED = "likelihood_extended"
SCORECARDS = ("scorecard", "scorecard_extended")
CHECKS = {"check": "scorecard", "check_extended": "scorecard_extended"}
PAGE, PAGE_TABLES = "docs/results.md", ("claims.csv", "curves.csv", "provenance.csv")
ARCHIVE, PARAMETERS, CHECK, REPORT_PAGE = "archive", "parameters", "check", "report_page"
PAPER_VALUES = "config/paper.yaml"
TABLE_FORMATS, FIGURE_FORMATS, SCORECARD_FORMATS = ("csv", "md", "tex"), ("png", "pdf"), ("csv", "md")

# as Snakemake's report lists them
TITLES = {
    "table3": "Table 3: parameters",
    "table4": "Table 4: preferred slots",
    "slots": "All slots",
    "likelihood": "Log-likelihood",
    "detail": "Local detail without memory",
    "probing": "Classifiers on the features",
    "imputation": "Missing pixels",
    EXTENDED: "Log-likelihood, main text too",
    "fig6": "Figure 6: memory disabled",
    "fig7": "Figure 7: slots as images",
    "fig8": "Figure 8: missing halves",
    "training": "Learning curves",
    "scorecard": "Scorecard",
    "scorecard_extended": "Scorecard, main text too",
}

# table or figure -> the analysis it is drawn from
ANALYSIS_OF = {
    "table4": "slots",
    "slots": "slots",
    "detail": "detail",
    "probing": "probing",
    "imputation": "imputation",
    "fig6": "generation",
    "fig7": "slots",
    "fig8": "imputation",
}


def raw_file(dataset: str, name: str) -> str:
    return f"data/raw/{dataset}/{name}"


def data_file(dataset: str) -> str:
    return f"data/{dataset}.h5"


def model_file(config: Config, run: str) -> str:
    return f"{config.results}/models/{run}.h5"


def classifier_file(config: Config, dataset: str) -> str:
    return f"{config.results}/classifiers/{dataset}.h5"


def analysis_file(config: Config, run: str, analysis: str) -> str:
    return f"{config.results}/evaluation/{run}/{analysis}.h5"


def parameters_file(config: Config) -> str:
    return f"{config.results}/evaluation/parameters.h5"


def settings(config: Config, analysis: str, dataset: str) -> dict[str, Any]:
    """The settings of an analysis of a run on `dataset`, without what only says which runs it is for."""
    chosen = {key: value for key, value in config.analyses[analysis].items() if key != "models"}
    if analysis == "likelihood":
        chosen["more_samples"] = chosen["more_samples"].get(dataset, 0)
    return chosen


def files(config: Config, kind: str, name: str) -> list[str]:
    """The files that a job leaves, with the state of a training. kind, name: as its benchmark file has them."""
    if kind == "download":
        return [raw_file(*name.split("-", 1))] if "-" in name else []
    if kind == "train":
        return [model_file(config, name), model_file(config, name).replace(".h5", ".state.h5")]
    if kind == "table":
        return [f"{config.results}/tables/{name}.{ending}" for ending in TABLE_FORMATS]
    if kind == "figure":
        return [f"{config.figures}/{name}.{ending}" for ending in FIGURE_FORMATS]
    if kind == "scorecard":
        return [f"{config.results}/{name}.{ending}" for ending in SCORECARD_FORMATS]
    known = {
        "prepare": [data_file(name)],
        "classifier": [classifier_file(config, name)],
        PARAMETERS: [parameters_file(config)],
        ARCHIVE: [f"{config.results}/{ARCHIVE}.zip"],
        "page": [PAGE, *page_files(config)],
    }
    return known.get(kind, [analysis_file(config, name, kind)])


def rows(config: Config, target: str) -> list[Row]:
    """The rows of a table, a figure or the scorecard."""
    if target in ANALYSIS_OF:
        return config.analysis_rows(ANALYSIS_OF[target])
    if target == EXTENDED:
        return config.rows("appendix", "extended", "own")
    if target == SCORECARDS[1]:
        return config.rows("appendix", "extended")
    return config.rows("appendix") if target == SCORECARDS[0] else config.rows("appendix", "own")


def layout(config: Config, target: str) -> dict[str, Any]:
    """What a table or figure is told beside its input files."""
    facts = [dict(vars(row)) for row in rows(config, target)]
    return {"scale": config.scale, "note": config.scale_note(), "rows": facts}


def inputs(config: Config, target: str) -> list[str]:
    """The files that a table, a figure or the scorecard is drawn from."""
    runs = list(dict.fromkeys(run for row in rows(config, target) for run in row.runs))
    if target == "table3":
        return [parameters_file(config)]
    if target == "training":
        return [model_file(config, run) for run in runs]
    if target in ANALYSIS_OF:
        return [analysis_file(config, run, ANALYSIS_OF[target]) for run in runs]
    likelihoods = [analysis_file(config, run, "likelihood") for run in runs]
    if target not in SCORECARDS:
        return likelihoods
    return [*likelihoods, parameters_file(config), *inputs(config, "table4"), *inputs(config, "probing")]


def drawn(config: Config) -> list[dict[str, Any]]:
    """What draws each target of `all_files`: its kind (table, figure or scorecard), name, layout and inputs."""
    names = [("table", name) for name in TABLES] + [("figure", name) for name in FIGURES]
    names.append(("scorecard", SCORECARDS[0]))
    return [
        {"kind": kind, "name": name, "layout": layout(config, name), "inputs": inputs(config, name)}
        for kind, name in names
    ]


def told(config: Config, target: str) -> dict[str, Any]:
    """All that the job of a target is told, which grows with the number of runs.

    target: a table, a figure, a scorecard, "page", "report_page", "archive", "parameters" or "check".
    """
    if target == PARAMETERS:
        return {"rows": parameter_rows(config)}
    if target == ARCHIVE:
        return {"scale": config.scale, "targets": drawn(config)}
    if target == CHECK:
        reasons = {name: left_out["reason"] for name, left_out in not_run(config).items()}
        return {"scale": config.scale, "not_run": reasons}
    if target in ("page", REPORT_PAGE):
        return {"page": page(config, PAGE if target == "page" else ""), "inputs": page_inputs(config)}
    return {"layout": layout(config, target), "inputs": inputs(config, target)}


def plan_file(config: Config, target: str) -> tuple[str, str]:
    """The file that a job of the workflow finds what it is told in: its path, and its text, JSON.

    A file, for a command line holds some hundred runs. The path names the content: another content is another file, a
    changed parameter of the job, so the target is made again.
    """
    text = json.dumps(told(config, target), sort_keys=True)
    return f"{config.results}/plan/{target}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json", text


def drawn_from(config: Config) -> list[str]:
    """The files that every target of `all_files` is drawn from, beside the paper's numbers; each once."""
    return list(dict.fromkeys(path for target in drawn(config) for path in target["inputs"]))


def parameter_rows(config: Config) -> list[dict[str, Any]]:
    """The networks that Table 3 counts: those of the paper's data sets, whatever the scale."""
    found = []
    for row in {(row.paper_dataset, row.model): row for row in config.rows("appendix", "own")}.values():
        spec = config.spec(f"{row.paper_dataset}-{row.model}-k1-s0")
        network = dataclasses.asdict(spec.network)
        found.append({"dataset": row.paper_dataset, "model": row.model, "network": network})
    return found


def all_files(config: Config, extended: bool = False) -> list[str]:
    """Every table and figure of the appendix; `extended`: the likelihoods of the main text's models too."""
    tables = [f"{config.results}/tables/{name}.{kind}" for name in TABLES for kind in TABLE_FORMATS]
    figures = [f"{config.figures}/{name}.{kind}" for name in FIGURES for kind in FIGURE_FORMATS]
    scorecard = [f"{config.results}/scorecard.{kind}" for kind in SCORECARD_FORMATS]
    more = [f"{config.results}/tables/{EXTENDED}.{kind}" for kind in TABLE_FORMATS]
    more += [f"{config.results}/scorecard_extended.{kind}" for kind in SCORECARD_FORMATS]
    return [*tables, *figures, *scorecard, *(more if extended else [])]


def report_page(config: Config) -> str:
    """The page of results as one HTML file, which Snakemake's report shows."""
    return f"{config.results}/report/index.html"


def not_run(config: Config) -> dict[str, dict[str, Any]]:
    """The paper's rows that the targets of `all_files` do without: the reason, and the hours that a training takes."""
    left_out = {}
    for row in (*(row for row in config.rows("appendix") if not row.runs), *config.rows("extended")):
        reason = "main text: target `extended`, judged by `check_extended`"
        if not row.runs:
            reason = f"no data at scale {config.scale}"
        name = f"{row.paper_dataset}-{row.model}-k{row.k}"
        left_out[name] = {"reason": reason, "hours": cost.full_training_hours(config.spec(f"{name}-s0"))}
    return left_out


def page(config: Config, target: str = PAGE) -> dict[str, Any]:
    """What the page of results is told beside its input files: the scale, the rows, and what was left out.

    target: what Snakemake is asked for when it is written, "" for everything.
    """
    seeds = "" if config.seeds == [0] else f" 'seeds={config.seeds}'".replace(", ", ",")
    return {
        "layout": layout(config, "training"),
        "title": config.title,
        "seeds": config.seeds,
        "command": " ".join(filter(None, ("snakemake", target, f"--config scale={config.scale}{seeds}"))),
        "not_run": not_run(config),
    }


def page_inputs(config: Config) -> list[str]:
    """What the page shows (tables, scorecard, figures) and what it is judged by (models and analyses)."""
    shown = [path for path in all_files(config) if path.endswith((".md", ".csv", ".png"))]
    return [*shown, *drawn_from(config)]


def page_files(config: Config) -> list[str]:
    """The pictures and numbers beside the page."""
    names = [path.rpartition("/")[2] for path in all_files(config) if path.endswith((".csv", ".png"))]
    return [f"{PAGE.removesuffix('.md')}/{name}" for name in (*names, *PAGE_TABLES)]
