"A checkerboard: two kinds of users, two kinds of movies, each likes its own. Everyone knows it."

import copy

import numpy as np
import pandas as pd
import pytest
from models import estimators, misses, unlike
from sklearn.base import clone

n = 40  # users, and movies; the even ones are of one kind, the odd ones of the other


@pytest.fixture(scope="module")
def board():
    "Ratings of 4/5 of the cells, and the other cells with what they hold: 5 or 1."
    users, movies = (cells.ravel() for cells in np.indices((n, n)))
    rating = np.where(users % 2 == movies % 2, 5.0, 1.0)
    rng = np.random.default_rng(0)
    dates = pd.Timestamp("2005-01-01") + pd.to_timedelta(rng.integers(0, 300, n * n), "D")
    cells = pd.DataFrame(dict(user_id=users, movie_id=movies, rating=rating, date=dates))
    known = (users + 3 * movies) % 5 > 0
    return cells[known].reset_index(drop=True), cells[~known].reset_index(drop=True)


@pytest.fixture(scope="module", params=estimators)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def fitted(name, board):
    return clone(estimators[name]).fit(board[0])


def test_the_board_is_balanced(board):
    "Nothing but taste tells a 5 from a 1: neither how many rated, nor the mean of a user or movie."
    known, hidden = board
    for by in ("user_id", "movie_id"):
        assert known[by].value_counts().nunique() == 1
        assert known.groupby(by)["rating"].mean().tolist() == [3] * n
    assert hidden["rating"].value_counts().nunique() == 1


def test_hidden_cells_are_predicted(name, fitted, board):
    hidden = board[1]
    prediction = fitted.predict(hidden.drop(columns="rating"))
    assert np.abs(prediction - hidden["rating"]).max() < misses.get(name, 0.5)
    if name == "biases":
        np.testing.assert_allclose(prediction, 3, atol=1e-6)


def test_everyone_is_recommended_their_own_kind(name, fitted, board):
    hidden = board[1]
    for user in range(n):
        cells = hidden[hidden["user_id"] == user]
        table = fitted.recommend(user, n=n)
        assert set(table["movie_id"]) == set(cells["movie_id"])
        own = set(cells.loc[cells["rating"] == 5, "movie_id"])
        if name != "biases":
            assert set(table["movie_id"].head(len(own))) == own


def test_the_similar_are_of_the_same_kind(name, fitted):
    if name in unlike:
        pytest.skip("it has no such factors")
    assert (fitted.similar_users(6, n // 2 - 1)["user_id"] % 2 == 0).all()
    assert (fitted.similar_movies(7, n // 2 - 1)["movie_id"] % 2 == 1).all()


def test_a_new_user_of_three_ratings_is_of_a_kind_at_once(name, fitted, board):
    "The biases see no difference; whoever sees one lists the user's own kind first."
    gave = pd.DataFrame(dict(user_id=n, movie_id=[0, 2, 5], rating=[5.0, 5, 1], date="2005-06-01"))
    model = copy.copy(fitted).fold_in(gave)
    table = model.recommend(n, n=n, by="rating")
    own = table["movie_id"] % 2 == 0
    if name == "biases":
        assert table["prediction"].nunique() == 1
    else:
        assert own.head(n // 2 - 2).all() and len(table) == n - 3
