"""docs/explore.ipynb, the first thing that a student opens: it runs from a clean kernel and shows what is committed."""

import os
import re
from pathlib import Path

import nbclient
import nbformat
import project
import pytest
import yaml

NOTEBOOK = project.ROOT / "docs/explore.ipynb"
COMMITTED = nbformat.read(NOTEBOOK, nbformat.NO_CONVERT)
LIMIT = 500_000  # bytes


def run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> nbformat.NotebookNode:
    """The notebook with the outputs of a new kernel, which starts in docs/ of a project without results."""
    (folder / "docs").mkdir()
    monkeypatch.delenv("MPLBACKEND", raising=False)  # which drawing code sets
    monkeypatch.setenv("PATH", f"{Path(os.sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for name, value in project.environment().items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.from_dict(COMMITTED)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    place = {"metadata": {"path": str(folder / "docs")}}
    return nbclient.NotebookClient(notebook, timeout=3600, kernel_name="python3", resources=place).execute()


def kinds(notebook: nbformat.NotebookNode) -> list[set[str]]:
    """What each code cell shows: pictures, values, printed text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        {kind for one in cell.outputs for kind in one.get("data", [one.get("name")])} - {"stderr"} for cell in cells
    ]


def numbers(notebook: nbformat.NotebookNode) -> dict[str, float]:
    """The log-likelihoods that the last code cell prints."""
    last = [cell for cell in notebook.cells if cell.cell_type == "code"][-1]
    text = "".join(output.text for output in last.outputs if output.get("name") == "stdout")
    return {title.strip(): float(value) for title, value in re.findall(r"^(.+?) L_500 = (-\d+\.\d+)", text, re.M)}


def test_it_is_small_and_names_no_folder_of_a_machine() -> None:
    text = NOTEBOOK.read_text()
    assert len(text) < LIMIT and not re.search(r"/(home|root|tmp|work|Users)/", text)
    assert sum("image/png" in kind for kind in kinds(COMMITTED)) >= 5 and len(numbers(COMMITTED)) == 4


def test_it_runs_from_a_clean_kernel_with_a_short_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = project.make(tmp_path / "clone")
    settings = yaml.safe_load((project.ROOT / "config/config.yaml").read_text())
    settings["scales"]["demo"]["epochs"] = {"digits": 3}
    (folder / "config").unlink()
    (folder / "config").mkdir()
    (folder / "config/config.yaml").write_text(yaml.safe_dump(settings))
    again = run(folder, monkeypatch)
    assert kinds(again) == kinds(COMMITTED) and numbers(again).keys() == numbers(COMMITTED).keys()


@pytest.mark.release
def test_it_gives_the_committed_likelihoods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To a nat: on other processors a training of the same seed takes another course by rounding."""
    again = numbers(run(project.make(tmp_path / "clone"), monkeypatch))
    assert again == pytest.approx(numbers(COMMITTED), abs=1)
