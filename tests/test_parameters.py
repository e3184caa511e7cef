"Every parameter of a class means something in that class: it changes the fit, or raises."

import inspect
import warnings

import numpy as np
import pandas as pd
import pytest
from models import estimators
from sklearn.base import clone

from thu_big_data_ml import (
    ALSFactorization,
    BaselinePredictor,
    GibbsFactorization,
    ItemCF,
    MatrixFactorizationRegressor,
    NeighborCorrected,
    SGDFactorization,
    UserCF,
    VariationalFactorization,
    synthetic_ratings,
)

# for each class: an estimator in which everything matters, and another value of each parameter,
# with what else has to be set for it to matter
neighbourhood = dict(
    n_neighbors=3,
    metric="corated",
    center="zscore",
    shrinkage=100,
    min_support=8,
    amplification=2.5,
    damping=2.0,
    negative="keep",
    exclude_self=False,
)
options = dict(regularization_per_rating=2.0, init_scale=0.5, patience=1, refit=False)
adamw_options = options | dict(
    activation="sigmoid",
    dtype="bfloat16",
)
cases = {
    BaselinePredictor: (BaselinePredictor(), dict(user_damping=1, movie_damping=50)),
    UserCF: (UserCF(n_neighbors=9, center="baseline", damping=0.1, device="cpu"), neighbourhood),
    ItemCF: (ItemCF(n_neighbors=9, center="baseline", damping=0.1, device="cpu"), neighbourhood),
    MatrixFactorizationRegressor: (
        MatrixFactorizationRegressor(
            4, n_epochs=20, regularization=2, random_state=0, device="cpu"
        ),
        dict(
            n_factors=2,
            bias=False,
            implicit=False,
            n_epochs=5,
            learning_rate=0.1,
            regularization=20,
            bias_regularization=50,
            implicit_regularization=1,
            weight_decay=5.0,
            batch_size=300,
            validation_fraction=0.3,
            random_state=1,
        ),
    ),
    ALSFactorization: (
        ALSFactorization(4, n_epochs=6, regularization=2, validation_fraction=0, random_state=0),
        dict(
            n_factors=2,
            bias=False,
            n_epochs=1,
            regularization=20,
            bias_regularization=50,
            validation_fraction=0.3,
            random_state=1,
        ),
    ),
    SGDFactorization: (
        SGDFactorization(4, n_epochs=10, regularization=2, random_state=0),
        dict(
            n_factors=2,
            bias=False,
            n_epochs=2,
            learning_rate=0.01,
            learning_rate_decay=0.5,
            regularization=20,
            bias_regularization=50,
            validation_fraction=0.3,
            random_state=1,
        ),
    ),
    GibbsFactorization: (
        GibbsFactorization(2, n_chains=1, n_sweeps=12, random_state=0),
        dict(n_factors=4, implicit=False, time=True, n_chains=2, n_sweeps=20, random_state=1),
    ),
    VariationalFactorization: (
        VariationalFactorization(2, n_sweeps=6, tol=0, random_state=0, device="cpu"),
        dict(n_factors=4, implicit=False, time=True, n_sweeps=12, tol=10.0, random_state=1),
    ),
    NeighborCorrected: (
        NeighborCorrected(BaselinePredictor(), random_state=0),
        dict(
            estimator=BaselinePredictor(user_damping=50),
            n_neighbors=3,
            validation_fraction=0.0,
            random_state=1,
        ),
    ),
}
elsewhere = {  # these have tests of their own, below
    "verbose",
    "device",
    "checkpoint",
    "max_memory",
    "rating_scale",
    "duplicates",
    "train_options",
}
each = [(kind, name) for kind, (_, others) in cases.items() for name in others]
trained = [MatrixFactorizationRegressor, ALSFactorization, SGDFactorization, GibbsFactorization]
on_devices = [UserCF, ItemCF, MatrixFactorizationRegressor, VariationalFactorization]
verbose = [*trained, VariationalFactorization]


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(60, 40, 1200, random_state=3)


@pytest.fixture(scope="module")
def base(data):
    "Predictions of each class at all ratings, fitted once."
    everything = pd.concat([data.train, data.test])
    found = {}

    def predict(kind):
        if kind not in found:
            found[kind] = clone(cases[kind][0]).fit(data.train).predict(everything)
        return found[kind]

    return predict


def test_every_parameter_of_every_class_is_tried():
    kinds = {type(model) for model in estimators.values()}
    assert {kind for kind in kinds if kind.__module__.startswith("thu_big_data_ml.")} == set(cases)
    for kind, (_, others) in cases.items():
        assert set(inspect.signature(kind).parameters) - elsewhere == set(others), kind


@pytest.mark.parametrize("kind, name", each, ids=[f"{k.__name__}-{n}" for k, n in each])
def test_a_parameter_changes_the_fit(kind, name, data, base):
    estimator, others = cases[kind]
    changed = clone(estimator).set_params(**{name: others[name]})
    everything = pd.concat([data.train, data.test])
    assert (changed.fit(data.train).predict(everything) != base(kind)).any()


@pytest.mark.parametrize("kind", trained[:3], ids=lambda kind: kind.__name__)
def test_an_option_of_the_training_changes_the_fit(kind, data):
    everything = pd.concat([data.train, data.test])
    course = kind is MatrixFactorizationRegressor
    model = clone(cases[kind][0]).set_params(n_epochs=60, validation_fraction=0.1)
    if course:
        model.set_params(implicit=False)
    plain = clone(model).fit(data.train)
    for name, value in (adamw_options if course else options).items():
        changed = clone(model).set_params(train_options={name: value}).fit(data.train)
        if name == "patience":
            assert len(changed.history_) < len(plain.history_)
        else:
            assert (changed.predict(everything) != plain.predict(everything)).any(), name
    with pytest.raises(ValueError, match="init_scale"):
        model.set_params(train_options=dict(init_scale=-1)).fit(data.train)


@pytest.mark.parametrize("kind", trained[:3], ids=lambda kind: kind.__name__)
def test_an_option_that_is_not_known_is_refused_by_name(kind, data):
    with pytest.raises(ValueError, match="momentum.*patience"):
        clone(cases[kind][0]).set_params(train_options=dict(momentum=0.9)).fit(data.train)


@pytest.mark.parametrize("kind", cases, ids=lambda kind: kind.__name__)
def test_a_misspelt_parameter_is_a_type_error(kind):
    arguments = {"estimator": BaselinePredictor()} if kind is NeighborCorrected else {}
    with pytest.raises(TypeError, match="n_neighbours"):
        kind(**arguments, n_neighbours=10)


@pytest.mark.parametrize("kind", cases, ids=lambda kind: kind.__name__)
def test_rating_scale_and_duplicates(kind, data):
    model = clone(cases[kind][0])
    with pytest.raises(ValueError, match="scale of 2 to 5"):
        model.set_params(rating_scale=(2, 5)).fit(data.train)
    again = data.train.head(1).assign(rating=6 - data.train["rating"].iloc[0])
    twice = pd.concat([data.train, again], ignore_index=True)
    model.set_params(rating_scale=None)
    with pytest.raises(ValueError, match="both rate"):
        model.fit(twice)
    user, movie = again["user_id"].iloc[0], again["movie_id"].iloc[0]
    for choice, expected in (("last", again["rating"].iloc[0]), ("mean", 3.0)):
        model.set_params(duplicates=choice).fit(twice)
        at = model.user_ids_.tolist().index(user), model.movie_ids_.tolist().index(movie)
        assert model.matrix_[at] == expected
    with pytest.raises(ValueError, match="duplicates"):
        model.set_params(duplicates="first").fit(twice)


@pytest.mark.parametrize("kind", verbose, ids=lambda kind: kind.__name__)
def test_verbose_shows_progress_and_silence_is_silent(kind, data, capsys):
    model = clone(cases[kind][0])
    model.fit(data.train)
    assert capsys.readouterr().err == ""
    model.set_params(verbose=True).fit(data.train)
    assert "100%" in capsys.readouterr().err or kind is ALSFactorization


@pytest.mark.parametrize("kind", trained, ids=lambda kind: kind.__name__)
def test_a_checkpoint_is_written_and_taken_up(kind, data, tmp_path):
    model = clone(cases[kind][0]).set_params(checkpoint=tmp_path / "training.npz")
    expected = clone(cases[kind][0]).fit(data.train).predict(data.test)
    np.testing.assert_array_equal(model.fit(data.train).predict(data.test), expected)
    assert (tmp_path / "training.npz").exists()
    np.testing.assert_array_equal(model.fit(data.train).predict(data.test), expected)
    with pytest.raises(ValueError, match="another training"):
        model.fit(data.train.head(500))


@pytest.mark.parametrize("kind", on_devices)
def test_a_device_that_is_absent_is_refused(kind, data):
    with pytest.raises(RuntimeError, match="cuda:77"):
        clone(cases[kind][0]).set_params(device="cuda:77").fit(data.train)
    assert clone(cases[kind][0]).fit(data.train).device_ == "cpu"


@pytest.mark.parametrize("kind", [UserCF, ItemCF])
def test_little_memory_means_blocks_and_too_little_is_refused(kind):
    data = synthetic_ratings(120, 80, 3000, random_state=3)
    model = clone(cases[kind][0]).set_params(max_memory=62_000).fit(data.train)
    assert model.similarity_ is None
    expected = clone(cases[kind][0]).fit(data.train)
    assert expected.similarity_ is not None
    np.testing.assert_allclose(model.predict(data.test), expected.predict(data.test), atol=1e-6)
    with pytest.raises(MemoryError, match="GB"):
        model.set_params(max_memory=1000).fit(data.train)


def test_a_search_over_what_means_nothing_scores_nothing(data):
    "A parameter of another class is refused by scikit-learn, not searched in silence."
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(GibbsFactorization(), {"regularization": [1, 999]}, cv=2)
    with warnings.catch_warnings(), pytest.raises(ValueError, match="regularization"):
        warnings.simplefilter("ignore")
        search.fit(data.train, data.train["rating"])
