"Figures of ratings and of splits: each bar, line and cell against a count by hand."

import numpy as np
import pandas as pd
import pytest

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *


@pytest.fixture
def ratings():
    dates = pd.to_datetime(["2001-01-05", "2001-02-01", "2001-05-01", "2001-05-02", "2001-12-31"])
    return pd.DataFrame(
        dict(
            user_id=[1, 1, 1, 2, 3],
            movie_id=[10, 20, 30, 10, 10],
            rating=[4, 4, 3, 3.5, 0.5],
            date=dates,
        )
    )


def test_bars_are_the_shares_of_whole_and_of_half_stars(ratings):
    whole, half = plot_ratings(ratings).data
    assert (list(whole.x), list(whole.y)) == ([3, 4], [20, 40])
    assert (list(half.x), list(half.y)) == ([0.5, 3.5], [20, 20])


def test_lines_rank_users_and_movies(ratings):
    users, movies = plot_ratings(ratings, by="activity").data
    assert (list(users.x), list(users.y)) == ([1, 2, 3], [3, 1, 1])
    assert (list(movies.x), list(movies.y)) == ([1, 2, 3], [3, 1, 1])
    assert "users" in "".join(users.text) and "movies" in "".join(movies.text)


def test_ratings_are_counted_by_quarter_and_by_year_from_ten_years_on(ratings):
    whole, half, mean = plot_ratings(ratings, by="date").data
    assert (list(whole.y), list(half.y)) == ([2, 1], [1, 1])
    assert not len(mean.x)  # fewer than 30 ratings a quarter
    many = pd.concat([ratings] * 20, ignore_index=True)
    many.loc[0, "date"] = pd.Timestamp("1990-06-01")
    whole, half, mean = plot_ratings(many, by="date").data
    assert pd.to_datetime(list(mean.x)).year.tolist() == [2001]
    late = many["rating"][1:].astype(float)
    assert mean.y[0] == pytest.approx(late.mean(), abs=0.001)
    assert mean.error_y.array[0] == pytest.approx(late.sem(), abs=0.001)


def test_ratings_without_dates_are_left_out(ratings):
    ratings.loc[4, "date"] = pd.NaT
    whole, half, _ = plot_ratings(ratings, by="date").data
    assert sum(whole.y) + sum(half.y) == 4


def test_a_panel_shows_what_is_hidden(ratings):
    split = ratings[:4], ratings[4:]
    cells = np.array(plot_splits({"by time": split}).data[0].z, float)
    assert np.array_equal(cells, [[0, 0, 0], [0, np.nan, np.nan], [1, np.nan, np.nan]], True)
    fig = plot_splits({"a": split, "b": split}, n_users=2, n_movies=1)
    panels = [np.array(trace.z, float).tolist() for trace in fig.data if trace.type == "heatmap"]
    assert panels == [[[0], [1]]] * 2  # the first user and the last


@pytest.mark.parametrize(
    "call",
    [
        lambda ratings: plot_ratings(ratings, by="mood"),
        lambda ratings: plot_ratings(ratings[["user_id"]]),
        lambda ratings: plot_ratings(ratings[:0]),
        lambda ratings: plot_ratings([1, 2]),
        lambda ratings: plot_splits({}),
        lambda ratings: plot_splits({"a": (ratings, ratings[["rating"]])}),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(ratings, call):
    with pytest.raises((TypeError, ValueError), match="must be|no column|no ratings"):
        call(ratings)
