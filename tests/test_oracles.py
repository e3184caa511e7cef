"""What is computed fast and in float32, against the same formulas written plainly in float64.

Neighbours against loops; gradients against finite differences; least squares against the normal
equations; the sampler against the distribution that it must leave as it is.
"""

from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.stats import gamma, kstest
from trials import SEED, trials

from thu_big_data_ml.bayesian._draw_kernels import draw_rows
from thu_big_data_ml.bayesian._priors import draw_precision
from thu_big_data_ml.bayesian._sweeps import bases_of, new_state, sweep
from thu_big_data_ml.bayesian._time_effects import new_grouping
from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.factorization._solvers import ALS, SGD, FullBatchAdamW, ImplicitAdamW
from thu_big_data_ml.factorization._torch_solvers import (
    AutogradAdamW,
    ImplicitTiledAdamW,
    TiledAdamW,
)

# Neighbours

choices = dict(
    metric=["cosine", "corated", "pearson"],
    center=[None, "mean", "zscore", "baseline"],
    n_neighbors=[None, 1, 2, 5, 50],
    shrinkage=[0, 0.5, 10],
    min_support=[0, 1, 2, 3],
    amplification=[1, 0.5, 2.5],
    damping=[0, 0.1, 3],
    negative=["drop", "keep"],
    exclude_self=[True, False],
)
stars = dict(
    whole=lambda rng, n: rng.integers(1, 6, n),
    halves=lambda rng, n: rng.integers(1, 11, n) / 2,
    zeros=lambda rng, n: rng.integers(0, 6, n),
    negatives=lambda rng, n: rng.integers(-5, 6, n),
    reals=lambda rng, n: rng.normal(0, 3, n),
    hundreds=lambda rng, n: rng.integers(0, 101, n),
)
few_products = [2**33, 0]  # dense products, or block by block


def some_ratings(rng):
    "A matrix of ratings, float64 of float32 numbers, and which cells hold one."
    n, m = rng.integers(1, 16, 2)
    M = rng.random((n, m)) < rng.uniform(0.2, 1)
    M[0, 0] = True
    kind = rng.choice(list(stars))
    return stars[kind](rng, (n, m)).astype(np.float32).astype(float) * M, M


def some_options(rng):
    "A combination of options of `UserCF`; damping needs a center."
    options = {name: values[rng.integers(len(values))] for name, values in choices.items()}
    return options if options["center"] else options | dict(damping=0)


def plain_biases(R, M, damping=(8, 5)):
    "Ten alternations of damped biases."
    mu, (n, m) = R[M].mean(), R.shape
    b_u, b_i = np.zeros(n), np.zeros(m)
    for _ in range(10):
        for i in range(m):
            b_i[i] = sum(R[u, i] - mu - b_u[u] for u in range(n) if M[u, i])
            b_i[i] /= M[:, i].sum() + damping[1]
        for u in range(n):
            b_u[u] = sum(R[u, i] - mu - b_i[i] for i in range(m) if M[u, i])
            b_u[u] /= M[u].sum() + damping[0]
    return mu + b_u[:, None] + b_i


def plain_center(R, M, center, damping):
    "Deviations, levels and scales."
    level, scale = np.zeros(R.shape), np.ones(len(R))
    if center in ("mean", "zscore"):
        level += [[R[u][M[u]].mean() if M[u].any() else 0] for u in range(len(R))]
    if center == "baseline":
        level = plain_biases(R, M, damping)
    E = np.where(M, R - level, 0)
    if center == "zscore":
        average = (E[M] ** 2).mean()
        for u in range(len(R)):
            scale[u] = np.sqrt(((E[u] ** 2).sum() + 5 * average) / (M[u].sum() + 5)) or 1
    return E / scale[:, None], level, scale


def plain_similarity(E, M, metric, shrinkage, min_support):
    "The similarity of every pair of rows, one after the other; NaN for those not compared."
    S = np.full((len(E), len(E)), np.nan)
    for u, v in product(range(len(E)), repeat=2):
        common = M[u] & M[v]
        at = slice(None) if metric == "cosine" else common
        norms = np.sqrt((E[u][at] ** 2).sum() * (E[v][at] ** 2).sum())
        if common.sum() >= max(min_support, 1) and norms > 0:
            n = common.sum()
            S[u, v] = (E[u] * E[v])[common].sum() / norms * n / (n + shrinkage)
    return S


def plain_weights(S, negative, amplification, exclude_self):
    "Similarities as weights; and how far those of float32 similarities may be from them."
    compared, S = ~np.isnan(S), np.nan_to_num(S)
    near = 3e-6  # what rounding may change a similarity by: some ten units of float32 near 1
    low, high = (np.sign(s) * abs(s) ** amplification for s in (S - near, S + near))
    W = np.sign(S) * abs(S) ** amplification
    if negative == "drop":
        W, low, high = (np.maximum(w, 0) for w in (W, low, high))
    slack = np.where(compared, np.maximum(high - W, W - low), 0)
    if exclude_self:
        np.fill_diagonal(W, 0)
        np.fill_diagonal(slack, 0)
    return W, slack


def plain_average(weights, slack, deviations, k, damping):
    """The lowest and highest average over the `k` nearest, and what rounding may add to either.

    They differ where weights at the border are equal but for rounding: then any may be taken.
    None if all weights are 0; NaN if rounding decides.
    """
    size = abs(weights)
    k = min(k or len(size), len(size))
    least, border, most = (np.sort(s)[::-1][k - 1] for s in (size - slack, size, size + slack))
    sure = size - slack > most
    open_ = ~sure & (size + slack >= least)
    left = k - sure.sum()
    pulls = np.sort((np.sign(weights) * deviations)[open_])
    top, bottom = (weights * deviations)[sure].sum(), size[sure].sum()
    total = bottom + left * border
    doubt = slack[sure].sum() + (slack + abs(size - border))[open_].sum()
    if total == 0 and doubt == 0:
        return None
    if doubt > 0.01 * total:
        return np.nan, np.nan
    ends = pulls[:left], pulls[len(pulls) - left :]
    low, high = ((top + border * end.sum()) / (total + damping) for end in ends)
    far = abs(deviations).max() * (3 * doubt / (total + damping) + 1e-6 * len(size))
    return low - far, high + far


def plain_neighbours(kind, R, M, o):
    """The lowest and highest prediction of each cell, with a row for each of those compared.

    Infinite where nobody has a weight, NaN where rounding decides.
    """
    R, M = oriented(kind, R), oriented(kind, M)
    damping = (8, 5) if kind is UserCF else (5, 8)
    E, level, scale = plain_center(R, M, o["center"], damping)
    compared = E
    if o["metric"] == "pearson" and o["center"] is None:
        compared = plain_center(R, M, "mean", damping)[0]
    S = plain_similarity(compared, M, o["metric"], o["shrinkage"], o["min_support"])
    W, slack = plain_weights(S, o["negative"], o["amplification"], o["exclude_self"])
    low, high = np.full(R.shape, np.nan), np.full(R.shape, np.nan)
    for u, i in product(*map(range, R.shape)):
        raters = np.flatnonzero(M[:, i])
        told = W[u, raters], slack[u, raters], E[raters, i]
        found = plain_average(*told, o["n_neighbors"], o["damping"])
        if found is None:
            low[u, i] = high[u, i] = np.inf
        else:
            low[u, i], high[u, i] = level[u, i] + scale[u] * np.array(found)
    return low, high


def oriented(kind, A):
    "Users in the rows for `UserCF`, movies for `ItemCF`."
    return A if kind is UserCF else A.T


@pytest.mark.parametrize("kind", [UserCF, ItemCF])
def test_neighbours_predict_what_the_formula_says(kind):
    """Predictions agree to float32 rounding, over options, ratings and the ways to similarities.

    What rounding may do is bounded for each cell: a similarity is off by 3e-6, and weights and
    averages by what follows from that. Cells where rounding decides (all weights are nearly 0) are
    left out; they are few.
    """
    compared = []
    for n in range(trials(30, 2000)):
        rng = np.random.default_rng([SEED, n, kind is ItemCF])
        (R, M), options = some_ratings(rng), some_options(rng)
        memory, few = rng.choice([None, 60_000]), rng.choice(few_products)
        with patch("thu_big_data_ml.neighbors._similarity_ways.few_products", few):
            model = kind(**options, max_memory=memory, device="cpu")
            model.fit(np.argwhere(M), R[M])
            found = model.predict_matrix()
        users, movies = (np.flatnonzero(M.any(axis)) for axis in (1, 0))
        R, M = R[np.ix_(users, movies)], M[np.ix_(users, movies)]
        low, high = (oriented(kind, end) for end in plain_neighbours(kind, R, M, options))
        low, high = (np.where(np.isinf(end), plain_biases(R, M), end) for end in (low, high))
        near, known = 1e-5 * abs(R).max(), ~np.isnan(low)
        far = np.maximum(low - found, found - high)[known]
        assert (far <= near).all(), (n, few, options, far.max())
        pairs = np.stack([a.ravel() for a in np.meshgrid(users, movies, indexing="ij")], 1)
        clipped = np.clip(found, R[M].min(), R[M].max()).ravel()
        np.testing.assert_allclose(model.predict(pairs), clipped, atol=near)
        model.similarity_ = None  # by tiles: what rounding may do is the same
        tiled = model.predict(pairs).reshape(found.shape)[known]
        low, high = (np.clip(end[known], R[M].min(), R[M].max()) for end in (low, high))
        far = np.maximum(low - tiled, tiled - high)
        assert (far <= near).all(), (n, few, options, far.max())
        compared.append(known.mean())
    assert np.mean(compared) > 0.95


# Factors

ends_of_scale = (0.5, 5.0)


def rating_problem(rng, n=7, m=6):
    "Half stars, an empty row and an empty column."
    M = rng.random((n, m)) < 0.6
    M[1], M[:, 2], M[0, 0] = False, False, True
    R = rng.integers(1, 11, (n, m)) / 2 * M
    return csr_matrix(R, dtype=np.float32), R, M


def objective(parts, R, M, settings, mean, ends):
    "Half the squared error and half the penalties, as `train_matrix_factorization` states them."
    counts = M.sum(1), M.sum(0)
    sides = [parts["U"], parts["V"]]
    if "Y" in parts:
        roots = [np.sqrt(np.maximum(n, 1) * n.mean())[:, None] for n in counts]
        sides[0] = sides[0] + M @ parts["Y"] / roots[0]
        sides[1] = sides[1] + M.T @ parts["X"] / roots[1]
    score = sides[0] @ sides[1].T
    if "b_u" in parts:
        score = score + mean + parts["b_u"][:, None] + parts["b_i"]
    if ends:
        score = ends[0] + (ends[1] - ends[0]) / (1 + np.exp(-score))
    squares = ((score - R)[M] ** 2).sum()
    lam = settings["regularization"], settings["bias_regularization"]
    of = dict(U=(lam[0], 0), V=(lam[0], 1), b_u=(lam[1], 0), b_i=(lam[1], 1))
    total = squares
    for name in parts.keys() & of.keys():
        lam, side = of[name]
        if name in "UV":
            lam = lam + settings["regularization_per_rating"] * np.maximum(counts[side], 1)
        total += (lam * (parts[name] ** 2).T).sum()
    for name, n in (("Y", M.shape[0]), ("X", M.shape[1])):
        if name in parts:
            total += settings["implicit_regularization"] * n / M.sum() * (parts[name] ** 2).sum()
    return total / 2, squares


def slopes(parts, *told):
    "Central differences of the objective by each number of each part."
    found = {}
    for name, part in parts.items():
        found[name] = np.empty(part.shape)
        for at in np.ndindex(part.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = part.copy()
                moved[at] += step
                values.append(objective(parts | {name: moved}, *told)[0])
            found[name][at] = (values[0] - values[1]) / 2e-5
    return found


def learned(solver):
    "What a solver of AdamW learns, in float64."
    tensors = getattr(solver, "learned", None) or dict(solver.model.named_parameters())
    return {name: p.detach().numpy().astype(float) for name, p in tensors.items()}


adamw = {
    "kernels": (FullBatchAdamW, {}),
    "kernels, without biases": (FullBatchAdamW, dict(bias=False)),
    "kernels, bounded": (FullBatchAdamW, dict(activation="sigmoid")),
    "kernels, bounded, without biases": (FullBatchAdamW, dict(activation="sigmoid", bias=False)),
    "kernels, penalties by count": (FullBatchAdamW, dict(regularization_per_rating=0.5)),
    "kernels, all": (FullBatchAdamW, dict(activation="sigmoid", regularization_per_rating=1.0)),
    "kernels, implicit": (ImplicitAdamW, {}),
    "kernels, implicit, bounded": (ImplicitAdamW, dict(activation="sigmoid")),
    "kernels, implicit, without biases": (ImplicitAdamW, dict(bias=False)),
    "kernels, implicit, by count": (ImplicitAdamW, dict(regularization_per_rating=0.5)),
    "torch": (AutogradAdamW, {}),
    "torch, without biases": (AutogradAdamW, dict(bias=False)),
    "torch, bounded, by count": (
        AutogradAdamW,
        dict(activation="sigmoid", regularization_per_rating=0.5),
    ),
    "tiles": (TiledAdamW, dict(block_size=3)),
    "tiles, without biases": (TiledAdamW, dict(bias=False)),
    "tiles, by count": (TiledAdamW, dict(block_size=3, regularization_per_rating=0.5)),
    "tiles, implicit": (ImplicitTiledAdamW, dict(block_size=2, regularization_per_rating=0.5)),
    "tiles, implicit, without biases": (ImplicitTiledAdamW, dict(bias=False)),
}


def new_solver(kind, R, k, options):
    "A solver, its model before any step, and its settings."
    settings = dict(
        bias=True,
        activation="identity",
        regularization_per_rating=0.0,
        learning_rate=0.1,
        learning_rate_decay=1.0,
        weight_decay=0.0,
        regularization=2.0,
        bias_regularization=1.0,
        implicit_regularization=3.0,
        batch_size=None,
        block_size=None,
        dtype="float32",
    )
    settings |= options
    model = MatrixFactorization(
        *R.shape,
        k,
        bias=settings["bias"],
        mean=float(R.data.mean()),
        init_scale=0.5,
        ends=ends_of_scale if settings["activation"] == "sigmoid" else None,
        random_state=0,
    )
    return kind(model, R, settings), settings


@pytest.mark.parametrize("name", adamw)
def test_gradients_are_the_finite_differences_of_the_objective(name):
    """The gradient that each step takes in, penalties with it, is the slope of the objective.

    It is found from AdamW's running mean, m = 0.9 m + 0.1 g. Float32 is good for some seven
    digits of the largest part of a sum; one hundredth of a percent of the largest slope is asked.
    """
    kind, options = adamw[name]
    for n in range(trials(1, 20)):
        rng = np.random.default_rng([SEED, n])
        sparse, R, M = rating_problem(rng)
        solver, settings = new_solver(kind, sparse, int(rng.integers(1, 10)), options)
        model, mean = solver.model, {}
        for epoch in range(3):
            parts = learned(solver)
            told = R, M, settings, model.mean, model.ends
            expected = slopes(parts, *told)
            totals = solver.epoch(epoch, seed=0)
            assert totals == pytest.approx(objective(parts, *told), rel=1e-5)
            state = solver.state()
            for part, slope in expected.items():
                now = state[f"exp_avg.{part}"].astype(float)
                found = (now - 0.9 * mean.get(part, 0)) / 0.1
                near = 1e-4 * max(abs(s).max() for s in expected.values())
                np.testing.assert_allclose(found, slope, atol=near, err_msg=part)
                mean[part] = now


@pytest.mark.parametrize("bias", [True, False])
def test_a_short_step_of_sgd_goes_down_the_slope(bias):
    """A pass at a rate near 0 moves every parameter by the slope times the rate.

    Its change is known to float32 rounding over the rate, 1e-3; the penalty is in it.
    """
    for n in range(trials(3, 50)):
        rng = np.random.default_rng([SEED, n])
        sparse, R, M = rating_problem(rng)
        options = dict(bias=bias, learning_rate=1e-4, regularization_per_rating=0.5)
        solver, settings = new_solver(SGD, sparse, int(rng.integers(1, 10)), options)
        parts = learned(solver)
        expected = slopes(parts, R, M, settings, solver.model.mean, None)
        solver.epoch(0, seed=n)
        largest = max(abs(slope).max() for slope in expected.values())
        rated = dict(U=M.any(1), b_u=M.any(1), V=M.any(0), b_i=M.any(0))
        for part, now in learned(solver).items():
            found = (parts[part] - now) / 1e-4
            at = rated[part]  # nobody steps elsewhere
            np.testing.assert_allclose(found[at], expected[part][at], atol=0.01 * largest)


@pytest.mark.parametrize("bias", [True, False])
def test_rows_of_als_solve_the_normal_equations(bias):
    "Users and then movies, each by `numpy.linalg.solve`; and the objective is the one stated."
    for n in range(trials(10, 200)):
        rng = np.random.default_rng([SEED, n])
        shape, k = rng.integers(3, 90, 2), int(rng.integers(1, 34))
        sparse, R, M = rating_problem(rng, *shape)
        lam, per_rating, bias_lam = rng.uniform(0.5, 10, 3)
        options = dict(bias=bias, regularization=lam, bias_regularization=bias_lam)
        options |= dict(regularization_per_rating=per_rating)
        solver, settings = new_solver(ALS, sparse, k, options)
        lams = [lam + per_rating * np.maximum(M.sum(axis), 1) for axis in (1, 0)]
        before, mean = learned(solver), solver.model.mean
        totals = solver.epoch(0, seed=0)
        after = learned(solver)
        zeros = [np.zeros(size) for size in shape]
        b_u, b_i = (before.get(name, zero) for name, zero in zip(("b_u", "b_i"), zeros))
        U, b_u = solved(R, M, before["V"], b_i, mean, bias, lams[0], bias_lam)
        np.testing.assert_allclose(after["U"], U, atol=2e-3)
        np.testing.assert_allclose(after.get("b_u", zeros[0]), b_u, atol=2e-3)
        rest = after["U"], after.get("b_u", zeros[0])
        V, b_i = solved(R.T, M.T, *rest, mean, bias, lams[1], bias_lam)
        np.testing.assert_allclose(after["V"], V, atol=2e-3)
        np.testing.assert_allclose(after.get("b_i", zeros[1]), b_i, atol=2e-3)
        expected = objective(after, R, M, settings, mean, None)
        assert totals == pytest.approx(expected, rel=1e-3, abs=1e-2)


def solved(R, M, Y, y_biases, mean, bias, lam, bias_lam):
    "The best factors and biases of every row, one after the other."
    k = Y.shape[1]
    design = np.c_[Y, np.ones(len(Y))] if bias else Y
    X = np.zeros((len(R), k + 1))
    for u in range(len(R)):
        A, penalty = design[M[u]], np.diag(np.r_[np.full(k, lam[u]), [bias_lam] * bias])
        right = A.T @ (R[u] - mean - y_biases)[M[u]]
        X[u, : k + bias] = np.linalg.solve(A.T @ A + penalty, right)
    return X[:, :k], X[:, k]


def test_damped_biases_are_the_penalised_least_squares():
    "After many alternations; ten of them are what `plain_biases` does in loops."
    for n in range(trials(5, 300)):
        rng = np.random.default_rng([SEED, n])
        sparse, R, M = rating_problem(rng, *rng.integers(3, 12, 2))
        damping = rng.uniform(1, 20, 2)
        mu, b_u, b_i = damped_biases(sparse, *damping, n_epochs=10)
        found = mu + b_u[:, None] + b_i
        np.testing.assert_allclose(found, plain_biases(R, M, damping), atol=1e-9)
        u, i = np.nonzero(M)
        rows, columns = np.eye(len(R))[u], np.eye(R.shape[1])[i]
        A = np.c_[rows, columns]
        penalty = np.diag(np.repeat(damping, R.shape))
        exact = np.linalg.solve(A.T @ A + penalty, A.T @ (R[u, i] - R[u, i].mean()))
        mu, b_u, b_i = damped_biases(sparse, *damping, n_epochs=300)
        np.testing.assert_allclose(np.r_[b_u, b_i], exact, atol=1e-6)


# The sampler

NU = 6.0  # of the noise of single rows: heavy tails, so that a wrong power shows
variants = {
    "plain": dict(noise=False),
    "noise of rows": dict(),
    "link prior": dict(implicit=True),
    "groups": dict(groups=True),
    "drift": dict(age=True),
    "all": dict(implicit=True, groups=True, age=True),
}


@pytest.mark.parametrize("k", [1, 5, 16])
def test_a_draw_of_a_row_is_its_mean_and_its_spread_times_the_noise_given(k):
    """x = A^-1 b + L^-T z for the precision A = L L^T: so L^T (x - mean) gives z back.

    That is a draw from Normal(A^-1 b, A^-1), whatever z, and needs no statistics.
    """
    rng, n = np.random.default_rng([SEED, k]), 20
    other = rng.standard_normal((n, k + 1)).astype(np.float32)
    target, delta = rng.standard_normal(n).astype(np.float32), rng.gamma(3, 0.3, n)
    prior, precision = rng.standard_normal(k + 1), rng.gamma(3, 0.5, k + 1) + 0.5
    z, X = rng.standard_normal((9, k + 1)).astype(np.float32), np.empty((9, k + 1), np.float32)
    indptr, indices = np.arange(0, 9 * n + 1, n), np.tile(np.arange(n, dtype=np.int32), 9)
    own, root = np.full(9, 1.7, np.float32), np.sqrt(delta).astype(np.float32)
    priors = np.tile(prior, (9, 1)).astype(np.float32), precision.astype(np.float32)
    ratings = indptr, indices, np.tile(target, 9)
    draw_rows(*ratings, own, root, other, *priors, z, np.arange(9), X)
    design = np.c_[other[:, :k], np.ones(n)].astype(float)
    A = 1.7 * (design.T * delta) @ design + np.diag(precision)
    b = 1.7 * (design.T * delta) @ (target - other[:, k]) + precision * prior
    L = np.linalg.cholesky(A)
    np.testing.assert_allclose((X - np.linalg.solve(A, b)) @ L, z, atol=2e-4)


def test_a_precision_has_the_gamma_distribution_that_it_is_said_to_have():
    rng = np.random.default_rng(SEED)
    for shape, rate, n, squares in ((1, 1, 7, 3.0), (1, 0.1, 30, 50.0), (10, 10, 0, 0.0)):
        drawn = draw_precision(np.full(4000, squares), n, rng, shape, rate)
        expected = gamma(shape + n / 2, scale=1 / (rate + squares / 2))
        assert kstest(drawn, expected.cdf).pvalue > 1e-8


class SmallModel:
    """A few users and movies, whose parameters and ratings are drawn as the sampler assumes.

    The centers of the factors have a flat prior, which cannot be drawn from: they are held at 0,
    and their own draw is looked at by itself.
    """

    def __init__(self, rng, noise=True, implicit=False, groups=False, age=False):
        self.rng, self.noise = rng, noise
        M = rng.random((5, 4)) < 0.7
        M[range(4), range(4)] = True
        R = csr_matrix(M * rng.integers(1, 6, M.shape), dtype=np.float32)
        bases = bases_of(R, implicit)
        days = np.datetime64("2005-01-01") + rng.integers(0, 300, R.nnz)
        self.state = new_state(R, 1, bases, days if age else None, age, rng)
        self.state.groupings = []
        self.state.user_of = np.repeat(np.arange(5, dtype=np.int32), np.diff(R.indptr))
        if groups:
            self.state.groupings = [new_grouping(rng.integers(0, 3, R.nnz), rng)]

    def draw(self):
        "Parameters, and then ratings."
        self.draw_parameters()
        self.draw_ratings()

    def draw_parameters(self):
        "From the prior."
        rng = self.rng
        for side in (self.state.users, self.state.movies):
            n, K = side.X.shape
            side.center = np.zeros(K)
            side.precision = rng.gamma(1, 1, K)
            if side.basis is not None:
                side.link_precision = rng.gamma(1, 10, K)
                G = rng.standard_normal((len(side.values), K)) / np.sqrt(side.link_precision)
                side.shift = (side.basis @ (side.values[:, None] * G)).astype(np.float32)
            spread = rng.standard_normal((n, K)) / np.sqrt(side.precision)
            side.X[:] = side.shift + spread
            side.noise_precision = rng.gamma(NU / 2, 2 / NU, n) if self.noise else np.ones(n)
        self.state.alpha = rng.gamma(1, 1)
        for group in self.state.groupings:
            group.precision = rng.gamma(1, 20)
            spread = rng.standard_normal(len(group.effect)) / np.sqrt(group.precision)
            group.effect[:] = spread

    def weight(self):
        "The precision of each rating."
        users, movies = self.state.users, self.state.movies
        of_both = users.noise_precision[self.state.user_of] * movies.noise_precision[users.indices]
        return self.state.alpha * of_both

    def draw_ratings(self):
        "Given the parameters; the state keeps them less the effects of groups, and residuals."
        state = self.state
        state.target[:] = 0
        state.update_residuals()
        noise = self.rng.standard_normal(len(state.error)) / np.sqrt(self.weight())
        state.target[:] = noise - state.error
        state.update_residuals()

    def sweep(self):
        "A sweep of the sampler; what it makes of the centers, standardised, before they go back."
        sweep(self.state, self.noise, NU, self.rng)
        centers = []
        for side in (self.state.users, self.state.movies):
            rest = (side.X - side.shift).mean(0)
            centers.append((side.center - rest) * np.sqrt(side.precision * len(side.X)))
            side.center = np.zeros_like(side.center)
        return np.concatenate(centers)

    def facts(self):
        "Numbers, each with the distribution that it has under the prior, as `kstest` takes it."
        state, found = self.state, {}
        found["alpha"] = state.alpha, "expon"
        standard = (state.error * np.sqrt(self.weight())).astype(float)
        found["noise of a rating"] = standard[0], "norm"
        found["noise"] = standard @ standard, "chi2", len(standard)
        for name, side in (("user", state.users), ("movie", state.movies)):
            n, K = side.X.shape
            rest = (side.X - side.shift) * np.sqrt(side.precision)
            for c in range(K):
                found[f"precision {c} of {name}s"] = side.precision[c], "expon"
                found[f"number {c} of a {name}"] = rest[0, c], "norm"
                found[f"numbers {c} of {name}s"] = rest[:, c] @ rest[:, c], "chi2", n
            if side.basis is not None:
                G = side.basis.T @ side.shift / side.values[:, None]
                G = (G * np.sqrt(side.link_precision)).astype(float)
                found[f"link precision of {name}s"] = side.link_precision[0], "expon", 0, 10
                found[f"link of {name}s"] = (G**2).sum(), "chi2", G.size
            if self.noise:
                found[f"noise of a {name}"] = side.noise_precision[0], "gamma", NU / 2, 0, 2 / NU
        for group in state.groupings:
            effect = group.effect.astype(float)
            found["precision of groups"] = group.precision, "expon", 0, 20
            found["effects of groups"] = effect @ effect * group.precision, "chi2", len(effect)
        return found


@pytest.mark.parametrize("name", variants)
def test_sweeps_leave_the_joint_distribution_as_it_is(name):
    """Parameters from the prior, ratings from them, and sweeps that start from those parameters.

    The parameters are a draw from the posterior given these ratings; if every conditional draw is
    right, so they are after any number of sweeps, and over many repetitions they again have the
    distribution of the prior. Repetitions are independent, so Kolmogorov's test is exact: a false
    alarm in any of the numbers has a probability below 1e-6. Geweke, "Getting it right", 2004;
    Gandy and Scott, "Unit testing for MCMC", 2021.
    """
    model = SmallModel(np.random.default_rng([SEED, *name.encode()]), **variants[name])
    facts, centers = {}, []
    for _ in range(trials(500, 20_000)):
        model.draw()
        for _ in range(3):
            centers.append(model.sweep())
        for fact, (value, *law) in model.facts().items():
            facts.setdefault((fact, *law), []).append(value)
    for (fact, law, *numbers), values in facts.items():
        assert kstest(values, law, numbers).pvalue > 1e-8, fact
    assert kstest(np.concatenate(centers), "norm").pvalue > 1e-8


@pytest.mark.skipif(trials(1, 0), reason="takes half an hour: make faults")
@pytest.mark.parametrize("name", variants)
def test_ranks_of_the_truth_among_draws_are_uniform(name):
    """Simulation-based calibration: from the usual start, the truth is one draw among others.

    Talts, Betancourt, Simpson, Vehtari and Gelman, 2018; 30 sweeps lie between two draws. Only
    numbers that turning or mirroring the factors does not change are ranked.
    """
    rng = np.random.default_rng([SEED, 99, *name.encode()])
    model, ranks = SmallModel(rng, **variants[name]), {}
    for _ in range(400):
        model.draw()
        truth, drawn = ranked(model), []
        for side in (model.state.users, model.state.movies):
            side.X[:] = 0.1 * rng.standard_normal(side.X.shape)
        model.state.update_residuals()
        for n in range(60 + 19 * 30):
            model.sweep()
            if n >= 60 and n % 30 == 0:
                drawn.append(ranked(model))
        for fact, value in truth.items():
            ranks.setdefault(fact, []).append(sum(value > d[fact] for d in drawn))
    for fact, found in ranks.items():
        spread = (np.array(found) + rng.random(len(found))) / 20
        assert kstest(spread, "uniform").pvalue > 1e-8, fact


def ranked(model):
    "What is ranked."
    state = model.state
    found = dict(alpha=state.alpha, residual=state.error[0], user=state.users.noise_precision[0])
    for name, side in (("users", state.users), ("movies", state.movies)):
        found[f"precision of {name}' factors"] = side.precision[0]
        found[f"precision of {name}' biases"] = side.precision[1]
    return found
