"Searches that are honest, can be interrupted, and never do the same thing twice."

from functools import partial

import numpy as np
import pandas as pd
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    ShuffleSplit,
    cross_val_score,
)

import thu_big_data_ml.evaluation.tuning as tuning
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.estimators._training_set import LaidOut
from thu_big_data_ml.estimators.baseline import BaselinePredictor
from thu_big_data_ml.evaluation.tuning import (
    CachedScore,
    one_standard_error,
    plot_search,
    repeated_splits,
    search_parameters,
    search_progress,
    search_results,
)
from thu_big_data_ml.factorization.matrix_factorization import MatrixFactorizationRegressor
from thu_big_data_ml.factorization.sgd import SGDFactorization
from thu_big_data_ml.neighbors.correction import NeighborCorrected


class Watched(BaselinePredictor):
    "Notes what it learns from and what it is asked, and blows its fuse before a given fit."

    learned, asked, fuse = [], [], None

    def fit(self, X, y=None):
        if len(self.learned) == self.fuse:
            raise KeyboardInterrupt
        self.learned.append(pairs(X))
        return super().fit(X, y)

    def predict(self, X, **options):
        self.asked.append(pairs(X))
        return super().predict(X, **options)


def pairs(X):
    "Of a table, or of ratings that are laid out already."
    if isinstance(X, LaidOut):
        u, i = X.R.nonzero()
        return set(zip(X.user_ids[u], X.movie_ids[i]))
    return set(zip(X["user_id"], X["movie_id"]))


@pytest.fixture
def watched():
    Watched.learned, Watched.asked, Watched.fuse = [], [], None
    return Watched()


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(120, 80, 3000, random_state=3)


grid = dict(user_damping=[0.1, 10], movie_damping=[1, 100])  # 4 candidates on 5 folds: 20 fits


def test_no_test_rating_takes_part_and_folds_are_disjoint(watched, data, tmp_path):
    search_parameters(watched, grid, data.train, memory=tmp_path)
    train, test = pairs(data.train), pairs(data.test)
    assert len(Watched.learned) == len(Watched.asked) == 20 and not train & test
    for learned, asked in zip(Watched.learned, Watched.asked):
        assert learned | asked == train and not learned & asked and not (learned | asked) & test
    # each rating is checked once by each candidate
    assert sum(map(len, Watched.asked)) == 4 * len(train)


def test_an_interrupted_search_continues(watched, data, tmp_path):
    Watched.fuse = 7
    with pytest.raises(KeyboardInterrupt):
        search_parameters(watched, grid, data.train, memory=tmp_path)
    assert len(Watched.learned) == 7
    Watched.fuse = None
    continued = search_parameters(watched, grid, data.train, memory=tmp_path)
    assert len(Watched.learned) == 20
    undisturbed = search_parameters(watched, grid, data.train, memory=None)
    assert len(Watched.learned) == 40
    for split in range(5):
        np.testing.assert_array_equal(
            continued.cv_results_[f"split{split}_test_score"],
            undisturbed.cv_results_[f"split{split}_test_score"],
        )


def test_a_wider_grid_fits_only_what_is_new(watched, data, tmp_path):
    search_parameters(watched, grid, data.train, memory=tmp_path)
    wider = search_parameters(
        watched, grid | dict(user_damping=[0.1, 3, 10]), data.train, memory=tmp_path
    )
    assert len(Watched.learned) == 20 + 2 * 5 and len(search_results(wider)) == 6
    search_parameters(
        watched, grid, data.train, search=RandomizedSearchCV, n_iter=4, memory=tmp_path
    )
    assert len(Watched.learned) == 30  # another way of searching meets the same scores


def test_other_ratings_folds_or_code_are_measured_anew(watched, data, tmp_path, monkeypatch):
    one = dict(user_damping=[1])
    search_parameters(watched, one, data.train, memory=tmp_path)
    changed = data.train.assign(
        rating=data.train["rating"].where(data.train.index != 4, 6 - data.train["rating"])
    )
    for number, (ratings, options) in enumerate(
        [(changed, {}), (data.train, dict(random_state=1)), (data.train, dict(n_splits=4))]
    ):
        before = len(Watched.learned)
        search_parameters(watched, one, ratings, memory=tmp_path, **options)
        assert len(Watched.learned) == before + (4 if number == 2 else 5)
    before = len(Watched.learned)
    monkeypatch.setattr(tuning, "code_fingerprint", lambda: "another version")
    search_parameters(watched, one, data.train, memory=tmp_path)
    assert len(Watched.learned) == before + 5


def test_scores_are_those_of_scikit_learn(data, tmp_path):
    search = search_parameters(BaselinePredictor(), grid, data.train, memory=tmp_path)
    X, y, folds = (
        data.train.drop(columns="rating"),
        data.train["rating"],
        KFold(5, shuffle=True, random_state=0),
    )
    for row in search_results(search).to_dict("records"):
        direct = -cross_val_score(
            BaselinePredictor(row["user_damping"], row["movie_damping"]),
            X,
            y,
            cv=folds,
            scoring="neg_root_mean_squared_error",
        )
        assert row["rmse"] == pytest.approx(direct.mean()) and row[
            "standard_error"
        ] == pytest.approx(direct.std(ddof=1) / 5**0.5)
        assert row["fit_seconds"] > 0
    best = BaselinePredictor(
        **{name.removeprefix("estimator__"): value for name, value in search.best_params_.items()}
    ).fit(data.train)
    np.testing.assert_array_equal(search.predict(data.test), best.predict(data.test))
    assert search_results(search)["rmse"].is_monotonic_increasing


def test_in_parallel_the_same_comes_out(data, tmp_path):
    model, grid = SGDFactorization(n_epochs=5, random_state=0), dict(n_factors=[2, 4])
    alone = search_parameters(model, grid, data.train, n_splits=3, memory=None)
    together = search_parameters(model, grid, data.train, n_splits=3, n_jobs=2, memory=tmp_path)
    np.testing.assert_allclose(
        alone.cv_results_["mean_test_score"], together.cv_results_["mean_test_score"], atol=1e-6
    )


def test_halving_by_a_parameter_and_by_ratings(watched, data, tmp_path):
    options = dict(search=HalvingGridSearchCV, factor=2, n_splits=3, memory=tmp_path)
    by_epochs = search_parameters(
        SGDFactorization(random_state=0),
        dict(n_factors=[1, 2, 4, 8]),
        data.train,
        resource="n_epochs",
        max_resources=8,
        **options,
    )
    assert by_epochs.n_resources_ == [2, 4, 8] and set(search_results(by_epochs)["n_epochs"]) == {
        2,
        4,
        8,
    }
    by_ratings = search_parameters(
        watched, grid, data.train, random_state=0, min_resources=600, **options
    )
    assert all(len(p) in (399, 400) for p in Watched.learned[:12]) and by_ratings.n_candidates_ == [
        4,
        2,
    ]
    search_parameters(watched, grid, data.train, random_state=0, min_resources=600, **options)
    assert len(Watched.learned) == 12 + 6


results = {
    "param_estimator__n_factors": np.ma.array([2, 4, 4, 8, 16], dtype=object),
    "mean_test_score": np.array([-0.93, -0.912, -0.909, -0.905, -0.90]),
    "std_test_score": np.array([1, 1, 1, 1, 0.02]),
    "split0_test_score": [],
    "split1_test_score": [],
    "split2_test_score": [],
    "split3_test_score": [],
    "split4_test_score": [],
}


def test_one_standard_error_by_hand():
    # The best is the last, at 0.90 with a standard error of 0.02 / sqrt(5 - 1) = 0.01: up to 0.91
    # is as good. Of ranks 4, 8 and 16 the fewest factors is 4.
    assert one_standard_error(results) == 2
    assert one_standard_error(results | dict(std_test_score=np.zeros(5))) == 4
    assert one_standard_error(results | dict(std_test_score=np.ones(5))) == 0
    assert (
        one_standard_error(results | dict(std_test_score=np.full(5, 0.03))) == 2
    )  # both of rank 4 are as good: the better one
    assert (
        one_standard_error(
            results | dict(mean_test_score=np.array([-0.93, -0.912, -0.909, -0.905, np.nan]))
        )
        == 0
    )  # rank 8 is then the best, and its error is 0.5
    with pytest.raises(KeyError, match="n_neighbors"):
        one_standard_error(results, "n_neighbors")
    with pytest.raises(ValueError, match="NaN"):
        one_standard_error(results | dict(mean_test_score=np.full(5, np.nan)))


def test_the_search_takes_the_rule(data, tmp_path):
    model = SGDFactorization(n_epochs=10, random_state=0)
    search = search_parameters(
        model,
        dict(n_factors=[1, 4], regularization=[8, 1000]),
        data.train,
        n_splits=3,
        memory=tmp_path,
        refit=partial(one_standard_error, complexity="n_factors"),
    )
    assert search.best_index_ == one_standard_error(search.cv_results_)
    assert search.best_estimator_.estimator.n_factors == search.best_params_["estimator__n_factors"]


def test_errors_are_not_swallowed(data, tmp_path):
    with pytest.raises(ValueError, match="n_factors"):
        search_parameters(
            MatrixFactorizationRegressor(), dict(n_factors=[0]), data.train, memory=tmp_path
        )
    with pytest.raises(ValueError, match="no_such"):
        search_parameters(BaselinePredictor(), dict(no_such=[0]), data.train, memory=tmp_path)
    for ask in (
        CachedScore(BaselinePredictor()).predict,
        lambda X: CachedScore(BaselinePredictor()).score(X, X["rating"]),
    ):
        with pytest.raises(NotFittedError):
            ask(data.test)


def test_a_diverging_candidate_is_ranked_last(data, tmp_path):
    model = MatrixFactorizationRegressor(n_epochs=5, random_state=0, device="cpu")
    with pytest.warns(UserWarning, match="non-finite"):
        search = search_parameters(
            model, dict(learning_rate=[1e30, 0.02]), data.train, n_splits=2, memory=tmp_path
        )
    assert search.best_params_ == dict(estimator__learning_rate=0.02) and np.isnan(
        search.cv_results_["mean_test_score"][0]
    )
    with (
        pytest.warns(UserWarning, match="non-finite"),
        pytest.raises(FloatingPointError, match="nothing to choose"),
    ):
        search_parameters(
            model, dict(learning_rate=[1e30]), data.train, n_splits=2, memory=tmp_path
        )


def test_parameters_of_an_estimator_within(watched, data, tmp_path):
    model = NeighborCorrected(watched, n_neighbors=5, validation_fraction=0)
    options = dict(n_splits=2, memory=tmp_path)
    nested = dict(estimator__user_damping=[0.1, 10], n_neighbors=[2, 5])
    search = search_parameters(model, nested, data.train, **options)
    assert set(nested) < set(search_results(search)) and len(Watched.learned) == 4 * 2
    search_parameters(model, nested, data.train, **options)
    assert len(Watched.learned) == 4 * 2  # remembered
    other = NeighborCorrected(BaselinePredictor(), n_neighbors=5, validation_fraction=0)
    parts = [(part, part["rating"]) for part in (data.train, data.test)]
    kinds = [tuning._score_key(m, *parts) for m in (model, other)]
    assert kinds[0] != kinds[1]  # the same parameters of another class
    wide = dict(estimator__user_damping=[0.1, 10], n_neighbors=[2, 5, 8])
    search_parameters(model, wide, data.train, **options)
    assert len(Watched.learned) == 6 * 2


def test_the_progress_bar_counts_fits(data, tmp_path, capsys):
    with search_progress() as bar:
        search_parameters(BaselinePredictor(), grid, data.train, memory=tmp_path)
        assert bar.n == 20
        options = dict(search=HalvingGridSearchCV, factor=2, n_splits=3, n_jobs=2)
        halved = search_parameters(BaselinePredictor(), grid, data.train, memory=None, **options)
        assert bar.n == 20 + 3 * sum(halved.n_candidates_)  # another search, in other processes
    search_parameters(BaselinePredictor(), grid, data.train, memory=tmp_path, verbose=True)
    assert "20fit" in capsys.readouterr().err


def test_repeated_splits_by_hand(data, tmp_path):
    models = {"damped": BaselinePredictor(), "loose": BaselinePredictor(0, 0)}
    table = repeated_splits(
        models, data.train, n_splits=3, test_size=0.25, random_state=1, memory=tmp_path
    )
    X, y, splits = (
        data.train.drop(columns="rating"),
        data.train["rating"],
        ShuffleSplit(3, test_size=0.25, random_state=1),
    )
    a, b = (
        -cross_val_score(model, X, y, cv=splits, scoring="neg_root_mean_squared_error")
        for model in models.values()
    )
    widen = (1 / 3 + 0.25 / 0.75) ** 0.5
    expected = [
        [a.mean(), widen * a.std(ddof=1), 0, 0],
        [b.mean(), widen * b.std(ddof=1), (b - a).mean(), widen * (b - a).std(ddof=1)],
    ]
    pd.testing.assert_frame_equal(table, pd.DataFrame(expected, table.index, table.columns))


def test_the_figure_of_a_search_names_its_lines_and_marks_the_choice():
    table = pd.DataFrame(dict(n_factors=[2, 4, 2, 4, 4], regularization=[1, 1, 9, 9, 9]))
    table = table.assign(rmse=[0.9, 0.8, 0.95, 0.94, 1.5], standard_error=0.01)
    fig = plot_search(table, chosen=0)
    low, best, ring = fig.data
    assert (low.name, best.name) == ("9", "1") and best.error_y.visible and not low.error_y.visible
    assert list(best.x) == ["2", "4"] and list(low.y) == [0.95, 0.94]  # the best where two share
    assert (ring.x, ring.y) == (("2",), (0.9,))
    names = {note.text: note for note in fig.layout.annotations}
    assert names["9"].x == 1 and set(names) == {"9", "1", "penalty λ"}  # at the wider end
    band = fig.layout.shapes[0]
    assert (band.y0, band.y1) == (0.8, pytest.approx(0.81))
    assert {note.text for note in plot_search(table, worst=0.9).layout.annotations} == {
        "1",
        "penalty λ",
    }
    outside = table.assign(rmse=[0.9, 0.8, 0.95, 1.2, 1.5])  # one line ends above the axis
    notes = plot_search(outside, worst=1).layout.annotations
    assert {note.text: note.x for note in notes} == {"1": 0, "9": 0, "penalty λ": 0}
    with pytest.raises(TypeError, match="not a NoneType"):
        plot_search(None)
    with pytest.raises(ValueError, match="no column 'weight_decay'"):
        plot_search(table, "weight_decay")
