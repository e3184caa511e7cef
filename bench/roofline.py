"""What the machine can do, and what the two ways make of it: float32 matrix products against sparse
strips, dense autograd against a fused step.

The products multiply by every missing rating, at the highest rate the machine has; this library
multiplies only ratings, at the rate that memory and caches allow.
"""

import torch
from common import alternate, options, ratings, rehearsal, show, spread, write

from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.factorization._solvers import FullBatchAdamW
from thu_big_data_ml.factorization.matrix_factorization import MatrixFactorization
from thu_big_data_ml.neighbors.similarity import user_similarity
from thu_big_data_ml.neighbors.user_cf import UserCF

K = 50  # factors
settings = dict(
    learning_rate=0.02,
    weight_decay=0.0,
    regularization=16,
    regularization_per_rating=0,
    bias_regularization=3,
)


def ceilings(repeats: int, n: int, gigabytes: float) -> dict:
    "The highest rates seen: float32 and float64 products in GFLOP/s, reading in GB/s."
    A32, A64 = torch.rand(n, n), torch.rand(n, n, dtype=torch.float64)
    memory = torch.ones(int(gigabytes * 2**28))
    work = {
        "float32 product": lambda lap: lap("s", torch.mm, A32, A32),
        "float64 product": lambda lap: lap("s", torch.mm, A64, A64),
        "reading": lambda lap: lap("s", memory.sum),
    }
    best = {name: min(stages["s"]) for name, stages in alternate(work, repeats).items()}
    return {
        "float32_gflops": 2 * n**3 / best["float32 product"] / 1e9,
        "float64_gflops": 2 * n**3 / best["float64 product"] / 1e9,
        "read_gigabytes_per_second": memory.nbytes / best["reading"] / 1e9,
    }


class Products:
    "Dense float32 products of the ratings, laid out beforehand."

    def __init__(self, R):
        self.D = torch.from_numpy(R.toarray())
        self.A, self.M = torch.nn.functional.normalize(self.D), (self.D != 0).float()

    def similarity(self):
        "A @ A.T by numpy, which sees that it is symmetric and computes half."
        A = self.A.numpy()
        return torch.from_numpy(A @ A.T)

    def predictions(self, S):
        "(S @ R) / (S @ (R != 0))"
        return S @ self.D / (S @ self.M)


class DenseStep:
    "The original's way: the whole of U @ V.T, the observed cells taken out of it, autograd, AdamW."

    def __init__(self, R):
        D = torch.from_numpy(R.toarray())
        self.observed = D != 0
        self.r = D[self.observed]
        self.model = MatrixFactorization(*R.shape, K, random_state=0)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=settings["learning_rate"],
            weight_decay=settings["weight_decay"],
        )

    def __call__(self):
        self.optimizer.zero_grad(set_to_none=True)
        (0.5 * (self.model()[self.observed] - self.r).square().mean()).backward()
        self.optimizer.step()


class FusedStep:
    "One pass over the ratings that yields the gradient, and AdamW in place."

    def __init__(self, R):
        self.solver, self.epochs = (
            FullBatchAdamW(MatrixFactorization(*R.shape, K, random_state=0), R, settings),
            0,
        )

    def __call__(self):
        self.solver.epoch(self.epochs, seed=(0, self.epochs))
        self.epochs += 1


def dense(lap, products, step):
    "What is dense."
    S = lap("similarity of all pairs", products.similarity)
    lap("predictions, all cells", products.predictions, S)
    lap("factors, one step", step)


def sparse(lap, R, model, step):
    "What touches ratings only."
    lap("similarity of all pairs", user_similarity, R, device="cpu")
    lap("predictions, all cells", model.predict_matrix)
    lap("factors, one step", step)


def work_of(R) -> dict:
    "Multiplications and additions that each way needs, by stage."
    (n, m), N = R.shape, R.nnz
    return {
        "similarity of all pairs": (
            n * n * m,
            n * N,
        ),  # half of the pairs: 2 a movie, and 2 a rating
        "predictions, all cells": (4 * n * n * m, 4 * n * N),  # numerator and denominator
        "factors, one step": (6 * n * m * K, 6 * N * K),
    }  # product, gradient of U, gradient of V


def table(seconds: dict, R) -> list[dict]:
    "A row a stage and way, with the work and the rate."
    return [
        dict(
            stage=stage,
            way=way,
            **spread(seconds[way][stage]),
            operations=float(operations),
            giga_operations_per_second=operations / min(seconds[way][stage]) / 1e9,
        )
        for stage, both in work_of(R).items()
        for way, operations in zip(("dense", "ours"), both)
    ]


def main():
    "The table."
    sizes = dict(users=10_000, movies=10_000, ratings=8_617_212)
    chosen = options(__doc__, **sizes, square=4096, gigabytes=1.0)
    small = synthetic_ratings(*rehearsal)
    data = ratings(chosen.users, chosen.movies, chosen.ratings, chosen.random_state)
    print(data, flush=True)
    for some in (small, data):  # the small one compiles
        R = some.matrix()
        model = UserCF(device="cpu").fit(some.train)
        ways = {
            "dense": lambda lap: dense(lap, products, dense_step),
            "ours": lambda lap: sparse(lap, R, model, fused_step),
        }
        products, dense_step, fused_step = Products(R), DenseStep(R), FusedStep(R)
        seconds = alternate(ways, 1 if some is small else chosen.repeats)
    largest = float(
        (products.similarity() - torch.from_numpy(user_similarity(R, device="cpu"))).abs().max()
    )
    assert largest < 1e-3, largest
    facts = ceilings(chosen.repeats, chosen.square, chosen.gigabytes)
    rows = table(seconds, R)
    for row in [facts] + rows:
        show(row)
    write(
        "roofline",
        chosen,
        rows,
        workload=repr(data),
        ceilings=facts,
        largest_difference_of_similarities=largest,
    )


if __name__ == "__main__":
    main()
