"""What the measurements share: clocks that alternate, processes of their own, peak memory, what
ran where, and the files of results.
"""

import argparse
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil

from thu_big_data_ml import __version__

results = Path(__file__).parent / "results"
started = SimpleNamespace()  # clocks of the machine and of this program when options were read
libraries = ["numpy", "scipy", "scikit-learn", "numba", "llvmlite", "torch"]
# users, movies and ratings: enough for the kernels to be used, and so compiled before any timing
rehearsal = (3_000, 1_000, 20_000)
thread_variables = [
    "OMP",
    "OPENBLAS",
    "MKL",
    "NUMBA",
    "RAYON",
    "LK",
    "POLARS_MAX",
]  # each followed by _NUM_THREADS or _THREADS


def options(description: str, repeats: int = 5, **sizes) -> argparse.Namespace:
    """The command line of a table: sizes of the workload, repetitions, threads, and where the
    results go.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    for name, default in sizes.items():
        kind = dict(type=str, nargs="+") if isinstance(default, list) else dict(type=type(default))
        parser.add_argument(f"--{name.replace('_', '-')}", default=default, **kind)
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--random-state", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--output", type=Path, default=results, help="folder of the JSON file")
    chosen = parser.parse_args()
    set_threads(chosen.threads)
    vars(started).update(clocks())
    return chosen


def clocks() -> dict:
    "Seconds so far: on the wall, of all cores at work, and of this program and what it started."
    cores = psutil.cpu_times()
    busy = cores.user + cores.system + getattr(cores, "nice", 0)
    own = sum(os.times()[:4])
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            own += sum(child.cpu_times()[:2])
    return dict(wall=time.perf_counter(), busy=busy, own=own)


def cores_of_others() -> float:
    "How many cores other programs kept at work, on average, since the options were read."
    now, then = SimpleNamespace(**clocks()), started
    return max(0.0, (now.busy - then.busy) - (now.own - then.own)) / (now.wall - then.wall)


def environment_of_threads(n: int) -> dict[str, str]:
    "What lets BLAS, numba and torch of another process use `n` threads."
    return {
        f"{name}_THREADS" if name.endswith("MAX") else f"{name}_NUM_THREADS": str(n)
        for name in thread_variables
    }


def set_threads(n: int):
    "Let BLAS, numba and torch use `n` threads, here and in processes started from here."
    import numba
    import torch
    from threadpoolctl import threadpool_limits

    os.environ |= environment_of_threads(n)
    threadpool_limits(n)
    numba.set_num_threads(n)
    torch.set_num_threads(n)


def ratings(users: int, movies: int, n_ratings: int, random_state: int = 0):
    """Synthetic ratings of the shape of Netflix's, from the cache where they were made before;
    20 planted factors.
    """
    from thu_big_data_ml._files_and_devices import file_digest
    from thu_big_data_ml.data import synthetic
    from thu_big_data_ml.data.ratings import RatingData
    from thu_big_data_ml.help import joblib_memory

    code = file_digest(synthetic.__file__)
    made = joblib_memory.cache(_synthetic)(users, movies, n_ratings, random_state, code)
    return RatingData(**made)


def _synthetic(users: int, movies: int, n_ratings: int, random_state: int, code: str) -> dict:
    "The fields of the ratings; `code` is the digest of what makes them."
    from thu_big_data_ml.data.synthetic import synthetic_ratings

    made = vars(synthetic_ratings(users, movies, n_ratings, random_state, n_factors=20))
    return made | dict(movies=made["movies"].astype(dict(year=float)))  # numpy's types are kept


def positions_of(data) -> dict[str, np.ndarray]:
    "Train and test as positions: u, i, r and tu, ti, tr."
    from thu_big_data_ml.data._sparse import positions

    split = {}
    for prefix, part in (("", data.train), ("t", data.test)):
        split[f"{prefix}u"] = positions(part["user_id"], data.user_ids).astype(np.int32)
        split[f"{prefix}i"] = positions(part["movie_id"], data.movie_ids).astype(np.int32)
        split[f"{prefix}r"] = part["rating"].to_numpy(np.float32)
    return split


class Laps:
    """A stopwatch: `lap(name, function, ...)` runs the function and adds its seconds to the list
    of that name.
    """

    def __init__(self):
        self.seconds = {}

    def __call__(self, name, function, *words, **named):
        start = time.perf_counter()
        result = function(*words, **named)
        self.seconds.setdefault(name, []).append(time.perf_counter() - start)
        return result


def alternate(ways: dict, repeats: int) -> dict[str, dict[str, list[float]]]:
    """Run every way, `way(lap)`, once a repetition, in turn and first to last in the odd ones,
    last to first in the even; way -> stage -> seconds.
    """
    seconds = {name: {} for name in ways}
    for repeat in range(repeats):
        for name in list(ways)[:: 1 if repeat % 2 == 0 else -1]:
            lap = Laps()
            ways[name](lap)
            for stage, parts in lap.seconds.items():
                seconds[name].setdefault(stage, []).append(sum(parts))
    return seconds


def spread(seconds: list[float]) -> dict:
    "Best and median, and all of them."
    return dict(
        best=min(seconds), median=statistics.median(seconds), seconds=[round(s, 4) for s in seconds]
    )


@contextmanager
def memory_of(work: dict):
    """Write the memory held before the block, and the most held within it, to `work`, in MB;
    Linux only.
    """

    def most():
        return round(
            next(
                int(line.split()[1])
                for line in Path("/proc/self/status").read_text().splitlines()
                if line.startswith("VmHWM")
            )
            / 1024
        )

    Path("/proc/self/clear_refs").write_text("5")  # the most held so far becomes what is held now
    work["before_megabytes"] = most()
    yield
    work["peak_megabytes"] = most()


def fresh(function, *words):
    "What `function(*words)` returns in a process of its own."
    threads, spawn = int(os.environ["OMP_NUM_THREADS"]), multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, spawn, set_threads, (threads,)) as pool:
        return pool.submit(function, *words).result()  # an error if the process is killed


def machine() -> dict:
    "What the figures depend on."
    from threadpoolctl import threadpool_info

    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)
    }
    wanted = ("avx2", "fma", "avx512f", "avx512vl", "avx512_vnni", "amx_tile")
    blas = {
        info["filepath"].rsplit("/", 1)[-1].split("-")[0]: info
        for info in threadpool_info()
        if info["user_api"] == "blas"
    }
    return dict(
        processor=facts.get("model name", platform.processor()),
        cores=os.cpu_count(),
        memory_gigabytes=round(psutil.virtual_memory().total / 2**30),
        features=[f for f in wanted if f in facts.get("flags", "").split()],
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        blas={
            name: f"{info['internal_api']} {info['version']} {info.get('architecture', '')}".strip()
            for name, info in blas.items()
        },
    )


def write(table: str, chosen: argparse.Namespace, rows: list[dict], **more) -> Path:
    "Write a table with all that it depends on, and print where it is."
    settings = {name: value for name, value in vars(chosen).items() if name != "output"}
    command = [
        "python",
        f"bench/{table}.py",
        *(
            word
            for name, value in settings.items()
            for word in (
                f"--{name.replace('_', '-')}",
                *map(str, value if isinstance(value, list) else [value]),
            )
        ),
    ]
    facts = dict(
        table=table,
        command=shlex.join(command),
        date=time.strftime("%Y-%m-%d"),
        settings=settings,
        machine=machine(),
        cores_of_others=round(cores_of_others(), 2),
        versions=dict(thu_big_data_ml=__version__) | {name: version(name) for name in libraries},
        **more,
        rows=rows,
    )
    chosen.output.mkdir(parents=True, exist_ok=True)
    path = chosen.output / f"{table}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n")
    print(
        f"threads {chosen.threads}, {facts['machine']['processor']}, "
        + ", ".join(f"{k} {v}" for k, v in facts["versions"].items())
    )
    if facts["cores_of_others"] > 0.1:
        print(f"other programs kept {facts['cores_of_others']} cores at work: mind CPU seconds")
    print(f"written: {os.path.relpath(path)}", flush=True)
    return path


def show(row: dict):
    "Print a row as it is measured."
    print(
        "  ".join(
            f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}"
            for k, v in row.items()
            if k != "seconds"
        ),
        flush=True,
    )
