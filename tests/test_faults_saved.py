"Models and checkpoints that are damaged, foreign or hostile: one sentence, or the right answer."

import errno
import hashlib
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from trials import SEED, trials

from thu_big_data_ml import (
    ALSFactorization,
    BaselinePredictor,
    GibbsFactorization,
    ItemCF,
    MatrixFactorizationRegressor,
    NeighborCorrected,
    SGDFactorization,
    UserCF,
    synthetic_ratings,
)
from thu_big_data_ml._array_files import read_arrays, write_arrays
from thu_big_data_ml.estimators import _checkpoints
from thu_big_data_ml.estimators.contract import RatingEstimator
from thu_big_data_ml.factorization import _training

DIGITS = 64  # of the digest, at the end of a file


def sealed(data: bytes) -> bytes:
    "A file with the right digest for whatever it holds, as somebody hostile makes it."
    return data[:-DIGITS] + hashlib.sha256(data[:-DIGITS]).hexdigest().encode()


@pytest.fixture(scope="module")
def data():
    return synthetic_ratings(24, 18, 220, random_state=0)


@pytest.fixture(scope="module")
def texts(data):
    return data.train.assign(user_id="u" + data.train["user_id"].astype(str))


kinds = {
    "biases": BaselinePredictor(),
    "users": UserCF(n_neighbors=5, center="zscore"),
    "all users": UserCF(center="mean"),
    "movies": ItemCF(n_neighbors=4, center="baseline"),
    "als": ALSFactorization(2, n_epochs=3, random_state=0),
    "sgd": SGDFactorization(2, n_epochs=3, random_state=0),
    "adamw": MatrixFactorizationRegressor(
        2, n_epochs=3, device="cpu", random_state=0, train_options=dict(activation="sigmoid")
    ),
    "gibbs": GibbsFactorization(2, time="drift", n_chains=2, n_sweeps=8, random_state=0),
    "corrected": NeighborCorrected(
        NeighborCorrected(ALSFactorization(2, n_epochs=3, random_state=0), n_neighbors=3),
        n_neighbors=4,
    ),
}


@pytest.fixture(scope="module")
def files(data, texts, tmp_path_factory):
    "A file of each kind of model, once it is asked for."
    folder, made = tmp_path_factory.mktemp("models"), {}

    def file(name):
        if name not in made:
            ratings = texts if name in ("users", "als") else data.train
            model = kinds[name].fit(ratings, movies=data.movies)
            made[name] = model.save(folder / f"{name}.npz")
        return made[name]

    return file


def use(model):
    "Ask a model for everything; what it predicts is on its scale."
    users, movies = model.user_ids_, model.movie_ids_
    pairs = pd.DataFrame(
        dict(
            user_id=np.repeat(users[[0, len(users) // 2, -1]], len(movies)),
            movie_id=np.tile(movies, 3),
            date=np.datetime64("2005-06-01"),
        )
    )
    prediction = model.predict(pairs)
    low, high = model.rating_scale_
    assert ((low <= prediction) & (prediction <= high)).all()
    user, movie = users[-1], movies[-1]
    model.recommend(user, n=3)
    model.similar_users(user, n=3)
    model.similar_movies(movie, n=3)
    model.explain(user, movie)
    if hasattr(model, "predict_matrix"):
        model.predict_matrix()
    if hasattr(model, "predict_interval"):
        model.predict_interval(pairs)


def refused(path, load=RatingEstimator.load) -> str | None:
    "What is said of a file, in one sentence with its path; None if it is used, and all is well."
    try:
        with np.errstate(all="ignore"):
            use(load(path))
    except ValueError as error:
        said = str(error)
        assert path.name in said and "Traceback" not in said and len(said) < 900
        return said
    return None


# What was saved


@pytest.mark.parametrize("name", kinds)
def test_a_model_is_the_same_after_a_file(name, files, data, texts, tmp_path):
    ratings = texts if name in ("users", "als") else data.train
    path = files(name)
    again = RatingEstimator.load(path)
    fitted = kinds[name]
    assert np.array_equal(again.predict(ratings), fitted.predict(ratings))
    user, movie = ratings["user_id"].iloc[0], ratings["movie_id"].iloc[0]
    assert again.recommend(user).equals(fitted.recommend(user))
    assert again.explain(user, movie).equals(fitted.explain(user, movie))
    assert again.save(tmp_path / "again.npz").read_bytes() == path.read_bytes()


# Bytes


def test_every_byte_counts(files, tmp_path):
    rng = np.random.default_rng([SEED, 1])
    whole = files("biases").read_bytes()
    path = tmp_path / "model.npz"
    ends = [*range(200), *range(len(whole) - 300, len(whole))]
    some = rng.integers(0, len(whole), trials(100, 20_000)).tolist()
    for at in rng.permutation([*ends, *some])[: trials(150, 20_500)]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="model.npz: (this model is damaged|no model, but)"):
            BaselinePredictor.load(path)


def test_no_part_of_a_file_will_do_and_nothing_may_follow(files, tmp_path):
    rng = np.random.default_rng([SEED, 2])
    whole, path = files("biases").read_bytes(), tmp_path / "model.npz"
    lengths = [
        0,
        1,
        29,
        30,
        43,
        64,
        104,
        len(whole) - 1,
        *rng.integers(0, len(whole), trials(10, 500)),
    ]
    parts = [whole[:n] for n in lengths] + [whole + b"\0", whole + whole, whole[1:]]
    for part in parts:
        path.write_bytes(part)
        with pytest.raises(ValueError, match="model.npz: (this model is damaged|no model, but)"):
            BaselinePredictor.load(path)


def test_bytes_changed_under_a_right_digest_harm_nobody(files, tmp_path):
    rng, path = np.random.default_rng([SEED, 3]), tmp_path / "model.npz"
    for name in trials(["users", "corrected"], list(kinds)):
        whole = files(name).read_bytes()
        for _ in range(trials(12, 1500)):
            changed = bytearray(whole)
            for at in rng.integers(0, len(whole) - DIGITS, rng.integers(1, 4)):
                changed[at] = rng.choice([0, 255, int(rng.integers(256))])
            path.write_bytes(sealed(bytes(changed)))
            refused(path)


# Foreign files


def foreign() -> dict:
    arrays, numpy_file, archive = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(arrays, U=np.ones(3))
    np.save(numpy_file, np.ones(3))
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("settings.json", "{}")
    return {
        "an empty file": b"",
        "zip or .npz": arrays.getvalue(),
        "is damaged": archive.getvalue(),
        "a single array": numpy_file.getvalue(),
        "a pickle": pickle.dumps({"U": 1}),
        "a text ('user_id,movie_id,rating')": b"user_id,movie_id,rating\n1,10,4\n",
        "a picture": b"\x89PNG\r\n\x1a\n" + bytes(50),
        "a web page": b"<!DOCTYPE html><html></html>",
        "nothing but zeros": bytes(1000),
        "compressed": b"\x1f\x8b\x08" + bytes(20),
        "of another kind": bytes(range(129, 256)) * 9,
    }


@pytest.mark.parametrize("seems", foreign())
def test_a_foreign_file_is_told(seems, data, tmp_path):
    path, raw = tmp_path / "some file", foreign()[seems]  # an archive holds the time of day
    path.write_bytes(raw)
    for read in (
        UserCF.load,
        lambda path: ALSFactorization(2, checkpoint=path).fit(data.train),
        lambda path: GibbsFactorization(2, checkpoint=path).fit(data.train),
    ):
        with pytest.raises(ValueError, match=f"some file: .*{re.escape(seems)}"):
            read(path)
        assert path.read_bytes() == raw


def test_what_is_no_file_is_told(tmp_path, data):
    with pytest.raises(IsADirectoryError, match=r"is a folder; name the file of a model"):
        UserCF.load(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"none.npz: there is no such file"):
        UserCF.load(tmp_path / "none.npz")
    if os.name == "posix":
        os.mkfifo(tmp_path / "pipe")
        with pytest.raises(ValueError, match="pipe"):  # and does not wait for ever
            UserCF.load(tmp_path / "pipe")
    model = BaselinePredictor().fit(data.train)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        model.save(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"model\.npz"):
        model.save(tmp_path / "file" / "model.npz")
    assert model.save(tmp_path / "new" / "model.npz").exists()


def test_a_model_of_another_class_is_named(files):
    with pytest.raises(ValueError, match=r"holds a BaselinePredictor, which is not a UserCF; load"):
        UserCF.load(files("biases"))
    assert type(RatingEstimator.load(files("biases"))) is BaselinePredictor


def test_a_model_given_as_checkpoint_is_named(files, data):
    before = files("als").read_bytes()
    for kind in (ALSFactorization, MatrixFactorizationRegressor, GibbsFactorization):
        with pytest.raises(ValueError, match=r"als.npz: a model, no checkpoint"):
            kind(2, random_state=0, checkpoint=files("als")).fit(data.train)
    assert files("als").read_bytes() == before


def test_a_checkpoint_given_as_model_is_named(data, tmp_path):
    path = tmp_path / "training.npz"
    ALSFactorization(2, n_epochs=2, random_state=0, checkpoint=path).fit(data.train)
    with pytest.raises(ValueError, match=r"training.npz: a checkpoint, no model"):
        ALSFactorization.load(path)


# Sizes


def test_sizes_are_compared_before_memory_is_taken(files, tmp_path):
    with pytest.raises(ValueError, match=r"takes [\d,]+ bytes of memory, and 1,000 are allowed"):
        read_arrays(files("biases"), "model", max_bytes=1000)
    whole = files("biases").read_bytes()
    huge = 10**12
    for old, new in (
        (b'["user_bias_", "<f8", [', b'["user_bias_", "<f8", [%d, ' % huge),
        (b'["user_bias_", "<f8", [', b'["user_bias_", "<f8", [0, %d, ' % huge),
        (b'["user_bias_", "<f8"', b'["user_bias_", "<U99999999"'),
        (b'["user_bias_", "<f8", [', b'["user_bias_", "<f8", [-1, '),
        (b'["user_bias_", "<f8", [', b'["user_bias_", "<f8", [true, '),
        (b'["user_bias_", "<f8"', b'["user_bias_", "|O"'),
        (b'["user_bias_"', b'["movie_bias_"'),
    ):
        changed = with_head(whole, lambda head, old=old, new=new: head.replace(old, new, 1))
        (tmp_path / "model.npz").write_bytes(changed)
        assert refused(tmp_path / "model.npz"), (old, new)


def test_a_file_of_holes_is_refused_at_once(files, tmp_path):
    "A terabyte that takes no room on the disk, with a beginning and an end that are right."
    data = files("biases").read_bytes()
    path = tmp_path / "holes.npz"
    with open(path, "wb") as file:
        file.write(data[:-200])
        file.seek(1 << 40)
        file.write(data[-200:])
    began = time.process_time()
    assert "takes 1,099,511,627,976 bytes of memory" in refused(path)
    assert time.process_time() - began < 5  # to read it all takes many minutes


def with_head(data: bytes, change) -> bytes:
    "A file whose settings are others, with sizes and digest to match."
    start = 30 + len("settings.json")
    length = int.from_bytes(data[22:26], "little")
    head = change(data[start : start + length])
    size = len(head).to_bytes(4, "little")
    return sealed(data[:18] + size + size + data[26:start] + head + data[start + length :])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 100_000,
        b'{"kind": "model", "arrays": [], "same": {}, "settings": 1' + b"0" * 5000 + b"}",
        b'{"kind": "model", "arrays": 5, "same": {}, "settings": {}}',
        b'{"kind": "model", "arrays": [[]], "same": {}, "settings": {}}',
        b'{"kind": "model", "arrays": [[5, 5, 5, 5]], "same": {}, "settings": {}}',
        b'{"kind": "model", "arrays": [], "same": {"a": "b"}, "settings": {}}',
        b'{"kind": "model", "arrays": [], "same": [], "settings": {}}',
        b'{"kind": "model", "arrays": [], "same": {}, "settings": {}}',
        b'{"kind": "model", "arrays": [], "same": {}, "settings": {"model": {}}}',
        b'{"kind": {"a": 1}, "arrays": [], "same": {}, "settings": {}}',
        b'{"kind": "model"}',
        b"\xff\xfe",
        b" " * (1 << 23),
    ],
    ids=lambda head: repr(head[:60]),
)
def test_settings_that_are_none_are_refused(head, files, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(with_head(files("biases").read_bytes(), lambda old: head))
    assert refused(path)


# Arrays and settings changed, the digest right


def opened(path) -> tuple[dict, dict]:
    "Arrays and settings by NumPy and JSON alone; an array that stands twice is there twice."
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    head = json.loads(arrays.pop("settings.json"))
    return arrays | {n: arrays[first] for n, first in head["same"].items()}, head["settings"]


def close(path, arrays: dict, settings):
    return write_arrays(path, arrays, settings, "model")


def other_array(rng, array):
    "An array that is another in dtype, shape or values."
    change = rng.integers(8)
    if change == 0:
        others = ["U7"] if array.dtype.kind == "U" else ["f8", "f4", "f2", "i8", "i4", "u1", "?"]
        return array.astype(rng.choice(others))
    if change == 1:
        return array[: len(array) // 2] if array.ndim else array[None]
    if change == 2:
        return np.concatenate([array, array]) if array.ndim else array
    if change == 3:
        return array.reshape(-1)[:0].reshape((0,) * max(array.ndim, 1))
    if change == 4:
        return array.reshape(rng.permutation(array.shape).tolist())
    if change == 5:
        return array[::-1].copy() if array.ndim else array
    array = array.copy()
    kind = array.dtype.kind
    extremes = {
        "f": [np.nan, np.inf, -np.inf, 1e38, -1.0, 0.0, 6e4],
        "u": [0, 1, 255],
        "b": [True, False],
        "i": [-1, 2**31 - 1, -(2**31), 10**6, 0, 1],
        "U": ["", "\0", "~~~~", "0"],
        "M": [np.datetime64("NaT"), np.datetime64("9999-01-01"), np.datetime64("1000-01-01")],
    }[kind]
    with np.errstate(all="ignore"):
        value = np.array(extremes[rng.integers(len(extremes))]).astype(array.dtype)
    if array.size and change == 6:
        array.reshape(-1)[rng.integers(array.size)] = value
    else:
        array[...] = value
    return array


JUNK = (
    None, True, False, -1, 0, 1, 10**6, 2**63, 10**40, 0.5, -1e300, float("nan"), float("inf"),
    "", "x", "cuda", "__class__", [], [1], [1, 2], [5, 1], [float("nan"), 1], {},
    {"array": "matrix_.data"}, {"array": "none"}, {"dict": {}}, {"dict": {"a": {"dict": {}}}},
    {"csr": "matrix_", "shape": [1, 1]}, {"part": {}}, {"model": {}}, {"table": {}},
)  # fmt: skip


def leaves(settings, at=()):
    "The places of all values in nested settings."
    yield at
    if isinstance(settings, dict):
        for key in settings:
            yield from leaves(settings[key], (*at, key))


def changed_settings(rng, settings):
    "Settings of which one value is another, is missing, or stands under another name."
    settings = json.loads(json.dumps(settings))
    places = list(leaves(settings))[1:]
    *path, key = places[rng.integers(len(places))]
    inner = settings
    for step in path:
        inner = inner[step]
    change = rng.integers(4)
    if change == 0:
        del inner[key]
    elif change == 1:
        names = ["__class__", "__dict__", "predict", "_score", "extra_", "_fit", "params_", key]
        inner[names[rng.integers(len(names))]] = inner[key]
    else:
        inner[key] = JUNK[rng.integers(len(JUNK))]
    return settings


@pytest.mark.parametrize("name", kinds)
def test_changed_content_under_a_right_digest_harms_nobody(name, files, tmp_path):
    number = list(kinds).index(name)
    arrays, settings = opened(files(name))
    path, said = tmp_path / "model.npz", []
    for n in range(trials(8, 2000)):
        rng = np.random.default_rng([SEED, 4, number, n])
        held, told = dict(arrays), settings
        for _ in range(rng.integers(1, 3)):
            one = rng.choice(list(held))
            what = rng.integers(10)
            if what < 5:
                held[one] = other_array(rng, held[one])
            elif what == 5:
                del held[one]
            elif what == 6:
                held["extra_" + one] = held[one]
            else:
                told = changed_settings(rng, told)
        close(path, held, told)
        said.append(refused(path))
    assert sum(text is not None for text in said) > len(said) / 4


@pytest.mark.parametrize(
    ("name", "array", "change", "sentence"),
    [
        ("users", "by_column_.indices", lambda a: np.full_like(a, 2**30), "by_column_.indices"),
        ("users", "by_column_.indices", lambda a: np.full_like(a, -1), "by_column_.indices"),
        ("users", "by_column_.indptr", lambda a: a[::-1].copy(), "by_column_.indptr"),
        ("users", "matrix_.indices", lambda a: a[::-1].copy(), "ascending"),
        ("users", "similarity_", lambda a: a[:-1], "similarity_ has shape"),
        ("users", "similarity_", lambda a: a * np.float32(np.nan), "similarity_"),
        ("users", "similarity_", lambda a: a.astype("f8"), "array of f4"),
        ("users", "user_ids_", lambda a: a[::-1].copy(), "user_ids_ must be ascending"),
        ("users", "titles_", lambda a: a[1:], "titles_ has shape"),
        ("als", "U_", lambda a: a[:, :1].copy(), "V_ has shape"),
        ("als", "U_", lambda a: a * np.float32(np.inf), "U_ has values"),
        ("corrected", "neighbors_", lambda a: a + np.int32(1000), "neighbors_ has values"),
        ("corrected", "residuals_", lambda a: a[1:], "residuals_ has shape"),
        ("gibbs", "samples_.time.starts", lambda a: a + 10**6, "starts"),
        ("gibbs", "samples_.time.keys", lambda a: a[::-1].copy(), "keys must be ascending"),
        ("gibbs", "samples_.V", lambda a: a[:, :1], "samples_.V has shape"),
        ("gibbs", "samples_.alpha", lambda a: 0 * a, "samples_.alpha"),
    ],
)
def test_what_an_index_or_a_shape_must_be_is_said(name, array, change, sentence, files, tmp_path):
    arrays, settings = opened(files(name))
    with np.errstate(all="ignore"):
        arrays[array] = change(arrays[array])
    path = close(tmp_path / "model.npz", arrays, settings)
    said = refused(path)
    assert said and sentence in said and "fit it again" in said


def test_no_module_is_imported_and_no_attribute_set_that_a_model_does_not_have(files, tmp_path):
    arrays, settings = opened(files("biases"))
    path = tmp_path / "model.npz"
    for module, kind in (
        ("antigravity", "x"),
        ("thu_big_data_ml.__main__", "main"),
        ("thu_big_data_ml.estimators.contract", "RatingEstimator"),
        ("sklearn.linear_model._base", "LinearRegression"),
        ("builtins", "object"),
        ("os", "system"),
    ):
        told = json.loads(json.dumps(settings))
        told["model"] |= {"module": module, "class": kind}
        assert refused(close(path, arrays, told)), kind
    assert "antigravity" not in sys.modules
    for name in ("__class__", "predict", "_score", "note", "note_"):
        told = json.loads(json.dumps(settings))
        told["model"]["learned"][name] = 1
        assert name in refused(close(path, arrays, told))
        told = json.loads(json.dumps(settings))
        told["model"]["parameters"][name] = 1
        assert name in refused(close(path, arrays, told))
    arrays, settings = opened(files("als"))
    settings["model"]["parameters"]["bias"] = {"table": {}}
    assert "bias must be True or False" in refused(close(path, arrays, settings))


def test_texts_hold_whole_characters(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(TypeError, match="titles holds half a character"):
        write_arrays(path, {"titles": np.array(["\ud969"])}, {}, "model")
    write_arrays(path, {"titles": np.array(["李"])}, {}, "model")
    half = (0xD969).to_bytes(4, "little")
    path.write_bytes(sealed(path.read_bytes().replace("李".encode("utf-32-le"), half)))
    with pytest.raises(ValueError, match="a.npz: 'titles' has values that its dtype does not have"):
        read_arrays(path, "model")


def test_models_are_not_nested_without_end(files, tmp_path):
    arrays, settings = opened(files("corrected"))
    inner = settings["model"]["parameters"]["estimator"]
    for _ in range(50):
        around = json.loads(json.dumps(settings["model"]["parameters"])) | {"estimator": inner}
        told = {k: settings["model"][k] for k in ("class", "module")}
        inner = {"model": told | {"parameters": around}}
    settings["model"]["parameters"]["estimator"] = inner
    assert "deep" in refused(close(tmp_path / "model.npz", arrays, settings))


# What a file says of where it was made


def test_no_path_of_the_machine_is_kept(data, tmp_path):
    secret = tmp_path / "secret" / "training.npz"
    model = ALSFactorization(2, n_epochs=2, random_state=0, checkpoint=secret)
    for one in (model, NeighborCorrected(model, n_neighbors=3)):
        path = one.fit(data.train).save(tmp_path / "model.npz")
        assert b"secret" not in path.read_bytes()
        again = RatingEstimator.load(path)
        assert again.get_params().get("checkpoint") is None
        assert np.array_equal(again.predict(data.test), one.predict(data.test))


def test_a_model_fitted_on_a_gpu_is_used_without_one(files, data, texts, tmp_path):
    arrays, settings = opened(files("users"))
    settings["model"]["parameters"]["device"] = "cuda:250"
    settings["model"]["learned"]["device_"] = "cuda:250"
    again = UserCF.load(close(tmp_path / "model.npz", arrays, settings))
    assert again.device is None and again.params_["device"] is None and again.device_ == "cpu"
    assert np.array_equal(again.predict(texts), kinds["users"].predict(texts))


def test_a_file_of_another_version_is_loaded_if_it_fits(files, tmp_path):
    arrays, settings = opened(files("biases"))
    settings["version"] = "9.9.9"
    path = close(tmp_path / "model.npz", arrays, settings)
    assert refused(path) is None
    arrays.pop("user_bias_")
    assert "written by version 9.9.9" in refused(close(path, arrays, settings))


def test_what_cannot_be_loaded_is_not_saved(data, tmp_path):
    model = BaselinePredictor().fit(data.train)
    model.note = "mine"
    with pytest.raises(ValueError, match="note is nothing that a BaselinePredictor learns"):
        model.save(tmp_path / "model.npz")
    del model.note
    model.user_bias_ = model.user_bias_ * np.nan
    with pytest.raises(ValueError, match="user_bias_ has values"):
        model.save(tmp_path / "model.npz")
    assert list(tmp_path.iterdir()) == []


# Checkpoints

trained = {
    "als": ALSFactorization(2, n_epochs=25, random_state=0),
    "sgd": SGDFactorization(2, n_epochs=25, random_state=0),
    "adamw": MatrixFactorizationRegressor(2, n_epochs=25, device="cpu", random_state=0),
    "batches": MatrixFactorizationRegressor(
        2, n_epochs=12, batch_size=64, device="cpu", random_state=0
    ),
    "gibbs": GibbsFactorization(2, time="drift", n_chains=1, n_sweeps=24, random_state=0),
}


def with_checkpoint(name, path):
    return clone(trained[name]).set_params(checkpoint=path)


@pytest.mark.parametrize("name", trials(["als", "adamw", "gibbs"], list(trained)))
def test_a_changed_checkpoint_is_refused_or_harms_nobody(name, data, tmp_path):
    path, number = tmp_path / "training.npz", list(trained).index(name)
    with_checkpoint(name, path).fit(data.train)
    whole = path.read_bytes()
    arrays, settings = opened(path)
    refusals = 0
    for n in range(trials(4, 1500)):
        rng = np.random.default_rng([SEED, 5, number, n])
        held, told = dict(arrays), settings
        one = rng.choice(list(held))
        change = rng.integers(4)
        if change == 0:
            del held[one]
        elif change == 1:
            told = changed_settings(rng, told)
        else:
            held[one] = other_array(rng, held[one])
        write_arrays(path, held, told, "checkpoint")
        before = {file: file.read_bytes() for file in tmp_path.glob("training*.npz")}
        try:
            with np.errstate(all="ignore"):
                use(with_checkpoint(name, path).fit(data.train))
        except FloatingPointError:
            refusals += 1
        except ValueError as error:
            refusals += 1
            named = [file for file in before if str(file) in str(error)]
            assert named, error
            assert named[0].read_bytes() == before[named[0]]  # refused, so not overwritten
    assert refusals
    path.write_bytes(whole)
    path.with_suffix(".refit.npz").unlink(missing_ok=True)
    again = with_checkpoint(name, path).fit(data.train)
    assert np.array_equal(again.predict(data.test), trained_alone(name, data).predict(data.test))


alone: dict = {}


def trained_alone(name, data):
    "The model that no file had to do with."
    if name not in alone:
        alone[name] = clone(trained[name]).fit(data.train)
    return alone[name]


@pytest.mark.parametrize("name", ["als", "gibbs"])
def test_a_damaged_checkpoint_is_left_as_it_is(name, data, tmp_path):
    path = tmp_path / "training.npz"
    with_checkpoint(name, path).fit(data.train)
    whole, rng = path.read_bytes(), np.random.default_rng([SEED, 6])
    for _ in range(trials(10, 500)):
        damaged = bytearray(whole[: rng.integers(1, len(whole) + 1)])
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"training.npz.*left as it is; to begin anew, name"):
            with_checkpoint(name, path).fit(data.train)
        assert path.read_bytes() == damaged


@pytest.mark.parametrize("name", ["adamw", "gibbs"])
def test_a_disk_that_is_full_does_not_end_a_training(name, data, tmp_path, monkeypatch):
    path, calls = tmp_path / "training.npz", []
    real = _checkpoints.write_arrays

    def write(*args):
        calls.append(args)
        if len(calls) == 1:
            return real(*args)
        raise OSError(errno.ENOSPC, f"{path}: cannot be written, the disk is full.")

    monkeypatch.setattr(_checkpoints, "write_arrays", write)
    with pytest.warns(UserWarning, match=r"training.npz.*disk is full.*goes on") as said:
        model = with_checkpoint(name, path).fit(data.train)
    files = {warning.filename for warning in said}
    assert files == {__file__} and len(calls) > 1
    assert np.array_equal(model.predict(data.test), trained_alone(name, data).predict(data.test))
    monkeypatch.undo()
    again = with_checkpoint(name, path).fit(data.train)  # from the last good one
    assert np.array_equal(again.predict(data.test), model.predict(data.test))


def test_ctrl_c_with_a_checkpoint_that_cannot_be_written_says_so(data, tmp_path, monkeypatch):
    def write(*args):
        raise OSError(errno.EACCES, "may not be written.")

    real = _training.run_epoch

    def run_epoch(solver, number, *args):
        if number == 3:
            signal.raise_signal(signal.SIGINT)
        return real(solver, number, *args)

    monkeypatch.setattr(_checkpoints, "write_arrays", write)
    monkeypatch.setattr(_training, "run_epoch", run_epoch)
    with (
        pytest.warns(UserWarning, match="may not be written"),
        pytest.raises(KeyboardInterrupt) as e,
    ):
        with_checkpoint("sgd", tmp_path / "training.npz").fit(data.train)
    assert "after epoch 4" in str(e.value) and "nothing is kept" in str(e.value)


def test_a_longer_training_is_not_taken_for_a_shorter_one(data, tmp_path):
    path = tmp_path / "training.npz"
    with_checkpoint("als", path).set_params(validation_fraction=0).fit(data.train)
    with pytest.raises(ValueError, match=r"training.npz is of a longer training: it has 25 epochs"):
        with_checkpoint("als", path).set_params(validation_fraction=0, n_epochs=9).fit(data.train)


def test_two_trainings_do_not_overwrite_each_other(data, tmp_path, monkeypatch):
    path, real = tmp_path / "training.npz", _training.run_epoch
    other = ALSFactorization(3, n_epochs=10, validation_fraction=0, checkpoint=path)

    def run_epoch(solver, number, *args):
        if number == 15:
            with monkeypatch.context() as patch:
                patch.setattr(_training, "run_epoch", real)
                path.unlink()
                other.fit(data.train)
        return real(solver, number, *args)

    monkeypatch.setattr(_training, "run_epoch", run_epoch)
    with pytest.warns(UserWarning, match="another training has written this checkpoint"):
        model = with_checkpoint("sgd", path).set_params(validation_fraction=0).fit(data.train)
    assert len(model.history_) == 25
    monkeypatch.undo()
    assert len(other.fit(data.train).history_) == 10  # its file is its own


def test_files_beside_a_checkpoint_have_its_whole_name(tmp_path):
    names = {_checkpoints.beside(tmp_path / n, "refit").name for n in ("a.1", "a.2", "a.npz", "a")}
    assert names == {"a.1.refit.npz", "a.2.refit.npz", "a.refit.npz"}


KILLED = """
import sys
import test_faults_saved as faults
name, path = sys.argv[1:]
data = faults.synthetic_ratings(24, 18, 220, random_state=0)
print("started", flush=True)
faults.with_checkpoint(name, path).fit(data.train)
"""


@pytest.mark.parametrize("name", trials(["adamw"], list(trained)))
def test_trainings_killed_at_random_moments_end_as_if_nothing_had_happened(name, data, tmp_path):
    path, tests = tmp_path / "training.npz", os.path.dirname(__file__)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    rng = np.random.default_rng([SEED, 7, list(trained).index(name)])
    command = [sys.executable, "-W", "error::UserWarning", "-c", KILLED, name, str(path)]
    for _ in range(trials(1, 30)):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        process.wait()
        process.stdout.close()
    resumed = with_checkpoint(name, path).fit(data.train).predict(data.test)
    assert np.array_equal(resumed, trained_alone(name, data).predict(data.test))


# Bounds


@pytest.mark.skipif(os.environ.get("FAULTS") != "long", reason="kernels take minutes to compile")
def test_kernels_stay_within_their_arrays(tmp_path):
    "The same hostile files, where every index of every kernel is checked."
    environment = os.environ | {
        "NUMBA_BOUNDSCHECK": "1",
        "NUMBA_CACHE_DIR": str(tmp_path),
        "FAULTS": "short",
        "FAULTS_SEED": str(SEED + 1),
    }
    chosen = "right_digest or right_index or same_after_a_file or changed_checkpoint"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        chosen,
        __file__,
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]
