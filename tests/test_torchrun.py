"Fits by processes equal those of one; whatever goes wrong with a worker, all say it and end."

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from processes import free_port, in_processes
from sklearn.base import clone
from teams import in_team
from test_prize import ratings_of, read_part, write_parts
from trials import SEED, trials

from thu_big_data_ml import (
    ALSFactorization,
    BaselinePredictor,
    MatrixFactorizationRegressor,
    RatingEstimator,
    SGDFactorization,
    VariationalFactorization,
    damped_biases,
    synthetic_ratings,
)
from thu_big_data_ml.__main__ import main
from thu_big_data_ml.distributed import _meeting, torchrun
from thu_big_data_ml.evaluation._experiment import result_files

TRAIN = synthetic_ratings(90, 40, 1500, random_state=0).train
MODELS = {
    "biases": BaselinePredictor(),
    "ALS": ALSFactorization(n_factors=3, n_epochs=5, random_state=0),
    "mean field": VariationalFactorization(n_factors=2, n_sweeps=5, random_state=0),
    "with dates": VariationalFactorization(
        n_factors=2, n_sweeps=3, implicit=False, time=True, random_state=0
    ),
    "AdamW": MatrixFactorizationRegressor(n_factors=3, n_epochs=8, device="cpu", random_state=0),
}


@pytest.fixture(scope="module", autouse=True)
def compiled():
    "Kernels are compiled before processes are forked."
    for model in MODELS.values():
        model.fit(TRAIN)
    in_team(lambda _: [clone(model).fit(TRAIN) for model in MODELS.values()], [None] * 2)


@pytest.mark.parametrize("n_workers", [2, 3, 5])
def test_biases_of_a_team(n_workers):
    alone = BaselinePredictor().fit(TRAIN)
    team = in_team(lambda _: BaselinePredictor().fit(TRAIN), [None] * n_workers)
    users = np.concatenate([member.user_bias_ for member in team])
    assert np.allclose(users, alone.user_bias_, rtol=0, atol=1e-6)
    assert np.array_equal(np.concatenate([m.user_ids_ for m in team]), alone.user_ids_)
    sizes = [member.matrix_.nnz for member in team]
    assert sum(sizes) == len(TRAIN) and max(sizes) < 2 * len(TRAIN) / n_workers
    for member in team:
        assert np.allclose(member.movie_bias_, alone.movie_bias_, rtol=0, atol=1e-6)
        assert member.rating_scale_ == alone.rating_scale_


def test_models_that_do_not_add_up_say_so():
    with pytest.raises(TypeError, match=r"SGDFactorization cannot .* ALSFactorization"):
        in_team(lambda _: SGDFactorization().fit(TRAIN), [None] * 2)


def all_fitted(X, folder):
    "A work that fits all models; rank 0 saves them, the others say how many users they have."

    def work(rank):
        users = []
        for name, model in MODELS.items():
            model = torchrun.fit(model, X, timeout=30)
            users.append(len(model.user_ids_))
            if rank == 0:
                model.save(folder / f"{name}.npz")
        return users

    return work


def assert_fitted(found, X, folder):
    "The models in a folder are those of one process, and the others have users of their own."
    pairs = X if isinstance(X, pd.DataFrame) else X.frame(slice(None))
    for at, (name, model) in enumerate(MODELS.items()):
        one, saved = model.fit(X), RatingEstimator.load(folder / f"{name}.npz")
        assert (one.matrix_ != saved.matrix_).nnz == 0
        assert np.array_equal(one.user_ids_, saved.user_ids_)
        np.testing.assert_allclose(saved.predict(pairs), one.predict(pairs), atol=2e-3)
        users = [users[at] for users in found]
        assert users[0] == len(one.user_ids_) > sum(users[1:]) > 0
        assert one.get_params() == saved.set_params(**one.get_params()).get_params()


def test_processes_learn_what_one_learns_from_a_table(tmp_path):
    assert_fitted(in_processes(all_fitted(TRAIN, tmp_path), 3), TRAIN, tmp_path)


def test_processes_learn_what_one_learns_from_a_store(tmp_path):
    store = read_part(write_parts(tmp_path / "archive", ratings_of(0)), tmp_path / "prize.npz")
    store = store.without(store.probe)
    assert_fitted(in_processes(all_fitted(store, tmp_path), 2), store, tmp_path)


def test_what_differs_is_named_by_all(tmp_path, monkeypatch):
    store = read_part(write_parts(tmp_path / "1", ratings_of(0)), tmp_path / "1.npz")
    other = read_part(write_parts(tmp_path / "2", ratings_of(1)), tmp_path / "2.npz")
    file = tmp_path / "training.npz"
    ALSFactorization(n_factors=2, n_epochs=2, random_state=0, checkpoint=file).fit(TRAIN)

    def version(rank):
        monkeypatch.setattr(_meeting, "version", lambda: ["0.6.0", "0.7.0"][rank])

    cases = {
        "n_factors: 2 at rank 0, 3 at rank 1": lambda n: (ALSFactorization(n_factors=2 + n), TRAIN),
        "random_state": lambda n: (ALSFactorization(random_state=n), TRAIN),
        "the class": lambda n: ([BaselinePredictor(), ALSFactorization()][n], TRAIN),
        "the ratings": lambda n: (BaselinePredictor(), TRAIN.iloc[n:]),
        "the digest of the store": lambda n: (BaselinePredictor(), [store, other][n]),
        "left out": lambda n: (BaselinePredictor(), store.without(store.probe[n:])),
        "the checkpoint: ": lambda n: (
            ALSFactorization(checkpoint=[file, tmp_path / "nothing.npz"][n]),
            TRAIN,
        ),
        "the version": lambda n: (version(n), (BaselinePredictor(), TRAIN))[1],
    }

    def work(rank):
        said = []
        for case in cases.values():
            with pytest.raises(ValueError) as error:
                torchrun.fit(*case(rank), timeout=30)
            said.append(str(error.value))
        return said

    first, second = in_processes(work, 2)
    assert first == second
    for words, sentence in zip(cases, first):
        assert words in sentence and "rank 1" in sentence and "Give all the same" in sentence


class Troubled(BaselinePredictor):
    "What happens to one worker in the midst of the work."

    def _fit(self, R, dates=None):
        if os.environ.get("RANK") == "1":
            self._trouble()
        damped_biases(R)

    @staticmethod
    def _trouble():
        raise MemoryError("no room")


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_of_one_worker_is_said_by_all_and_the_next_fit_works():
    def work(rank):
        with pytest.raises((MemoryError, RuntimeError)) as error:
            torchrun.fit(Troubled(), TRAIN, timeout=30)
        model = torchrun.fit(BaselinePredictor(), TRAIN, timeout=30)
        return type(error.value), str(error.value), len(model.user_ids_)

    start = time.monotonic()
    found = in_processes(work, 3)
    assert time.monotonic() - start < 20
    assert found[1][:2] == (MemoryError, "no room")
    for other in (0, 2):
        assert found[other][:2] == (RuntimeError, "Rank 1 of 3: MemoryError: no room")
    assert found[0][2] == len(set(TRAIN["user_id"])) > found[1][2] + found[2][2] > 0


@pytest.mark.parametrize("trouble", [killed, lambda: time.sleep(6)], ids=["killed", "asleep"])
def test_nobody_waits_for_ever_for_a_lost_worker(trouble, monkeypatch):
    monkeypatch.setattr(Troubled, "_trouble", staticmethod(trouble))
    found = in_processes(lambda rank: torchrun.fit(Troubled(), TRAIN, timeout=2), 3, seconds=30)
    for other in (0, 2):
        assert isinstance(found[other], ConnectionError)
        assert "Start all again" in str(found[other]) and "checkpoint" in str(found[other])


def test_who_does_not_come_is_named():
    def work(rank):
        return torchrun.fit(BaselinePredictor(), TRAIN, timeout=1)

    found = in_processes(work, 3, absent=[2])
    for answer in found[:2]:
        assert isinstance(answer, ConnectionError) and "rank 2 of 3 did not come" in str(answer)
    (answer,) = in_processes(work, 2, absent=[0])[1:]
    assert isinstance(answer, ConnectionError) and "No worker of rank 0 answers" in str(answer)


def test_a_port_in_use_is_named():
    port = free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        listener.listen()
        work = in_processes(
            lambda rank: torchrun.fit(BaselinePredictor(), TRAIN, timeout=1), 2, port, absent=[1]
        )
    assert isinstance(work[0], OSError) and f"127.0.0.1:{port} is in use" in str(work[0])


LONG = {
    "ALS": ALSFactorization(n_factors=3, n_epochs=40, random_state=0, validation_fraction=0),
    "mean field": VariationalFactorization(2, n_sweeps=20, tol=0, random_state=0),
}


def killed_in(seconds):
    "Kill this process after some seconds, whatever it does."
    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, seconds)


@pytest.mark.parametrize("seed", range(SEED, SEED + trials(1, 40)))
@pytest.mark.parametrize("name", LONG)
def test_a_killed_fit_goes_on_with_any_number_of_workers(name, seed, tmp_path):
    rng, file = np.random.default_rng(seed), tmp_path / "training.npz"
    one = clone(LONG[name]).fit(TRAIN)
    model = clone(LONG[name]).set_params(checkpoint=file)
    for n in (2, 3):
        lost, delay = rng.integers(n), rng.uniform(0, 0.5)

        def work(rank, lost=lost, delay=delay):
            if rank == lost:
                killed_in(delay)
            return torchrun.fit(model, TRAIN, timeout=4) and None

        in_processes(work, n, seconds=60)

    def finish(rank):
        found = torchrun.fit(model, TRAIN, timeout=20)
        return found.predict(TRAIN) if rank == 0 else None

    found = in_processes(finish, int(rng.integers(1, 5)), seconds=60)[0]
    np.testing.assert_allclose(found, one.predict(TRAIN), atol=2e-3)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    "A folder with a file of ratings, in which a command is run."
    dated = TRAIN.assign(date=TRAIN["date"].dt.strftime("%Y-%m-%d"))
    dated.to_csv(tmp_path / "ratings.txt", sep=" ", header=False, index=False)
    sweeps = {"factorization, mean field": dict(n_sweeps=50, tol=0)}
    (tmp_path / "settings.json").write_text(json.dumps(dict(parameters=sweeps)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(output, *models):
    "The words of a command."
    words = ["run", "--data", "ratings.txt", "--device", "cpu", "--output", output]
    return [*words, "--config", "settings.json", "--models", ",".join(models)]


def scores(folder):
    "RMSE by model."
    results = json.loads((folder / "results.json").read_text())
    return {model["model"]: model["rmse"] for model in results["models"]}


def test_a_command_by_several_workers(folder):
    models = "damped biases", "factorization, biases", "user CF, cosine, all raters"
    assert main(run("one", *models[:2])) == 0
    assert in_processes(lambda rank: main(run("several", *models)), 3) == [0, 0, 0]
    assert scores(folder / "several") == pytest.approx(scores(folder / "one"), abs=1e-4)
    assert {path.name for path in (folder / "several").iterdir()} == {*result_files, "rows"}
    (folder / "results").mkdir()
    (folder / "results" / "results.csv").write_text("of something else")
    assert in_processes(lambda rank: main(run("results", "damped biases")), 2) == [3, 2]
    (folder / "ratings.txt").write_text("1 2 bad")
    assert in_processes(lambda rank: main(run("nothing", "damped biases")), 2) == [2, 2]


def children_of(process):
    "The workers that torchrun has started."
    return [p for p in psutil.Process(process.pid).children() if "thu_big_data_ml" in p.cmdline()]


def test_torchrun_starts_again_after_a_kill(folder):
    model, rng = "factorization, mean field", np.random.default_rng(SEED)
    assert main(run("one", model)) == 0
    words = "-m torch.distributed.run --standalone --nproc-per-node 2 --max-restarts 2 -m"
    command = [sys.executable, *words.split(), "thu_big_data_ml", *run("several", model)]
    with open("log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        while not list(folder.glob("several/checkpoints/*.npz")):
            assert process.poll() is None, Path("log").read_text()
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.5))
        rng.choice(children_of(process)).kill()
        assert process.wait(timeout=100) == 0, Path("log").read_text()
    finally:
        process.kill()
    assert "several/results.json" in Path("log").read_text()
    assert scores(folder / "several") == pytest.approx(scores(folder / "one"), abs=1e-4)
