"""Other libraries and this one on the same ratings, split, machine and threads, each in an
interpreter and an environment of its own.

Neighbours are compared definition by definition. Factorizations get their penalty, and SGD
elsewhere its passes, from a few values by a tenth of train set aside;
that is not timed, but our own choice of epochs, within `fit`, is. Who has no prediction for a pair
gets our damped biases there; `rmse_of_made` leaves such pairs out.
Real ratings for all; the synthetic ones, with fixed settings, for the factorizations that are fast
enough.
"""

import json
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import numpy as np
from common import options, positions_of, ratings, show, spread, write

from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.estimators.baseline import BaselinePredictor

here = Path(__file__).parent
names = ["surprise", "lenskit", "cornac", "implicit", "cmfrec", "myfm", "ours"]
K_NEIGHBOURS, K_REAL, K_LARGE = 40, 16, 50

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


def grid(name, values, **fixed):
    return [fixed | {name: value} for value in values]


passes = [
    setting
    for epochs in (20, 40, 80, 160)
    for setting in grid("penalty", (0.05, 0.1, 0.2), epochs=epochs, rate=0.01)
]
factors = {  # way -> library, settings to choose from
    "SGD, Surprise": ("surprise", passes),
    "SGD, Cornac": ("cornac", passes),
    "ALS, LensKit": ("lenskit", grid("penalty", (0.05, 0.1, 0.2, 0.4), epochs=10)),
    "ALS, cmfrec": ("cmfrec", grid("penalty", (1.0, 3.0, 10.0, 30.0), epochs=10)),
    "Gibbs sampling, myFM": ("myfm", [dict(epochs=100)]),
    "Gibbs sampling with who rated what, myFM": ("myfm", [dict(epochs=100, implicit=True)]),
    "Gibbs sampling, ours": ("ours", [dict(solver="gibbs", implicit=False)]),
    "Gibbs sampling with who rated what, ours": ("ours", [dict(solver="gibbs")]),
    "SGD, ours": ("ours", grid("regularization", (4, 8, 14, 28), solver="sgd")),
    "ALS, ours": ("ours", grid("regularization", (4, 8, 14, 28), solver="als")),
    "AdamW, ours": ("ours", grid("regularization", (4, 8, 14, 28), implicit=False)),
    "AdamW with who rated what, ours": ("ours", grid("regularization", (9, 18, 36))),
}
large = {  # way -> library, settings: fixed beforehand, not searched
    "SGD, Cornac": ("cornac", dict(penalty=0.05, epochs=20, rate=0.01)),
    "ALS, LensKit": ("lenskit", dict(penalty=0.1, epochs=10)),
    "ALS, cmfrec": ("cmfrec", dict(penalty=10.0, epochs=10)),
    "SGD, ours": ("ours", dict(solver="sgd")),
    "ALS, ours": ("ours", dict(solver="als")),
    "AdamW, ours": ("ours", dict(implicit=False)),
    "AdamW with who rated what, ours": ("ours", {}),
}


def environment(name: str, limit: int) -> str | None:
    """Make the environment of a peer where it is not ready, within `limit` seconds; what went
    wrong, if something did.
    """
    folder, wanted = here / ".environments" / name, (here / "peers" / f"{name}.txt").read_text()
    ready = folder / "ready.txt"
    if ready.exists() and ready.read_text() == wanted:
        return None
    print(f"{name}: making its environment", flush=True)
    try:
        for command in (
            ["-m", "venv", "--clear", folder],
            ["-m", "pip", "install", "--quiet", "--requirement", here / "peers" / f"{name}.txt"],
        ):
            python = sys.executable if "venv" in command else folder / "bin" / "python"
            subprocess.run(
                [python, *command], check=True, capture_output=True, text=True, timeout=limit
            )
    except subprocess.TimeoutExpired:
        return f"not installed within {limit} s"
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if "ERROR" in line] or ["?"]
        return f"not installed: {said[-1][:300]}"
    ready.write_text(wanted)
    return None


class Peer:
    "A library in a process of its own that answers requests; once it fails to, `error` says why."

    def __init__(self, name: str, split: Path, threads: int, limit: int, install_limit: int):
        self.limit, self.version = limit, None
        self.error = None if name == "ours" else environment(name, install_limit)
        if self.error is None:
            python = (
                sys.executable
                if name == "ours"
                else here / ".environments" / name / "bin" / "python"
            )
            self.process = subprocess.Popen(
                [python, here / "peers" / "child.py", name, split, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            self.version = self.read().get("version")

    def read(self) -> dict:
        "The next answer; an error if it takes longer than the limit."
        timer = threading.Timer(self.limit, self.process.kill)
        timer.start()
        line = self.process.stdout.readline()
        late = not timer.is_alive()
        timer.cancel()
        if not line:
            self.error = (
                f"stopped after {self.limit} s"
                if late
                else f"ended with code {self.process.wait()}"
            )
            return dict(error=self.error)
        return json.loads(line)

    def ask(self, **request) -> dict:
        "The answer to a request."
        if self.error:
            return dict(error=self.error)
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return self.read()

    def close(self):
        "End the process."
        if hasattr(self, "process"):
            self.process.stdin.close()
            self.process.wait()


class Peers(dict):
    "Libraries by name, all on the same split; use in a `with`."

    def __init__(self, names, data, chosen):
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "split.npz"
        np.savez(
            path,
            fallback=BaselinePredictor().fit(data.train).predict(data.test),
            **positions_of(data),
        )
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

    def versions(self) -> dict:
        "Which versions answered."
        return {name: peer.version for name, peer in self.items() if peer.version}


def choose(peers, models, k: int) -> dict:
    """way -> library, model, options: those of least error on a tenth of train, learned from the
    rest.
    """
    chosen = {}
    for way, (name, candidates) in models.items():

        def error(setting):
            return (
                peers[name].ask(part="choice", model="factors", k=k, **setting).get("rmse", np.inf)
            )

        chosen[way] = (
            name,
            "factors",
            dict(k=k) | (min(candidates, key=error) if len(candidates) > 1 else candidates[0]),
        )
    return chosen


def measure(peers, ways: dict, repeats: int) -> list[dict]:
    "Run every way once a repetition, in turn, after a rehearsal; a row a way."
    answers = {way: [] for way in ways}
    for part in ["rehearsal"] + ["all"] * repeats:
        for way, (name, model, chosen) in ways.items():
            answer = peers[name].ask(part=part, model=model, **chosen)
            if part == "all" and not any("error" in a for a in answers[way]):
                answers[way].append(answer)
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
    return (
        facts
        | spread([sum(a["seconds"].values()) for a in answers])
        | stages
        | {
            key: answers[-1][key]
            for key in ("rmse", "rmse_of_made", "made", "peak_megabytes")
            if key in answers[-1]
        }
    )


def neighbour_ways() -> dict:
    "All neighbourhoods, and the two that stop at similarities."
    ways = {
        f"{definition}: {name}": (name, "neighbours", dict(k=K_NEIGHBOURS) | chosen)
        for definition, who in neighbours.items()
        for name, chosen in who
    }
    return ways | {
        f"cosine, the {K_NEIGHBOURS} most alike, no ratings: implicit": (
            "implicit",
            "similarity",
            dict(k=K_NEIGHBOURS),
        ),
        "cosine, all pairs, no ratings: ours": ("ours", "similarity", {}),
    }


def ways_of(kind: str, peers: Peers, wanted: list[str]) -> dict:
    "way -> library, model, options, for real or synthetic ratings, of the libraries wanted."
    if kind == "real":
        searched = {way: what for way, what in factors.items() if what[0] in wanted}
        ways = neighbour_ways() | choose(peers, searched, K_REAL)
    else:
        ways = {
            way: (name, "factors", dict(k=K_LARGE) | setting)
            for way, (name, setting) in large.items()
        }
    return {way: what for way, what in ways.items() if what[0] in wanted}


def main():
    "The table."
    chosen = options(
        __doc__,
        real="sample",
        users=10_000,
        movies=10_000,
        ratings=8_617_212,
        large_repeats=1,
        limit=300,
        install_limit=900,
        peers=" ".join(names),
    )
    rows, versions, workloads = [], {}, {}
    wanted = chosen.peers.split()
    planted = ratings(chosen.users, chosen.movies, chosen.ratings, chosen.random_state)
    parts = dict(
        real=(load_ratings(chosen.real), wanted, chosen.repeats),
        synthetic=(
            planted,
            sorted({name for name, _ in large.values()} & set(wanted)),
            chosen.large_repeats,
        ),
    )
    for kind, (data, taking_part, repeats) in parts.items():
        print(data, flush=True)
        with Peers(taking_part, data, chosen) as peers:
            for found in measure(peers, ways_of(kind, peers, wanted), repeats):
                rows.append(dict(data=kind, **found))
                show(rows[-1])
            versions |= peers.versions()
        workloads[kind] = dict(ratings=repr(data), best_achievable_rmse=data.best_rmse)
    write("peers", chosen, rows, workloads=workloads, peers=versions)


if __name__ == "__main__":
    main()
