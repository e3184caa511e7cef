"""Ratings that come after a fit: what every model promises, and each against its formula.

Formulas are written plainly, in float64, with the movies held fixed.
"""

import copy
import inspect
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
from models import estimators
from sklearn.base import clone

from thu_big_data_ml.bayesian import _later_rows
from thu_big_data_ml.big_data_analytics.matrix_decomposition import *

pair = ["user_id", "movie_id"]


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(50, 40, 900, random_state=3)


@pytest.fixture(scope="module")
def late(data):
    "Ratings of every tenth user, and one new rating of each of the others; all movies are known."
    users = data.train["user_id"].isin(data.user_ids[::10])
    movies = data.train.loc[~users, "movie_id"].unique()
    return data.train[users & data.train["movie_id"].isin(movies)].reset_index(drop=True)


@pytest.fixture(scope="module")
def early(data, late):
    return data.train[~data.train["user_id"].isin(late["user_id"])].reset_index(drop=True)


@pytest.fixture(scope="module", params=estimators)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name, data, early):
    return clone(estimators[name]).fit(early, movies=data.movies)


@pytest.fixture
def model(fitted):
    "The fitted model, to be changed: what is learned is copied before it is."
    return copy.copy(fitted)


def test_new_users_are_answered_at_once_and_others_as_before(name, model, early, late, tmp_path):
    before, parameters = model.predict(early), repr(model.get_params())
    assert model.fold_in(late) is model
    prediction, reason = model.predict(late, return_reason=True)
    assert (reason == "model").mean() > 0.9 and np.isfinite(prediction).all()
    if not name.startswith("user_"):  # where the new users may be neighbours
        np.testing.assert_array_equal(model.predict(early), before)
    assert (np.diff(model.user_ids_) > 0).all() and model.matrix_.nnz == len(early) + len(late)
    newcomer = late["user_id"].iloc[0]
    seen = late.loc[late["user_id"] == newcomer, "movie_id"]
    assert not set(model.recommend(newcomer)["movie_id"]) & set(seen)
    assert len(model.similar_users(newcomer, 3)) == 3 and len(model.explain(newcomer, seen.iloc[0]))
    again = type(model).load(model.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.predict(late), prediction)
    assert repr(model.get_params()) == parameters


def test_biases_of_new_users_are_damped_means(model, late):
    model.fold_in(late)
    above = late["rating"] - model.global_mean_
    above -= model.movie_bias_[np.searchsorted(model.movie_ids_, late["movie_id"])]
    for user, of_user in above.groupby(late["user_id"]):
        row = np.searchsorted(model.user_ids_, user)
        assert model.user_bias_[row] == pytest.approx(of_user.sum() / (len(of_user) + 8))


def test_it_makes_no_difference_who_comes_when(model, early, late):
    "Two at once are one after the other, in any order; of two ratings of a pair the later counts."
    together = copy.copy(model).fold_in(late)
    shuffled = late.sample(frac=1, random_state=0)
    half = len(late) // 2
    wrong = shuffled.head(3).assign(rating=6 - shuffled["rating"].head(3))
    model.fold_in(wrong)
    for part in (shuffled.iloc[half:], shuffled.iloc[:half]):
        model.fold_in(part[pair + ["date"]], part["rating"])
    assert (model.matrix_ != together.matrix_).nnz == 0
    asked = pd.concat([early, late])
    np.testing.assert_allclose(model.predict(asked), together.predict(asked), atol=2e-3)


def test_a_fit_after_it_begins_anew(name, model, early, late):
    if name not in ("biases", "user_knn", "als"):
        pytest.skip("three kinds are enough")
    before = model.predict(early)
    np.testing.assert_array_equal(model.fold_in(late).fit(early).predict(early), before)


def test_nothing_changes_nothing_and_faults_leave_the_model(model, early, late):
    held = dict(vars(model))

    def is_as_it_was():
        return vars(model).keys() == held.keys() and all(vars(model)[n] is held[n] for n in held)

    assert model.fold_in(late.head(0)).partial_fit(late.head(0)) is model and is_as_it_was()
    strange = late.assign(movie_id=late["movie_id"].where(late.index != 4, 10**9))
    faults = [(strange, r"row 4: movie 1000000000 .* partial_fit")]
    faults += [(late.assign(rating=late["rating"].where(late.index != 4)), r"rows \[4\]")]
    faults += [(pd.concat([late, late.head(1)], ignore_index=True), "both rate")]
    if model.last_date_ is not None:
        faults += [(late.drop(columns="date"), "date")]
    for ratings, words in faults:
        with pytest.raises(ValueError, match=words):
            model.fold_in(ratings)
    with pytest.raises(TypeError, match="texts"):
        model.fold_in(late.assign(user_id="u" + late["user_id"].astype(str)))
    for hook, take in (("_fold_in", model.fold_in), ("_partial_fit", model.partial_fit)):
        stop = patch.object(type(model), hook, side_effect=KeyboardInterrupt)
        with stop, pytest.raises(KeyboardInterrupt):
            take(late)
    assert is_as_it_was()


one_step = {"biases", "user_cf", "movie_knn", "recipe"}


def test_partial_fit_takes_in_users_and_movies(name, model, data, early, tmp_path):
    "It is a fit of all ratings where that is one step, and else at most a little worse."
    if name not in one_step | {"mf", "als", "corrected", "gibbs_drift", "variational_time"}:
        pytest.skip("others of its kind are enough")
    rest = data.train.merge(early[pair], how="left", on=pair, indicator=True)
    rest = rest[rest["_merge"] == "left_only"].drop(columns="_merge")
    new_movies = data.train["movie_id"].drop_duplicates()[::9]
    known = early[~early["movie_id"].isin(new_movies)]
    rest = pd.concat([rest, early[early["movie_id"].isin(new_movies)]])
    model = clone(model).fit(known).partial_fit(rest, movies=data.movies)
    whole = clone(model).fit(data.train, movies=data.movies)
    assert (
        model.matrix_ != whole.matrix_
    ).nnz == 0 and model.titles_.tolist() == whole.titles_.tolist()
    if name in one_step:
        np.testing.assert_allclose(model.predict(data.test), whole.predict(data.test), atol=1e-5)
    errors = [rmse(data.test["rating"], m.predict(data.test)) for m in (model, whole)]
    assert errors[0] < errors[1] + 0.1
    again = type(model).load(model.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.predict(data.test), model.predict(data.test))


def test_partial_fit_without_a_fit_is_one(data):
    both = BaselinePredictor().partial_fit(data.train), BaselinePredictor().fit(data.train)
    np.testing.assert_array_equal(*(model.predict(data.test) for model in both))


def test_a_model_that_does_not_say_how_says_so(data):
    class Mean(RatingEstimator):
        def __init__(self, rating_scale=None, duplicates="error"):
            self.rating_scale, self.duplicates = rating_scale, duplicates

        def _fit(self, R, dates=None):
            self.mean_ = R.data.mean()

        def _score(self, u, i, dates=None):
            return np.full(len(u), self.mean_)

    model = Mean().fit([[1, 8], [2, 8]], [5, 3])
    with pytest.raises(TypeError, match="Mean has no closed form for users"):
        model.fold_in([[3, 8]], [1])
    assert model.partial_fit([[3, 9]], [1]).mean_ == 3


# Against the formulas


@pytest.mark.parametrize("center", [None, "mean"])
def test_user_neighbours_of_new_users_are_those_of_a_fit_to_all(center, data, early, late):
    "Where levels are of one user only, a fit with movies held fixed is a fit."
    model = UserCF(center=center, metric="pearson", shrinkage=2, device="cpu")
    whole = clone(model).fit(pd.concat([early, late]))
    model.fit(early).fold_in(late)
    np.testing.assert_allclose(model.similarity_, whole.similarity_, atol=1e-6)
    predicted, reason = model.predict(data.test, return_reason=True)
    by_model = reason == "model"  # the biases of movies are held fixed, too
    np.testing.assert_allclose(predicted[by_model], whole.predict(data.test)[by_model], atol=1e-5)


@pytest.mark.parametrize("kind", [UserCF, ItemCF])
@pytest.mark.parametrize("center", ["zscore", "baseline"])
def test_neighbours_of_new_users_are_the_formula_with_movies_held_fixed(kind, center, early, late):
    model = kind(center=center, device="cpu").fit(early)
    old = copy.copy(model)
    model.fold_in(late)
    R = model.matrix_.toarray().astype(float)
    M, n = R != 0, (R != 0).sum(1)
    b_i, new = old.movie_level_, ~np.isin(model.user_ids_, old.user_ids_)
    level, by_users = np.zeros(len(R)), kind is UserCF
    if center == "baseline":
        start = old.global_mean_ if by_users else 0
        level = start + ((R - start - b_i) * M).sum(1) / (n + 8)
    elif by_users:
        level = R.sum(1) / n
    level[~new] = old.user_level_
    E = (R - level[:, None] - b_i) * M
    scale = np.ones(len(R)) if by_users else old.scale_
    if by_users and center == "zscore":
        scale = np.sqrt(((E**2).sum(1) + 5 * old.spread_) / (n + 5))
        np.testing.assert_allclose(scale[~new], old.scale_, rtol=1e-6)
        assert old.spread_ == pytest.approx((E[~new] ** 2).sum() / M[~new].sum(), rel=1e-6)
    E = E / (scale[:, None] if by_users else scale)
    S = old.similarity_.astype(float)
    if by_users:
        norm = np.linalg.norm(E, axis=1)
        S = np.maximum(E @ E.T / np.maximum(np.outer(norm, norm), 1e-12), 0)
        np.fill_diagonal(S, 0)
        top, bottom = S @ E, S @ M
    else:
        top, bottom = E @ S.T, M @ S.T
    with np.errstate(invalid="ignore"):
        score = top / bottom * (scale[:, None] if by_users else scale) + level[:, None] + b_i
    found = model.predict_matrix()
    answered = bottom > 1e-3  # else the last digits of similarities decide
    np.testing.assert_allclose(found[answered], score[answered], atol=1e-4)


@pytest.mark.parametrize("name", ["als", "sgd", "mf", "mf_plain", "mf_bounded", "mf_biases"])
def test_rows_of_new_users_minimise_the_objective_of_the_training(name, early, late):
    model = clone(estimators[name]).fit(early)
    settings = model._settings(model.matrix_)
    model.fold_in(late)
    unit, bounded = settings["unit"], model.ends_ is not None
    of_user = late[late["user_id"] == late["user_id"].iloc[0]]
    u = np.searchsorted(model.user_ids_, of_user["user_id"].iloc[0])
    i = np.searchsorted(model.movie_ids_, of_user["movie_id"])
    n = len(i)
    h = np.zeros(model.U_.shape[1]) if model.Y_ is None else model.Y_[i].sum(0) / n**0.5
    root, whole = (1, 1) if bounded else (unit**0.5, unit)
    V, b_i, mean = model.V_[i] / root, model.b_i_[i] / whole, model.mean_ / whole
    per_rating = inspect.signature(model._train).parameters["regularization_per_rating"].default
    per_rating = settings.get("regularization_per_rating", per_rating)
    lam = settings["regularization"] + per_rating * n

    def objective(x):
        own, b_u = x[:-1], x[-1] * settings["bias"]
        score = mean + b_i + b_u + V @ (own + h / root)
        if bounded:
            low, high = np.array(model.ends_) / unit
            score = low + (high - low) / (1 + np.exp(-score))
        squares = np.sum((of_user["rating"] / unit - score) ** 2)
        return (squares + lam * own @ own + settings["bias_regularization"] * b_u**2) / 2

    def slope(x):
        steps = 1e-5 * np.eye(len(x))
        return np.array([(objective(x + e) - objective(x - e)) / 2e-5 for e in steps])

    found = np.r_[(model.U_[u] - h) / root, model.b_u_[u] / whole].astype(float)
    assert np.abs(slope(found)).max() < 1e-3 * np.abs(slope(0 * found)).max()
    assert (model.Y_ is None) == (name != "mf")


@pytest.mark.parametrize("name", ["gibbs", "gibbs_time", "gibbs_drift"])
def test_draws_of_new_users_are_at_their_posterior_means_without_noise(name, early, late):
    model = clone(estimators[name]).fit(early)

    def still(seed, ids, shapes, size):
        return np.zeros((len(ids), *size), np.float32), np.ones((len(ids), *size[:2]))

    with patch.multiple(_later_rows, ROUNDS=1, random_numbers=still):
        model.fold_in(late)
    samples = model.samples_
    of_user = late[late["user_id"] == late["user_id"].iloc[0]].sort_values("movie_id")
    u = int(np.searchsorted(model.user_ids_, of_user["user_id"].iloc[0]))
    i = np.searchsorted(model.movie_ids_, of_user["movie_id"])
    dates = of_user["date"].to_numpy("datetime64[s]")
    target = of_user["rating"].to_numpy() / samples.unit - samples.mean
    if samples.time is not None:
        times = samples.time.at(np.full(len(i), u), i, dates, training=True)
        target = target - sum(effect for _, effect, _ in times)
    prior, k = samples.user_prior, samples.U.shape[2]
    for s in (0, -1):
        V = np.c_[samples.V[i, s].astype(float), np.ones(len(i))]
        if samples.drift is not None:
            V = np.c_[V, V * samples.drift.course.ages(np.full(len(i), u), dates)[:, None]]
        place = prior.directions[i].sum(0) / len(i) ** 0.5
        mean = prior.center[s] + place @ prior.link[s].astype(float)
        weight = samples.alpha[s] / samples.noise_i[i, s].astype(float)
        A = np.diag(prior.precision[s]) + V.T @ (weight[:, None] * V)
        b = prior.precision[s] * mean + V.T @ (weight * (target - samples.b_i[i, s]))
        wanted = np.linalg.solve(A, b)
        np.testing.assert_allclose(samples.U[u, s], wanted[:k], atol=2e-3)
        assert samples.b_u[u, s] == pytest.approx(wanted[k], abs=2e-3)
        if samples.drift is not None:
            np.testing.assert_allclose(samples.drift.change[u, s], wanted[k + 1 :], atol=2e-3)


def test_who_rated_what_is_kept_as_the_best_epoch_had_it(data):
    "Factors less the sum of what the movies say are the same with and without a later epoch."
    told = dict(n_factors=4, n_epochs=60, learning_rate=0.1, regularization=0.1, device="cpu")
    told |= dict(implicit=True, random_state=0, verbose=False)
    R = data.matrix()
    best, history = train_matrix_factorization(R, data.matrix("test"), patience=5, **told)
    n = int(history["validation_rmse"].argmin()) + 1
    assert n < len(history)
    again, _ = train_matrix_factorization(R, **told | dict(n_epochs=n))
    for name in "YX":
        np.testing.assert_array_equal(best.second[name], again.second[name])


def test_users_who_come_again_with_what_they_gave_are_drawn_about_where_they_were(data):
    model = GibbsFactorization(2, n_chains=2, n_sweeps=60, random_state=0).fit(data.train)
    before, std = model.predict(data.test, return_std=True)
    users = data.train[data.train["user_id"].isin(data.user_ids[:20])]
    asked = data.test["user_id"].isin(users["user_id"]).to_numpy()
    model.fold_in(users)
    after, later = model.predict(data.test, return_std=True)
    assert (before[~asked] == after[~asked]).all()
    np.testing.assert_allclose(before[asked], after[asked], atol=0.4)
    assert np.abs(before - after)[asked].mean() < 0.1
    np.testing.assert_allclose(std[asked], later[asked], rtol=0.25)
