"The fast ways against the naive oracle, on matrices that hypothesis thinks up."

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from sklearn.metrics.pairwise import cosine_similarity

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.neighbors._kernels import nearest_first, rated_bits, weigh_few, weigh_walking
from thu_big_data_ml.neighbors._similarity_kernels import similarity_by_blocks, sort_ratings
from thu_big_data_ml.neighbors._similarity_ways import center_of


@st.composite
def rating_matrices(draw):
    "Small matrices of whole or half stars, some rows and columns empty."
    n, m = draw(st.integers(1, 70)), draw(st.integers(1, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    step = draw(st.sampled_from([1, 0.5]))
    R = (
        rng.integers(1, 5 / step + 1, (n, m))
        * step
        * (rng.random((n, m)) < draw(st.floats(0.02, 0.9)))
    )
    R[rng.random(n) < 0.2] = 0
    R[:, rng.random(m) < 0.2] = 0
    return R


def similarities(R, metric="cosine", shrinkage=0, users=None):
    "By the way that the library chooses, and block by block in any case."
    R = csr_matrix(R)
    ratings = sort_ratings(
        center_ratings(R, center_of(metric, None))[0], grouped=metric == "cosine"
    )
    return user_similarity(
        R, metric, shrinkage=shrinkage, users=users, device="cpu"
    ), similarity_by_blocks(ratings, metric, shrinkage, 0, users)


@given(R=rating_matrices())
@settings(max_examples=40, deadline=None)
def test_masked_product_equals_the_loop(R):
    S = user_similarity(csr_matrix(R), device="cpu")
    loop = compute_weighted_sum_on_matrix(S, np.where(R == 0, np.nan, R))
    np.testing.assert_allclose(masked_product(S, R), loop, atol=1e-6)


def test_a_rating_of_zero_that_is_stored_counts():
    with_zero = csr_matrix(([0.0, 4.0], ([1, 2], [0, 0])), shape=(3, 1))
    assert masked_product(np.ones((1, 3)), with_zero).tolist() == [[2.0]]


@given(
    R=rating_matrices(),
    center=st.sampled_from([None, "mean", "zscore", "baseline"]),
    metric=st.sampled_from(["cosine", "corated", "pearson"]),
    negative=st.sampled_from(["drop", "keep"]),
    exclude_self=st.booleans(),
    k=st.sampled_from([None, 1, 3]),
    few=st.sampled_from([0, 2**33]),
)
@settings(max_examples=100, deadline=None)
def test_estimator_equals_the_loop(R, center, metric, negative, exclude_self, k, few):
    if not R.any():
        return
    u, i = np.nonzero(R)
    with patch(
        "thu_big_data_ml.neighbors._similarity_ways.few_products", few
    ):  # none: block by block
        model = UserCF(
            k, metric, center, negative=negative, exclude_self=exclude_self, device="cpu"
        ).fit(np.stack([u, i], 1), R[u, i])
    E = np.full(model.matrix_.shape, np.nan)
    rows, columns = model.matrix_.nonzero()
    level = model.user_level_[:, None] + model.movie_level_
    E[rows, columns] = (
        np.asarray(model.matrix_[rows, columns]).ravel() - level[rows, columns]
    ) / model.scale_[rows]
    S = model.similarity_
    expected = np.empty(E.shape)
    for a in range(len(E)):
        for b in range(E.shape[1]):
            weight = np.where(np.isnan(E[:, b]), 0, S[a]).astype(float)
            if k is not None:  # the k largest, ties in order of position
                weight[np.argsort(-np.abs(weight), kind="stable")[k:]] = 0
            total = np.abs(weight).sum()
            expected[a, b] = (
                level[a, b] + model.scale_[a] * np.nansum(weight * np.nan_to_num(E[:, b])) / total
                if total > 0
                else model._baseline(np.array([a]), np.array([b]))[0]
            )
    np.testing.assert_allclose(model.predict_matrix(), expected, atol=1e-4)
    pairs = np.stack(np.meshgrid(model.user_ids_, model.movie_ids_, indexing="ij"), -1).reshape(
        -1, 2
    )
    np.testing.assert_allclose(
        model.predict(pairs), np.clip(expected, *model.rating_scale_).ravel(), atol=1e-4
    )


@given(
    n=st.integers(1, 300),
    density=st.floats(0.05, 1),
    levels=st.integers(1, 5),
    k=st.integers(1, 40),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_both_ways_to_the_nearest_agree_and_break_ties_by_position(n, density, levels, k, seed):
    rng = np.random.default_rng(seed)
    weights = (rng.integers(-levels, levels + 1, n) / 4).astype(np.float32)  # many ties
    raters = np.flatnonzero(rng.random(n) < density).astype(np.int32)
    ratings = rng.integers(1, 6, len(raters)).astype(np.float32)
    bits, before = rated_bits(np.array([0, len(raters)]), raters, n)
    few = weigh_few(weights, raters, ratings, k)
    assert (*few, True) == weigh_walking(
        weights, nearest_first(weights[None])[0], bits[0], before[0], ratings, k
    )
    *walked, arrived = weigh_walking(
        weights, nearest_first(weights[None], 1 + n // 3)[0], bits[0], before[0], ratings, k
    )
    assert not arrived or tuple(walked) == few
    nearest = raters[np.argsort(-np.abs(weights[raters]), kind="stable")[:k]]
    assert few[1] == np.abs(weights[nearest]).sum()


@given(R=rating_matrices())
@settings(max_examples=30, deadline=None)
def test_similarity_is_symmetric_bounded_and_one_with_oneself(R):
    for metric in ("cosine", "corated", "pearson"):
        for S in similarities(R, metric):
            assert (
                S.dtype == np.float32
                and np.array_equal(S, S.T)
                and np.abs(S).max(initial=0) <= 1 + 1e-5
            )
    for S in similarities(R):
        np.testing.assert_allclose(np.diag(S), R.any(axis=1).astype(float), atol=1e-6)


@pytest.mark.parametrize(
    "values",
    [[1, 2, 3, 4, 5], [0.5, 3.5, 5], [1.1, -2.3]],
    ids=["whole stars", "half stars", "reals"],
)
@pytest.mark.parametrize("n_users", [1, 31, 32, 33, 63, 64, 65, 1000])
def test_awkward_numbers_of_users(n_users, values):
    rng = np.random.default_rng(n_users)
    R = csr_matrix(rng.choice(values, (n_users, 3)) * (rng.random((n_users, 3)) < 0.7))
    expected = cosine_similarity(R)
    some = rng.permutation(n_users)[: 1 + n_users // 2]
    for S, rows in zip(similarities(R), similarities(R, users=some)):
        np.testing.assert_allclose(S, expected, atol=1e-6)
        np.testing.assert_allclose(rows, expected[some], atol=1e-6)


@pytest.mark.parametrize("n_users", [65_535, 65_537])
def test_more_users_than_16_bits_can_number(n_users):
    rng = np.random.default_rng(0)
    R = csr_matrix(
        (
            rng.integers(1, 6, 4 * n_users).astype(float),
            (np.repeat(np.arange(n_users), 4), rng.integers(0, 500, 4 * n_users)),
        ),
        shape=(n_users, 500),
    )
    R.data = np.minimum(R.data, 5)  # a pair drawn twice
    some = np.array([0, 1, n_users - 2, n_users - 1])
    np.testing.assert_allclose(
        user_similarity(R, users=some, device="cpu"), cosine_similarity(R[some], R), atol=1e-6
    )


def test_products_too_large_for_sixteen_bits_stay_exact():
    R = csr_matrix(np.full((3, 30_000), 5.0))  # products of 750,000
    R[1, :15_000] = 1
    for S, shrunk in zip(similarities(R), similarities(R, shrinkage=100)):
        np.testing.assert_allclose(S, cosine_similarity(R), atol=1e-6)
        np.testing.assert_allclose(shrunk, cosine_similarity(R) * (30_000 / 30_100), atol=1e-6)


def test_movie_ids_beyond_16_bits():
    R = csr_matrix(
        (np.array([5.0, 4, 3]), ([0, 1, 1], [70_000, 70_000, 4_464])), shape=(2, 70_001)
    )  # 70,000 - 65,536 = 4,464
    assert [S[0, 1] for S in similarities(R)] == pytest.approx([4 / 5] * 2)
