"""Small rating files that were read wrongly; each test says what is right."""

import gzip
import zipfile

import pytest

from thu_big_data_ml.data.errors import RatingFileError
from thu_big_data_ml.data.files import read_ratings
from thu_big_data_ml.data.sources import load_ratings


def test_header_names_are_exact(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("user_id,movie_id,imdb_rating,stars\n1,10,4.9,1\n1,11,4.8,2\n")
    assert read_ratings(path)["rating"].tolist() == [1, 2]


def test_an_ambiguous_header_is_refused_by_name(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("user_id,movie_id,score,stars\n1,10,4.9,1\n1,11,4.8,2\n")
    with pytest.raises(RatingFileError, match=r"r\.csv:1: .*'score' and 'stars'"):
        read_ratings(path)


def test_trailing_empty_columns_are_dropped(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text("userId,movieId,rating,timestamp,,\n1,10,4,964982703,,\n")
    ratings = read_ratings(path)
    assert list(ratings) == ["user_id", "movie_id", "rating", "date"]
    assert ratings[["user_id", "movie_id", "rating"]].values.tolist() == [[1, 10, 4]]


def test_an_archive_line_without_a_user_is_an_error(tmp_path):
    path = tmp_path / "combined_data_1.txt"
    path.write_text("1:\n,3,2005-01-01\n2:\n7,4,2005-01-01\n")
    with pytest.raises(RatingFileError, match=r"combined_data_1\.txt:2: .*user"):
        read_ratings(path)


def test_double_colons_with_an_empty_field_are_an_error(tmp_path):
    path = tmp_path / "ratings.dat"
    path.write_text("37:99:24::5\n38:98:25::4\n")
    with pytest.raises(RatingFileError, match=r"ratings\.dat:1"):
        read_ratings(path)


@pytest.mark.parametrize(
    "bad",
    [
        "1e2",
        "True",
        "1_0",
        "9007199254740993.0",
    ],
)
def test_ids_that_are_not_whole_numbers_are_refused(tmp_path, bad):
    path = tmp_path / "r.csv"
    path.write_text(f"user_id,movie_id,rating\n{bad},10,4\n")
    with pytest.raises(RatingFileError, match=r"r\.csv:2: user_id is not a whole number"):
        read_ratings(path)


def test_the_line_named_is_the_one_that_is_wrong(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(
        'userId,movieId,rating,title\n1,10,4,"President, The"\n1,11,3,Heat\n1,12,9,Alien\n'
    )
    with pytest.raises(RatingFileError, match=r"r\.csv:4: the rating is off the scale"):
        read_ratings(path)


def test_the_last_of_duplicates_is_the_latest(tmp_path):
    path = tmp_path / "u.txt"
    path.write_text("1 10 4 2005-01-02\n1 10 2 2004-01-01\n")
    assert read_ratings(path, duplicates="last")["rating"].tolist() == [4]


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


def test_semicolons(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(LINES.replace(",", ";"))
    refused_or_read(path, "';'")


def test_tabs(tmp_path):
    path = tmp_path / "r.tsv"
    path.write_text(LINES.replace(",", "\t"))
    refused_or_read(path, "tab")


def test_ids_that_are_texts(tmp_path):
    path = tmp_path / "r.csv"
    path.write_text(LINES.replace("\n1,", "\nann,").replace("\n2,", "\nbob,"))
    refused_or_read(path, "text")


@pytest.mark.parametrize("kind", ["gz", "zip"])
def test_compressed_files(tmp_path, kind):
    path = tmp_path / f"r.csv.{kind}"
    if kind == "gz":
        path.write_bytes(gzip.compress(LINES.encode()))
    else:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("r.csv", LINES)
    refused_or_read(path, kind)


def test_a_file_in_utf_16(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(LINES.encode("utf-16"))
    refused_or_read(path, "UTF-16")
