"Small inputs that gave wrong answers in silence; those that still do are expected to fail."

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import cross_val_score

from thu_big_data_ml import (
    ALSFactorization,
    BaselinePredictor,
    MatrixFactorizationRegressor,
    UserCF,
    load_ratings,
    rmse,
)


def trust(reason: str):
    return pytest.mark.xfail(strict=True, reason=f"trust: {reason}")


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


@trust("lists are ordered by predicted stars, whatever the evidence")
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
