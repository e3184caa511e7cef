"""How reading, fitting and predicting grow from one hundredth of the Prize's size to all of it.

The ratings are those of `prize_archive.py`, whose truth is known: users and ratings grow, all
17,770 movies stay. Each point runs in a process of its own, after a rehearsal on a small matrix
that compiles. Archives and stores go to the folder `--work`, 3.5 GB at 100 %, of which 1.4 GB stay.

Rows are written as they are measured, and those that are in the file of results are not measured
again: `--stages` says which are looked for, by a pattern. To measure anew, remove the file.
"""

import json
import re
import shutil
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import prize_archive
from common import Laps, clocks, fresh, memory_of, options, rehearsal, show, spread, write
from roofline import ceilings
from scaling import exponents

from thu_big_data_ml import (
    ALSFactorization,
    BaselinePredictor,
    MatrixFactorizationRegressor,
    PrizeRatings,
    SGDFactorization,
    UserCF,
    VariationalFactorization,
    read_prize,
    rmse,
    synthetic_ratings,
)
from thu_big_data_ml.help import data_path

K_POINT, K_FIELD = 16, 32  # factors of point models and of mean field
CF = "user-based CF, the probe of some users"
point = dict(n_factors=K_POINT, validation_fraction=0, random_state=0)
field = dict(n_factors=K_FIELD, tol=0, device="cpu", random_state=0)
fits = {  # stage -> class, parameters, passes over the ratings
    "damped biases": (BaselinePredictor, {}, None),
    f"SGD, k = {K_POINT}": (SGDFactorization, point, dict(n_epochs=20)),
    f"ALS, k = {K_POINT}": (ALSFactorization, point, dict(n_epochs=10)),
    f"AdamW, k = {K_POINT}": (
        MatrixFactorizationRegressor,
        point | dict(implicit=False, device="cpu"),
        dict(n_epochs=40),
    ),
    f"mean field, k = {K_FIELD}": (
        VariationalFactorization,
        field | dict(implicit=False),
        dict(n_sweeps=12),
    ),
    f"mean field with the link prior, k = {K_FIELD}": (
        VariationalFactorization,
        field,
        dict(n_sweeps=12),
    ),
}


# What each stage does, in a process of its own


def read_point(archive: Path, path: Path, whole: bool) -> dict:
    "From the archive's text to the file of arrays."
    lap, memory, start = Laps(), {}, time.process_time()
    with memory_of(memory):
        store = lap("s", read_prize, archive, path, partial=not whole, verbose=False)
    cpu = time.process_time() - start
    return dict(**spread(lap.seconds["s"]), cpu_seconds=cpu, ratings=len(store), **memory)


def open_point(path: Path) -> dict:
    "The file of arrays, opened."
    lap, memory = Laps(), {}
    with memory_of(memory):
        for _ in range(5):
            store = lap("s", PrizeRatings.open, path)
    return dict(**spread(lap.seconds["s"]), ratings=len(store), **memory)


def fit_point(path: Path, stage: str) -> dict:
    "A model fitted to all but the probe, and its error there; seconds are those of one pass."
    kind, parameters, steps = fits[stage]
    small = synthetic_ratings(*rehearsal)
    first = dict.fromkeys(steps or {}, 2)
    kind(**parameters, **first).fit(small.train).predict(small.test)  # compiled
    lap, memory, start = Laps(), {}, time.process_time()
    with memory_of(memory):
        store = PrizeRatings.open(path)
        train, asked = store.without(store.probe), store.frame(store.probe)
        model = lap("fit", kind(**parameters, **steps or {}).fit, train)
        predicted = lap("predict", model.predict, asked)
    seconds = {f"{name}_seconds": sum(parts) for name, parts in lap.seconds.items()}
    of_passes = model.history_["seconds"].tolist() if steps else lap.seconds["fit"]
    return dict(
        **spread(of_passes),
        **seconds,
        cpu_seconds=time.process_time() - start,
        ratings=len(train),
        passes=len(of_passes),
        rmse=rmse(asked["rating"], predicted),
        **memory,
    )


def cf_point(path: Path, some_users: int) -> dict:
    "The pairs of the probe of some users drawn at random; seconds for them, and for all."
    small = synthetic_ratings(*rehearsal)
    UserCF(device="cpu", max_memory=3_000_000).fit(small.train).predict(small.test)  # compiled
    lap, memory, start = Laps(), {}, time.process_time()
    with memory_of(memory):
        store = PrizeRatings.open(path)
        train, asked = store.without(store.probe), store.frame(store.probe)
        users = np.unique(asked["user_id"])
        some = np.random.default_rng(0).permutation(users)[:some_users]
        asked = asked[asked["user_id"].isin(some)]
        most = 16_384 * len(store.user_ids)  # 2,048 rows of similarities: never all of them
        model = lap("fit", UserCF(device="cpu", max_memory=most).fit, train)
        predicted = lap("predict", model.predict, asked)
    seconds = lap.seconds["predict"][0]
    return dict(
        **spread([seconds / len(some) * len(users)]),
        seconds_measured=seconds,
        users_asked=len(some),
        pairs_asked=len(asked),
        users_a_second=len(some) / seconds,
        fit_seconds=lap.seconds["fit"][0],
        cpu_seconds=time.process_time() - start,
        ratings=len(train),
        rmse=rmse(asked["rating"], predicted),
        **memory,
    )


# What must be done at least


def work_of(stage: str, users: int, movies: int, n: int) -> tuple[float, float] | None:
    """Multiplications and additions of one pass, and bytes that must come from memory at least: the
    ratings, eight bytes each, and the numbers of each user, once for each time that they are needed
    (those of movies stay in the cache).
    """
    k, K = K_POINT + 1, K_FIELD + 1  # factors and bias
    P = K * (K + 1) // 2  # numbers of a covariance
    name = stage.split(",")[0]
    if name == "SGD":  # a product, and two rows that move
        return 12 * k * n, 8 * n + 8 * k * users
    if name == "AdamW":  # a product, two gradients; three arrays of AdamW, read and written
        return 6 * k * n + 20 * k * users, 8 * n + 28 * k * users
    if name == "ALS":  # both sides: half a matrix a rating, and a system a row
        solve = k**3 / 3 * (users + movies)
        return 2 * (k * (k + 1) + 2 * k) * n + solve, 16 * n + 8 * k * users
    if name.startswith("mean field"):  # both sides: moments are added, and an inverse a row
        solve = K**3 * (users + movies)
        return 2 * (P + 3 * (K + 1)) * n + solve, 16 * n + 8 * (K + 2 * P) * users
    if stage == CF:  # each rating of each user meets every user
        return 2.0 * users * n, 8.0 * n
    return None


def shares(rows: list[dict], facts: dict) -> list[dict]:
    "How near each stage is to what the machine could do at best: the roofline over the seconds."
    found = []
    for row in rows:
        work = "best" in row and work_of(row["stage"], row["users"], row["movies"], row["ratings"])
        if work:
            of_flops = work[0] / facts["float32_gflops"] / 1e9
            of_bytes = work[1] / facts["read_gigabytes_per_second"] / 1e9
            least = dict(operations=float(work[0]), bytes=float(work[1]))
            bound = "arithmetic" if of_flops > of_bytes else "memory"
            share = max(of_flops, of_bytes) / row["best"]
            told = {name: row[name] for name in ("stage", "percent")}
            found.append(told | least | dict(bound=bound, share_of_roofline=share))
    return found


# One scale after the other


def store_of(work: Path, percent: str) -> tuple[Path, Path]:
    "Where a scale's file of arrays is, and what is known of it."
    return work / f"planted_{percent}.npz", work / f"planted_{percent}.json"


def make_store(work: Path, percent: str) -> dict:
    "Archive and store of a scale, made; how long reading took."
    path, truth = store_of(work, percent)
    folder = work / f"archive_{percent}"
    made = prize_archive.make_archive(folder, float(percent))
    path.unlink(missing_ok=True)
    found = fresh(read_point, folder, path, float(percent) == 100)
    truth.write_text(json.dumps(made, indent=1) + "\n")
    shutil.rmtree(folder)
    return found


def stages_of(work: Path, percent: str, some_users: int) -> dict:
    "What is measured at a scale: stage -> a function without arguments."
    path, _ = store_of(work, percent)
    ways = {stage: lambda stage=stage: fresh(fit_point, path, stage) for stage in fits}
    return {
        "open": lambda: fresh(open_point, path),
        **ways,
        CF: lambda: fresh(cf_point, path, some_users),
    }


def measured(function) -> dict:
    "What a function finds, or why it found nothing; and how busy others were meanwhile."
    before = clocks()
    try:
        found = function()
    except (BrokenProcessPool, MemoryError) as error:
        found = dict(error=f"{type(error).__name__}: {error}"[:300])
    spent = {name: value - before[name] for name, value in clocks().items()}
    others = max(0.0, spent["busy"] - spent["own"]) / spent["wall"]
    return found | dict(cores_of_others=round(others, 2))


class Results:
    "The file of results, with the rows of earlier runs; written after each row."

    def __init__(self, chosen):
        self.chosen, file = chosen, chosen.output / "prize.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        self.rows, self.truths = known.get("rows", []), known.get("truths", {})
        self.ceilings = known.get("ceilings") or ceilings(
            chosen.repeats, chosen.square, chosen.gigabytes
        )

    def wants(self, percent: str, stage: str) -> bool:
        "Whether a row is asked for and not there yet."
        done = {(row["percent"], row["stage"]) for row in self.rows}
        return bool(re.search(self.chosen.stages, stage)) and (float(percent), stage) not in done

    def keep(self, percent: str, stage: str, found: dict):
        "Add a row."
        told = dict(axis="ratings", percent=float(percent), stage=stage)
        sizes = {name: self.truths[percent][name] for name in ("users", "movies")}
        self.rows.append(told | sizes | found)
        show(self.rows[-1])
        more = dict(exponents=exponents(self.rows), shares=shares(self.rows, self.ceilings))
        told = dict(truths=self.truths, ceilings=self.ceilings)
        write("prize", self.chosen, self.rows, **told, **more)


def main():
    "The table."
    chosen = options(
        __doc__,
        percents=["1", "3", "10", "30", "100"],
        some_users=5_000,
        stages=".",
        work=str(data_path / "planted"),
        square=4096,
        gigabytes=1.0,
    )
    work = Path(vars(chosen).pop("work"))
    results = Results(chosen)
    for percent in chosen.percents:
        path, truth = store_of(work, percent)
        first, found = results.wants(percent, "read"), {}
        if first or not (path.exists() and truth.exists()):
            found = measured(lambda percent=percent: make_store(work, percent))
        results.truths[percent] = json.loads(truth.read_text())
        if first:
            results.keep(percent, "read", found)
        for stage, function in stages_of(work, percent, chosen.some_users).items():
            if results.wants(percent, stage):
                results.keep(percent, stage, measured(function))


if __name__ == "__main__":
    main()
