"Bayesian factorization: each step against its closed form, and the sampler as a whole."

import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.base import clone

from thu_big_data_ml.bayesian import gibbs
from thu_big_data_ml.bayesian._kernels import draw_effects, draw_rows, residuals
from thu_big_data_ml.bayesian.gibbs import sample_factors
from thu_big_data_ml.bayesian.posterior import posterior_mean
from thu_big_data_ml.bayesian.priors import draw_prior, new_side
from thu_big_data_ml.bayesian.time_effects import DAY, new_grouping, time_facts, time_keys
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.estimators._factor_model import default_factors
from thu_big_data_ml.estimators.baseline import BaselinePredictor
from thu_big_data_ml.factorization._implicit_prior import implicit_basis
from thu_big_data_ml.factorization.matrix_factorization import MatrixFactorizationRegressor
from thu_big_data_ml.metrics import rmse

quick = dict(n_factors=4, n_sweeps=30, burn_in=10, random_state=0)


@pytest.fixture(scope="module")
def planted():
    return synthetic_ratings(400, 300, 24_000, random_state=0)


@pytest.fixture(scope="module")
def R(planted):
    return planted.matrix("train")


def random_dates(n, resolution="s", seed=0):
    "Dates within a hundred days."
    seconds = np.random.default_rng(seed).integers(0, 100 * DAY, n)
    return (
        (np.datetime64("2005-01-01", "s") + seconds)
        .astype(f"datetime64[{resolution}]")
        .astype("datetime64[s]")
    )


def closed_form(V, bias, target, own, delta, prior, precision):
    "Mean and covariance of one row, by dense algebra in double precision."
    v = np.c_[V, np.ones(len(V))]
    A = own * (v.T * delta) @ v + np.diag(precision)
    b = own * (v.T * delta) @ (target - bias) + precision * prior
    return np.linalg.solve(A, b), np.linalg.inv(A)


@pytest.mark.parametrize("k", [1, 5, 7, 16, 32, 33])
@pytest.mark.parametrize("n_rated", [0, 1, 63, 64, 65, 200])
def test_rows_without_noise_are_the_closed_form_mean(k, n_rated):
    rng = np.random.default_rng(k)
    other, target = (
        rng.standard_normal((300, k + 1)).astype(np.float32),
        rng.standard_normal(n_rated).astype(np.float32),
    )
    indices = rng.choice(300, n_rated, replace=False).astype(np.int32)
    delta, prior, precision = (
        rng.gamma(2, 1, 300),
        rng.standard_normal(k + 1),
        rng.gamma(2, 1, k + 1) + 0.5,
    )
    X = np.empty((1, k + 1), np.float32)

    def single(a):
        return np.asarray(a, np.float32)

    draw_rows(
        np.array([0, n_rated]),
        indices,
        target,
        single([1.7]),
        single(np.sqrt(delta)),
        other,
        single(prior[None]),
        single(precision),
        np.zeros((1, k + 1), np.float32),
        np.array([0]),
        X,
    )
    mean, _ = closed_form(
        other[indices, :k], other[indices, k], target, 1.7, delta[indices], prior, precision
    )
    assert np.allclose(X[0], mean, atol=2e-3)


@pytest.mark.parametrize("k", [1, 7, 16])
def test_rows_that_drift_are_the_closed_form_mean(k):
    rng, n = np.random.default_rng(k), 130
    single, rated = lambda a: np.asarray(a, np.float32), np.arange(n, dtype=np.int32)
    V, X, age, delta, target = (
        rng.standard_normal((n, k + 1)),
        rng.standard_normal((n, 2 * k + 2)),
        rng.standard_normal(n),
        rng.uniform(0.5, 2, n),
        rng.standard_normal(n),
    )
    ones = np.ones((n, 1))
    now = X[:, : k + 1] + age[:, None] * X[:, k + 1 :]
    for other, design, level in (
        (V, np.c_[V[:, :k], ones, age[:, None] * np.c_[V[:, :k], ones]], V[:, k]),
        (X, np.c_[now[:, :k], ones], now[:, k]),
    ):
        K = design.shape[1]
        prior, precision, x = (
            rng.standard_normal(K),
            rng.uniform(0.5, 2, K),
            np.empty((1, K), np.float32),
        )
        draw_rows(
            np.array([0, n]),
            rated,
            single(target),
            single([1.7]),
            single(np.sqrt(delta)),
            single(other),
            single(prior[None]),
            single(precision),
            np.zeros((1, K), np.float32),
            np.array([0]),
            x,
            single(age),
        )
        A = 1.7 * (design.T * delta) @ design + np.diag(precision)
        np.testing.assert_allclose(
            x[0],
            np.linalg.solve(A, 1.7 * (design.T * delta) @ (target - level) + precision * prior),
            rtol=1e-3,
            atol=1e-3,
        )
    error = np.empty(n, np.float32)
    residuals(np.arange(n + 1), rated, single(target), single(X), single(V), error, single(age))
    np.testing.assert_allclose(
        error, target - now[:, k] - V[:, k] - (now[:, :k] * V[:, :k]).sum(1), rtol=1e-3, atol=1e-3
    )


def test_draws_have_the_closed_form_mean_and_covariance():
    rng, n = np.random.default_rng(0), 50_000
    other, target = (
        rng.standard_normal((4, 4)).astype(np.float32),
        np.array([1, -1, 0.5], np.float32),
    )
    delta, prior, precision = (
        np.array([0.5, 1, 2, 1]),
        np.array([0.5, 0, -0.5, 1]),
        np.array([1, 2, 3, 4]),
    )
    X, single = np.empty((n, 4), np.float32), lambda a: np.asarray(a, np.float32)
    draw_rows(
        np.arange(0, 3 * n + 1, 3),
        np.tile(np.array([0, 2, 3], np.int32), n),
        np.tile(target, n),
        single(np.full(n, 1.5)),
        single(np.sqrt(delta)),
        other,
        single(np.tile(prior, (n, 1))),
        single(precision),
        rng.standard_normal((n, 4), np.float32),
        rng.permutation(n),
        X,
    )
    mean, covariance = closed_form(
        other[[0, 2, 3], :3], other[[0, 2, 3], 3], target, 1.5, delta[[0, 2, 3]], prior, precision
    )
    assert np.allclose(X.mean(0), mean, atol=0.015) and np.allclose(
        np.cov(X.T), covariance, atol=0.015
    )


def test_the_prior_of_the_factors_is_found_again():
    rng = np.random.default_rng(0)
    side = new_side(csr_matrix((5000, 3), dtype=np.float32), None, 2, (None, None), rng)
    side.X[:] = rng.standard_normal((5000, 3)) * [0.5, 1, 2] + [1, 0, -1]
    draws = [(draw_prior(side, rng), side.center, side.precision)[1:] for _ in range(500)][100:]
    center, precision = (np.mean(part, 0) for part in zip(*draws))
    assert np.allclose(center, [1, 0, -1], atol=0.08) and np.allclose(
        precision, [4, 1, 0.25], rtol=0.06
    )


def test_the_link_basis_spans_who_rated_what(R):
    Q, s = implicit_basis(R)
    assert (
        Q.shape == (R.shape[0], len(s))
        and np.allclose(Q.T @ Q, np.eye(len(s)), atol=1e-4)
        and (np.diff(s) <= 1e-5).all()
    )
    rated = (R.toarray() != 0) / np.sqrt(np.maximum(np.diff(R.indptr), 1))[:, None]
    assert np.allclose((Q * s) @ (Q * s).T, rated @ rated.T, atol=1e-2)
    assert implicit_basis(R, q=20)[0].shape == (R.shape[0], 20)


def test_effects_of_time_are_the_shrunk_means_of_their_groups():
    rng = np.random.default_rng(0)
    keys, error = rng.integers(0, 9, 200), rng.standard_normal(200).astype(np.float32)
    group, u, i = new_grouping(keys, rng), rng.integers(0, 10, 200), rng.integers(0, 5, 200)
    gamma, delta, left, target = (
        rng.gamma(5, 0.2, 10),
        rng.gamma(5, 0.2, 5),
        error.copy(),
        np.zeros(200, np.float32),
    )
    draw_effects(
        group.starts,
        group.members,
        group.order,
        u,
        i,
        gamma,
        delta,
        3.0,
        np.zeros(9, np.float32),
        left,
        target,
        group.effect,
    )
    weight = gamma[u] * delta[i]
    expected = np.bincount(keys, weight * error) / (np.bincount(keys, weight) + 3)
    assert np.allclose(group.effect, expected, atol=1e-5)
    assert np.allclose(left, error - expected[keys], atol=1e-5) and np.allclose(
        target, -expected[keys], atol=1e-5
    )


def test_counts_are_of_training_ratings_before_the_moment_asked_about():
    u, dates = (
        np.array([0, 0, 0, 1]),
        np.array(["2005-01-01", "2005-01-02", "2005-01-02", "2005-01-01"], "datetime64[s]"),
    )
    facts = time_facts(u, dates)

    def count(name, user, date):
        return int(
            time_keys(np.array([user]), np.array([0]), np.array([date], "datetime64[s]"), **facts)[
                name
            ][0]
        )

    def steps(n):
        return int(np.floor(2 * np.log2(n + 1)))

    assert [
        count("ratings so far", 0, d)
        for d in ("2004-05-05", "2005-01-01", "2005-01-02", "2006-01-01")
    ] == [steps(n) for n in (0, 0, 1, 3)]
    assert [
        count("ratings that day", 0, d)
        for d in ("2004-05-05", "2005-01-01", "2005-01-02", "2006-01-01")
    ] == [steps(n) for n in (0, 1, 2, 0)]
    assert count("ratings so far", 1, "2006-01-01") == steps(1)


@pytest.mark.parametrize("options", [{}, dict(link=False, noise=False)])
def test_planted_factors_are_recovered(planted, R, options):
    u, i = planted.matrix("test").nonzero()
    samples, history = sample_factors(
        R, n_factors=8, n_sweeps=150, burn_in=50, random_state=0, **options
    )
    error = rmse(planted.matrix("test").data, posterior_mean(samples, u, i).clip(1, 5))
    biases = rmse(
        planted.test["rating"], BaselinePredictor().fit(planted.train).predict(planted.test)
    )
    assert planted.best_rmse < error < planted.best_rmse + 0.85 * (biases - planted.best_rmse)
    assert (
        list(history) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
        and len(history) == 150
    )
    assert (
        history["loss"].iloc[-1] < history["loss"].iloc[0]
        and history["validation_rmse"].isna().all()
    )


def test_the_spread_covers_what_it_says(planted, R):
    T = planted.matrix("test")
    mean, std = posterior_mean(
        sample_factors(R, n_factors=8, n_sweeps=150, burn_in=50, random_state=0)[0],
        *T.nonzero(),
        return_std=True,
    )
    for share, width in ((0.5, 0.674), (0.8, 1.282), (0.95, 1.96)):
        assert np.mean(np.abs(T.data - mean) <= width * std) == pytest.approx(share, abs=0.04)


def test_a_seed_repeats_bit_for_bit_and_another_does_not(R):
    dates = random_dates(R.nnz)
    first, second, other = (
        sample_factors(R, dates=dates, **(quick | dict(random_state=seed)))[0] for seed in (0, 0, 1)
    )
    assert first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )
    assert not np.array_equal(first["U"], other["U"])


def test_threads_do_not_change_the_draws():
    code = """if True:
        import hashlib, numpy as np
        from contextlib import nullcontext
        from thu_big_data_ml.bayesian import gibbs
        from thu_big_data_ml.data.synthetic import synthetic_ratings
        gibbs.threads_for = lambda work: nullcontext() # as with many ratings: all threads
        R = synthetic_ratings(300, 200, 9000, random_state=0).matrix()
        seconds = np.random.default_rng(0).integers(0, 10**7, R.nnz)
        dates = np.datetime64("2005-01-01", "s") + seconds
        short = dict(n_factors=5, n_sweeps=20, burn_in=10, random_state=0)
        samples, _ = gibbs.sample_factors(R, dates=dates, **short)
        names = ("U", "V", "alpha", "noise_u", "effect_mean")
        drawn = b"".join(np.ascontiguousarray(samples[k]).tobytes() for k in names)
        print(hashlib.sha1(drawn).hexdigest())"""

    def run(n):
        return subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"NUMBA_NUM_THREADS": str(n), "OPENBLAS_NUM_THREADS": str(n)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert run(1) == run(2) != ""


def test_validation_is_watched_and_not_learned_from(planted, R):
    T, dates = planted.matrix("test"), random_dates(R.nnz)
    (u, i), when = T.nonzero(), random_dates(T.nnz, seed=1)
    alone, _ = sample_factors(R, dates=dates, **quick)
    shuffled = np.random.default_rng(0).permutation(T.data)
    for ratings in (T.data, shuffled):
        watched, history = sample_factors(R, dates=dates, validation=(u, i, ratings, when), **quick)
        assert all(np.array_equal(alone[name], watched[name]) for name in alone)
        assert history["validation_rmse"].notna().all()
    order = np.random.default_rng(1).permutation(
        T.nnz
    )  # the order of validation ratings does not matter
    history_again = sample_factors(
        R, dates=dates, validation=(u[order], i[order], shuffled[order], when[order]), **quick
    )[1]
    assert np.allclose(history["validation_rmse"], history_again["validation_rmse"], atol=1e-6)


@pytest.mark.parametrize("resolution, drift", [("s", False), ("D", False), ("s", True)])
def test_all_samples_kept_predict_what_was_watched(planted, R, resolution, drift):
    T, dates = planted.matrix("test"), random_dates(R.nnz, resolution)
    (u, i), when = T.nonzero(), random_dates(T.nnz, resolution, seed=1)
    samples, history = sample_factors(
        R,
        dates=dates,
        drift=drift,
        validation=(u, i, T.data, when),
        n_samples=1000,
        dtype=np.float32,
        **quick,
    )
    error = rmse(T.data, posterior_mean(samples, u, i, when).clip(1, 5))
    assert samples["U"].shape == (R.shape[0], 20, 4) and bool(samples["fine"]) == (
        resolution == "s"
    )
    assert error == pytest.approx(
        history["validation_rmse"].iloc[-1], abs=2e-3
    )  # unseen groups count as 0 in both


def test_half_precision_costs_next_to_nothing(R):
    u, i = R.nonzero()
    single, half = (
        posterior_mean(sample_factors(R, dtype=dtype, **quick)[0], u, i)
        for dtype in (np.float32, np.float16)
    )
    assert np.abs(single - half).max() < 5e-3 and np.sqrt(np.mean((single - half) ** 2)) < 5e-4


def test_half_stars(planted):
    R = planted.matrix("train")
    R.data -= np.float32(0.5) * (np.arange(R.nnz) % 2)
    samples, history = sample_factors(R, **quick)
    assert np.isfinite(posterior_mean(samples, *R.nonzero())).all() and np.isfinite(
        history[["loss", "train_rmse"]]
    ).all(axis=None)


def test_rows_and_columns_without_ratings_get_the_prior():
    dense = np.random.default_rng(0).integers(1, 6, (30, 20)) * (
        np.random.default_rng(1).random((30, 20)) < 0.4
    )
    dense[[3, 29]], dense[:, [0, 19]] = 0, 0
    samples, _ = sample_factors(csr_matrix(dense, dtype=np.float32), **quick)
    u, i = np.divmod(np.arange(600), 20)
    mean, std = posterior_mean(samples, u, i, return_std=True)
    assert np.isfinite(mean).all() and (std > 0).all() and ((mean > 0) & (mean < 6)).all()
    assert std.reshape(30, 20)[[3, 29]].mean() > std.reshape(30, 20)[4:28, 1:19].mean()


@pytest.mark.parametrize("dense", [[[4]], [[4, 2, 5]], [[4], [3], [1]], [[3, 3], [3, 3]]])
def test_one_user_one_movie_or_one_value(dense):
    R = csr_matrix(np.array(dense, np.float32))
    samples, _ = sample_factors(R, dates=random_dates(R.nnz), **quick)
    mean, std = posterior_mean(samples, *R.nonzero(), random_dates(R.nnz), return_std=True)
    assert np.isfinite(mean).all() and np.isfinite(std).all()


def test_no_pairs_and_unknown_moments(R):
    samples, _ = sample_factors(R, dates=random_dates(R.nnz), **quick)
    assert posterior_mean(samples, [], []).shape == (0,)
    plain, future = (
        posterior_mean(samples, [0, 1], [2, 3]),
        posterior_mean(
            samples, [0, 1], [2, 3], np.array(["1970-01-01", "2100-01-01"], "datetime64[s]")
        ),
    )
    assert np.isfinite(future).all() and np.abs(future - plain).max() < 1


def test_what_cannot_be_sampled_is_refused(R):
    for options, word in (
        (dict(burn_in=30), "burn_in"),
        (dict(n_samples=0), "n_samples"),
        (dict(nu=0), "nu"),
        (dict(n_factors=0), "n_factors"),
        (dict(dates=random_dates(3)), "3 dates"),
    ):
        with pytest.raises(ValueError, match=word):
            sample_factors(R, **(quick | options))
    with pytest.raises(ValueError, match="no ratings"):
        sample_factors(csr_matrix((3, 3), dtype=np.float32), **quick)
    dates = random_dates(R.nnz)
    dates[7] = "NaT"
    with pytest.raises(ValueError, match="row 7"):
        sample_factors(R, dates=dates, **quick)
    with pytest.raises(ValueError, match="drift needs dates"):
        sample_factors(R, drift=True, **quick)
    with pytest.raises(ValueError, match="not finite"):
        sample_factors(R * np.float32(np.inf), **quick)


def test_a_state_that_is_not_finite_is_refused(R, monkeypatch):
    monkeypatch.setattr(gibbs, "draw_alpha", lambda *args: float("nan"))
    with pytest.raises(FloatingPointError, match="not finite any more"):
        sample_factors(R, **quick)


def test_defaults_follow_the_number_of_ratings():
    def few_rows(n):
        return csr_matrix((np.ones(n, np.float32), np.zeros(n, np.int32), [0, n]), shape=(1, 1))

    assert [
        default_factors(few_rows(n)) for n in (9_999, 10_000, 50_000, 299_999, 300_000, 3_000_000)
    ] == [2, 8, 16, 16, 32, 48]

    def many_rows(n):
        return csr_matrix(
            (np.ones(60_000, np.float32), (np.arange(60_000) % n, np.arange(60_000) // n)),
            shape=(n, 1000),
        )

    assert [default_factors(many_rows(n)) for n in (6500, 19_000, 199_000)] == [16, 6, 1]


def test_levels_are_found_in_a_few_sweeps_where_ratings_are_sparse():
    rng, n = np.random.default_rng(0), 16_000
    cells = rng.choice(2000 * 8000, n, replace=False)
    u, i = cells // 8000, cells % 8000  # 8 ratings a user, 2 a movie
    planted = 3.5 + 0.3 * rng.standard_normal(2000)[u] + 0.6 * rng.standard_normal(8000)[i]
    R = csr_matrix(
        ((planted + 0.8 * rng.standard_normal(n)).astype(np.float32), (u, i)), shape=(2000, 8000)
    )
    samples, _ = sample_factors(
        R, n_factors=2, n_sweeps=60, burn_in=20, n_samples=20, random_state=0
    )

    def spread(name):
        return samples["unit"] * samples[name].astype(float).std(0).mean()

    assert spread("b_i") == pytest.approx(0.6, rel=0.15) and spread("b_u") == pytest.approx(
        0.3, rel=0.25
    )


@pytest.mark.parametrize("killed_after", [15, 20, 33])
def test_a_killed_chain_continues_as_if_nothing_had_happened(
    planted, R, tmp_path, monkeypatch, killed_after
):
    T = planted.matrix("test")
    settings = dict(
        n_factors=4,
        n_sweeps=40,
        burn_in=10,
        dates=random_dates(R.nnz),
        drift=True,
        validation=(*T.nonzero(), T.data, random_dates(T.nnz, seed=1)),
        random_state=0,
    )
    undisturbed, whole = sample_factors(R, **settings)
    real, sweeps = gibbs.sweep, []

    def sweep(*args):
        if len(sweeps) == killed_after:
            raise KeyboardInterrupt
        sweeps.append(real(*args))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gibbs, "sweep", sweep)
        sample_factors(R, checkpoint=tmp_path / "chain.npz", **settings)
    samples, history = sample_factors(R, checkpoint=tmp_path / "chain.npz", **settings)
    assert (
        all(np.array_equal(undisturbed[name], samples[name]) for name in undisturbed)
        and samples.keys() == undisturbed.keys()
    )
    assert np.array_equal(whole["validation_rmse"], history["validation_rmse"]) and [
        p.name for p in tmp_path.iterdir()
    ] == ["chain.npz"]


def test_a_chain_without_a_seed_continues_too(R, tmp_path, monkeypatch):
    settings, real, alphas = (
        quick | dict(random_state=None, checkpoint=tmp_path / "chain.npz"),
        gibbs.sweep,
        [],
    )

    def sweep(state, *args):
        real(state, *args)
        alphas.append(state.alpha)

    monkeypatch.setattr(gibbs, "sweep", sweep)
    for _ in range(2):
        sample_factors(R, **settings)
    assert (
        len(alphas) == 40 and alphas[20:30] == alphas[30:]
    )  # the last ten sweeps are drawn again, alike


def test_several_chains_are_put_together_and_continue(planted, R, tmp_path, monkeypatch):
    T, dates, real, sweeps = planted.matrix("test"), random_dates(R.nnz), gibbs.sweep, []
    options = dict(n_factors=4, n_sweeps=30, dates=dates, random_state=0)
    samples, history = gibbs.sample_chains(R, n_chains=3, n_samples=30, **options)
    alone, _ = gibbs.sample_chains(R, n_chains=1, n_samples=10, **options)
    assert samples["U"].shape == (R.shape[0], 30, 4) and list(history["epoch"]) == list(
        range(1, 91)
    )
    assert (
        not np.array_equal(samples["U"][:, :10], samples["U"][:, 10:20])
        and len(np.unique(samples["alpha"])) == 30
    )

    def error(samples):
        return rmse(T.data, posterior_mean(samples, *T.nonzero(), random_dates(T.nnz)).clip(1, 5))

    assert error(samples) < error(alone)

    def sweep(*args):
        if len(sweeps) == 50:  # in the middle of the second chain
            raise KeyboardInterrupt
        sweeps.append(real(*args))

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(gibbs, "sweep", sweep)
        gibbs.sample_chains(
            R, n_chains=3, n_samples=30, checkpoint=tmp_path / "chain.npz", **options
        )
    continued, _ = gibbs.sample_chains(
        R, n_chains=3, n_samples=30, checkpoint=tmp_path / "chain.npz", **options
    )
    assert all(np.array_equal(samples[name], continued[name]) for name in samples)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["chain.1.npz", "chain.2.npz", "chain.npz"]


def test_a_checkpoint_of_another_chain_is_refused(R, tmp_path):
    settings = quick | dict(checkpoint=tmp_path / "chain.npz", dates=random_dates(R.nnz))
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

estimator = MatrixFactorizationRegressor(4, solver="gibbs", n_epochs=30, n_chains=1, random_state=0)


def test_a_prediction_comes_with_its_spread_and_reason(planted):
    model = clone(estimator).set_params(n_factors=8, n_epochs=150).fit(planted.train)
    strangers = pd.DataFrame(
        dict(
            user_id=[-1, planted.user_ids[0], -1],
            movie_id=[planted.train["movie_id"].iloc[0], -1, -1],
        )
    )
    asked = pd.concat([planted.test[["user_id", "movie_id"]], strangers], ignore_index=True)
    prediction, std, reason = model.predict(asked, return_std=True, return_reason=True)
    assert (
        np.array_equal(prediction, model.predict(asked))
        and len(model.predict(asked, return_std=True)) == 2
    )
    assert std.shape == prediction.shape and np.isfinite(std).all() and (std > 0).all()
    assert (
        reason[-3:].tolist() == ["unknown user", "unknown movie", "unknown user and movie"]
        and (reason[: len(planted.test)] == "model").mean() > 0.99
    )
    ratings = planted.train["rating"]
    assert std[-1] == pytest.approx(ratings.std(), rel=1e-3) and (std[-3:-1] < std[-1]).all()
    inside = (
        np.abs(planted.test["rating"] - prediction[: len(planted.test)])
        <= 1.96 * std[: len(planted.test)]
    )
    assert inside.mean() == pytest.approx(0.95, abs=0.03)


def test_default_settings_follow_the_ratings(planted):
    model = clone(estimator).set_params(n_factors=None).fit(planted.train)
    k = default_factors(planted.matrix("train"))
    assert (
        model.samples_["U"].shape == (len(model.user_ids_), 22, k)
        and len(model.history_) == 30
        and model.device_ == "cpu"
    )
    assert list(model.history_) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
    plain = clone(estimator).set_params(n_factors=None, implicit=False).fit(planted.train)
    assert not np.array_equal(plain.samples_["U"], model.samples_["U"])
    assert MatrixFactorizationRegressor(n_epochs=1).fit(planted.train.head(500)).U_.shape[1] == 2


def test_dates_follow_their_ratings_in_any_form(planted):
    timed = clone(estimator).set_params(time=True)
    train, test = (
        frame.assign(date=frame["date"] + pd.to_timedelta(np.arange(len(frame)) % 86_400, "s"))
        for frame in (planted.train.head(4000), planted.test.head(500))
    )
    expected = timed.fit(train).predict(test)
    assert timed.last_date_ == train["date"].max().to_datetime64()
    again = {
        "text": train.assign(date=train["date"].astype(str)),
        "zone": train.assign(
            date=train["date"].dt.tz_localize("UTC").dt.tz_convert("Asia/Shanghai")
        ),
        "shuffled": train.sample(frac=1, random_state=0),
        "index": train.set_index(np.arange(len(train))[::-1]),
        "twice": pd.concat(
            [
                train.head(50)
                .assign(rating=1.0, date="1999-01-01")
                .astype({"date": train["date"].dtype}),
                train,
            ]
        ),
    }
    for name, frame in again.items():
        model = (
            clone(timed).set_params(duplicates="last" if name == "twice" else "error").fit(frame)
        )
        np.testing.assert_array_equal(model.predict(test), expected, name)
    np.testing.assert_array_equal(timed.predict(test.iloc[::-1])[::-1], expected)
    assert (
        np.abs(
            timed.predict(test.assign(date=test["date"] + pd.Timedelta(days=400))) - expected
        ).max()
        > 0
    )
    user = int(train["user_id"].iloc[0])
    then = timed.recommend(user, 5, date="2003-05-05")
    np.testing.assert_allclose(
        timed.predict(then.assign(user_id=user, date="2003-05-05")), then["prediction"]
    )
    assert {"ratings so far", "user x day"} <= set(
        timed.explain(user, train["movie_id"].iloc[0], date="2003-05-05")["term"]
    )


def test_what_the_sampler_cannot_do_is_refused_with_a_cure(planted):
    train = planted.train.head(2000)
    pairs = train[["user_id", "movie_id"]]
    for options in (
        dict(solver="als", time=True),
        dict(bias=False),
        dict(device="cuda"),
        dict(weight_decay=0.1),
        dict(batch_size=10),
    ):
        with pytest.raises(ValueError, match="solver='gibbs'"):
            clone(estimator).set_params(**options).fit(train)
    with pytest.raises(ValueError, match="solver='gibbs'"):
        MatrixFactorizationRegressor(n_epochs=1).fit(train).predict(train, return_std=True)
    with pytest.raises(ValueError, match="drift needs time=True"):
        clone(estimator).set_params(drift=True).fit(train)
    timed = clone(estimator).set_params(time=True)
    with pytest.raises(ValueError, match="column date, or set time=False"):
        timed.fit(pairs, train["rating"])
    with pytest.raises(ValueError, match="rows? 3: the date is missing"):
        clone(timed).fit(train.assign(date=train["date"].where(np.arange(len(train)) != 3)))
    with pytest.raises(TypeError, match="unit='s'"):
        clone(timed).fit(train.assign(date=1_000_000_000))
    with pytest.raises(ValueError, match="needs a column date"):
        timed.fit(train).predict(pairs)
    assert (
        clone(estimator).fit(train.assign(date="no date at all")).last_date_ is None
    )  # a model without effects of time does not look


def test_an_estimator_continues_its_chain(planted, tmp_path, monkeypatch):
    model, sweeps = clone(estimator).set_params(checkpoint=tmp_path / "chain.npz"), []
    expected, real = clone(estimator).fit(planted.train).predict(planted.test), gibbs.sweep
    np.testing.assert_array_equal(model.fit(planted.train).predict(planted.test), expected)
    monkeypatch.setattr(gibbs, "sweep", lambda *args: sweeps.append(real(*args)))
    np.testing.assert_array_equal(clone(model).fit(planted.train).predict(planted.test), expected)
    assert (
        len(sweeps) == 10 + 15
    )  # from the checkpoint after 20 of 30; and the short chain on a part of the ratings
