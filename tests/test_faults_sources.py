"""Folders, titles and frames that were read wrongly; each test says what is right."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from small_files import LINES, refused_or_read
from trials import SEED, trials

import thu_big_data_ml.data.sources as sources
from thu_big_data_ml.data.errors import RatingFileError
from thu_big_data_ml.data.ratings import RatingData, split_ratings
from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.data.synthetic import synthetic_ratings
from thu_big_data_ml.data.titles import read_movie_titles, read_users

PAIR = ["user_id", "movie_id"]


def write_archive(folder, second):
    "Two parts of an archive, 59 ratings of movie 1 in the first."
    first = "1:\n" + "".join(f"{u},{1 + u % 5},2005-01-01\n" for u in range(1, 60))
    (folder / "combined_data_1.txt").write_text(first)
    (folder / "combined_data_2.txt").write_text(second)
    return first


def test_a_pair_repeated_across_archive_files_is_a_duplicate(tmp_path):
    write_archive(tmp_path, "2:\n4,3,2005-02-01\n5,3,2005-02-01\n1:\n3,2,2005-09-09\n")
    with pytest.raises(RatingFileError, match="both rate movie 1 by user 3"):
        load_ratings(tmp_path)


def test_a_copy_of_an_archive_file_is_not_another_part(tmp_path):
    second = "2:\n4,3,2005-02-01\n5,3,2005-02-01\n"
    first = write_archive(tmp_path, second)
    (tmp_path / "combined_data_1 (1).txt").write_text(first)
    try:
        data = load_ratings(tmp_path)
    except RatingFileError:
        return
    assert len(data.train) + len(data.test) == 59 + 2
    assert len(data.train[PAIR].merge(data.test[PAIR])) == 0


@pytest.mark.parametrize("title", ["El Niño", "Straße", "Smokey Joe's Café"])
def test_a_short_latin_1_file_reads_as_it_was_written(tmp_path, title):
    path = tmp_path / "movie_titles.txt"
    path.write_bytes(f"1,1995,Heat\n2,1999,{title}\n".encode("latin-1"))
    assert read_movie_titles(path)["title"].tolist() == ["Heat", title]


def test_a_movielens_folder(tmp_path):
    (tmp_path / "ratings.csv").write_text(LINES)
    titles = 'movieId,title,genres\n10,"Heat, The (1995)",Drama\n11,Alien (1979),Horror\n'
    (tmp_path / "movies.csv").write_text(titles)
    refused_or_read(tmp_path, "ratings.csv")


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_data_frame_is_refused_with_its_cure(library):
    rows = [line.split(",") for line in LINES.splitlines()[1:]]
    frame = pd.DataFrame(rows, columns=["user_id", "movie_id", "rating"]).astype(int)
    titles = pd.DataFrame(dict(movie_id=[10], year=[1995], title=["Heat"]))
    data = RatingData.from_splits(*split_ratings(frame), titles)
    assert len(data.train) + len(data.test) == 25
    other = pytest.importorskip(library)
    tables = dict(pandas=frame)
    if library != "pandas":
        columns = {name: frame[name].to_numpy() for name in frame}
        tables[library] = other.DataFrame(columns) if library == "polars" else other.table(columns)
    with pytest.raises(TypeError, match="not a (DataFrame|Table).*split_ratings.*from_splits"):
        load_ratings(tables[library])


# Folders


def four_files(folder, train="7 8 5 2005-09-06\n30 8 4 2004-01-31\n", test="7 72 3 2005-12-01\n"):
    "The four files of the course, in small."
    (folder / "users.txt").write_text("30\n7\n")
    (folder / "netflix_train.txt").write_text(train)
    (folder / "netflix_test.txt").write_text(test)
    (folder / "movie_titles.txt").write_text("8,2004,One\n72,NULL,Two, or Three\n")
    return folder


def pairs_of(data):
    "The ratings of both parts, and how many pairs are in both of them."
    both = pd.concat([data.train, data.test])[[*PAIR, "rating"]]
    return sorted(map(tuple, both.values.tolist())), len(data.train[PAIR].merge(data.test[PAIR]))


COPIES = [
    "combined_data_1 (1).txt",
    "combined_data_1 copy.txt",
    "combined_data_1 - Copy.txt",
    "Copy of combined_data_1.txt",
    "combined_data_1.txt.1",
    "combined_data_1_old.txt",
]


def test_bytes_that_are_no_text_are_refused_by_line(tmp_path):
    path = tmp_path / "movie_titles.txt"
    path.write_bytes(b"1,2003,Heat\n2,2003,ivil\x8d\x85\x9e\x8b\xdc\x96\x1a\x9enet\n3,1999,\xe9\n")
    with pytest.raises(
        RatingFileError, match=r"movie_titles.txt:2: .*neither UTF-8.*Save the file"
    ):
        read_movie_titles(path)


@pytest.mark.parametrize("name", COPIES)
def test_a_second_copy_of_a_part_is_never_read(tmp_path, name):
    first = write_archive(tmp_path, "2:\n4,3,2005-02-01\n5,3,2005-02-01\n")
    (tmp_path / name).write_text(first)
    with pytest.warns(UserWarning, match="a copy of combined_data_1.txt"):
        data = load_ratings(tmp_path)
    assert len(pairs_of(data)[0]) == 61
    (tmp_path / name).write_text(first.replace("2005-01-01", "2005-01-02"))
    with pytest.raises(RatingFileError, match="none of the archive's parts.*Remove it"):
        load_ratings(tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "combined_data_2.txt.crdownload",
        "combined_data_2.txt.part",
        "combined_data_2.txt~",
        ".combined_data_2.txt",
        "._combined_data_2.txt",
        "notes.txt",
    ],
)
def test_what_is_unfinished_or_hidden_is_not_read(tmp_path, name):
    (tmp_path / "combined_data_1.txt").write_text("1:\n7,3,2005-01-01\n8,3,2005-01-01\n")
    (tmp_path / name).write_text("2:\n7,3,2005-01-01\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = load_ratings(tmp_path, test_size=0.5, order="time")
    assert pairs_of(data)[0] == [(7, 1, 3), (8, 1, 3)]


def test_a_missing_part_and_two_names_of_one_part_are_said(tmp_path):
    for number in (1, 2, 4, 10):
        (tmp_path / f"combined_data_{number}.txt").write_text(
            f"{number}:\n7,3,2005-01-01\n8,3,2005-01-01\n"
        )
    with pytest.warns(UserWarning, match=r"combined_data_3\.txt is not there \(6 of 10"):
        data = load_ratings(tmp_path, random_state=1)
    assert data.movie_ids.tolist() == [1, 2, 4, 10]
    (tmp_path / "combined_data_04.txt").write_text("5:\n7,3,2005-01-01\n")
    with pytest.raises(RatingFileError, match="is part 4 of the archive"):
        load_ratings(tmp_path)


def test_a_pair_in_two_parts_names_both_files_and_lines(tmp_path):
    (tmp_path / "combined_data_1.txt").write_text("1:\n7,3,2005-01-01\n\n8,4,2005-01-01\n")
    (tmp_path / "combined_data_2.txt").write_text("2:\n7,3,2005-01-01\n1:\n8,1,2004-01-01\n")
    with pytest.raises(RatingFileError) as error:
        load_ratings(tmp_path)
    said = str(error.value).replace(f"{tmp_path}/", "")
    assert said.startswith("combined_data_1.txt:4 and combined_data_2.txt:4 both rate movie 1")
    half = dict(test_size=0.5, order="time")
    last = pairs_of(load_ratings(tmp_path, duplicates="last", **half))
    assert last == ([(7, 1, 3), (7, 2, 3), (8, 1, 4)], 0)  # the latest date, not the last file
    mean = pairs_of(load_ratings(tmp_path, duplicates="mean", **half))
    assert mean == ([(7, 1, 3), (7, 2, 3), (8, 1, 2.5)], 0)


def test_a_mean_over_parts_is_no_mean_of_means(tmp_path):
    (tmp_path / "combined_data_1.txt").write_text(
        "1:\n7,5,2005-01-01\n7,5,2005-01-02\n8,1,2005-01-01\n"
    )
    (tmp_path / "combined_data_2.txt").write_text("1:\n7,2,2005-01-03\n")
    rows, known = pairs_of(load_ratings(tmp_path, duplicates="mean", test_size=0.5, order="time"))
    assert rows == [(7, 1, 4), (8, 1, 1)] and known == 0


def test_parts_of_two_kinds_are_refused(tmp_path):
    (tmp_path / "combined_data_1.txt").write_text("1:\n7,3,2005-01-01\n8,3,2005-01-01\n")
    (tmp_path / "combined_data_2.txt").write_text("2:\nann,3,2005-01-01\nbob,3,2005-01-01\n")
    with pytest.raises(RatingFileError, match="combined_data_2.txt.*texts.*whole numbers"):
        load_ratings(tmp_path)
    (tmp_path / "combined_data_2.txt").write_text("7 2 3\n8 2 3\n")
    with pytest.raises(RatingFileError, match="combined_data_2.txt: has no dates, while"):
        load_ratings(tmp_path)


def test_a_folder_of_two_kinds_is_refused(tmp_path):
    four_files(tmp_path)
    (tmp_path / "combined_data_1.txt").write_text("1:\n7,3,2005-01-01\n")
    with pytest.raises(RatingFileError, match="combined_data_1.txt and netflix_test.txt"):
        load_ratings(tmp_path)
    (tmp_path / "combined_data_1.txt").rename(tmp_path / "ratings.csv")
    with pytest.raises(RatingFileError, match="ratings.csv and netflix_test.txt"):
        load_ratings(tmp_path)


@pytest.mark.parametrize("name", ["training_set/mv_0000001.txt", "mv_0000001.txt"])
def test_a_file_a_movie_is_refused_by_name(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("1:\n7,3,2005-01-01\n")
    with pytest.raises(RatingFileError, match=r"(mv_0000001|training_set).*combined_data_\*\.txt"):
        load_ratings(tmp_path)


def test_folders_without_ratings_say_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="no ratings in this folder.*ratings.csv"):
        load_ratings(tmp_path)
    (tmp_path / "ml-1m.zip").write_bytes(b"PK")
    with pytest.raises(FileNotFoundError, match="Unpack ml-1m.zip"):
        load_ratings(tmp_path)
    (tmp_path / "ratings.csv.crdownload").write_text("")
    with pytest.raises(FileNotFoundError, match="unfinished download: finish it"):
        load_ratings(tmp_path)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "ratings.csv.crdownload").unlink()
    (tmp_path / "ml-1m.zip").unlink()
    with pytest.raises(FileNotFoundError, match="Name one of the 2 folders in it, such as a"):
        load_ratings(tmp_path)


FORMS = {
    "ratings.csv": "userId,movieId,rating,timestamp\n7,8,5,964982703\n30,8,4,964982703\n",
    "ratings.dat": "7::8::5::964982703\n30::8::4::964982703\n",
    "u.data": "7\t8\t5\t964982703\n30\t8\t4\t964982703\n",
}
TITLES = {
    "movies.csv": 'movieId,title,genres\n8,"Café, Le ""Grand"" (1995)",Drama|War\n9,Heat,Drama\n',
    "movies.dat": '8::Café, Le "Grand" (1995)::Drama|War\n9::Heat::Drama\n',
    "u.item": '8|Café, Le "Grand" (1995)|01-Jan-1995||http://x/?a,b|0|1\n9|Heat|||||\n',
}


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("at", range(3))
def test_folders_of_movielens(tmp_path, at, depth):
    folder = tmp_path / "/".join("ab"[:depth])
    folder.mkdir(parents=True, exist_ok=True)
    (tmp_path / "__MACOSX").mkdir()
    (name, text), (titles, lines) = list(FORMS.items())[at], list(TITLES.items())[at]
    (folder / name).write_text(text)
    encoding = "utf-8" if at == 0 else "latin-1"
    (folder / titles).write_bytes(lines.encode(encoding))
    for source in (tmp_path, folder / name):
        data = load_ratings(source, test_size=0.5, order="time")
        assert pairs_of(data) == ([(7, 8, 5), (30, 8, 4)], 0)
        assert data.movies[["year", "title"]].values.tolist() == [[1995, 'Café, Le "Grand"']]
        assert str(data.train["date"].iloc[0])[:4] == "2000"


def test_titles_of_other_movies_are_said(tmp_path):
    (tmp_path / "ratings.csv").write_text(FORMS["ratings.csv"])
    (tmp_path / "movies.csv").write_text("movieId,title\n9,Heat\n")
    with pytest.warns(UserWarning, match="movies.csv: holds no title of a movie rated"):
        load_ratings(tmp_path, order="time", test_size=0.5)


def test_ids_that_are_texts_are_carried(tmp_path):
    four_files(tmp_path, "ann x1 5 2005-09-06\nbob x1 4 2004-01-31\n", "ann x2 3 2005-12-01\n")
    (tmp_path / "users.txt").write_text("user_id\nbob\nann\ncyd\n")
    (tmp_path / "movie_titles.txt").write_text("x1,2004,One\nx2,NULL,Two, or Three\n")
    data = load_ratings(tmp_path)
    assert data.user_ids.tolist() == ["ann", "bob", "cyd"]
    assert data.movies["title"].tolist() == ["One", "Two, or Three"]
    assert data.matrix("train").toarray().tolist() == [[5, 0], [4, 0], [0, 0]]
    for name, text, said in (
        ("movie_titles.txt", "8,2004,One\n", "movie_titles.txt:1.*whole numbers"),
        ("users.txt", "7\n30\n", "users.txt:1.*whole numbers"),
        ("netflix_test.txt", "7 8 3 2005-12-01\n", "netflix_test.txt:1.*whole numbers"),
    ):
        kept = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text)
        with pytest.raises(RatingFileError, match=said):
            load_ratings(tmp_path)
        (tmp_path / name).write_text(kept)


# Never a pair in train and test


@pytest.mark.parametrize("order", ["random", "time", "user_time"])
@pytest.mark.parametrize("duplicates", ["last", "mean"])
def test_a_pair_in_both_files_of_a_split_is_a_duplicate(tmp_path, duplicates, order):
    train = "7 8 5 2005-09-06\n30 8 4 2004-01-31\n7 9 1 2003-01-01\n30 9 2 2003-01-01\n"
    four_files(tmp_path, train, "7 72 3 2005-12-01\n30 8 2 2003-01-01\n7 8 3 2005-09-06\n")
    data = load_ratings(tmp_path, duplicates=duplicates, order=order, test_size=0.5)
    rows, known = pairs_of(data)
    value = dict(last=(3, 4), mean=(4, 3))[duplicates]  # of equal dates the test file is later
    assert rows == sorted([(7, 8, value[0]), (30, 8, value[1]), (7, 9, 1), (30, 9, 2), (7, 72, 3)])
    assert known == 0


def test_a_pair_in_both_files_is_an_error_in_another_split(tmp_path):
    four_files(tmp_path, test="7 72 3 2005-12-01\n30 8 2 2003-01-01\n")
    with pytest.raises(RatingFileError, match=r"train\.txt:2 and .*test\.txt:2 both rate movie 8"):
        load_ratings(tmp_path, order="time")
    with pytest.warns(UserWarning, match=r"test\.txt:2: the first of 1 test pairs") as said:
        data = load_ratings(tmp_path)
    assert len(said) == 1 and said[0].filename == __file__
    with pytest.warns(UserWarning, match="user 30 and movie 8: the first of 1 test pairs"):
        RatingData.from_splits(data.train, data.test, data.movies)


def test_a_test_file_that_is_a_copy_leaves_nothing_to_train(tmp_path):
    lines = "7 8 5 2005-09-06\n30 8 4 2004-01-31\n"
    four_files(tmp_path, lines, lines)
    with pytest.raises(RatingFileError, match=r"netflix_train\.txt: all its pairs .* a copy"):
        load_ratings(tmp_path, duplicates="last")


@pytest.mark.parametrize("scale", [None, 5, (1, 2, 3), ("a", "b"), (5, 1), (float("nan"), 5)])
def test_a_scale_that_is_none_is_refused(tmp_path, scale):
    (tmp_path / "ratings.csv").write_text(FORMS["ratings.csv"])
    with pytest.raises(ValueError, match=r"rating_scale must be \(lowest, highest\), not"):
        load_ratings(tmp_path, rating_scale=scale)


def test_a_table_with_repeated_pairs_is_not_split():
    twice = pd.DataFrame(dict(user_id=[1, 1, 2], movie_id=[8, 8, 8], rating=[1.0, 2.0, 3.0]))
    with pytest.raises(RatingFileError, match="rows 0 and 1 both rate movie 8 by user 1"):
        split_ratings(twice, 0.5)


def test_random_archives_never_leak(tmp_path):
    "Whatever is repeated where: an error with both places, or no pair in train and test."
    rng = np.random.default_rng([SEED, 2])
    for trial in range(trials(5, 300)):
        folder = tmp_path / str(trial)
        folder.mkdir()
        table = {}
        for part in (1, 2, 3):
            lines = []
            for movie in rng.choice(6, 2, replace=False) + 1:
                lines.append(f"{movie}:")
                for user in rng.choice(8, 3, replace=rng.random() < 0.3) + 1:
                    stars, day = rng.integers(1, 6), rng.integers(1, 29)
                    lines.append(f"{user},{stars},2005-01-{day:02d}")
                    table.setdefault((user, movie), []).append((day, stars))
            (folder / f"combined_data_{part}.txt").write_text("\n".join(lines) + "\n")
        for duplicates in ("error", "last", "mean"):
            repeated = max(map(len, table.values())) > 1
            if duplicates == "error" and repeated:
                with pytest.raises(RatingFileError, match=r"[\d:]+ and .*\d+ both rate movie"):
                    load_ratings(folder)
                continue
            rows, known = pairs_of(load_ratings(folder, duplicates=duplicates, test_size=0.4))
            assert known == 0 and len(rows) == len(table)
            for user, movie, rating in rows:
                given = table[int(user), int(movie)]
                latest = [stars for day, stars in given if day == max(given)[0]][-1]
                mean = np.mean([stars for _, stars in given])
                assert rating == pytest.approx(mean if duplicates == "mean" else latest)


# What is no source


@pytest.mark.parametrize(
    "source", [None, 7, 2.5, True, "", " ", b"sample", [1], {}, np.zeros((2, 3))], ids=repr
)
def test_what_is_no_source_is_refused(source):
    with pytest.raises(TypeError, match="source must be 'sample'"):
        load_ratings(source)


def test_a_missing_folder_says_where_it_was_looked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "data_path", tmp_path / "data")
    for name in ("netflix", str(tmp_path / "nothing")):
        with pytest.raises(FileNotFoundError) as error:
            load_ratings(name)
        said = str(error.value)
        for part in ("THU_BIG_DATA_ML_DATA", "THU_BIG_DATA_ML_RATINGS", "download --help"):
            assert part in said
        assert str(tmp_path / "data" / "netflix") in said


def test_titles_and_users_need_not_be_there(tmp_path):
    four_files(tmp_path)
    (tmp_path / "users.txt").unlink()
    (tmp_path / "movie_titles.txt").unlink()
    with pytest.warns(UserWarning) as said:
        data = load_ratings(tmp_path)
    assert len(said) == 2 and {w.filename for w in said} == {__file__}
    assert "no users.txt" in str(said[0].message) and "titles are unknown" in str(said[1].message)
    assert data.movies["title"].isna().all() and data.user_ids.tolist() == [7, 30]


WRONG_SPLITS = [
    dict(test_size=True),
    dict(test_size=float("nan")),
    dict(test_size="0.2"),
    dict(test_size=None),
    dict(test_size=1),
    dict(test_size=0),
    dict(order="chance"),
    dict(order=None),
    dict(random_state=-1),
    dict(random_state=0.5),
    dict(random_state="7"),
    dict(random_state=True),
    dict(duplicates="first"),
    dict(duplicates="keep"),
    dict(duplicates=None),
]


@pytest.mark.parametrize("wrong", WRONG_SPLITS, ids=str)
def test_wrong_options_are_named(tmp_path, wrong):
    (tmp_path / "ratings.csv").write_text(FORMS["ratings.csv"])
    for source in (tmp_path, "synthetic"):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            load_ratings(source, **wrong)


def test_options_of_synthetic_ratings_are_heard():
    data = load_ratings("synthetic", rating_scale=(0, 10), duplicates="last")
    assert data.rating_scale == (1, 5)
    with pytest.raises(ValueError, match="between 1 and 5"):
        load_ratings("synthetic", rating_scale=(0.5, 4))
    for wrong in (
        dict(n_users=0),
        dict(n_movies=2.5),
        dict(n_ratings=True),
        dict(n_ratings="9"),
        dict(n_factors=-1),
        dict(noise=0),
        dict(noise=float("nan")),
        dict(noise="1"),
    ):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            synthetic_ratings(**{"n_users": 20, "n_movies": 20, "n_ratings": 90, **wrong})


def test_any_kind_of_random_state_splits():
    table = synthetic_ratings(40, 30, 500).train
    for state in (None, np.int64(3), np.random.RandomState(0), np.random.default_rng(0)):
        train, test = split_ratings(table, random_state=state)
        assert len(train) + len(test) == len(table)
    same = [split_ratings(table, random_state=np.random.default_rng(5))[1] for _ in "ab"]
    assert same[0].equals(same[1])


def test_what_is_put_together_must_fit(tmp_path):
    data = load_ratings(four_files(tmp_path))
    parts = (data.train, data.test, data.movies)
    for users, said in (([30, 7], "sorted"), ([7, 7, 30], "sorted"), ([7], "user 30 has rated")):
        with pytest.raises(ValueError, match=said):
            RatingData.from_splits(*parts, np.array(users))
    two = pd.concat([data.movies, data.movies.assign(title="Other")])
    with pytest.raises(ValueError, match="movie 8 has two titles"):
        RatingData.from_splits(data.train, data.test, two)
    with pytest.raises(ValueError, match="make both texts"):
        RatingData.from_splits(*parts[:2], data.movies.astype({"movie_id": str}))


# Titles


FORMS_OF_TITLES = {
    "comma": ("8,2004,Heat, The\n", ["Heat, The"]),
    "quotes": ('8,2004,"Weird Al" Yankovic\n', ['"Weird Al" Yankovic']),
    "quoted by a CSV writer": ('8,2004,"Heat, ""The"""\n', ['Heat, "The"']),
    "quotes without need": ('8,2004,"Heat"\n', ['"Heat"']),
    "CR LF": ("8,2004,Heat\r\n9,NULL,Jaws\r\n", ["Heat", "Jaws"]),
    "CR": ("8,2004,Heat\r9,NULL,Jaws\r", ["Heat", "Jaws"]),
    "blank lines": ("\n8,2004,Heat\n\n9,,Jaws\n\n", ["Heat", "Jaws"]),
    "header": ("movie_id,year,title\n8,2004,Heat, The\n", ["Heat, The"]),
    "another header": ("title,movieId\nHeat (2004),8\n", ["Heat"]),
    "header and year": ('id,title,year\n8,"Heat, The",2004\n', ["Heat, The"]),
    "a line feed": ('movieId,title\n8,"Heat,\nThe (2004)"\n9,Jaws\n', ["Heat, The", "Jaws"]),
    "float years": ("8,2004.0,Heat\n9,nan,Jaws\n", ["Heat", "Jaws"]),
    "the same line twice": ("8,2004,Heat\n8,2004,Heat\n", ["Heat"]),
    "a separator of Unicode": ("8,2004,He\u2028at\x85\n", ["He\u2028at"]),
    "commas of a spreadsheet": ("8,2004,Heat,,\n9,,Jaws, The,\n", ["Heat", "Jaws, The"]),
    "another id": ("id,movieId,title\n1,8,Heat (2004)\n8,9,Jaws\n", ["Heat", "Jaws"]),
    "another id behind": ("movie_id,id,title\n8,1,Heat (2004)\n9,8,Jaws\n", ["Heat", "Jaws"]),
    "another name": ("movieId,title,name\n8,Heat (2004),x\n9,Jaws,y\n", ["Heat", "Jaws"]),
    "a title with a header's words": ("8,2004,title, year\n", ["title, year"]),
}


@pytest.mark.parametrize("text, titles", FORMS_OF_TITLES.values(), ids=FORMS_OF_TITLES)
def test_forms_of_titles(tmp_path, text, titles):
    (tmp_path / "titles").write_bytes(text.encode())
    found = read_movie_titles(tmp_path / "titles")
    assert found["title"].tolist() == titles and found["movie_id"].tolist() == [8, 9][: len(titles)]
    assert found["year"].iloc[0] == 2004 and found["year"].isna().sum() == len(titles) - 1


WRONG_TITLES = {
    "a year of five digits": ("8,2004,Heat\n9,20041,Jaws\n", ":2: '20041' is not a year"),
    "year 0": ("8,0,Heat\n", ":1: '0' is not a year"),
    "year 9999": ("8,9999,Heat\n", ":1: '9999' is not a year"),
    "a float id": ("8,2004,Heat\n1e2,2004,Jaws\n", ":2: movie_id is not a whole number"),
    "no id": ("8,2004,Heat\n,2004,Jaws\n", ":2: the movie_id is missing"),
    "two titles": ("8,2004,Heat\n\n8,2004,Jaws\n", "lines 1 and 3 give movie 8 two titles"),
    "two years": ("8,2004,Heat\n8,2005,Heat\n", "lines 1 and 2 give movie 8 two titles"),
    "a line feed in a title": ('8,2004,"Heat,\nThe"\n', ":2: not an id, a year"),
    "an open quote": ('movieId,title\n8,Heat\n9,"Jaws\n10,Alien\n', ":3: unexpected end"),
    "fields of a CSV": ("movieId,title\n8,Heat, The\n", ":2: 3 fields where the header has 2"),
    "fields of a dat file": ("8::Heat::Drama\n9::Jaws\n", ":2: not an id and a title"),
    "two columns of ids": ("movieId,item,title\n8,9,Heat\n", ":1: several columns .*movie_id"),
    "two columns of titles": ("id,title,movie_title\n8,a,b\n", ":1: several columns .* title"),
    "two columns of years": ("id,title,year,release_year\n8,a,1,2\n", ":1: several .* year"),
    "the error of a spreadsheet": ("a8,2004,Heat\n#N/A,2005,Jaws\n", ":2: the movie_id is missing"),
    "a long line": ("8,2004,Heat\n" + "x" * 2_000_000, ":2: not an id"),
    "only a header": ("movie_id,year,title\n", "only a header"),
    "NUL": ("8,2004,Heat\n9,2004,J\0aws\n", ":2: .*NUL"),
}


@pytest.mark.parametrize("text, said", WRONG_TITLES.values(), ids=WRONG_TITLES)
def test_wrong_titles_name_the_line(tmp_path, text, said):
    (tmp_path / "titles").write_text(text)
    with pytest.raises(RatingFileError, match=said) as error:
        read_movie_titles(tmp_path / "titles")
    assert "titles" in str(error.value) and len(str(error.value)) < 400


ENCODED = {
    "gb18030": "霸王别姬|卧虎藏龙|花样年华|大红灯笼高高挂|秋菊打官司|让子弹飞|唐山大地震",
    "big5": "臥虎藏龍|悲情城市|牯嶺街少年殺人事件|飲食男女|海角七號|童年往事|倩女幽魂|阿飛正傳",
    "shift_jis": "七人の侍|千と千尋の神隠し|となりのトトロ|東京物語|火垂るの墓|魔女の宅急便|リング",
    "euc-jp": "七人の侍|千と千尋の神隠し|となりのトトロ|東京物語|火垂るの墓|魔女の宅急便|リング",
    "cp949": "올드보이|살인의 추억|친절한 금자씨|공동경비구역 JSA|엽기적인 그녀|태극기 휘날리며",
    "cp1251": "Броненосец Потёмкин|Сталкер|Иди и смотри|Летят журавли|Москва слезам не верит",
    "latin-1": "El Niño|Straße|Amélie|À bout de souffle|Señorita|Ålesund|Così è|Jamón, Jamón",
    "cp1252": "Smokey Joe’s Café|Œdipus Rex|“Crocodile” Dundée|Sacré Cœur – Fin|¡Three Amigos!",
    "utf-16": "霸王别姬|七人の侍|El Niño|Straße|Сталкер",
    "utf-8-sig": "霸王别姬|七人の侍|El Niño|Straße|Сталкер",
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_titles_read_as_written_or_are_refused(tmp_path, encoding):
    "Files of one to all titles: never garbled; whole files of each encoding are read."
    titles, path = ENCODED[encoding].split("|"), tmp_path / "movie_titles.txt"
    rng, read = np.random.default_rng([SEED, 3]), 0
    for trial in range(trials(12, 100)):
        some = rng.permutation(titles)[: rng.integers(1, len(titles) + 1) if trial else None]
        lines = [f"{number + 1},{rng.integers(1900, 2005)},{t}" for number, t in enumerate(some)]
        path.write_bytes("\n".join(lines).encode(encoding))
        try:
            assert read_movie_titles(path)["title"].tolist() == some.tolist()
            read += 1
        except RatingFileError as error:
            assert trial and re.search(
                r"movie_titles.txt:\d+: .*Save the file as UTF-8", str(error)
            )
    assert read == trials(12, 100) or encoding not in ("latin-1", "cp1252", "utf-16", "utf-8-sig")


def test_turkish_letters_are_not_icelandic_in_silence(tmp_path):
    path = tmp_path / "movie_titles.txt"
    path.write_bytes("1,1964,Susuz Yaz\n2,1982,Yol\n3,1991,Işık Şah\n".encode("cp1254"))
    with pytest.warns(UserWarning, match="it may be Turkish. Save it as UTF-8 if '3,1991,Iþýk"):
        read_movie_titles(path)


def test_a_mixture_of_encodings_is_refused(tmp_path):
    path = tmp_path / "movie_titles.txt"
    path.write_bytes("1,1995,Amélie\n".encode() + "2,1999,Straße\n".encode("latin-1"))
    with pytest.raises(
        RatingFileError, match=r"movie_titles\.txt:2: is not UTF-8, while line 1 is"
    ):
        read_movie_titles(path)


USERS = {
    "7\n30\n7\n": [7, 30],
    "user_id\n\n30\r\n7": [7, 30],
    "Customer ID\r30\r7\r": [7, 30],
    "30.0\n7.0\n": [7, 30],
    "ann\nbob\n": ["ann", "bob"],
}


@pytest.mark.parametrize("text", USERS, ids=repr)
def test_forms_of_users(tmp_path, text):
    (tmp_path / "users.txt").write_bytes(text.encode())
    assert read_users(tmp_path / "users.txt").tolist() == USERS[text]


@pytest.mark.parametrize(
    "text, said",
    [
        ("7\n30,5\n", ":2"),
        ("7\n1e2\n", ":2"),
        ("7\nTrue\n", ":2"),
        ("7\n\nnan\n", ":3"),
        ("7\n99999999999999999999\n", ":2"),
        ("user_id\n", ": the file is empty"),
        ("7\n" + "9" * 2_000_000, ":2"),
        ("1|24|M|technician|85711\n2|53|F|other|94043\n", ":1: more than an id"),
        ("1::F::1::10::48067\n", ":1: more than an id"),
        ("ann\nbob,b\n", ":2: more than an id"),
        ('"ann"\n"bob"\n', ":1: more than an id"),
        ("ann\n#N/A\nbob\n", ":2: the user_id is missing"),
        ("Jos\u00e9\nJose\u0301\n", ":2: the user_id looks like"),
    ],
)
def test_wrong_users_name_the_line(tmp_path, text, said):
    (tmp_path / "users.txt").write_text(text)
    with pytest.raises(RatingFileError, match="users.txt" + said) as error:
        read_users(tmp_path / "users.txt")
    assert len(str(error.value)) < 400
