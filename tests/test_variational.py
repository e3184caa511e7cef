"Variational factorization: the bound, intervals, surplus factors, seeds, and torch beside kernels."

import signal
from functools import partial

import numba
import numpy as np
import pandas as pd
import pytest
import torch
from teams import in_team
from trials import SEED, trials

from thu_big_data_ml import _compiling
from thu_big_data_ml.bayesian import _inference, _mean_field, _torch_mean_field, variational
from thu_big_data_ml.bayesian._mean_field import Belief, MeanField
from thu_big_data_ml.bayesian._nests import update_nest
from thu_big_data_ml.bayesian._sweeps import bases_of, new_state
from thu_big_data_ml.bayesian._torch_mean_field import TorchBelief, factor_rows
from thu_big_data_ml.bayesian.variational import VariationalFactorization, infer_factors
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.estimators._checkpoints import Interrupted
from thu_big_data_ml.estimators.baseline import BaselinePredictor
from thu_big_data_ml.factorization._implicit_prior import Rated, implicit_feedback
from thu_big_data_ml.metrics import interval_coverage, rmse

on_cpu = dict(device="cpu", random_state=0)


class RowByRow(TorchBelief):
    "Blocks of one row."

    block = 1


@pytest.fixture(scope="module")
def small():
    return synthetic_ratings(60, 40, 1200, random_state=SEED)


@pytest.fixture(scope="module")
def planted():
    return synthetic_ratings(200, 150, 16_000, random_state=SEED)


@pytest.fixture(scope="module")
def fitted(planted):
    return VariationalFactorization(8, **on_cpu).fit(planted.train)


def with_empty_rows(R):
    "Without the ratings of the first user, of two in the middle and of the last movie."
    R = R.tolil()
    R[[0, 20, 21]] = 0
    R[:, -1] = 0
    return R.tocsr()


def after_sweeps(R, kind, implicit, n_sweeps):
    "A model and its bounds."
    bases = bases_of(R) if implicit else [(None, None, None)] * 2
    state = new_state(R, 3, bases, None, False, np.random.default_rng(0))
    model = MeanField(state, 20, kind)
    return model, [model.sweep() for _ in range(n_sweeps)]


# In torch


@pytest.mark.parametrize("n_sweeps", [1, 5])
@pytest.mark.parametrize("implicit", [False, True])
def test_torch_finds_what_kernels_find(small, implicit, n_sweeps):
    R = with_empty_rows(small.matrix("train"))
    expected, bounds = after_sweeps(R, Belief, implicit, n_sweeps)
    for kind in (TorchBelief, RowByRow):
        model, same = after_sweeps(R, partial(kind, device="cpu"), implicit, n_sweeps)
        np.testing.assert_allclose(same, bounds, atol=1e-6)
        assert model.state.alpha == pytest.approx(expected.state.alpha, rel=1e-5)
        for side in ("users", "movies"):
            a, b = getattr(model.state, side), getattr(expected.state, side)
            np.testing.assert_allclose(a.X, b.X, atol=1e-5)
            np.testing.assert_allclose(a.noise_precision, b.noise_precision, rtol=1e-4)
            np.testing.assert_allclose(a.precision, b.precision, rtol=1e-4)
            a, b = getattr(model, side), getattr(expected, side)
            np.testing.assert_allclose(a.host(a.covariance), b.covariance, atol=1e-5)


@pytest.mark.parametrize("time", [False, True])
def test_an_estimator_in_torch_predicts_saves_and_folds_in(small, time, tmp_path, monkeypatch):
    models = [VariationalFactorization(3, time=time, n_sweeps=6, tol=0, **on_cpu) for _ in "ab"]
    models[0].fit(small.train)
    monkeypatch.setattr(
        variational, "_belief_on", lambda device: partial(TorchBelief, device=device)
    )
    models[1].fit(small.train)
    new = small.train.drop_duplicates("movie_id").head(3).assign(user_id=10**6)
    expected, std = (model.predict(small.test, return_std=True) for model in models)
    np.testing.assert_allclose(std, expected, atol=1e-4)
    path = models[1].save(tmp_path / "model.npz")
    again = VariationalFactorization.load(path)
    np.testing.assert_array_equal(again.predict(small.test), models[1].predict(small.test))
    folded = [model.fold_in(new).predict(new) for model in (models[0], again)]
    np.testing.assert_allclose(*folded, atol=1e-4)


def test_a_block_without_memory_is_done_again_in_halves(small, monkeypatch):
    def scarce(A):
        if len(A) > 10:
            raise RuntimeError("CUDA out of memory")
        return factor_rows(A)

    R = small.matrix("train")
    _, bounds = after_sweeps(R, partial(TorchBelief, device="cpu"), True, 2)
    monkeypatch.setattr(_torch_mean_field, "factor_rows", scarce)
    with pytest.warns(UserWarning, match="matrices of 4 x 4"):
        _, same = after_sweeps(R, partial(TorchBelief, device="cpu"), True, 2)
    np.testing.assert_allclose(same, bounds, atol=1e-6)


def test_a_matrix_without_a_factor_makes_nan():
    A = torch.stack([torch.eye(2), torch.tensor([[1.0, 2], [2, 1]])])
    inverse, log_det = factor_rows(A)
    assert torch.equal(inverse[0], torch.eye(2)) and log_det[0] == 0
    assert inverse[1].isnan().any() and log_det[1].isnan()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("time", [False, True])
def test_cuda_agrees_with_the_cpu(small, time):
    options = dict(time=time, n_sweeps=6, tol=0, random_state=0)
    cpu, gpu = (
        VariationalFactorization(3, device=device, **options).fit(small.train).predict(small.test)
        for device in ("cpu", "cuda")
    )
    np.testing.assert_allclose(gpu, cpu, atol=1e-3)


# What is inferred


@pytest.mark.parametrize("implicit", [False, True])
def test_the_bound_rises_with_every_sweep(small, implicit):
    for seed in range(trials(2, 20)):
        options = dict(implicit=implicit, tol=0, n_sweeps=20, device="cpu", random_state=seed)
        _, history = infer_factors(small.matrix("train"), n_factors=3, **options)
        assert (np.diff(history["loss"][1:]) < 1e-4).all()


def test_sweeps_end_when_the_bound_hardly_rises(small):
    R = small.matrix("train")
    lengths = [len(infer_factors(R, tol=tol, **on_cpu)[1]) for tol in (10, 2e-4, 0)]
    assert lengths[0] == 3 < lengths[1] < lengths[2] == 25


def test_intervals_hold_as_many_ratings_as_they_say(planted, fitted):
    mean, std = fitted.predict(planted.test, return_std=True)
    rating = planted.test["rating"].to_numpy()
    coverage = interval_coverage(rating, mean, std, levels=(0.9, 0.95))
    assert (np.abs(coverage["coverage"] - coverage["level"]) < 0.03).all()


def test_surplus_factors_cost_next_to_nothing(planted, fitted):
    rating = planted.test["rating"]
    many = VariationalFactorization(50, **on_cpu).fit(planted.train)
    few, many, biases = (
        rmse(rating, model.predict(planted.test))
        for model in (fitted, many, BaselinePredictor().fit(planted.train))
    )
    assert few < biases - 0.05
    assert many < few + 0.02


def test_weak_factors_stay_on_where_ratings_are_few(monkeypatch):
    sparse = [synthetic_ratings(500, 400, 15_000, random_state=SEED + n) for n in range(3)]

    def error():
        models = [VariationalFactorization(8, **on_cpu).fit(data.train) for data in sparse]
        return np.mean([rmse(d.test["rating"], m.predict(d.test)) for d, m in zip(sparse, models)])

    limited = error()
    monkeypatch.setattr(_mean_field, "most_precise", lambda *given: np.inf)
    assert limited < error() - 0.0003


def test_who_is_new_gets_the_prior_and_a_wider_interval(planted, fitted):
    user, movie = planted.train[["user_id", "movie_id"]].iloc[0]
    pairs = pd.DataFrame(dict(user_id=[user, 10**6, user], movie_id=[movie, movie, 10**6]))
    mean, std = fitted.predict(pairs, return_std=True)
    assert ((mean >= 1) & (mean <= 5)).all()
    assert std[1] > std[0] and std[2] > std[0]


def test_nested_effects_of_time_are_one_gaussian(small):
    R, rng = small.matrix("train"), np.random.default_rng(SEED)
    dates = np.datetime64("2005-01-01", "s") + rng.integers(0, 3_000, R.nnz)
    state = new_state(R, 2, bases_of(R, False), dates, False, rng)
    nest, weight = MeanField(state, 20).nests[0], rng.uniform(0.5, 2, R.nnz)
    error, D = state.error.copy(), []
    for group, precision in zip(nest.groups, (30, 20, 10, 5)):
        group.precision = precision
        D.append(np.zeros((R.nnz, len(group.keys))))
        D[-1][group.members, np.repeat(np.arange(len(group.keys)), np.diff(group.starts))] = 1
    variances, log_det, of_sum = update_nest(nest, state, weight)
    prior = np.repeat([30, 20, 10, 5], [d.shape[1] for d in D])
    D = np.hstack(D)
    covariance = np.linalg.inv(D.T @ (weight[:, None] * D) + np.diag(prior))
    effects = covariance @ D.T @ (weight * error)
    np.testing.assert_allclose(np.concatenate([g.effect for g in nest.groups]), effects, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(variances), np.diag(covariance), rtol=1e-5)
    np.testing.assert_allclose(log_det, np.linalg.slogdet(covariance)[1], rtol=1e-6)
    first = nest.groups[0].members[nest.groups[0].starts[:-1]]
    np.testing.assert_allclose(of_sum, ((D @ covariance) * D).sum(1)[first], rtol=1e-4)
    np.testing.assert_allclose(state.error, error - D @ effects, atol=1e-5)


def test_the_bound_rises_with_dates(small):
    R, rng = small.matrix("train"), np.random.default_rng(SEED)
    dates = np.datetime64("2005-01-01", "s") + rng.integers(0, 3_000, R.nnz)
    model = MeanField(new_state(R, 2, bases_of(R, False), dates, False, rng), 20)
    bounds = [model.sweep() for _ in range(15)]
    assert (np.diff(bounds[1:]) > -1e-4).all()


def test_a_seed_repeats_bit_for_bit_whatever_the_threads(small, monkeypatch):
    monkeypatch.setattr(_compiling, "SMALL", 0)  # so that small problems get all threads too
    before, fits = numba.get_num_threads(), {}
    try:
        for seed, n in ((0, 1), (0, before), (1, before)):
            numba.set_num_threads(n)
            options = dict(n_sweeps=4, device="cpu", random_state=seed)
            model = VariationalFactorization(5, time=True, **options).fit(small.train)
            fits[seed, n] = model.predict(small.test)
    finally:
        numba.set_num_threads(before)
    np.testing.assert_array_equal(fits[0, 1], fits[0, before])
    assert (fits[1, before] != fits[0, before]).any()


# What is summed over users, and by whom


@pytest.mark.parametrize("of_users", [True, False])
def test_the_basis_spans_the_main_directions(planted, of_users):
    R = with_empty_rows(planted.matrix("train"))
    Q, s, W = Rated(R).directions(of_users, 20)
    F = implicit_feedback(R if of_users else R.T.tocsr())
    exact = np.linalg.svd(F.toarray().astype(float), full_matrices=False)
    np.testing.assert_allclose(s[0], exact[1][0], rtol=1e-5)
    np.testing.assert_allclose(s[:5], exact[1][:5], rtol=0.03)  # next to each other: not settled
    held = np.square((Q * s) @ W.T).sum()
    assert 0.93 * np.square(exact[1][:20]).sum() < held < 1.001 * np.square(exact[1][:20]).sum()
    for sides, found in ((exact[0], Q), (exact[2].T, W)):
        np.testing.assert_allclose(found.T @ found, np.eye(20), atol=1e-3)
        assert np.linalg.norm(sides[:, 0] @ found) > 0.9999


def pieces(R, dates, cuts):
    "What each of several workers has."
    rows = zip(cuts[:-1], cuts[1:])
    return [(R[a:b], None if dates is None else dates[R.indptr[a] : R.indptr[b]]) for a, b in rows]


@pytest.fixture(scope="module")
def shared(small):
    "Ratings with empty rows, and dates."
    R = with_empty_rows(small.matrix("train"))
    days = np.random.default_rng(SEED).integers(0, 300_000, R.nnz)
    return R, np.datetime64("2005-01-01", "s") + days


@pytest.mark.parametrize("time", [False, True])
@pytest.mark.parametrize("implicit", [False, True])
def test_workers_find_what_one_finds(shared, implicit, time):
    R, dates = shared[0], shared[1] if time else None

    def fit(shard):
        own, dates = shard
        cells = np.repeat(np.arange(own.shape[0]), np.diff(own.indptr)), own.indices, own.data
        watched = cells if dates is None else (*cells, dates)
        options = dict(n_factors=3, n_sweeps=4, tol=0, implicit=implicit, validation=watched)
        return infer_factors(own, dates=dates, **options, **on_cpu)

    one, history = fit((R, dates))
    for cuts in ([0, 60], [0, 1, 60], [0, 20, 22, 60], [0, 7, 7, 20, 41, 60]):
        found = in_team(fit, pieces(R, dates, cuts))
        for moments, rows in found:
            same = rows.drop(columns="seconds"), history.drop(columns="seconds")
            np.testing.assert_allclose(*same, rtol=1e-5)
            for name in ("Y", "covariance_i", "noise_i", "alpha", "mean"):
                part, whole = getattr(moments, name), getattr(one, name)
                np.testing.assert_allclose(part, whole, rtol=1e-4, atol=1e-5)
            if time:
                ends = [m.time.mean[m.time.starts[-4] :] for m in (moments, one)]
                np.testing.assert_allclose(*ends, atol=1e-5)
        for name in ("X", "covariance_u", "noise_u"):
            parts = np.concatenate([getattr(moments, name) for moments, _ in found])
            np.testing.assert_allclose(parts, getattr(one, name), rtol=1e-4, atol=1e-5)


# A training that is killed


class Killed(Exception):
    "What ends a training here."


def killed_after(n, monkeypatch):
    "Let sweeps fail after some."
    real, left = MeanField.sweep, [n]

    def sweep(self):
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(self)

    monkeypatch.setattr(MeanField, "sweep", sweep)
    monkeypatch.setattr(_inference, "SHARE", np.inf)


@pytest.mark.parametrize("time", [False, True])
def test_a_killed_training_goes_on_bit_for_bit(small, shared, time, tmp_path, monkeypatch):
    R, dates = shared[0], shared[1] if time else None
    options = dict(n_factors=3, n_sweeps=6, tol=0, dates=dates, **on_cpu)
    whole, history = infer_factors(R, **options)
    path = tmp_path / "training.npz"
    for n in (1, 3):
        with monkeypatch.context() as context, pytest.raises(Killed):
            killed_after(n, context)
            infer_factors(R, checkpoint=path, **options)
    for _ in range(2):  # the second time nothing is left to do
        again, rows = infer_factors(R, checkpoint=path, **options)
        for name in ("X", "Y", "covariance_u", "covariance_i", "noise_u", "noise_i"):
            np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
        assert (again.alpha, again.mean) == (whole.alpha, whole.mean)
        same = rows.drop(columns="seconds"), history.drop(columns="seconds")
        pd.testing.assert_frame_equal(*same)
        if time:
            np.testing.assert_array_equal(again.time.mean, whole.time.mean)
            np.testing.assert_array_equal(again.time.variance, whole.time.variance)


def test_other_numbers_of_workers_go_on_from_a_checkpoint(shared, tmp_path, monkeypatch):
    R, dates = shared
    options = dict(n_factors=3, n_sweeps=6, tol=0, **on_cpu)
    whole, _ = infer_factors(R, dates=dates, **options)
    path = tmp_path / "training.npz"

    def fit(shard):
        return infer_factors(shard[0], dates=shard[1], checkpoint=path, **options)[0]

    for n, cuts in ((1, [0, 9, 20, 60]), (1, [0, 60]), (1, [0, 1, 2, 40, 41, 60])):
        with monkeypatch.context() as context, pytest.raises(Killed):
            killed_after(n * (len(cuts) - 1), context)
            in_team(fit, pieces(R, dates, cuts))
    found = in_team(fit, pieces(R, dates, [0, 33, 60]))
    X = np.concatenate([moments.X for moments in found])
    np.testing.assert_allclose(X, whole.X, atol=1e-5)
    np.testing.assert_allclose(found[1].Y, whole.Y, atol=1e-5)


def test_ctrl_c_ends_a_training_after_its_sweep(small, tmp_path, monkeypatch):
    model = VariationalFactorization(
        3, n_sweeps=5, tol=0, checkpoint=tmp_path / "training.npz", **on_cpu
    )
    real = MeanField.sweep

    def interrupted(self):
        signal.raise_signal(signal.SIGINT)
        return real(self)

    with monkeypatch.context() as context:
        context.setattr(MeanField, "sweep", interrupted)
        with pytest.raises(Interrupted, match="after 1 of 5 sweeps; nothing is lost"):
            model.fit(small.train)
    whole = VariationalFactorization(3, n_sweeps=5, tol=0, **on_cpu).fit(small.train)
    again = model.fit(small.train)
    np.testing.assert_array_equal(again.predict(small.test), whole.predict(small.test))


def test_a_checkpoint_of_another_inference_is_refused(shared, tmp_path):
    R, path = shared[0], tmp_path / "training.npz"
    options = dict(n_factors=2, n_sweeps=2, checkpoint=path, **on_cpu)
    infer_factors(R, **options)
    for change in (dict(n_factors=3), dict(implicit=False), dict(nu=10), dict(dates=shared[1])):
        with pytest.raises(ValueError, match=f"another training: {next(iter(change))} differ"):
            infer_factors(R, **options | change)
    R = R.copy()
    R.data[0] += 1
    with pytest.raises(ValueError, match="another training: ratings differ"):
        infer_factors(R, **options)


@pytest.mark.parametrize(
    "options",
    [
        *(dict(n_factors=0), dict(n_sweeps=0), dict(n_sweeps=2.5), dict(tol=-1), dict(tol="small")),
        *(dict(implicit=None), dict(time="always")),
    ],
)
def test_parameters_that_cannot_be_used_are_refused_by_name(small, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        VariationalFactorization(**options).fit(small.train)
