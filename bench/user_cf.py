"""User-based CF, stage by stage: the recipe of scikit-learn and dense float64 products against this
library; and the similarities alone against libraries that compute nothing else.

Both predict the same numbers; the script stops where they do not. So it does where similarities
of the others differ.
"""

import tempfile
from pathlib import Path

import numpy as np
from common import (
    Laps,
    alternate,
    fresh,
    memory_of,
    options,
    positions_of,
    ratings,
    rehearsal,
    show,
    spread,
    write,
)
from peers import Peers, measure, similarity_ways, split_of
from scipy.sparse import load_npz, save_npz
from sklearn.metrics.pairwise import cosine_similarity

from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.metrics import rmse
from thu_big_data_ml.neighbors.similarity import user_similarity
from thu_big_data_ml.neighbors.user_cf import UserCF

K = 40  # nearest raters


def all_cells(S, R):
    "The recipe: (S @ R) / (S @ (R != 0)), dense, float64."
    D = R.toarray()
    top, bottom = S @ D, S @ (D != 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return np.divide(top, bottom, out=top)


def nearest_raters(S, R, users, movies_of):
    """The recipe with the K nearest raters: for each user the weights of all raters of the
    movies asked for, and the K largest of each column.
    """
    D = R.toarray()
    parts = []
    for u in users:
        rated = D[:, movies_of[u]]
        weights = S[u][:, None] * (rated != 0)
        nearest = np.argpartition(-weights, K - 1, axis=0)[:K]
        weights, rated = (np.take_along_axis(a, nearest, axis=0) for a in (weights, rated))
        parts.append(
            np.divide(
                (weights * rated).sum(0),
                weights.sum(0),
                out=np.full(len(movies_of[u]), np.nan),
                where=weights.sum(0) > 0,
            )
        )
    return np.concatenate(parts)


def reference(lap, R, split, some, movies_of, kept):
    "All stages of the recipe."
    R = R.astype(np.float64)
    S = lap("similarity of all pairs", cosine_similarity, R)
    P = lap("predictions, all cells", all_cells, S, R)
    prediction = lap("look-up and RMSE", P.__getitem__, (split["tu"], split["ti"]))
    known = np.isfinite(prediction)
    lap("look-up and RMSE", rmse, split["tr"][known], prediction[known])
    del P
    nearest = lap(f"predictions, {K} nearest, some users", nearest_raters, S, R, some, movies_of)
    kept |= dict(prediction=prediction, nearest=nearest)


def ours(lap, data, R, some_pairs, kept):
    "All stages of this library."
    lap("similarity of all pairs", user_similarity, R, device="cpu")
    model = UserCF(exclude_self=False, device="cpu")
    lap("fit from a table", model.fit, data.train)
    prediction = lap("predictions, test pairs", model.predict, data.test)
    lap("predictions, test pairs", rmse, data.test["rating"], prediction)
    lap("predictions, all cells", model.predict_matrix)
    model = UserCF(n_neighbors=K, exclude_self=False, device="cpu").fit(data.train)
    lap(f"predictions, {K} nearest", model.predict, data.test)
    nearest = lap(f"predictions, {K} nearest, some users", model.predict, some_pairs)
    kept |= dict(prediction=prediction, nearest=nearest)


def reference_memory(folder: Path) -> dict:
    "From CSR to test RMSE by the recipe."
    R, (tu, ti, tr), memory = (
        load_npz(folder / "R.npz").astype(np.float64),
        np.load(folder / "test.npy"),
        {},
    )
    with memory_of(memory):
        prediction = all_cells(cosine_similarity(R), R)[tu.astype(int), ti.astype(int)]
        known = np.isfinite(prediction)
        rmse(tr[known], prediction[known])
    return memory


def our_memory(folder: Path) -> dict:
    "From pairs and ratings to test RMSE by this library."
    R, (tu, ti, tr), memory = load_npz(folder / "R.npz"), np.load(folder / "test.npy"), {}
    X, y, X_test = np.stack(R.nonzero(), 1), R.data, np.stack([tu, ti], 1).astype(int)
    small = synthetic_ratings(*rehearsal)
    UserCF(device="cpu").fit(small.train).predict(small.test)  # compiled
    with memory_of(memory):
        rmse(tr, UserCF(device="cpu").fit(X, y).predict(X_test))
    return memory


def choose_users(data, split: dict, n: int) -> tuple:
    """Some users with test pairs, their test movies, the share of test that is theirs, and that
    part of test, user by user.
    """
    users = np.unique(split["tu"])
    some = np.sort(np.random.default_rng(0).choice(users, min(n, len(users)), replace=False))
    rows = np.flatnonzero(np.isin(split["tu"], some))
    rows = rows[np.argsort(split["tu"][rows], kind="stable")]
    movies_of = {u: split["ti"][rows][split["tu"][rows] == u] for u in some}
    return some, movies_of, len(rows) / len(split["tu"]), data.test.iloc[rows]


def check(theirs: dict, mine: dict, split: dict) -> dict:
    "Both predict the same: largest difference, and RMSE of either where the recipe has a number."
    known = np.isfinite(theirs["prediction"])
    both = np.isfinite(theirs["nearest"])
    facts = dict(
        rmse_reference=rmse(split["tr"][known], theirs["prediction"][known]),
        rmse_ours=rmse(split["tr"][known], mine["prediction"][known]),
        largest_difference=float(np.abs(theirs["prediction"] - mine["prediction"])[known].max()),
        pairs_without_a_rater=int((~known).sum()),
        share_of_nearest_that_agree=float(
            (np.abs(theirs["nearest"] - mine["nearest"])[both] < 1e-3).mean()
        ),
    )
    assert facts["largest_difference"] < 1e-3 and facts["share_of_nearest_that_agree"] > 0.99, (
        facts
    )  # equal similarities may be cut either way
    return facts


def table(seconds: dict, share: float) -> list[dict]:
    "A row a stage, both sides; what a side does in two steps is added up within each repetition."
    r, o = seconds["reference"], seconds["ours"]

    def add(*lists):
        return [sum(parts) for parts in zip(*lists)]

    similarity, cells, pairs, nearest = (
        "similarity of all pairs",
        "predictions, all cells",
        "predictions, test pairs",
        f"predictions, {K} nearest",
    )
    sides = {
        similarity: (r[similarity], o[similarity]),
        pairs: (add(r[cells], r["look-up and RMSE"]), o[pairs]),
        cells: (r[cells], o[cells]),
        nearest: ([s / share for s in r[nearest + ", some users"]], o[nearest]),
        nearest + ", some users": (r[nearest + ", some users"], o[nearest + ", some users"]),
        "CSR to test RMSE": (
            add(r[similarity], r[cells], r["look-up and RMSE"]),
            add(o[similarity], o[pairs]),
        ),
        "table to test RMSE": (None, add(o["fit from a table"], o[pairs])),
    }
    return [
        dict(stage=stage, way=way, **spread(values))
        | (dict(estimated_from_share=share) if stage == nearest and way == "reference" else {})
        for stage, both in sides.items()
        for way, values in zip(("reference", "ours"), both)
        if values is not None
    ]


def similarities(data, chosen) -> tuple[list[dict], dict]:
    """Cosines by those that compute nothing else, each in a process of its own, and who took part;
    the mean over the nearest users tells that all have computed the same.
    """
    with Peers(chosen.peers.split(), split_of(data), chosen) as peers:
        ways = {way: what for way, what in similarity_ways().items() if what[0] in peers}
        rows, facts = measure(peers, ways, chosen.repeats), peers.facts()
    means = [row["mean_of_nearest"] for row in rows if "error" not in row]
    assert max(means, default=0) - min(means, default=0) < 1e-4, means
    return rows, facts


def main():
    "The table."
    chosen = options(
        __doc__,
        users=10_000,
        movies=10_000,
        ratings=8_617_212,
        some_users=100,
        limit=300,
        install_limit=900,
        peers="ours similaripy sparse_dot_topn implicit",
    )
    data = ratings(chosen.users, chosen.movies, chosen.ratings, chosen.random_state)
    print(data, flush=True)
    R, split = data.matrix(), positions_of(data)
    small = synthetic_ratings(*rehearsal)
    ours(Laps(), small, small.matrix(), small.test, {})  # compiled before it is timed
    some, movies_of, share, some_pairs = choose_users(data, split, chosen.some_users)
    theirs, mine = {}, {}
    seconds = alternate(
        {
            "reference": lambda lap: reference(lap, R, split, some, movies_of, theirs),
            "ours": lambda lap: ours(lap, data, R, some_pairs, mine),
        },
        chosen.repeats,
    )
    facts = check(theirs, mine, split)
    rows = table(seconds, share)
    with tempfile.TemporaryDirectory() as folder:
        save_npz(Path(folder) / "R.npz", R, compressed=False)
        np.save(
            Path(folder) / "test.npy",
            np.stack([split[name].astype(np.float64) for name in ("tu", "ti", "tr")]),
        )
        memory = {
            name: fresh(function, Path(folder))
            for name, function in (("reference", reference_memory), ("ours", our_memory))
        }
    alone, took_part = similarities(data, chosen)
    for row in rows + alone + [dict(way=name, **m) for name, m in memory.items()]:
        show(row)
    write(
        "user_cf",
        chosen,
        rows,
        workload=repr(data),
        best_achievable_rmse=data.best_rmse,
        check=facts,
        memory=memory,
        similarities=alone,
        **took_part,
    )


if __name__ == "__main__":
    main()
