"The public names as a user with a type checker calls them: mypy reads it, nobody runs it."

from pathlib import Path
from typing import assert_type

import numpy as np
import pandas as pd

import thu_big_data_ml as lib
from thu_big_data_ml import UserCF, compare, default_models, load_ratings, rmse, synthetic_ratings


def data_and_metrics() -> None:
    data = load_ratings("sample", test_size=0.2, random_state=0)
    assert_type(data, lib.RatingData)
    assert_type(data.test, pd.DataFrame)
    made = synthetic_ratings(100, 50, 1000, random_state=0)
    assert_type(made, lib.RatingData)
    y, prediction = data.test["rating"].to_numpy(), np.zeros(len(data.test))
    assert_type(rmse(y, prediction), float)
    assert_type(lib.mae(y, prediction), float)
    assert_type(lib.data_path, Path)
    assert_type(lib.get_device("cpu"), str)


def estimators() -> None:
    data = load_ratings("sample")
    model = UserCF(n_neighbors=40, center="baseline", shrinkage=30, damping=0.1)
    fitted = model.fit(data.train, movies=data.movies)
    assert_type(fitted, UserCF)
    prediction = fitted.predict(data.test)
    rmse(data.test["rating"], prediction)
    assert_type(fitted.recommend(1, n=5), pd.DataFrame)
    assert_type(fitted.similar_users(1, 5), pd.DataFrame)
    assert_type(fitted.explain(1, 2), pd.DataFrame)
    path = fitted.save("model.npz")
    assert_type(path, Path)
    assert_type(UserCF.load(path), UserCF)


def tables() -> None:
    models = default_models("cpu")
    table, predictions = compare(models, load_ratings("sample"))
    assert_type(table, pd.DataFrame)
    assert_type(predictions, pd.DataFrame)
    lib.plot_comparison(table).show()
