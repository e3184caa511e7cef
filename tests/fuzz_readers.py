"""A coverage-guided fuzzer over the readers: whatever a file holds, it is read or refused by name.

Run with `pip install atheris; python tests/fuzz_readers.py ratings -max_total_time=300`; `titles`
and `arrays` are the other readers. An input that raises anything else is written to `crash-*`.
"""

import hashlib
import sys
import tempfile
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["thu_big_data_ml"]):
    from thu_big_data_ml import _array_files
    from thu_big_data_ml.data.errors import RatingFileError
    from thu_big_data_ml.data.files import read_ratings
    from thu_big_data_ml.data.titles import read_movie_titles

folder = Path(tempfile.mkdtemp())
seeds = dict(
    ratings=[
        b"7 8 5 2005-09-06\n7 72 3 2005-09-07\n",
        b"8:\n7,5,2005-09-06\n72:\n7,3,2005-09-07\n",
        b"userId,movieId,rating,timestamp\n1,31,2.5,1260759144\n",
        b"1::1193::5::978300760\r\n",
        b"196\t242\t3\t881250949\n",
    ],
    titles=[
        b"1,2003,Dinosaur Planet\n4388,NULL,Ancient Civilizations, \xe9\n",
        b'movieId,title,genres\n11,"American President, The (1995)",Comedy\n',
        b"1::Toy Story (1995)::Animation\n",
    ],
)


def read_text(reader, data: bytes):
    "Read a file of these bytes; a refusal names the file."
    path = folder / "file.txt"
    path.write_bytes(data)
    try:
        reader(path)
    except RatingFileError as error:
        assert str(path) in str(error), error
        assert len(str(error)) < 1000, "a line is quoted whole"


def arrays_of(data: bytes):
    "Read a file of arrays whose digest is right, whatever the rest is."
    path, told = folder / "file.npz", data + _array_files.TAIL
    path.write_bytes(told + hashlib.sha256(told).hexdigest().encode())
    try:
        _array_files.read_arrays(path, "model", 1 << 28)
    except ValueError as error:
        assert str(path) in str(error), error


def seed_of_arrays() -> bytes:
    "A file of arrays without its tail."
    path = folder / "seed.npz"
    arrays = dict(a=np.arange(6.0).reshape(2, 3), b=np.array(["x", "yz"]), c=np.zeros((0, 2), "i4"))
    _array_files.write_arrays(path, arrays, dict(n=[1, None, "\u00e9"]), "model")
    return path.read_bytes()[: -_array_files.DIGITS - len(_array_files.TAIL)]


readers = dict(
    ratings=lambda data: read_text(read_ratings, data),
    titles=lambda data: read_text(read_movie_titles, data),
    arrays=arrays_of,
)

if __name__ == "__main__":
    name = sys.argv.pop(1)
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds.get(name) or [seed_of_arrays()]):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([*sys.argv, str(corpus)], readers[name])
    atheris.Fuzz()
