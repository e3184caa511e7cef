"Small inputs that gave wrong answers in silence; those that still do are expected to fail."

import contextlib
import io
import warnings
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
import torch
from models import estimators
from scipy.sparse import coo_matrix, csr_matrix
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from trials import SEED, trials

from thu_big_data_ml import (
    ALSFactorization,
    BaselinePredictor,
    CachedScore,
    GibbsFactorization,
    ItemCF,
    MatrixFactorizationRegressor,
    NeighborCorrected,
    RatingEstimator,
    UserCF,
    calibration,
    center_ratings,
    cosine_by_matrix_product,
    damped_biases,
    error_by_activity,
    get_rating_matrix,
    interval_coverage,
    load_ratings,
    mae,
    masked_mse_loss,
    masked_product,
    masked_rmse_loss,
    mean_and_error,
    paired_difference,
    plot_factor_map,
    plot_grid,
    plot_history,
    plot_validation_curves,
    ranking_at,
    read_movie_titles,
    read_ratings,
    rmse,
    sample_factors,
    split_ratings,
    synthetic_ratings,
    train_als,
    user_similarity,
)
from thu_big_data_ml.bayesian._time_effects import time_facts
from thu_big_data_ml.evaluation._rows import ratings_fingerprint


def some(n_users=40, n_movies=30, n=900, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        dict(
            user_id=rng.integers(0, n_users, n),
            movie_id=rng.integers(0, n_movies, n),
            rating=rng.integers(1, 6, n).astype(float),
        )
    )
    return frame.drop_duplicates(["user_id", "movie_id"], ignore_index=True)


def test_float32_ids_beyond_2_to_the_24_are_refused():
    ids = np.array([[16777216, 1], [16777217, 2]]).astype(np.float32)
    with pytest.raises(ValueError, match="row 0: user_id 16777216.0"):
        BaselinePredictor().fit(ids, [1, 5])


def test_negative_similarities_of_negative_ratings_are_dropped():
    rows = [(1, 1, 5), (1, 2, -5), (2, 1, -5), (2, 2, 5), (2, 3, 5), (3, 1, 5), (3, 2, -5)]
    frame = pd.DataFrame([*rows, (3, 3, 1)], columns=["user_id", "movie_id", "rating"])
    assert UserCF(negative="drop").fit(frame).predict([[1, 3]]).tolist() == [1.0]


def test_a_sum_of_squares_is_never_negative(tmp_path):
    frame = pd.DataFrame(dict(user_id=1, movie_id=[1, 2, 3], rating=[1994.0, 1995.0, 1996.0]))
    model = ALSFactorization(bias=False, random_state=0).fit(frame)
    assert np.isrealobj(model.history_["train_rmse"].to_numpy())
    model.save(tmp_path / "model.npz")


@pytest.mark.parametrize("rate", [3, 10])
def test_a_training_that_diverges_is_refused_with_its_learning_rate(rate):
    model = MatrixFactorizationRegressor(learning_rate=rate, n_epochs=50, random_state=0)
    with pytest.raises(FloatingPointError, match=f"learning_rate={rate}"):
        model.fit(some())
    assert not hasattr(model, "matrix_")


def test_a_training_that_ends_worse_than_the_mean_says_so():
    ratings = some()
    model = MatrixFactorizationRegressor(2, bias=False, n_epochs=2, random_state=0)
    with pytest.warns(UserWarning, match="raise n_epochs"):
        error = rmse(ratings["rating"], model.fit(ratings).predict(ratings))
    assert error > ratings["rating"].std()


def test_the_first_of_a_list_have_evidence():
    data = load_ratings("sample")
    model = MatrixFactorizationRegressor(random_state=0).fit(data.train)
    table = model.recommend(list(data.user_ids[:50]), n=10)
    counts = table["movie_id"].map(data.train["movie_id"].value_counts())
    assert (counts < 3).mean() < 0.02


def test_folds_of_users_never_seen_are_told():
    ratings = some().sort_values("user_id")
    with pytest.warns(UserWarning, match="shuffle"):
        cross_val_score(BaselinePredictor(), ratings, ratings["rating"], cv=5)


# Odd input, thousands of times by `make faults`


def odd_ids(rng, n: int):
    "Ids of `n` users or movies, ascending, from an odd range."
    kinds = {
        "small": lambda: np.arange(n),
        "negative": lambda: np.sort(-rng.choice(10**6, n, replace=False)),
        "largest": lambda: np.sort(2**63 - 1 - rng.choice(10**6, n, replace=False)),
        "anything": lambda: np.unique(rng.integers(-(2**63), 2**63 - 1, n)),
        "texts": lambda: np.unique(
            [f"{rng.choice(['u', '', ' ', '用户', 'é'])}{k}" for k in range(n)]
        ),
    }
    return kinds[str(rng.choice(list(kinds)))]()


scales = {
    "stars": lambda rng, n: rng.integers(1, 6, n),
    "half stars": lambda rng, n: rng.integers(1, 11, n) / 2,
    "likes": lambda rng, n: rng.integers(0, 2, n),
    "with zeros": lambda rng, n: rng.integers(0, 11, n),
    "constant": lambda rng, n: np.full(n, rng.choice([3, 0, 1.1, -2])),
    "negative": lambda rng, n: rng.integers(-5, 6, n),
    "reals": lambda rng, n: rng.normal(0, 1, n),
    "points": lambda rng, n: rng.integers(0, 101, n),
    "small": lambda rng, n: rng.uniform(1e-4, 2e-4, n),
    "large": lambda rng, n: rng.uniform(1e5, 9e6, n),
}


def odd_frame(rng, scale=None):
    "A small table of ratings, in any order."
    users, movies = (odd_ids(rng, int(n)) for n in rng.integers(1, 31, 2))
    n = int(rng.integers(1, len(users) * len(movies) + 1))
    u, i = np.divmod(rng.choice(len(users) * len(movies), n, replace=False), len(movies))
    rating = scales[scale or str(rng.choice(list(scales)))](rng, n)
    days = pd.Timestamp("2005-01-01") + pd.to_timedelta(rng.integers(0, 900, n), unit="D")
    ids = dict(user_id=users[u], movie_id=movies[i])
    return pd.DataFrame(ids | dict(rating=rating.astype(float), date=days))


def random_neighbourhood(rng):
    "Parameters of `UserCF` that go together."
    center = [None, "mean", "zscore", "baseline"][rng.integers(4)]
    return dict(
        n_neighbors=[None, 1, 3, 10**6][rng.integers(4)],
        metric=str(rng.choice(["cosine", "corated", "pearson"])),
        center=center,
        shrinkage=float(rng.choice([0, 0.5, 20])),
        min_support=int(rng.choice([0, 1, 2])),
        amplification=float(rng.choice([0.5, 1, 2.5])),
        damping=float(rng.choice([0, 0.1, 5])) if center else 0,
        negative=str(rng.choice(["drop", "keep"])),
        exclude_self=bool(rng.integers(2)),
    )


def odd_model(rng, name: str):
    "A copy of a model of tests/models.py, with other parameters, that fits in milliseconds."
    model = clone(estimators[name])
    known = model.get_params()
    if "metric" in known and known["max_memory"] is None:
        return model.set_params(**random_neighbourhood(rng))
    options = dict(
        n_factors=int(rng.integers(1, 6)),
        n_epochs=int(rng.integers(1, 8)),
        n_sweeps=int(rng.integers(2, 8)),
        estimator__n_epochs=3,
        validation_fraction=float(rng.choice([0, 0.05, 0.5])),
        user_damping=float(rng.choice([0, 8, 1e6])),
        bias_regularization=float(rng.choice([0.01, 3, 1e4])),
    )
    return model.set_params(**{name: options[name] for name in known if name in options})


def close(a, b, frame, times=1.0):
    "Equal but for rounding, in ratings of this size."
    size = frame["rating"].abs().max() + 1e-9
    np.testing.assert_allclose(a, b, rtol=0, atol=times * 1e-4 * size)


def check_answers(model, frame):
    "Everything that a fitted model is asked is finite, on the scale, and in agreement."
    low, high = frame["rating"].astype(np.float32).agg(["min", "max"])
    asked = frame.drop(columns="rating")
    prediction = model.predict(asked)
    assert prediction.dtype == np.float64 and np.isfinite(prediction).all()
    assert low <= prediction.min() and prediction.max() <= high
    shuffled = asked.iloc[::-1]
    np.testing.assert_array_equal(model.predict(shuffled)[::-1], prediction)
    user, movie, date = asked.iloc[0][["user_id", "movie_id", "date"]]
    date = date if model.last_date_ is not None else None
    table = model.recommend(user, n=100, exclude_seen=False, date=date, by="rating")
    assert table["prediction"].is_monotonic_decreasing and len(table) == len(model.movie_ids_)
    liked = model.recommend(user, n=100, exclude_seen=False, date=date)
    assert set(liked["movie_id"]) == set(table["movie_id"]) and (liked["watching"] > 0).all()
    here = table.loc[table["movie_id"] == movie, "prediction"].iloc[0]
    close(here, prediction[0], frame)
    total = model.explain(user, movie, date=date)["contribution"].astype(float).sum()
    close(np.clip(total, low, high), prediction[0], frame)
    for near in (model.similar_users(user), model.similar_movies(movie)):
        assert near["similarity"].between(-1.001, 1.001).all()


quick_to_compile = ["biases", "user_cf", "user_knn", "movie_knn", "als", "mf_biases"]
fuzzed = trials(quick_to_compile, [n for n in estimators if n != "recipe"])  # empty cells are zeros


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", fuzzed)
def test_odd_ratings_are_answered_or_refused(name):
    for n in range(trials(5, 120)):
        rng = np.random.default_rng([SEED, n, *name.encode()])
        frame, model = odd_frame(rng), odd_model(rng, name)
        with contextlib.suppress(FloatingPointError):  # a few epochs at random settings may diverge
            check_answers(model.fit(frame), frame)
            again = clone(model).fit(frame.sample(frac=1, random_state=n))
            asked = frame.drop(columns="rating")
            if not getattr(model, "n_neighbors", None):  # equal neighbours are taken in order
                close(again.predict(asked), model.predict(asked), frame)
            stranger = asked.head(1).assign(movie_id="?" if movie_texts(frame) else 7**20)
            more = pd.concat([asked, stranger], ignore_index=True)
            np.testing.assert_array_equal(model.predict(more)[:-1], model.predict(asked))


def movie_texts(frame) -> bool:
    return isinstance(frame["movie_id"].iloc[0], str)


exact = {"biases": {}, "user_cf": {}, "movie_knn": dict(n_neighbors=None)}


@pytest.mark.parametrize("name", exact)
def test_who_is_called_what_does_not_matter(name):
    "Other ids, in another order, for the same people and movies."
    for n in range(trials(5, 200)):
        rng = np.random.default_rng([SEED, n, *name.encode()])
        frame, model = odd_frame(rng), odd_model(rng, name).set_params(**exact[name])
        if "n_neighbors" in model.get_params():
            model.set_params(n_neighbors=None)
        renamed = frame.copy()
        for column in ("user_id", "movie_id"):
            codes, known = pd.factorize(frame[column])
            renamed[column] = rng.permutation(10 * len(known))[codes]
        before, after = (
            clone(model).fit(ratings).predict(ratings.drop(columns="rating"))
            for ratings in (frame, renamed)
        )
        close(after, before, frame)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", [*exact, "als", "mf_biases"])
def test_a_rating_of_zero_is_a_rating(name):
    "All ratings a star higher: all predictions a star higher."
    for n in range(trials(4, 100)):
        rng = np.random.default_rng([SEED, n, *name.encode()])
        frame = odd_frame(rng, scale="with zeros")
        model = clone(estimators[name])
        if "center" in model.get_params():
            model.set_params(center=str(rng.choice(["mean", "zscore", "baseline"])))
        asked, higher = frame.drop(columns="rating"), frame.assign(rating=frame["rating"] + 1)
        before, after = (clone(model).fit(ratings).predict(asked) for ratings in (frame, higher))
        close(after, before + 1, higher)


@pytest.mark.parametrize("kind", [UserCF, ItemCF])
def test_who_has_nothing_to_do_with_the_others_changes_nothing(kind):
    for n in range(trials(6, 200)):
        rng = np.random.default_rng([SEED, n])
        frame, options = odd_frame(rng), random_neighbourhood(rng)
        model = kind(**options | dict(center=None, damping=0))
        far = ("~", "~") if movie_texts(frame) else (2**61 + 1, 2**61 + 1)
        if isinstance(frame["user_id"].iloc[0], str) != movie_texts(frame):
            continue
        lonely = pd.DataFrame([[*far, frame["rating"].min()]], columns=list(frame)[:3])
        both = pd.concat([frame, lonely.assign(date=frame["date"].iloc[0])], ignore_index=True)
        asked = frame.drop(columns="rating")
        before, reason = clone(model).fit(frame).predict(asked, return_reason=True)
        after = clone(model).fit(both).predict(asked)
        close(after[reason == "model"], before[reason == "model"], frame)


# Ids, ratings and parameters that cannot be used


@pytest.mark.parametrize(
    "ids, row",
    [
        (np.float16([1, 2048]), 1),
        (np.float64([1, 2**53]), 1),
        (np.array([1, 2**63], np.uint64), 1),
        (np.array([True, False]), 0),
        (np.array([1, True], object), 1),
        (np.array([7, "7"], object), 1),
        (np.array([1 + 0j, 2]), 0),
        ([Decimal(1), Decimal(2)], 0),
        ([b"ann", b"bob"], 0),
        (pd.array([1, None], dtype="Int64"), 1),
        (pd.Categorical([1, None]), 1),
        (["ann", None], 1),
        (["ann", ""], 1),
        ([1, 2**70], 1),
        (pd.to_timedelta([1, 2]), 0),
        (pd.to_datetime(["2005-01-01", "2005-01-02"]), 0),
    ],
    ids=str,
)
def test_ids_that_may_not_be_whose_they_seem_are_refused_by_row(ids, row):
    frame = pd.DataFrame(dict(user_id=ids, movie_id=[1, 2], rating=[3.0, 4]))
    with pytest.raises((TypeError, ValueError), match=f"row {row}: user_id"):
        BaselinePredictor().fit(frame)


def test_texts_and_numbers_are_never_the_same_user():
    model = BaselinePredictor().fit([[7, 1], [8, 1]], [1, 5])
    for ask in (model.recommend, model.similar_users, lambda user: model.explain(user, 1)):
        with pytest.raises(TypeError, match="texts"):
            ask("7")
    with pytest.raises(TypeError, match="row 1: movie_id '7'"):
        BaselinePredictor().fit([["ann", 7], ["bob", "7"]], [1, 5])


@pytest.mark.parametrize(
    "y, words",
    [
        ([1e38, 1, 2], "rescale"),
        ([1e-40, 1, 2], "rescale"),
        (["1", "2", "3"], "row 0: rating '1'|row 0: rating np.str_"),
        ([True, False, True], "of type bool"),
        ([1j, 2, 3], "of type complex"),
        (pd.array([1, None, 3], dtype="Float64"), r"rows \[1\]"),
        (np.ma.masked_array([1, 2, 3], [0, 1, 0]), "mask"),
        (csr_matrix([1, 2, 3]), "mask"),
        ([[1, 2], [2, 3], [3, 4]], "one rating a row"),
        (pd.Series([1, 2, 3], index=[2, 1, 0]), "different orders"),
        ([1, 2], "3 rows and y has 2"),
    ],
    ids=str,
)
def test_ratings_that_cannot_be_used_are_refused(y, words):
    X = pd.DataFrame(dict(user_id=[1, 2, 3], movie_id=[1, 1, 1]))
    with pytest.raises((TypeError, ValueError), match=words):
        BaselinePredictor().fit(X, y)


everywhere = [np.nan, np.inf, -1, True, "3"]
numeric = dict(
    shrinkage=everywhere,
    min_support=[*everywhere, 2.5],
    amplification=[*everywhere, 0],
    damping=everywhere,
    n_neighbors=[*everywhere, 0, 1e9],
    user_damping=everywhere,
    movie_damping=everywhere,
    n_factors=[*everywhere, 0, 2.5],
    n_epochs=[*everywhere, 0, 2.5],
    n_chains=[*everywhere, 0],
    n_sweeps=[*everywhere, 0],
    learning_rate=[*everywhere, 0],
    learning_rate_decay=[*everywhere, 0],
    regularization=everywhere,
    bias_regularization=everywhere,
    implicit_regularization=everywhere,
    weight_decay=everywhere,
    batch_size=[*everywhere, 0],
    validation_fraction=[*everywhere, 1],
    random_state=[np.nan, -1, True, "3"],
)
switches = dict(bias=[1, "no"], implicit=[1, "no"], exclude_self=[0, "no"], time=[1, "no"])
bad_values = [
    (name, parameter, value)
    for name in ("biases", "user_knn", "movie_knn", "mf", "sgd", "als", "corrected", "gibbs")
    for parameter, values in (numeric | switches).items()
    for value in values
    if parameter in estimators[name].get_params()
]


def test_every_numeric_parameter_is_refused_by_name():
    frame = some(8, 6, 30)
    for name, parameter, value in bad_values:
        model = clone(estimators[name]).set_params(**{parameter: value})
        with pytest.raises(ValueError, match=f"^{parameter} must be .*not {value!r}"):
            model.fit(frame)


@pytest.mark.parametrize(
    "options, idle",
    [
        (dict(implicit=False, implicit_regularization=5), "implicit_regularization=5"),
        (dict(bias=False, bias_regularization=5, n_epochs=300), "bias_regularization=5"),
    ],
)
def test_a_parameter_without_effect_is_told(options, idle):
    with pytest.warns(UserWarning, match=f"{idle} has no effect"):
        MatrixFactorizationRegressor(2, random_state=0, **options).fit(some(8, 6, 30))


def test_a_handful_of_new_users_is_no_alarm():
    model = BaselinePredictor().fit(some())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict([[99, 1], [98, 1], [97, 2], [96, 1]])
    with pytest.warns(UserWarning, match="movies .* shuffle=True"):
        model.predict([[1, movie] for movie in range(100, 140)])


def test_a_date_says_nothing_to_a_model_without_time():
    model = BaselinePredictor().fit(some())
    for ask in (lambda: model.recommend(1, date="2005"), lambda: model.explain(1, 1, "2005")):
        with pytest.raises(ValueError, match="date='2005' says nothing"):
            ask()


@pytest.mark.parametrize("users", [None, {1, 2}, [[1, 2]], [1, "1"], np.nan, {"a": 1}], ids=str)
def test_whom_to_recommend_to_is_an_id_or_a_list(users):
    with pytest.raises((TypeError, ValueError), match="user_id"):
        BaselinePredictor().fit(some()).recommend(users)


def test_titles_of_one_movie_agree():
    movies = pd.DataFrame(dict(movie_id=[1, 1, 2, 2], title=["Heat", "Alien", 1984, None]))
    with pytest.raises(ValueError, match=r"several titles for movie_id 1: \['Heat', 'Alien'\]"):
        BaselinePredictor().fit(some(), movies=movies)
    model = BaselinePredictor().fit(some(), movies=movies[1:])
    assert model.similar_movies("1984").equals(model.similar_movies(2))
    with pytest.raises(TypeError, match=r"fit\(..., movies=...\)"):
        BaselinePredictor().fit(some()).similar_movies("Heat")


@pytest.mark.parametrize("estimator", [UserCF, Ridge(), None])
def test_only_a_model_of_ratings_is_corrected(estimator):
    with pytest.raises(TypeError, match="estimator must be a RatingEstimator"):
        NeighborCorrected(estimator).fit(some())


def test_a_constant_rater_resembles_nobody():
    "The last digit of a mean is no taste."
    rows = [(1, m, 1.1) for m in range(7)] + [(2, m, 1.3) for m in range(7)]
    rows += [(3, m, float(m)) for m in range(7)]
    frame = pd.DataFrame(rows, columns=["user_id", "movie_id", "rating"])
    model = UserCF(center="mean", exclude_self=False, device="cpu").fit(frame)
    assert model.similarity_[0].tolist() == [0, 0, 0] == model.similarity_[1].tolist()


# Matrices and rows given by hand


twice = csr_matrix((np.array([1.0, 2, 4]), [1, 1, 0], [0, 2, 3]), (2, 2))
takes_a_matrix = {
    "damped_biases": damped_biases,
    "center_ratings": lambda R: center_ratings(R, "mean"),
    "user_similarity": lambda R: user_similarity(R, device="cpu"),
    "cosine_by_matrix_product": lambda R: cosine_by_matrix_product(R, "cpu"),
    "masked_product": lambda R: masked_product(np.eye(2), R),
    "train_als": lambda R: train_als(R, n_factors=1, n_epochs=1, verbose=False),
    "sample_factors": lambda R: sample_factors(R, n_sweeps=2, burn_in=0),
}


@pytest.mark.parametrize("name", takes_a_matrix)
@pytest.mark.parametrize(
    "R, words",
    [
        (twice, "stores 1 cells twice"),
        (coo_matrix(([1.0, 2], ([0, 0], [1, 1])), (2, 2)), "twice"),
        ([[np.nan, 1], [1, 2]], "not finite"),
        (csr_matrix([[np.inf, 1], [1, 2]]), "not finite"),
        ([1, 2], "shape"),
        (np.eye(2) * 1j, "complex"),
        ([["a", "b"], ["c", "d"]], "matrix of numbers"),
    ],
    ids=["csr twice", "coo twice", "nan", "inf", "1-d", "complex", "texts"],
)
def test_a_matrix_that_cannot_be_used_is_refused(name, R, words):
    with pytest.raises(ValueError, match=words):
        takes_a_matrix[name](R)


def test_unsorted_and_other_forms_of_a_matrix_are_the_same_matrix():
    R = csr_matrix([[5.0, 3, 1], [4, 0, 2]])
    unsorted = csr_matrix((R.data[[2, 1, 0, 4, 3]], [2, 1, 0, 2, 0], R.indptr), R.shape)
    for same in (R.toarray(), R.tocsc(), R.tocoo(), R.astype(int), unsorted):
        for name in ("user_similarity", "cosine_by_matrix_product"):
            np.testing.assert_array_equal(takes_a_matrix[name](same), takes_a_matrix[name](R))
        assert damped_biases(same)[0] == damped_biases(R)[0] == 3


def test_rows_outside_of_a_matrix_are_refused_before_a_kernel_reads_there():
    R = csr_matrix([[5.0, 1], [3, 4]])
    samples, _ = sample_factors(R, n_factors=1, n_sweeps=3, burn_in=0, random_state=0)
    for rows in ([2], [-1], [0.5], [True]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            user_similarity(R, users=rows, device="cpu")
        with pytest.raises(ValueError, match="from 0 to 1"):
            samples.predict(rows, [0])
    with pytest.raises(ValueError, match=r"R_validation is of shape \(3, 3\)"):
        train_als(R, np.ones((3, 3)), n_factors=1, n_epochs=1, verbose=False)
    with pytest.raises(ValueError, match="rows of validation"):
        sample_factors(R, n_sweeps=2, burn_in=0, validation=([5], [0], [1.0]))


def test_more_factors_than_memory_are_refused_before_they_are_made():
    for kind in (MatrixFactorizationRegressor, ALSFactorization, GibbsFactorization):
        with pytest.raises(MemoryError, match="n_factors=1000000000 .* GB"):
            kind(10**9).fit(some())


# Metrics


@pytest.mark.parametrize(
    "measure, words",
    [
        (lambda: rmse([[1, 2]], [[1, 2]]), "one number a row"),
        (lambda: rmse(np.ma.masked_array([1, 2], [0, 1]), [1, 2]), "masked"),
        (lambda: error_by_activity([1, 2], [1, 2], [3, -1]), "row 1"),
        (lambda: mean_and_error([1, 2, 3], groups=[1, np.nan, 2]), "row 1: groups is missing"),
        (lambda: ranking_at([1, 1], [5, 4], [3, 2], k=0), "k must be"),
        (lambda: ranking_at([1, 1], [5, 4], [3, 2], k=1, relevant_from=np.nan), "relevant_from"),
        (lambda: calibration([1, 2], [1, 2], width=0), "width must be"),
        (lambda: interval_coverage([1, 2], [1, 2], [1, 1], [1.5]), "level must be"),
        (lambda: interval_coverage([1, 2], [1, 2], [1, -1]), "row 1: a standard deviation of -1"),
        (lambda: get_rating_matrix(some().assign(rating=np.nan)), "row 0: rating is missing"),
        (lambda: get_rating_matrix(some(), np.array([1, 2, 1])), "user_ids holds 1 twice"),
    ],
)
def test_measures_refuse_what_they_cannot_measure(measure, words):
    with pytest.raises(ValueError, match=words):
        measure()


def test_a_difference_that_is_always_the_same_is_a_difference():
    pair = paired_difference([3, 3], [3, 3], [4, 4])
    assert pair == dict(difference=-1.0, standard_error=0.0, ratio=-np.inf)


# What a newcomer writes


def test_a_tilde_is_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "a user"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "a user"))
    monkeypatch.chdir(tmp_path)
    data = synthetic_ratings(20, 15, 120, random_state=0).train
    model = BaselinePredictor().fit(data)
    assert model.save("~/m.npz") == tmp_path / "a user" / "m.npz"
    assert np.array_equal(RatingEstimator.load("~/m.npz").predict(data), model.predict(data))
    ALSFactorization(n_factors=1, n_epochs=1, checkpoint="~/c.npz").fit(data)
    assert (tmp_path / "a user" / "c.npz").exists() and not (tmp_path / "~").exists()


@pytest.mark.parametrize("path", [None, 3, b"m.npz", "", io.BytesIO(), "a\0b"])
def test_what_is_no_path_is_told(path):
    model = BaselinePredictor().fit([[1, 1], [1, 2], [2, 1]], [3, 4, 5])
    for use in (model.save, BaselinePredictor.load, read_ratings, read_movie_titles):
        with pytest.raises((TypeError, ValueError), match="A path (is a text|holds no NUL)"):
            use(path)


def test_scores_take_the_ratings_of_the_frame():
    data = synthetic_ratings(40, 30, 600, random_state=0)
    pairs, y = data.test[["user_id", "movie_id"]], data.test["rating"].astype(float)
    model = UserCF(n_neighbors=5).fit(data.train)
    r2 = 1 - ((y - model.predict(pairs)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
    assert model.score(data.test) == model.score(pairs, y) == pytest.approx(r2, abs=1e-12)
    with pytest.raises(ValueError, match="no ratings: give y"):
        model.score(pairs)
    with pytest.raises(ValueError, match="same index in different orders"):
        model.score(pairs, y[::-1])
    search = GridSearchCV(UserCF(), {"n_neighbors": [1, 20]}, cv=KFold(3, shuffle=True))
    assert np.isfinite(search.fit(data.train).cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("measure", [rmse, mae, paired_difference])
def test_rows_in_another_order_are_not_compared(measure):
    y = pd.Series([5.0, 1.0, 3.0])
    more = [y + 1] if measure is paired_difference else []
    with pytest.raises(ValueError, match="same index in different orders"):
        measure(y, (y + 0.5)[::-1], *more)


@pytest.mark.parametrize(
    "use, words",
    [
        (lambda: plot_grid(None), "search_results returns, not a NoneType"),
        (lambda: plot_history(UserCF()), "model.history_, not a UserCF"),
        (lambda: plot_history(pd.DataFrame()), "model.history_"),
        (lambda: plot_validation_curves([1], "k"), "must be a DataFrame, not a list"),
        (lambda: plot_validation_curves(pd.DataFrame(), "k"), "no column 'k'"),
        (lambda: plot_factor_map(UserCF()), "fitted factorization, not UserCF"),
        (lambda: split_ratings(None), "ratings must be a DataFrame"),
        (lambda: masked_mse_loss(np.eye(3), np.eye(3)), "must be tensors"),
        (lambda: masked_rmse_loss(torch.eye(3), torch.eye(4)), "one shape"),
    ],
)
def test_things_of_another_kind_are_refused_in_a_sentence(use, words):
    with pytest.raises((TypeError, ValueError), match=words):
        use()


# Scores that are remembered


def swapped(frame):
    return frame.set_axis(["movie_id", "user_id", *list(frame)[2:]], axis=1)


def as_objects(frame):
    return frame.astype(object)


def as_texts(frame):
    return frame.astype(str).astype(object)


def in_polars(frame):
    return pytest.importorskip("polars").from_pandas(frame)


def with_dates(frame, unit):
    return frame.assign(date=np.arange(len(frame)).astype(f"M8[{unit}]"))


@pytest.mark.parametrize(
    "change, other",
    [
        (None, swapped),
        (in_polars, lambda frame: in_polars(swapped(frame))),
        (as_objects, as_texts),
        (lambda frame: with_dates(frame, "D"), lambda frame: with_dates(frame, "h")),
        (lambda frame: frame.assign(y=0), lambda frame: frame.assign(y=1)),
        (None, lambda frame: frame.assign(age=1)),
    ],
    ids=["names", "names of Polars", "objects", "units of dates", "a column y", "another column"],
)
def test_a_score_of_other_ratings_is_not_remembered(change, other):
    ratings = some()
    pairs, y = ratings[["user_id", "movie_id"]], ratings["rating"]
    before, after = (pairs if made is None else made(pairs) for made in (change, other))
    assert ratings_fingerprint(before, y) == ratings_fingerprint(before, y.to_numpy())
    assert ratings_fingerprint(before, y) != ratings_fingerprint(after, y)


def test_a_remembered_score_is_the_score(tmp_path):
    ratings = some()
    pairs, y = ratings[["user_id", "movie_id"]], ratings["rating"]
    scores = []
    for X in (pairs, swapped(pairs)):
        models = (CachedScore(BaselinePredictor(1, 20), memory) for memory in (tmp_path, None))
        kept, alone = (model.fit(X[:200], y[:200]).score(X[200:], y[200:]) for model in models)
        assert kept == alone
        scores.append(kept)
    assert scores[0] != scores[1]
    turned = pd.Series(y[:200].to_numpy(), y.index[:200][::-1])
    with pytest.raises(ValueError, match="different orders"):
        CachedScore(BaselinePredictor(1, 20), tmp_path).fit(pairs[:200], turned).score(pairs, y)


@pytest.mark.parametrize("day", ["-4000-01-01", "1700-01-01", "9999-12-31"])
def test_a_model_of_far_dates_can_be_saved(day, tmp_path):
    ratings = some(8, 6, 30).assign(date=np.datetime64(day, "s"))
    model = GibbsFactorization(2, time=True, n_chains=1, n_sweeps=4, random_state=0).fit(ratings)
    again = GibbsFactorization.load(model.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.predict(ratings), model.predict(ratings))


def test_a_date_that_no_model_can_hold_is_refused_before_the_training():
    dates = np.array([0, 2**62, -(2**62)]).astype("M8[s]")
    with pytest.raises(ValueError, match="row 1: .* is not a date of the years"):
        time_facts(np.zeros(3, int), dates)
