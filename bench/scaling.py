"""How time and memory grow with users, movies and ratings: each point in a process of its own, and
the exponent that fits them.

Users grow at 200 ratings each and 10,000 movies; movies at 10,000 users and 2 million ratings;
ratings at 10,000 users and 10,000 movies.
What takes more than 20 seconds is not repeated. The pattern is long-tailed; the stars are drawn at
random, for they do not matter to time.
"""

import numpy as np
from common import Laps, fresh, memory_of, options, rehearsal, show, spread, write
from scipy.sparse import csr_matrix

from thu_big_data_ml.evaluation.scaling import growth_exponent
from thu_big_data_ml.factorization._solvers import ALS, SGD, FullBatchAdamW
from thu_big_data_ml.factorization.matrix_factorization import MatrixFactorization
from thu_big_data_ml.neighbors.similarity import user_similarity
from thu_big_data_ml.neighbors.user_cf import UserCF

K = 50  # factors
settings = dict(
    learning_rate=0.01,
    learning_rate_decay=0.93,
    weight_decay=0.0,
    regularization=16,
    regularization_per_rating=0,
    bias_regularization=3,
    bias=True,
)
solvers = dict(adamw=FullBatchAdamW, sgd=SGD, als=ALS)


def long_tailed(users: int, movies: int, n_ratings: int, random_state: int) -> csr_matrix:
    """Ratings whose users and movies are drawn by log-normal weights; fewer than asked for where
    pairs repeat too often.
    """
    rng = np.random.default_rng(random_state)

    def draw(n, spread):
        return rng.choice(
            n, 2 * n_ratings, p=(weight := np.exp(spread * rng.standard_normal(n))) / weight.sum()
        )

    cells = np.unique(draw(users, 1.0) * movies + draw(movies, 1.2))
    cells = rng.permutation(cells)[:n_ratings]
    return csr_matrix(
        (rng.integers(1, 6, len(cells)).astype(np.float32), np.divmod(cells, movies)),
        shape=(users, movies),
    )


def again(lap, repeats: int, stage: str, function, *words, enough: float = 20.0, **named):
    "Time a function `repeats` times, or until that took `enough` seconds in all."
    for _ in range(repeats):
        lap(stage, function, *words, **named)
        if sum(lap.seconds[stage]) > enough:
            break


def neighbours(lap, memory, R, test, repeats):
    "Similarities, and predictions at a tenth as many pairs as there are ratings."
    with memory_of(memory.setdefault("similarity of all pairs", {})):
        again(lap, repeats, "similarity of all pairs", user_similarity, R, device="cpu")
    model = UserCF(device="cpu").fit(np.stack(R.nonzero(), 1), R.data)
    with memory_of(memory.setdefault("predictions, test pairs", {})):
        again(lap, repeats, "predictions, test pairs", model.predict, test)


def factors(lap, memory, R, name, repeats):
    "One pass over the ratings by each solver."
    with memory_of(memory.setdefault(f"factors, {name} epoch", {})):
        mean = float(R.data.mean())
        model = MatrixFactorization(*R.shape, K, bias=True, mean=mean, random_state=0)
        solver = solvers[name](model, R, settings)
        for epoch in range(repeats):
            lap(f"factors, {name} epoch", solver.epoch, epoch, seed=(0, epoch))


def point(users: int, movies: int, n_ratings: int, random_state: int, repeats: int) -> list[dict]:
    "A row a stage: seconds and memory."
    rows = []
    for size, times in (
        (rehearsal, 1),
        ((users, movies, n_ratings), repeats),
    ):  # the small one compiles
        R, lap, memory, refused = long_tailed(*size, random_state), Laps(), {}, {}
        test = np.stack(R.nonzero(), 1)[np.random.default_rng(0).random(R.nnz) < 0.1]
        try:
            neighbours(lap, memory, R, test, times)
        except MemoryError as error:
            refused = dict(refused=str(error))
        for name in solvers:
            factors(lap, memory, R, name, times)
    facts = dict(users=R.shape[0], movies=R.shape[1], ratings=R.nnz)
    rows = [
        dict(stage=stage, **facts, **spread(seconds), **memory[stage])
        for stage, seconds in lap.seconds.items()
    ]
    return rows + ([dict(stage="similarity of all pairs", **facts, **refused)] if refused else [])


def exponents(rows: list[dict]) -> list[dict]:
    "The power of the axis with which the best time grows, by stage."
    fits = []
    for axis, stage in sorted({(row["axis"], row["stage"]) for row in rows}):
        points = [
            row for row in rows if (row["axis"], row["stage"]) == (axis, stage) and "best" in row
        ]
        if len(points) > 1:
            power = growth_exponent([p[axis] for p in points], [p["best"] for p in points])
            fits.append(dict(axis=axis, stage=stage, time_exponent=power, points=len(points)))
    return fits


def main():
    "The table."
    chosen = options(__doc__, users=2_500, movies=2_500, ratings=500_000, doublings=4)
    sizes = {
        "users": lambda f: (chosen.users * f, 4 * chosen.movies, 200 * chosen.users * f),
        "movies": lambda f: (4 * chosen.users, chosen.movies * f, 4 * chosen.ratings),
        "ratings": lambda f: (4 * chosen.users, 4 * chosen.movies, chosen.ratings * f),
    }
    rows = []
    for axis, size in sizes.items():
        for doubling in range(chosen.doublings + 1):
            for row in fresh(point, *size(2**doubling), chosen.random_state, chosen.repeats):
                rows.append(dict(axis=axis, **row))
                show(rows[-1])
    fits = exponents(rows)
    for fit in fits:
        show(fit)
    write("scaling", chosen, rows, exponents=fits)


if __name__ == "__main__":
    main()
