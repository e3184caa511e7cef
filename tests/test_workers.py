"Any number of workers learn the factors that one process learns."

import numpy as np
import pytest
from teams import in_team

from thu_big_data_ml import (
    ALSFactorization,
    MatrixFactorizationRegressor,
    damped_biases,
    synthetic_ratings,
    train_matrix_factorization,
)
from thu_big_data_ml.estimators._checkpoints import ratings_mark
from thu_big_data_ml.estimators._factor_model import (
    default_factors,
    is_dense,
    rating_ends,
    split_cells,
    unit_of,
)
from thu_big_data_ml.factorization._point_model import default_per_rating
from thu_big_data_ml.factorization._training import random_start
from thu_big_data_ml.factorization.als import train_als
from thu_big_data_ml.factorization.sgd import train_sgd

R = synthetic_ratings(90, 40, 1500, random_state=0).matrix("train")
R.data[R.indptr[30] : R.indptr[60]] = 0
R.eliminate_zeros()  # the users in the middle have no ratings
CUTS = {1: [0, 90], 2: [0, 17, 90], 3: [0, 30, 60, 90], 5: [0, 1, 31, 44, 61, 90]}
MORE = [2, 3, 5]


def by_workers(n, work, whole=R):
    "What `work(R)` gives on each of `n` workers, who have uneven parts of the users."
    return in_team(work, [whole[a:b] for a, b in zip(CUTS[n], CUTS[n][1:])])


def of_users(parts, name):
    "What workers hold of their users, as one array."
    return np.concatenate([part[name] for part in parts])


def agree(one, parts, atol=2e-4):
    "Assert that workers hold the users of one process, and each of them its movies, in stars."
    for name in one.keys() & {"U", "b_u", "X"}:
        np.testing.assert_allclose(of_users(parts, name), one[name], atol=atol, err_msg=name)
    for name in one.keys() - {"U", "b_u", "X"}:
        for part in parts:
            np.testing.assert_allclose(part[name], one[name], atol=atol, err_msg=name)


def learned(trained):
    "What a training returned, as arrays."
    model, history = trained
    found = {name: p.detach().numpy() for name, p in model.named_parameters()}
    return found | model.second | {"history": history.drop(columns="seconds").to_numpy()}


def fitted(model, R):
    "What an estimator learns from a matrix."
    model.params_, model.seed_ = model.get_params(deep=False), 0
    model._fit(R)
    names = ["U", "V", "b_u", "b_i", "Y", "X", "mean", "penalties"]
    found = {name: getattr(model, f"{name}_") for name in names}
    history = model.history_.drop(columns="seconds").to_numpy()
    return {name: a for name, a in found.items() if a is not None} | {"history": history}


@pytest.mark.parametrize("n", MORE)
def test_what_is_said_of_ratings_is_said_of_all(n):
    def work(R):
        exact = default_factors(R), is_dense(R), rating_ends(R), ratings_mark(R)
        return exact, [unit_of(R), default_per_rating(R)]

    expected = work(R)
    for exact, rounded in by_workers(n, work):
        assert exact == expected[0]
        np.testing.assert_allclose(rounded, expected[1], rtol=1e-12)
    assert ratings_mark(R) != ratings_mark(R[::-1])


@pytest.mark.parametrize("n", MORE)
def test_biases_are_those_of_all_users(n):
    mu, b_u, b_i = damped_biases(R)
    found = [dict(mu=m, b_u=u, b_i=i) for m, u, i in by_workers(n, damped_biases)]
    agree(dict(mu=mu, b_u=b_u, b_i=b_i), found, atol=1e-12)


@pytest.mark.parametrize("n", MORE)
def test_the_same_cells_are_set_aside_and_the_same_start_is_drawn(n):
    def work(R):
        learn, aside = split_cells(R, 0.1, seed=3)
        return dict(learn=learn.data, aside=aside.data), random_start(*R.shape, 3, seed=7)

    (cells, start), found = work(R), by_workers(n, work)
    for name in cells:
        assert (of_users([part for part, _ in found], name) == cells[name]).all()
    assert (np.concatenate([U for _, (U, _) in found]) == start[0]).all()
    assert all((start[1] == V).all() for _, (_, V) in found)


@pytest.mark.parametrize(
    "model",
    [
        ALSFactorization(n_factors=3, n_epochs=6),
        ALSFactorization(n_factors=3, n_epochs=6, bias=False, validation_fraction=0),
        MatrixFactorizationRegressor(n_factors=3, n_epochs=12, device="cpu"),
        MatrixFactorizationRegressor(n_factors=3, n_epochs=12, device="cpu", implicit=False),
        MatrixFactorizationRegressor(
            n_factors=3, n_epochs=12, device="cpu", train_options=dict(dtype="tf32")
        ),
        MatrixFactorizationRegressor(
            n_factors=3, n_epochs=12, device="cpu", train_options=dict(activation="sigmoid")
        ),
    ],
    ids=["ALS", "ALS without biases", "AdamW", "without implicit", "tiles", "sigmoid"],
)
@pytest.mark.filterwarnings("ignore:After")
def test_a_fit_does_not_depend_on_the_number_of_workers(model):
    one = fitted(model.__class__(**model.get_params()), R)
    for n in MORE:
        parts = by_workers(n, lambda R: fitted(model.__class__(**model.get_params()), R))
        agree(one, parts)


def test_a_start_without_a_seed_is_the_same_on_all():
    parts = by_workers(3, lambda R: learned(train_als(R, n_factors=2, n_epochs=2, verbose=False)))
    for part in parts:
        assert (part["V"] == parts[0]["V"]).all()


@pytest.mark.parametrize("way", [train_als, train_matrix_factorization])
@pytest.mark.filterwarnings("ignore:After")
def test_a_training_goes_on_with_any_number_of_workers(way, tmp_path):
    learn, aside = split_cells(R, 0.1, seed=0)
    both = np.concatenate([learn.toarray(), aside.toarray()], axis=1)
    options = dict(n_factors=2, patience=50, random_state=0, verbose=False)
    if way is train_matrix_factorization:
        options |= dict(implicit=True, device="cpu")

    def train(n_epochs):
        def work(both):
            parts = both[:, : R.shape[1]], both[:, R.shape[1] :]
            file = tmp_path / "training.npz"
            return learned(way(*parts, n_epochs=n_epochs, checkpoint=file, **options))

        return work

    undisturbed = learned(way(learn, aside, n_epochs=40, **options))
    for n, n_epochs in ((3, 10), (1, 20), (5, 30), (2, 40)):
        parts = by_workers(n, train(n_epochs), both)
    agree(undisturbed, parts, atol=1e-3)


def test_what_several_workers_cannot_do_is_refused():
    for train, options, word in (
        (train_sgd, {}, "use ALSFactorization"),
        (train_matrix_factorization, dict(batch_size=100, device="cpu"), "no batch_size"),
    ):
        with pytest.raises(ValueError, match=word):
            by_workers(2, lambda R, train=train, options=options: train(R, **options))
