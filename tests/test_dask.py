"Blocks of users and searches on a real cluster of Dask: two processes, killed at will."

import os
import random
import signal
import sys
import threading
import time

import numpy as np
import pandas as pd
import pytest
from dask.distributed import Client, LocalCluster
from models import estimators
from sklearn.model_selection import GridSearchCV, KFold
from slow_model import Slow
from trials import SEED, trials

from thu_big_data_ml import BaselinePredictor, UserCF, synthetic_ratings
from thu_big_data_ml.distributed import dask as room
from thu_big_data_ml.distributed.dask import _deal, parallel_config, predict, recommend

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


# On a cluster


@pytest.fixture(scope="module")
def small():
    return synthetic_ratings(150, 60, 3_000, random_state=0)


@pytest.fixture(scope="module")
def large():
    return synthetic_ratings(1_200, 60, 15_000, random_state=0)


@pytest.fixture(scope="module")
def cluster():
    options = dict(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")
    with LocalCluster(**options) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with cluster.get_client() as client:
        client.wait_for_workers(2, timeout=60)
        yield client


def kill_soon(client, seconds: float, which: slice = slice(1)) -> threading.Thread:
    "Kill some workers after a while."
    pids = sorted(client.run(os.getpid).values())[which]

    def kill():
        time.sleep(seconds)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    return thread


@pytest.mark.parametrize("which", [slice(1), slice(2)], ids=["one", "both"])
def test_a_killed_worker_costs_its_blocks_only(client, large, which):
    draw = random.Random(SEED)
    for _ in range(trials(1, 20)):
        model = Slow().fit(large.train)
        killer = kill_soon(client, draw.uniform(0, 0.6), which)
        np.testing.assert_array_equal(predict(model, large.test), model.predict(large.test))
        killer.join()


def test_a_search_outlives_its_workers(client, small):
    grid, folds = {"offset": [0, 0.1, 0.2]}, KFold(4, shuffle=True, random_state=0)
    X, y = small.train.drop(columns="rating"), small.train["rating"]
    here = GridSearchCV(Slow(), grid, cv=folds).fit(X, y)
    killer = kill_soon(client, random.Random(SEED).uniform(0.1, 0.5), slice(2))
    with parallel_config(client):
        there = GridSearchCV(Slow(), grid, cv=folds, n_jobs=-1).fit(X, y)
    killer.join()
    for name in ("mean_test_score", "std_test_score"):
        np.testing.assert_array_equal(here.cv_results_[name], there.cv_results_[name])


def test_every_model_predicts_the_same_bit_for_bit(client, small):
    for name, model in estimators.items():
        model.fit(small.train)
        pairs = small.test.sample(frac=1, random_state=0)
        pairs.iloc[:3, 0] = -5  # whom nobody knows
        np.testing.assert_array_equal(predict(model, pairs), model.predict(pairs), name)


def test_lists_are_the_same(client, large, tmp_path):
    model = UserCF(center="mean", device="cpu").fit(large.train)
    users = [*model.user_ids_[::-1], -5]
    for by in ("interest", "rating"):
        asked = dict(n=4, exclude_seen=False, by=by)
        expected = model.recommend(users, **asked)
        pd.testing.assert_frame_equal(recommend(model, users, **asked), expected)
    path = model.save(tmp_path / "model.npz")
    pd.testing.assert_frame_equal(recommend(str(path), users, **asked), expected)
    assert len(recommend(path, [])) == 0 and len(predict(path, large.test[:0])) == 0


@pytest.mark.parametrize("n", [3, 1])
def test_another_number_of_workers_gives_the_same(cluster, client, large, n):
    model = Slow().fit(large.train)
    cluster.scale(n)
    client.wait_for_workers(n, timeout=60)
    np.testing.assert_array_equal(predict(model, large.test), model.predict(large.test))
    cluster.scale(2)


# What goes wrong


def test_a_worker_with_other_code_is_told_of(client, small, monkeypatch):
    monkeypatch.setattr(room, "_code", lambda: "0.0.1, 12ab")
    with pytest.raises(
        RuntimeError, match=r"another one on the worker tcp.*0\.0\.1\): install the"
    ):
        predict(BaselinePredictor().fit(small.train), small.test)


def test_finished_blocks_are_kept(client, large, tmp_path):
    model = Slow().fit(large.train)
    first = predict(model, large.test, memory=tmp_path)
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("result.npz")}
    assert len(kept) == len(_deal(model._asked(large.test)[0], 64)) > 10
    next(iter(kept)).unlink()
    np.testing.assert_array_equal(predict(model, large.test, memory=tmp_path), first)
    assert len(list(tmp_path.rglob("result.npz"))) == len(kept)
    other = Slow(offset=1).fit(large.train)  # another model finds nothing of this one
    np.testing.assert_array_equal(
        predict(other, large.test, memory=tmp_path), other.predict(large.test)
    )


def test_a_closed_client_and_a_path_that_is_nowhere(cluster, small, tmp_path):
    with cluster.get_client() as client:
        pass
    model = BaselinePredictor().fit(small.train)
    with pytest.raises(ConnectionError, match="client of Dask is closed; open another"):
        predict(model, small.test, client=client)
    with cluster.get_client(), pytest.raises(FileNotFoundError, match="is not there for this"):
        predict(tmp_path / "model.npz", small.test)


def test_a_cluster_that_goes_away_is_one_sentence(large):
    model = Slow().fit(large.train)
    with Client(
        processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as client:
        leave = threading.Timer(0.3, client.cluster.close)
        leave.start()
        with pytest.raises(ConnectionError, match="cluster is gone, or took the work back"):
            predict(model, large.test)
        leave.join()
