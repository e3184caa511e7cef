"Training: learning, stopping, resuming, failing."

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.data._sparse import arrays_of
from thu_big_data_ml.estimators._saving import load_arrays
from thu_big_data_ml.factorization._kernels import (
    adamw_step,
    als_half_sweep,
    deal,
    error_gradient,
    group_ratings,
    predict_pairs,
    sgd_epoch,
)
from thu_big_data_ml.factorization._solvers import FullBatchAdamW
from thu_big_data_ml.factorization._torch_solvers import AutogradAdamW, TiledAdamW
from thu_big_data_ml.factorization._training import choose_solver, weigh_rows
from thu_big_data_ml.factorization.als import ALS
from thu_big_data_ml.factorization.sgd import SGD


@pytest.fixture(scope="module")
def R():
    return synthetic_ratings(100, 80, 2500, random_state=0).matrix("train")


quick = dict(n_factors=4, n_epochs=30, random_state=0, verbose=False, device="cpu")


shapes = [
    (1, 1, 1),
    (1, 40, 5),
    (40, 1, 8),
    (30, 25, 15),
    (70, 200, 50),
]  # k below, at, and off multiples of 8
solvers = ["adamw", "sgd", "als"]


def problem(n_users, n_movies, k, seed=0):
    """Ratings with empty rows and columns where there is room for them, in half stars, and
    random parameters.
    """
    rng = np.random.default_rng(seed)
    R = rng.integers(1, 11, (n_users, n_movies)) / 2 * (rng.random((n_users, n_movies)) < 0.3)
    R[1::7], R[:, 2::9] = 0, 0
    R[0, 0] = 3.5
    return csr_matrix(R, dtype=np.float32), [
        (0.5 * rng.standard_normal(shape)).astype(np.float32)
        for shape in ((n_users, k), (n_movies, k), n_users, n_movies)
    ]


def sides(R):
    return arrays_of(R), arrays_of(R.T.tocsr())


def plant(parameters, R, *, bias=True, ends=None, exponent=0, kind=FullBatchAdamW, **settings):
    "A solver whose model starts from given parameters."
    U, V, b_u, b_i = (torch.from_numpy(p.copy()) for p in parameters)
    model = weigh_rows(
        MatrixFactorization(len(U), len(V), U.shape[1], bias=bias, mean=3.0, ends=ends), R, exponent
    )
    with torch.no_grad():
        for p, value in zip(model.parameters(), (U, V, b_u, b_i)):
            p.copy_(value)
    return kind(
        model,
        R,
        dict(
            learning_rate=0.02,
            learning_rate_decay=0.9,
            regularization=2.0,
            bias_regularization=1.0,
            weight_decay=0.1,
            batch_size=None,
            block_size=16,
            dtype="float32",
            bias=bias,
        )
        | settings,
    )


@pytest.mark.parametrize("n_users, n_movies, k", shapes)
def test_kernel_gradient_equals_autograd(n_users, n_movies, k):
    R, parameters = problem(n_users, n_movies, k)
    squares, gradients = error_gradient(*sides(R), *parameters, 3.0)
    U, V, b_u, b_i = leaves = [torch.from_numpy(p).double().requires_grad_() for p in parameters]
    dense = torch.from_numpy(R.toarray()).double()
    error = (U @ V.T + 3.0 + b_u[:, None] + b_i - dense)[dense != 0].square().sum()
    (error / 2).backward()
    assert squares == pytest.approx(error.item(), rel=1e-5)
    for gradient, leaf in zip(gradients, leaves):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_do_not_depend_on_the_number_of_threads(threads, monkeypatch):
    import numba

    from thu_big_data_ml import _compiling

    monkeypatch.setattr(_compiling, "SMALL", 0)  # so that small problems get all threads too
    R, parameters = problem(300, 200, 24)
    if threads > numba.config.NUMBA_NUM_THREADS:
        pytest.skip("fewer threads here")
    results, before = [], numba.get_num_threads()
    try:
        for n in (1, threads):
            numba.set_num_threads(n)
            for kind in (FullBatchAdamW, SGD, ALS):
                solver = plant(parameters, R, kind=kind)
                results.append(
                    [solver.epoch(number, seed=(0, number)) for number in range(3)]
                    + [p.detach().numpy().tobytes() for p in solver.model.parameters()]
                )
    finally:
        numba.set_num_threads(before)
    assert results[:3] == results[3:]


@pytest.mark.parametrize(
    "bias, ends, exponent",
    [(True, None, 0), (False, None, 0.5), (True, (0.5, 5), 1), (False, (0.5, 5), 0)],
)
@pytest.mark.parametrize("n_users, n_movies, k", shapes)
def test_kernels_and_autograd_take_the_same_step(n_users, n_movies, k, bias, ends, exponent):
    R, parameters = problem(n_users, n_movies, k)
    kernels, autograd = (
        plant(parameters, R, bias=bias, ends=ends, exponent=exponent, kind=kind)
        for kind in (FullBatchAdamW, AutogradAdamW)
    )
    for number in range(10):
        assert kernels.epoch(number, seed=0) == pytest.approx(
            autograd.epoch(number, seed=0), rel=1e-4
        )
    for a, b in zip(kernels.model.parameters(), autograd.model.parameters()):
        far = (a - b).abs().detach()
        assert (
            far.median() < 1e-5 and far.max() < 0.02
        )  # where a gradient is all rounding, its sign, and so a first step, is chance
    assert kernels.state().keys() == autograd.state().keys()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("block_size", [1, 16, None])
@pytest.mark.parametrize("n_users, n_movies, k", shapes)
def test_tiles_have_the_gradient_of_the_kernels(n_users, n_movies, k, block_size, bias):
    R, parameters = problem(n_users, n_movies, k)
    if not bias:
        parameters[2:] = [np.zeros_like(p) for p in parameters[2:]]
    squares, gradients = error_gradient(*sides(R), *parameters, 3.0 if bias else 0.0)
    for dtype, near in (("float32", 1e-5), ("tf32", 5e-3), ("bfloat16", 5e-2)):
        tiles = plant(parameters, R, bias=bias, kind=TiledAdamW, dtype=dtype, block_size=block_size)
        found, by_tiles = tiles.gradient()
        assert float(found) == pytest.approx(squares, rel=near)
        for gradient, expected in list(zip(by_tiles, gradients))[: None if bias else 2]:
            np.testing.assert_allclose(gradient, expected, atol=near * np.abs(expected).max())
        assert all(torch.equal(a, b) for a, b in zip(by_tiles, tiles.gradient()[1]))


@pytest.mark.parametrize("decay, penalty", [(0.0, 0.0), (0.3, 0.0), (0.0, 5.0), (0.1, 2.0)])
def test_adamw_step_equals_torch(decay, penalty):
    rng = np.random.default_rng(0)
    p = rng.standard_normal((997, 13)).astype(np.float32)  # not a multiple of the block
    leaf, mean, square = (
        torch.from_numpy(p.copy()).requires_grad_(),
        np.zeros_like(p),
        np.zeros_like(p),
    )
    optimizer = torch.optim.AdamW([leaf], lr=0.02, weight_decay=decay)
    for step in range(1, 31):
        gradient = rng.standard_normal(p.shape).astype(np.float32)
        leaf.grad = torch.from_numpy(gradient) + penalty * leaf.detach()
        optimizer.step()
        before = np.square(p, dtype=float).sum()
        assert adamw_step(
            p, gradient, mean, square, rate=0.02, step=step, penalty=penalty, decay=decay
        ) == pytest.approx(before, rel=1e-6)
    np.testing.assert_allclose(p, leaf.detach().numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(square, optimizer.state[leaf]["exp_avg_sq"].numpy(), rtol=1e-5)


@pytest.mark.parametrize("n_users, n_movies, k", shapes)
def test_als_finds_the_minimum(n_users, n_movies, k):
    R, (U, V, b_u, b_i) = problem(n_users, n_movies, k)
    left = als_half_sweep(arrays_of(R), U, b_u, V, b_i, 3.0, penalty=2, bias_penalty=1)
    squares, (g_U, _, g_u, _) = error_gradient(*sides(R), U, V, b_u, b_i, 3.0)
    np.testing.assert_allclose(g_U + 2 * U, 0, atol=2e-3)
    np.testing.assert_allclose(g_u + b_u, 0, atol=2e-3)
    assert left == pytest.approx(
        squares + 2 * np.square(U, dtype=float).sum() + np.square(b_u, dtype=float).sum(), rel=1e-4
    )
    assert not U[np.diff(R.indptr) == 0].any() and not b_u[np.diff(R.indptr) == 0].any()


def test_als_never_raises_the_objective_and_reports_it():
    R, parameters = problem(60, 50, 6)
    solver = plant(parameters, R, kind=ALS)
    losses = []
    for number in range(8):
        objective, squares = solver.epoch(number, seed=0)
        model = solver.model
        factors, biases = model.penalty()
        error = 2 * R.nnz * float(masked_mse_loss(model(), torch.from_numpy(R.toarray())).detach())
        assert squares == pytest.approx(error, rel=1e-4)
        assert objective == pytest.approx(
            error / 2 + float((2 * factors + biases).detach()), rel=1e-4
        )
        losses.append(objective)
    assert (np.diff(losses) < 1e-3).all()


@pytest.mark.parametrize("n_users, n_movies, k", shapes)
def test_sgd_sees_every_rating_once(n_users, n_movies, k):
    R, parameters = problem(n_users, n_movies, k)
    (indptr, indices, values), group = group_ratings(R)
    assert len(indptr) == 8 * n_users + 1 and sorted(
        zip(np.repeat(np.arange(8 * n_users), np.diff(indptr)) % n_users, indices, values)
    ) == sorted(zip(*R.nonzero(), R.data))
    before = [p.copy() for p in parameters]
    squares = sgd_epoch((indptr, indices, values), group, *parameters, 3.0, rate=0.0, penalty=5)
    u, i = R.nonzero()
    assert squares == pytest.approx(
        np.square(
            predict_pairs(u.astype(np.int64), i.astype(np.int64), *before, 3.0) - R.data
        ).sum(),
        rel=1e-4,
    )
    assert all(
        np.array_equal(a, b) for a, b in zip(before, parameters)
    )  # a rate of 0 moves nothing


def test_groups_of_sgd_share_no_rows_and_have_even_totals():
    counts = np.random.default_rng(0).pareto(1.2, 1000)
    group = deal(counts)
    totals = np.bincount(group, counts)
    assert set(group) == set(range(8)) and np.ptp(np.bincount(group)) == 0
    assert totals.max() - totals.min() <= 2 * counts.max()


@pytest.mark.parametrize("solver", solvers)
@pytest.mark.parametrize("bias", [True, False])
def test_solvers_find_planted_factors(solver, bias):
    data = synthetic_ratings(400, 300, 30_000, random_state=1)
    model = MatrixFactorizationRegressor(
        n_factors=8, solver=solver, bias=bias, random_state=0, device="cpu"
    ).fit(data.train)
    error, base = (
        rmse(data.test["rating"], m.predict(data.test))
        for m in (model, BaselinePredictor().fit(data.train))
    )
    assert error < base - (0.01 if bias else -0.1)
    assert model.history_["loss"].iloc[-1] < model.history_["loss"].iloc[0]
    assert list(model.history_) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
    assert bias or not model.b_u_.any()


@pytest.mark.parametrize("solver", solvers)
def test_solvers_repeat_resume_and_stop(solver, tmp_path):
    data = synthetic_ratings(100, 80, 2500, random_state=0)
    R, V = data.matrix("train"), data.matrix("test")
    options = quick | dict(solver=solver)
    first, again = (train_matrix_factorization(R, V, **options)[0] for _ in range(2))
    assert torch.equal(first.U, again.U) and torch.equal(first.V, again.V)
    whole, _ = train_matrix_factorization(R, **options)
    train_matrix_factorization(
        R, checkpoint=tmp_path / "state.npz", **(options | dict(n_epochs=13))
    )
    resumed, history = train_matrix_factorization(R, checkpoint=tmp_path / "state.npz", **options)
    assert torch.equal(resumed.U, whole.U) and len(history) == 30
    with pytest.raises(ValueError, match="solver"):
        train_matrix_factorization(
            R,
            checkpoint=tmp_path / "state.npz",
            **(options | dict(solver="als" if solver == "sgd" else "sgd")),
        )


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


def test_the_solver_is_chosen_by_device_and_batches():
    assert (
        choose_solver("adamw", "cpu")[0] is FullBatchAdamW
        and choose_solver("adamw", "cpu", 100)[0] is AutogradAdamW
    )
    assert choose_solver("sgd", None) == (SGD, "cpu") and choose_solver("als", "auto") == (
        ALS,
        "cpu",
    )
    for options in (
        dict(device="cuda"),
        dict(batch_size=10),
        dict(weight_decay=0.1),
        dict(activation="sigmoid"),
        dict(regularization_exponent=1),
        dict(solver="newton"),
    ):
        with pytest.raises(ValueError, match="solver"):
            MatrixFactorizationRegressor(**(dict(solver="sgd") | options)).fit(
                [[1, 1], [1, 2]], [3, 4]
            )
    with pytest.raises(ValueError, match="penalty"):
        MatrixFactorizationRegressor(solver="als", regularization=0).fit(
            [[1, 1], [1, 2], [2, 1]], [3, 4, 5]
        )


def test_kernel_gradient_of_bounded_predictions_equals_finite_differences():
    R, parameters = problem(12, 9, 3)
    parameters = [p.astype(np.float32) for p in parameters]

    def half():
        return error_gradient(*sides(R), *parameters, 0.3, (0.5, 5))[0] / 2

    gradients = error_gradient(*sides(R), *parameters, 0.3, (0.5, 5))[1]
    for p, gradient in zip(parameters, gradients):
        before, at = p.flat[0], []
        for step in (0.01, -0.01):
            p.flat[0] = before + np.float32(step)
            at.append(half())
        p.flat[0] = before
        assert (at[0] - at[1]) / 0.02 == pytest.approx(gradient.flat[0], rel=0.01, abs=0.01)


@pytest.mark.parametrize("bias", [True, False])
def test_bounded_predictions_stay_on_the_scale_learn_and_are_explained(bias):
    data = synthetic_ratings(400, 300, 30_000, random_state=1)
    model = MatrixFactorizationRegressor(
        8, bias=bias, activation="sigmoid", random_state=0, device="cpu"
    ).fit(data.train)
    assert (
        rmse(data.test["rating"], model.predict(data.test))
        < rmse(data.test["rating"], np.full(len(data.test), 3.6)) - 0.1
    )
    u, i = np.divmod(np.arange(len(model.U_) * len(model.V_)), len(model.V_))
    assert model._factor_score(u, i).min() > 1 and model._factor_score(u, i).max() < 5
    for user, movie in data.test[["user_id", "movie_id"]].head(5).to_numpy().tolist():
        assert model.explain(user, movie)["contribution"].sum() == pytest.approx(
            model.predict([[user, movie]])[0], abs=1e-4
        )
    equal = MatrixFactorizationRegressor(activation="sigmoid", n_epochs=2).fit(
        [[1, 1], [1, 2]], [3, 3]
    )
    assert equal.predict([[1, 2]]) == [3]


def test_penalties_follow_the_counts_of_ratings():
    R, parameters = problem(30, 25, 4)
    n = np.maximum(np.diff(R.indptr), 1) / np.diff(R.indptr).mean()
    solver = plant(parameters, R, exponent=0.5)
    np.testing.assert_allclose(solver.penalties[0], 2 * n**0.5, rtol=1e-5)
    objective, squares = solver.epoch(0, seed=0)
    U, V, b_u, b_i = (np.asarray(p, float) for p in parameters)
    weights = solver.penalties[0] / 2, solver.penalties[1] / 2
    assert objective - squares / 2 == pytest.approx(
        sum(w @ (2 * (X**2).sum(1) + b**2) / 2 for w, X, b in zip(weights, (U, V), (b_u, b_i))),
        rel=1e-4,
    )


@pytest.mark.parametrize("batch_size", [None, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_descends_the_stated_objective(R, batch_size, bias):
    model, history = train_matrix_factorization(
        R, bias=bias, regularization=2, bias_regularization=1, batch_size=batch_size, **quick
    )
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert list(history) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
    dense = torch.from_numpy(R.toarray())
    if batch_size is None:  # the loss of the next step is the objective at the factors returned
        _, again = train_matrix_factorization(
            R, bias=bias, regularization=2, bias_regularization=1, **(quick | dict(n_epochs=31))
        )
        factors, biases = model.penalty()
        objective = masked_mse_loss(model(), dense) + (2 * factors + biases) / R.nnz
        assert float(objective.detach()) == pytest.approx(again["loss"].iloc[-1], rel=1e-5)
        assert float(masked_rmse_loss(model(), dense).detach()) == pytest.approx(
            again["train_rmse"].iloc[-1], rel=1e-5
        )


def test_dense_input_is_the_same_as_sparse(R):
    a, b = (train_matrix_factorization(X, **quick)[0].U for X in (R, R.toarray()))
    assert torch.equal(a, b)


def test_validation_decides_when_to_stop_and_the_best_comes_back():
    data = synthetic_ratings(100, 80, 2500, random_state=0)
    R, V = data.matrix("train"), data.matrix("test")
    model, history = train_matrix_factorization(
        R,
        V,
        **(quick | dict(n_factors=20, n_epochs=400, regularization=0, bias_regularization=0)),
        patience=10,
    )
    best = history["validation_rmse"].argmin()
    assert len(history) == best + 11 < 400
    assert float(
        masked_rmse_loss(model(), torch.from_numpy(V.toarray())).detach()
    ) == pytest.approx(history["validation_rmse"].min(), rel=1e-5)


@pytest.mark.parametrize("killed_after", [7, 10, 25])
@pytest.mark.parametrize("batch_size", [None, 300])
def test_a_killed_training_resumes_as_if_nothing_had_happened(
    R, tmp_path, monkeypatch, killed_after, batch_size
):
    from thu_big_data_ml.factorization import training as module

    undisturbed, _ = train_matrix_factorization(R, batch_size=batch_size, **quick)
    real, calls = module.run_epoch, []

    def run_epoch(*args, **kwargs):
        calls.append(1)
        if len(calls) > killed_after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "run_epoch", run_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_matrix_factorization(
            R, batch_size=batch_size, checkpoint=tmp_path / "state.npz", **quick
        )
    monkeypatch.setattr(module, "run_epoch", real)
    resumed, history = train_matrix_factorization(
        R, batch_size=batch_size, checkpoint=tmp_path / "state.npz", **quick
    )
    assert torch.equal(resumed.U, undisturbed.U) and len(history) == 30
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]


def test_a_checkpoint_of_other_ratings_is_refused(R, tmp_path):
    train_matrix_factorization(R, checkpoint=tmp_path / "state.npz", **quick)
    other = R.copy()
    other.data = 6 - other.data
    for changed in (other, R[:, ::-1]):
        with pytest.raises(ValueError, match="ratings differ"):
            train_matrix_factorization(changed, checkpoint=tmp_path / "state.npz", **quick)


@pytest.mark.parametrize("dtype", ["float32", "tf32"])  # by kernels, by matrix products
@pytest.mark.parametrize("bias", [True, False])
def test_links_to_who_rated_what_continue_from_a_checkpoint(R, tmp_path, bias, dtype):
    options = quick | dict(bias=bias, implicit=True, dtype=dtype)
    whole, _ = train_matrix_factorization(R, **options)
    train_matrix_factorization(
        R, checkpoint=tmp_path / "state.npz", **(options | dict(n_epochs=10))
    )
    continued, history = train_matrix_factorization(R, checkpoint=tmp_path / "state.npz", **options)
    assert len(history) == options["n_epochs"] and all(
        torch.equal(a, b) for a, b in zip(whole.parameters(), continued.parameters())
    )
    plain, _ = train_matrix_factorization(R, **(options | dict(implicit=False)))
    assert not torch.allclose(plain.U, whole.U, atol=1e-3)


def test_links_to_who_rated_what_pay_on_real_ratings():
    data = load_ratings("sample")
    plain, linked = (
        rmse(
            data.test["rating"],
            MatrixFactorizationRegressor(implicit=implicit, random_state=0, device="cpu")
            .fit(data.train)
            .predict(data.test),
        )
        for implicit in (False, True)
    )
    assert linked < plain - 0.01


def test_links_to_who_rated_what_do_no_harm_where_they_say_nothing():
    data = synthetic_ratings(
        1000, 1000, 400_000, random_state=0
    )  # so many ratings a user that steps of second rows add up
    plain, linked = (
        rmse(
            data.test["rating"],
            MatrixFactorizationRegressor(
                8, implicit=implicit, n_epochs=100, random_state=0, device="cpu"
            )
            .fit(data.train)
            .predict(data.test),
        )
        for implicit in (False, True)
    )
    assert linked < plain + 0.01


@pytest.mark.parametrize("options", [dict(solver="sgd"), dict(solver="als"), dict(batch_size=10)])
def test_links_to_who_rated_what_are_refused_where_they_do_not_go(options):
    train = synthetic_ratings(60, 50, 900, random_state=0).train
    with pytest.raises(ValueError, match="implicit=True needs"):
        MatrixFactorizationRegressor(implicit=True, **options).fit(train)


def test_an_estimator_continues_without_a_seed(tmp_path):
    train = synthetic_ratings(60, 50, 900, random_state=0).train
    for n_epochs in (10, 20):
        model = MatrixFactorizationRegressor(
            n_epochs=n_epochs, checkpoint=tmp_path / "state.npz", device="cpu", refit=False
        ).fit(train)
        assert len(model.history_) == n_epochs


@pytest.mark.parametrize(
    "name, value",
    [
        ("n_factors", 0),
        ("n_neighbors", -1),
        ("n_epochs", 0),
        ("patience", 0),
        ("batch_size", -1),
        ("learning_rate", 0),
        ("init_scale", -1),
        ("regularization", -1),
        ("regularization", float("nan")),
        ("regularization_exponent", -1),
        ("activation", "relu"),
        ("validation_fraction", 1),
    ],
)
def test_settings_that_make_no_sense_are_named(name, value):
    train = synthetic_ratings(60, 50, 900, random_state=0).train
    with pytest.raises(ValueError, match=name):
        MatrixFactorizationRegressor(**{name: value}).fit(train)


def test_a_damaged_checkpoint_is_named(R, tmp_path):
    (tmp_path / "state.npz").write_bytes(b"half a file")
    with pytest.raises(ValueError, match="state.npz"):
        train_matrix_factorization(R, checkpoint=tmp_path / "state.npz", **quick)


def test_a_loss_that_is_not_finite_is_refused(R):
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train_matrix_factorization(R, **(quick | dict(learning_rate=1e25)))


def test_a_gpu_that_is_not_there_is_an_error(R):
    with pytest.raises(RuntimeError, match="cuda:7"):
        train_matrix_factorization(R, **(quick | dict(device="cuda:7")))


def test_a_model_saved_on_a_gpu_loads_on_a_cpu(tmp_path):
    data = synthetic_ratings(60, 50, 900, random_state=0)
    model = MatrixFactorizationRegressor(**quick).fit(data.train)
    model.set_params(device="cuda").device_ = "cuda"  # as if it had been
    again = MatrixFactorizationRegressor.load(model.save(tmp_path / "model.npz"))
    assert np.array_equal(again.predict(data.test), model.predict(data.test))
    arrays, settings = load_arrays(tmp_path / "model.npz")
    assert arrays["U_"].dtype == np.float32 and settings["attributes"]["device"] == "cuda"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("implicit", [False, True])
def test_cuda_agrees_with_the_cpu(R, implicit):
    cpu, gpu = (
        train_matrix_factorization(R, **(quick | dict(device=device, implicit=implicit)))[1][
            "train_rmse"
        ].iloc[-1]
        for device in ("cpu", "cuda")
    )
    assert cpu == pytest.approx(gpu, rel=1e-3)
