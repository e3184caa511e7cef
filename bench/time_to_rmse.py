"""Seconds from ratings in memory to a given test RMSE: laying out and training count, scoring does
not.

The RMSE after each pass over the ratings is that on test, clipped: it marks the finish of a race,
and chooses nothing. Settings are fixed beforehand.
cmfrec and LIBMF cannot go on from where they stopped, so each number of their passes is a training
from the start, and counts alone.
"""

import statistics

from common import options, ratings, show, write
from peers import Peers, split_of

K = 50  # factors, unless a way has its own
runners = {  # way -> library, settings, most passes
    "SGD, ours": ("ours", dict(solver="sgd", rate=0.06, penalty=16), 30),
    "ALS, ours": ("ours", dict(solver="als", rate=None, penalty=16), 20),
    "AdamW, ours": ("ours", dict(solver="adamw", rate=0.02, penalty=16), 150),
    "variational, ours": ("ours", dict(solver="variational", k=32), 25),
    "SGD, Cornac": ("cornac", dict(rate=0.01, penalty=0.05), 30),
    "ALS, LensKit": ("lenskit", dict(penalty=0.1), 10),
}
from_the_start = {  # way -> library, settings, numbers of passes
    "ALS, cmfrec": ("cmfrec", dict(penalty=10.0), (1, 2, 3, 4, 6)),
    "SGD, LIBMF": ("libmf", dict(penalty=0.05), (5, 10, 15, 20, 30)),
}


def race(peers, target: float) -> dict[str, dict]:
    "Every way once: way -> its curve, or its error."
    found = {
        way: peers[name].ask(part="all", target=target, passes=passes, **dict(k=K) | setting)
        for way, (name, setting, passes) in runners.items()
        if name in peers
    }
    for way, (name, setting, passes) in from_the_start.items():
        if name in peers:
            found[way] = curve_from_the_start(peers[name], setting, passes, target)
    return found


def curve_from_the_start(peer, setting: dict, numbers: tuple, target: float) -> dict:
    "More passes, each time from the start, until the target is met."
    curve = []
    for passes in numbers:
        answer = peer.ask(part="all", model="factors", epochs=passes, **dict(k=K) | setting)
        if "error" in answer:
            return answer | dict(curve=curve)
        curve.append(
            dict(
                passes=passes,
                seconds=answer["seconds"]["prepare"] + answer["seconds"]["fit"],
                rmse=answer["rmse"],
            )
        )
        if answer["rmse"] <= target:
            break
    return dict(curve=curve) | {name: answer[name] for name in ("cpu_seconds", "peak_megabytes")}


def table(races: list[dict], target: float) -> list[dict]:
    """A row a way: seconds to the target, best and median, or the best RMSE where it was not
    met; the curve is the first race's.
    """
    rows = []
    for way, first in races[0].items():
        if "error" in first:
            rows.append(dict(way=way, error=first["error"]))
            continue
        finishes = [r[way]["curve"][-1] for r in races if "curve" in r[way]]
        met = [f["seconds"] for f in finishes if f["rmse"] <= target]
        reached = len(met) == len(races)
        times = (
            dict(best=min(met), median=statistics.median(met), seconds=[round(s, 3) for s in met])
            if reached
            else {}
        )
        rows.append(
            dict(
                way=way,
                reached=reached,
                passes=finishes[0]["passes"],
                lowest_rmse=min(p["rmse"] for p in first["curve"]),
                **times,
                curve=first["curve"],
            )
        )
    return rows


def main():
    "The table."
    chosen = options(
        __doc__,
        users=10_000,
        movies=10_000,
        ratings=8_617_212,
        target=0.862,
        limit=300,
        install_limit=900,
        peers="ours cornac lenskit cmfrec libmf",
    )
    data = ratings(chosen.users, chosen.movies, chosen.ratings, chosen.random_state)
    print(f"{data}; best achievable {data.best_rmse:.4f}, target {chosen.target}", flush=True)
    with Peers(chosen.peers.split(), split_of(data), chosen) as peers:
        for _way, (name, setting, _) in runners.items():
            if name in peers:
                peers[name].ask(part="rehearsal", target=0.0, passes=1, **dict(k=K) | setting)
        races = [race(peers, chosen.target) for _ in range(chosen.repeats)]
        took_part = peers.facts()
    rows = table(races, chosen.target)
    for row in rows:
        show({name: value for name, value in row.items() if name != "curve"})
    write(
        "time_to_rmse",
        chosen,
        rows,
        workload=repr(data),
        best_achievable_rmse=data.best_rmse,
        target=chosen.target,
        **took_part,
    )


if __name__ == "__main__":
    main()
