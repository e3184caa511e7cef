"Threads: after a fork, several at once, and what the user has set."

import importlib.metadata
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

SECONDS = 120  # a child that waits for lost threads takes forever
unset = ("OMP_WAIT_POLICY", "NUMBA_THREADING_LAYER")

linux = pytest.mark.skipif(sys.platform != "linux", reason="forks by default, and has GNU OpenMP")


def in_a_process(case: str, **environment: str) -> str:
    "What a function of this file prints in a process of its own: threads start once a process."
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", f"import test_threads; test_threads.{case}()"],
        cwd=Path(__file__).parent,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=3 * SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def forked(function):
    "What a function returns in a child of fork, within the time limit."
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply_async(function).get(timeout=SECONDS)


# After a fork


@linux
def test_in_a_forked_child_every_fitted_model_predicts_and_another_is_fitted():
    assert in_a_process("use_a_child").split() == ["tbb", "equal"]


def use_a_child():
    predict_in_a_child()
    fit_in_a_child()


def predict_in_a_child():
    import numba
    from models import estimators

    from thu_big_data_ml import synthetic_ratings

    global predict_all
    data = synthetic_ratings(60, 50, 1500, random_state=0)
    fitted = {name: model.fit(data.train) for name, model in estimators.items()}

    def predict_all():
        return {name: model.predict(data.test) for name, model in fitted.items()}

    here = predict_all()
    there = forked(predict_all)
    for name in fitted:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    print(numba.threading_layer())


def fit_in_a_child():
    from thu_big_data_ml import MatrixFactorizationRegressor, synthetic_ratings

    global fit
    data = synthetic_ratings(500, 400, 60_000, random_state=0)  # enough for torch's threads

    def fit():
        model = MatrixFactorizationRegressor(n_epochs=3, random_state=0, device="cpu")
        return model.fit(data.train).predict(data.test)

    np.testing.assert_allclose(fit(), forked(fit), rtol=1e-5)
    print("equal")


@linux
def test_without_tbb_the_child_says_what_to_do():
    said = in_a_process("fork_without_tbb")
    assert "'spawn'" in said and "pip install tbb" in said


def fork_without_tbb():
    files = importlib.metadata.files

    def without_tbb(name):
        if name == "tbb":
            raise importlib.metadata.PackageNotFoundError(name)
        return files(name)

    importlib.metadata.files = without_tbb
    import numba

    from thu_big_data_ml import UserCF, synthetic_ratings

    global predict
    data = synthetic_ratings(60, 50, 1500, random_state=0)
    model = UserCF(device="cpu").fit(data.train)
    assert numba.threading_layer() == "omp"

    def predict():
        return model.predict(data.test)

    try:
        forked(predict)
    except RuntimeError as error:
        print(error)


# Several at once


def test_several_threads_predict_at_once():
    from thu_big_data_ml import UserCF, synthetic_ratings

    data = synthetic_ratings(200, 150, 9000, random_state=0)
    model = UserCF(center="baseline", device="cpu").fit(data.train)
    expected = model.predict(data.test)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(model.predict, [data.test] * 32, timeout=SECONDS):
            np.testing.assert_array_equal(found, expected)


# What the user has set


def show_settings():
    import thu_big_data_ml
    from thu_big_data_ml._compiling import get_num_threads

    get_num_threads()  # starts the threads
    import numba

    assert thu_big_data_ml.__version__
    print(os.environ["OMP_WAIT_POLICY"], numba.threading_layer())


def test_threads_that_wait_sleep():
    assert in_a_process("show_settings").split()[0] == "passive"


def test_what_is_set_already_stays():
    said = in_a_process(
        "show_settings", OMP_WAIT_POLICY="active", NUMBA_THREADING_LAYER="workqueue"
    )
    assert said == "active workqueue"
