"""Small rating files that were read wrongly; each test says what is right."""

import bz2
import csv
import gzip
import io
import lzma
import re
import zipfile
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from small_files import LINES, refused_or_read
from trials import SEED, trials

from thu_big_data_ml import BaselinePredictor
from thu_big_data_ml._files_and_devices import file_digest
from thu_big_data_ml.data._forms import text_of
from thu_big_data_ml.data._layouts import sniff
from thu_big_data_ml.data._plain_files import read_plain
from thu_big_data_ml.data._rows import read_strictly
from thu_big_data_ml.data.errors import RatingFileError
from thu_big_data_ml.data.files import _parse_ratings, read_ratings
from thu_big_data_ml.data.sources import load_ratings


def parse(path, scale=(0.5, 5.0), duplicates="error", order=None):
    "`read_ratings` past the cache."
    return _parse_ratings.func(str(path), file_digest(path), scale, duplicates, order, 0)


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


# Lines and fields, one at a time

HEAD = "user_id,movie_id,rating,date\n1,10,4,2005-01-01\n2,10,4,2005-01-01\n"


def refuse(path, text, what, **options):
    "The file is refused, and the message begins with its name and matches `what`."
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RatingFileError) as error:
        parse(path, **options)
    said = str(error.value).removeprefix(f"{path.parent}/")
    assert re.match(what, said), said
    assert len(said) < 700


def rows_read(path, text, **options):
    "The rows of a file, dates as texts."
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return parse(path, **options).astype({"rating": float}).values.tolist()


BAD_IDS = [
    "12a",
    "1e2",
    "True",
    "1_0",
    "9007199254740993.0",
    "1.5",
    "nan",
    "NA",
    "null",
    "-0",
    "+5",
    "٣",
    "0x5",
    "5.",
    "007",
    "１",
]


@pytest.mark.parametrize("bad", BAD_IDS)
def test_an_odd_id_among_numbers_is_refused_at_its_line(tmp_path, bad):
    refuse(tmp_path / "r.csv", f"{HEAD}\n{bad},11,4,2005-01-01\n", r"r\.csv:5: .*user_id")


def test_ids_that_are_written_as_whole_floats_are_exact(tmp_path):
    text = "user_id,movie_id,rating\n999999999999999.0,10.0,4\n"
    assert rows_read(tmp_path / "r.csv", text) == [[999999999999999, 10, 4]]


def test_text_ids_stay_as_they_are_written(tmp_path):
    text = "A2SUAM1J3GNN3B,0439893577,5.0,1400000000\nA2SUA,B000,4.0,1400000000\n"
    rows = rows_read(tmp_path / "r.csv", text)
    assert [row[:2] for row in rows] == [["A2SUAM1J3GNN3B", "0439893577"], ["A2SUA", "B000"]]
    text = "user,movie,rating\nJos\xe9,m1,3\nAnn,m2,4\n".encode("latin-1")
    refuse(tmp_path / "r.csv", text, r"r\.csv:2: the user_id is not in UTF-8")


@pytest.mark.parametrize(
    "bad", ["nan", "inf", "1e0", "", "0x5", "\u0664", "4 5", '"4,5"', "-1", "6"]
)
def test_an_odd_rating_is_refused_at_its_line(tmp_path, bad):
    refuse(tmp_path / "r.csv", f"{HEAD}3,11,{bad},2005-01-01\n", r"r\.csv:4: the rating is")


@pytest.mark.parametrize(
    "bad", ["2005-02-30", "05/06/2005", "", "-1", "0", "NaT", "1e9", "964982703", "2005-01-01Z"]
)
def test_an_odd_date_is_refused_at_its_line(tmp_path, bad):
    refuse(tmp_path / "r.csv", f"{HEAD}3,11,4,{bad}\n", r"r\.csv:4: .*date")


@pytest.mark.parametrize(
    "date_text", ["2005-09-06T08:00:00+08:00", "2005-09-06 00:00", "1125964800000", "20050906"]
)
def test_ways_to_write_a_date(tmp_path, date_text):
    text = f"user_id,movie_id,rating,date\n1,10,4,{date_text}\n"
    assert str(rows_read(tmp_path / "r.csv", text)[0][3]) == "2005-09-06 00:00:00"


@pytest.mark.parametrize(
    "text, what",
    [
        ("1:\n7,4,2005-01-01\n:\n8,4,2005-01-01\n", ":3: a movie is named"),
        ("1:\n7,4,2005-01-01\n2:,,x\n8,4,2005-01-01\n", ":3: a movie is named"),
        ("1:\n7,4,2005-01-01\n1:2:\n8,4,2005-01-01\n", ":3: a movie is named"),
        ("1:\n7,4,2005-01-01\n007:\n8,4,2005-01-01\n", ":3: a movie is named"),
        ("7,4,2005-01-01\n1:\n8,4,2005-01-01\n", ":2: a movie is named as in the archive"),
        ("1:::10::4::978300760\n", ":1: movie_id is not"),
        ("1::::4::978300760\n", ":1: the movie_id is missing"),
        ("1:10:4:978300760\n", ":1: 1 field in"),
        ("1\t\t4\t978300760\n", ":1: the movie_id is missing"),
        (",1,10,4\n", ":1: the user_id is missing"),
        ("1,2,3\n1,3,4,2005-01-01\n", ":2: 4 fields where 3"),
        ("user,movie,rating,title\n1,10,4\n", ":2: 3 fields where 4"),
        ("# my ratings\nuser,movie,rating\n1,10,4\n", ":1: a comment"),
        ("user_name,movie_id,rating\n1,10,4\n", ":1: the header names no user_id"),
        ("user,movie,rating,time,timestamp\n", ":1: the columns 'time' and 'timestamp' both"),
        ("userId movieId rating\n0 1 10 4\n", ":2: 4 fields where 3"),
        ('1,10,4\n2,10,"3\n3,10,5\n4,10,5\n', ":2: a quotation mark is out of place"),
        ('user,movie,rating,title\n1,10,4,"a\n2,10,3,b\n3,10,5,c"\n', ":2: a quotation mark"),
        ("1;10;4,5\n", ":1: the rating is not a number .write a decimal point"),
        ("1,2,3\n1,\0,4\n", ":2: a NUL byte"),
        ("x" * 2_000_000 + "\n1 2 3\n", ":1: a line of more than"),
        ("1 2 3\n7 9 " + "4" * 900_000 + "\n", ":2: the rating is off the scale"),
        ("1,2,3\n1,2,3" + "," * 1_000_000 + "\n", ":2: a line of more than 1,000,000 bytes"),
        ('1,2,3\n1,"2",3' + "," * 1_000_000 + "\n", ":2: a line of more than 1,000,000 bytes"),
        ("sep=;\nuser;movie;rating\n1;2;3\n", ":1: 'sep=;' is a line for Excel"),
        ("user,movie,rating\nann,a,4\n#N/A,a,3\n#REF!,b,3\n", ":3: the user_id is missing"),
        ("user,movie,rating\n1,a,4\n2,#WERT!,3\n3,b,3\n", ":3: the movie_id is missing"),
        ("user,movie,rating\nann,a,4\nundefined,a,3\n", ":3: the user_id is missing"),
        ('user movie rating\nann a 4\n"ann" b 4\nbob b 4\n', ":3: the user_id stands in quota"),
        ("user,movie,rating\n'ann','a',4\n", ":2: the user_id stands in quotation marks"),
        ('"1" "2" "3"\n', ":1: the user_id stands in quotation marks"),
        ("user,movie,rating\nJos\u00e9,a,4\nJose\u0301,a,2\n", ":3: the user_id looks like"),
        ("0439886341,A1N4O8VOJZTDVB,3\nB00GJ4O8VO,A2,4\n", ": the first column, .*columns="),
        ("\n\n1 10 4\n\n1 10 5\n", ": lines 3 and 5 both rate movie 10 by user 1"),
        ("1 10 4\r\r2 10 6\r", ":3: the rating is off the scale"),
        ('user,movie,rating,title\n1,1,4,"two\nlines"\n1,2,9,x\n', ":4: the rating is off"),
    ],
)
def test_wrong_lines_are_named(tmp_path, text, what):
    refuse(tmp_path / "r.txt", text, rf"r\.txt{what}")


@pytest.mark.parametrize(
    "text",
    [
        ",userId,movieId,rating\n0,1,10,4\n1,2,11,3.5\n",
        '"rating";"movieId";"userId"\r\n"4";"10";"1"\r\n"3.5";"11";"2"\r\n',
        "\ufeff\n\nuser_id|movie_id|rating|release_date|\n1|10|4|1995|\n2|11|3.5|\u00e9|\n",
        'user,movie,rating,title\n1,10,4,"a, ""b"""\n\n2,11,3.5,5" x\n',
        "1,10,4,\n2,11,3.5,\n",
        "  1 \t 10 4\n2   11\t3.5  ",
        "1 , 10 , 4\n2 , 11 , 3.5\n",
    ],
)
def test_the_same_two_ratings(tmp_path, text):
    assert rows_read(tmp_path / "r.txt", text) == [[1, 10, 4], [2, 11, 3.5]]


@pytest.mark.parametrize(
    "text, cure",
    [
        ("5 7 1008\n3 7 1072\n4 30 1008\n", "columns="),
        ("7,5,1008\n7,3,1072\n30,4,1008\n", "columns="),
        ("2005-01-01,7,1008,4\n2005-01-02,30,1008,4\n", "columns="),
        ("978300760,7,1008,4\n978300761,30,1008,4\n", "columns="),
        ("7,1008,2005-01-01,4\n30,1008,2005-01-02,4\n", "columns="),
        ("".join(f"{1 + n % 9 / 2} {n} 4\n" for n in range(30)), "columns="),
        ("".join(f"{n},1,{1 + n % 10}\n" for n in range(50)), r"rating_scale=\(1, 10\)"),
        ("user,movie,rating\n1,1,4\n2,1,10\n3,1,8\n", r"rating_scale=\(4, 10\)"),
    ],
)
def test_many_wrong_fields_are_another_order_or_another_scale(tmp_path, text, cure):
    refuse(tmp_path / "r.txt", text, rf"r\.txt:\d: .*{cure}")


def test_a_rating_beyond_float32_is_off_every_scale(tmp_path):
    text = "user,movie,rating\n1,1,4\n1,2," + "9" * 39 + "\n"
    refuse(tmp_path / "r.txt", text, r"r\.txt:3: the rating is off the scale", scale=(0, 1e40))


def test_heads_of_an_archive_that_a_spreadsheet_wrote(tmp_path):
    text = "8:,,\n1,4,2005-01-01\n9:,,\n2,3.5,2005-01-01\n"
    rows = rows_read(tmp_path / "r.txt", text)
    assert [row[:3] for row in rows] == [[1, 8, 4], [2, 9, 3.5]]


def test_ids_on_a_wide_scale_are_no_ratings(tmp_path):
    text = "".join(f"{user} {n % 9} {n}\n" for user in range(3) for n in range(1, 200))
    options = dict(scale=(0.0, 1000.0), duplicates="last")
    refuse(tmp_path / "r.txt", text, r"r\.txt: the third column .*columns=", **options)
    parse(tmp_path / "r.txt", order=["user_id", "movie_id", "rating"], **options)


def test_columns_in_another_order(tmp_path):
    path = tmp_path / "r.txt"
    path.write_text("4,x,7,1008\n3,x,30,1008\n")
    ratings = read_ratings(path, columns=("rating", "genre", "user", "movie"))
    assert ratings.values.tolist() == [[7, 1008, 4], [30, 1008, 3]]
    path.write_text("".join(f"{1 + n % 5},x,{n},1008\n" for n in range(30)))
    data = load_ratings(path, columns=("rating", "", "user", "movie"))
    assert (len(data.user_ids), len(data.movie_ids)) == (30, 1)
    with pytest.raises(ValueError, match="names no movie_id"):
        read_ratings(path, columns=("rating", "user"))
    with pytest.raises(ValueError, match="columns must be a tuple of names"):
        read_ratings(path, columns=5)
    path.write_text("user_id,movie_id,rating\n1,10,4\n")
    with pytest.raises(RatingFileError, match="the header says user_id movie_id rating"):
        read_ratings(path, columns=("movie_id", "user_id", "rating"))


def real_lines(ratings, sep, with_date):
    "Ratings as a file without a header."
    frame = ratings.assign(date=ratings["date"].astype("int64"))
    return (
        frame[["user_id", "movie_id", "rating", *["date"] * with_date]]
        .to_csv(sep="\t", header=False, index=False)
        .replace("\t", sep)
    )


@pytest.mark.parametrize(
    "sep, with_date, step", [("\t", True, 1), ("::", True, 7), (",", False, 7)]
)
def test_real_ratings_raise_no_false_alarm(tmp_path, sample, sep, with_date, step):
    path, real = tmp_path / "u.data", sample.train.iloc[::step]
    path.write_text(real_lines(real, sep, with_date))
    ratings = parse(path)
    assert ratings["rating"].tolist() == real["rating"].tolist()
    assert ratings["movie_id"].tolist() == real["movie_id"].tolist()
    assert_both_readers_agree(path)


@pytest.mark.parametrize(
    "text, duplicates, expected",
    [
        ("1 10 4 2005-01-02\n1 10 2 2004-01-01\n", "last", [4, "2005-01-02"]),
        ("1 10 4 2005-01-02\n1 10 2 2005-01-02\n", "last", [2, "2005-01-02"]),
        ("1 10 4 2005-01-02\n1 10 2 2004-01-01\n", "mean", [3, "2005-01-02"]),
    ],
)
def test_duplicates_and_their_dates(tmp_path, text, duplicates, expected):
    path = tmp_path / "u.txt"
    ((*_, rating, when),) = rows_read(path, text, duplicates=duplicates)
    assert [rating, str(when)[:10]] == expected
    frame = read_ratings(path, duplicates="mean").iloc[[0, 0]].assign(rating=[2.0, 5.0])
    frame["date"] = pd.to_datetime(["2005-01-02", "2004-01-01"])
    model = BaselinePredictor(duplicates="last").fit(frame)
    assert model.predict(frame)[0] == 2


# Forms


def zipped(**files):
    "A zip archive."
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return raw.getvalue()


def as_parquet(**columns):
    raw = io.BytesIO()
    pd.DataFrame(columns).to_parquet(raw)
    return raw.getvalue()


@pytest.mark.parametrize(
    "raw, what",
    [
        (gzip.compress(LINES.encode())[:-9], "the gzip file is damaged or cut short"),
        (gzip.compress(bytes(30_000_000)), ".*unpack to more than"),
        (gzip.compress(gzip.compress(b"1 2 3")), "this is a gzip file"),
        (zipped(a="1 2 3", b="1 2 3"), "a zip file with 2 files .'a', 'b'."),
        (zipped(a="1 2 3")[:-20], "the zip file is damaged or cut short"),
        (zipped(a="1 2 3") + zipped(a="4 5 3"), "the zip file is damaged .*other bytes stand"),
        (
            zipped(a="1 2 3") + zipped(a="4 5 3")[:-20],
            "the zip file is damaged .*other bytes stand",
        ),
        (bz2.compress(b"1 2 3\n") + b"BZg9", "the bzip2 file is damaged"),
        (bz2.compress(b"1 2 3\n") + bz2.compress(b"4 5 3\n")[:-1], "the bzip2 file is .*cut short"),
        (lzma.compress(b"1 2 3\n") + lzma.compress(b"4 5 3\n")[:-1], "the xz file is .*cut short"),
        (lzma.compress(b"1 2 3\n") + b"\xfc7zXZ", "the xz file is damaged"),
        (gzip.compress(b"1 2 3\n") + b"\x1e\x8b", "the gzip file is damaged"),
        (b"<<<<<<< HEAD\n1 2 3\n", "this is a text with the marks of an unfinished merge"),
        (as_parquet(a=[1]), r".*:1: the header names no user_id .*'a'"),
        (zipped(**{"[Content_Types].xml": ""}), "this is an Excel workbook"),
        (zipped(**{"a.npy": ""}), "this is a file of NumPy arrays"),
        (b"%PDF-1.4\n\0", "this is a PDF document"),
        (b"\xd0\xcf\x11\xe0\0", "this is an Excel workbook"),
        (b"\n<!DOCTYPE html>", "this is an HTML or XML page"),
        (b'{"user": 1}\n', "this is JSON"),
        (LINES.encode("utf-16")[:-1], "the UTF-16 file is damaged"),
        (LINES.encode("utf-16-le"), r".*a NUL byte"),
        (as_parquet(user=[1, 2], movie=[1.5, 2], rating=[3, 4]), r".*:2: movie_id is not"),
        (as_parquet(user=[1, None], movie=[1, 2], rating=[3, 4]), r".*:3: the user_id is missing"),
        (as_parquet(user=[b"a", b"b"], movie=[1, 2], rating=[3, 4]), ".*'user' holds bytes"),
        (as_parquet(user=[1], movie=[1], rating=[3])[:-9], "the Parquet file is damaged"),
    ],
)
def test_forms_that_are_refused(tmp_path, raw, what):
    refuse(tmp_path / "r", raw, rf"(r: )?{what}" if what[0] == "." else rf"r: {what}")


@pytest.mark.parametrize(
    "raw",
    [
        bz2.compress(LINES.encode()),
        lzma.compress(LINES.encode()),
        bz2.compress(LINES[:99].encode()) + bz2.compress(LINES[99:].encode()),
        lzma.compress(LINES[:99].encode()) + bytes(8) + lzma.compress(LINES[99:].encode()),
        gzip.compress(LINES[:99].encode()) + bytes(8) + gzip.compress(LINES[99:].encode()),
        LINES.encode("utf-32"),
        LINES.encode().replace(b"\n", b"\r"),
        LINES.encode().replace(b",", b"|"),
        as_parquet(**pd.read_csv(io.StringIO(LINES))),
    ],
)
def test_forms_that_are_read(tmp_path, raw):
    rows = [[int(field) for field in line.split(",")] for line in LINES.split()[1:]]
    assert rows_read(tmp_path / "r", raw) == rows


# Every file is read as a naive program reads it, or refused at a line that it finds wrong, too


FORMS = {  # name -> separator, header, names of the columns
    "course": (" ", None, ["user", "movie", "rating", "date"]),
    "no dates": ("\t", None, ["user", "movie", "rating"]),
    "seconds": ("::", None, ["user", "movie", "rating", "seconds"]),
    "header": (",", "movieId,title,userId,stars", ["movie", "title", "user", "rating"]),
    "semicolons": (";", ";rating;user;item;date;", ["", "rating", "user", "movie", "date"]),
    "texts": ("|", "user|movie|rating", ["text user", "movie", "rating"]),
    "archive": (",", None, ["user", "rating", "date"]),
}


def draw_field(draw, kind, n):
    "A right field of the n-th line."
    number = st.integers(0, 10**6)
    if kind == "user":
        return str(10 * draw(number) + n % 10)  # different users in lines that follow
    if kind == "movie":
        return str(draw(number))
    if kind == "text user":
        return f"u{draw(number)}-{n}"
    if kind == "rating":
        return draw(st.sampled_from(["1", "2", "3.0", "3.5", "4", "5.0", ".5"]))
    if kind == "date":
        return str(draw(st.dates(date(1999, 1, 1), date(2006, 12, 31))))
    if kind == "seconds":
        return str(draw(st.integers(10**8, 2 * 10**9)))
    if kind == "title":
        return draw(st.sampled_from(["Heat", '"Heat, The"', '"A ""B"""', "7", '"two\nlines"', ""]))
    return str(n)


@st.composite
def right_files(draw):
    "Name of a form, and the lines of a right file of that form."
    form = draw(st.sampled_from(list(FORMS)))
    sep, header, names = FORMS[form]
    lines = ["8:"] if form == "archive" else [header] * (header is not None)
    for n in range(draw(st.integers(7, 11))):
        if form == "archive" and draw(st.integers(0, 3)) == 0:
            lines.append(f"{draw(st.integers(0, 99))}:")
        lines.append(sep.join(draw_field(draw, kind, n) for kind in names))
    return form, lines


MUTATIONS = ["field", "line", "byte", "cut", "blank", "swap", "end"]


def mutate(draw, lines, sep):
    "The same lines with one change."
    at = draw(st.integers(0, len(lines) - 1))
    line, how = lines[at], draw(st.sampled_from(MUTATIONS))
    fields = line.split(sep)
    j = draw(st.integers(0, len(fields) - 1))
    odd = ["", " ", "x", "0", "-1", "007", "1e2", "5.0", "6", "nan", "NA", '"', '"1"', "1_0", "٣"]
    odd += ["2005-02-30", "20050906", "2005-09-06T10:00", "9" * 19, "3,5", "True", "+5", ":", "8:"]
    if how == "field":
        fields[j] = draw(st.sampled_from(odd))
        line = sep.join(fields)
    elif how == "line":
        line = sep.join([*fields, draw(st.sampled_from(odd))])
    elif how == "byte":
        k = draw(st.integers(0, len(line)))
        char = draw(st.sampled_from([*"0123456789.-:,;|\"' \tex\r\n", sep, "é", "\x0b", "\u2028"]))
        line = line[:k] + char + line[k + draw(st.integers(0, 1)) :]
    elif how == "cut":
        line = line[: draw(st.integers(0, len(line)))]
    elif how == "blank":
        line = draw(st.sampled_from(["", "  "])) + "\n" + line
    elif how == "swap" and len(fields) > 1:
        fields[j], fields[j - 1] = fields[j - 1], fields[j]
        line = sep.join(fields)
    elif how == "end":
        line = line + draw(st.sampled_from([" ", "\r", sep, sep + sep]))
    return [*lines[:at], line, *lines[at + 1 :]]


def naive_id(text):
    "A number; None if the text is none."
    body = text.removeprefix("-")
    if body.endswith(".0") and len(body) <= 17:
        body = body[:-2]
    whole = (
        body and body.isascii() and body.isdigit() and len(body) <= 18 and str(int(body)) == body
    )
    return int(text.removesuffix(".0")) if whole and text not in ("-0", "-0.0") else None


def naive_text(text):
    "An id in a column of texts; None if it is missing or a number with a point."
    number = "." in text and text.lstrip("+-").replace(".", "", 1).isdigit()
    return None if text.lower() in ("", "nan", "na") or number or not text.isprintable() else text


def naive_rating(text):
    digits = text.lstrip("+-") if len(text.lstrip("+-")) + 1 >= len(text) else "x"
    if not digits.isascii() or not digits.replace(".", "", 1).isdigit():
        return None
    return float(text) if 0.5 <= float(text) <= 5 else None


def naive_date(text):
    "How a date is written, and the date; None if it is none."
    if text.isascii() and text.removesuffix(".0").isdigit() and text[0] != "0":
        digits = text.removesuffix(".0")
        if len(digits) in (9, 10):
            return "seconds", datetime(1970, 1, 1) + timedelta(seconds=int(digits))
        if len(text) in (12, 13):
            return "milliseconds", datetime(1970, 1, 1) + timedelta(seconds=int(text) // 1000)
        if len(text) == 8 and text[:2] in ("19", "20"):
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
            return naive_date(text) and ("digits", naive_date(text)[1])
    for form, length in (("%Y-%m-%d", 10), ("%Y-%m-%dT%H:%M", 16), ("%Y-%m-%d %H:%M", 16)):
        try:
            if len(text) == length and " " not in text[:10]:
                return "date", datetime.strptime(text, form)
        except ValueError:
            pass
    return None


def naive_lines(form, lines):
    "Number and fields of all lines below the header, the naive way."
    sep, _, _ = FORMS[form]
    text = "\n".join(lines).replace("\r\n", "\n").replace("\r", "\n")
    if '"' in text and sep in ",;|\t" and form != "archive":
        told = dict(delimiter=sep, strict=True, skipinitialspace=True)
        reader, last = csv.reader(io.StringIO(text, newline=""), **told), 0
        try:
            for fields in reader:
                yield last + 1, [f.strip(" \t") for f in fields]
                last = reader.line_num
        except csv.Error:
            yield last + 1, ["not closed"]
    else:
        for number, line in enumerate(text.split("\n"), 1):
            fields = re.findall(r"[^ \t]+", line) if sep == " " else line.split(sep)
            yield number, [f.strip(" \t") for f in fields]


def naive_name(text):
    "What a header calls by this name."
    words = dict(user="user", userid="user", movie="movie", movieid="movie", item="movie")
    words |= dict(rating="rating", stars="rating", date="date")
    return words.get("".join(c for c in text.lower() if c.isascii() and c.isalnum()))


def naive_rows(form, lines):
    "Rows of a mutated file, or None, and the lines that are wrong."
    sep, header, names = FORMS[form]
    rows, wrong, ways, movie = [], set(), {}, None
    for number, fields in naive_lines(form, lines):
        if not any(fields):
            continue
        if form == "texts" and header and fields[-1][:1] in set(".12345"):
            header = None  # the header is lost, and the columns are in the usual order
        if header:  # the first line that is not blank
            header, names = None, [naive_name(field) or field for field in fields]
            while not names[-1]:
                names.pop()
            # titles under the name of ids are ids, if odd ones
            assume(form != "header" or names[1:2] not in (["movie"], ["user"]))
            if form == "texts":
                names[0] = f"text {names[0]}"
            continue
        while len(fields) > len(names) * (form != "archive") and not fields[-1]:
            fields.pop()
        if form == "archive" and len(fields) == 1 and fields[0].endswith(":"):
            name = fields[0][:-1]
            movie = naive_id(name) if name.isdigit() else None
            wrong |= {number} if movie is None else set()
            continue
        if form == "archive" and movie is None:  # the file does not begin as an archive does
            wrong |= set(range(100))
        if len(fields) != len(names):
            wrong.add(number)
            continue
        row = dict(zip(names, fields))
        user = naive_text(row.get("text user", "")) or naive_id(row.get("user", ""))
        item = naive_text(row.get("text movie", "")) or naive_id(row.get("movie", ""))
        item = movie if form == "archive" else item
        values = [user, item, naive_rating(row.get("rating", ""))]
        when = row.get("date", row.get("seconds"))
        if when is not None:
            found = naive_date(when)
            values.append(found and found[1])
            ways.setdefault(found and found[0], []).append(number)
        wrong |= {number} if None in values else set()
        rows.append((number, values))
    if len(ways) > 1:
        wrong |= {n for numbers in ways.values() for n in numbers}
    return rows, wrong


@seed(SEED)
@settings(
    max_examples=trials(300, 20_000),
    derandomize=SEED == 0,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.data())
def test_mutated_files_are_read_as_a_naive_program_reads_them(tmp_path_factory, data):
    form, lines = data.draw(right_files())
    for _ in range(data.draw(st.integers(0, 3))):
        lines = mutate(data.draw, lines, FORMS[form][0])
    path = tmp_path_factory.getbasetemp() / "mutated.txt"
    text = "\n".join(lines)
    path.write_bytes(text.encode() + b"\n" * data.draw(st.integers(0, 2)))
    rows, wrong = naive_rows(form, lines)
    pairs = [tuple(values[:2]) for _, values in rows]
    try:
        ratings = parse(path)
    except RatingFileError as error:
        said = str(error)
        if found := re.match(r".*mutated\.txt:(\d+): ", said):
            first = next((n for n, line in enumerate(text.split("\n"), 1) if line.strip()), 1)
            # a wrong first line makes others wrong that do not agree with it
            assert int(found[1]) in wrong or first in wrong or int(found[1]) <= first + 1, said
        elif found := re.search("lines (\\d+) and (\\d+) both rate", said):
            where = dict(zip([number for number, _ in rows], pairs))
            assert where[int(found[1])] == where[int(found[2])], said
        else:
            assert "no ratings in the file" in said and not rows, said
        return
    assert not wrong and len(set(pairs)) == len(pairs), (wrong, ratings)
    assert list(zip(ratings["user_id"], ratings["movie_id"])) == pairs
    assert ratings["rating"].tolist() == np.float32([values[2] for _, values in rows]).tolist()
    if "date" in ratings:
        assert ratings["date"].dt.to_pydatetime().tolist() == [values[3] for _, values in rows]
    assert_both_readers_agree(path)


def assert_both_readers_agree(path):
    "What the fast reader reads, the strict one reads, too."
    text = text_of(path)
    layout = sniff(path, text)
    fast = read_plain(text, layout)
    strict = read_strictly(str(path), text, layout, (-1e30, 1e30), False)
    for name in fast or ():
        assert fast[name].dtype == strict[name].dtype
        assert np.array_equal(fast[name], strict[name])
