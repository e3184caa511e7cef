"""Other libraries and this one on the same ratings, split, machine and threads, each in an
interpreter and an environment of its own.

`python bench/peers.py --ratings FILE` takes any file or folder that `load_ratings` reads, an `.npz`
of arrays u, i, r and t (True: test), or a size such as 10000x10000x8617212 of synthetic ratings,
and several of these. On more ratings than `--slow-up-to`, only the faster factorizations take part,
and all is repeated `--large-repeats` times.

Neighbours are compared definition by definition. Factorizations of others get their settings inside
train, all by one rule: 5 % of train is set aside, and the lists of `factors` are gone through one
after the other, twice, each with the best so far of the rest; then all of train is learned from,
and test is scored once. Ours have their defaults. The search is not in the seconds, but its own CPU
seconds are told; what ours choose within `fit` is in theirs. Who has no prediction for a pair gets
our damped biases there; `rmse_of_made` leaves such pairs out.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
import pandas as pd
from common import options, positions_of, ratings, show, spread, write

from thu_big_data_ml.data.ratings import RatingData
from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.estimators.baseline import BaselinePredictor

here = Path(__file__).parent
names = [path.stem for path in sorted((here / "peers").glob("*.txt"))] + ["ours"]
slow = ("surprise", "myfm")
K_NEIGHBOURS = 40

neighbours = {  # definition -> who predicts by it, and how
    "all movies in the norms, centred by the user's mean": [
        ("lenskit", {}),
        ("ours", dict(center="mean")),
    ],
    "common movies in the norms, centred by the user's mean": [
        ("cornac", {}),
        ("ours", dict(metric="pearson", center="mean")),
    ],
    "common movies in the norms, raw ratings": [
        ("surprise", dict(similarity="cosine")),
        ("ours", dict(metric="corated")),
    ],
    "common movies in the norms, centred by biases, shrunk by 100": [
        ("surprise", dict(similarity="pearson_baseline", shrinkage=100)),
        ("ours", dict(metric="pearson", center="baseline", shrinkage=100, min_support=2)),
    ],
    "what this library recommends": [("ours", dict(center="baseline", shrinkage=30, damping=0.1))],
}


ranks = (16, 50)
sgd = dict(penalty=(0.02, 0.05, 0.1, 0.2), k=ranks, epochs=(20, 40, 80), rate=(0.01,))
als = dict(k=ranks, epochs=(10, 20))
factors = {  # way -> library, what to choose from
    "SGD, LIBMF": ("libmf", dict(penalty=(0.02, 0.05, 0.1, 0.2), k=ranks, epochs=(20, 40, 80))),
    "SGD, Surprise": ("surprise", sgd),
    "SGD, Cornac": ("cornac", sgd),
    "ALS, LensKit": ("lenskit", dict(penalty=(0.05, 0.1, 0.2, 0.4)) | als),
    "ALS, cmfrec": ("cmfrec", dict(penalty=(3.0, 10.0, 30.0, 100.0)) | als),
    "ALS with who rated what, cmfrec": (
        "cmfrec",
        dict(penalty=(3.0, 10.0, 30.0, 100.0), implicit=(True,)) | als,
    ),
    "Gibbs sampling, myFM": ("myfm", dict(k=(8, 16, 32), epochs=(100,))),
    "Gibbs sampling with who rated what, myFM": (
        "myfm",
        dict(k=(8, 16, 32), epochs=(100,), implicit=(True,)),
    ),
}
ours = {  # way -> what differs from the defaults
    "damped biases, ours": dict(kind="biases"),
    "SGD, ours": dict(kind="sgd"),
    "ALS, ours": dict(kind="als"),
    "AdamW with who rated what, ours": dict(kind="adamw"),
    "variational, ours": dict(kind="variational"),
    "Gibbs sampling, ours": dict(kind="gibbs"),
    "AdamW, similar movies correct, ours": dict(kind="adamw", neighbours=True),
    "variational, similar movies correct, ours": dict(kind="variational", neighbours=True),
    "Gibbs sampling, similar movies correct, ours": dict(kind="gibbs", neighbours=True),
}


def wishes(name: str) -> dict[str, str]:
    """What a peer's list of packages asks for in its first lines, `# name: value`: an interpreter,
    `python`, and variables for building it.
    """
    text = (here / "peers" / f"{name}.txt").read_text()
    return dict(re.findall(r"^# (\w+): (.+)$", text, re.MULTILINE))


def environment(name: str, limit: int) -> str | None:
    """Make the environment of a peer where it is not ready, within `limit` seconds; what went
    wrong, if something did.
    """
    folder, wanted = here / ".environments" / name, (here / "peers" / f"{name}.txt").read_text()
    ready = folder / "ready.txt"
    if ready.exists() and ready.read_text() == wanted:
        return None
    variables = wishes(name)
    python = variables.pop("python", sys.executable)
    if not shutil.which(python):
        return f"not installed: its newest release needs {python}, which is not on the PATH"
    print(f"{name}: making its environment", flush=True)
    pip = [folder / "bin" / "python", "-m", "pip", "install", "--quiet"]
    pip += ["--no-cache-dir"] if variables else []  # a wheel built otherwise may lie there
    try:
        for command in (
            [python, "-m", "venv", "--clear", folder],
            [*pip, "--requirement", here / "peers" / f"{name}.txt"],
        ):
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                text=True,
                timeout=limit,
                env=os.environ | variables,
            )
    except subprocess.TimeoutExpired:
        return f"not installed within {limit} s"
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if "ERROR" in line] or ["?"]
        return f"not installed: {said[-1][:300]}"
    ready.write_text(wanted)
    return None


class Peer:
    """A library in a process of its own that answers requests; `error` says why there is none. One
    that takes longer than `limit` seconds is stopped and started anew.
    """

    def __init__(self, name: str, split: Path, threads: int, limit: int, install_limit: int):
        own = here / ".environments" / name / "bin" / "python"
        python = sys.executable if name == "ours" else own
        self.command = [python, here / "peers" / "child.py", name, split, str(threads)]
        self.limit, self.version, self.python = limit, None, None
        self.error = None if name == "ours" else environment(name, install_limit)
        if self.error is None:
            self.start()

    def start(self):
        "The process, ready."
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        said = self.read()
        self.version, self.python = said.get("version"), said.get("python")
        self.error = said.get("error")

    def read(self) -> dict:
        "The next answer; an error if it takes longer than the limit."
        timer = threading.Timer(self.limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if line:
            return json.loads(line)
        code = self.process.wait()
        return dict(error=f"stopped after {self.limit} s" if late else f"ended with code {code}")

    def ask(self, **request) -> dict:
        "The answer to a request."
        if self.error:
            return dict(error=self.error)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        answer = self.read()
        if self.process.poll() is not None:
            self.start()
        return answer

    def close(self):
        "End the process."
        if hasattr(self, "process"):
            self.process.stdin.close()
            self.process.wait()


def split_of(data: RatingData) -> dict[str, np.ndarray]:
    "What a library is given: train and test as positions, and damped biases for who has nothing."
    fallback = BaselinePredictor().fit(data.train).predict(data.test)
    return dict(fallback=fallback, **positions_of(data))


class Peers(dict):
    "Libraries by name, all on the same split; use in a `with`."

    def __init__(self, names, split: dict, chosen):
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "split.npz"
        np.savez(path, **split)
        super().__init__(
            {
                name: Peer(name, path, chosen.threads, chosen.limit, chosen.install_limit)
                for name in names
            }
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for peer in self.values():
            peer.close()
        self.folder.cleanup()

    def facts(self) -> dict:
        "Which versions answered, in which interpreters, and who could not be run, with the reason."
        return dict(
            peers={name: peer.version for name, peer in self.items() if peer.version},
            interpreters={name: peer.python for name, peer in self.items() if peer.python},
            not_run={name: peer.error for name, peer in self.items() if peer.error},
        )


def choose(peer: Peer, lists: dict) -> tuple[dict, dict]:
    """The settings of least error on 5 % of train, learned from the rest, and what that took: each
    list in turn with the best so far of the others, middle values at the start, twice.
    """
    tried, best = {}, {name: values[(len(values) - 1) // 2] for name, values in lists.items()}
    cpu_seconds = 0.0
    for name, values in [*lists.items()] * 2:
        errors = []
        for value in values:
            setting = best | {name: value}
            key = json.dumps(setting)
            if key not in tried:
                answer = peer.ask(part="choice", model="factors", **setting)
                tried[key] = answer.get("rmse", np.inf)
                cpu_seconds += answer.get("cpu_seconds", 0.0)
            errors.append(tried[key])
            if errors[-1] == np.inf:
                break  # those behind take as long or longer
        best[name] = values[int(np.argmin(errors))]
    least = min(tried.values())
    facts = dict(tried=len(tried), search_cpu_seconds=round(cpu_seconds, 2))
    return best, facts | (dict(held_out_rmse=least) if np.isfinite(least) else {})


def measure(peers, ways: dict, repeats: int) -> list[dict]:
    "Run every way once a repetition, in turn, after a rehearsal; a row a way."
    answers = {way: [] for way in ways}
    for part in ["rehearsal"] + ["all"] * repeats:
        for way, (name, model, chosen) in ways.items():
            if not any("error" in a for a in answers[way]):
                answer = peers[name].ask(part=part, model=model, **chosen)
                answers[way] += [answer] if part == "all" else []
    return [row(way, *ways[way], answers[way]) for way in ways]


def row(way, name, model, chosen, answers) -> dict:
    "What the repetitions of one way gave."
    facts = dict(way=way, library=name, model=model, options=chosen)
    if "error" in answers[-1]:
        return facts | dict(error=answers[-1]["error"])
    stages = {
        f"{stage}_seconds": min(a["seconds"].get(stage, 0) for a in answers)
        for stage in ("prepare", "fit", "predict")
    }
    told = ("rmse", "rmse_of_made", "made", "mean_of_nearest", "peak_megabytes")
    return (
        facts
        | spread([sum(a["seconds"].values()) for a in answers])
        | dict(cpu_seconds=min(a["cpu_seconds"] for a in answers))
        | stages
        | {key: answers[-1][key] for key in told if key in answers[-1]}
    )


def similarity_ways() -> dict:
    "Cosines between users, all movies in the norms, by those that do without ratings."
    nearest = f"cosine, the {K_NEIGHBOURS} most similar users"
    some = dict(k=K_NEIGHBOURS)
    ways = {
        f"{nearest}: {name}": (name, "similarity", some)
        for name in ("implicit", "similaripy", "sparse_dot_topn")
    }
    return ways | {
        f"cosine, all pairs of users: {name}": (name, "similarity", {})
        for name in ("similaripy", "sparse_dot_topn", "ours")
    }


def neighbour_ways() -> dict:
    "All neighbourhoods."
    return {
        f"{definition}: {name}": (name, "neighbours", dict(k=K_NEIGHBOURS) | chosen)
        for definition, who in neighbours.items()
        for name, chosen in who
    }


def factor_ways(peers: Peers, wanted: str) -> tuple[dict, dict]:
    "Factorizations with the settings chosen, and what choosing took; `wanted`: see `table`."
    ways, searches = {}, {}
    for way, (name, lists) in factors.items():
        if name in peers and re.search(wanted, way):
            chosen, searches[way] = choose(peers[name], lists)
            ways[way] = (name, "factors", chosen)
            print(f"{way}: {chosen} of {searches[way]}", flush=True)
    return ways | {way: ("ours", "factors", chosen) for way, chosen in ours.items()}, searches


def ratings_of(source: str, chosen) -> RatingData:
    "Ratings from a size, an array file with its own split, or what `load_ratings` reads."
    if re.fullmatch(r"\d+x\d+x\d+", source):
        return ratings(*map(int, source.split("x")), chosen.random_state)
    if Path(source).suffix == ".npz":
        with np.load(source) as arrays:
            u, i, r, t = (arrays[name] for name in "uirt")
        table = pd.DataFrame(dict(user_id=u, movie_id=i, rating=r.astype(float)))
        train, test = (table[t == part].reset_index(drop=True) for part in (False, True))
        titles = pd.DataFrame(dict(movie_id=[], year=[], title=[]))
        return RatingData.from_splits(train, test, titles, name=Path(source).stem)
    scale = tuple(float(end) for end in chosen.scale.split())
    return load_ratings(source, random_state=chosen.random_state, rating_scale=scale)


def table(data: RatingData, chosen) -> tuple[list[dict], dict]:
    "The rows of one set of ratings whose way matches the pattern `--ways`, and who took part."
    large, rows = len(data.train) > chosen.slow_up_to, []
    wanted = [name for name in chosen.peers.split() if not (large and name in slow)]
    with Peers(wanted, split_of(data), chosen) as peers:
        factorizations, searches = factor_ways(peers, chosen.ways)
        ways = {} if large else neighbour_ways() | similarity_ways()
        ways = {
            way: what
            for way, what in (ways | factorizations).items()
            if what[0] in wanted and re.search(chosen.ways, way)
        }
        repeats = chosen.large_repeats if large else chosen.repeats
        for found in measure(peers, ways, repeats):
            rows.append(dict(data=data.name, **found) | searches.get(found["way"], {}))
            show(rows[-1])
        return rows, peers.facts()


def main():
    "The table."
    chosen = options(
        __doc__,
        repeats=3,
        ratings=["sample", "10000x10000x8617212"],
        scale="0.5 5",
        slow_up_to=2_000_000,
        large_repeats=1,
        ways=".",
        limit=300,
        install_limit=1800,
        peers=" ".join(names),
    )
    rows, facts, workloads = [], {}, {}
    for source in chosen.ratings:
        data = ratings_of(source, chosen)
        print(data, flush=True)
        found, told = table(data, chosen)
        rows += found
        facts = {name: facts.get(name, {}) | told[name] for name in told}
        workloads[data.name] = dict(ratings=repr(data), best_achievable_rmse=data.best_rmse)
    write("peers", chosen, rows, workloads=workloads, **facts)


if __name__ == "__main__":
    main()
