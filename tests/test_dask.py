"Blocks of users and searches on clusters of Dask: two processes, killed at will; and threads."

import os
import random
import signal
import sys
import threading
import time

import joblib
import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from models import estimators
from sklearn.model_selection import GridSearchCV, KFold
from slow_model import Slow
from trials import SEED, trials

from thu_big_data_ml import (
    BaselinePredictor,
    UserCF,
    nearest_users,
    read_prize,
    synthetic_ratings,
)
from thu_big_data_ml.distributed import _cluster
from thu_big_data_ml.distributed import dask as room
from thu_big_data_ml.distributed.dask import (
    _deal,
    nearest_of_all,
    parallel_config,
    predict,
    recommend,
)


@pytest.fixture(scope="module")
def small():
    return synthetic_ratings(150, 60, 3_000, random_state=0)


@pytest.fixture(scope="module")
def large():
    return synthetic_ratings(1_200, 60, 15_000, random_state=0)


# Without a cluster


@pytest.mark.parametrize("size", [1, 2, 64])
def test_blocks_hold_whole_users_and_every_pair_once(size):
    u = np.random.default_rng(0).integers(-1, 40, 300)
    places = _deal(u, size)
    assert sorted(np.concatenate(places)) == list(range(300))
    users = [set(u[block]) - {-1} for block in places]
    assert sum(map(len, users)) == len(set(u)) - 1  # none is in two
    assert all(len(some) == size for some in users[:-1]) and 0 < len(users[-1]) <= size
    assert [len(block) for block in _deal(u[:0], size)] == [0]


def test_without_dask_or_a_client_a_sentence_says_what_to_do(monkeypatch, small):
    model = BaselinePredictor().fit(small.train)
    with pytest.raises(ValueError, match=r"No client of Dask is open: .*Client\('HOST:8786'\)"):
        predict(model, small.test)
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'thu_big_data_ml\[distributed\]'"):
        recommend(model, [1])
    with pytest.raises(ModuleNotFoundError, match=r"pip install"), parallel_config():
        pass


# Two processes


@pytest.fixture(scope="module")
def cluster():
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1")
    with LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with cluster.get_client() as client:
        client.wait_for_workers(2, timeout=120)
        yield client


def kill_soon(client, seconds: float, n: int) -> threading.Thread:
    "Kill `n` workers after a while."
    pids = sorted(client.run(os.getpid).values())[:n]

    def kill():
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


def test_a_worker_with_other_code_is_told_of(client, small, monkeypatch):
    for place in (_cluster, room):
        monkeypatch.setattr(place, "code_here", lambda: "0.0.1, 12ab")
    told = r"another one on the worker tcp.*0\.0\.1\): install the"
    with pytest.raises(RuntimeError, match=told):
        predict(BaselinePredictor().fit(small.train), small.test)
    with pytest.raises(RuntimeError, match=told), parallel_config():
        joblib.Parallel(n_jobs=-1)(joblib.delayed(abs)(n) for n in range(3))


def test_a_killed_worker_costs_its_blocks_only(client, large):
    model = Slow().fit(large.train)
    for seconds in np.random.default_rng(SEED).uniform(0, 0.6, trials(1, 20)):
        killer = kill_soon(client, seconds, 1)
        np.testing.assert_array_equal(predict(model, large.test), model.predict(large.test))
        killer.join()
        client.wait_for_workers(2, timeout=120)


def test_a_search_outlives_all_its_workers(client, small):
    grid, folds = {"offset": [0, 0.1, 0.2]}, KFold(4, shuffle=True, random_state=0)
    X, y = small.train.drop(columns="rating"), small.train["rating"]
    here = GridSearchCV(Slow(), grid, cv=folds).fit(X, y)
    killer = kill_soon(client, random.Random(SEED).uniform(0.1, 0.5), 2)
    with parallel_config(client):
        there = GridSearchCV(Slow(), grid, cv=folds, n_jobs=-1).fit(X, y)
    killer.join()
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(here.cv_results_[name], there.cv_results_[name])


def test_a_fit_that_ends_its_worker_ends_the_search(cluster, client):
    cluster.scheduler.allowed_failures = 0
    with pytest.raises(RuntimeError, match="several workers that died"), parallel_config():
        joblib.Parallel(n_jobs=-1)(joblib.delayed(os._exit)(1) for _ in range(2))


# Threads as workers


@pytest.fixture(params=[1, 3])
def threads(request):
    options = dict(processes=False, threads_per_worker=1, dashboard_address=":0")
    with Client(n_workers=request.param, **options) as client:
        yield client


@pytest.mark.parametrize("threads", [2], indirect=True)
def test_every_model_predicts_the_same_bit_for_bit(threads, small):
    pairs = small.test.sample(frac=1, random_state=0)
    pairs.iloc[:3, 0] = -5  # whom nobody knows
    for name, model in estimators.items():
        model.fit(small.train)
        np.testing.assert_array_equal(predict(model, pairs), model.predict(pairs), name)


def test_lists_are_the_same(threads, large, tmp_path):
    model = UserCF(center="mean", device="cpu").fit(large.train)
    users = [*model.user_ids_[::-1], -5]
    for by in ("interest", "rating"):
        asked = dict(n=4, exclude_seen=False, by=by)
        expected = model.recommend(users, **asked)
        pd.testing.assert_frame_equal(recommend(model, users, **asked), expected)
    path = model.save(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(recommend(str(path), users, **asked), expected)
    assert len(recommend(path, [])) == 0 and len(predict(path, large.test[:0])) == 0


def test_the_nearest_are_the_same(threads, large, tmp_path):
    R = large.matrix("train")
    for asked in (dict(), dict(metric="pearson", center="mean", shrinkage=10)):
        expected = nearest_users(R, 7, **asked)
        for _ in range(2):  # computed, and read
            found = nearest_of_all(R, 7, memory=tmp_path, **asked)
            np.testing.assert_array_equal(found.indices, expected.indices)
            np.testing.assert_array_equal(found.data, expected.data)
            np.testing.assert_array_equal(found.indptr, expected.indptr)


@pytest.mark.filterwarnings("ignore:.*not there. the ratings are kept without")
def test_a_store_that_was_made_anew_is_read_anew(one_thread, tmp_path):
    rng, found = np.random.default_rng(0), []
    path, archive = tmp_path / "prize.npz", tmp_path / "archive"
    archive.mkdir()
    for _ in range(2):
        lines = [
            f"{movie}:\n" + "".join(f"{u},{rng.integers(1, 6)},2004-05-0{movie}\n" for u in users)
            for movie in range(1, 8)
            for users in [np.sort(rng.permutation(40)[:30]) + 1]
        ]
        (archive / "combined_data_1.txt").write_text("".join(lines))
        path.unlink(missing_ok=True)
        R = read_prize(archive, path, partial=True, verbose=False).matrix()
        found.append(nearest_of_all(path, 5))
        assert (found[-1] != nearest_users(R, 5)).nnz == 0
    assert (found[0] != found[1]).nnz
    with pytest.raises(FileNotFoundError, match="put it where every worker sees it"):
        nearest_of_all(tmp_path / "none.npz")


@pytest.fixture
def one_thread():
    options = dict(processes=False, threads_per_worker=1, dashboard_address=":0")
    with Client(n_workers=1, **options) as client:
        yield client


def test_finished_blocks_are_kept(one_thread, large, tmp_path, monkeypatch):
    model, calls, score = Slow().fit(large.train), [], Slow._score
    monkeypatch.setattr(Slow, "_score", lambda *given: calls.append(1) or score(*given))
    first = predict(model, large.test, memory=tmp_path)
    kept = list(tmp_path.rglob("result.npz"))
    assert len(kept) == len(calls) == len(_deal(model._asked(large.test)[0], 64)) > 10
    kept[0].unlink()
    calls.clear()
    np.testing.assert_array_equal(predict(model, large.test, memory=tmp_path), first)
    assert len(calls) == 1
    other = Slow(offset=1).fit(large.train)  # another model finds nothing of this one
    found = predict(other, large.test, memory=tmp_path)
    np.testing.assert_array_equal(found, other.predict(large.test))


def test_a_closed_client_and_a_path_that_is_nowhere(one_thread, small, tmp_path):
    with pytest.raises(FileNotFoundError, match="is not there for this"):
        predict(tmp_path / "model.npz", small.test)
    one_thread.close()
    with pytest.raises(ConnectionError, match="client of Dask is closed; open another"):
        predict(BaselinePredictor().fit(small.train), small.test, client=one_thread)


def test_a_cluster_that_goes_away_is_one_sentence(one_thread, large):
    model = Slow().fit(large.train)
    leave = threading.Timer(0.3, one_thread.cluster.close)
    leave.start()
    with pytest.raises(ConnectionError, match=r"cluster is gone, or took the work back \(\d"):
        predict(model, large.test)
    leave.join()
