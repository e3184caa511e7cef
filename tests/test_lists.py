"Lists: what judges them against scikit-learn, what orders them against the formula."

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from sklearn.metrics import ndcg_score

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.estimators._watching import Interest, choose, learn_watching


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(150, 90, 4000, random_state=5)


def test_ndcg_is_that_of_scikit_learn(data):
    model = BaselinePredictor().fit(data.train)
    row = evaluate_lists({"biases": model}, data).loc["biases"]
    liked = data.test[data.test["rating"] >= 4]
    known = data.train.groupby("user_id")["movie_id"].agg(set)
    gains, recalls = [], []
    for user, movies in liked.groupby("user_id")["movie_id"]:
        left = [movie for movie in model.movie_ids_ if movie not in known[user]]
        listed = model.recommend(user)["movie_id"].tolist()
        score = [-listed.index(movie) if movie in listed else -99 for movie in left]
        relevant = np.isin(left, movies)
        gains.append(ndcg_score([relevant], [score], k=10))
        recalls.append(len(set(listed) & set(movies)) / min(10, len(movies)))
    assert row["ndcg"] == pytest.approx(np.mean(gains))
    assert row["recall"] == pytest.approx(np.mean(recalls))


def test_a_list_that_knows_the_answer_is_perfect_and_one_of_nothing_finds_nothing(data):
    liked = data.test[data.test["rating"] >= 4].sort_values("user_id")
    rows = evaluate_lists({"oracle": liked, "nothing": liked.head(0)}, data)
    assert rows.loc["oracle", ["recall", "ndcg"]].tolist() == [1, 1]
    assert rows.loc["nothing", ["recall", "ndcg", "coverage"]].tolist() == [0, 0, 0]
    assert rows.loc["random", "coverage"] > rows.loc["popularity", "coverage"]
    with pytest.raises(ValueError, match="6 stars or more"):
        evaluate_lists({}, data, relevant_from=6)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ([1, 2, 3, 4], "movie 1 that its user has rated in train"),
        ([3, 3, 3, 4], "movie 3 twice"),
        ([9, 2, 3, 4], "movie 9 that is not in train"),
    ],
)
def test_a_list_of_what_was_seen_or_is_unknown_or_twice_is_refused(wrong, words):
    rated = [("ann", 1), ("bob", 1), ("bob", 2), ("cy", 2), ("cy", 3), ("cy", 4)]
    train = pd.DataFrame(rated, columns=["user_id", "movie_id"]).assign(rating=3.0)
    test = pd.DataFrame({"user_id": ["ann", "bob"], "movie_id": [2, 3], "rating": 5.0})
    titles = pd.DataFrame({"movie_id": [], "year": [], "title": []})
    small = RatingData.from_splits(train, test, titles)
    lists = pd.DataFrame({"user_id": ["ann", "ann", "bob", "bob"], "movie_id": [3, 2, 3, 4]})
    evaluate_lists({"right": lists}, small, n=2)
    with pytest.raises(ValueError, match=words):
        evaluate_lists({"wrong": lists.assign(movie_id=wrong)}, small, n=2)


def shown_or_chosen(chosen: bool, seed: int):
    "Ratings of people who see only what they like, or whatever they are shown."
    rng = np.random.default_rng(seed)
    taste = rng.normal(size=(300, 2)) @ rng.normal(size=(2, 60)) + rng.normal(size=60)
    noise = rng.gumbel(size=taste.shape)
    seen = np.argsort(taste * chosen + noise, axis=1)[:, -20:]
    u, i = np.repeat(np.arange(300), 20), seen.ravel()
    stars = np.clip(np.round(3 + taste[u, i] / 2 + rng.normal(0, 0.3, len(u))), 1, 5)
    return csr_matrix((stars, (u, i)), taste.shape)


def test_stars_weigh_more_where_people_rate_what_they_are_shown():
    chosen, shown = (choose(shown_or_chosen(case, 0))[1] for case in (True, False))
    assert chosen < shown and shown >= 1


def test_the_weight_does_not_depend_on_the_scale():
    R = shown_or_chosen(True, 1)
    tenfold, shifted = R * 10, R.copy()
    shifted.data = shifted.data - 3  # stars below 0, and of 0
    assert choose(R) == choose(tenfold) == choose(shifted)
    assert Interest(R).per_star == pytest.approx(10 * Interest(tenfold).per_star)


def test_movies_that_are_not_affordable_have_the_least_chance(monkeypatch):
    R = shown_or_chosen(True, 2)
    free = 2 * 8 * 30**2, "in this test"
    monkeypatch.setattr("thu_big_data_ml.estimators._watching.free_memory", lambda: free)
    (watching,) = learn_watching(R, 100)
    counts = np.bincount(R.indices, minlength=60)
    out = np.setdiff1d(np.arange(60), watching.kept)
    assert 20 < len(watching.kept) <= 30
    assert counts[watching.kept].min() >= counts[out].max()
    assert (watching.chance(R)[:, out] == np.float32(1 / 300)).all()


def test_lists_follow_ratings_that_come_after_the_fit(data):
    model = BaselinePredictor().fit(data.train)
    user = data.train["user_id"].iloc[0]
    before = model.recommend(user)
    first = before["movie_id"].iloc[:1]
    model.fold_in(pd.DataFrame(dict(user_id=user, movie_id=first, rating=5.0)))
    after = model.recommend(user)
    assert first[0] not in set(after["movie_id"]) and not after.equals(before)
    kept = model._interest
    model.partial_fit(pd.DataFrame(dict(user_id=user, movie_id=after["movie_id"][:1], rating=1.0)))
    assert after["movie_id"][0] not in set(model.recommend(user)["movie_id"])
    assert model._interest is not kept
