"The whole experiment on real ratings, and what is written about it."

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from thu_big_data_ml.__main__ import main

root = Path(__file__).resolve().parents[1]


def test_the_models_rank_as_the_report_says(comparison):
    error = comparison["rmse"]
    assert error["damped biases"] < error["global mean"] - 0.1
    assert error["user CF, centred, 40 nearest"] < error["user CF, cosine, all raters"] - 0.05
    assert error["user CF, centred, 40 nearest"] < error["damped biases"] - 0.005
    assert error["factorization, biases"] < error["damped biases"] - 0.005
    assert abs(error["factorization, biases"] - error["user CF, centred, 40 nearest"]) < 0.01
    assert error["movie CF, centred, 40 nearest"] < error["user CF, centred, 40 nearest"] - 0.01
    assert error["factorization, who rated what"] < min(
        error["factorization, biases"] - 0.01, error["movie CF, centred, 40 nearest"]
    )
    assert error["factorization, Bayesian"] < error["factorization, who rated what"] - 0.008
    assert abs(error["factorization, mean field"] - error["factorization, Bayesian"]) < 0.003
    assert error["both families, mean field"] < error["factorization, mean field"] - 0.003
    assert error["both families"] < error["factorization, who rated what"] - 0.003
    assert error["both families, Bayesian"] < error["factorization, Bayesian"] - 0.002
    for way in ("Bayesian", "mean field"):
        dated = error[f"both families, {way} with time"]
        assert dated < error[f"both families, {way}"] - 0.008
    assert 0.80 < error.min() < 0.83


def test_the_readme_states_the_figures_of_a_run(comparison):
    rows = dict(
        re.findall(r"^\| ([^|]+?) \| (\d\.\d{4}) \|$", (root / "README.md").read_text(), re.M)
    )
    assert set(rows) == set(comparison.index)
    for model, figure in rows.items():
        assert float(figure) == pytest.approx(comparison.loc[model, "rmse"], abs=0.002), model


def test_notebooks_and_package_agree(tmp_path):
    "nbdev_export on a copy changes no file of the package."
    for part in ("nbs", "thu_big_data_ml", "settings.ini", "setup.py", "README.md"):
        copy = shutil.copytree if (root / part).is_dir() else shutil.copy
        copy(root / part, tmp_path / part)
    subprocess.run(
        [Path(sys.executable).with_name("nbdev_export")],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    for path in sorted((root / "thu_big_data_ml").rglob("*.py")):
        assert path.read_text() == (tmp_path / path.relative_to(root)).read_text(), (
            f"{path.name} differs: run nbdev_export"
        )


@pytest.mark.parametrize("path", sorted((root / "nbs").rglob("*.ipynb")), ids=lambda p: p.stem)
def test_stored_notebooks_are_executed_small_and_clean(path):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
    shown = [o for c in cells for o in c["outputs"]]
    text = json.dumps(
        [
            {k: v for k, v in o.get("data", {}).items() if not k.startswith("image/")}
            | {"text": o.get("text", "")}
            for o in shown
        ]
    )
    assert any(c["execution_count"] for c in cells)
    assert not re.search(r"Traceback|Warning|/(tmp|home|root|work)/", text)
    tables = [part for o in shown for part in o.get("data", {}).get("text/html", [])]
    size = len(text) - sum(len(part) for part in tables if "Plotly.newPlot" in part)
    assert "plotly.js v" not in text and size < 100_000
    assert all(o["output_type"] != "error" for o in shown)


def run_module(*words, cwd, **env):
    return subprocess.run(
        [sys.executable, "-m", "thu_big_data_ml", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=os.environ | env,
    )


def test_the_command_line_from_any_directory(tmp_path):
    (tmp_path / "ratings.txt").write_text(
        "".join(
            f"{u} {m} {(u * m) % 5 + 1}\n"
            for u in range(1, 40)
            for m in range(1, 20)
            if (u + m) % 3
        )
    )
    done = run_module("run", "--data", "ratings.txt", "--device", "cpu", "--quiet", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "results" / "results.json").read_text())
    table = pd.read_csv(tmp_path / "results" / "results.csv", index_col="model")
    assert [m["model"] for m in results["models"]] == table.index.tolist() and (
        table["rmse"] > 0
    ).all()
    assert "no dates" in done.stdout and not table.index.str.contains("time").any()
    assert (
        results["versions"]["numpy"]
        and "Plotly.newPlot" in (tmp_path / "results" / "figures.html").read_text()
    )


@pytest.mark.parametrize(
    "words, code, sentence",
    [
        (["--help"], 0, "download"),
        (["run", "--help"], 0, "--random-state"),
        ([], 2, "required"),
        (["run", "--data", "nowhere"], 2, "there is no such file"),
        (["run", "--data", "broken.txt"], 2, "broken.txt:2"),
        (["run", "--device", "cuda:9"], 2, "cuda:9"),
    ],
)
def test_the_command_line_in_plain_words(tmp_path, monkeypatch, capsys, words, code, sentence):
    (tmp_path / "broken.txt").write_text("1 2 3\n1 2\n")
    monkeypatch.chdir(tmp_path)
    try:
        assert main(words) == code
    except SystemExit as stop:  # of argparse
        assert stop.code == code
    said = capsys.readouterr()
    assert sentence in said.out + said.err and "Traceback" not in said.err


def test_kernels_compile_where_nothing_can_be_written(monkeypatch):
    import numba

    from thu_big_data_ml._compiling import kernel

    njit = numba.njit

    def unwritable(function, cache=False, **options):
        if cache:
            raise RuntimeError("no locator available")
        return njit(function, **options)

    monkeypatch.setattr(numba, "njit", unwritable)
    assert kernel(lambda x: 2 * x)(21) == 42 and kernel(parallel=False)(lambda x: 2 * x)(21) == 42


def test_import_is_light():
    code = """if True:
        import sys
        import thu_big_data_ml.data.sources, thu_big_data_ml.neighbors.user_cf
        print([m for m in ("torch", "plotly", "nbdev", "IPython") if m in sys.modules])"""
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip()
        == "[]"
    )


def test_the_import_line_of_the_original_notebook():
    names = {}
    exec("from thu_big_data_ml.big_data_analytics.matrix_decomposition import *", names)
    for name in (
        "get_rating_matrix",
        "compute_weighted_sum_on_matrix",
        "MatrixFactorization",
        "masked_mse_loss",
        "masked_rmse_loss",
        "train_matrix_factorization",
        "data_path",
        "joblib_memory",
        "UserCF",
        "load_ratings",
    ):
        assert name in names
