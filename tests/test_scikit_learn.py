"""scikit-learn's own checks, over every model.

They call `fit` and `predict` with arrays of arbitrary numbers and columns. A model refuses such
arrays, since its `X` is pairs of ids; what cannot hold for that reason is listed by name below.
So that the checks look beyond the refusal, they also run on each model with numbers made into
pairs, and there nothing is listed.
"""

import numpy as np
import pandas as pd
import pytest
from models import estimators
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import validate_data

import thu_big_data_ml
from thu_big_data_ml import CachedScore, RatingEstimator

columns = "X has one column, or three and more, and pairs have two"
words = "X has no two columns, which is said before what the check waits for"
refusals = {
    "check_fit_score_takes_y": columns,
    "check_dont_overwrite_parameters": columns,
    "check_n_features_in_after_fitting": columns,
    "check_positive_only_tag_during_fit": columns,
    "check_estimators_dtypes": columns,
    "check_dtype_object": columns,
    "check_pipeline_consistency": columns,
    "check_estimators_pickle": columns,
    "check_f_contiguous_array_estimator": columns,
    "check_regressors_train": columns,
    "check_regressor_data_not_an_array": columns,
    "check_regressors_no_decision_function": columns,
    "check_supervised_y_2d": columns,
    "check_regressors_int": columns,
    "check_methods_sample_order_invariance": columns,
    "check_methods_subset_invariance": columns,
    "check_dict_unchanged": columns,
    "check_fit2d_predict1d": columns,
    "check_complex_data": words,
    "check_estimators_empty_data_messages": words,
    "check_estimators_nan_inf": words,
    "check_fit2d_1sample": words,
    "check_fit2d_1feature": words,
    "check_requires_y_none": words,
    "check_n_features_in": "ids are no features, and a frame may have more columns than are read",
}
later = "fit only notes the ratings: the estimator inside looks at them when there is no score yet"
notes_only = {
    "check_complex_data": later,
    "check_dtype_object": later,
    "check_estimators_empty_data_messages": later,
    "check_estimators_nan_inf": later,
    "check_estimator_sparse_tag": later,
    "check_regressors_train": later,
    "check_supervised_y_2d": later,
    "check_supervised_y_no_nan": later,
    "check_dict_unchanged": later,
    "check_fit1d": later,
    "check_n_features_in": later,
    "check_n_features_in_after_fitting": later,
}


def hold(model, cannot_hold: dict):
    "Every check passes but those listed, and each of those fails."
    found = check_estimator(model, expected_failed_checks=cannot_hold, on_skip=None)
    passed = {row["check_name"] for row in found if row["status"] == "passed"}
    assert not passed & cannot_hold.keys(), "these hold: take them off the list"
    assert len(found) > 40


def quick(model):
    "A copy that takes as little time as it can, and pairs that are rated twice."
    options = dict(n_epochs=2, n_sweeps=2, n_chains=1, duplicates="mean")
    options |= dict(estimator__validation_fraction=0, estimator__n_epochs=1)
    return clone(model).set_params(**{n: options[n] for n in model.get_params() if n in options})


class OnNumbers:
    "Before a model: the first column of `X`, rounded, is the user, and the last is the movie."

    def fit(self, X, y=None):
        X, y = validate_data(self, X, y)
        n_features = self.n_features_in_
        super().fit(self.pairs_of(X), y)
        self.n_features_in_ = n_features
        return self

    def partial_fit(self, X, y=None):
        if not hasattr(self, "matrix_"):
            return self.fit(X, y)
        X, y = validate_data(self, X, y, reset=False)
        return super().partial_fit(self.pairs_of(X), y)

    def predict(self, X):
        X = validate_data(self, X, reset=False) if hasattr(self, "matrix_") else X
        return super().predict(self.pairs_of(X))

    def pairs_of(self, X):
        ids = np.round(X).astype(int)
        pairs = dict(user_id=ids[:, 0], movie_id=ids[:, -1])
        return pd.DataFrame(pairs | dict(date=pd.to_datetime(abs(ids[:, 0]), unit="D")))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # rounded numbers say little about the check's y
        tags.input_tags.string = tags.input_tags.categorical = False
        return tags


def on_numbers(kind: type) -> type:
    "The class with `OnNumbers` before it, where pickle finds it."
    name = f"{kind.__name__}OnNumbers"
    return globals().setdefault(name, type(name, (OnNumbers, kind), dict(__module__=__name__)))


def test_every_public_model_is_among_those_that_are_checked():
    public = [getattr(thu_big_data_ml, name) for name in thu_big_data_ml.__all__]
    kinds = {k for k in public if isinstance(k, type) and issubclass(k, RatingEstimator)}
    assert kinds - {RatingEstimator} <= {type(model) for model in estimators.values()}


@pytest.mark.parametrize("name", [n for n, m in estimators.items() if not m._uses_dates()])
def test_what_cannot_hold_for_pairs_is_listed(name):
    hold(quick(estimators[name]), refusals)


@pytest.mark.filterwarnings("ignore:After . (epochs|sweeps):UserWarning")  # so few on purpose
@pytest.mark.parametrize("name", estimators)
def test_everything_holds_for_numbers_made_into_pairs(name):
    model = quick(estimators[name])
    hold(on_numbers(type(model))(**model.get_params(deep=False)), {})


def test_a_cached_score_is_an_estimator():
    hold(CachedScore(Ridge()), notes_only)
