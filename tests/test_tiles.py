"Averages and nearest users by tiles: the same as from all similarities, and refused in words."

from unittest.mock import patch

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from trials import SEED, trials

from thu_big_data_ml import ItemCF, UserCF, nearest_users, user_similarity
from thu_big_data_ml.neighbors import _tiles, similarity

metrics = "cosine", "corated", "pearson"


def some_ratings(rng, n, m, density=0.2):
    "Whole stars; some rows and columns are empty."
    R = rng.integers(1, 6, (n, m)) * (rng.random((n, m)) < density * rng.random(n)[:, None] * 2)
    R[rng.random(n) < 0.05] = 0
    R[:, rng.random(m) < 0.05] = 0
    R[0, 0] = 3
    return csr_matrix(R, dtype=np.float32)


def plain_nearest(S, k):
    "The `k` greatest similarities above 0 of each row, of equal ones the first, oneself left out."
    S = np.array(S)
    np.fill_diagonal(S, 0)
    kept = np.zeros_like(S)
    for u, row in enumerate(S):
        near = np.argsort(-row, kind="stable")[:k]
        kept[u, near] = np.maximum(row[near], 0)
    return kept


def test_the_nearest_users_are_the_greatest_similarities_and_ties_go_to_the_first():
    "Products of whole stars are exact, so that equal similarities are equal to the last bit."
    for n in range(trials(8, 300)):
        rng = np.random.default_rng([SEED, n])
        R = some_ratings(rng, *rng.integers(1, (150, 6)), density=rng.random())
        k, support = int(rng.integers(1, 12)), dict(min_support=int(rng.integers(0, 3)))
        with patch("thu_big_data_ml.neighbors._similarity_ways.few_products", 0):
            expected = plain_nearest(user_similarity(R, **support, device="cpu"), k)
        found = nearest_users(R, k, **support)
        assert found.has_canonical_format and found.dtype == np.float32
        np.testing.assert_array_equal(found.toarray(), expected)


@pytest.mark.parametrize("metric", metrics)
def test_the_nearest_users_of_centred_ratings_are_the_greatest_to_rounding(metric):
    rng = np.random.default_rng(SEED)
    R = some_ratings(rng, 130, 30)
    options = dict(center="mean", shrinkage=3)
    S = user_similarity(R, metric, **options, device="cpu")
    found = nearest_users(R, 5, metric, **options).toarray()
    near = found > 0
    np.testing.assert_allclose(found[near], S[near], atol=2e-6)
    np.testing.assert_allclose(np.sort(found), np.sort(plain_nearest(S, 5)), atol=2e-6)
    assert not found.diagonal().any() and near.sum(1).max() == 5


def test_rows_are_those_asked_for_in_their_order():
    R = some_ratings(np.random.default_rng(SEED), 90, 20)
    whole, users = nearest_users(R, 4), np.array([7, 80, 7, 0])
    assert (nearest_users(R, 4, users=users) != whole[users]).nnz == 0
    assert nearest_users(R, 4, users=np.array([], int)).shape == (0, 90)
    assert nearest_users(csr_matrix((3, 2), dtype=np.float32)).nnz == 0
    movies = nearest_users(R.T.tocsr(), 4)  # the mirror
    S = user_similarity(R.T.tocsr(), device="cpu")
    np.testing.assert_allclose(movies.toarray(), plain_nearest(S, 4), atol=1e-6)


@pytest.mark.parametrize("kind", [UserCF, ItemCF])
@pytest.mark.parametrize("k", [None, 1, 6])
def test_pairs_are_predicted_by_tiles_as_from_all_similarities(kind, k):
    "Several tiles, several parts of those asked; a shrinkage without equals but in rounding."
    rng = np.random.default_rng([SEED, k or 0])
    R = some_ratings(rng, 600, 25) if kind is UserCF else some_ratings(rng, 25, 600)
    u, i = R.nonzero()
    for options in (
        dict(center="mean", shrinkage=1.7),
        dict(metric="pearson", min_support=2, shrinkage=1.7, negative="keep", center="baseline"),
        dict(amplification=1.5, exclude_self=False, shrinkage=1.7),
    ):
        model = kind(k, **options, device="cpu").fit(np.stack([u, i], 1), R.data)
        pairs = np.stack([rng.choice(model.user_ids_, 900), rng.choice(model.movie_ids_, 900)], 1)
        expected, reasons = model.predict(pairs, return_reason=True)
        model.similarity_ = None
        model.block_size_ = 100
        with patch.object(_tiles, "free_memory", lambda: (100_000, "free")):
            found, again = model.predict(pairs, return_reason=True)
        near = np.abs(found - expected) < 1e-4
        assert near.mean() > (0.99 if k else 0.9999)  # equals in rounding may be others
        assert (reasons == again).all()


def test_those_asked_are_done_in_parts_where_heaps_do_not_fit():
    asked = _tiles.Asked(np.arange(4), np.array([0, 3, 3, 10, 11]), np.arange(11))
    for free, n in ((1 << 40, 1), (0, 4), (2 * 12 * 4, 3)):
        with patch.object(_tiles, "free_memory", lambda free=free: (free, "free")):
            parts = list(_tiles.in_parts(asked, 12))
        assert len(parts) == n
        assert np.concatenate([part.columns for _, part in parts]).tolist() == list(range(11))
        assert [part.bounds[-1] for _, part in parts] == [p.stop - p.start for p, _ in parts]


def test_what_does_not_fit_is_refused_before_it_is_begun():
    R = some_ratings(np.random.default_rng(SEED), 90, 20)
    for room, words in ((similarity, "40 neighbours of each of 90"), (_tiles, "laid out for")):
        little = patch.object(room, "free_memory", lambda: (100, "left by memory.max"))
        with little, pytest.raises(MemoryError, match=rf"{words}.*left by memory\.max"):
            nearest_users(R)
    for wrong in (dict(n_neighbors=0), dict(metric="x"), dict(verbose=3), dict(users=[90])):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            nearest_users(R, **wrong)
