"""One library in its own interpreter: `child.py NAME SPLIT.npz THREADS` answers each request, a
line of JSON, with a line of JSON.

A model is a function of a stopwatch, the split, the threads and options; it returns predictions at
the test pairs, NaN where it has none
(or predictions, and whether the model proper made them), or facts where it predicts no ratings. A
trainer is a generator that yields, after each pass over the ratings, a function that predicts.
"""

import json
import os
import resource
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def with_bias(split, u_of, i_of, mean, b_u, b_i, U, V):
    """mean + b_u + b_i + U . V at the test pairs; `u_of` and `i_of` are the rows of users and
    movies, -1 where unknown.
    """
    u, i = u_of[split.tu], i_of[split.ti]
    known = (u >= 0) & (i >= 0)
    P = mean + np.where(u >= 0, b_u[u], 0) + np.where(i >= 0, b_i[i], 0)
    for part in np.array_split(np.flatnonzero(known), 1 + len(u) // 100_000):
        P[part] += np.einsum("nk,nk->n", U[u[part]], V[i[part]])
    return P


def rows_of(table: dict, n: int) -> np.ndarray:
    "A dictionary of rows as an array, -1 where it has no entry."
    rows = np.full(n, -1)
    rows[list(table)] = list(table.values())
    return rows


def frame(split, **columns):
    "The training ratings as a DataFrame with the column names that are asked for."
    import pandas as pd

    return pd.DataFrame({name: getattr(split, field) for name, field in columns.items()})


# Surprise


def surprise_data(split):
    import surprise

    reader = surprise.Reader(rating_scale=(float(split.r.min()), float(split.r.max())))
    return surprise.Dataset.load_from_df(
        frame(split, u="u", i="i", r="r"), reader
    ).build_full_trainset()


def surprise_pairs(model, split):
    "Predictions, and whether a neighbour took part; a movie that is unknown has none."
    predicted = [model.predict(u, i) for u, i in zip(split.tu.tolist(), split.ti.tolist())]
    return np.array([p.est for p in predicted]), np.array(
        [p.details.get("actual_k", 0) > 0 for p in predicted]
    )


def surprise_factors(lap, split, threads, k, epochs, rate, penalty):
    import surprise

    data = lap("prepare", surprise_data, split)
    model = surprise.SVD(n_factors=k, n_epochs=epochs, lr_all=rate, reg_all=penalty, random_state=0)
    lap("fit", model.fit, data)
    return lap("predict", surprise_pairs, model, split)[0]


def surprise_neighbours(lap, split, threads, k, similarity, **options):
    import surprise

    data = lap("prepare", surprise_data, split)
    biases = dict(method="als", reg_u=8, reg_i=5, n_epochs=10)
    kind = surprise.KNNBasic if similarity == "cosine" else surprise.KNNBaseline
    model = kind(
        k=k,
        sim_options=dict(name=similarity, user_based=True, **options),
        bsl_options=biases,
        verbose=False,
    )
    lap("fit", model.fit, data)
    P, made = lap("predict", surprise_pairs, model, split)
    return (
        np.where(made, P, np.nan) if similarity == "cosine" else P
    ), made  # without biases of its own it answers with the mean


# LensKit


def lenskit_data(split):
    from lenskit.data import from_interactions_df

    return from_interactions_df(frame(split, user_id="u", item_id="i", rating="r"))


def lenskit_pairs(model, split):
    from lenskit.data import ItemList

    order = np.argsort(split.tu, kind="stable")
    users, first = np.unique(split.tu[order], return_index=True)
    P = np.full(len(order), np.nan)
    for user, part in zip(users, np.split(order, first[1:])):
        P[part] = model(int(user), ItemList(item_ids=split.ti[part])).scores()
    return P


def lenskit_neighbours(lap, split, threads, k):
    from lenskit.knn import UserKNNScorer

    data = lap("prepare", lenskit_data, split)
    model = UserKNNScorer(max_nbrs=k, feedback="explicit")
    lap("fit", model.train, data)
    return lap("predict", lenskit_pairs, model, split)


def lenskit_factors(lap, split, threads, k, epochs, penalty):
    from lenskit.als import BiasedMFScorer

    data = lap("prepare", lenskit_data, split)
    model = BiasedMFScorer(
        features=k, epochs=epochs, regularization=penalty, user_embeddings="prefer"
    )
    lap("fit", model.train, data)
    return lap("predict", lenskit_pairs, model, split)


def lenskit_trainer(split, threads, k, penalty):
    from lenskit.als import BiasedMFScorer
    from lenskit.training import TrainingOptions

    model = BiasedMFScorer(features=k, regularization=penalty, user_embeddings="prefer")
    trainer = model.create_trainer(lenskit_data(split), TrainingOptions(rng=0))
    while True:
        trainer.train_epoch()
        yield lambda: lenskit_pairs(model, split)


# Cornac


def cornac_data(split):
    from cornac.data import Dataset

    return Dataset.from_uir(list(zip(split.u.tolist(), split.i.tolist(), split.r.tolist())))


def cornac_pairs(model, data, split):
    users, movies = rows_of(data.uid_map, split.n_users), rows_of(data.iid_map, split.n_movies)
    return with_bias(
        split,
        users,
        movies,
        model.global_mean,
        model.u_biases,
        model.i_biases,
        model.u_factors,
        model.i_factors,
    )


def cornac_factors(lap, split, threads, k, epochs, rate, penalty):
    import cornac

    data = lap("prepare", cornac_data, split)
    model = cornac.models.MF(
        k=k, max_iter=epochs, learning_rate=rate, lambda_reg=penalty, num_threads=threads
    )
    lap("fit", model.fit, data)
    return lap("predict", cornac_pairs, model, data, split)


def cornac_trainer(split, threads, k, rate, penalty):
    import cornac

    data = cornac_data(split)
    model = cornac.models.MF(
        k=k, max_iter=1, learning_rate=rate, lambda_reg=penalty, num_threads=threads
    )
    while True:
        model.fit(data)  # goes on from the factors that it has
        yield lambda: cornac_pairs(model, data, split)


def cornac_neighbours(lap, split, threads, k):
    import cornac

    data = lap("prepare", cornac_data, split)
    model = cornac.models.UserKNN(k=k, similarity="pearson", num_threads=threads, verbose=False)
    lap("fit", model.fit, data)
    users, movies = (
        rows_of(data.uid_map, split.n_users)[split.tu],
        rows_of(data.iid_map, split.n_movies)[split.ti],
    )

    def rate():
        return np.array(
            [
                model.score(u, i) if u >= 0 and i >= 0 else np.nan
                for u, i in zip(users.tolist(), movies.tolist())
            ],
            float,
        )

    return lap("predict", rate)


# LIBMF


def libmf_factors(lap, split, threads, k, epochs, penalty):
    """The wrapper hands ratings to LIBMF row by row, but pairs to predict column by column: they
    are right only in Fortran's order. Rows in C's order give an error near that of a random guess.
    """
    from libmf import mf

    ratings = lap("prepare", np.column_stack, (split.u, split.i, split.r))
    model = mf.MF(
        k=k,
        nr_iters=epochs,
        nr_threads=threads,
        lambda_p1=0.0,
        lambda_q1=0.0,
        lambda_p2=penalty,
        lambda_q2=penalty,
        quiet=True,
    )
    lap("fit", model.fit, ratings)
    pairs = np.asfortranarray(np.column_stack((split.tu, split.ti)))
    P = lap("predict", model.predict, pairs)
    known = np.isin(split.tu, split.u) & np.isin(split.ti, split.i)
    return np.where(known, P, np.nan)  # elsewhere it says the mean


# Similarities without ratings: implicit, similaripy, sparse_dot_topn


def by_user(split):
    "The ratings as a matrix with a row for each user."
    from scipy.sparse import csr_matrix

    pairs = (split.u, split.i)
    return csr_matrix((split.r.astype(np.float32), pairs), shape=(split.n_users, split.n_movies))


def unit_rows(R):
    "Rows divided by their norms."
    from scipy.sparse import diags

    norms = np.sqrt(np.asarray(R.multiply(R).sum(1)).ravel())
    return (diags(1 / np.where(norms > 0, norms, 1)) @ R).tocsr().astype(np.float32)


def nearest_mean(S, n: int = 40) -> dict:
    "Mean of each user's `n` largest similarities to others: where it is equal, all is equal."
    from scipy.sparse import csr_matrix, issparse

    S, total = csr_matrix(S) if issparse(S) else S, 0.0
    for user in range(S.shape[0]):
        row = S[user]
        row = row.data[row.indices != user] if issparse(S) else np.delete(row, user)
        total += np.sort(row)[::-1][:n].sum(dtype=float)
    return dict(mean_of_nearest=total / (n * S.shape[0]))


def implicit_similarity(lap, split, threads, k):
    from implicit.nearest_neighbours import CosineRecommender

    R = lap("prepare", lambda: by_user(split).T.tocsr().astype(np.float64))
    model = CosineRecommender(K=k + 1, num_threads=threads)  # one of them is the user
    lap("fit", model.fit, R, show_progress=False)
    return nearest_mean(model.similarity.tocsr())


def similaripy_similarity(lap, split, threads, k=None):
    import similaripy

    R = lap("prepare", by_user, split)
    wanted = dict(k=split.n_users if k is None else k + 1, num_threads=threads)
    S = lap("fit", similaripy.cosine, R, verbose=False, format_output="csr", **wanted)
    return nearest_mean(S)


def topn_similarity(lap, split, threads, k=None):
    from sparse_dot_topn import sp_matmul, sp_matmul_topn

    R = lap("prepare", lambda: unit_rows(by_user(split)))
    if k is None:
        S = lap("fit", lambda: sp_matmul(R, R.T.tocsr(), n_threads=threads))
    else:
        S = lap("fit", lambda: sp_matmul_topn(R, R.T.tocsr(), top_n=k + 1, n_threads=threads))
    return nearest_mean(S)


# cmfrec


def cmfrec_factors(lap, split, threads, k, epochs, penalty, implicit=False):
    import cmfrec

    data = lap("prepare", frame, split, UserId="u", ItemId="i", Rating="r")
    model = cmfrec.CMF(
        k=k,
        lambda_=penalty,
        niter=epochs,
        add_implicit_features=implicit,
        use_cg=True,
        use_float=True,
        nthreads=threads,
        verbose=False,
        precompute_for_predictions=False,
        random_state=1,
    )
    lap("fit", model.fit, data)
    return lap("predict", model.predict, split.tu, split.ti)


# implicit, whose purpose is another


def implicit_factors(lap, split, threads, k, epochs, penalty, alpha):
    """Residuals of damped biases: one above zero is a like, one below a dislike, the weight its
    size. What it says of a pair, times a slope fitted in train, is added to the biases.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    def prepare():
        mean, b_u, b_i = damped(split)
        e = split.r - mean - b_u[split.u] - b_i[split.i]
        return by_user(SimpleNamespace(**vars(split) | dict(r=e))), mean, b_u, b_i

    R, mean, b_u, b_i = lap("prepare", prepare)
    model = AlternatingLeastSquares(
        factors=k,
        regularization=penalty,
        alpha=alpha,
        iterations=epochs,
        num_threads=threads,
        random_state=0,
    )
    lap("fit", model.fit, R, show_progress=False)

    def predict():
        U, V = model.user_factors, model.item_factors
        some = np.random.default_rng(0).choice(len(split.r), min(len(split.r), 1_000_000))
        u, i = split.u[some], split.i[some]
        said, e = products(U, V, u, i), split.r[some] - mean - b_u[u] - b_i[i]
        slope = said @ e / max(said @ said, 1e-9)
        of_biases = mean + b_u[split.tu] + b_i[split.ti]
        return of_biases + slope * products(U, V, split.tu, split.ti)

    return lap("predict", predict)


def damped(split) -> tuple:
    "The mean, and what users and movies differ from it, little where ratings are few."
    mean, biases = split.r.mean(dtype=float), {}
    e = split.r - mean
    for name, n, at, damping in (
        ("i", split.n_movies, split.i, 5),
        ("u", split.n_users, split.u, 8),
    ):
        biases[name] = np.bincount(at, e, n) / (np.bincount(at, minlength=n) + damping)
        e = e - biases[name][at]
    return mean, biases["u"], biases["i"]


def products(U, V, u, i) -> np.ndarray:
    "The products of rows of factors, some at a time."
    parts = [slice(start, start + 1_000_000) for start in range(0, len(u), 1_000_000)]
    return np.concatenate([np.einsum("nk,nk->n", U[u[p]], V[i[p]]) for p in parts])


# Spark


@cache
def spark(threads):
    "A session on this machine alone, started before anything is timed."
    from pyspark.sql import SparkSession

    folder = tempfile.mkdtemp()
    settings = {
        "spark.driver.memory": "14g",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": folder,
        "spark.sql.warehouse.dir": folder,
        "spark.ui.enabled": "false",
    }
    builder = SparkSession.builder.master(f"local[{threads}]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def spark_factors(lap, split, threads, k, epochs, penalty):
    "Ratings go to Spark as a file of Parquet; what writing and reading it takes counts."
    import pyarrow as pa
    from pyarrow import parquet
    from pyspark.ml.recommendation import ALS

    session = spark(threads)
    with tempfile.TemporaryDirectory() as folder:

        def prepare():
            columns = dict(u=split.u, i=split.i, r=split.r)
            parquet.write_table(pa.table(columns), f"{folder}/ratings.parquet")
            return session.read.parquet(f"{folder}/ratings.parquet")

        columns = dict(userCol="u", itemCol="i", ratingCol="r")
        model = ALS(rank=k, maxIter=epochs, regParam=penalty, seed=0, **columns)
        fitted = lap("fit", model.fit, lap("prepare", prepare))

        def predict():
            U, V = (np.full((n, k), np.nan, np.float32) for n in (split.n_users, split.n_movies))
            for rows, factors in ((U, fitted.userFactors), (V, fitted.itemFactors)):
                found = factors.toPandas()
                rows[found["id"].to_numpy()] = np.stack(found["features"].to_numpy())
            return products(U, V, split.tu, split.ti)

        return lap("predict", predict)


# myFM


def myfm_factors(lap, split, threads, k, epochs, implicit=False):
    import myfm
    from scipy.sparse import csr_matrix, diags, hstack, identity

    R = csr_matrix(
        (np.ones(len(split.u)), (split.u, split.i)), shape=(split.n_users, split.n_movies)
    )

    def features(R):  # a row's own column and, if asked for, whom or what it has rated
        own = identity(R.shape[0], format="csr")
        return (
            hstack([own, diags(1 / np.sqrt(np.maximum(R.getnnz(1), 1))) @ R], "csr")
            if implicit
            else own
        )

    users, movies = lap("prepare", lambda: (features(R), features(R.T.tocsr())))

    def blocks(u, i):
        return [
            myfm.RelationBlock(u.astype(np.int64), users),
            myfm.RelationBlock(i.astype(np.int64), movies),
        ]

    model, (n, m) = myfm.MyFMRegressor(rank=k, random_seed=0), R.shape
    lap(
        "fit",
        model.fit,
        None,
        split.r.astype(float),
        X_rel=blocks(split.u, split.i),
        n_iter=epochs,
        n_kept_samples=epochs * 4 // 5,
        group_shapes=[n, m, m, n] if implicit else [n, m],
    )
    return lap("predict", model.predict, None, blocks(split.tu, split.ti))


# This library


def our_predictions(lap, split, model):
    X, X_test = np.stack([split.u, split.i], 1), np.stack([split.tu, split.ti], 1)
    lap("fit", model.fit, X, split.r)
    P, reason = lap("predict", model.predict, X_test, return_reason=True)
    return P, reason == "model"


def our_neighbours(lap, split, threads, k, **options):
    from thu_big_data_ml.neighbors.user_cf import UserCF

    return our_predictions(lap, split, UserCF(n_neighbors=k, device="cpu", **options))


def our_similarity(lap, split, threads):
    from thu_big_data_ml.neighbors.similarity import user_similarity

    R = lap("prepare", by_user, split)
    return nearest_mean(lap("fit", user_similarity, R, device="cpu"))


def our_factors(lap, split, threads, kind, neighbours=False, **options):
    "Defaults, unless options say otherwise."
    import thu_big_data_ml as ours

    kinds = dict(
        biases="BaselinePredictor",
        sgd="SGDFactorization",
        als="ALSFactorization",
        adamw="MatrixFactorizationRegressor",
        variational="VariationalFactorization",
        gibbs="GibbsFactorization",
    )
    options |= dict(device="cpu") if kind == "adamw" else {}
    options |= {} if kind == "biases" else dict(random_state=0)
    model = getattr(ours, kinds[kind])(**options)
    return our_predictions(lap, split, ours.NeighborCorrected(model) if neighbours else model)


def matrix_of(split):
    from scipy.sparse import csr_matrix

    return csr_matrix((split.r, (split.u, split.i)), shape=(split.n_users, split.n_movies))


def our_mean_field(split, k):
    "A sweep a pass."
    from thu_big_data_ml.bayesian._mean_field import MeanField
    from thu_big_data_ml.bayesian._sweeps import bases_of, new_state
    from thu_big_data_ml.bayesian.variational import _moments

    R = matrix_of(split)
    state = new_state(R, k, bases_of(R), None, False, np.random.default_rng(0))
    model = MeanField(state, nu=20)
    while True:
        model.sweep()
        yield lambda: _moments(model).predict(split.tu, split.ti)


def our_trainer(split, threads, k, solver, rate=None, penalty=None, per_rating=0.0):
    if solver == "variational":
        yield from our_mean_field(split, k)
    from thu_big_data_ml.factorization._adamw_kernels import predict_pairs
    from thu_big_data_ml.factorization._solvers import ALS, SGD, FullBatchAdamW, cpu_arrays
    from thu_big_data_ml.factorization.matrix_factorization import MatrixFactorization

    kind = dict(adamw=FullBatchAdamW, sgd=SGD, als=ALS)[solver]
    settings = dict(
        learning_rate=rate,
        learning_rate_decay=0.93 if len(split.r) < 1e6 else 0.8,
        weight_decay=0.0,
        regularization=penalty,
        regularization_per_rating=per_rating,
        bias_regularization=3,
        bias=True,
    )
    R = matrix_of(split)
    model = MatrixFactorization(*R.shape, k, bias=True, mean=float(R.data.mean()), random_state=0)
    solver, epoch = kind(model, R, settings), 0
    while True:
        solver.epoch(epoch, seed=(0, epoch))
        epoch += 1
        yield lambda: predict_pairs(
            split.tu.astype(np.int64), split.ti.astype(np.int64), *cpu_arrays(model), model.mean
        )


models = {
    "surprise": dict(factors=surprise_factors, neighbours=surprise_neighbours),
    "lenskit": dict(
        factors=lenskit_factors, neighbours=lenskit_neighbours, trainer=lenskit_trainer
    ),
    "cornac": dict(factors=cornac_factors, neighbours=cornac_neighbours, trainer=cornac_trainer),
    "implicit": dict(similarity=implicit_similarity, factors=implicit_factors),
    "similaripy": dict(similarity=similaripy_similarity),
    "sparse_dot_topn": dict(similarity=topn_similarity),
    "cmfrec": dict(factors=cmfrec_factors),
    "libmf": dict(factors=libmf_factors),
    "pyspark": dict(factors=spark_factors),
    "myfm": dict(factors=myfm_factors),
    "ours": dict(
        factors=our_factors,
        neighbours=our_neighbours,
        similarity=our_similarity,
        trainer=our_trainer,
    ),
}


def version_of(name: str) -> str:
    "The version of a library; of this one that of the checkout, which may not be installed."
    if name == "ours":
        from thu_big_data_ml import __version__

        return __version__
    return version("scikit-surprise" if name == "surprise" else name)


def alive() -> list[Path]:
    "This process and all that come from it, as folders of /proc: Spark runs in one of its own."
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[folder] = (folder / "stat").read_text().rpartition(")")[2].split()[1]
    found = [Path(f"/proc/{os.getpid()}")]
    for folder in found:  # grows meanwhile
        found += [child for child, parent in parents.items() if parent == folder.name]
    return found


def cpu_seconds() -> float:
    "What this process and those it started have used, of all cores together."
    ended, used = resource.getrusage(resource.RUSAGE_CHILDREN), 0
    for folder in alive()[1:]:  # in ticks of 10 ms
        with suppress(OSError):
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            used += int(fields[11]) + int(fields[12])
    of_others = ended.ru_utime + ended.ru_stime + used / os.sysconf("SC_CLK_TCK")
    return time.process_time() + of_others


def forget_peak():
    "The most memory held so far becomes what is held now."
    for folder in alive():
        (folder / "clear_refs").write_text("5")


def peak_megabytes() -> int:
    "The most memory that this process and those it started have held."
    lines = [line for f in alive() for line in (f / "status").read_text().splitlines()]
    return round(sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024)


class Laps(dict):
    "A stopwatch: stage -> seconds of wall; `cpu_seconds` of all stages together."

    cpu_seconds = 0.0

    def __call__(self, name, function, *words, **named):
        start, cpu = time.perf_counter(), cpu_seconds()
        result = function(*words, **named)
        self[name] = time.perf_counter() - start
        self.cpu_seconds += cpu_seconds() - cpu
        return result


def score(split, predicted) -> dict:
    """RMSE of predictions, clipped to the scale, the fallback where there is none; and over
    those only that the model proper made.
    """
    P, made = (
        predicted
        if isinstance(predicted, tuple)
        else (np.array(predicted, float), np.isfinite(predicted))
    )
    P = np.clip(np.where(np.isfinite(P), P, split.fallback), split.r.min(), split.r.max())

    def error(some):
        return float(np.sqrt(np.mean((P[some] - split.tr[some]) ** 2)))

    return dict(rmse=error(slice(None)), rmse_of_made=error(made), made=int(made.sum()))


def run(name, split, threads, model, **options) -> dict:
    "Fit and score once."
    lap = Laps()
    forget_peak()
    found = models[name][model](lap, split, threads, **options)
    facts = dict(seconds=lap, cpu_seconds=lap.cpu_seconds, peak_megabytes=peak_megabytes())
    return facts | (found if isinstance(found, dict) else score(split, found))


def train(name, split, threads, target, passes, **options) -> dict:
    """RMSE after each pass over the ratings and the seconds so far, scoring not counted, until
    the target is met or the passes are done.
    """
    forget_peak()
    curve, lap, trainer = [], Laps(), models[name]["trainer"](split, threads, **options)
    for number in range(1, passes + 1):
        predict = lap(number, next, trainer)
        found = score(split, predict())["rmse"]
        curve.append(dict(passes=number, seconds=sum(lap.values()), rmse=found))
        if found <= target:
            break
    return dict(curve=curve, cpu_seconds=lap.cpu_seconds, peak_megabytes=peak_megabytes())


def part(split, rows, test_rows):
    "Some of the training ratings to learn from, others to score on."
    kept = {name: getattr(split, name)[rows] for name in "uir"}
    return SimpleNamespace(
        **kept,
        fallback=split.r.mean(dtype=float),
        **{f"t{name}": getattr(split, name)[test_rows] for name in "uir"},
        n_users=split.n_users,
        n_movies=split.n_movies,
    )


class Parts:
    "All, a few ratings to rehearse with, and 95 % to learn from with 5 % to choose settings by."

    def __init__(self, split):
        self.all = split

    @cached_property
    def rehearsal(self):
        return part(self.all, slice(2000), slice(200))

    @cached_property
    def choice(self):
        aside = np.random.default_rng(1).random(len(self.all.r)) < 0.05
        return part(self.all, ~aside, aside)


def main():
    "Answer requests until there are none."
    name, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    warnings.simplefilter("ignore")
    split = SimpleNamespace(**np.load(path))
    split.n_users, split.n_movies = (
        int(max(a.max(), b.max())) + 1 for a, b in ((split.u, split.tu), (split.i, split.ti))
    )
    parts = Parts(split)
    said = dict(version=version_of(name), python=sys.version.split()[0])
    print(json.dumps(said), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        work = train if "passes" in request else run
        try:
            answer = work(name, getattr(parts, request.pop("part")), threads, **request)
        except Exception as error:
            answer = dict(error=f"{type(error).__name__}: {error}"[:300])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
