"""Folders, titles and frames that were read wrongly; each test says what is right.

A test that is expected to fail is a fault that is known and not yet mended.
"""

import pandas as pd
import pytest

from thu_big_data_ml.data.errors import RatingFileError
from thu_big_data_ml.data.sources import load_ratings
from thu_big_data_ml.data.titles import read_movie_titles

PAIR = ["user_id", "movie_id"]


def fault(reason):
    "A test that fails until the fault is mended."
    return pytest.mark.xfail(strict=True, reason=f"trust: {reason}")


LINES = "userId,movieId,rating\n" + "".join(
    f"{user},{movie},{1 + (user + movie) % 5}\n" for user in range(1, 6) for movie in range(10, 15)
)


def refused_or_read(source, form):
    "The 25 ratings of `LINES`, or a sentence that names the form."
    try:
        data = load_ratings(source)
    except RatingFileError as error:
        said = str(error).replace(str(source), "")
        assert form in said, said
    else:
        assert len(data.train) + len(data.test) == 25


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


@fault("a DataFrame is taken for a path")
def test_a_data_frame():
    rows = [line.split(",") for line in LINES.splitlines()[1:]]
    frame = pd.DataFrame(rows, columns=["user_id", "movie_id", "rating"]).astype(int)
    refused_or_read(frame, "DataFrame")
