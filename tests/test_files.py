"Rating files as they come, good and bad."

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest

from thu_big_data_ml.big_data_analytics.matrix_decomposition import *
from thu_big_data_ml.data._layouts import netflix_files
from thu_big_data_ml.data.download import _download_file
from thu_big_data_ml.data.errors import RatingFileError

train = "7 8 5 2005-09-06\n7 72 3 2005-09-07\n30 8 4 2004-01-31\n1000000 72 1 2003-05-05\n"


@pytest.fixture
def folder(tmp_path):
    "The four files of the course subset, in small."
    (tmp_path / "users.txt").write_text("30\n7\n1000000\n")
    (tmp_path / "netflix_train.txt").write_text(train)
    (tmp_path / "netflix_test.txt").write_text("30 72 2 2004-02-01\n7 9 4 2005-12-01\n")
    titles = '8,2004,A "quoted", title\n72,NULL,Café\n'
    (tmp_path / "movie_titles.txt").write_bytes(titles.encode("iso-8859-1"))
    return tmp_path


def test_a_folder_of_four_files(folder):
    data = load_ratings(folder)
    assert data.user_ids.tolist() == [7, 30, 1000000] and data.movie_ids.tolist() == [8, 9, 72]
    assert data.matrix("train").shape == data.matrix("test").shape == (3, 3)
    assert data.matrix("train").dtype == np.float32
    assert data.movies["title"].tolist()[0] == 'A "quoted", title'
    assert data.movies["title"].tolist()[2] == "Café"
    assert data.movies["title"].isna().tolist() == [False, True, False]  # rated, without a title
    assert data.movies["year"].isna().tolist() == [False, True, True]


FORMS = {
    "plain": train,
    "no final newline": train.rstrip("\n"),
    "CRLF": train.replace("\n", "\r\n"),
    "header": "user_id movie_id rating date\n" + train,
    "byte order mark": "\ufeff" + train,
    "empty lines at the end": train + "\n\n",
    "dates without dashes": train.replace("-", ""),
    "commas and spaces": train.replace(" ", ", "),
    "commas": train.replace(" ", ","),
    "tabs": train.replace(" ", "\t"),
    "double colons": train.replace(" ", "::"),
    "5.0": train.replace(" 5 ", " 5.0 "),
    "MovieLens header": (
        "movieId,userId,rating,timestamp\n"
        "8,7,5,1126000000\n72,7,3,1126051200\n8,30,4,1075500000\n72,1000000,1,1052100000\n"
    ),
    "other people's words": "Customer ID,Item,Stars,Time\n" + train.replace(" ", ","),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_forms_of_the_same_ratings(tmp_path, text):
    path = tmp_path / "ratings.txt"
    path.write_bytes(text.encode())
    ratings = read_ratings(path)
    assert ratings["user_id"].tolist() == [7, 7, 30, 1000000]
    assert ratings["movie_id"].tolist() == [8, 72, 8, 72]
    assert ratings["rating"].tolist() == [5, 3, 4, 1]
    assert str(ratings["date"].iloc[0])[:7] == "2005-09"


def test_ratings_without_dates(tmp_path):
    (tmp_path / "ratings.txt").write_text("1 2 3.5\n1 3 4\n")
    assert list(read_ratings(tmp_path / "ratings.txt")) == ["user_id", "movie_id", "rating"]


@pytest.mark.parametrize(
    "text, where, what",
    [
        ("", ":1", "empty"),
        (train + "7 9\n", ":5", "2 fields"),
        (train + "7 9 3 2005-01-01 5\n", ":5", "5 fields"),
        (train + "7 9 good 2005-01-01\n", ":5", "not a number"),
        (train + "7 9 6 2005-01-01\n", ":5", "off the scale"),
        (train + "7 9 0 2005-01-01\n", ":5", "off the scale"),
        (train + "7 9 nan 2005-01-01\n", ":5", "not a number"),
        (train + "7 9 \uff14 2005-01-01\n", ":5", "not a number"),
        (train + "7 99999999999999999999 4 2005-01-01\n", ":5", "18 digits"),
        ("1:\n7,5,2005-01-01\n7,3\n", ":3", "2 fields"),
        ("1:\n7,5,2005-01-01\n2:\n7,9,2005-01-01\n", ":4", "off the scale"),
        ("1:\n7,5,2005-01-01\nx:\n7,4,2005-01-01\n", ":3", "a movie is named"),
        ("1:\n7,5,2005-01-01\n8,5,\n", ":3", "date"),
        ("1:\n7,5,2005-01-01\n7,4,2005-01-02\n", "lines 2 and 3", "both rate movie 1 by user 7"),
        ("1:\n2:\n", "", "only a header"),
        (train + "7 x 3 2005-01-01\n", ":5", "movie_id is not a whole number"),
        (train + "7 9 3 2005-1", ":5", "date"),
        (train + "7 8 4 2005-01-01\n", "lines 1 and 5", "both rate movie 8 by user 7"),
        ("user_id movie_id rating date\n", "", "only a header"),
        ("a b c d\n1 2 3 2005-01-01\n", ":1", "header names no"),
        ("user,movie,stars,Rating\n1,2,3,4\n", ":1", "'stars' and 'Rating' both mean rating"),
        ("user,movie,rating,rating\n1,2,3,4\n", ":1", "'rating' and 'rating' both mean rating"),
        ("user,movie,imdb_rating\n1,2,3\n", ":1", "header names no rating"),
    ],
)
def test_bad_files_name_file_line_and_fault(tmp_path, text, where, what):
    path = tmp_path / "ratings.txt"
    path.write_text(text)
    with pytest.raises(RatingFileError) as error:
        read_ratings(path)
    message = str(error.value)
    assert "ratings.txt" in message and where in message and what in message


def test_files_of_the_whole_archive_are_put_together(tmp_path):
    first = b"1:\r\n7,5,2005-09-06\r\n30,4,2004-01-31\r\n2:\r\n"
    (tmp_path / "combined_data_1.txt").write_bytes(first)
    (tmp_path / "movie_titles.csv").write_text("1,2003,Dinosaur Planet\n3,1997,Character\n")
    second = "3:\n7,3,2005-09-07\n1000000,1,2003-05-05\n12345678901:\n30,2,2004-02-01"
    (tmp_path / "combined_data_2.txt").write_text(second)
    data = load_ratings(tmp_path, test_size=0.4, random_state=1)
    both = pd.concat([data.train, data.test]).sort_values(["movie_id", "user_id"])
    assert both[["user_id", "movie_id", "rating"]].values.tolist() == [
        [7, 1, 5],
        [30, 1, 4],
        [7, 3, 3],
        [1000000, 3, 1],
        [30, 12345678901, 2],
    ]
    assert data.movies["title"].iloc[0] == "Dinosaur Planet"
    assert str(both["date"].iloc[-1])[:10] == "2004-02-01"
    assert both.dtypes.astype(str).tolist() == ["int64", "int64", "float32", "datetime64[s]"]


def test_missing_files_are_named(folder):
    (folder / "netflix_test.txt").unlink()
    with pytest.raises(FileNotFoundError, match="netflix_test.txt: there is no such file"):
        load_ratings(folder)
    with pytest.raises(
        FileNotFoundError, match="none of 'sample', 'netflix', 'prize' and 'synthetic'"
    ):
        load_ratings("smaple")
    with pytest.raises(IsADirectoryError):
        read_ratings(folder)


def test_a_test_pair_that_train_holds_is_said(folder):
    with (folder / "netflix_test.txt").open("a") as file:
        file.write("7 8 5 2005-09-06\n")
    with pytest.warns(UserWarning, match="netflix_test.txt:3: the first of 1 test pairs"):
        load_ratings(folder)


def test_duplicates_can_be_chosen(folder):
    with (folder / "netflix_train.txt").open("a") as file:
        file.write("7 8 1 2005-09-08\n")
    with pytest.raises(RatingFileError, match="lines 1 and 5"):
        load_ratings(folder)
    assert load_ratings(folder, duplicates="last").matrix("train")[0, 0] == 1
    assert load_ratings(folder, duplicates="mean").matrix("train")[0, 0] == 3
    with pytest.raises(RatingFileError, match="both rate"):
        get_rating_matrix(pd.concat([read_ratings(folder / "netflix_test.txt")] * 2))


@pytest.mark.parametrize(
    "name, text, what",
    [
        ("movie_titles.txt", "8,2004,One\nx,2004,Two\n", "movie_titles.txt:2"),
        ("movie_titles.txt", "", "empty"),
        ("movie_titles.txt", "8,2004\n", "movie_titles.txt:1"),
        ("movie_titles.txt", "x,1999,Foo\n", "movie_titles.txt:1"),
        ("users.txt", "4x\n7\n", "users.txt:1"),
        ("users.txt", "7\n\u00b2\n", "users.txt:2"),
        ("users.txt", "7\nx\n", "users.txt:2"),
        ("users.txt", "", "empty"),
        ("users.txt", "7\n30\n", "netflix_train.txt:4: user 1000000 is not in users.txt"),
    ],
)
def test_bad_companion_files(folder, name, text, what):
    (folder / name).write_text(text)
    with pytest.raises(RatingFileError, match=what):
        load_ratings(folder)


@pytest.mark.parametrize(
    "raw",
    [
        "8,2004,One\n72,NULL,Two, or Three\n",
        "movie_id,year,title\n8,2004,One\n72,NULL,Two, or Three",
        "8,2004,One\r\n72,NULL,Two, or Three\r\n",
    ],
)
def test_forms_of_titles(tmp_path, raw):
    (tmp_path / "titles.txt").write_bytes(raw.encode())
    titles = read_movie_titles(tmp_path / "titles.txt")
    assert titles["title"].tolist() == ["One", "Two, or Three"] and titles[
        "year"
    ].isna().tolist() == [False, True]


def test_titles_in_other_encodings(tmp_path):
    for encoding in ("utf-8", "utf-8-sig", "iso-8859-1"):
        title = "Amélie, ou Le Fabuleux Destin"
        (tmp_path / "titles.txt").write_bytes(f"1,2003,{title}\n".encode(encoding))
        assert read_movie_titles(tmp_path / "titles.txt")["title"][0] == title


def test_an_edited_file_is_read_again(tmp_path):
    path = tmp_path / "ratings.txt"
    path.write_text("1 2 3 2005-01-01\n")
    assert read_ratings(path)["rating"].tolist() == [3]
    path.write_text("1 2 4 2005-01-01\n")
    os.utime(path, ns=(1, 10**18))  # the same size, another time stamp
    assert read_ratings(path)["rating"].tolist() == [4]


def test_other_scales_must_be_declared(tmp_path):
    (tmp_path / "ratings.txt").write_text("1 2 95\n1 3 10\n")
    with pytest.raises(RatingFileError, match="off the scale of 0.5 to 5"):
        read_ratings(tmp_path / "ratings.txt")
    assert read_ratings(tmp_path / "ratings.txt", rating_scale=(1, 100))["rating"].max() == 95


def test_the_split_of_the_sample_is_fixed(sample):
    again = load_ratings("sample")
    other = load_ratings("sample", random_state=1)
    assert again.train.equals(sample.train) and not other.train.equals(sample.train)
    assert analyse_split(sample.train, sample.test).loc["pairs", "both"] == 0


def test_a_missing_sample_is_said_and_not_replaced(tmp_path, monkeypatch):
    import thu_big_data_ml.data.sources as module

    monkeypatch.setattr(module, "data_path", tmp_path)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install"):
        load_ratings("sample")


def test_download(tmp_path, folder):
    class Handler(SimpleHTTPRequestHandler):  # knows no ranges: the whole file comes each time
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = tmp_path / "target"
    target.mkdir()
    (target / ".users.txt.00000000.part").write_text("rubbish from another file")
    with pytest.warns(UserWarning) as warned:
        download_netflix(f"http://127.0.0.1:{server.server_port}/", target)
    said = " ".join(str(w.message) for w in warned)
    assert "netflix_train.txt has 4 lines; the course's file has 6,897,746" in said
    server.shutdown()
    server.server_close()
    assert {p.name for p in target.iterdir()} == {*netflix_files, ".download.lock"}
    assert (target / "users.txt").read_text() == "30\n7\n1000000\n"


def test_a_server_that_is_not_there(tmp_path, monkeypatch):
    import requests

    import thu_big_data_ml.data.download as module

    monkeypatch.setattr(
        module, "_http_session", requests.Session
    )  # without the pauses between tries
    with pytest.raises(ConnectionError, match="Ask the course for the four files"):
        _download_file("http://127.0.0.1:9/users.txt", tmp_path / "users.txt")
    assert not (tmp_path / "users.txt").exists()


def test_synthetic_ratings_are_as_ordered():
    data = synthetic_ratings(500, 400, 30_000, random_state=2)
    assert len(data.train) + len(data.test) == 30_000
    assert set(np.unique(data.train["rating"])) <= {1, 2, 3, 4, 5}
    assert 0.6 < data.best_rmse < 1
    popularity = data.train["movie_id"].value_counts()
    assert popularity.iloc[0] > 5 * popularity.median()  # a long tail
    with pytest.raises(ValueError, match="60 %"):
        synthetic_ratings(10, 10, 90)
