"What every estimator promises, run over all of them."

import numpy as np
import pandas as pd
import pytest
from models import estimators
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *


@pytest.fixture(scope="module", params=estimators)
def name(request):
    return request.param


@pytest.fixture
def estimator(name):
    return clone(estimators[name])


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(120, 80, 3000, random_state=3)


@pytest.fixture(scope="module")
def fitted(name, data):
    "A fitted model for tests that only ask it."
    return clone(estimators[name]).fit(data.train, movies=data.movies)


def test_fit_returns_self_and_leaves_parameters_and_input_alone(estimator, data):
    before, frame = estimator.get_params(), data.train.copy()
    assert estimator.fit(data.train) is estimator
    assert estimator.get_params() == before
    pd.testing.assert_frame_equal(data.train, frame)


def test_beats_the_global_mean(fitted, data):
    assert rmse(data.test["rating"], fitted.predict(data.test)) < data.test["rating"].std() - 0.01


def test_predictions_follow_the_scale_of_the_ratings(estimator, data, fitted):
    points = data.train.assign(
        rating=16 * data.train["rating"]
    )  # a power of two, so that nothing is rounded differently
    np.testing.assert_allclose(
        clone(estimator).fit(points).predict(data.test), 16 * fitted.predict(data.test), rtol=1e-5
    )


def test_array_frame_and_order_of_rows_give_the_same_model(estimator, data, fitted):
    if not estimator.get_params().get("time"):  # an array has no dates
        pairs = data.train[["user_id", "movie_id"]].to_numpy()
        from_array = (
            clone(estimator)
            .fit(pairs, data.train["rating"].to_numpy())
            .predict(data.test[["user_id", "movie_id"]].to_numpy())
        )
        np.testing.assert_array_equal(from_array, fitted.predict(data.test))
    shuffled = clone(estimator).fit(data.train.sample(frac=1, random_state=0)).predict(data.test)
    np.testing.assert_allclose(shuffled, fitted.predict(data.test), rtol=1e-5)  # of float32


def test_two_fits_with_a_seed_are_equal_bit_for_bit(estimator, data, fitted):
    np.testing.assert_array_equal(
        clone(estimator).fit(data.train).predict(data.test), fitted.predict(data.test)
    )


def test_predictions_are_finite_on_the_scale_and_explained(fitted, data):
    strangers = pd.DataFrame(
        dict(
            user_id=[-5, data.user_ids[0], -5],
            movie_id=[data.movie_ids[0], 10**9, 10**9],
            date=data.train["date"].iloc[:3],
        )
    )
    asked = pd.concat([data.test[["user_id", "movie_id", "date"]], strangers], ignore_index=True)
    prediction, reason = fitted.predict(asked, return_reason=True)
    assert prediction.dtype == np.float64 and prediction.shape == (len(asked),)
    assert np.isfinite(prediction).all() and prediction.min() >= 1 and prediction.max() <= 5
    assert reason[-3:].tolist() == ["unknown user", "unknown movie", "unknown user and movie"]
    assert prediction[-1] == pytest.approx(data.train["rating"].mean(), abs=1e-6)


def test_predicting_nothing_gives_nothing(fitted, data):
    assert fitted.predict(data.test.head(0)).shape == (0,)


def test_recommendations_are_unseen_sorted_and_titled(fitted, data):
    user = data.user_ids[3]
    table = fitted.recommend(user, n=7, by="rating")
    seen = set(data.train.loc[data.train["user_id"] == user, "movie_id"])
    assert len(table) == 7 and list(table) == ["movie_id", "title", "prediction"]
    assert table["prediction"].is_monotonic_decreasing and not seen & set(table["movie_id"])
    assert table["title"].str.startswith("Synthetic movie").all()
    assert seen & set(fitted.recommend(user, n=1000, exclude_seen=False)["movie_id"])
    pairs = table.assign(user_id=user, date=data.train["date"].max())
    np.testing.assert_allclose(fitted.predict(pairs), table["prediction"])
    several = fitted.recommend([user, -1], n=7, by="rating")
    pd.testing.assert_frame_equal(
        several[several["user_id"] == user].drop(columns="user_id"), table, atol=1e-5
    )
    assert len(several) == 14 and fitted.recommend([], n=7).empty
    assert len(fitted.recommend(-1, n=3)) == 3  # a stranger gets what many watch and like
    assert len(fitted.recommend(user, n=0)) == 0
    with pytest.raises(ValueError, match="n must be a whole number of at least 0"):
        fitted.recommend(user, n=-1)
    with pytest.raises(ValueError, match="by must be 'interest' or 'rating', not 'stars'"):
        fitted.recommend(user, by="stars")


def test_lists_are_ordered_by_chance_and_stars(fitted, data):
    user, seen = data.user_ids[3], data.train["user_id"] == data.user_ids[3]
    table = fitted.recommend(user, n=1000)
    assert list(table) == ["movie_id", "title", "prediction", "watching"]
    assert set(table["movie_id"]) == set(data.train["movie_id"]) - set(data.train["movie_id"][seen])
    pairs = table.assign(user_id=user, date=data.train["date"].max())
    np.testing.assert_allclose(fitted.predict(pairs), table["prediction"])
    product = np.log(table["watching"]) + fitted._interest.per_star * table["prediction"]
    assert (table["watching"] > 0).all() and (np.diff(product) < 1e-5).all()
    several = fitted.recommend([-1, user], n=1000)
    of_user = several[several["user_id"] == user].drop(columns="user_id").reset_index(drop=True)
    np.testing.assert_allclose(of_user["watching"], table["watching"], atol=1e-5)
    shares = data.train["movie_id"].value_counts() / data.train["user_id"].nunique()
    stranger = several[several["user_id"] == -1]
    np.testing.assert_allclose(stranger["watching"], stranger["movie_id"].map(shares), rtol=1e-5)


def test_similar_users_and_movies(fitted, data):
    for table, name, one in (
        (fitted.similar_users(data.user_ids[0], 4), "user_id", data.user_ids[0]),
        (
            fitted.similar_movies(data.train["movie_id"].iloc[0], 4),
            "movie_id",
            data.train["movie_id"].iloc[0],
        ),
    ):
        assert len(table) == 4 and one not in set(table[name])
        assert (
            table["similarity"].is_monotonic_decreasing
            and table["similarity"].abs().max() <= 1 + 1e-5
        )
    with pytest.raises(KeyError, match="-77"):
        fitted.similar_users(-77)


def test_explanations_add_up(fitted, data):
    for user, movie in data.test[["user_id", "movie_id"]].head(20).to_numpy().tolist() + [
        [-5, data.movie_ids[0]],
        [-5, -5],
    ]:
        total = fitted.explain(user, movie)["contribution"].sum()
        pair = pd.DataFrame(dict(user_id=[user], movie_id=[movie], date=data.train["date"].max()))
        assert np.clip(total, 1, 5) == pytest.approx(fitted.predict(pair)[0], abs=1e-4)


def test_saved_models_predict_the_same(fitted, data, tmp_path):
    again = type(fitted).load(fitted.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.predict(data.test), fitted.predict(data.test))
    assert repr(again.get_params()) == repr(fitted.get_params())
    assert (
        again.recommend(data.user_ids[0])["title"].tolist()
        == fitted.recommend(data.user_ids[0])["title"].tolist()
    )
    assert type(RatingEstimator.load(tmp_path / "model.npz")) is type(fitted)
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_a_model_of_another_kind_is_refused(data, tmp_path):
    BaselinePredictor().fit(data.train).save(tmp_path / "model.npz")
    with pytest.raises(ValueError, match="BaselinePredictor"):
        UserCF.load(tmp_path / "model.npz")


def test_unfitted_models_say_so(estimator):
    from sklearn.exceptions import NotFittedError

    for ask in (
        lambda: estimator.predict([[1, 1]]),
        lambda: estimator.recommend(1),
        lambda: estimator.save("nowhere.npz"),
    ):
        with pytest.raises(NotFittedError):
            ask()


def test_text_ids(estimator, data):
    texts = data.train.assign(
        user_id="u" + data.train["user_id"].astype(str),
        movie_id="m" + data.train["movie_id"].astype(str),
    )
    model = estimator.fit(texts)
    assert model.recommend("u5")["movie_id"].str.startswith("m").all()
    asked = pd.DataFrame(
        dict(user_id=["u5", "x"], movie_id=["m3", "y"], date=["2005-01-01", "2005-12-31"])
    )
    assert np.isfinite(model.predict(asked)).all()
    with pytest.raises(TypeError, match="texts"):
        model.predict(asked.assign(user_id=5))


@pytest.mark.parametrize("ids", [np.array([2**63 + 1], np.uint64), [1e18], [np.nan], [1.5]])
def test_ids_that_are_no_integers_are_refused(data, ids):
    with pytest.raises(ValueError, match="row 0: user_id"):
        BaselinePredictor().fit(pd.DataFrame(dict(user_id=ids, movie_id=[1], rating=[3.0])))


def test_objects_that_are_integers_are_integers():
    model = BaselinePredictor().fit(np.array([[1, 2], [1, 3]], object), [3, 4])
    assert model.user_ids_.tolist() == [1]


def test_compare_takes_it(estimator, data):
    table, predictions = compare({"it": estimator}, data)
    assert table.loc["it", "rmse"] == pytest.approx(rmse(data.test["rating"], predictions["it"]))


def test_scikit_learn_tools(estimator, data):
    X, y = data.train[["user_id", "movie_id", "date"]], data.train["rating"]
    folds = KFold(2, shuffle=True, random_state=0)
    assert (
        cross_val_score(estimator, X, y, cv=folds, scoring="neg_root_mean_squared_error") > -1.3
    ).all()
    assert np.isfinite(
        make_pipeline(FunctionTransformer(), clone(estimator)).fit(X, y).predict(X)
    ).all()
    parameter, values = {
        "BaselinePredictor": ("user_damping", [1, 10]),
        "UserCF": ("shrinkage", [0, 10]),
        "ItemCF": ("shrinkage", [0, 10]),
        "NeighborCorrected": ("n_neighbors", [5, 20]),
    }.get(type(estimator).__name__, ("n_factors", [2, 4]))
    search = GridSearchCV(
        estimator, {parameter: values}, cv=folds, scoring="neg_root_mean_squared_error"
    ).fit(X, y)
    assert search.best_params_[parameter] in values and np.isfinite(search.predict(X)).all()


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(dict(user_id=[7], movie_id=[9], rating=[4.0])),
        pd.DataFrame(dict(user_id=[7, 7], movie_id=[9, 10], rating=[4.0, 2.0])),
        pd.DataFrame(dict(user_id=[7, 2**40], movie_id=[9, 9], rating=[0.5, 4.5])),
    ],
    ids=["one rating", "one user", "one movie"],
)
def test_tiny_inputs(estimator, frame):
    frame = frame.assign(date="2005-01-01")
    prediction = estimator.fit(frame).predict(frame)
    assert (
        np.isfinite(prediction).all()
        and prediction.min() >= frame["rating"].min()
        and prediction.max() <= frame["rating"].max()
    )


def test_bad_ratings_are_refused_by_row(estimator, data):
    good = data.train.head(10).reset_index(drop=True)
    for value in (np.nan, np.inf, 9):
        with pytest.raises(ValueError, match=r"rows \[4\]"):
            clone(estimator).set_params(rating_scale=(1, 5)).fit(
                good.assign(rating=good["rating"].where(good.index != 4, value))
            )
    twice = pd.concat([good, good.head(1).assign(rating=1)], ignore_index=True)
    with pytest.raises(
        ValueError,
        match=f"rows 0 and 10 both rate movie {good['movie_id'][0]} by user {good['user_id'][0]}",
    ):
        clone(estimator).fit(twice)
    assert clone(estimator).set_params(duplicates="last").fit(twice).matrix_.nnz == 10
    with pytest.raises(ValueError, match="no column movie_id"):
        clone(estimator).fit(good.drop(columns="movie_id"))
    with pytest.raises(ValueError, match="shape"):
        clone(estimator).fit(np.ones((3, 3)), [1, 2, 3])
    with pytest.raises(ValueError, match="0 rows"):
        clone(estimator).fit(good.head(0))


def test_test_ratings_do_not_leak(estimator, data):
    "A model and its predictions do not depend on the ratings it is asked to predict."
    shuffled = data.test.assign(
        rating=data.test["rating"].sample(frac=1, random_state=0).to_numpy()
    )
    model = estimator.fit(data.train)
    np.testing.assert_array_equal(model.predict(data.test), model.predict(shuffled))


def test_a_blend_by_scikit_learn(data):
    """Tables with ids and dates pass through scikit-learn's stacking, and the blend is no worse
    than its parts.
    """
    from sklearn.ensemble import StackingRegressor
    from sklearn.linear_model import RidgeCV

    X, y = data.train.drop(columns="rating"), data.train["rating"]
    parts = [(name, clone(estimators[name])) for name in ("user_knn", "mf", "gibbs_time")]
    blend = StackingRegressor(parts, RidgeCV(), cv=KFold(3, shuffle=True, random_state=0)).fit(X, y)
    errors = [
        rmse(data.test["rating"], model.predict(data.test.drop(columns="rating")))
        for model in (blend, *blend.estimators_)
    ]
    assert errors[0] < min(errors[1:]) + 0.01 and all(
        model.last_date_ is None or model.last_date_ == X["date"].max()
        for model in blend.estimators_
    )
