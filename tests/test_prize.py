"The archive of the Netflix Prize: every form gives the same file, what is wrong is named."

import gzip
import json
import os
import re
import shutil
import signal
import tarfile
import time
from contextlib import suppress
from functools import partial
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from models import estimators
from sklearn.base import clone
from sklearn.dummy import DummyRegressor
from trials import SEED, trials

from thu_big_data_ml import (
    BaselinePredictor,
    NeighborCorrected,
    PrizeRatings,
    RatingData,
    RatingEstimator,
    UserCF,
    VariationalFactorization,
    compare,
    cut_subset,
    load_ratings,
    read_prize,
    rmse,
    split_ratings,
)
from thu_big_data_ml.__main__ import main
from thu_big_data_ml.data import _archive, _archive_files, _forms, _prize_arrays, prize, sources
from thu_big_data_ml.data.errors import RatingFileError
from thu_big_data_ml.evaluation import _choosing, _measuring

read_part = partial(read_prize, partial=True, verbose=False)
DAYS = np.datetime_as_string(np.datetime64("1999-11-11") + np.arange(2243))
NAMES = ["user_id", "movie_id", "rating", "date"]


def ratings_of(seed, n_users=40, n_movies=30) -> dict[int, list[tuple[int, int, str]]]:
    "movie -> (user, stars, day); the movies have gaps, and no order within."
    rng = np.random.default_rng(seed)
    ids = rng.choice(2_649_429, n_users, replace=False) + 1
    found = {}
    for movie in np.sort(rng.choice(17_770, n_movies, replace=False) + 1):
        users = rng.permutation(ids)[: rng.integers(1, n_users)]
        stars, days = rng.integers(1, 6, len(users)), DAYS[rng.integers(2243, size=len(users))]
        found[int(movie)] = list(zip(users.tolist(), stars.tolist(), days.tolist()))
    return found


def lines_of(movie, rows) -> str:
    return f"{movie}:\n" + "".join(f"{u},{stars},{day}\n" for u, stars, day in rows)


def write_others(folder, ratings):
    "A probe of the first pair of each movie, and the others."
    probe = {movie: rows[0][0] for movie, rows in ratings.items()}
    (folder / "probe.txt").write_text("".join(f"{m}:\n{u}\n" for m, u in probe.items()))
    (folder / "qualifying.txt").write_text("17770:\n2649429,2005-12-31\n6,2005-12-30\n")
    titles = "".join(f"{m},NULL,Movie, {m}\n" if m % 2 else f"{m},2004,é\n" for m in ratings)
    (folder / "movie_titles.txt").write_text(titles, encoding="latin-1")


def write_parts(folder, ratings, n_parts=4):
    "Kaggle's form."
    folder.mkdir(exist_ok=True)
    for part, movies in enumerate(np.array_split(list(ratings), n_parts), 1):
        text = "".join(lines_of(m, ratings[m]) for m in movies.tolist())
        (folder / f"combined_data_{part}.txt").write_text(text)
    write_others(folder, ratings)
    return folder


def write_movies(folder, ratings):
    "Netflix's form."
    (folder / "training_set").mkdir(parents=True, exist_ok=True)
    for movie, rows in ratings.items():
        (folder / "training_set" / f"mv_{movie:07}.txt").write_text(lines_of(movie, rows))
    write_others(folder, ratings)
    return folder


def write_tar(folder, ratings, mode="w"):
    write_movies(folder.with_name("unpacked"), ratings)
    folder.mkdir()
    name = "training_set.tar" + ".gz" * (mode != "w")
    with tarfile.open(folder / name, mode) as tar:
        tar.add(folder.with_name("unpacked") / "training_set", "training_set")
    write_others(folder, ratings)
    return folder


def table_of(ratings) -> pd.DataFrame:
    rows = [(u, m, float(s), day) for m, found in ratings.items() for u, s, day in found]
    table = pd.DataFrame(rows, columns=NAMES).sort_values(NAMES[:2], ignore_index=True)
    table["date"] = table["date"].astype("datetime64[s]")
    return table.astype(dict(rating=np.float32))


def assert_holds(store, ratings):
    "The store holds these ratings in both orders, and nothing else."
    table = table_of(ratings)
    pd.testing.assert_frame_equal(store.frame(slice(None)), table)
    assert store.user_ids.tolist() == sorted(table["user_id"].unique())
    assert store.movie_ids.tolist() == sorted(ratings)
    R, T = store.matrix(), store.matrix(by="movie")
    assert (R.T != T).nnz == 0 and R.nnz == len(table)
    for rows in (store.by_user, store.by_movie):
        for start, stop in zip(rows.indptr[:-1], rows.indptr[1:]):
            assert (np.diff(rows.indices[start:stop].astype(int)) > 0).all()
    by_movie = table.sort_values(NAMES[1::-1])
    assert np.array_equal(store.by_movie.days.astype("M8[D]"), by_movie["date"].to_numpy("M8[D]"))
    probe = store.frame(store.probe)
    pairs = {(rows[0][0], movie) for movie, rows in ratings.items()}
    assert set(zip(probe["user_id"], probe["movie_id"])) == pairs
    assert store.qualifying["user_id"].tolist() == [2649429, 6]
    assert store.movies["title"].tolist() == [f"Movie, {m}" if m % 2 else "é" for m in ratings]


@pytest.mark.parametrize("seed", range(SEED, SEED + trials(2, 50)))
@pytest.mark.parametrize("form", [write_parts, write_movies, write_tar])
def test_every_form_gives_the_same(tmp_path, form, seed):
    ratings = ratings_of(seed)
    store = read_part(form(tmp_path / "a", ratings), tmp_path / "prize.npz")
    assert_holds(store, ratings)
    store.verify()


def test_other_shapes_of_an_archive(tmp_path):
    ratings = ratings_of(SEED)
    (tmp_path / "top").mkdir()
    inner = write_parts(tmp_path / "top" / "download", ratings)
    assert_holds(read_part(tmp_path / "top", tmp_path / "1.npz"), ratings)
    for n in (1, 2):  # packed, and with the line ends of Windows
        path = inner / f"combined_data_{n}.txt"
        text = path.read_bytes()
        if n == 1:
            (inner / "combined_data_1.txt.gz").write_bytes(gzip.compress(text))
            path.unlink()
        else:
            path.write_bytes(text.replace(b"\n", b" \r\n"))
    assert_holds(read_part(inner, tmp_path / "2.npz"), ratings)
    packed = write_tar(tmp_path / "packed", ratings, "w:gz")
    assert_holds(read_part(packed / "training_set.tar.gz", tmp_path / "3.npz"), ratings)
    backwards = dict(reversed(ratings.items()))
    store = read_part(write_parts(tmp_path / "backwards", backwards), tmp_path / "4.npz")
    assert np.array_equal(
        store.by_user.indices, read_part(inner, tmp_path / "2.npz").by_user.indices
    )


@pytest.mark.parametrize("size", [7, 30, 1000])
def test_blocks_of_any_size_give_the_same(tmp_path, monkeypatch, size):
    ratings = ratings_of(SEED, 6, 5)
    folder = write_parts(tmp_path / "a", ratings, 1)
    monkeypatch.setattr(_archive, "blocks_of", partial(_forms.blocks_of, size=size))
    assert_holds(read_part(folder, tmp_path / "prize.npz"), ratings)


def test_it_agrees_with_load_ratings(tmp_path):
    folder = write_parts(tmp_path / "a", ratings_of(SEED))
    data = load_ratings(folder)
    both = pd.concat([data.train, data.test]).sort_values(NAMES[:2], ignore_index=True)
    found = read_part(folder, tmp_path / "prize.npz").frame(slice(None))
    pd.testing.assert_frame_equal(both[NAMES], found)


# What is wrong


def changed(text, at, line):
    lines = text.split("\n")
    lines[at - 1] = line
    return "\n".join(lines)


WRONG = {
    "7,6,2005-01-01": "off the scale of 1 to 5",
    "7,3.5,2005-01-01": "rating 3.5 is no whole number from 1 to 5",
    "0,3,2005-01-01": "user_id 0 is no whole number",
    "2649430,3,2005-01-01": "user_id 2649430 is no whole number from 1 to 2649429",
    "ann,3,2005-01-01": "user_id",
    "7,3,1998-09-30": "date 1998-09-30 is no day from 1998-10-01 to 2005-12-31",
    "7,3,2006-01-01": "date 2006-01-01 is no day",
    "7,3,2005-02-30": "2005-02-30",
    "7,3": "2 fields",
    "17771:\n7,3,2005-01-01": "movie_id 17771 is no whole number from 1 to 17770",
}


@pytest.mark.parametrize("size", [40, 1 << 20])
@pytest.mark.parametrize("line", WRONG)
def test_a_wrong_line_is_named_and_nothing_is_written(tmp_path, monkeypatch, line, size):
    monkeypatch.setattr(_archive, "blocks_of", partial(_forms.blocks_of, size=size))
    folder = write_parts(tmp_path / "a", ratings_of(SEED, 9, 6), 1)
    path = folder / "combined_data_1.txt"
    path.write_text(changed(path.read_text(), 9, line))
    with pytest.raises(RatingFileError) as error:
        read_part(folder, tmp_path / "prize.npz")
    said = str(error.value)
    assert said.startswith(f"{path}:{9 + line.count(':')}: ") and WRONG[line] in said
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("size", [7, 1 << 20])
@pytest.mark.parametrize("n", range(1, 40, 3))
def test_a_file_cut_anywhere_is_named_or_ends_with_a_rating(tmp_path, monkeypatch, n, size):
    monkeypatch.setattr(_archive, "blocks_of", partial(_forms.blocks_of, size=size))
    folder = write_parts(tmp_path / "a", ratings_of(SEED, 4, 6), 1)
    (folder / "probe.txt").write_text("1:\n7\n")
    path = folder / "combined_data_1.txt"
    text = path.read_text()[:-n]
    path.write_text(text)
    try:
        store = read_part(folder, tmp_path / "prize.npz")
    except RatingFileError as error:
        assert str(error).startswith(f"{path}:{len(text.splitlines())}: ")
        assert not re.search(r",\d{4}-\d\d-\d\d$", text.rstrip())
    else:
        assert len(store.by_user.stars) == sum("," in line for line in text.splitlines())


def test_a_pair_rated_twice_names_both_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(_archive, "blocks_of", partial(_forms.blocks_of, size=50))
    ratings = {8: [(7, 5, "2005-01-01"), (9, 4, "2005-01-02")], 72: [(7, 3, "2005-01-03")]}
    folder = write_parts(tmp_path / "a", ratings, 2)
    again = folder / "combined_data_3.txt"
    again.write_text("80:\n7,1,2005-01-01\n8:\n9,4,2005-01-02\n")
    with pytest.raises(RatingFileError) as error:
        read_part(folder, tmp_path / "prize.npz")
    first = folder / "combined_data_1.txt"
    assert str(error.value).startswith(f"{first}:3 and {again}:4 both rate movie 8 by user 9.")


def test_files_of_movies_are_named_though_they_are_read_together(tmp_path):
    ratings = {m: [(7, 5, "2005-01-01"), (9, 4, "2005-01-02")] for m in (8, 9, 72)}
    folder, store = write_movies(tmp_path / "a", ratings), tmp_path / "prize.npz"
    file = folder / "training_set" / "mv_0000009.txt"
    right = file.read_text()
    for text, said in {
        right.replace("9,4", "9,6"): "mv_0000009.txt:3: .* off the scale",
        right + "9,4,2005-01-02\n": "mv_0000009.txt:3 and .*mv_0000009.txt:4 both rate movie 9",
        right.replace("-02", "-0"): "mv_0000009.txt:3: ",
        right.replace("9:", "8:"): "mv_0000009.txt: holds ratings of movie 8, while",
        right + "8:\n6,1,2005-01-01\n": "mv_0000009.txt: holds ratings of movie 8, while",
        "9:\n": "mv_0000009.txt:1: the file ends with the line of a movie",
        "": "mv_0000009.txt:1: the file is empty",
    }.items():
        file.write_text(text)
        with pytest.raises(RatingFileError, match=said):
            read_part(folder, store)
    file.write_bytes(b"\xef\xbb\xbf" + right.replace("\n", "\r\n").encode() + b"\r\n\r\n")
    assert_holds(read_part(folder, store), ratings)


def test_packed_archives_are_told(tmp_path):
    ratings, store = ratings_of(SEED), tmp_path / "prize.npz"
    folder = write_parts(tmp_path / "a", ratings)
    shutil.make_archive(tmp_path / "archive", "zip", folder)
    with pytest.raises(RatingFileError, match="archive.zip: a zip archive. Unpack it"):
        read_part(tmp_path / "archive.zip", store)
    inner = write_tar(tmp_path / "download", ratings)
    with tarfile.open(tmp_path / "nf_prize_dataset.tar.gz", "w:gz") as tar:
        tar.add(inner, "download")
    with pytest.raises(RatingFileError, match="nf_prize_dataset.tar.gz: .*holds training_set.tar"):
        read_part(tmp_path / "nf_prize_dataset.tar.gz", store)
    with pytest.raises(RatingFileError, match=r"training_set.tar: mv_\d+.txt is not there"):
        read_prize(inner, store, verbose=False)
    for name in ("archive.zip", "nf_prize_dataset.tar.gz"):
        (tmp_path / "b").mkdir(exist_ok=True)
        (tmp_path / name).rename(tmp_path / "b" / name)
        with pytest.raises(FileNotFoundError, match=f"Unpack {name}"):
            read_part(tmp_path / "b", store)
        (tmp_path / "b" / name).unlink()


def test_what_else_a_folder_may_hold(tmp_path):
    ratings, store = ratings_of(SEED), tmp_path / "prize.npz"
    folder = write_parts(tmp_path / "a", ratings)
    for file in list(folder.iterdir()):
        file.rename(folder / file.name.upper())
    packed = folder / "probe.txt.gz"
    packed.write_bytes(gzip.compress((folder / "PROBE.TXT").read_bytes()))
    (folder / "PROBE.TXT").unlink()
    assert_holds(read_part(folder, store), ratings)
    movies = write_movies(tmp_path / "b", ratings) / "training_set"
    for file in list(movies.iterdir()):
        file.rename(movies / file.name.upper())
    assert_holds(read_part(tmp_path / "b", tmp_path / "2.npz"), ratings)
    with pytest.raises(ValueError, match="prize.npz: a store already"):
        read_part(store)


def test_files_that_are_none(tmp_path):
    folder, store = write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz"
    part, right = folder / "combined_data_2.txt", (folder / "combined_data_2.txt").read_text()
    part.write_text("")
    with pytest.raises(RatingFileError, match="combined_data_2.txt: the file is empty"):
        read_part(folder, store)
    part.unlink()
    part.mkdir()
    with pytest.raises(RatingFileError, match="combined_data_2.txt: a folder, or a link to noth"):
        read_part(folder, store)
    part.rmdir()
    part.write_text(right)
    (folder / "combined_data_5.txt").write_text("9:\n7,1,2005-01-01\n")
    with pytest.raises(RatingFileError, match="combined_data_5.txt: is none of the 4 files that"):
        read_prize(folder, store, verbose=False)
    (folder / "combined_data_5.txt").unlink()
    probe = folder / "probe.txt"
    probe.write_text(probe.read_text() + probe.read_text())
    with pytest.raises(RatingFileError, match=r"probe.txt: lines \d+ and \d+ name the same user"):
        read_part(folder, store)
    movies = write_movies(tmp_path / "b", {8: [(7, 5, "2005-01-01")]}) / "training_set"
    (movies / "mv_0000009.txt").mkdir()
    with pytest.raises(OSError, match=r"mv_0000009.txt: cannot be read \(Is a directory\)"):
        read_part(tmp_path / "b", store)
    assert not store.exists()


def test_probe_pairs_must_be_in_training(tmp_path):
    ratings = {8: [(7, 5, "2005-01-01")], 9: [(6, 5, "2005-01-01")]}
    folder = write_parts(tmp_path / "a", ratings, 2)
    probe = folder / "probe.txt"
    for text, line in {"8:\n7\n6\n": 3, "9:\n6\n8:\n99\n": 4}.items():
        probe.write_text(text)
        with pytest.raises(
            RatingFileError, match=rf"probe.txt:{line}: user \d+ has not rated movie 8"
        ):
            read_part(folder, tmp_path / "prize.npz")
    probe.write_text("8:\n7\n80:\n6\n")  # of a movie that this part of the archive lacks
    assert read_part(folder, tmp_path / "prize.npz").probe.tolist() == [1]


def test_copies_and_foreign_files_are_told(tmp_path):
    folder = write_movies(tmp_path / "a", {8: [(7, 5, "2005-01-01")]})
    store, movies = tmp_path / "prize.npz", folder / "training_set"
    (movies / "mv_0000009.txt").write_text("8:\n6,5,2005-01-01\n")
    with pytest.raises(RatingFileError, match="mv_0000009.txt: holds ratings of movie 8"):
        read_part(folder, store)
    (movies / "mv_0000009.txt").rename(movies / "mv_0000008 (1).txt")
    with pytest.raises(RatingFileError, match=r"mv_0000008 \(1\).txt: is none of the archive's"):
        read_part(folder, store)
    (movies / "mv_0000008 (1).txt").unlink()
    (folder / "combined_data_1.txt").write_text("8:\n7,5,2005-01-01\n")
    with pytest.raises(RatingFileError, match="combined_data_1.txt and mv_0000008.txt"):
        read_part(folder, store)
    (folder / "combined_data_1.txt").rename(tmp_path / "ratings.txt")
    with pytest.raises(RatingFileError, match="ratings.txt: no tar archive.*combined_data_1.txt"):
        read_part(tmp_path / "ratings.txt", store)
    with pytest.raises(FileNotFoundError, match="there is no such file or folder. Expected"):
        read_part(tmp_path / "nothing", store)
    (tmp_path / "b").mkdir()
    with pytest.raises(FileNotFoundError, match="the archive is not in this folder. Expected"):
        read_part(tmp_path / "b", store)
    (tmp_path / "b" / "combined_data_1.txt").write_text("7 8 5 2005-01-01\n")
    with pytest.raises(RatingFileError, match="combined_data_1.txt: is not in the form"):
        read_part(tmp_path / "b", store)
    assert not store.exists()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_tar_that_is_cut_short_is_told(tmp_path, mode):
    folder = write_tar(tmp_path / "a", ratings_of(SEED), mode)
    path = next(folder.glob("training_set.tar*"))
    whole = path.read_bytes()
    for part in (0.3, 0.6):
        path.write_bytes(whole[: int(part * len(whole)) // 512 * 512 + 100])
        with pytest.raises(RatingFileError, match="damaged or cut short.*Download it again"):
            read_part(folder, tmp_path / "prize.npz")


@pytest.fixture
def published(monkeypatch):
    "As if a small archive were the one that was published."
    ratings = ratings_of(SEED)
    n, users = sum(map(len, ratings.values())), {u for rows in ratings.values() for u, *_ in rows}
    groups = np.array_split(list(ratings), 4)
    lines = {k: sum(1 + len(ratings[m]) for m in g.tolist()) for k, g in enumerate(groups, 1)}
    monkeypatch.setattr(_archive, "LINES", lines)
    monkeypatch.setattr(_archive, "PAIRS", dict(probe=len(ratings), qualifying=2))
    for name, value in dict(RATINGS=n, USERS=len(users), MOVIES=len(ratings)).items():
        monkeypatch.setattr(_prize_arrays, name, value)
    monkeypatch.setattr(_prize_arrays, "MOVIES", 17_770)
    return ratings


def test_the_whole_archive_must_be_whole(tmp_path, published, monkeypatch):
    monkeypatch.setattr(_prize_arrays, "refuse_other_totals", lambda *found: None)
    folder, store = write_parts(tmp_path / "a", published), tmp_path / "prize.npz"
    part, probe = folder / "combined_data_3.txt", folder / "probe.txt"
    text, pairs = part.read_text(), probe.read_text()
    cut = text[: text.rstrip().rindex("\n") + 1]  # by one whole line
    for path, content, said in (
        (part, cut, "combined_data_3.txt: holds .* were published"),
        (probe, pairs[: pairs.rindex("\n", 0, -3) + 1], "probe.txt"),
        (part, None, r"combined_data_3.txt is not there \(1 of 4 files are missing"),
    ):
        right = path.read_text()
        path.unlink() if content is None else path.write_text(content)
        with pytest.raises(RatingFileError, match=said):
            read_prize(folder, store, verbose=False)
        path.write_text(right)
    assert_holds(read_prize(folder, store, verbose=False), published)


def test_published_totals(tmp_path):
    archive = _archive_files.find_archive(write_parts(tmp_path / "a", ratings_of(SEED)))
    with pytest.raises(
        RatingFileError, match="a: holds 5 ratings by 4 users of 3 movies, while 100"
    ):
        _prize_arrays.refuse_other_totals(archive, 5, 4, 3)
    _prize_arrays.refuse_other_totals(archive, 100_480_507, 480_189, 17_770)


# The file


def test_a_second_call_reads_nothing_again(tmp_path, monkeypatch):
    ratings = ratings_of(SEED)
    folder, store = write_parts(tmp_path / "a", ratings), tmp_path / "prize.npz"
    read_part(folder, store)
    monkeypatch.setattr(prize, "prize_arrays", None)
    assert_holds(read_part(folder, store), ratings)
    with pytest.raises(ValueError, match="may lack ratings. Remove it to read the whole one"):
        read_prize(folder, store, verbose=False)
    os.utime(folder / "combined_data_2.txt", (1, 1))
    with pytest.raises(ValueError, match="is made of other files than those in .* are now"):
        read_part(folder, store)
    assert_holds(PrizeRatings.open(store), ratings)


def test_what_is_lacking_is_said_once(tmp_path):
    folder = write_parts(tmp_path / "a", ratings_of(SEED))
    (folder / "probe.txt").unlink()
    (folder / "movie_titles.txt").unlink()
    with pytest.warns(UserWarning, match="probe.txt, movie_titles.txt not there") as said:
        store = read_part(folder, tmp_path / "prize.npz")
    assert len(said) == 1 and said[0].filename == __file__.replace(".pyc", ".py")
    assert not len(store.probe) and store.movies["title"].isna().all()
    cut_subset(store, tmp_path / "subset", n_users=20, n_movies=20)
    assert not (tmp_path / "subset" / "movie_titles.txt").exists()


def test_a_damaged_file_is_told(tmp_path):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz").path
    raw = store.read_bytes()
    store.write_bytes(raw[:-1])
    with pytest.raises(ValueError, match="is damaged"):
        PrizeRatings.open(store)
    at = len(raw) // 2
    store.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    with pytest.raises(ValueError, match="bytes have changed"):
        PrizeRatings.open(store).verify()
    store.write_text("1:\n")
    with pytest.raises(ValueError, match="no store of the Prize, but a text"):
        PrizeRatings.open(store)
    with pytest.raises(FileNotFoundError, match="there is no such file"):
        PrizeRatings.open(tmp_path / "other.npz")


@pytest.mark.parametrize("name", ["by_user", "by_movie", "probe"])
def test_a_changed_position_does_not_lead_out_of_the_arrays(tmp_path, name):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    rows = getattr(store, name)
    array = rows if name == "probe" else rows.indices
    raw, own = store.path.read_bytes(), array.tobytes()
    assert raw.count(own) == 1
    changed = np.array(array)
    changed[-1] = np.iinfo(changed.dtype).max
    store.path.write_bytes(raw.replace(own, changed.tobytes()))
    with pytest.raises(ValueError, match="prize.npz: (bytes have changed|not laid out)"):
        PrizeRatings.open(store.path).matrix(by=name.removeprefix("by_"))


def test_changed_bounds_of_rows_are_told(tmp_path):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    raw, own = store.path.read_bytes(), store.by_user.indptr.tobytes()
    for at, bound in ((0, 1), (1, -1), (2, 10**12)):
        changed = np.array(store.by_user.indptr)
        changed[at] = bound
        store.path.write_bytes(raw.replace(own, changed.tobytes()))
        with pytest.raises(ValueError, match="prize.npz: not laid out as a store of the Prize is"):
            PrizeRatings.open(store.path)


def test_a_full_disk_and_little_memory_are_told(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    folder, store = write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, hard))  # fails as a full disk does
    try:
        with pytest.raises(OSError, match="prize.npz: cannot be written"):
            read_part(folder, store)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    disk = SimpleNamespace(free=1_000)
    with monkeypatch.context() as patch:
        patch.setattr(prize.shutil, "disk_usage", lambda folder: disk)
        with pytest.raises(OSError, match="GB are free on the disk. Free some, or say store="):
            read_part(folder, tmp_path / "not" / "there" / "prize.npz")
    monkeypatch.setattr(prize, "free_memory", lambda: (1_000_000, "left by a test"))
    with pytest.raises(MemoryError, match="0.3 GB, and 0.001 GB may be used"):
        read_part(folder, store)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("at", range(trials(3, 40)))
def test_a_killed_run_leaves_nothing(tmp_path, at):
    ratings = ratings_of(SEED)
    folder, store = write_parts(tmp_path / "a", ratings), tmp_path / "prize.npz"
    child = os.fork()
    if not child:
        with suppress(BaseException):
            read_part(folder, store)
        os._exit(0)
    time.sleep(0.01 * (at + np.random.default_rng([SEED, at]).random()))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert_holds(read_part(folder, store), ratings)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "prize.npz"]


# The subset


def test_the_subset_follows_its_rule(tmp_path):
    ratings = ratings_of(SEED, 60, 50)
    store = read_part(write_parts(tmp_path / "a", ratings), tmp_path / "prize.npz")
    cut = partial(cut_subset, store, n_users=20, n_movies=30, test_size=0.25)
    made = cut(tmp_path / "1", random_state=3)
    data = load_ratings(made)
    table = table_of(ratings)
    sizes = table.groupby("user_id").size()
    busiest = sizes.sort_index().sort_values(ascending=False, kind="stable").index[:20]
    assert data.user_ids.tolist() == sorted(busiest) and len(data.movie_ids) == 30
    wanted = table["user_id"].isin(busiest) & table["movie_id"].isin(data.movie_ids)
    both = pd.concat([data.train, data.test]).sort_values(NAMES[:2], ignore_index=True)
    pd.testing.assert_frame_equal(both[NAMES], table[wanted].reset_index(drop=True))
    n = len(both)
    assert abs(len(data.test) - 0.25 * n) < 4 * np.sqrt(n * 0.25 * 0.75)
    again, other = cut(tmp_path / "2", random_state=3), cut(tmp_path / "3", random_state=4)
    for name in ("users.txt", "netflix_train.txt", "netflix_test.txt", "movie_titles.txt"):
        assert (made / name).read_bytes() == (again / name).read_bytes()
    assert (made / "netflix_train.txt").read_bytes() != (other / "netflix_train.txt").read_bytes()


def test_a_subset_that_cannot_be_cut_is_told(tmp_path):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    cut = partial(cut_subset, store, tmp_path / "subset")
    for options, said in (
        (dict(n_movies=20), "n_users must lie between 1 and"),
        (dict(n_users=20), "n_movies must lie between 1 and"),
        (dict(n_users=5, n_movies=20, test_size=1), "test_size must lie between 0 and 1"),
        (dict(n_users=1, n_movies=2, test_size=1e-9), "leave a file empty"),
    ):
        with pytest.raises(ValueError, match=said):
            cut(**options)
        assert not list(tmp_path.glob("subset/*"))
    (tmp_path / "subset").mkdir(exist_ok=True)
    (tmp_path / "subset" / "users.txt").write_text("7\n")
    with pytest.raises(FileExistsError, match="users.txt: is there already"):
        cut(n_users=5, n_movies=20)
    with pytest.raises(ValueError, match="by must be 'user' or 'movie'"):
        store.matrix(by="row")


@pytest.mark.parametrize("seed", range(SEED, SEED + trials(2, 20)))
def test_without_some_ratings(tmp_path, seed):
    store = read_part(write_parts(tmp_path / "a", ratings_of(seed)), tmp_path / "prize.npz")
    table, n = store.frame(slice(None)), len(store)
    rng = np.random.default_rng(seed)
    places = np.flatnonzero(rng.random(n) < 0.4)
    rest = store.without(places[::2]).without(rng.permutation(places))
    kept = np.delete(np.arange(n), places)
    assert len(rest) == len(kept) and f"{len(kept):,} ratings" in repr(rest)
    R, T = rest.matrix(), rest.matrix(by="movie")
    assert (R.T != T).nnz == 0 and R.has_canonical_format and T.has_canonical_format
    assert np.array_equal(R.data, table["rating"].to_numpy()[kept])
    assert np.array_equal(rest.dates(), table["date"].to_numpy()[kept])
    for start, stop in [(0, 7), (7, None), (5, 5), (3, 4)]:
        assert (rest.matrix(start, stop) != R[start:stop]).nnz == 0
        assert (rest.matrix(start, stop, by="movie") != T[start:stop]).nnz == 0
        cells = slice(R.indptr[start], R.indptr[-1 if stop is None else stop])
        assert np.array_equal(rest.dates(start, stop), rest.dates()[cells])
    assert len(store) == n and len(store.without(np.array([], int))) == n
    for strange in ([-1], [n], [0.5]):
        with pytest.raises(ValueError, match="places must be whole numbers"):
            store.without(np.array(strange))


@pytest.mark.parametrize("name", ["biases", "user_cf", "als", "variational_time"])
def test_models_learn_the_same_from_the_store(tmp_path, name):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    rest, asked = store.without(store.probe), store.frame(store.probe)
    table = store.frame(slice(None)).drop(store.probe)
    model = clone(estimators[name]).fit(rest)
    other = clone(estimators[name]).fit(table, movies=store.movies)
    assert np.array_equal(model.predict(asked), other.predict(asked))
    assert np.array_equal(model.movie_ids_, other.movie_ids_)
    assert np.array_equal(model.titles_, other.titles_)
    again = RatingEstimator.load(model.save(tmp_path / "model.npz"))
    assert np.array_equal(again.predict(asked), model.predict(asked))


def test_a_corrected_model_bears_rows_without_ratings(tmp_path):
    ratings = {8: [(7, 5, "2005-01-01"), (9, 4, "2005-01-02"), (3, 2, "2005-01-02")]}
    ratings |= {9: [(6, 1, "2005-01-03")], 72: [(3, 3, "2005-01-03"), (7, 3, "2005-01-03")]}
    store = read_part(write_parts(tmp_path / "a", ratings, 2), tmp_path / "prize.npz")
    rest = store.without(store.probe)  # nothing of movie 9 and of user 6 is left
    model = NeighborCorrected(VariationalFactorization(2, random_state=0)).fit(rest)
    assert np.isfinite(model.predict(store.frame(slice(None)))).all()


def test_a_store_that_cannot_be_learned_from(tmp_path):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    with pytest.raises(ValueError, match="leave y out"):
        BaselinePredictor().fit(store, np.ones(len(store)))
    with pytest.raises(ValueError, match="from 2 to 5"):
        BaselinePredictor(rating_scale=(2, 5)).fit(store)
    with pytest.raises(ValueError, match="prize.npz: 0 ratings"):
        BaselinePredictor().fit(store.without(np.arange(len(store))))


# An experiment


def test_a_store_is_a_source_of_ratings(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "data_path", tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no store of the Prize. Put the archive"):
        load_ratings("prize")
    ratings = ratings_of(SEED)
    store = read_part(write_parts(tmp_path / "a", ratings), tmp_path / "prize.npz")
    data, table = load_ratings("prize"), store.frame(slice(None))
    assert data.train.path == store.path and repr(data).startswith("RatingData('prize.npz': ")
    assert f"{len(store) - 30:,} train + 30 test ratings of 1 to 5" in repr(data)
    pd.testing.assert_frame_equal(data.test, table.iloc[store.probe].reset_index(drop=True))
    other = RatingData.from_splits(table.drop(store.probe), data.test, store.movies)
    for part in ("train", "test"):
        assert (data.matrix(part) != other.matrix(part)).nnz == 0
    assert data.movies.equals(other.movies) and data.rating_scale == other.rating_scale
    with pytest.raises(ValueError, match="prize.npz: holds ratings from 1 to 5, which are not on"):
        load_ratings(store.path, rating_scale=(2, 5))


@pytest.mark.parametrize("order", ["random", "time", "user_time"])
def test_a_store_without_a_probe_is_split(tmp_path, order):
    folder = write_parts(tmp_path / "a", ratings_of(SEED))
    (folder / "probe.txt").unlink()
    with pytest.warns(UserWarning, match="probe.txt not there"):
        store = read_part(folder, tmp_path / "prize.npz")
    split = dict(test_size=0.3, random_state=3, order=order)
    data = load_ratings(store.path, **split)
    _, test = split_ratings(store.frame(slice(None)), **split)
    pd.testing.assert_frame_equal(data.test, test)
    assert len(data.train) + len(test) == len(store)


def test_run_on_a_store(tmp_path, monkeypatch, capsys):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    monkeypatch.chdir(tmp_path)
    words = ["run", "--data", str(store.path), "--device", "cpu"]
    names = "global mean, damped biases, user CF, cosine, all raters"
    assert main([*words, "--models", names]) == 0
    said = capsys.readouterr().out
    assert "To fit: global mean; damped biases; user CF, cosine, all raters\n" in said
    found = json.loads((tmp_path / "results" / "results.json").read_text())
    data = load_ratings(store.path)
    table = store.frame(slice(None)).drop(store.probe)
    for model, row in zip((DummyRegressor(), BaselinePredictor(), UserCF()), found["models"]):
        prediction = model.fit(table, table["rating"]).predict(data.test)
        assert row["rmse"] == pytest.approx(rmse(data.test["rating"], prediction), rel=1e-9)
    monkeypatch.setattr(_choosing, "LARGE", 100)
    assert main([*words, "--output", "many", "--quiet"]) == 0
    found = json.loads((tmp_path / "many" / "results.json").read_text())
    assert [m["model"] for m in found["models"]] == [*_choosing.FOR_LARGE]
    os.utime(store.path, (1, 1))  # the ratings count, not their file
    assert main([*words, "--models", "damped biases"]) == 0
    assert "Kept from before: damped biases" in capsys.readouterr().out


def test_a_model_of_somebodys_gets_a_table_if_it_fits(tmp_path, monkeypatch):
    store = read_part(write_parts(tmp_path / "a", ratings_of(SEED)), tmp_path / "prize.npz")
    monkeypatch.setattr(_measuring, "free_memory", lambda: (1_000, "left by a test"))
    with pytest.warns(UserWarning, match="'mean' failed.*DummyRegressor takes no store.*by a test"):
        table, _ = compare(
            {"mean": DummyRegressor(), "biases": BaselinePredictor()}, load_ratings(store.path)
        )
    assert table["rmse"].isna().tolist() == [True, False]
