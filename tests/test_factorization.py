"Training: learning, stopping, resuming, failing."
import numpy as np
import pytest
import torch

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.help import load_arrays


@pytest.fixture(scope="module")
def R():
    return synthetic_ratings(100, 80, 2500, random_state=0).matrix("train")


quick = dict(n_factors=4, n_epochs=30, random_state=0, verbose=False, device="cpu")


@pytest.mark.parametrize("batch_size", [None, 300])
@pytest.mark.parametrize("bias", [True, False])
def test_gradient_descends_the_stated_objective(R, batch_size, bias):
    model, history = train_matrix_factorization(R, bias=bias, regularization=2, bias_regularization=1, batch_size=batch_size, **quick)
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert list(history) == ["epoch", "seconds", "loss", "train_rmse", "validation_rmse"]
    dense = torch.from_numpy(R.toarray())
    if batch_size is None:  # the loss of the next step is the objective at the factors returned
        _, again = train_matrix_factorization(R, bias=bias, regularization=2, bias_regularization=1, **(quick | dict(n_epochs=31)))
        factors, biases = model.penalty()
        objective = masked_mse_loss(model(), dense) + (2 * factors + biases) / R.nnz
        assert float(objective.detach()) == pytest.approx(again["loss"].iloc[-1], rel=1e-5)
        assert float(masked_rmse_loss(model(), dense).detach()) == pytest.approx(again["train_rmse"].iloc[-1], rel=1e-5)


def test_dense_input_is_the_same_as_sparse(R):
    a, b = (train_matrix_factorization(X, **quick)[0].U for X in (R, R.toarray()))
    assert torch.equal(a, b)


def test_validation_decides_when_to_stop_and_the_best_comes_back():
    data = synthetic_ratings(100, 80, 2500, random_state=0)
    R, V = data.matrix("train"), data.matrix("test")
    model, history = train_matrix_factorization(R, V, **(quick | dict(n_factors=20, n_epochs=400, regularization=0, bias_regularization=0)), patience=10)
    best = history["validation_rmse"].argmin()
    assert len(history) == best + 11 < 400
    assert float(masked_rmse_loss(model(), torch.from_numpy(V.toarray())).detach()) == pytest.approx(history["validation_rmse"].min(), rel=1e-5)


@pytest.mark.parametrize("killed_after", [7, 10, 25])
@pytest.mark.parametrize("batch_size", [None, 300])
def test_a_killed_training_resumes_as_if_nothing_had_happened(R, tmp_path, monkeypatch, killed_after, batch_size):
    from thu_big_data_ml import matrix_factorization as module
    undisturbed, _ = train_matrix_factorization(R, batch_size=batch_size, **quick)
    real, calls = module.run_epoch, []

    def run_epoch(*args, **kwargs):
        calls.append(1)
        if len(calls) > killed_after:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(module, "run_epoch", run_epoch)
    with pytest.raises(KeyboardInterrupt):
        train_matrix_factorization(R, batch_size=batch_size, checkpoint=tmp_path / "state.npz", **quick)
    monkeypatch.setattr(module, "run_epoch", real)
    resumed, history = train_matrix_factorization(R, batch_size=batch_size, checkpoint=tmp_path / "state.npz", **quick)
    assert torch.equal(resumed.U, undisturbed.U) and len(history) == 30
    assert [p.name for p in tmp_path.iterdir()] == ["state.npz"]


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
def test_cuda_agrees_with_the_cpu(R):
    cpu, gpu = (train_matrix_factorization(R, **(quick | dict(device=device)))[1]["train_rmse"].iloc[-1] for device in ("cpu", "cuda"))
    assert cpu == pytest.approx(gpu, rel=1e-3)
