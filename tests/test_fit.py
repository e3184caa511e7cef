"Fitting: all or nothing, from any frame, with any seed; and what a fitted model keeps."

import signal

import numpy as np
import pandas as pd
import pytest
from models import estimators
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from thu_big_data_ml import (
    BaselinePredictor,
    MatrixFactorizationRegressor,
    UserCF,
    synthetic_ratings,
)
from thu_big_data_ml.estimators._checkpoints import Interrupted, noted_interrupts


@pytest.fixture(params=estimators)
def estimator(request):
    return clone(estimators[request.param])


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(60, 40, 1000, random_state=3)


def test_a_fit_that_raises_leaves_the_model_unfitted(estimator, data, monkeypatch):
    estimator.fit(data.train)

    def fail(*args):
        raise MemoryError("in the middle")

    monkeypatch.setattr(type(estimator), "_fit", fail)
    with pytest.raises(MemoryError, match="in the middle"):
        estimator.fit(data.train.head(200))
    assert not [name for name in vars(estimator) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        estimator.predict(data.test)


def test_bad_ratings_leave_the_model_unfitted(estimator, data):
    estimator.fit(data.train)
    with pytest.raises(ValueError, match="rows"):
        estimator.fit(data.train.assign(rating=np.nan))
    with pytest.raises(NotFittedError):
        estimator.recommend(1)


def test_parameters_set_after_the_fit_wait_for_the_next_one(estimator, data, tmp_path):
    before = estimator.fit(data.train).predict(data.test)
    saved = estimator.get_params()
    for name, value in dict(
        damping=0.5, n_neighbors=2, shrinkage=50, n_factors=1, regularization=1e3, above=1
    ).items():
        if name in saved:
            estimator.set_params(**{name: value})
    np.testing.assert_array_equal(estimator.predict(data.test), before)
    again = type(estimator).load(estimator.save(tmp_path / "model.npz"))
    np.testing.assert_array_equal(again.predict(data.test), before)
    names = [name for name, value in saved.items() if isinstance(value, (int, float, str))]
    assert {name: again.get_params()[name] for name in names} == {n: saved[n] for n in names}


def test_a_generator_seeds_each_fit_anew_and_a_number_the_same(data):
    model = MatrixFactorizationRegressor(2, n_epochs=5, device="cpu")
    predictions = {
        name: [
            clone(model).set_params(random_state=state).fit(data.train).predict(data.test)
            for _ in range(2)
        ]
        for name, state in {
            "number": 3,
            "numpy number": np.int64(3),
            "RandomState": np.random.RandomState(3),
            "Generator": np.random.default_rng(3),
        }.items()
    }
    np.testing.assert_array_equal(*predictions["number"])
    np.testing.assert_array_equal(predictions["number"][0], predictions["numpy number"][1])
    generator = np.random.default_rng(3)
    model.set_params(random_state=generator)
    first = model.fit(data.train).predict(data.test)
    assert (model.fit(data.train).predict(data.test) != first).any()
    assert isinstance(model.seed_, int)
    for wrong in ("seven", 0.5, -1):
        with pytest.raises(ValueError, match="random_state"):
            model.set_params(random_state=wrong).fit(data.train)


def test_a_model_seeded_by_an_object_is_saved_with_its_number(data, tmp_path):
    model = MatrixFactorizationRegressor(
        2, n_epochs=5, device="cpu", random_state=np.random.RandomState(0)
    ).fit(data.train)
    again = type(model).load(model.save(tmp_path / "model.npz"))
    assert again.get_params()["random_state"] == model.seed_


def test_frames_of_other_libraries_go_in_by_the_names_of_their_columns(data):
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    columns = ["date", "rating", "movie_id", "user_id"]
    expected = BaselinePredictor().fit(data.train).predict(data.test)
    for make in (polars.DataFrame, pyarrow.table):
        frames = (data.train, data.test)
        frames = (frame.astype({"date": "datetime64[ms]"}) for frame in frames)
        train, test = (make({n: frame[n].to_numpy() for n in columns}) for frame in frames)
        np.testing.assert_array_equal(BaselinePredictor().fit(train).predict(test), expected)


def test_names_that_files_use_are_known(data):
    names = dict(user_id="userId", movie_id="item", rating="stars", date="timestamp")
    renamed = data.train.rename(columns=names)
    expected = BaselinePredictor().fit(data.train).predict(data.test)
    model = BaselinePredictor().fit(renamed)
    np.testing.assert_array_equal(model.predict(data.test.rename(columns=names)), expected)
    with pytest.raises(ValueError, match="'Item' and 'movie' both mean movie_id"):
        model.fit(pd.DataFrame(dict(user_id=[1], Item=[1], movie=[2], rating=[3.0])))


def test_movies_are_found_by_title(data):
    movies = data.movies.assign(
        title=["Heat", "Heat", *data.movies["title"][2:]], year=[1995, 1972, *[2000] * 38]
    )
    model = BaselinePredictor().fit(data.train, movies=movies)
    ids = data.movies["movie_id"]
    for title, movie in {"Heat (1972)": ids[1], "Synthetic movie 5": ids[4]}.items():
        pd.testing.assert_frame_equal(model.similar_movies(title), model.similar_movies(movie))
        assert model.explain(1, title).equals(model.explain(1, movie))
    with pytest.raises(KeyError, match="Several movies are called 'Heat'"):
        model.similar_movies("Heat")
    with pytest.raises(KeyError, match="Did you mean 'Synthetic movie 5"):
        model.similar_movies("synthetic movie 5")
    untitled = BaselinePredictor().fit(data.train)
    with pytest.raises(TypeError, match="texts"):
        untitled.similar_movies("Heat (1972)")


def test_ctrl_c_waits_for_the_end_of_an_epoch_and_says_how_to_continue():
    with noted_interrupts() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted
        with pytest.raises(KeyboardInterrupt):  # the second one is raised at once
            signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    with noted_interrupts(active=False), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    said = str(Interrupted("7 epochs", "file.npz", kept="7 epochs"))
    assert "after 7 epochs; nothing is lost" in said and "checkpoint='file.npz'" in said


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_titles_of_other_libraries_are_found(data, library):
    module = pytest.importorskip(library)
    movies = pd.DataFrame({"movieId": "m" + data.movies["movie_id"].astype(str)})
    movies["title"] = data.movies["title"].to_numpy()
    columns = {name: movies[name].tolist() for name in movies}
    make = module.DataFrame if library == "polars" else module.table
    train = data.train.assign(movie_id="m" + data.train["movie_id"].astype(str))
    model = BaselinePredictor().fit(train, movies=make(columns))
    assert model.titles_.tolist() == BaselinePredictor().fit(train, movies=movies).titles_.tolist()
    assert model.recommend(1, n=1)["title"][0].startswith("Synthetic movie")


def test_titles_that_cannot_be_used_are_named(data):
    texts = data.movies.assign(movie_id=data.movies["movie_id"].astype(str))
    cases = (
        ({1: "Heat"}, "not dict"),
        (data.movies[["title"]], "without movie_id"),
        (texts, "texts"),
    )
    for movies, message in cases:
        with pytest.raises(TypeError, match=message):
            BaselinePredictor().fit(data.train, movies=movies)


def test_settings_of_the_wrong_type_are_named(data):
    for scale in ((5, 1), "1-5", (1, 2, 3), 5):
        with pytest.raises(ValueError, match="rating_scale must be"):
            BaselinePredictor(rating_scale=scale).fit(data.train)
    BaselinePredictor(rating_scale=np.array([1, 5])).fit(data.train)
    for name in ("bias", "implicit"):
        with pytest.raises(ValueError, match=f"{name} must be True or False, not 'no'"):
            MatrixFactorizationRegressor(**{name: "no"}).fit(data.train)
    with pytest.raises(ValueError, match="exclude_self must be True or False"):
        UserCF(exclude_self="no").fit(data.train)
    with pytest.raises(ValueError, match="n must be a whole number"):
        BaselinePredictor().fit(data.train).recommend(1, n=2.5)
    pairs = data.train[["user_id", "movie_id"]]
    with pytest.raises(ValueError, match="shape"):
        BaselinePredictor().fit(pairs, np.c_[data.train["rating"], data.train["rating"]])
