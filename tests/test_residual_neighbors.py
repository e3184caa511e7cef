"Corrections by residuals at similar movies, against the formula; and the meta-estimator."

import numba
import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse import random as random_sparse
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold

from thu_big_data_ml import *
from thu_big_data_ml.neighbors.correction import (
    NeighborCorrected,
    _corrections,
    _nearest_movies,
    _trust,
)
from thu_big_data_ml.neighbors.similarity import center_ratings


def ratings(n_users, n_movies, seed, density=0.2) -> csr_matrix:
    R = random_sparse(n_users, n_movies, density, random_state=seed, format="csr", dtype=np.float32)
    R.data = np.random.default_rng(seed).integers(1, 6, R.nnz).astype(np.float32)
    return R


def naive_weights(R, n_neighbors, shrinkage):
    "(n_movies, n_movies) similarities of the nearest, straight from the definition."
    E, seen = center_ratings(R, "baseline")[0].toarray().astype(float), R.toarray() != 0
    n, norm = seen.T.astype(float) @ seen, np.linalg.norm(E, axis=0)
    S = np.maximum(E.T @ E / np.maximum(np.outer(norm, norm), 1e-30) * n / (n + shrinkage), 0)
    np.fill_diagonal(S, 0)
    if n_neighbors < len(S):
        S[np.sort(S, axis=1)[:, [-n_neighbors]] > S] = 0
    return S


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("n_neighbors, shrinkage, power", [(3, 0.5, 2), (12, 30, 1), (500, 60, 2)])
def test_corrections_are_the_formula(seed, n_neighbors, shrinkage, power):
    R = ratings(60, 40, seed)
    residuals = R.copy()
    residuals.data = np.random.default_rng(seed).standard_normal(R.nnz).astype(np.float32)
    W = naive_weights(R, n_neighbors, shrinkage) ** power
    cells = np.random.default_rng(seed).permutation(R.shape[0] * R.shape[1])
    u, i = np.divmod(cells, R.shape[1])
    expected = residuals.toarray() @ W.T / ((R.toarray() != 0) @ W.T + 0.05 ** (power / 2))
    got = _corrections(u, i, residuals, *_nearest_movies(R, n_neighbors, shrinkage, power))
    np.testing.assert_allclose(got, expected[u, i], rtol=1e-3, atol=1e-4)


def test_weights_favour_the_most_similar_where_ratings_are_many():
    dense, sparse = ratings(60, 100, 0, density=0.9), ratings(60, 100, 0, density=0.1)
    for R, power in ((dense, 2), (sparse, 1)):
        (*_, some, d), (*_, same, e) = _nearest_movies(R), _nearest_movies(R, power=power)
        assert np.array_equal(some, same) and d == e == 0.05 ** (power / 2)


def test_a_rating_does_not_correct_itself():
    R = ratings(50, 30, 0)
    nearest = _nearest_movies(R)
    u, i = (a.astype(np.int64) for a in R.nonzero())
    residuals = R.copy()
    before = _corrections(u[:1], i[:1], residuals, *nearest)
    residuals.data[0] += 100
    assert _corrections(u[:1], i[:1], residuals, *nearest) == before


def test_who_and_what_is_alone_is_not_corrected():
    one = csr_matrix(np.array([[3], [5]], np.float32))
    nobody, nothing = np.array([0, 1]), np.array([0, 0])
    assert _corrections(nobody, nothing, one, *_nearest_movies(one)).tolist() == [0, 0]
    empty = csr_matrix(([4.0, 2.0], ([0, 0], [0, 1])), shape=(2, 2), dtype=np.float32)
    nearest, no = _nearest_movies(empty), np.array([], np.int64)
    assert _corrections(np.array([1]), np.array([0]), empty, *nearest).tolist() == [0]
    assert _corrections(no, no, empty, *nearest).tolist() == []


def test_movies_that_do_not_fit_are_compared_in_parts(monkeypatch):
    R = ratings(300, 1500, 1, density=0.05)
    neighbors, weights, _ = _nearest_movies(R, 20)
    monkeypatch.setattr(
        "thu_big_data_ml.neighbors.correction.similarity_bytes", lambda *size: 1 << 60
    )
    again, same, _ = _nearest_movies(R, 20)
    np.testing.assert_allclose(weights, same, rtol=1e-5, atol=1e-7)
    assert (neighbors == again).mean() > 0.99


def test_threads_change_nothing():
    R = ratings(300, 200, 1)
    u, i = np.divmod(np.arange(60_000), 200)
    with_all = _corrections(u, i, R, *_nearest_movies(R))
    numba.set_num_threads(1)
    try:
        assert np.array_equal(_corrections(u, i, R, *_nearest_movies(R)), with_all)
    finally:
        numba.set_num_threads(numba.config.NUMBA_NUM_THREADS)


mf = MatrixFactorizationRegressor
inner = {
    "biases": BaselinePredictor(3, 1),
    "users": UserCF(20, center="baseline", device="cpu"),
    "adamw": mf(4, random_state=0, device="cpu"),
    "sgd": SGDFactorization(4, random_state=0),
    "als": ALSFactorization(4, random_state=0),
    "gibbs": GibbsFactorization(4, n_chains=2, n_sweeps=30, random_state=0),
    "time": GibbsFactorization(4, time=True, n_chains=1, n_sweeps=30, random_state=0),
}


@pytest.fixture(scope="module")
def small():
    return synthetic_ratings(100, 80, 2500, random_state=0)


@pytest.fixture(scope="module", params=inner)
def corrected(request, small):
    return NeighborCorrected(inner[request.param], n_neighbors=20).fit(small.train)


@pytest.mark.parametrize("model", [mf(random_state=0, device="cpu"), ALSFactorization()])
def test_similar_movies_pay_on_real_ratings(model, sample):
    both = NeighborCorrected(model).fit(sample.train)
    stars = sample.test["rating"]
    alone = rmse(stars, both.estimator_.predict(sample.test))
    assert rmse(stars, both.predict(sample.test)) < alone - 0.003


@pytest.mark.parametrize("name", ["adamw", "sgd", "als", "gibbs"])
def test_similar_movies_do_no_harm_where_factors_say_it_all(name):
    data = synthetic_ratings(400, 300, 30_000, random_state=0)
    both = NeighborCorrected(inner[name]).fit(data.train)
    alone = rmse(data.test["rating"], both.estimator_.predict(data.test))
    assert rmse(data.test["rating"], both.predict(data.test)) < alone + 0.003


def test_the_model_inside_is_the_model_alone(corrected, small):
    alone = clone(corrected.estimator).fit(small.train)
    predictions = (m.predict(small.test) for m in (alone, corrected.estimator_))
    np.testing.assert_array_equal(*predictions)
    assert not hasattr(corrected.estimator, "matrix_")
    strangers = small.test.assign(user_id=-1)
    predictions = (m.predict(strangers) for m in (alone, corrected))
    np.testing.assert_array_equal(*predictions)


def test_corrected_predictions_are_explained_saved_and_loaded(corrected, small, tmp_path):
    pair = small.test.head(1).assign(date=small.train["date"].max())
    terms = corrected.explain(*pair[["user_id", "movie_id"]].iloc[0])
    assert terms["term"].iloc[-1] == "similar movies"
    total = np.clip(terms["contribution"].sum(), *corrected.rating_scale_)
    assert total == pytest.approx(corrected.predict(pair)[0], abs=1e-4)
    again = RatingEstimator.load(corrected.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.predict(small.test), corrected.predict(small.test))
    assert repr(again) == repr(corrected)
    with np.load(tmp_path / "model.npz") as file:
        assert "matrix_.data" in file.files and "estimator_.matrix_.data" not in file.files


def test_spreads_are_those_of_the_model_and_intervals_move(corrected, small):
    knows = isinstance(corrected.estimator, GibbsFactorization)
    assert hasattr(corrected, "predict_interval") == knows
    if not knows:
        with pytest.raises(TypeError, match="return_std"):
            corrected.predict(small.test, return_std=True)
        return
    prediction, std, reason = corrected.predict(small.test, return_reason=True, return_std=True)
    np.testing.assert_array_equal(prediction, corrected.predict(small.test))
    np.testing.assert_array_equal(std, corrected.estimator_.predict(small.test, return_std=True)[1])
    low, high = corrected.predict_interval(small.test, level=0.5)
    assert (low <= prediction).all() and (prediction <= high).all() and (reason == "model").any()


def test_settings_reach_the_model_inside(small):
    model = NeighborCorrected(inner["als"], n_neighbors=20)
    assert clone(model).set_params(estimator__n_factors=2).get_params()["estimator__n_factors"] == 2
    assert model.estimator.n_factors == 4
    folds = KFold(2, shuffle=True, random_state=0)
    grid = {"estimator__n_factors": [1, 3], "n_neighbors": [5]}
    search = GridSearchCV(model, grid, cv=folds).fit(
        small.train.drop(columns="rating"), small.train["rating"]
    )
    assert (
        search.best_estimator_.estimator_.n_factors == search.best_params_["estimator__n_factors"]
    )
    before = search.predict(small.test)
    search.best_estimator_.set_params(estimator__n_factors=9, n_neighbors=1)
    np.testing.assert_array_equal(search.predict(small.test), before)


def test_generators_inside_are_saved_as_the_seed_they_gave(small, tmp_path):
    model = mf(2, n_epochs=5, device="cpu", random_state=np.random.default_rng(0))
    corrected = NeighborCorrected(model, 20, random_state=np.random.RandomState(0)).fit(small.train)
    again = RatingEstimator.load(corrected.save(tmp_path / "model.npz"))
    assert isinstance(again.estimator.random_state, int) and isinstance(again.random_state, int)
    np.testing.assert_array_equal(again.predict(small.test), corrected.predict(small.test))


def test_trust_has_a_checkpoint_of_its_own(small, tmp_path):
    options = dict(n_epochs=20, device="cpu", random_state=0)
    models = [NeighborCorrected(mf(2, **options, checkpoint=c)) for c in (None, tmp_path / "a.npz")]
    expected, *found = (m.fit(small.train).predict(small.test) for m in (*models, models[1]))
    for prediction in found:  # the second finds both trainings done
        np.testing.assert_array_equal(prediction, expected)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"a.npz", "a.trust.npz"} <= names and not any("trust.trust" in name for name in names)


@pytest.mark.parametrize(
    "options, kind, word",
    [
        (dict(n_neighbors=0), ValueError, "n_neighbors"),
        (dict(n_neighbors=2.5), ValueError, "n_neighbors"),
        (dict(validation_fraction=1), ValueError, "validation_fraction"),
        (dict(validation_fraction=-0.1), ValueError, "validation_fraction"),
        (dict(estimator="mf"), TypeError, "RatingEstimator"),
    ],
)
def test_settings_that_cannot_be_used_are_named(options, kind, word, small):
    with pytest.raises(kind, match=word):
        NeighborCorrected(**dict(estimator=BaselinePredictor()) | options).fit(small.train)


def test_trust_is_a_regression_drawn_to_one():
    rng = np.random.default_rng(0)
    c, noise = 0.2 * rng.standard_normal(50_000), rng.standard_normal(50_000)
    for w in (0.0, 0.5, 1.5):
        assert _trust(w * c + noise, c) == pytest.approx(w, abs=0.05)
    assert _trust(noise - c, c) == 0
    assert _trust(noise[:3], c[:3] / 100) == pytest.approx(1, abs=0.01)  # three ratings say nothing
    assert _trust(8 * noise, 8 * c) == pytest.approx(_trust(noise, c))


@pytest.mark.parametrize("name", ["adamw", "gibbs"])
def test_held_out_ratings_decide_how_far_neighbours_are_trusted(name, sample):
    planted = synthetic_ratings(600, 600, 150_000, n_factors=3, random_state=0)
    model = NeighborCorrected(clone(inner[name]).set_params(n_factors=8))
    assert clone(model).fit(sample.train).trust_ > 0.8
    if name == "gibbs":  # point estimates leave something to neighbours there, too
        assert clone(model).fit(planted.train).trust_ < 0.5
    assert model.set_params(validation_fraction=0).fit(planted.train.head(5000)).trust_ == 1
