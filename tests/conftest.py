import pytest

from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.evaluation.comparison import compare, default_models


@pytest.fixture(scope="session")
def sample():
    "The embedded real ratings, split 80/20."
    return load_ratings("sample")


@pytest.fixture(scope="session")
def comparison(sample):
    "The table of the report, from a run on the sample."
    return compare(default_models("cpu"), sample)[0]


def pytest_make_parametrize_id(val, argname):
    "Files as bytes hold the time of day: their tests are numbered, so that all workers agree."
    return argname if isinstance(val, bytes) else None
