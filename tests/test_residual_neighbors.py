"Corrections by what a model leaves of similar movies, against the formula with dense matrices."

import numba
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_sparse

from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.factorization.matrix_factorization import MatrixFactorizationRegressor
from thu_big_data_ml.metrics import rmse
from thu_big_data_ml.neighbors.correction import corrections, similar_movies, trust
from thu_big_data_ml.neighbors.similarity import center_ratings


def ratings(n_users, n_movies, seed, density=0.2) -> csr_matrix:
    R = random_sparse(n_users, n_movies, density, random_state=seed, format="csr", dtype=np.float32)
    R.data = np.random.default_rng(seed).integers(1, 6, R.nnz).astype(np.float32)
    return R


def naive_weights(R, n_neighbors, shrinkage):
    "(n_movies, n_movies) squared similarities of the nearest, straight from the definition."
    E, seen = center_ratings(R, "baseline")[0].toarray().astype(float), R.toarray() != 0
    n, norm = seen.T.astype(float) @ seen, np.linalg.norm(E, axis=0)
    S = np.maximum(E.T @ E / np.maximum(np.outer(norm, norm), 1e-30) * n / (n + shrinkage), 0)
    np.fill_diagonal(S, 0)
    if n_neighbors < len(S):
        S[np.sort(S, axis=1)[:, [-n_neighbors]] > S] = 0
    return S**2


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_neighbors, shrinkage", [(3, 0.5), (12, 30), (500, 60)])
def test_corrections_are_the_formula(seed, n_neighbors, shrinkage):
    R = ratings(60, 40, seed)
    left = R.copy()
    left.data = np.random.default_rng(seed).standard_normal(R.nnz).astype(np.float32)
    W, u, i = (
        naive_weights(R, n_neighbors, shrinkage),
        *np.divmod(np.random.default_rng(seed).permutation(R.shape[0] * R.shape[1]), R.shape[1]),
    )
    expected = left.toarray() @ W.T / ((R.toarray() != 0) @ W.T + 0.05)
    got = corrections(u, i, left, *similar_movies(R, n_neighbors, shrinkage))
    np.testing.assert_allclose(got, expected[u, i], rtol=1e-3, atol=1e-4)


def test_a_rating_does_not_correct_itself():
    R = ratings(50, 30, 0)
    alike, weight = similar_movies(R)
    u, i = (a.astype(np.int64) for a in R.nonzero())
    left = R.copy()
    before = corrections(u[:1], i[:1], left, alike, weight)
    left.data[0] += 100
    assert corrections(u[:1], i[:1], left, alike, weight) == before


def test_who_and_what_is_alone_is_not_corrected():
    one = csr_matrix(np.array([[3], [5]], np.float32))
    assert corrections(np.array([0, 1]), np.array([0, 0]), one, *similar_movies(one)).tolist() == [
        0,
        0,
    ]
    empty = csr_matrix(([4.0, 2.0], ([0, 0], [0, 1])), shape=(2, 2), dtype=np.float32)
    assert corrections(np.array([1]), np.array([0]), empty, *similar_movies(empty)).tolist() == [0]
    assert (
        corrections(
            np.array([], np.int64), np.array([], np.int64), empty, *similar_movies(empty)
        ).tolist()
        == []
    )


def test_movies_that_do_not_fit_are_compared_in_parts(monkeypatch):
    R = ratings(300, 1500, 1, density=0.05)
    alike, weight = similar_movies(R, 20)
    monkeypatch.setattr(
        "thu_big_data_ml.neighbors.correction.similarity_bytes", lambda *size: 1 << 60
    )
    again, weights = similar_movies(R, 20)
    np.testing.assert_allclose(weight, weights, rtol=1e-5, atol=1e-7)
    assert (alike == again).mean() > 0.99


def test_threads_change_nothing():
    R = ratings(300, 200, 1)
    u, i = np.divmod(np.arange(60_000), 200)
    with_all = corrections(u, i, R, *similar_movies(R))
    numba.set_num_threads(1)
    try:
        assert np.array_equal(corrections(u, i, R, *similar_movies(R)), with_all)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


@pytest.mark.parametrize("solver", ["adamw", "als"])
def test_similar_movies_pay_on_real_ratings(solver):
    data = load_ratings("sample")
    alone, both = (
        MatrixFactorizationRegressor(solver=solver, n_neighbors=n, random_state=0, device="cpu")
        .fit(data.train)
        .predict(data.test)
        for n in (0, 200)
    )
    assert rmse(data.test["rating"], both) < rmse(data.test["rating"], alone) - 0.003


@pytest.mark.parametrize("solver", ["adamw", "sgd", "als", "gibbs"])
def test_similar_movies_do_no_harm_where_factors_say_it_all(solver):
    data = synthetic_ratings(400, 300, 30_000, random_state=0)
    alone, both = (
        MatrixFactorizationRegressor(4, solver=solver, n_neighbors=n, random_state=0, device="cpu")
        .fit(data.train)
        .predict(data.test)
        for n in (0, 200)
    )
    assert rmse(data.test["rating"], both) < rmse(data.test["rating"], alone) + 0.003


@pytest.mark.parametrize(
    "options",
    [dict(), dict(solver="gibbs", n_epochs=30), dict(bias=False), dict(activation="sigmoid")],
)
def test_explanations_and_spreads_hold_with_similar_movies(options):
    data = synthetic_ratings(100, 80, 2500, random_state=0)
    model = MatrixFactorizationRegressor(4, random_state=0, device="cpu", **options).fit(data.train)
    user, movie = data.test[["user_id", "movie_id"]].iloc[0]
    terms = model.explain(user, movie)
    assert terms["term"].iloc[-1] == "similar movies"
    assert np.clip(terms["contribution"].sum(), 1, 5) == pytest.approx(
        model.predict([[user, movie]])[0], abs=1e-4
    )
    if options.get("solver") == "gibbs":
        np.testing.assert_allclose(
            model.predict(data.test, return_std=True)[0], model.predict(data.test)
        )


def test_trust_is_a_regression_drawn_to_one():
    rng = np.random.default_rng(0)
    c, noise = 0.2 * rng.standard_normal(50_000), rng.standard_normal(50_000)
    for w in (0.0, 0.5, 1.5):
        assert trust(w * c + noise, c) == pytest.approx(w, abs=0.05)
    assert trust(noise - c, c) == 0
    assert trust(noise[:3], c[:3] / 100) == pytest.approx(1, abs=0.01)  # three ratings say nothing
    assert trust(8 * noise, 8 * c) == pytest.approx(trust(noise, c))


@pytest.mark.parametrize("solver", ["adamw", "gibbs"])
def test_ratings_set_aside_decide_how_far_neighbours_are_trusted(solver):
    options = dict(solver=solver, n_epochs=60, random_state=0, device="cpu")
    real, planted = (
        load_ratings("sample"),
        synthetic_ratings(600, 600, 150_000, n_factors=3, random_state=0),
    )
    trusted, doubted = (
        MatrixFactorizationRegressor(8, **options).fit(data.train).trust_
        for data in (real, planted)
    )
    assert trusted > 0.8 and (solver == "adamw" or doubted < 0.5)
    assert (
        MatrixFactorizationRegressor(4, validation_fraction=0, **options)
        .fit(planted.train.head(5000))
        .trust_
        == 1
    )
