"Bayesian factorization: each step against its closed form, and the sampler as a whole."

import os
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone

from thu_big_data_ml.bayesian import _sampler, gibbs
from thu_big_data_ml.bayesian._draw_kernels import draw_effects, draw_rows, residuals
from thu_big_data_ml.bayesian._priors import draw_prior, new_side
from thu_big_data_ml.bayesian._starts import mean_field_start
from thu_big_data_ml.bayesian._sweeps import bases_of
from thu_big_data_ml.bayesian._time_effects import DAY, new_grouping, time_facts
from thu_big_data_ml.bayesian.gibbs import GibbsFactorization, sample_chains, sample_factors
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.estimators._factor_model import default_factors
from thu_big_data_ml.estimators._saving import pack
from thu_big_data_ml.estimators.baseline import BaselinePredictor
from thu_big_data_ml.factorization._implicit_prior import Rated
from thu_big_data_ml.metrics import interval_coverage, rmse

quick = dict(n_factors=4, n_sweeps=30, burn_in=10, random_state=0)
short = dict(n_factors=3, n_sweeps=24, burn_in=6, random_state=0)


@pytest.fixture(scope="module")
def planted():
    return synthetic_ratings(120, 90, 4000, random_state=0)


@pytest.fixture(scope="module")
def R(planted):
    return planted.matrix("train")


@pytest.fixture(scope="module")
def dates(R):
    return random_dates(R.nnz)


def random_dates(n, resolution="s", seed=0):
    "Dates within a hundred days."
    seconds = np.random.default_rng(seed).integers(0, 100 * DAY, n)
    dates = np.datetime64("2005-01-01", "s") + seconds
    return dates.astype(f"datetime64[{resolution}]").astype("datetime64[s]")


def single(a):
    return np.asarray(a, np.float32)


def same(samples, other) -> bool:
    "Whether all arrays and numbers are equal, bit for bit."
    (arrays, numbers), (others, other_numbers) = (pack(dict(s=s)) for s in (samples, other))
    equal = [np.array_equal(arrays[name], others[name]) for name in arrays.keys() | others.keys()]
    return all(equal) and numbers == other_numbers


def closed_form(design, level, target, own, delta, prior, precision):
    "Mean and covariance of one row, by dense algebra in double precision."
    A = own * (design.T * delta) @ design + np.diag(precision)
    b = own * (design.T * delta) @ (target - level) + precision * prior
    return np.linalg.solve(A, b), np.linalg.inv(A)


def with_ones(V):
    return np.c_[V, np.ones(len(V))]


@pytest.mark.parametrize("k", [1, 5, 7, 16, 32, 33])
@pytest.mark.parametrize("n_rated", [0, 1, 63, 64, 65, 200])
def test_rows_without_noise_are_the_closed_form_mean(k, n_rated):
    rng = np.random.default_rng(k)
    other, target = single(rng.standard_normal((300, k + 1))), single(rng.standard_normal(n_rated))
    rated = rng.choice(300, n_rated, replace=False).astype(np.int32)
    delta, prior = rng.gamma(2, 1, 300), rng.standard_normal(k + 1)
    precision = rng.gamma(2, 1, k + 1) + 0.5
    X, zeros = np.empty((1, k + 1), np.float32), np.zeros((1, k + 1), np.float32)
    weights = single([1.7]), single(np.sqrt(delta))
    priors = single(prior[None]), single(precision)
    ratings = np.array([0, n_rated]), rated, target
    draw_rows(*ratings, *weights, other, *priors, zeros, np.array([0]), X)
    design, level = with_ones(other[rated, :k]), other[rated, k]
    mean, _ = closed_form(design, level, target, 1.7, delta[rated], prior, precision)
    assert np.allclose(X[0], mean, atol=2e-3)


@pytest.mark.parametrize("k", [1, 7, 16])
def test_rows_that_drift_are_the_closed_form_mean(k):
    rng, n = np.random.default_rng(k), 130
    rated = np.arange(n, dtype=np.int32)
    V, X = rng.standard_normal((n, k + 1)), rng.standard_normal((n, 2 * k + 2))
    age, target, delta = rng.standard_normal(n), rng.standard_normal(n), rng.uniform(0.5, 2, n)
    now = X[:, : k + 1] + age[:, None] * X[:, k + 1 :]
    v = with_ones(V[:, :k])
    users = V, np.c_[v, age[:, None] * v], V[:, k]
    movies = X, with_ones(now[:, :k]), now[:, k]
    for other, design, level in (users, movies):
        K = design.shape[1]
        prior, precision = rng.standard_normal(K), rng.uniform(0.5, 2, K)
        x, zeros = np.empty((1, K), np.float32), np.zeros((1, K), np.float32)
        ratings = np.array([0, n]), rated, single(target)
        weights = single([1.7]), single(np.sqrt(delta))
        priors = single(prior[None]), single(precision)
        draw_rows(*ratings, *weights, single(other), *priors, zeros, np.array([0]), x, single(age))
        mean, _ = closed_form(design, level, target, 1.7, delta, prior, precision)
        np.testing.assert_allclose(x[0], mean, rtol=1e-3, atol=1e-3)
    error = np.empty(n, np.float32)
    residuals(np.arange(n + 1), rated, single(target), single(X), single(V), error, single(age))
    expected = target - now[:, k] - V[:, k] - (now[:, :k] * V[:, :k]).sum(1)
    np.testing.assert_allclose(error, expected, rtol=1e-3, atol=1e-3)


def test_draws_have_the_closed_form_mean_and_covariance():
    rng, n, rated = np.random.default_rng(0), 50_000, [0, 2, 3]
    other, target = single(rng.standard_normal((4, 4))), single([1, -1, 0.5])
    delta, prior = np.array([0.5, 1, 2, 1]), np.array([0.5, 0, -0.5, 1])
    precision, X = np.array([1, 2, 3, 4]), np.empty((n, 4), np.float32)
    ratings = np.arange(0, 3 * n + 1, 3), np.tile(np.int32(rated), n), np.tile(target, n)
    weights = single(np.full(n, 1.5)), single(np.sqrt(delta))
    priors = single(np.tile(prior, (n, 1))), single(precision)
    z = rng.standard_normal((n, 4), np.float32)
    draw_rows(*ratings, *weights, other, *priors, z, rng.permutation(n), X)
    design, level = with_ones(other[rated, :3]), other[rated, 3]
    mean, covariance = closed_form(design, level, target, 1.5, delta[rated], prior, precision)
    assert np.allclose(X.mean(0), mean, atol=0.015)
    assert np.allclose(np.cov(X.T), covariance, atol=0.015)


def test_the_prior_of_the_factors_is_found_again():
    rng = np.random.default_rng(0)
    side = new_side(csr_matrix((5000, 3), dtype=np.float32), None, 2, 3 * (None,), rng)
    side.X[:] = rng.standard_normal((5000, 3)) * [0.5, 1, 2] + [1, 0, -1]
    centers, precisions = [], []
    for _ in range(300):
        draw_prior(side, rng)
        centers.append(side.center)
        precisions.append(side.precision)
    assert np.allclose(np.mean(centers[100:], 0), [1, 0, -1], atol=0.08)
    assert np.allclose(np.mean(precisions[100:], 0), [4, 1, 0.25], rtol=0.06)


def test_the_implicit_basis_spans_who_rated_what(R):
    Q, s, _ = Rated(R).directions(of_users=True)
    assert Q.shape == (R.shape[0], len(s)) and (np.diff(s) <= 1e-5).all()
    assert np.allclose(Q.T @ Q, np.eye(len(s)), atol=1e-4)
    rated = (R.toarray() != 0) / np.sqrt(np.maximum(np.diff(R.indptr), 1))[:, None]
    assert np.allclose((Q * s) @ (Q * s).T, rated @ rated.T, atol=1e-2)
    assert Rated(R).directions(True, 20)[0].shape == (R.shape[0], 20)


def test_effects_of_time_are_the_shrunk_means_of_their_groups():
    rng = np.random.default_rng(0)
    keys, error = rng.integers(0, 9, 200), single(rng.standard_normal(200))
    group, u, i = new_grouping(keys, rng), rng.integers(0, 10, 200), rng.integers(0, 5, 200)
    gamma, delta = rng.gamma(5, 0.2, 10), rng.gamma(5, 0.2, 5)
    changed, target, z = error.copy(), np.zeros(200, np.float32), np.zeros(9, np.float32)
    members = group.starts, group.members, group.order
    draw_effects(*members, u, i, gamma, delta, 3.0, z, changed, target, group.effect)
    weight = gamma[u] * delta[i]
    expected = np.bincount(keys, weight * error) / (np.bincount(keys, weight) + 3)
    assert np.allclose(group.effect, expected, atol=1e-5)
    assert np.allclose(changed, error - expected[keys], atol=1e-5)
    assert np.allclose(target, -expected[keys], atol=1e-5)


def test_counts_are_of_training_ratings_before_the_moment_asked_about():
    given = ["2005-01-01", "2005-01-02", "2005-01-02", "2005-01-01"]
    facts = time_facts(np.array([0, 0, 0, 1]), np.array(given, "datetime64[s]"))
    asked = np.array(["2004-05-05", "2005-01-01", "2005-01-02", "2006-01-01"], "datetime64[s]")

    def counts(name, user):
        return facts.keys(np.full(4, user), np.zeros(4), asked)[name].tolist()

    def steps(*counts):
        return [int(np.floor(2 * np.log2(n + 1))) for n in counts]

    assert counts("ratings so far", 0) == steps(0, 0, 1, 3)
    assert counts("ratings that day", 0) == steps(0, 1, 2, 0)
    assert counts("ratings so far", 1) == steps(0, 0, 1, 1)


@pytest.mark.parametrize("options", [{}, dict(implicit=False, noise=False)])
def test_planted_factors_are_recovered_with_honest_spreads(options):
    planted = synthetic_ratings(300, 200, 12_000, random_state=0)
    T = planted.matrix("test")
    chain = dict(n_factors=6, n_sweeps=100, burn_in=30, random_state=0)
    samples, history = sample_factors(planted.matrix("train"), **chain, **options)
    mean, std = samples.predict(*T.nonzero(), return_std=True)
    error, best = rmse(T.data, mean.clip(1, 5)), planted.best_rmse
    biases = BaselinePredictor().fit(planted.train).predict(planted.test)
    biases = rmse(planted.test["rating"], biases)
    assert best < error < best + 0.9 * (biases - best)
    assert list(history) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
    assert len(history) == 100 and history["validation_rmse"].isna().all()
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    covered = interval_coverage(T.data, mean, std)
    assert np.allclose(covered["coverage"], covered["level"], atol=0.05)


def test_a_seed_repeats_bit_for_bit_and_another_does_not(R, dates):
    first, second, other = (
        sample_factors(R, dates=dates, **(short | dict(random_state=seed)))[0] for seed in (0, 0, 1)
    )
    assert same(first, second) and not np.array_equal(first.U, other.U)


def test_threads_do_not_change_the_draws():
    code = """if True:
        import hashlib, numba, numpy as np
        from contextlib import nullcontext
        from threadpoolctl import threadpool_limits
        from thu_big_data_ml.bayesian import _sampler, gibbs
        from thu_big_data_ml.data.synthetic import synthetic_ratings
        _sampler.threads_for = lambda work: nullcontext() # as with many ratings: all threads
        R = synthetic_ratings(200, 150, 6000, random_state=0).matrix()
        seconds = np.random.default_rng(0).integers(0, 10**7, R.nnz)
        dates = np.datetime64("2005-01-01", "s") + seconds
        short = dict(n_factors=5, n_sweeps=12, burn_in=6, random_state=0)
        for n in (1, 2):
            numba.set_num_threads(n)
            with threadpool_limits(n):
                samples, _ = gibbs.sample_factors(R, dates=dates, **short)
            parts = samples.U, samples.V, samples.alpha, samples.noise_u, samples.time.mean
            drawn = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
            print(hashlib.sha1(drawn).hexdigest())"""
    threads = {"NUMBA_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"}  # on one core, too
    options = dict(env=os.environ | threads, capture_output=True, text=True, check=True)
    alone, two = subprocess.run([sys.executable, "-c", code], **options).stdout.split()
    assert alone == two


def test_validation_is_watched_and_not_learned_from(planted, R, dates):
    T = planted.matrix("test")
    (u, i), when = T.nonzero(), random_dates(T.nnz, seed=1)
    alone, _ = sample_factors(R, dates=dates, **short)
    shuffled = np.random.default_rng(0).permutation(T.data)
    watched, history = sample_factors(R, dates=dates, validation=(u, i, shuffled, when), **short)
    assert same(alone, watched) and history["validation_rmse"].notna().all()
    order = np.random.default_rng(1).permutation(T.nnz)
    another_order = u[order], i[order], shuffled[order], when[order]
    _, again = sample_factors(R, dates=dates, validation=another_order, **short)
    assert np.allclose(history["validation_rmse"], again["validation_rmse"], atol=1e-6)


@pytest.mark.parametrize("resolution, drift", [("s", False), ("D", False), ("s", True)])
def test_all_samples_kept_predict_what_was_watched(planted, R, resolution, drift):
    T, dates = planted.matrix("test"), random_dates(R.nnz, resolution)
    (u, i), when = T.nonzero(), random_dates(T.nnz, resolution, seed=1)
    watched = dict(dates=dates, drift=drift, validation=(u, i, T.data, when))
    samples, history = sample_factors(R, **watched, n_samples=1000, dtype=np.float32, **short)
    error = rmse(T.data, samples.predict(u, i, when).clip(1, 5))
    assert samples.U.shape == (R.shape[0], 18, 3)
    assert samples.time.facts.fine == (resolution == "s")
    # unseen groups count as 0 in both
    assert error == pytest.approx(history["validation_rmse"].iloc[-1], abs=5e-3)


def test_half_precision_costs_next_to_nothing(R):
    u, i = R.nonzero()
    whole, half = (
        sample_factors(R, dtype=dtype, **short)[0].predict(u, i)
        for dtype in (np.float32, np.float16)
    )
    assert np.abs(whole - half).max() < 5e-3 and np.sqrt(np.mean((whole - half) ** 2)) < 5e-4


def test_half_stars(planted):
    R = planted.matrix("train")
    R.data -= np.float32(0.5) * (np.arange(R.nnz) % 2)
    samples, history = sample_factors(R, **short)
    assert np.isfinite(samples.predict(*R.nonzero())).all()
    assert np.isfinite(history[["loss", "train_rmse"]]).all(axis=None)


def test_rows_and_columns_without_ratings_get_the_prior():
    dense = np.random.default_rng(0).integers(1, 6, (30, 20))
    dense *= np.random.default_rng(1).random((30, 20)) < 0.4
    dense[[3, 29]], dense[:, [0, 19]] = 0, 0
    samples, _ = sample_factors(csr_matrix(dense, dtype=np.float32), **quick)
    u, i = np.divmod(np.arange(600), 20)
    mean, std = samples.predict(u, i, return_std=True)
    assert np.isfinite(mean).all() and (std > 0).all() and ((mean > 0) & (mean < 6)).all()
    assert std.reshape(30, 20)[[3, 29]].mean() > std.reshape(30, 20)[4:28, 1:19].mean()


@pytest.mark.parametrize("dense", [[[4]], [[4, 2, 5]], [[4], [3], [1]], [[3, 3], [3, 3]]])
def test_one_user_one_movie_or_one_value(dense):
    R = csr_matrix(np.array(dense, np.float32))
    samples, _ = sample_factors(R, dates=random_dates(R.nnz), **quick)
    mean, std = samples.predict(*R.nonzero(), random_dates(R.nnz), return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(std).all()


def test_no_pairs_and_unknown_moments(R, dates):
    samples, _ = sample_factors(R, dates=dates, **short)
    assert samples.predict([], []).shape == (0,)
    far = np.array(["1970-01-01", "2100-01-01"], "datetime64[s]")
    plain, future = samples.predict([0, 1], [2, 3]), samples.predict([0, 1], [2, 3], far)
    assert np.isfinite(future).all() and np.abs(future - plain).max() < 1


@pytest.mark.parametrize(
    "options, word",
    [
        (dict(burn_in=30), "burn_in"),
        (dict(n_samples=0), "n_samples"),
        (dict(nu=0), "nu"),
        (dict(n_factors=0), "n_factors"),
        (dict(n_sweeps=2.5), "n_sweeps"),
        (dict(dates=random_dates(3)), "3 dates"),
        (dict(drift=True), "drift needs dates"),
        (dict(random_state=-1), "random_state"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(R, options, word):
    with pytest.raises(ValueError, match=word):
        sample_factors(R, **(quick | options))


def test_ratings_that_cannot_be_sampled_are_refused(R, dates):
    with pytest.raises(ValueError, match="no ratings"):
        sample_factors(csr_matrix((3, 3), dtype=np.float32), **quick)
    with pytest.raises(ValueError, match="not finite"):
        sample_factors(R * np.float32(np.inf), **quick)
    missing = dates.copy()
    missing[7] = "NaT"
    with pytest.raises(ValueError, match="row 7"):
        sample_factors(R, dates=missing, **quick)


def test_a_state_that_is_not_finite_is_refused(R, monkeypatch):
    def spoiled(state, *args):
        state.alpha = float("nan")

    monkeypatch.setattr(_sampler, "sweep", spoiled)
    with pytest.raises(FloatingPointError, match="not finite any more"):
        sample_factors(R, **quick)


def test_defaults_follow_the_number_of_ratings():
    def factors(n_ratings, n_rows=1):
        n = np.arange(n_ratings)
        shape = n_rows, 1000 if n_rows > 1 else 1
        indptr = np.linspace(0, n_ratings, n_rows + 1).astype(int)
        return default_factors(csr_matrix((np.ones(len(n)), 0 * n, indptr), shape=shape))

    numbers = (9_999, 10_000, 50_000, 299_999, 300_000, 3_000_000)
    assert [factors(n) for n in numbers] == [2, 8, 16, 16, 32, 48]
    assert [factors(60_000, n) for n in (6500, 19_000, 199_000)] == [16, 6, 1]


@pytest.mark.parametrize("from_mean_field", [False, True])
def test_levels_are_found_in_a_few_sweeps_where_ratings_are_sparse(from_mean_field, monkeypatch):
    monkeypatch.setattr(gibbs, "is_dense", lambda R: from_mean_field)
    rng, n = np.random.default_rng(0), 8000
    u, i = np.divmod(rng.choice(1000 * 4000, n, replace=False), 4000)  # 8 a user, 2 a movie
    level = 3.5 + 0.3 * rng.standard_normal(1000)[u] + 0.6 * rng.standard_normal(4000)[i]
    ratings = single(level + 0.8 * rng.standard_normal(n))
    R = csr_matrix((ratings, (u, i)), shape=(1000, 4000))
    chain = dict(n_factors=2, n_sweeps=60, burn_in=20, n_samples=20, random_state=0)
    samples, _ = sample_factors(R, **chain, implicit=False)
    b_u, b_i = (samples.unit * b.astype(float).std(0).mean() for b in (samples.b_u, samples.b_i))
    assert b_i == pytest.approx(0.6, rel=0.15) and b_u == pytest.approx(0.3, rel=0.25)


# Where chains start


def settings_of(**options):
    return _sampler.Settings(n_factors=4, n_sweeps=6, burn_in=0, n_samples=6, **options)


@pytest.mark.parametrize("drift", [False, True])
def test_a_chain_goes_on_from_what_mean_field_knows(R, dates, drift):
    settings, bases = settings_of(drift=drift, random_state=3), bases_of(R)
    known = mean_field_start(R, 4, bases, dates)
    state = _sampler.Chain(R, settings, bases, dates, lambda: known, None, None).state
    for side, found in ((state.users, known.users), (state.movies, known.movies)):
        np.testing.assert_array_equal(side.X[:, :5], found.X)
        np.testing.assert_array_equal(side.link[:, :5], found.link)
        assert not side.X[:, 5:].any() and (side.precision[5:] == 100).all()
        assert side.X is not found.X and not np.array_equal(side.order, found.order)
    assert state.alpha == known.alpha
    np.testing.assert_allclose(state.error, known.error, atol=1e-4)


def test_a_few_sweeps_from_mean_field_are_ahead_of_a_few_from_anywhere(planted, R):
    T, bases, errors = planted.matrix("test"), bases_of(R), {}
    for name, start in (("random", None), ("mean field", mean_field_start)):
        settings = settings_of(random_state=0)
        begun = start and partial(start, R, 4, bases, None)
        samples, _ = _sampler.run_chain(R, settings, bases, None, begun)
        errors[name] = rmse(T.data, samples.predict(*T.nonzero()).clip(1, 5))
    assert errors["mean field"] < errors["random"] - 0.01


def test_chains_share_a_start_and_a_checkpoint_needs_none(R, tmp_path, monkeypatch):
    monkeypatch.setattr(gibbs, "is_dense", lambda R: True)
    real, starts = gibbs.mean_field_start, []
    monkeypatch.setattr(
        gibbs, "mean_field_start", lambda *at, **own: starts.append(None) or real(*at, **own)
    )
    options = dict(n_chains=3, n_sweeps=4, n_factors=2, checkpoint=tmp_path / "chain.npz")
    sample_chains(R, **options)
    assert len(starts) == 1
    sample_chains(R, **options)
    assert len(starts) == 1  # all chains were complete


# Checkpoints


def killing(monkeypatch, after, by_ctrl_c=False):
    "Let the sweep after so many others be killed, or have Ctrl-C pressed during it."
    real, sweeps = _sampler.sweep, []

    def sweep(*args):
        sweeps.append(None)
        if len(sweeps) == after + 1:
            if not by_ctrl_c:
                raise MemoryError("killed")
            signal.raise_signal(signal.SIGINT)
        real(*args)

    monkeypatch.setattr(_sampler, "sweep", sweep)
    return sweeps


@pytest.mark.parametrize("killed_after", [10, 20, 24])
def test_a_killed_chain_continues_as_if_nothing_had_happened(
    planted, R, dates, tmp_path, monkeypatch, killed_after
):
    T, path = planted.matrix("test"), tmp_path / "chain.npz"
    watched = (*T.nonzero(), T.data, random_dates(T.nnz, seed=1))
    settings = dict(dates=dates, drift=True, validation=watched, **quick)
    undisturbed, whole = sample_factors(R, **settings)
    with monkeypatch.context() as patch, pytest.raises(MemoryError):
        killing(patch, killed_after)
        sample_factors(R, checkpoint=path, **settings)
    sweeps = killing(monkeypatch, 1000)
    samples, history = sample_factors(R, checkpoint=path, **settings)
    assert len(sweeps) == (30 if killed_after < 20 else 10)
    assert same(samples, undisturbed) and list(tmp_path.iterdir()) == [path]
    assert np.array_equal(whole["validation_rmse"], history["validation_rmse"])


def test_a_chain_without_a_seed_continues_too(R, tmp_path, monkeypatch):
    settings = quick | dict(random_state=None, checkpoint=tmp_path / "chain.npz")
    real, alphas = _sampler.sweep, []

    def sweep(state, *args):
        real(state, *args)
        alphas.append(state.alpha)
        if len(alphas) == 25:
            raise KeyboardInterrupt

    monkeypatch.setattr(_sampler, "sweep", sweep)
    with pytest.raises(KeyboardInterrupt):
        sample_factors(R, **settings)
    sample_factors(R, **settings)
    assert len(alphas) == 35 and alphas[20:25] == alphas[25:30]  # the last five are drawn again


def test_several_chains_are_put_together(planted, R):
    u, i = planted.matrix("test").nonzero()
    samples, history = sample_chains(R, n_chains=3, n_sweeps=30, n_samples=30, random_state=0)
    assert samples.U.shape[1] == 30 and list(history["epoch"]) == list(range(1, 91))
    seeds = np.random.SeedSequence(0).generate_state(3).tolist()
    chain = dict(n_sweeps=30, burn_in=8, n_samples=10)
    chains = [sample_factors(R, **chain, random_state=seed)[0] for seed in seeds]
    assert np.array_equal(samples.U[:, 10:20], chains[1].U)
    mean = np.mean([chain.predict(u, i) for chain in chains], axis=0)
    np.testing.assert_allclose(samples.predict(u, i), mean, rtol=1e-5)
    with pytest.raises(ValueError, match="n_chains"):
        sample_chains(R, n_chains=0)


def test_ctrl_c_ends_the_sweep_and_nothing_is_lost(R, dates, tmp_path, monkeypatch):
    path = tmp_path / "chain.npz"
    options = dict(n_chains=2, n_sweeps=24, n_factors=3, dates=dates, drift=True, random_state=0)
    undisturbed, _ = sample_chains(R, **options)
    with monkeypatch.context() as patch:
        sweeps = killing(patch, 30, by_ctrl_c=True)  # in the second chain
        with pytest.raises(KeyboardInterrupt, match="after 7 of 24 .*checkpoint=.*chain.npz'"):
            sample_chains(R, checkpoint=path, **options)
        assert len(sweeps) == 31
    sweeps = killing(monkeypatch, 1000)
    continued, _ = sample_chains(R, checkpoint=path, **options)
    assert len(sweeps) == 17 and same(continued, undisturbed)  # the first chain was complete
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.1.npz", "chain.npz"]


def test_ctrl_c_without_a_checkpoint_ends_at_once(planted, monkeypatch):
    model = clone(estimator)
    killing(monkeypatch, 3, by_ctrl_c=True)
    with pytest.raises(KeyboardInterrupt) as stopped:
        model.fit(planted.train)
    assert not stopped.value.args and not hasattr(model, "samples_")


def test_a_checkpoint_of_another_chain_is_refused(R, dates, tmp_path):
    settings = quick | dict(checkpoint=tmp_path / "chain.npz", dates=dates)
    sample_factors(R, **settings)
    for options, word in (
        (dict(n_factors=5), "n_factors"),
        (dict(random_state=1), "random_state"),
        (dict(dates=random_dates(R.nnz, seed=1)), "dates"),
        (dict(n_sweeps=50), "n_sweeps"),
    ):
        with pytest.raises(ValueError, match=f"{word} differ"):
            sample_factors(R, **(settings | options))
    with pytest.raises(ValueError, match="ratings differ"):
        sample_factors(R * np.float32(0.5), **settings)
    (tmp_path / "chain.npz").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="chain.npz"):
        sample_factors(R, **settings)


# The estimator

estimator = GibbsFactorization(4, n_sweeps=24, n_chains=1, random_state=0)


def test_a_prediction_comes_with_its_spread_and_reason(planted):
    model, n = clone(estimator).fit(planted.train), len(planted.test)
    user, movie = planted.train[["user_id", "movie_id"]].iloc[0]
    strangers = pd.DataFrame(dict(user_id=[-1, user, -1], movie_id=[movie, -1, -1]))
    asked = pd.concat([planted.test[["user_id", "movie_id"]], strangers], ignore_index=True)
    prediction, std, reason = model.predict(asked, return_std=True, return_reason=True)
    assert np.array_equal(prediction, model.predict(asked))
    assert len(model.predict(asked, return_std=True)) == 2
    assert std.shape == prediction.shape and np.isfinite(std).all() and (std > 0).all()
    assert reason[-3:].tolist() == ["unknown user", "unknown movie", "unknown user and movie"]
    assert (reason[:n] == "model").mean() > 0.99
    assert std[-1] == pytest.approx(planted.train["rating"].std(), rel=1e-3)
    assert (std[-3:-1] < std[-1]).all()
    covered = interval_coverage(planted.test["rating"], prediction[:n], std[:n], (0.95,))
    assert covered["coverage"][0] == pytest.approx(0.95, abs=0.04)


def test_intervals_hold_as_many_ratings_as_they_say(planted):
    model, rating = clone(estimator).fit(planted.train), planted.test["rating"]
    widths = []
    for level in (0.5, 0.8, 0.95):
        low, high = model.predict_interval(planted.test, level)
        assert (low >= 1).all() and (high <= 5).all() and (low <= high).all()
        prediction = model.predict(planted.test)
        assert ((low <= prediction) & (prediction <= high)).all()
        assert np.mean((low <= rating) & (rating <= high)) > level - 0.06  # ends are clipped
        widths.append(np.mean(high - low))
    assert widths == sorted(widths)
    low, high = model.predict_interval(planted.test)
    assert np.array_equal(low, model.predict_interval(planted.test, level=0.8)[0])
    for level in (0, 1, -0.5, 80, float("nan")):
        with pytest.raises(ValueError, match="level must be"):
            model.predict_interval(planted.test, level)


def test_default_settings_follow_the_ratings(planted):
    model = clone(estimator).set_params(n_factors=None).fit(planted.train)
    k = default_factors(planted.matrix("train"))
    assert model.samples_.U.shape == (len(model.user_ids_), 18, k)
    assert len(model.history_) == 24 and model.device_ == "cpu"
    plain = clone(model).set_params(implicit=False).fit(planted.train)
    assert not np.array_equal(plain.samples_.U, model.samples_.U)


@pytest.mark.parametrize(
    "options",
    [dict(implicit=None), dict(time="always"), dict(n_chains=0), dict(n_sweeps=0)]
    + [dict(n_factors=-1), dict(random_state="one")],
)
def test_parameters_that_cannot_be_used_are_refused_by_name(planted, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        clone(estimator).set_params(**options).fit(planted.train)


def test_dates_follow_their_ratings_in_any_form(planted):
    timed = clone(estimator).set_params(time=True)
    train, test = (
        frame.assign(date=frame["date"] + pd.to_timedelta(np.arange(len(frame)) % 86_400, "s"))
        for frame in (planted.train.head(1500), planted.test.head(300))
    )
    expected = timed.fit(train).predict(test)
    assert timed.last_date_ == train["date"].max().to_datetime64()
    shanghai = train["date"].dt.tz_localize("UTC").dt.tz_convert("Asia/Shanghai")
    first = train.head(50).assign(rating=1.0, date=np.datetime64("1999-01-01", "s"))
    again = {
        "text": train.assign(date=train["date"].astype(str)),
        "zone": train.assign(date=shanghai),
        "shuffled": train.sample(frac=1, random_state=0),
        "index": train.set_index(np.arange(len(train))[::-1]),
        "twice": pd.concat([first.astype({"date": train["date"].dtype}), train]),
    }
    for name, frame in again.items():
        model = clone(timed).set_params(duplicates="last" if name == "twice" else "error")
        np.testing.assert_array_equal(model.fit(frame).predict(test), expected, name)
    np.testing.assert_array_equal(timed.predict(test.iloc[::-1])[::-1], expected)
    later = test.assign(date=test["date"] + pd.Timedelta(days=400))
    assert np.abs(timed.predict(later) - expected).max() > 0


@pytest.mark.parametrize("time", [True, "drift"])
def test_the_moment_counts_in_lists_and_reasons(planted, time):
    model = clone(estimator).set_params(time=time).fit(planted.train)
    user, movie = planted.train[["user_id", "movie_id"]].iloc[0]
    then = model.recommend(user, 5, date="2003-05-05")
    predicted = model.predict(then.assign(user_id=user, date="2003-05-05"))
    np.testing.assert_allclose(predicted, then["prediction"])
    reasons = model.explain(user, movie, date="2003-05-05").set_index("term")["contribution"]
    assert {"ratings so far", "user x day"} <= set(reasons.index)
    assert ("drift" in reasons) == (time == "drift")
    asked = pd.DataFrame(dict(user_id=[user], movie_id=[movie], date=["2003-05-05"]))
    u, i, dates = model._pairs(asked)
    assert reasons.sum() == pytest.approx(model._score(u, i, dates)[0])


def test_what_dates_cannot_do_is_refused_with_a_cure(planted):
    train = planted.train.head(800)
    pairs = train[["user_id", "movie_id"]]
    timed = clone(estimator).set_params(time=True)
    with pytest.raises(ValueError, match="column date, or set time=False"):
        timed.fit(pairs, train["rating"])
    with pytest.raises(ValueError, match="rows? 3: the date is missing"):
        clone(timed).fit(train.assign(date=train["date"].where(np.arange(len(train)) != 3)))
    with pytest.raises(TypeError, match="unit='s'"):
        clone(timed).fit(train.assign(date=1_000_000_000))
    with pytest.raises(ValueError, match="needs a column date"):
        timed.fit(train).predict(pairs)
    # a model without effects of time does not look
    assert clone(estimator).fit(train.assign(date="no date at all")).last_date_ is None


def test_an_estimator_continues_its_chain(planted, tmp_path, monkeypatch):
    model = clone(estimator).set_params(checkpoint=tmp_path / "chain.npz")
    expected = clone(estimator).fit(planted.train).predict(planted.test)
    np.testing.assert_array_equal(model.fit(planted.train).predict(planted.test), expected)
    sweeps = killing(monkeypatch, 1000)
    np.testing.assert_array_equal(clone(model).fit(planted.train).predict(planted.test), expected)
    assert len(sweeps) == 0  # the chain was complete


@pytest.mark.parametrize("time", [False, True, "drift"])
def test_a_saved_model_predicts_as_before(planted, tmp_path, time):
    model = clone(estimator).set_params(time=time).fit(planted.train)
    loaded = GibbsFactorization.load(model.save(tmp_path / "model.npz"))
    assert same(model.samples_, loaded.samples_)
    for one, other in zip(*(m.predict(planted.test, return_std=True) for m in (model, loaded))):
        np.testing.assert_array_equal(one, other)


def test_a_rehearsal_is_one_chain_of_half_the_sweeps(planted, tmp_path):
    path = tmp_path / "chain.npz"
    model = clone(estimator).set_params(n_chains=2, n_sweeps=None, time="drift", checkpoint=path)
    model.fit(planted.train.head(300))
    rehearsal = model._rehearsal()
    changed = dict(n_chains=1, n_sweeps=75, checkpoint=tmp_path / "chain.trust.npz")
    assert rehearsal.get_params() == model.get_params() | changed
    assert not hasattr(rehearsal, "samples_")
