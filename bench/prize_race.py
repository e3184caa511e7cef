"""Time to RMSE at the Prize's size: this library, LIBMF, cmfrec, implicit and Spark's ALS.

Train is all of a planted store but its probe, which is test. The race begins with arrays of users,
movies and stars in memory, sorted by user. The target lies between the best achievable RMSE and
that of damped biases, at `--share` of the way; passes go on behind it, to tell where each ends.
Stores are those of `prize.py`, in the same folder `--work`, and are made where they are not there.

Others get rank and penalties inside train by the rule of `peers.py`, at the first of `--percents`;
at larger ones they keep them, for everyone has as many ratings there. Ours have their defaults. Who
cannot go on from where he stopped is trained from the start for each number of passes, and each
counts alone; above `--few-from` percent, only for the last number. Implicit predicts no stars: what
it is given here instead says `implicit_factors` in `peers/child.py`.

What is in the file of results is not done again; to do it anew, remove the file. `--stages choose`
stops where settings are chosen: that is a matter of errors, not of time.
"""

import json
import re
from pathlib import Path

import numpy as np
import prize
from common import options, show, spread, write
from peers import Peers, choose
from time_to_rmse import curve_from_the_start

from thu_big_data_ml import BaselinePredictor, PrizeRatings, rmse
from thu_big_data_ml.help import data_path

K = 16
defaults = dict(k=K, penalty=6.0, per_rating=0.05)
runners = {  # way -> library, settings, most passes
    "SGD, ours": ("ours", dict(solver="sgd", rate=0.06) | defaults, 20),
    "ALS, ours": ("ours", dict(solver="als") | defaults, 10),
    "AdamW, ours": ("ours", dict(solver="adamw", rate=0.02) | defaults, 150),
    "mean field, ours": ("ours", dict(solver="variational", k=32), 15),
}
ranks = (16, 32)
from_the_start = {  # way -> library, what to choose from, numbers of passes
    "SGD, LIBMF": (
        "libmf",
        dict(penalty=(0.02, 0.05, 0.1, 0.2), k=ranks, epochs=(20,)),
        (3, 6, 12, 24),
    ),
    "ALS, cmfrec": (
        "cmfrec",
        dict(penalty=(3.0, 10.0, 30.0, 100.0), k=ranks, epochs=(6,)),
        (1, 2, 4, 8),
    ),
    "ALS, Spark": (
        "pyspark",
        dict(penalty=(0.02, 0.05, 0.1, 0.2), k=ranks, epochs=(8,)),
        (2, 4, 8, 12),
    ),
    "ALS for likes, implicit": (
        "implicit",
        dict(penalty=(0.1, 1.0, 10.0), alpha=(1.0, 10.0, 40.0), k=ranks, epochs=(8,)),
        (2, 4, 8),
    ),
}


def split_of_store(store: PrizeRatings) -> dict[str, np.ndarray]:
    "All but the probe as positions and stars, and the probe; damped biases for who has nothing."
    train, asked = store.without(store.probe), store.frame(store.probe)
    R = train.matrix()
    fallback = BaselinePredictor().fit(train).predict(asked)
    return dict(
        u=np.repeat(np.arange(R.shape[0], dtype=np.int32), np.diff(R.indptr)),
        i=R.indices,
        r=R.data,
        tu=np.searchsorted(store.user_ids, asked["user_id"]).astype(np.int32),
        ti=np.searchsorted(store.movie_ids, asked["movie_id"]).astype(np.int32),
        tr=asked["rating"].to_numpy(np.float32),
        fallback=fallback,
    )


class Results:
    "The file of results, with what earlier runs found; written after each finding."

    def __init__(self, chosen):
        self.chosen, file = chosen, chosen.output / "prize_race.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        self.rows = known.get("rows", [])
        self.choices, self.scales = known.get("choices", {}), known.get("scales", {})
        names = "peers", "interpreters", "not_run"  # what `Peers.facts` tells
        self.facts = {name: known.get(name, {}) for name in names}

    def write(self):
        "All that is known."
        told = dict(choices=self.choices, scales=self.scales)
        write("prize_race", self.chosen, self.rows, **told, **self.facts)

    def add(self, facts: dict):
        "Who took part, beside those of before."
        self.facts = {name: known | facts[name] for name, known in self.facts.items()}

    def lacks(self, percent: str, way: str) -> bool:
        "Whether a way was not run at a scale."
        return (float(percent), way) not in {(r["percent"], r["way"]) for r in self.rows}

    def keep(self, percent: str, way: str, library: str, found: dict, options: dict):
        "Add a row: seconds to the target, or the least error where it was not met."
        told = dict(percent=float(percent), way=way, library=library, options=options)
        curve, target = found.get("curve"), self.scales[percent]["target"]
        if curve:
            met = [point["seconds"] for point in curve if point["rmse"] <= target][:1]
            told |= dict(reached=bool(met), seconds_in_all=curve[-1]["seconds"])
            told |= dict(passes=curve[-1]["passes"], lowest_rmse=min(p["rmse"] for p in curve))
            told |= spread(met) if met else {}
        self.rows.append(told | found)
        show({name: value for name, value in self.rows[-1].items() if name != "curve"})
        self.write()


def choose_settings(peers: Peers, results: Results, percent: str):
    "Settings of the others, inside train, where they are not known."
    for way, (name, lists, _) in from_the_start.items():
        if name in peers and way not in results.choices and not peers[name].error:
            best, facts = choose(peers[name], lists)
            results.choices[way] = dict(options=best, percent=float(percent)) | facts
            show(dict(way=way) | results.choices[way])
            results.add(peers.facts())
            results.write()


def run(peers: Peers, results: Results, percent: str):
    "Every way at one scale that has not run there."
    chosen = results.chosen
    for way, (name, setting, passes) in runners.items():
        if name in peers and results.lacks(percent, way):
            peers[name].ask(part="rehearsal", target=0.0, passes=1, **setting)
            found = peers[name].ask(part="all", target=0.0, passes=passes, **setting)
            results.keep(percent, way, name, found, setting)
    for way, (name, _, numbers) in from_the_start.items():
        if name in peers and results.lacks(percent, way):
            setting = {k: v for k, v in settings_of(results, way).items() if k != "epochs"}
            numbers = numbers[-1:] if float(percent) > chosen.few_from else numbers
            peers[name].ask(part="rehearsal", model="factors", epochs=1, **setting)
            found = curve_from_the_start(peers[name], setting, numbers, 0.0)
            results.keep(percent, way, name, found, setting)


def lacking(results: Results, percent: str, name: str) -> list[str]:
    "What a library has not run at a scale."
    ways = [way for way, (who, *_) in (runners | from_the_start).items() if who == name]
    return [way for way in ways if results.lacks(percent, way)]


def settings_of(results: Results, way: str) -> dict:
    "What was chosen for a way; nothing where it could not be."
    return results.choices.get(way, {}).get("options", {})


def race(results: Results, work: Path, percent: str):
    "One scale: its store, the target, and all ways."
    chosen = results.chosen
    path, truth = prize.store_of(work, percent)
    if not (path.exists() and truth.exists()):
        prize.make_store(work, percent)
    store, best = PrizeRatings.open(path), json.loads(truth.read_text())["best_achievable_rmse"]
    split = split_of_store(store)
    of_biases = rmse(split["tr"], split["fallback"])
    results.scales[percent] = dict(
        workload=repr(store),
        best_achievable_rmse=best,
        rmse_of_biases=of_biases,
        target=best + chosen.share * (of_biases - best),
    )
    print(results.scales[percent], flush=True)
    for name in chosen.peers.split():  # one at a time: each holds the ratings
        if lacking(results, percent, name):
            with Peers([name], split, chosen) as peers:
                choose_settings(peers, results, percent)
                if re.search(chosen.stages, "race"):
                    run(peers, results, percent)
                results.add(peers.facts())
            results.write()


def main():
    "The table."
    chosen = options(
        __doc__,
        repeats=1,
        percents=["10", "100"],
        share=2 / 3,
        few_from=30.0,
        stages=".",
        limit=1_500,
        install_limit=1_800,
        peers="ours libmf cmfrec implicit pyspark",
        work=str(data_path / "planted"),
    )
    work = Path(vars(chosen).pop("work"))
    results = Results(chosen)
    for percent in chosen.percents:
        race(results, work, percent)


if __name__ == "__main__":
    main()
