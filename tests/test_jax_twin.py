"The twin in JAX makes the steps that the kernels make."
import sys

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from thu_big_data_ml.factor_kernels import error_gradient
from thu_big_data_ml.matrix_factorization import MatrixFactorization, cpu_arrays, train_matrix_factorization
from thu_big_data_ml.similarity import arrays_of


@pytest.fixture
def R():
    rng = np.random.default_rng(0)
    return csr_matrix((rng.integers(1, 6, (30, 20)) * (rng.random((30, 20)) < 0.4)).astype(np.float32))


def test_objective_and_gradient_equal_the_kernels(R):
    jax = pytest.importorskip("jax")
    from thu_big_data_ml.jax_twin import jax_cells, jax_parameters, objective

    model = MatrixFactorization(*R.shape, 5, bias=True, mean=3.0, init_scale=0.5, random_state=0)
    penalties = dict(U=2.0, V=2.0, b_u=1.0, b_i=1.0)
    (_, squares), gradient = jax.value_and_grad(objective, has_aux=True)(jax_parameters(model), jax_cells(R), 3.0, penalties)
    expected, by_kernels = error_gradient(arrays_of(R), arrays_of(R.T.tocsr()), *cpu_arrays(model), 3.0)
    assert float(squares) == pytest.approx(expected, rel=1e-5)
    for (name, p), g in zip(model.named_parameters(), by_kernels):
        np.testing.assert_allclose(gradient[name], g + penalties[name] * p.detach().numpy(), atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_training_follows_the_same_curve(R, bias):
    pytest.importorskip("jax")
    from thu_big_data_ml.jax_twin import train_in_jax

    options = dict(bias=bias, n_epochs=40, regularization=1, bias_regularization=1, random_state=0)
    _, history = train_in_jax(R, 4, **options)
    _, expected = train_matrix_factorization(R, None, 4, **options, device="cpu", verbose=False)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-3)


def test_without_jax_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    monkeypatch.delitem(sys.modules, "thu_big_data_ml.jax_twin", raising=False)
    with pytest.raises(ImportError, match=r"thu_big_data_ml\[jax\]"):
        import thu_big_data_ml.jax_twin  # noqa: F401
