"""The likelihood table: test log-likelihoods, the parts of the one-sample bound, and what memory gains."""

from typing import Any

from memvae.report import measures
from memvae.report.layout import Files, Layout, RunFile
from memvae.report.origin import comparable, facts, facts_columns, notes
from memvae.report.paper import NOT_RUN, Paper, run_key
from memvae.report.render import Section, Table, number
from memvae.settings.config import Row

PAGE = 40  # rows of a section that fit a page


def build(layout: Layout, files: Files, printed: Paper) -> Table:
    """Test log-likelihood of every row, the parts of L_1, and the differences between models, nats per image."""
    rows = files.rows(layout, "analysis/likelihood", every=True)
    results = [(row, found, measures.likelihood(found) if found else None) for row, found in rows]
    with_more = any(result and result.more for _, _, result in results)
    cells, values, parts = [], [], []
    for row, found, result in results:
        theirs = printed.value("likelihood", run_key(row), "log_likelihood")
        cells.append(_cells(layout, row, found, result, theirs))
        head = {"data": row.dataset, "model": row.title, "K in training": str(row.k)}
        if result is None:
            values.append({**head, "log-likelihood": NOT_RUN, "paper": number(theirs)})
            continue
        difference = comparable(row, found, theirs, result.log_likelihood.mean)
        more = f"{number(result.more.mean)} (K = {result.more_samples:,})" if result.more else ""
        values.append(
            {
                **head,
                "log-likelihood": number(result.log_likelihood.mean),
                "standard error": number(result.standard_error),
                "sd over seeds": number(result.log_likelihood.sd),
                "seeds": str(result.log_likelihood.seeds),
                **({"more samples": more} if with_more else {}),
                "paper": number(theirs),
                "difference": number(difference, sign=True),
                "test images": number(result.images, 0),
            }
        )
        parts.append(
            {
                **head,
                "bound L1": number(result.bound.mean),
                "reconstruction": number(result.log_px.mean),
                "KL": number(result.kl.mean),
                "train minus test": number(result.train_minus_test.mean, sign=True),
                "sd of bound over seeds": number(result.bound.sd),
                "test images": number(result.bound_images, 0),
            }
        )
    gap_cells, gap_rows = _gaps(layout, rows, printed)
    sections = [
        Section(title, records, long=len(records) > PAGE)
        for title, records in (
            ("log-likelihood", values),
            ("the one-sample bound and its parts", parts),
            ("gain of memory, over the same test images", gap_rows),
        )
        if records
    ]
    done = [(found, result) for _, found, result in results if result]
    data = facts(file for found, _ in done for file in found)
    spans = dict.fromkeys(f"{f[0].data} K = {r.samples:,} on {r.images:,} test images" for f, r in done)
    said = notes(
        layout,
        "Nats per image, higher is better; standard errors are over test images. Difference: ours minus the paper's.",
        "Where log-likelihood and bound L1 are over different test images, the two sections cannot be subtracted.",
        "The standard error of a gain is that of the choice of test images; training again with another seed changes a "
        "value by 0.1 to 0.3 nats more."
        if gap_rows
        else "",
        f"Data: {data}. Samples: {', '.join(spans)}." if done else "",
        "The paper's values: K = 5,000 on all test images.",
    )
    return Table("likelihood", "Test log-likelihood", [*cells, *gap_cells], sections, said)


def _cells(
    layout: Layout, row: Row, found: list[RunFile], result: measures.Likelihood | None, theirs: float | None
) -> dict[str, Any]:
    return {
        "row": run_key(row),
        "kind": "value",
        "model": row.title,
        "k": row.k,
        "log_likelihood": result.log_likelihood.mean if result else NOT_RUN,
        "standard_error": result.standard_error if result else None,
        "sd": result.log_likelihood.sd if result else None,
        "seeds": result.log_likelihood.seeds if result else None,
        "paper": theirs,
        "difference": comparable(row, found, theirs, result.log_likelihood.mean) if result else None,
        "log_likelihood_more": result.more.mean if result and result.more else None,
        "sd_more": result.more.sd if result and result.more else None,
        "samples_more": result.more_samples if result else None,
        "bound": result.bound.mean if result else None,
        "bound_sd": result.bound.sd if result else None,
        "log_px": result.log_px.mean if result else None,
        "kl": result.kl.mean if result else None,
        "train_minus_test": result.train_minus_test.mean if result else None,
        "train_minus_test_sd": result.train_minus_test.sd if result else None,
        "bound_images": result.bound_images if result else None,
        **facts_columns(
            layout, row, found, samples=result.samples if result else None, images=result.images if result else None
        ),
    }


def _gaps(
    layout: Layout, rows: list[tuple[Row, list[RunFile]]], printed: Paper
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Every model with memory minus every one without, of the same data set and K."""
    cells, rounded = [], []
    bases: dict[tuple[str, int], list[tuple[Row, list[RunFile]]]] = {}
    for row, found in rows:
        if found and not found[0].has_memory:
            bases.setdefault((row.paper_dataset, row.k), []).append((row, found))
    for row, found in (pair for pair in rows if pair[1] and pair[1][0].has_memory):
        for base, base_found in bases.get((row.paper_dataset, row.k), []):
            result = measures.gap(found, base_found)
            values = [printed.value("likelihood", run_key(one), "log_likelihood") for one in (row, base)]
            theirs = values[0] - values[1] if values[0] is not None and values[1] is not None else None
            name = f"{row.title} minus {base.title}"
            cells.append(
                {
                    "row": f"{run_key(row)} minus {run_key(base)}",
                    "kind": "gain",
                    "model": name,
                    "k": row.k,
                    "log_likelihood": result.difference.mean,
                    "standard_error": result.standard_error,
                    "sd": result.difference.sd,
                    "seeds": result.difference.seeds,
                    "paper": None if theirs is None else round(theirs, 2),
                    "difference": comparable(row, found, theirs, result.difference.mean),
                    **facts_columns(layout, row, [*found, *base_found], measures.same(found, "samples"), result.images),
                }
            )
            rounded.append(
                {
                    "data": row.dataset,
                    "models": name,
                    "K in training": str(row.k),
                    "gain": number(result.difference.mean, sign=True),
                    "standard error": number(result.standard_error, 3),
                    "gain / standard error": number(result.standard_errors, 1),
                    "sd over seeds": number(result.difference.sd),
                    "paper": number(theirs, sign=True),
                }
            )
    return cells, rounded
