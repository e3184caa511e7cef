"""One list of models for every test that runs over all of them: a new model is a line here."""

import re
from pathlib import Path

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *


def recipe():
    "The class of CONTRIBUTING.md."
    page = Path(__file__).resolve().parents[1] / "CONTRIBUTING.md"
    names = {"__name__": "recipe"}
    exec(re.search(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.S)[1], names)
    return names["ResidualSVD"]


quick = dict(n_epochs=30, random_state=0, device="cpu")
near = dict(n_neighbors=5, shrinkage=10, device="cpu")
short = dict(n_epochs=30, random_state=0)
draws = dict(n_chains=2, n_sweeps=30, random_state=0)
bounded = dict(activation="sigmoid")
mf = MatrixFactorizationRegressor

estimators = {
    "biases": BaselinePredictor(),
    "user_cf": UserCF(device="cpu"),
    "user_knn": UserCF(center="baseline", metric="pearson", damping=0.1, **near),
    "movie_knn": ItemCF(center="zscore", **near),
    "user_cf_in_blocks": UserCF(center="mean", max_memory=80_000, device="cpu"),
    "recipe": recipe()(random_state=0),
    "mf": mf(**quick),
    "mf_plain": mf(bias=False, regularization=1, batch_size=500, **quick),
    "mf_bounded": mf(regularization=2, train_options=bounded, **quick),
    "mf_biases": mf(implicit=False, **quick),
    "sgd": SGDFactorization(**short),
    "als": ALSFactorization(**short),
    "corrected": NeighborCorrected(mf(**quick)),
    "gibbs": GibbsFactorization(4, **draws),
    "gibbs_time": GibbsFactorization(4, time=True, **draws),
    "variational": VariationalFactorization(4, random_state=0, device="cpu"),
    "variational_time": VariationalFactorization(4, time=True, random_state=0, device="cpu"),
    "gibbs_drift": GibbsFactorization(4, time="drift", **draws),
}

# Stars by which a model may miss the checkerboard, where it has something else in mind:
# biases know no taste, the plain cosine never loses sight of the other kind, the recipe takes empty
# cells for average ones, and a penalty that suits real ratings draws factors to zero.
penalised = dict(mf=1.1, mf_bounded=1.5, mf_biases=0.9, sgd=0.6, als=0.6)
misses = {"biases": 2.1, "user_cf": 1.2, "recipe": 1.6, **penalised}
# On a checkerboard these need not find similar users of the same kind: their output is bounded.
unlike = {"biases", "mf_bounded"}
