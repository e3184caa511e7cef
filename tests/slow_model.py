"A model that takes its time; workers of Dask import it, and nothing else of the tests."

import time

from thu_big_data_ml.estimators.contract import RatingEstimator


class Slow(RatingEstimator):
    "The damped biases, and an offset."

    def __init__(self, offset=0, rating_scale=None, duplicates="error"):
        self.offset, self.rating_scale, self.duplicates = offset, rating_scale, duplicates

    def _fit(self, R, dates=None):
        time.sleep(0.05)

    def _score(self, u, i, dates=None):
        time.sleep(0.05)
        return self._baseline(u, i) + self.params_["offset"]
