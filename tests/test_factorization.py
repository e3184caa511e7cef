"Training: kernels, learning, stopping, resuming, failing."

import signal
from pathlib import Path

import numba
import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from thu_big_data_ml import _compiling
from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.data._sparse import arrays_of
from thu_big_data_ml.factorization import _training
from thu_big_data_ml.factorization._adamw_kernels import adamw_step, error_gradient, predict_pairs
from thu_big_data_ml.factorization._als_kernels import als_half_sweep, side_by_side, sum_row
from thu_big_data_ml.factorization._point_model import default_per_rating
from thu_big_data_ml.factorization._sgd_kernels import deal, group_ratings, sgd_epoch
from thu_big_data_ml.factorization._solvers import ALS, SGD, FullBatchAdamW
from thu_big_data_ml.factorization._torch_solvers import AutogradAdamW, TiledAdamW
from thu_big_data_ml.factorization.matrix_factorization import _at_the_edge, _main_factors

quick = dict(n_factors=4, n_epochs=30, random_state=0, verbose=False)
on_cpu = dict(device="cpu")
constant = dict(regularization_per_rating=0)
trainings = {
    "adamw": (train_matrix_factorization, quick | on_cpu),
    "implicit": (train_matrix_factorization, quick | on_cpu | dict(implicit=True)),
    "implicit, by products": (
        train_matrix_factorization,
        quick | on_cpu | dict(implicit=True, bias=False, dtype="tf32"),
    ),
    "batches": (train_matrix_factorization, quick | on_cpu | dict(batch_size=300)),
    "sgd": (train_sgd, quick),
    "als": (train_als, quick),
}
models = {
    "adamw": MatrixFactorizationRegressor(implicit=False, random_state=0, device="cpu"),
    "sgd": SGDFactorization(random_state=0),
    "als": ALSFactorization(random_state=0),
}
# k below, at, and off multiples of 8; the sides may have a single row
shapes = [(1, 1, 1), (40, 1, 8), (30, 25, 15), (70, 200, 50)]


@pytest.fixture(scope="module")
def small():
    return synthetic_ratings(100, 80, 2500, random_state=0)


@pytest.fixture(scope="module")
def R(small):
    return small.matrix("train")


@pytest.fixture(params=trainings)
def training(request):
    return trainings[request.param]


def problem(n_users, n_movies, k, seed=0):
    "Half stars, with empty rows and columns where there is room for them, and random parameters."
    rng = np.random.default_rng(seed)
    R = rng.integers(1, 11, (n_users, n_movies)) / 2 * (rng.random((n_users, n_movies)) < 0.3)
    R[1::7], R[:, 2::9] = 0, 0
    R[0, 0] = 3.5
    shapes = (n_users, k), (n_movies, k), n_users, n_movies
    parameters = [(0.5 * rng.standard_normal(shape)).astype(np.float32) for shape in shapes]
    return csr_matrix(R, dtype=np.float32), parameters


def sides(R):
    return arrays_of(R), arrays_of(R.T.tocsr())


def penalty_of(model, of_users, of_biases, of_movies=None):
    "Half the penalties of a model, for one lambda a row or one for all, in float64."
    lams = of_users, of_users if of_movies is None else of_movies, of_biases, of_biases
    parts = (p.detach().numpy().astype(float).T for p in model.parameters())
    return sum((lam * part**2).sum() for lam, part in zip(lams, parts)) / 2


def plant(parameters, R, *, bias=True, ends=None, kind=FullBatchAdamW, **settings):
    "A solver whose model starts from given parameters."
    U, V, b_u, b_i = (torch.from_numpy(p.copy()) for p in parameters)
    model = MatrixFactorization(len(U), len(V), U.shape[1], bias=bias, mean=3.0, ends=ends)
    with torch.no_grad():
        for p, value in zip(model.parameters(), (U, V, b_u, b_i)):
            p.copy_(value)
    default = dict(
        learning_rate=0.02,
        learning_rate_decay=0.9,
        regularization=2.0,
        regularization_per_rating=0.0,
        bias_regularization=1.0,
        weight_decay=0.1,
        batch_size=None,
        block_size=16,
        dtype="float32",
        bias=bias,
    )
    return kind(model, R, default | settings)


# Kernels


@pytest.mark.parametrize("shape", shapes)
def test_kernel_gradient_equals_autograd(shape):
    R, parameters = problem(*shape)
    squares, gradients = error_gradient(*sides(R), *parameters, 3.0)
    U, V, b_u, b_i = leaves = [torch.from_numpy(p).double().requires_grad_() for p in parameters]
    dense = torch.from_numpy(R.toarray()).double()
    error = (U @ V.T + 3.0 + b_u[:, None] + b_i - dense)[dense != 0].square().sum()
    (error / 2).backward()
    assert squares == pytest.approx(error.item(), rel=1e-5)
    for gradient, leaf in zip(gradients, leaves):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-4, atol=2e-4)


def test_kernel_gradient_of_bounded_predictions_equals_finite_differences():
    R, parameters = problem(12, 9, 3)

    def gradient():
        return error_gradient(*sides(R), *parameters, 0.3, (0.5, 5))

    for p, expected in zip(parameters, gradient()[1]):
        before, at = p.flat[0], []
        for step in (0.01, -0.01):
            p.flat[0] = before + np.float32(step)
            at.append(gradient()[0] / 2)
        p.flat[0] = before
        assert (at[0] - at[1]) / 0.02 == pytest.approx(expected.flat[0], rel=0.01, abs=0.01)


@pytest.mark.parametrize("kind", [FullBatchAdamW, SGD, ALS])
def test_kernels_do_not_depend_on_the_number_of_threads(kind, monkeypatch):
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("fewer threads here")
    monkeypatch.setattr(_compiling, "SMALL", 0)  # so that small problems get all threads too
    R, parameters = problem(300, 200, 24)
    results, before = [], numba.get_num_threads()
    try:
        for n in (1, 2):
            numba.set_num_threads(n)
            solver = plant(parameters, R, kind=kind)
            totals = [solver.epoch(number, seed=(0, number)) for number in range(3)]
            found = [p.detach().numpy().tobytes() for p in solver.model.parameters()]
            results.append((totals, found))
    finally:
        numba.set_num_threads(before)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    "bias, ends, per_rating",
    [(True, None, 0), (False, None, 0.5), (True, (0.5, 5), 0.1), (False, (0.5, 5), 0)],
)
@pytest.mark.parametrize("shape", shapes[1:])
def test_kernels_and_autograd_take_the_same_step(shape, bias, ends, per_rating):
    R, parameters = problem(*shape)
    options = dict(bias=bias, ends=ends, regularization_per_rating=per_rating)
    kernels = plant(parameters, R, **options)
    autograd = plant(parameters, R, kind=AutogradAdamW, **options)
    for number in range(10):
        expected = autograd.epoch(number, seed=0)
        assert kernels.epoch(number, seed=0) == pytest.approx(expected, rel=1e-4)
    for a, b in zip(kernels.model.parameters(), autograd.model.parameters()):
        # where a gradient is all rounding, its sign, and so a first step, is chance
        far = (a - b).abs().detach()
        assert far.median() < 1e-5 and far.max() < 0.02
    assert kernels.state().keys() == autograd.state().keys()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block_size", [1, 16, None])
@pytest.mark.parametrize("shape", shapes)
def test_tiles_have_the_gradient_of_the_kernels(shape, block_size, bias):
    R, parameters = problem(*shape)
    if not bias:
        parameters[2:] = [np.zeros_like(p) for p in parameters[2:]]
    squares, gradients = error_gradient(*sides(R), *parameters, 3.0 if bias else 0.0)
    options = dict(bias=bias, kind=TiledAdamW, block_size=block_size)
    for dtype, near in (("float32", 1e-5), ("tf32", 5e-3), ("bfloat16", 5e-2)):
        tiles = plant(parameters, R, dtype=dtype, **options)
        found, by_tiles = tiles.gradient()
        assert float(found) == pytest.approx(squares, rel=near)
        for gradient, expected in zip(by_tiles, gradients):
            np.testing.assert_allclose(gradient, expected, atol=near * np.abs(expected).max())
        assert len(by_tiles) == (4 if bias else 2)
        assert all(torch.equal(a, b) for a, b in zip(by_tiles, tiles.gradient()[1]))


@pytest.mark.parametrize(
    "decay, penalty", [(0.0, 0.0), (0.3, 0.0), (0.0, 5.0), (0.1, np.linspace(0, 4, 997))]
)
def test_adamw_step_equals_torch(decay, penalty):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((997, 13)).astype(np.float32)  # not a multiple of the block
    lam = np.broadcast_to(penalty, 997)[:, None]
    leaf = torch.from_numpy(p.copy()).requires_grad_()
    mean, square = np.zeros_like(p), np.zeros_like(p)
    optimizer = torch.optim.AdamW([leaf], lr=0.02, weight_decay=decay)
    options = dict(rate=0.02, penalty=penalty, decay=decay)
    for step in range(1, 31):
        gradient = rng.standard_normal(p.shape).astype(np.float32)
        leaf.grad = torch.from_numpy((gradient + lam * leaf.detach().numpy()).astype(np.float32))
        optimizer.step()
        before = (lam * np.square(p, dtype=float)).sum()
        found = adamw_step(p, gradient, mean, square, step=step, **options)
        assert found == pytest.approx(before, rel=1e-6)
    np.testing.assert_allclose(p, leaf.detach().numpy(), rtol=1e-5, atol=1e-5)
    expected = optimizer.state[leaf]["exp_avg_sq"].numpy()
    np.testing.assert_allclose(square, expected, rtol=1e-5)


@pytest.mark.parametrize("shape", shapes)
def test_als_finds_the_minimum(shape):
    R, (U, V, b_u, b_i) = problem(*shape)
    lam = np.linspace(1, 3, len(U))[:, None]  # one for each row
    found = als_half_sweep(arrays_of(R), U, b_u, V, b_i, 3.0, penalty=lam[:, 0], bias_penalty=1)
    squares, (g_U, _, g_u, _) = error_gradient(*sides(R), U, V, b_u, b_i, 3.0)
    np.testing.assert_allclose(g_U + lam * U, 0, atol=2e-3)
    np.testing.assert_allclose(g_u + b_u, 0, atol=2e-3)
    penalty = (lam * np.square(U, dtype=float)).sum() + np.square(b_u, dtype=float).sum()
    assert found == pytest.approx(squares + penalty, rel=1e-4)
    empty = np.diff(R.indptr) == 0
    assert not U[empty].any() and not b_u[empty].any()


@pytest.mark.parametrize("bias", [True, False])
def test_equations_of_als_are_right_and_nothing_beyond_them_is_written(bias):
    rng, behind = np.random.default_rng(0), np.float32(7)
    for k in range(1, 42):
        Y = rng.standard_normal((200, k)).astype(np.float32)
        b = bias * rng.standard_normal(200).astype(np.float32)
        Z, unknowns = side_by_side(Y, b, bias), k + bias
        stride = Z.shape[1]
        room = np.full(stride * (stride + 64), behind)
        A, P = room[: stride**2].reshape(stride, stride), np.zeros((64, stride), np.float32)
        for n in (0, 1, 5, 64, 67, 200):
            rated, r = np.arange(n, dtype=np.int32), rng.standard_normal(n).astype(np.float32)
            sum_row(rated, r, Z, unknowns, np.float32(0.5), A, P)
            X = np.c_[Y[:n], np.ones((n, int(bias))), r - np.float32(0.5) - b[:n]].astype(float)
            part = np.tril(A[: unknowns + 1, : unknowns + 1])
            assert np.allclose(part, np.tril(X.T @ X), atol=1e-3), (k, n)
            assert (room[stride**2 :] == behind).all(), (k, n)


def test_als_never_raises_the_objective_and_reports_it():
    R, parameters = problem(60, 50, 6)
    solver = plant(parameters, R, kind=ALS)
    dense, losses = torch.from_numpy(R.toarray()), []
    for number in range(8):
        objective, squares = solver.epoch(number, seed=0)
        error = 2 * R.nnz * float(masked_mse_loss(solver.model(), dense).detach())
        penalty = penalty_of(solver.model, 2, 1)
        assert squares == pytest.approx(error, rel=1e-4)
        assert objective == pytest.approx(error / 2 + penalty, rel=1e-4)
        losses.append(objective)
    assert (np.diff(losses) < 1e-3).all()


@pytest.mark.parametrize("shape", shapes)
def test_sgd_sees_every_rating_once(shape):
    R, parameters = problem(*shape)
    n_users = shape[0]
    (indptr, indices, values), group = group_ratings(R)
    assert len(indptr) == 8 * n_users + 1
    users = np.repeat(np.arange(8 * n_users), np.diff(indptr)) % n_users
    assert sorted(zip(users, indices, values)) == sorted(zip(*R.nonzero(), R.data))
    before = [p.copy() for p in parameters]
    squares = sgd_epoch(
        (indptr, indices, values), group, *parameters, 3.0, rate=0.0, penalties=(5,) * 4
    )
    u, i = (at.astype(np.int64) for at in R.nonzero())
    error = predict_pairs(u, i, *before, 3.0) - R.data
    assert squares == pytest.approx(np.square(error).sum(), rel=1e-4)
    assert all(np.array_equal(a, b) for a, b in zip(before, parameters))  # a rate of 0


def test_groups_of_sgd_share_no_rows_and_have_even_totals():
    counts = np.random.default_rng(0).pareto(1.2, 1000)
    group = deal(counts)
    totals = np.bincount(group, counts)
    assert set(group) == set(range(8)) and np.ptp(np.bincount(group)) == 0
    assert totals.max() - totals.min() <= 2 * counts.max()


@pytest.mark.parametrize("kind", [FullBatchAdamW, SGD, ALS, AutogradAdamW, TiledAdamW])
def test_penalties_grow_with_the_counts_of_ratings(kind):
    R, parameters = problem(30, 25, 4)
    solver = plant(parameters, R, kind=kind, regularization_per_rating=0.5)
    of_users = 2 + 0.5 * np.maximum(np.diff(R.indptr), 1)
    np.testing.assert_allclose(np.ravel(solver.penalties[0]), of_users, rtol=1e-6)
    of_movies = 2 + 0.5 * np.maximum(np.bincount(R.indices, minlength=25), 1)
    before = penalty_of(solver.model, of_users, 1, of_movies)
    objective, squares = solver.epoch(0, seed=0)
    at = penalty_of(solver.model, of_users, 1, of_movies) if kind is ALS else before
    assert objective - squares / 2 == pytest.approx(at, rel=1e-3)


def test_a_rating_adds_less_to_penalties_where_both_sides_have_many():
    for shape, expected in (((10, 10), 0.05), ((5000, 10), 0.05), ((1000, 500), 0.025)):
        assert default_per_rating(csr_matrix(np.ones(shape))) == pytest.approx(expected)


# Learning


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", models)
def test_solvers_find_planted_factors(name, bias):
    data = synthetic_ratings(300, 200, 18_000, random_state=1)
    model = clone(models[name]).set_params(n_factors=4, bias=bias).fit(data.train)
    baseline = BaselinePredictor().fit(data.train)
    error, base = (rmse(data.test["rating"], m.predict(data.test)) for m in (model, baseline))
    assert error < base - (0.01 if bias else -0.1)
    assert model.history_["loss"].iloc[-1] < model.history_["loss"].iloc[0]
    assert list(model.history_) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
    assert bias or not model.b_u_.any()


@pytest.mark.parametrize("kind", [ALSFactorization, SGDFactorization])
def test_surplus_factors_cost_next_to_nothing_where_movies_have_many_ratings(kind):
    data = synthetic_ratings(2000, 200, 120_000, random_state=0)
    few, many, before = (
        rmse(
            data.test["rating"], kind(random_state=0, **options).fit(data.train).predict(data.test)
        )
        for options in (
            dict(n_factors=16),
            dict(n_factors=50),
            dict(n_factors=50, regularization=14, train_options=constant),
        )
    )
    assert many < few + 0.003
    assert many < before - 0.003


@pytest.mark.parametrize("bias", [True, False])
def test_gradient_descends_the_stated_objective(R, bias):
    penalties = dict(regularization=2, regularization_per_rating=0, bias_regularization=1)
    options = quick | on_cpu | dict(bias=bias) | penalties
    model, history = train_matrix_factorization(R, **options)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    # the loss of the next step is the objective at the factors returned
    _, again = train_matrix_factorization(R, **(options | dict(n_epochs=31)))
    dense = torch.from_numpy(R.toarray())
    objective = float(masked_mse_loss(model(), dense).detach()) + penalty_of(model, 2, 1) / R.nnz
    assert objective == pytest.approx(again["loss"].iloc[-1], rel=1e-5)
    error = float(masked_rmse_loss(model(), dense).detach())
    assert error == pytest.approx(again["train_rmse"].iloc[-1], rel=1e-5)


def test_dense_input_is_the_same_as_sparse(R):
    a, b = (train_als(X, **quick)[0].U for X in (R, R.toarray()))
    assert torch.equal(a, b)


def test_validation_decides_when_to_stop_and_the_best_comes_back(small):
    R, V = small.matrix("train"), small.matrix("test")
    free = dict.fromkeys(("regularization", "regularization_per_rating", "bias_regularization"), 0)
    free |= dict(n_factors=20, n_epochs=400, patience=10)
    model, history = train_matrix_factorization(R, V, **(quick | on_cpu | free))
    best = history["validation_rmse"].argmin()
    assert len(history) == best + 11 < 400
    error = float(masked_rmse_loss(model(), torch.from_numpy(V.toarray())).detach())
    assert error == pytest.approx(history["validation_rmse"].min(), rel=1e-5)


@pytest.mark.parametrize("bias", [True, False])
def test_bounded_predictions_stay_on_the_scale_learn_and_are_explained(bias):
    data = synthetic_ratings(300, 200, 18_000, random_state=1)
    bounded = MatrixFactorizationRegressor(
        8, bias=bias, random_state=0, device="cpu", train_options=dict(activation="sigmoid")
    )
    model = bounded.fit(data.train)
    level = np.full(len(data.test), data.train["rating"].mean())
    error = rmse(data.test["rating"], model.predict(data.test))
    assert error < rmse(data.test["rating"], level) - 0.1
    u, i = np.divmod(np.arange(len(model.U_) * len(model.V_)), len(model.V_))
    score = model._score(u, i)
    assert score.min() > 1 and score.max() < 5
    for user, movie in data.test[["user_id", "movie_id"]].head(5).to_numpy().tolist():
        total = model.explain(user, movie)["contribution"].sum()
        assert total == pytest.approx(model.predict([[user, movie]])[0], abs=1e-4)
    equal = bounded.set_params(n_epochs=2).fit([[1, 1], [1, 2]], [3, 3])
    assert equal.predict([[1, 2]]) == [3]


def test_implicit_feedback_pays_on_real_ratings():
    data = load_ratings("sample")
    once = dict(random_state=0, device="cpu", train_options=dict(refit=False))
    plain, implicit = (
        MatrixFactorizationRegressor(implicit=implicit, **once).fit(data.train).predict(data.test)
        for implicit in (False, True)
    )
    assert rmse(data.test["rating"], implicit) < rmse(data.test["rating"], plain) - 0.01


def test_implicit_feedback_does_no_harm_where_it_says_nothing():
    # so many ratings a user that steps of second rows would add up
    data = synthetic_ratings(400, 1000, 160_000, random_state=0)
    options = dict(n_epochs=100, random_state=0, device="cpu", train_options=dict(refit=False))
    options |= dict(regularization=6)  # the same for both
    plain, implicit = (
        MatrixFactorizationRegressor(8, implicit=implicit, **options)
        .fit(data.train)
        .predict(data.test)
        for implicit in (False, True)
    )
    assert rmse(data.test["rating"], implicit) < rmse(data.test["rating"], plain) + 0.01


# Resuming


@pytest.mark.parametrize("killed_after", [7, 10, 25])
def test_a_killed_training_resumes_as_if_nothing_had_happened(
    training, R, tmp_path, monkeypatch, killed_after
):
    train, options = training
    undisturbed, _ = train(R, **options)
    file = tmp_path / "state.npz"
    with monkeypatch.context() as patch:
        kill_after(killed_after, patch)
        with pytest.raises(KeyboardInterrupt):
            train(R, checkpoint=file, **options)
    resumed, history = train(R, checkpoint=file, **options)
    assert len(history) == 30 and [p.name for p in tmp_path.iterdir()] == ["state.npz"]
    for a, b in zip(undisturbed.parameters(), resumed.parameters()):
        assert torch.equal(a, b)


def kill_after(n_epochs, patch, how=None):
    "Let a training run some epochs only; `how` is called in the next one."
    real, calls = _training.run_epoch, []

    def run_epoch(*args):
        calls.append(1)
        if len(calls) > n_epochs:
            if how is None:
                raise KeyboardInterrupt
            how()
        return real(*args)

    patch.setattr(_training, "run_epoch", run_epoch)


def press_ctrl_c():
    signal.raise_signal(signal.SIGINT)


def test_ctrl_c_waits_for_the_epoch_and_says_how_to_continue(small, tmp_path, monkeypatch):
    file = tmp_path / "state.npz"
    options = dict(n_epochs=20, random_state=0, device="cpu")
    undisturbed = MatrixFactorizationRegressor(**options).fit(small.train)
    model = MatrixFactorizationRegressor(checkpoint=file, **options)
    last = len(undisturbed.history_)
    for stopped_after, said in ((12, "epoch 13"), (last - 13 + 3, "training on all ratings")):
        with monkeypatch.context() as patch:
            kill_after(stopped_after, patch, press_ctrl_c)
            with pytest.raises(KeyboardInterrupt, match="checkpoint=.*state.npz") as stop:
                model.fit(small.train)
        assert said in str(stop.value) and "refit" not in str(stop.value)
        with pytest.raises(NotFittedError):
            model.predict(small.test)
    model.fit(small.train)
    assert np.array_equal(model.predict(small.test), undisturbed.predict(small.test))
    assert {p.name for p in tmp_path.iterdir()} == {"state.npz", "state.refit.npz"}


def test_without_a_checkpoint_ctrl_c_interrupts_at_once(small, monkeypatch):
    kill_after(3, monkeypatch, press_ctrl_c)
    model = SGDFactorization(2, random_state=0)
    with pytest.raises(KeyboardInterrupt) as stop:
        model.fit(small.train)
    assert "checkpoint" not in str(stop.value) and not hasattr(model, "U_")


@pytest.mark.parametrize("kind", [AutogradAdamW, TiledAdamW])
def test_a_checkpoint_of_the_kernels_continues_elsewhere(kind):
    R, parameters = problem(60, 50, 6)
    whole, kernels = (plant(parameters, R) for _ in range(2))
    for number in range(20):
        whole.epoch(number, seed=0)
    for number in range(10):
        kernels.epoch(number, seed=0)
    other = plant([p.detach().numpy() for p in kernels.model.parameters()], R, kind=kind)
    other.restore(kernels.state())
    for number in range(10, 20):
        other.epoch(number, seed=0)
    torch.testing.assert_close(whole.model.U, other.model.U, rtol=1e-3, atol=1e-4)


def test_a_checkpoint_of_another_training_is_refused(R, tmp_path):
    options = quick | dict(checkpoint=tmp_path / "state.npz")
    train_als(R, **options)
    other = R.copy()
    other.data = 6 - other.data
    for changed in (other, R[:, ::-1]):
        with pytest.raises(ValueError, match="ratings differ"):
            train_als(changed, **options)
    with pytest.raises(ValueError, match="solver"):
        train_sgd(R, **options)
    with pytest.raises(ValueError, match="n_factors"):
        train_als(R, **(options | dict(n_factors=3)))


def test_a_damaged_checkpoint_is_named(R, tmp_path):
    (tmp_path / "state.npz").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="state.npz"):
        train_als(R, checkpoint=tmp_path / "state.npz", **quick)


def test_an_estimator_continues_without_a_seed(small, tmp_path):
    options = dict(checkpoint=tmp_path / "state.npz", train_options=dict(refit=False))
    for n_epochs in (10, 20):
        model = SGDFactorization(4, n_epochs=n_epochs, **options).fit(small.train)
        assert len(model.history_) == n_epochs


def test_a_rehearsal_is_trained_once_in_a_file_of_its_own(small, tmp_path):
    model = ALSFactorization(2, checkpoint=tmp_path / "a.npz", train_options=dict(patience=3))
    copy = model._rehearsal()
    assert copy.train_options == dict(patience=3, refit=False)
    assert Path(copy.checkpoint).name == "a.trust.npz" and model.train_options == dict(patience=3)
    copy.fit(small.train)
    assert [p.name for p in tmp_path.iterdir()] == ["a.trust.npz"]
    assert SGDFactorization()._rehearsal().checkpoint is None


# What cannot be


bad_values = [
    ("n_factors", 0),
    ("n_factors", 2.5),
    ("n_epochs", 0),
    ("n_epochs", None),
    ("batch_size", -1),
    ("learning_rate", 0),
    ("learning_rate", "fast"),
    ("regularization", -1),
    ("regularization", float("nan")),
    ("bias_regularization", -1),
    ("implicit_regularization", -1),
    ("weight_decay", -0.1),
    ("validation_fraction", 1),
    ("validation_fraction", -0.1),
]
bad_options = [
    ("patience", 0),
    ("patience", "long"),
    ("init_scale", -1),
    ("regularization_per_rating", -1),
    ("regularization_exponent", 1),  # of version 0.3
    ("activation", "relu"),
    ("dtype", "float16"),
    ("block_size", 0),
    ("refit", "maybe"),
    ("n_neighbors", 3),
]


@pytest.mark.parametrize("name, value", bad_values)
def test_settings_that_make_no_sense_are_named(small, name, value):
    model = MatrixFactorizationRegressor(device="cpu", **{name: value})
    with pytest.raises(ValueError, match=name):
        model.fit(small.train)
    assert not [attribute for attribute in vars(model) if attribute.endswith("_")]


@pytest.mark.parametrize("name, value", bad_options)
def test_train_options_that_make_no_sense_are_named(small, name, value):
    model = MatrixFactorizationRegressor(device="cpu", train_options={name: value})
    with pytest.raises(ValueError, match=name):
        model.fit(small.train)


@pytest.mark.parametrize("kind", [ALSFactorization, SGDFactorization])
@pytest.mark.parametrize("options", [dict(dtype="tf32"), dict(activation="sigmoid")])
def test_unknown_train_options_are_refused_with_a_list_of_the_known(small, kind, options):
    with pytest.raises(
        ValueError,
        match=f"{next(iter(options))}; .*regularization_per_rating, init_scale, patience, refit",
    ):
        kind(train_options=options).fit(small.train)
    with pytest.raises(ValueError, match="train_options must be a dictionary"):
        kind(train_options=[*options]).fit(small.train)


together = [
    (dict(implicit=True, batch_size=10), "implicit=True needs"),
    (dict(batch_size=10, train_options=dict(dtype="tf32")), "dtype"),
    (dict(train_options=dict(dtype="bfloat16", activation="sigmoid")), "dtype"),
    (dict(train_options=dict(block_size=10)), "block_size"),
]


@pytest.mark.parametrize("options, named", together)
def test_what_does_not_go_together_is_refused(small, options, named):
    with pytest.raises(ValueError, match=named):
        MatrixFactorizationRegressor(device="cpu", **options).fit(small.train)


@pytest.mark.parametrize("name", ["regularization", "bias_regularization"])
def test_als_needs_a_penalty(small, name):
    with pytest.raises(ValueError, match=name):
        ALSFactorization(**{name: 0}, train_options=constant).fit(small.train)


def test_a_loss_that_is_not_finite_is_refused(R):
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train_matrix_factorization(R, **(quick | on_cpu | dict(learning_rate=1e25)))


def test_a_gpu_that_is_not_there_is_an_error(R):
    with pytest.raises(RuntimeError, match="cuda:7"):
        train_matrix_factorization(R, device="cuda:7", **quick)


def test_a_model_saved_on_a_gpu_loads_on_a_cpu(small, tmp_path):
    model = MatrixFactorizationRegressor(2, n_epochs=5, device="cpu").fit(small.train)
    model.params_["device"] = model.device_ = "cuda"  # as if it had been
    again = MatrixFactorizationRegressor.load(model.save(tmp_path / "model.npz"))
    assert np.array_equal(again.predict(small.test), model.predict(small.test))
    assert again.U_.dtype == np.float32
    if not torch.cuda.is_available():
        assert again.device is None and again.device_ == "cpu"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("implicit", [False, True])
def test_cuda_agrees_with_the_cpu(R, implicit):
    cpu, gpu = (
        train_matrix_factorization(R, device=device, implicit=implicit, **quick)[1]
        for device in ("cpu", "cuda")
    )
    assert cpu["train_rmse"].iloc[-1] == pytest.approx(gpu["train_rmse"].iloc[-1], rel=1e-3)


# Pictures


@pytest.mark.parametrize("n_users, n_movies, k", [(9, 7, 3), (2, 7, 4), (9, 1, 2)])
def test_main_factors_give_the_same_product_in_order_of_size(n_users, n_movies, k):
    rng = np.random.default_rng(0)
    U, V = rng.normal(size=(n_users, k)), rng.normal(size=(n_movies, k))
    P, Q = _main_factors(U, V)
    assert np.allclose(P @ Q.T, U @ V.T)
    size = np.square(Q).sum(0)
    assert np.allclose(np.square(P).sum(0), size) and (np.diff(size) <= 1e-9).all()
    assert np.allclose(Q.T @ Q, np.diag(size))


def test_titles_on_the_map_do_not_overlap():
    at = np.random.default_rng(0).normal(size=(200, 2))
    names, left = np.array(["ten chars."] * 200), at[:, 0] > 0
    shown = _at_the_edge(at, left, names, 12)
    x, y = (at / np.ptp(at, axis=0))[shown].T
    x -= left[shown] * 0.17
    x, y = (np.abs(a[:, None] - a)[np.triu_indices(12, 1)] for a in (x, y))
    assert shown.sum() == 12 and ((x > 0.17) | (y > 0.05)).all()
    assert not _at_the_edge(at, left, names, 0).any()


def test_the_map_asks_for_factors_that_there_are(small):
    model = ALSFactorization(n_factors=2, random_state=0).fit(small.train)
    with pytest.raises(ValueError, match="has 2 factors"):
        plot_factor_map(model, y=3)
    with pytest.raises(TypeError, match="fitted factorization"):
        plot_factor_map(ALSFactorization())
