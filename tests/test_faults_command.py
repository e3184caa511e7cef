"Runs that are killed, full disks, two at once, files of settings, limits of memory."

import errno
import json
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.dummy import DummyRegressor
from trials import SEED, trials

from thu_big_data_ml import (
    BaselinePredictor,
    CachedScore,
    UserCF,
    compare,
    one_standard_error,
    plot_comparison,
    plot_error_by_activity,
    plot_grid,
    repeated_splits,
    search_parameters,
    synthetic_ratings,
)
from thu_big_data_ml.__main__ import main
from thu_big_data_ml._memory import free_memory, in_blocks
from thu_big_data_ml.evaluation import _experiment, _measuring, _rows, comparison
from thu_big_data_ml.evaluation._choosing import names_in
from thu_big_data_ml.evaluation.comparison import default_models

quick = "global mean, damped biases, user CF, cosine, all raters"
times = re.compile("seconds|date|error|options")


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(60, 40, 900, random_state=0)


@pytest.fixture
def figures():
    "For a test that wants the page of figures to be drawn."


@pytest.fixture
def run(tmp_path, monkeypatch, data, request):
    "The command `run` in a folder with a small file of ratings: words to exit code."
    monkeypatch.chdir(tmp_path)
    if "figures" not in request.fixturenames:  # five megabytes each
        monkeypatch.setattr(_experiment, "figures_page", lambda *_: "figures")
    dated = data.train.assign(date=data.train["date"].dt.strftime("%Y-%m-%d"))
    dated.to_csv("r.txt", sep=" ", header=False, index=False)
    common = ["run", "--data", "r.txt", "--device", "cpu"]
    return lambda *words: main([*common, *(words or ("--models", quick))])


def results(folder="results") -> dict:
    return json.loads((Path(folder) / "results.json").read_text())


def rmses(folder="results") -> dict:
    return {model["model"]: model["rmse"] for model in results(folder)["models"]}


def figures_of(folder) -> str:
    "The page of figures without what Plotly draws by lot, the ids of its elements."
    text = (Path(folder) / "figures.html").read_text(encoding="utf-8")
    return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "", text)


# What ends a run loses the model in work at most


def failing(monkeypatch, place: int, error):
    "`evaluate` raises at the model of this place."
    real, calls = _measuring.evaluate, []

    def evaluate(model, data, *fit):
        calls.append(model)
        if len(calls) == place:
            raise error
        return real(model, data, *fit)

    monkeypatch.setattr(_experiment, "evaluate", evaluate)


@pytest.mark.parametrize("place", [1, 3])
def test_ctrl_c_keeps_what_is_finished(run, monkeypatch, capsys, place):
    with monkeypatch.context() as patch:
        failing(patch, place, KeyboardInterrupt)
        assert run() == 130
    assert f"{place - 1} of 3 models are finished" in capsys.readouterr().err
    assert run() == 0
    said = capsys.readouterr().out
    assert ("Kept from before: global mean; damped biases." in said) == (place == 3)
    assert run("--models", quick, "--output", "whole") == 0
    assert rmses() == rmses("whole")


def test_a_killed_run_continued_is_the_undisturbed_one(run, figures, tmp_path):
    rng = np.random.default_rng([SEED, 6])
    words = [sys.executable, "-m", "thu_big_data_ml", "run", "--data", "r.txt", "--device", "cpu"]
    words += ["--models", quick, "--quiet"]
    assert run("--models", quick, "--output", "whole") == 0
    for number in range(trials(1, 30)):
        folder = tmp_path / f"killed {number}"
        run_of_it = subprocess.Popen([*words, "--output", folder], stdout=-1, stderr=-1)
        for _ in range(1200):  # at a moment after the first row, or before it
            if len(list(folder.glob("rows/*.npz"))) > number % 3 or run_of_it.poll() is not None:
                break
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.02))
        run_of_it.send_signal(signal.SIGKILL)
        run_of_it.communicate()
        assert run("--models", quick, "--output", str(folder)) == 0
        assert rmses(folder) == rmses("whole") and figures_of(folder) == figures_of("whole")
        assert not list(folder.rglob("*.part"))


@pytest.mark.parametrize("error", [MemoryError("no room"), IndexError("of a bug"), OSError("?")])
def test_an_error_of_one_model_is_told_and_the_others_go_on(run, monkeypatch, capsys, error):
    with monkeypatch.context() as patch:
        failing(patch, 2, error)
        assert run() == 1
    said = capsys.readouterr().err
    assert f"damped biases failed: {type(error).__name__}: {error}" in said
    assert "Traceback" not in said and ("test_faults_command.py:" in said) == isinstance(
        error, IndexError
    )
    assert list(rmses()) == ["global mean", "user CF, cosine, all raters"]
    assert str(error) in results()["failed"]["damped biases"]
    table = pd.read_csv("results/results.csv", index_col="model")
    assert str(error) in table.loc["damped biases", "error"]
    assert run() == 0 and len(rmses()) == 3 and not results()["failed"]


def test_a_full_disk_is_said_and_tried_again(run, monkeypatch, capsys):
    real, full = _rows.write_arrays, [True]

    def write(path, *rest):
        if full[0]:
            raise OSError(errno.ENOSPC, f"{path}: No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(_rows, "write_arrays", write)
    assert run() == 1
    said = capsys.readouterr()
    assert "The run goes on" in said.err and "Not written: global mean" in said.err
    assert len(rmses()) == 3 and "user CF, cosine" in said.out
    full[0] = False
    assert run("--models", quick, "--restart") == 0
    assert len(list(Path("results/rows").glob("*.npz"))) == 3


def test_rows_that_were_damaged_are_told_and_done_anew(run, capsys):
    assert run() == 0
    before = rmses()
    path = Path("results/rows/damped-biases.npz")
    path.write_bytes(path.read_bytes()[:-200])
    assert run() == 0
    said = capsys.readouterr()
    assert "damped-biases.npz" in said.err and "done anew" in said.err
    assert rmses() == before
    arrays, settings = _rows.read_arrays(path, "row")
    for change, array in (({}, np.ones(3)), (dict(key=[]), None), (dict(other=1), None)):
        changed = arrays if array is None else arrays | dict(prediction=array)
        _rows.write_arrays(path, changed, settings | change, "row")
        assert run() == 0 and rmses() == before
        assert "damped-biases.npz" in capsys.readouterr().err


# The same experiment, or another


def test_another_experiment_is_refused_by_what_differs(run, capsys, data):
    assert run() == 0
    before = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    Path("p.json").write_text('{"parameters": {"damped biases": {"user_damping": 3}}}')
    data.train.head(500).drop(columns="date").to_csv("r2.txt", sep=" ", header=False, index=False)
    for words, difference in (
        (("--random-state", "1"), "the seed"),
        (("--data", "r2.txt"), "the ratings"),
        (("--config", "p.json"), "parameter user_damping of 'damped biases'"),
    ):
        assert run("--models", quick, *words) == 3
        said = capsys.readouterr().err
        assert difference in said and "--restart" in said and "--output" in said
    assert before == {p: p.read_bytes() for p in Path("results").rglob("*") if p.is_file()}
    assert run("--models", "damped biases", "--config", "p.json", "--restart") == 0
    assert results()["models"][0]["parameters"]["user_damping"] == 3 and len(rmses()) == 3
    assert run("--models", quick, "--random-state", "1", "--restart") == 0
    assert results()["options"]["random_state"] == 1


def test_results_without_their_rows_are_not_replaced(run, capsys):
    Path("results").mkdir()
    Path("results/results.csv").write_text("somebody's")
    assert run() == 3 and "results.csv" in capsys.readouterr().err
    assert Path("results/results.csv").read_text() == "somebody's"
    assert run("--models", "global mean", "--restart") == 0


def test_two_at_once_in_one_folder(run, capsys):
    with _experiment.sole_use(Path("results")):
        assert run() == 2
        assert "Another run is writing to results" in capsys.readouterr().err
        assert run("--models", "global mean", "--output", "results/inside") == 0


@pytest.mark.parametrize("name", ["results", "results/rows", "results/results.json"])
def test_what_cannot_be_written_is_found_before_the_work(run, monkeypatch, capsys, name):
    monkeypatch.setattr(_experiment, "evaluate", None)
    if name.endswith("json"):
        Path(name).mkdir(parents=True)
    else:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text("a file")
    assert run() == 2
    said = capsys.readouterr().err
    assert name in said and "--output" in said and said.count("\n") == 1


@pytest.mark.parametrize("part", ["train", "test"])
def test_a_part_without_dates_leaves_models_out(run, monkeypatch, capsys, data, part):
    import dataclasses

    from thu_big_data_ml.data import sources

    without = dataclasses.replace(data, **{part: getattr(data, part).drop(columns="date")})
    monkeypatch.setattr(sources, "load_ratings", lambda *_, **__: without)
    assert run("--models", "global mean, both families, Bayesian with time") == 0
    said = capsys.readouterr().out
    assert f"no dates in {part}" in said and "'both families, Bayesian with time'" in said
    assert list(rmses()) == ["global mean"]


# What is written, and to whom


def test_results_say_what_they_depend_on(run):
    assert run() == 0
    found = results()
    assert found["schema_version"] == 2 and found["date"].endswith("+00:00")
    assert found["machine"]["cores"] and "processor" in found["machine"]
    assert found["machine"]["gpu"] is None and len(found["data_fingerprint"]["test"]) == 32
    assert found["models"][1]["parameters"]["user_damping"] == 8 and not found["missing"]
    assert found["versions"].keys() >= {"thu_big_data_ml", "torch", "numba"}
    assert set(found["models"][0]) >= {"fit_seconds", "predict_seconds", "model_megabytes"}
    assert not list(Path("results").rglob("*.part"))


def test_a_log_is_a_line_a_model_and_pipes_may_close(run, tmp_path):
    words = [sys.executable, "-m", "thu_big_data_ml", "run", "--data", "r.txt", "--device", "cpu"]
    words += ["--models", "global mean, damped biases"]
    command = " ".join(f"'{word}'" for word in words)
    log = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} 2>&1 | head -1"], capture_output=True, text=True
    )
    assert log.returncode == 0 and log.stdout.count("\n") == 1, log.stdout + log.stderr
    assert len(rmses()) == 2 and Path("results/figures.html").stat().st_size > 1e6


def test_the_log_of_all_models_is_short(run, capfd):
    assert run("--models", f"{quick}, factorization, biases") == 0
    out, err = capfd.readouterr()
    assert "\r" not in out + err and "%|" not in err and len(out + err) < 2500
    assert run("--models", quick, "--quiet") == 0
    out, err = capfd.readouterr()
    assert err == "" and out.splitlines()[1].startswith("model") and len(out.splitlines()) == 6


def test_long_histories_make_small_figures():
    history = pd.DataFrame(
        {name: np.random.rand(100_000) for name in ("train_rmse", "validation_rmse", "loss")}
    ).assign(epoch=np.arange(100_000))
    thin = _experiment.thinned(history)
    assert len(thin) <= 1001 and thin["epoch"].iloc[-1] == 99_999
    assert _experiment.thinned(history.head(7)).equals(history.head(7))
    assert len(_experiment.thinned(history.head(0))) == 0


def test_names_are_text_in_the_page_of_figures(data):
    name = "<script>alert(1)</script>"
    frame = pd.DataFrame({"rmse": [1.0], "standard_error": 0.1}, [name])
    row = _rows.ModelRow(name, {}, {}, {}, "", {}, data.test["rating"].to_numpy())
    page = _experiment.figures_page(data, [row], frame)
    assert "<script>alert" not in page and "script" in page


# Words and files of settings


def test_names_of_models_are_read_with_their_commas():
    known = list(default_models())
    for name in known:
        assert names_in(name.upper(), known) == [name]
    assert names_in(",".join(known), known) == known
    rng = np.random.default_rng([SEED, 1])
    for _ in range(trials(50, 5000)):
        some = list(rng.permutation(known)[: rng.integers(1, 12)])
        # a name that another one begins with is read as that one where its end follows by chance
        assert names_in(", ".join(some), known) == some
    with pytest.raises(ValueError, match=r"'user CF, cosine, all raters'.*--list"):
        names_in("global mean, user CF cosin", known)


def test_settings_from_files(run, capsys):
    Path("c.toml").write_text(
        'models = ["damped biases"]\nrandom-state = 3\nquiet = true\noutput = "of toml"\n'
        '[parameters."damped biases"]\nuser_damping = 2.5\n'
    )
    assert run("--config", "c.toml") == 0
    found = results("of toml")
    assert found["options"]["random_state"] == 3 and "Written" not in capsys.readouterr().out
    assert found["models"][0]["parameters"]["user_damping"] == 2.5
    Path("c.json").write_text('{"models": "global mean", "random_state": 3, "output": "a"}')
    assert run("--config", "c.json", "--random-state", "4", "--output", "b") == 0
    assert results("b")["options"]["random_state"] == 4 and not Path("a").exists()


@pytest.mark.parametrize(
    "text, said",
    [
        ('{"modles": "global mean"}', "no option 'modles'. Near it: 'models'"),
        ('{"random_state": "x"}', "random-state"),
        ('{"random_state": 1, "random_state": 2}', "twice"),
        ('{"duplicates": "first"}', "invalid choice"),
        ('{"data": {"a": 1}}', "data"),
        ('{"parameters": []}', "parameters must be tables"),
        ('{"parameters": {"damped bias": {}}}', "Near it: 'damped biases'"),
        ('{"parameters": {"damped biases": {"damping": 1}}}', "no parameter 'damping'"),
        ('{"config": "c.json"}', "no option 'config'"),
        ("[1]", "holds a list"),
        ('{"data": ', "line 1"),
        ("[" * 100_000, "c.json"),
        ("\xff\xfe{}", "UTF-8"),
        (None, "cannot be read"),
    ],
)
def test_files_of_settings_that_cannot_be_used(run, capsys, text, said):
    if text is not None:
        Path("c.json").write_bytes(text.encode("latin-1"))
    assert run("--config", "c.json") == 2
    err = capsys.readouterr().err
    assert "c.json" in err and said in err and err.count("\n") == 1 and len(err) < 400
    assert not Path("results").exists()


def test_the_chapter_runs_in_a_notebook(monkeypatch):
    "Under ipykernel the name is __main__ and there is no package: nothing is run."
    notebook = Path(__file__).parents[1] / "nbs" / "command_line.ipynb"
    cells = ["".join(c["source"]) for c in json.loads(notebook.read_text())["cells"]]
    last = next(cell for cell in cells if "sys.exit(main())" in cell)
    monkeypatch.setattr(sys, "argv", ["ipykernel_launcher.py", "-f", "kernel.json"])
    exec(last, {"__name__": "__main__", "__package__": None, "sys": sys, "main": main})


# Comparisons and searches


def test_compare_says_what_it_needs(data):
    one = {"mean": DummyRegressor()}
    for arguments, said in (
        (([DummyRegressor()], data), "a dict of name"),
        ((DummyRegressor(), data), "a dict of name"),
        (({}, data), "empty"),
        (({"a": "model.csv"}, data), r"\['a'\] is a str"),
        (({"a": UserCF}, data), r"write UserCF\(\)"),
        ((one, data.train), "RatingData"),
    ):
        with pytest.raises((TypeError, ValueError), match=said):
            compare(*arguments)
    both = compare(one, data)
    for wrong in (both, both[1], None):
        with pytest.raises((TypeError, ValueError), match="compare return"):
            plot_comparison(wrong)
    with pytest.raises(TypeError, match="table, predictions = compare"):
        plot_error_by_activity(data, both)
    with pytest.raises(ValueError, match="'user_id' or 'movie_id', not 'user'"):
        plot_error_by_activity(data, both[1], "user")
    with pytest.raises(ValueError, match="other ratings"):
        plot_error_by_activity(data, both[1].head(3))


def test_a_model_that_fails_leaves_the_others_theirs(data):
    class Mute(DummyRegressor):
        def predict(self, X):
            return np.full(len(X), np.nan)

    models = {"mute": Mute(), "mean": DummyRegressor()}
    with pytest.warns(UserWarning, match="'mute' failed.*no finite number") as said:
        table, predictions = compare(models, data)
    assert said[0].filename == __file__ and list(predictions) == ["mean"]
    assert np.isnan(table.loc["mute", "rmse"]) and table.loc["mean", "rmse"] > 0
    assert list(plot_comparison(table).data[0].y) == ["mean"]
    with pytest.raises(RuntimeError, match="Every model failed"):
        compare({"mute": Mute()}, data)


def test_searches_say_what_they_need(data):
    one, train = BaselinePredictor(), data.train
    for grid in ({}, [], [{}], "user_damping", [1]):
        with pytest.raises(ValueError, match="nothing to try"):
            search_parameters(one, grid, train, memory=None)
    with pytest.raises(ValueError, match="no_such"):
        search_parameters(one, {"no_such": [1]}, train, memory=None)
    with pytest.raises(TypeError, match=r"data\.train"):
        search_parameters(one, {"user_damping": [1]}, data, memory=None)
    with pytest.raises(ValueError, match="no column 'rating'"):
        repeated_splits({"a": one}, train.drop(columns="rating"), memory=None)
    with pytest.raises(ValueError, match="at least 2"):
        repeated_splits({"a": one}, train, n_splits=1, memory=None)
    with pytest.raises(TypeError, match="a dict"):
        repeated_splits([one], train, memory=None)
    with pytest.raises(TypeError):
        CachedScore("model").fit(train, train["rating"]).predict(train)
    nothing = dict(mean_test_score=np.full(2, np.nan), std_test_score=np.zeros(2))
    with pytest.raises(ValueError, match="nothing to choose"):
        one_standard_error(nothing)
    point = pd.DataFrame({"a": [1], "b": [2], "rmse": [0.9]})
    assert plot_grid(point, "a", "b").data[0].z.tolist() == [[0.9]]
    with pytest.raises(ValueError, match="no column 'n_factors'"):
        plot_grid(point, "a")


# Memory


def cgroup(root: Path, files: dict) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


v1 = "sys/fs/cgroup/memory"
v2 = "sys/fs/cgroup"


@pytest.mark.parametrize(
    "files, free, said",
    [
        ({"proc/self/cgroup": "0::/a/b\n", f"{v2}/a/memory.max": "70\n"}, 0, "memory.max"),
        (
            {
                "proc/self/cgroup": "0::/a/b\n",
                f"{v2}/a/memory.max": "90000\n",
                f"{v2}/a/memory.current": "5000\n",
                f"{v2}/a/memory.stat": "anon 1\ninactive_file 2000\n",
                f"{v2}/a/b/memory.max": "max\n",
                f"{v2}/a/b/memory.high": "80000\n",
                f"{v2}/a/b/memory.current": "1000\n",
            },
            79_000,
            "memory.high of the control group /a/b",
        ),
        (  # in a container the path is the host's, and the mount is the container's own
            {
                "proc/self/cgroup": "0::/docker/123\n",
                f"{v2}/memory.max": "5000\n",
                f"{v2}/memory.current": "1000\n",
            },
            4000,
            "memory.max of the control group /",
        ),
        (
            {
                "proc/self/cgroup": "9:cpu,memory:/slurm/job\n1:name=systemd:/x\n",
                f"{v1}/memory.limit_in_bytes": "9223372036854771712\n",
                f"{v1}/slurm/job/memory.limit_in_bytes": "60000\n",
                f"{v1}/slurm/job/memory.usage_in_bytes": "30000\n",
                f"{v1}/slurm/job/memory.stat": "total_inactive_file 10000\n",
            },
            40_000,
            "memory.limit_in_bytes of the control group /slurm/job",
        ),
        ({"proc/self/cgroup": "0::/../x\n", f"{v2}/memory.max": "max"}, None, "this machine"),
        ({"proc/self/cgroup": "nonsense\n\n:::\n"}, None, "this machine"),
        ({}, None, "this machine"),
    ],
)
def test_limits_of_control_groups(tmp_path, files, free, said):
    found, limit = free_memory(cgroup(tmp_path, files))
    assert said in limit and (found > 1e6 if free is None else found == free)


def test_blocks_are_halved_until_they_fit():
    rng = np.random.default_rng([SEED, 2])
    for _ in range(trials(20, 500)):
        n, size, fits = (int(x) for x in rng.integers(1, 200, 3))
        done = np.zeros(n, int)

        def work(some, done=done, fits=fits):
            if some.stop - some.start > fits:
                raise MemoryError
            done[some] += 1

        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            in_blocks(n, size, work, "a test")
        assert (done == 1).all()
        assert [w.filename for w in said] == [__file__] * (min(n, size) > fits)
    with pytest.raises(MemoryError, match=r"not even for one row.*GB"):
        in_blocks(5, 5, lambda _: np.empty(1 << 57), "a test")
    with pytest.raises(RuntimeError, match="another"):
        in_blocks(5, 5, lambda _: exec('raise RuntimeError("another")'), "a test")


def test_less_memory_than_expected_gives_the_same_numbers(data, monkeypatch):
    from thu_big_data_ml.neighbors import _neighbourhood

    whole = UserCF(center="mean", device="cpu").fit(data.train)
    real = _neighbourhood.similarity_rows

    def tight(*args):
        compare = real(*args)

        def rows(some):
            if some is None or len(some) > 7:
                raise MemoryError
            return compare(some)

        return rows

    monkeypatch.setattr(_neighbourhood, "similarity_rows", tight)
    with pytest.warns(UserWarning, match="in blocks instead"):
        model = UserCF(center="mean", device="cpu").fit(data.train)
    with pytest.warns(UserWarning, match="takes longer and gives the same"):
        np.testing.assert_allclose(model.predict_matrix(), whole.predict_matrix(), atol=1e-6)
    np.testing.assert_allclose(model.predict(data.test), whole.predict(data.test), atol=1e-6)


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS is Linux's")
def test_under_a_limit_of_the_process_predictions_are_the_same_or_refused():
    "Also where an allocation fails in a thread of a kernel: numba drops what it raises."
    code = f"""if True:
        import resource, sys, warnings
        import numpy as np, psutil
        from thu_big_data_ml import UserCF, synthetic_ratings
        from thu_big_data_ml.neighbors import _neighbourhood, _similarity_ways
        warnings.simplefilter("ignore")
        data = synthetic_ratings(1200, 200, 20_000, random_state={SEED})
        fixed = dict(center="mean", device="cpu")
        make = lambda k, most=None: UserCF(k, max_memory=most, **fixed).fit(data.train)
        _similarity_ways.few_products = 0  # one way to the similarities, whatever the memory
        for k in (None, 5):  # every kernel is loaded
            make(k, 2_000_000).predict(data.test)
        expected = {{k: make(k).predict(data.test) for k in (None, 5)}}
        for room in {trials([2, 12, 40], list(range(1, 60, 2)))}:
            used = psutil.Process().memory_info().vms
            for lie in (False, True):
                limit = used + room * 1_000_000, resource.RLIM_INFINITY
                resource.setrlimit(resource.RLIMIT_AS, limit)
                real = _neighbourhood.free_memory
                if lie:  # as if another program took it in the meantime
                    _neighbourhood.free_memory = lambda: (1 << 40, "free")
                try:
                    for k, numbers in expected.items():
                        found = make(k).predict(data.test)
                        assert np.allclose(found, numbers, atol=1e-5), (room, lie, k)
                    print("same")
                except MemoryError as error:
                    assert "GB" in str(error) or "allocate" in str(error).lower(), str(error)
                    print("refused")
                finally:
                    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
                    _neighbourhood.free_memory = real"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(done.stdout.split()) <= {"same", "refused"} and "same" in done.stdout


def test_a_refusal_names_the_limit(data, monkeypatch):
    from thu_big_data_ml.neighbors import _neighbourhood

    monkeypatch.setattr(_neighbourhood, "free_memory", lambda: (100, "left by memory.max of /x"))
    with pytest.raises(MemoryError, match=r"GB may be used \(left by memory\.max of /x\)"):
        UserCF(device="cpu").fit(data.train)


def test_no_progress_bar_asks_for_widgets():
    package = Path(comparison.__file__).parents[1]
    assert not [p for p in package.rglob("*.py") if "tqdm.auto" in p.read_text()]


def test_help_waits_for_no_slow_import():
    slow = "{'sklearn', 'torch', 'numba', 'scipy.stats'} & {*sys.modules}"
    code = f"import sys, thu_big_data_ml.__main__; print({slow})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr
