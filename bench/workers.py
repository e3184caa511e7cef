"""What a second worker gains, sends and costs when it is killed: torchrun's, and Dask's.

`torchrun`: one process and two, a thread each, on a planted store of `prize.py` (made where it is
not there), and one process on half of its ratings. Strong scaling compares the first two, weak
scaling the last two. Then a worker is killed in mid-training, once.

`dask`: predictions of user-based CF for the test pairs of synthetic ratings of the course's size by
one worker and by two, a thread each; then again while a worker is killed.

Workers share this machine's memory and cores, so nothing here says what a network costs: that is
bytes, and they are counted.
"""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
from common import environment_of_threads, options, ratings, rehearsal, show, spread, write
from numba import get_num_threads

from thu_big_data_ml import (
    ALSFactorization,
    MatrixFactorizationRegressor,
    PrizeRatings,
    UserCF,
    VariationalFactorization,
    synthetic_ratings,
)
from thu_big_data_ml.distributed import dask, torchrun
from thu_big_data_ml.help import data_path

K = 32
point = dict(n_factors=K, validation_fraction=0, random_state=0)
field = dict(n_factors=K, tol=0, device="cpu", random_state=0)
fits = {  # model -> class, parameters, name of the number of passes
    f"ALS, k = {K}": (ALSFactorization, point, "n_epochs"),
    f"AdamW, k = {K}": (
        MatrixFactorizationRegressor,
        point | dict(implicit=False, device="cpu"),
        "n_epochs",
    ),
    f"mean field with the link prior, k = {K}": (VariationalFactorization, field, "n_sweeps"),
}
FIRST_START = "0"  # torchrun's count of restarts


# A worker


def first_half(store: PrizeRatings) -> PrizeRatings:
    "The users who have the first half of the ratings."
    ends = store.by_user.indptr
    users = ends.searchsorted(ends[-1] // 2)
    return store.without(np.arange(ends[users], ends[-1]))


def work(model: str, passes: int, path: str, half: bool, checkpoint: str | None, kill_after: float):
    "Fit; the first worker prints what it took."
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", FIRST_START)
    kind, parameters, of_passes = fits[model]
    small = synthetic_ratings(*rehearsal).train
    kind(**parameters, **{of_passes: 2}).fit(small)  # compiled
    store = PrizeRatings.open(path)
    store = first_half(store) if half else store
    sent, start, cpu = Counter(), time.perf_counter(), time.process_time()
    more = {of_passes: passes, "checkpoint": checkpoint}
    if kill_after and os.environ["RANK"] == "1" and restarts == FIRST_START:
        threading.Timer(kill_after, os.kill, (os.getpid(), signal.SIGKILL)).start()
    fitted = torchrun.fit(kind(**parameters, **more), store, bytes_sent=sent)
    if os.environ.get("RANK", "0") == "0":
        found = dict(
            ratings=len(store),
            fit_seconds=time.perf_counter() - start,
            cpu_seconds=time.process_time() - cpu,
            seconds_of_passes=fitted.history_["seconds"].tolist(),
            train_rmse=float(fitted.history_["train_rmse"].iloc[-1]),
            megabytes_sent=sum(sent.values()) / 1e6,
            peak_megabytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1000,
        )
        print(json.dumps(found), flush=True)


# What starts workers


def fit_by(workers: int, **job) -> dict:
    "What a fit by some workers took, from the command to its end."
    start = time.perf_counter()
    words = ["-m", "torch.distributed.run", "--standalone", "--max-restarts", "1"]
    words = [*words, "--nproc-per-node", str(workers)] if workers > 1 else []
    environment = os.environ | environment_of_threads(1) | dict(WORK=json.dumps(job))
    done = subprocess.run(
        [sys.executable, *words, __file__], env=environment, capture_output=True, text=True
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise RuntimeError(done.stderr[-3000:])
    found = json.loads(lines[-1]) | dict(seconds_in_all=time.perf_counter() - start)
    return found | spread(found.pop("seconds_of_passes"))


def by_torchrun(path: Path, passes: int, models: str) -> list[dict]:
    "Rows of torchrun."
    rows = []
    for model in (name for name in fits if re.search(models, name)):
        job = dict(model=model, path=str(path), passes=passes, checkpoint=None, kill_after=0)
        for workers, half in ((1, False), (2, False), (1, True)):
            found = fit_by(workers, **job, half=half)
            told = dict(axis="torchrun", model=model, workers=workers, killed=0)
            rows.append(told | found)
            show(rows[-1])
    return rows


def by_torchrun_killed(path: Path, passes: int, whole: dict) -> dict:
    "A worker is killed half-way through the fit of the `whole` row, and all start again."
    job = dict(model=whole["model"], path=str(path), passes=passes, half=False)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "training.npz")
        found = fit_by(2, **job, checkpoint=file, kill_after=whole["fit_seconds"] / 2)
    told = dict(axis="torchrun", model=whole["model"], workers=2, killed=1)
    lost = found["seconds_in_all"] - whole["seconds_in_all"]
    row = told | found | dict(seconds_lost=lost)
    show(row)
    return row


def by_dask(data, repeats: int) -> list[dict]:
    "Rows of Dask; workers read the model from its file."
    fitted = UserCF(device="cpu").fit(data.train)
    pairs = data.test.drop(columns="rating")
    here, rows = fitted.predict(pairs), []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.npz"
        fitted.save(file)
        for workers in (1, 2):
            with cluster_of(workers) as client:
                ask = partial(dask.predict, file, pairs, client=client)
                equal = bool((ask() == here).all())  # and the model is read
                told = dict(axis="dask", model="user-based CF", workers=workers, ratings=len(pairs))
                seconds = [timed(ask) for _ in range(repeats)]
                rows.append(told | dict(killed=0, equal=equal) | spread(seconds))
                show(rows[-1])
                if workers == 2:
                    rows.append(told | killed_in_dask(client, ask, rows[-1]))
                    show(rows[-1])
    return rows


@contextmanager
def cluster_of(workers: int):
    "A client of workers on this machine, a thread each."
    from dask.distributed import LocalCluster

    where = dict(n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=":0")
    with (
        patch.dict(os.environ, environment_of_threads(1)),
        LocalCluster(**where) as cluster,
        cluster.get_client() as client,
    ):
        assert set(client.run(get_num_threads).values()) == {1}  # of numba
        yield client


def killed_in_dask(client, predict, whole: dict) -> dict:
    "A worker is killed half-way through predictions."
    process = next(iter(client.run(os.getpid).values()))
    threading.Timer(whole["median"] / 2, os.kill, (process, signal.SIGKILL)).start()
    seconds = timed(predict)
    lost = seconds - whole["median"]
    return dict(killed=1) | spread([seconds]) | dict(seconds_lost=lost)


def timed(function, *words, **named) -> float:
    "Seconds of a call."
    start = time.perf_counter()
    function(*words, **named)
    return time.perf_counter() - start


def main():
    "The table."
    import prize

    chosen = options(
        __doc__,
        repeats=3,
        percent="10",
        passes=6,
        models=".",
        users=10_000,
        movies=10_000,
        ratings=8_617_212,
        work=str(data_path / "planted"),
    )
    folder = Path(vars(chosen).pop("work"))
    path, truth = prize.store_of(folder, chosen.percent)
    if not (path.exists() and truth.exists()):
        prize.make_store(folder, chosen.percent)
    rows = by_torchrun(path, chosen.passes, chosen.models)
    rows.append(by_torchrun_killed(path, chosen.passes, rows[1]))
    data = ratings(chosen.users, chosen.movies, chosen.ratings, chosen.random_state)
    rows += by_dask(data, chosen.repeats)
    write("workers", chosen, rows, workload=repr(PrizeRatings.open(path)))


if __name__ == "__main__":
    work(**json.loads(os.environ["WORK"])) if "WORK" in os.environ else main()
