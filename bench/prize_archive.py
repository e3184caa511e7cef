"""An archive in Kaggle's form, of the Prize's size and shape or a part of it, whose truth is known.

`python bench/prize_archive.py FOLDER --percent 10` writes `combined_data_1.txt` to
`combined_data_4.txt`, `probe.txt`, `qualifying.txt`, `movie_titles.csv`, and `truth.json`, which
tells the least error on the probe that any model can reach. At 100 % users, movies, ratings and
pairs are as many as were published; at less, users and ratings are, and all movies stay.

A star is drawn from planted biases, factors and noise, cut so that the five are as frequent as
Netflix's. Users and movies have long tails. A user joins on some day and rates from then on; the
probe holds a third of everyone's last nine ratings, so those who rated little are in it as often as
those who rated much. Movies are written one after the other, so memory holds one movie at a time.
"""

import argparse
import json
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import norm
from tqdm import tqdm

from thu_big_data_ml._compiling import kernel
from thu_big_data_ml.data._archive_files import LARGEST_USER, LINES, MOVIES, PAIRS, RATINGS, USERS

STARTS = (1, 4_500, 9_211, 13_368, MOVIES + 1)  # the first movie of each part, and the end
MOST_RATED = 232_944  # ratings of one movie
HISTOGRAM = (0.046, 0.101, 0.287, 0.336, 0.230)  # of one to five stars
FIRST, LAST = np.datetime64("1999-11-11"), np.datetime64("2005-12-31")
FACTORS, NOISE = 20, 0.78  # planted factors; spread of a rating around its mean, before the cut
SPREAD_OF_USERS, SPREAD_OF_MOVIES = 1.5, 2.1  # of the logarithms of how much they are in use
LAST_RATINGS = 9  # of a user, a third of which are in the probe


class Planted(NamedTuple):
    "What the ratings are drawn from; users and movies by position."

    ids: np.ndarray  # (n_users,) ascending
    activity: np.ndarray  # (n_users,) share of the ratings, adding up
    ratings: np.ndarray  # (n_users,) expected number
    joined: np.ndarray  # (n_users,) days since FIRST
    bias_u: np.ndarray
    bias_i: np.ndarray
    P: np.ndarray  # (n_users, FACTORS)
    Q: np.ndarray  # (MOVIES, FACTORS)
    sizes: np.ndarray  # (MOVIES,) ratings
    cuts: np.ndarray  # (4,) between the stars


def spread_out(total: int, weight: np.ndarray, low: int, high: int, rng) -> np.ndarray:
    "Whole numbers from `low` to `high` in proportion to weights, adding up to `total`."
    below, above = 0.0, high / weight.min()
    for _ in range(60):  # the scale at which they add up
        scale = (below + above) / 2
        if np.clip(scale * weight, low, high).sum() < total:
            below = scale
        else:
            above = scale
    sizes = np.floor(np.clip(below * weight, low, high)).astype(int)
    room = np.flatnonzero(sizes < high)
    sizes[rng.choice(room, total - sizes.sum(), replace=False)] += 1
    return sizes


def movie_sizes(share: float, appeal: np.ndarray, rng) -> np.ndarray:
    "How many ratings each movie has; each part has its share of the published number."
    low, high = max(1, round(3 * share)), round(MOST_RATED * share)
    weight = np.exp(SPREAD_OF_MOVIES * appeal)
    parts = []
    for part, (start, end) in enumerate(zip(STARTS, STARTS[1:]), 1):
        total = round(share * (LINES[part] - (end - start)))
        parts.append(spread_out(total, weight[start - 1 : end - 1], low, high, rng))
    return np.concatenate(parts)


def plant(share: float, rng) -> Planted:
    "Draw all that ratings depend on."
    n = round(USERS * share)
    ids = np.sort(rng.choice(LARGEST_USER, n, replace=False)) + 1
    activity = np.exp(SPREAD_OF_USERS * rng.standard_normal(n))
    appeal = rng.standard_normal(MOVIES)
    strength = 0.55 / np.sqrt(np.arange(1, FACTORS + 1))  # of one factor after the other
    strength *= 0.55 / np.sqrt(np.square(strength).sum())
    sizes = movie_sizes(share, appeal, rng)
    planted = Planted(
        ids=ids,
        activity=np.cumsum(activity / activity.sum()),
        ratings=1 + sizes.sum() * activity / activity.sum(),
        joined=np.floor(days_in_all() * rng.power(1.6, n)).astype(int),
        bias_u=0.42 * rng.standard_normal(n),
        bias_i=0.38 * rng.standard_normal(MOVIES) + 0.1 * appeal,
        P=rng.standard_normal((n, FACTORS), np.float32),
        Q=(strength * rng.standard_normal((MOVIES, FACTORS))).astype(np.float32),
        sizes=sizes,
        cuts=np.zeros(4),
    )
    return planted._replace(cuts=cuts_of(planted, rng))


def days_in_all() -> int:
    "Days on which there are ratings."
    return int((LAST - FIRST).astype(int)) + 1


def means(planted: Planted, users: np.ndarray, movie: int) -> np.ndarray:
    "What is expected of pairs before the cut into stars."
    return planted.bias_u[users] + planted.bias_i[movie] + planted.P[users] @ planted.Q[movie]


def cuts_of(planted: Planted, rng, n: int = 1_000) -> np.ndarray:
    "Where to cut so that stars are as frequent as Netflix's: quantiles of ratings drawn at random."
    movies = rng.choice(MOVIES, n, p=planted.sizes / planted.sizes.sum())
    users = np.searchsorted(planted.activity, rng.random((n, n)))
    drawn = np.concatenate([means(planted, some, movie) for some, movie in zip(users, movies)])
    return np.quantile(drawn + NOISE * rng.standard_normal(n * n), np.cumsum(HISTOGRAM[:4]))


def expected(planted: Planted, mean: np.ndarray) -> np.ndarray:
    "The best prediction: one star, and the chance of passing each cut."
    return 1 + norm.sf((planted.cuts[:, None] - mean) / NOISE).sum(0)


@kernel
def draw_users(rng, activity, dealt, mark, marks, counts, users):
    "Different users for one movie: those dealt to it, and others by their activity."
    for k in range(len(users)):
        user = dealt[k] if k < len(dealt) else np.searchsorted(activity, rng.random())
        while user >= len(marks) or marks[user] == mark:
            user = np.searchsorted(activity, rng.random())
        marks[user] = mark
        counts[user] += 1
        users[k] = user


@kernel
def write_lines(ids, stars, days, texts, out):
    "Lines of `user,stars,date`; how many bytes they take."
    at = 0
    for k in range(len(ids)):
        digits, rest = 0, ids[k]
        while rest > 0:
            digits, rest = digits + 1, rest // 10
        rest = ids[k]
        for place in range(at + digits - 1, at - 1, -1):
            out[place] = 48 + rest % 10
            rest //= 10
        at += digits
        out[at], out[at + 1], out[at + 2] = 44, 48 + stars[k], 44
        out[at + 3 : at + 13] = texts[days[k]]
        out[at + 13] = 10
        at += 14
    return at


def shares(total: int, sizes: np.ndarray) -> np.ndarray:
    "Whole numbers in proportion to sizes, adding up to `total`."
    return np.diff(np.floor(np.cumsum(sizes, dtype=float) / sizes.sum() * total), prepend=0.0)


class Movies:
    "The ratings of one movie after the other."

    def __init__(self, planted: Planted, pairs: dict, rng):
        n = len(planted.ids)
        self.planted, self.rng = planted, rng
        self.order = rng.permutation(n)  # everyone is dealt out once, so everyone has a rating
        self.ends = np.cumsum(shares(n, planted.sizes)).astype(int)
        self.asked = shares(pairs["qualifying"], planted.sizes).astype(int)
        self.marks, self.counts = np.full(n, -1), np.zeros(n, np.int64)
        last = np.minimum(LAST_RATINGS / planted.ratings, 1)  # share of a user's time
        self.last, self.chance = last, 1.1 * pairs["probe"] / (last * planted.ratings).sum()

    def __call__(self, movie: int) -> tuple:
        "Users, stars and days; which may be in the probe, and their least errors; who is asked."
        planted, rng = self.planted, self.rng
        users = np.empty(planted.sizes[movie], np.int64)
        dealt = self.order[self.ends[movie - 1] if movie else 0 : self.ends[movie]]
        state = movie, self.marks, self.counts
        draw_users(rng, planted.activity, dealt[: len(users)], *state, users)
        when = rng.random(len(users))
        mean = means(planted, users, movie)
        noisy = mean + NOISE * rng.standard_normal(len(users))
        stars = 1 + np.searchsorted(planted.cuts, noisy)
        late = (when > 1 - self.last[users]) & (rng.random(len(users)) < self.chance)
        probe = np.flatnonzero(late)
        error = stars[probe] - expected(planted, mean[probe])
        return users, stars, self.days(users, when), probe, error, self.those_asked(movie)

    def days(self, users: np.ndarray, when: np.ndarray) -> np.ndarray:
        "The day of a rating from its place in the user's time."
        joined = self.planted.joined[users]
        return joined + (when * (days_in_all() - joined)).astype(int)

    def those_asked(self, movie: int) -> tuple[np.ndarray, np.ndarray]:
        "Users and days of the qualifying set: anyone who did not rate the movie."
        users = np.unique(self.rng.integers(len(self.marks), size=3 * self.asked[movie] + 8))
        users = self.rng.permutation(users[self.marks[users] != movie])[: self.asked[movie]]
        when = 1 - self.last[users] * self.rng.random(len(users))
        return users, self.days(users, when)


def write_parts(folder: Path, planted: Planted, movies: Movies, verbose: bool) -> tuple[list, list]:
    "The four parts; pairs that may be in the probe with their errors, and the qualifying set."
    texts = np.datetime_as_string(FIRST + np.arange(days_in_all())).astype("S10")
    texts = texts.view(np.uint8).reshape(-1, 10)
    out = np.empty(22 * planted.sizes.max(), np.uint8)
    probe, qualifying, stars_seen = [], [], np.zeros(6, np.int64)
    total = int(planted.sizes.sum())
    with ExitStack() as stack:
        bar = stack.enter_context(tqdm(total=total, unit=" ratings", disable=not verbose))
        bar.unit_scale = True
        names = [folder / f"combined_data_{part}.txt" for part in (1, 2, 3, 4)]
        files = [stack.enter_context(open(name, "wb")) for name in names]
        for movie in range(MOVIES):
            users, stars, days, late, error, asked = movies(movie)
            file = files[np.searchsorted(STARTS, movie + 1, "right") - 1]
            end = write_lines(planted.ids[users], stars, days, texts, out)
            file.write(b"%d:\n" % (movie + 1))
            file.write(out[:end].data)
            probe.append((np.full(len(late), movie + 1), planted.ids[users[late]], error))
            qualifying.append((movie + 1, planted.ids[asked[0]], FIRST + asked[1]))
            stars_seen += np.bincount(stars, minlength=6)
            bar.update(len(users))
    return probe, qualifying, stars_seen[1:]


def write_probe(folder: Path, found: list, wanted: int, rng) -> tuple[int, float]:
    "As many pairs as wanted; how many there are, and the root of the mean square of their errors."
    movies, users, errors = map(np.concatenate, zip(*found))
    kept = np.sort(rng.permutation(len(movies))[:wanted])
    heads = np.diff(movies[kept], prepend=0) > 0
    with open(folder / "probe.txt", "w", encoding="ascii") as file:
        for movie, user, head in zip(movies[kept].tolist(), users[kept].tolist(), heads.tolist()):
            file.write(f"{movie}:\n{user}\n" if head else f"{user}\n")
    return len(kept), float(np.sqrt(np.square(errors[kept]).mean()))


def write_others(folder: Path, qualifying: list):
    "The qualifying set and the titles."
    with open(folder / "qualifying.txt", "w", encoding="ascii") as file:
        for movie, users, days in qualifying:
            if len(users):
                lines = zip(users.tolist(), np.datetime_as_string(days).tolist())
                file.write(f"{movie}:\n" + "".join(map("%d,%s\n".__mod__, lines)))
    titles = [
        f"{movie},{1960 + movie % 46},Planted movie {movie}\n" for movie in range(1, MOVIES + 1)
    ]
    (folder / "movie_titles.csv").write_text("".join(titles), encoding="latin-1")


def tails(counts: np.ndarray) -> dict:
    "Mean, median, deviation and most of the ratings of a user or a movie."
    facts = dict(mean=counts.mean(), median=np.median(counts), std=counts.std(), most=counts.max())
    return {name: round(float(value), 1) for name, value in facts.items()}


def make_archive(folder: Path, percent: float, random_state: int = 0, verbose: bool = True) -> dict:
    "Write the archive; what is known of it, which is in `truth.json` as well."
    rng, share = np.random.default_rng(random_state), percent / 100
    pairs = {name: round(share * n) for name, n in PAIRS.items()}
    planted = plant(share, rng)
    movies = Movies(planted, pairs, rng)
    folder.mkdir(parents=True, exist_ok=True)
    probe, qualifying, stars = write_parts(folder, planted, movies, verbose)
    n_probe, best = write_probe(folder, probe, pairs["probe"], rng)
    write_others(folder, qualifying)
    truth = dict(
        percent=percent,
        random_state=random_state,
        users=len(planted.ids),
        movies=MOVIES,
        ratings=int(planted.sizes.sum()),
        probe=n_probe,
        qualifying=sum(len(users) for _, users, _ in qualifying),
        best_achievable_rmse=best,
        histogram=(stars / stars.sum()).round(4).tolist(),
        ratings_of_a_user=tails(movies.counts),
        ratings_of_a_movie=tails(planted.sizes),
        factors=FACTORS,
        noise=NOISE,
    )
    (folder / "truth.json").write_text(json.dumps(truth, indent=1) + "\n")
    return truth


def main():
    "Write an archive, and say what it is like."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--percent", type=float, default=1.0)
    parser.add_argument("--random-state", type=int, default=0)
    chosen = parser.parse_args()
    truth = make_archive(chosen.folder, chosen.percent, chosen.random_state)
    assert chosen.percent < 100 or truth["ratings"] == RATINGS, "as many as were published"
    print("\n".join(f"{name}: {value}" for name, value in truth.items()))


if __name__ == "__main__":
    main()
