"The measurements at a tiny size: every script runs, and what it writes is a table."

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest

from thu_big_data_ml import BaselinePredictor, PrizeRatings, read_prize, rmse
from thu_big_data_ml._cache import memory_of
from thu_big_data_ml.data.synthetic import synthetic_ratings

bench = Path(__file__).resolve().parents[1] / "bench"
small = ["--users", "150", "--movies", "120", "--ratings", "4000", "--repeats", "2"]


def run_apart(script: str, folder: Path, *words: str, sizes: list[str] = small) -> dict:
    "The JSON that a script writes, called as a user calls it."
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(bench.parent), os.environ.get("PYTHONPATH", "")]),
        "THU_BIG_DATA_ML_DATA": str(folder / "data"),
    }
    done = subprocess.run(
        [sys.executable, bench / f"{script}.py", *sizes, "--output", folder, *words],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / f"{script}.json").read_text())


@pytest.fixture
def run(tmp_path, monkeypatch):
    "The same in this process, which has loaded torch and the kernels already."
    monkeypatch.syspath_prepend(str(bench))
    memory = memory_of(tmp_path / "data")
    monkeypatch.setattr("thu_big_data_ml.help.joblib_memory", memory)

    def here(script: str, *words: str, sizes: list[str] = small) -> dict:
        monkeypatch.setattr(sys, "argv", [script, *sizes, "--output", str(tmp_path), *words])
        with patch.dict(os.environ):
            runpy.run_path(str(bench / f"{script}.py"), run_name="__main__")
        return json.loads((tmp_path / f"{script}.json").read_text())

    return here


def well_formed(found: dict, script: str):
    "Says what it depends on; best is not above median, and neither is zero."
    assert (
        found["table"] == script
        and found["machine"]["cores"] >= 1
        and found["settings"]["threads"] >= 1
    )
    assert found["versions"]["numpy"] and found["rows"]
    timed = [row for row in found["rows"] if "best" in row]
    assert timed and all(0 < row["best"] <= row["median"] for row in timed)


def test_user_cf(tmp_path):
    found = run_apart("user_cf", tmp_path, "--some-users", "20", "--peers", "")
    well_formed(found, "user_cf")
    assert {row["way"] for row in found["rows"]} == {"reference", "ours"}
    assert found["check"]["rmse_reference"] == pytest.approx(found["check"]["rmse_ours"], abs=1e-5)
    assert all(0 < m["before_megabytes"] <= m["peak_megabytes"] for m in found["memory"].values())


def test_roofline(run):
    found = run("roofline", "--square", "200", "--gigabytes", "0.01")
    well_formed(found, "roofline")
    assert len(found["rows"]) == 6 and min(found["ceilings"].values()) > 0


def test_scaling(run, monkeypatch):
    "Its points stand in one process here; that others are fresh is seen in `user_cf`."
    import common

    monkeypatch.setattr(common, "fresh", lambda function, *words: function(*words))
    found = run("scaling", "--doublings", "0", "--repeats", "2")
    well_formed(found, "scaling")
    assert {row["axis"] for row in found["rows"]} == {"users", "movies", "ratings"} and len(
        found["rows"]
    ) == 15


def test_exponents_are_those_of_a_power_law(monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    from scaling import exponents

    rows = [dict(axis="users", stage="s", users=n, best=1e-6 * n**1.5) for n in (10, 20, 40)] + [
        dict(axis="users", stage="s", users=80, refused="no room")
    ]
    assert exponents(rows) == [
        dict(axis="users", stage="s", time_exponent=pytest.approx(1.5), points=3)
    ]


@pytest.fixture
def small_prize(monkeypatch):
    "The archive's published numbers are small ones here."
    monkeypatch.syspath_prepend(str(bench))
    import prize_archive

    small = dict(USERS=600, MOVIES=120, STARTS=(1, 31, 61, 91, 121), MOST_RATED=290)
    small |= dict(LINES=dict.fromkeys((1, 2, 3, 4), 6_000), PAIRS=dict(probe=600, qualifying=900))
    for name, value in small.items():
        monkeypatch.setattr(prize_archive, name, value)
    return prize_archive


def test_a_planted_archive_is_what_it_says(small_prize, tmp_path):
    "Read back: sizes, stars, and no prediction that is better than the best."
    truth = small_prize.make_archive(tmp_path / "made", 50, verbose=False)
    store = read_prize(tmp_path / "made", tmp_path / "s.npz", partial=True, verbose=False)
    assert (len(store.user_ids), len(store.movie_ids)) == (truth["users"], truth["movies"])
    assert len(store) == truth["ratings"] == 4 * (3_000 - 15) and truth["users"] == 300
    assert (len(store.probe), len(store.qualifying)) == (truth["probe"], truth["qualifying"])
    assert truth["probe"] == 300 and np.diff(store.by_user.indptr).min() >= 1
    stars = np.bincount(store.by_user.stars, minlength=6)[1:] / len(store)
    assert np.allclose(stars, truth["histogram"], atol=1e-4)
    assert np.allclose(stars, small_prize.HISTOGRAM, atol=0.03)
    asked, train = store.frame(store.probe), store.without(store.probe)
    of_biases = rmse(asked["rating"], BaselinePredictor().fit(train).predict(asked))
    assert 0.7 < truth["best_achievable_rmse"] < of_biases < asked["rating"].std()
    days = store.by_user.days.astype("M8[D]")
    assert small_prize.FIRST <= days.min() <= days.max() <= small_prize.LAST
    late = [store.by_user.days[store.by_user.indptr[u + 1] - 1] for u in range(300)]
    assert store.by_user.days[store.probe].mean() > np.mean(late), "the probe is of the last days"


def test_prize(run, small_prize, tmp_path, monkeypatch):
    "Rows that are there are not measured again."
    import common

    calls = []
    monkeypatch.setattr(common, "fresh", lambda f, *words: calls.append(f) or f(*words))
    few = ["--percents", "40", "80", "--some-users", "50", "--work", str(tmp_path / "work")]
    few += ["--repeats", "1", "--square", "100", "--gigabytes", "0.01", "--stages"]
    found = run("prize", *few, "read|open|SGD", sizes=[])
    well_formed(found, "prize")
    assert len(found["rows"]) == len(calls) == 6 and len(found["exponents"]) == 3
    assert not list((tmp_path / "work").glob("archive*")), "archives are removed"
    more = run("prize", *few, "read|SGD|CF", sizes=[])
    assert len(calls) == 8 and more["rows"][:6] == found["rows"]
    assert all(0.7 < row["rmse"] < 1.4 for row in more["rows"] if "rmse" in row)
    assert {row["stage"].split(",")[0] for row in more["shares"]} == {"SGD", "user-based CF"}
    assert all(row["share_of_roofline"] > 0 for row in more["shares"])


def test_prize_race(run, small_prize, tmp_path, monkeypatch):
    "Settings are chosen once, at the first scale; a library that is missing is a row; all is kept."
    import peers
    import prize

    asked, splits = [], []

    class Few(dict):
        "Two libraries that answer by a formula, and one that is not there."

        def __init__(self, names, split, chosen):
            splits.append(split)
            super().__init__({name: One(name) for name in names})

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

        def facts(self):
            return dict(peers=dict(libmf="1"), interpreters={}, not_run=dict(pyspark="no Java"))

    class One:
        def __init__(self, name):
            self.error = "no Java" if name == "pyspark" else None

        def ask(self, part, **request):
            asked.append((part, request))
            if self.error:
                return dict(error=self.error)
            told = dict(cpu_seconds=1.0, peak_megabytes=1)
            if "passes" in request:
                return dict(curve=[dict(passes=1, seconds=2.0, rmse=0.1)]) | told
            error = abs(request["penalty"] - 0.1) + 1.5
            return dict(rmse=error, seconds=dict(prepare=1.0, fit=1.0)) | told

    monkeypatch.setattr(peers, "Peers", Few)
    monkeypatch.setattr(prize, "fresh", lambda function, *words: function(*words))
    words = ["--percents", "40", "80", "--few-from", "50", "--work", str(tmp_path / "work")]
    words += ["--peers", "ours libmf pyspark"]
    found = run("prize_race", *words, sizes=[])
    well_formed(found, "prize_race")
    assert found["choices"]["SGD, LIBMF"]["options"]["penalty"] == 0.1
    assert {request["k"] for part, request in asked if part == "choice"} == {16, 32}
    rows = {(row["percent"], row["way"]): row for row in found["rows"]}
    assert len(rows) == 2 * (4 + 2) and found["not_run"] == dict(pyspark="no Java")
    assert rows[40, "ALS, Spark"]["error"] == "no Java" and rows[40, "SGD, ours"]["best"] == 2
    assert not rows[40, "SGD, LIBMF"]["reached"] and "best" not in rows[40, "SGD, LIBMF"]
    assert [len(rows[percent, "SGD, LIBMF"]["curve"]) for percent in (40, 80)] == [4, 1]
    scale = found["scales"]["40"]
    assert scale["best_achievable_rmse"] < scale["target"] < scale["rmse_of_biases"]
    store = PrizeRatings.open(tmp_path / "work" / "planted_40.npz")
    of_probe = store.frame(store.probe)
    assert np.array_equal(store.user_ids[splits[0]["tu"]], of_probe["user_id"])
    assert np.array_equal(store.movie_ids[splits[0]["ti"]], of_probe["movie_id"])
    assert len(splits[0]["u"]) + len(splits[0]["tu"]) == len(store)
    before = len(asked)
    assert run("prize_race", *words, sizes=[])["rows"] == found["rows"] and len(asked) == before


def test_a_stage_whose_process_is_killed_is_reported(monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    import common
    import prize

    monkeypatch.setattr(common, "set_threads", int)  # nothing is loaded there
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    found = prize.measured(lambda: common.fresh(os._exit, 9))
    assert "BrokenProcessPool" in found["error"] and found["cores_of_others"] >= 0


def test_peers(run, tmp_path):
    few = synthetic_ratings(150, 120, 4_000, random_state=0)
    u, i, r = (
        np.concatenate([part[name] for part in (few.train, few.test)])
        for name in ("user_id", "movie_id", "rating")
    )
    np.savez(tmp_path / "few.npz", u=u, i=i, r=r, t=np.arange(len(r)) >= len(few.train))
    words = ["--peers", "ours", "--ratings", str(tmp_path / "few.npz"), "--repeats", "1"]
    words += ["--ways", "recommends|cosine|biases, ours|^SGD, ours|^variational, ours"]
    found = run("peers", *words, sizes=[])
    well_formed(found, "peers")
    assert not [row["error"] for row in found["rows"] if "error" in row]
    assert all(0.5 < row["rmse"] < 1.3 for row in found["rows"] if "rmse" in row)
    assert len(found["rows"]) == 5
    assert all(row["cpu_seconds"] > 0 and row["data"] == "few" for row in found["rows"])
    assert found["peers"] == {"ours": found["versions"]["thu_big_data_ml"]}
    assert found["cores_of_others"] >= 0 and not found["not_run"]


def test_settings_are_chosen_one_list_after_the_other(monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    from peers import choose

    class Bowl:
        "Least where the penalty is 3 and k is 2; k = 3 takes too long."

        def ask(self, part, model, penalty, k):
            assert part == "choice", "test ratings choose nothing"
            away = (penalty - 3) ** 2 + (k - 2) ** 2
            return dict(rmse=away, cpu_seconds=1.0) if k < 3 else dict(error="stopped after 1 s")

    best, facts = choose(Bowl(), dict(penalty=(1, 2, 3, 4), k=(1, 2, 3, 4)))
    assert best == dict(penalty=3, k=2) and facts["held_out_rmse"] == 0
    assert facts["tried"] == 4 + 2 and facts["search_cpu_seconds"] == 5


def test_time_to_rmse(run):
    found = run("time_to_rmse", "--peers", "ours", "--target", "1.1")
    well_formed(found, "time_to_rmse")
    assert all(row["reached"] and row["lowest_rmse"] <= 1.1 for row in found["rows"])


def test_a_target_that_is_not_met_gives_no_time(monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    from time_to_rmse import table

    races = [
        {"a": dict(curve=[dict(passes=1, seconds=s, rmse=e)])} for s, e in ((1.0, 0.9), (2.0, 0.8))
    ]
    assert table(races, 0.85)[0]["reached"] is False and "best" not in table(races, 0.85)[0]
    assert table(races, 0.95)[0]["best"] == 1.0


def test_alternation_is_fair_and_adds_up(monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    from common import alternate, spread

    order = []
    ways = {
        name: lambda lap, name=name: (lap("s", order.append, name), lap("s", list)) for name in "ab"
    }
    seconds = alternate(ways, 3)
    assert "".join(order) == "abbaab" and all(len(stages["s"]) == 3 for stages in seconds.values())
    assert spread([3.0, 1.0, 2.0]) == dict(best=1.0, median=2.0, seconds=[3.0, 1.0, 2.0])


def test_a_peer_that_cannot_be_installed_is_reported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    import peers

    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "nobody.txt").write_text("./no-such-package\n")
    monkeypatch.setattr(peers, "here", tmp_path)
    peer = peers.Peer("nobody", tmp_path / "split.npz", 1, 60, 60)
    assert peer.error.startswith("not installed: ERROR") and peer.ask(model="factors") == {
        "error": peer.error
    }
    assert peers.row("way", "nobody", "factors", {}, [peer.ask()])["error"] == peer.error


def test_a_peer_whose_interpreter_is_missing_is_reported(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    import peers

    (tmp_path / "peers").mkdir()
    (tmp_path / "peers" / "nobody.txt").write_text("# python: python9.9\nnothing==1\n")
    monkeypatch.setattr(peers, "here", tmp_path)
    peer = peers.Peer("nobody", tmp_path / "split.npz", 1, 60, 60)
    assert "needs python9.9" in peer.error and not (tmp_path / ".environments").exists()


def test_a_fit_by_two_workers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(bench))
    monkeypatch.setenv("PYTHONPATH", str(bench.parent))
    prize, workers = (runpy.run_path(str(bench / f"{name}.py")) for name in ("prize", "workers"))
    folder = tmp_path / "archive"
    prize["prize_archive"].make_archive(folder, 0.1)
    store = read_prize(folder, tmp_path / "store.npz", partial=True, verbose=False)
    half = workers["first_half"](store)
    assert 0.4 < len(half) / len(store) < 0.6
    job = dict(model="ALS, k = 32", path=str(store.path), passes=3, half=False)
    with patch.dict(os.environ):
        found = workers["fit_by"](2, **job, checkpoint=None, kill_after=0)
    alone = workers["ALSFactorization"](**workers["point"], n_epochs=3).fit(store)
    assert found["train_rmse"] == pytest.approx(alone.history_["train_rmse"].iloc[-1], abs=2e-4)
    assert found["megabytes_sent"] > 0 and len(found["seconds"]) == 3
