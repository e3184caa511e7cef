"Disks that are full, files that are damaged, processes that are killed: nothing is lost or wrong."

import json
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import joblib
import numpy as np
import pandas as pd
import pytest
from trials import SEED, trials

from thu_big_data_ml._array_files import read_arrays, write_arrays
from thu_big_data_ml._cache import BACKEND, memory_of
from thu_big_data_ml._files_and_devices import data_folder, write_whole
from thu_big_data_ml.data import files
from thu_big_data_ml.help import get_device, joblib_memory

try:
    import resource
except ImportError:
    resource = None

posix = pytest.mark.skipif(os.name != "posix", reason="needs fork, signals and named pipes")
root = Path(__file__).resolve().parents[1]


def table(n):
    "What a remembered function returns in these tests: a table like that of a rating file."
    return pd.DataFrame(
        dict(
            user_id=np.arange(n),
            rating=np.full(n, 3.5, np.float32),
            date=np.full(n, "2005-09-06", "datetime64[s]"),
            title=["Smokey Joe's Café"] * n,
        )
    )


def same(a, b) -> bool:
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    return True


@pytest.fixture
def entry(tmp_path):
    "A remembered function with one result, and the file of that."
    joblib.memory._FUNCTION_HASHES.clear()  # as in a new process
    remembered = memory_of(tmp_path / "cache").cache(table)
    remembered(5)
    [path] = tmp_path.rglob("result.npz")
    return remembered, path


def noticed(remembered, path) -> bool:
    "Whether a bad entry is told with its path, computed anew and replaced."
    with pytest.warns(UserWarning) as said:
        assert same(remembered(5), table(5))
    assert len(said) == 1 and str(path) in str(said[0].message), [str(w.message) for w in said]
    assert said[0].filename == __file__
    return sound(remembered)


def sound(remembered) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return remembered.check_call_in_cache(5) and same(remembered(5), table(5))


# Entries of the cache


def test_a_flipped_bit_anywhere_is_noticed(entry):
    remembered, path = entry
    good = path.read_bytes()
    rng = np.random.default_rng([SEED, 1])
    ends = [
        *range(0, 60, 11),
        *range(len(good) - 140, len(good), 19),
    ]
    for place in [*ends, *rng.integers(0, len(good), trials(20, 2000))]:
        bad = bytearray(good)
        bad[place] ^= 1 << rng.integers(8)
        path.write_bytes(bad)
        assert noticed(remembered, path), place


def test_a_shorter_or_longer_entry_is_noticed(entry):
    remembered, path = entry
    good = path.read_bytes()
    rng = np.random.default_rng([SEED, 2])
    for length in [0, 1, 30, len(good) - 1, *rng.integers(2, len(good), trials(12, 500))]:
        path.write_bytes(good[:length])
        assert noticed(remembered, path), length
    for more in (b"\0", b"\n", good):
        path.write_bytes(good + more)
        assert noticed(remembered, path)


class Code:
    def __reduce__(self):
        return os.mkdir, ("code ran from the cache",)


def test_foreign_files_are_noticed(entry, tmp_path, monkeypatch):
    remembered, path = entry
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numpy.npz").touch()
    np.savez(tmp_path / "numpy.npz", a=np.array([Code()], object))
    write_arrays(tmp_path / "model.npz", {}, {}, "model")
    strangers = [
        pickle.dumps(Code()),
        pickle.dumps(table(5)),
        (tmp_path / "numpy.npz").read_bytes(),
        (tmp_path / "model.npz").read_bytes(),
        b"<!doctype html>",
        bytes(5000),
        "texts\n".encode("utf-16"),
    ]
    for content in strangers:
        path.write_bytes(content)
        assert noticed(remembered, path)
    assert not Path("code ran from the cache").exists()


def test_an_entry_of_another_call_is_noticed(entry, tmp_path):
    remembered, path = entry
    remembered(6)
    [other] = set(tmp_path.rglob("result.npz")) - {path}
    path.write_bytes(other.read_bytes())
    assert noticed(remembered, path)


def mutated(tree, rng):
    "A tree with one node exchanged, dropped or doubled."
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        n = int(rng.integers(len(tree)))
        how = rng.random()
        if how < 0.1:
            return tree[:n] + tree[n + 1 :]
        if how < 0.2:
            return [*tree, tree[n]]
        return [*tree[:n], mutated(tree[n], rng), *tree[n + 1 :]]
    odd = [None, True, -1, 2**70, "x", "0", "9", [], {}, ["plain", []], ["array", "1"], 1e300]
    return odd[rng.integers(len(odd))]


def test_a_tree_from_a_stranger_makes_tables_or_a_warning(entry):
    remembered, path = entry
    arrays, settings = read_arrays(path, "result")
    rng = np.random.default_rng([SEED, 3])
    n_refused = 0
    for _ in range(trials(50, 1000)):
        value = mutated(settings["value"], rng)
        write_arrays(path, arrays, settings | dict(value=value), "result")  # with a right digest
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            result = remembered(5)
        ours = [w for w in said if str(path) in str(w.message)]
        n_refused += len(ours)
        assert not ours or same(result, table(5))
    assert n_refused > 10
    for deep in (["list", []], dict(a=[])):
        for _ in range(300):
            deep = ["list", [deep]]
        write_arrays(path, arrays, settings | dict(value=deep), "result")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            remembered(5)
    for wrong in (None, [], "x", dict(of=settings["of"]), dict(value=["plain", 1])):
        write_arrays(path, arrays, wrong, "result")
        assert noticed(remembered, path)


@posix
def test_what_is_no_file_stands_in_for_no_entry_and_is_replaced(entry, tmp_path):
    remembered, path = entry
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    for place in (
        lambda: os.mkfifo(path),
        lambda: path.mkdir(),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(precious),
        lambda: path.symlink_to(path.name),
    ):
        path.unlink()
        place()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert same(remembered(5), table(5))
        assert sound(remembered) and path.is_file() and not path.is_symlink()
    assert precious.read_text() == "kept"


def test_damaged_notes_beside_the_entries_harm_nothing(entry):
    remembered, path = entry
    rng = np.random.default_rng([SEED, 4])
    notes = [path.parent.parent / "func_code.py", path.parent / "metadata.json"]
    good = [note.read_bytes() for note in notes]
    for _ in range(trials(12, 300)):
        for note, content in zip(notes, good, strict=True):
            bad = bytearray(content)
            bad[rng.integers(len(bad))] = rng.integers(256)
            note.parent.mkdir(exist_ok=True)
            note.write_bytes(bad[: rng.integers(len(bad) + 1)])
        joblib.memory._FUNCTION_HASHES.clear()  # as in a new process
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert same(remembered(5), table(5)) and same(remembered(5), table(5))


def test_results_come_back_exactly(tmp_path):
    rng = np.random.default_rng([SEED, 5])
    frame = table(4).set_index(pd.Index([7, 3, 3, -1], name="id"))
    frame["objects"] = pd.Series(["a\0", None, np.nan, "\ud800"], frame.index, object)
    frame["strings"] = pd.array(["a", pd.NA, "", "é"], "string")
    frame["kind"] = pd.Categorical(["b", "a", None, "b"], ["b", "a"], ordered=True)
    frame.attrs["source"] = "u.txt"
    values = [
        frame,
        frame[["rating", "rating", "title"]],
        frame.iloc[:0],
        frame[[]],
        frame["title"],
        pd.Series([1, 2], pd.date_range("2005", periods=2, freq=None, unit="s")._with_freq(None)),
        pd.DataFrame(rng.normal(size=(3, 2))),
        (1, [2.5, (None, True)], {"a": "é", 3: np.float32(0.1), (1, "b"): -(10**30)}),
        dict(score=float("nan"), least=5e-324, most=float("-inf"), zero=-0.0),
        [np.int8(3), np.datetime64("NaT", "D"), np.bool_(True), np.str_("x")],
        np.asfortranarray(rng.normal(size=(3, 4)).astype(np.float16)),
        [np.empty((0, 3), np.int32), np.array(7, np.uint64), np.array(["ab", "c"])],
        [rng.random(5)[::-2], rng.random((3, 3)).T, rng.random(3) < 0.5],
    ]
    for n, value in enumerate(values):
        remembered = memory_of(tmp_path / str(n)).cache(identity, ignore=["value"])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            remembered(value)
            assert remembered.check_call_in_cache(value), n
            equal(remembered(value), value)


def identity(value):
    return value


def equal(a, b):
    assert type(a) is type(b)
    if isinstance(a, pd.DataFrame | pd.Series):
        how = pd.testing.assert_frame_equal if a.ndim == 2 else pd.testing.assert_series_equal
        how(a, b, check_exact=True, check_freq=True)
        assert a.attrs == b.attrs and type(a.index) is type(b.index)
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            equal(x, y)
    elif isinstance(a, dict):
        equal(list(a.items()), list(b.items()))
    elif isinstance(a, np.ndarray | np.generic):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()
    else:
        assert repr(a) == repr(b)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (joblib.Memory(None), "joblib.memory.Memory"),
        (dict(a=[{1, 2}]), r"\['a'\]\[0\] is a builtins.set"),
        (np.array([1j]), "complex128"),
        (pd.DataFrame(dict(a=[[1]])), r"\['a'\] holds a builtins.list"),
        (pd.DataFrame(dict(a=pd.array([1, None], "Int64"))), "Int64"),
        (pd.DataFrame(index=pd.MultiIndex.from_tuples([(1, 2)])), "MultiIndex"),
        (pd.Series([1], pd.date_range("2005", periods=1, freq="D")), "freq"),
        (np.array([1], ">i4"), ">i4"),
        ("x" * (5 << 20), "settings of"),
    ],
)
def test_what_cannot_be_kept_is_returned_and_told(tmp_path, value, kind):
    remembered = memory_of(tmp_path).cache(identity, ignore=["value"])
    with pytest.warns(UserWarning, match=f"identity is not remembered: .*{kind}") as said:
        assert remembered(value) is value and remembered(value) is value
    assert len(said) == 1 and said[0].filename == __file__
    assert not list(tmp_path.rglob("result.npz")) and not list(tmp_path.rglob("*.json"))


def test_pickles_of_older_versions_are_not_looked_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    remembered = memory_of(tmp_path / "cache").cache(table)
    remembered(5)
    [path] = tmp_path.rglob("result.npz")
    path.unlink()
    path.with_name("output.pkl").write_bytes(pickle.dumps(Code()))
    assert same(remembered(5), table(5)) and not Path("code ran from the cache").exists()


def test_a_cache_entry_runs_no_code(tmp_path, monkeypatch):
    code = f"""if True:
        import pathlib, pickle
        from thu_big_data_ml import read_ratings
        path = pathlib.Path(r"{tmp_path}") / "u.txt"
        path.write_text("1 10 4\\n2 10 3\\n")
        read_ratings(path)
        class Code:
            def __reduce__(self): return print, ("code ran from the cache",)
        entries = [p for p in (pathlib.Path(r"{tmp_path}") / "data").rglob("*") if p.is_file()]
        for entry in entries:
            entry.write_bytes(pickle.dumps(Code()))
            entry.with_name("output.pkl").write_bytes(pickle.dumps(Code()))
        print(len(entries) > 0, len(read_ratings(path)))"""
    monkeypatch.setenv("THU_BIG_DATA_ML_DATA", str(tmp_path / "data"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "True 2", done.stdout + done.stderr
    assert "a pickle" in done.stderr and "Traceback" not in done.stderr


def test_the_cache_is_cleared_and_kept_small(tmp_path, caplog):
    memory = memory_of(tmp_path)
    remembered = memory.cache(table)
    for n in range(4):
        remembered(n)
        [path] = [p for p in tmp_path.rglob("result.npz") if p.stat().st_atime > 1e9]
        os.utime(path, (n + 1, path.stat().st_mtime))  # read long ago, one after another
    remembered(0)  # read again
    memory.reduce_size(items_limit=2)
    kept = [remembered.check_call_in_cache(n) for n in range(4)]
    assert kept == [True, False, False, True]
    memory.clear()
    assert not list(tmp_path.rglob("result.npz"))
    memory.clear(warn=False)

    options = dict(bytes_limit=3 << 20)
    small = joblib.Memory(tmp_path / "s", backend=BACKEND, verbose=0, backend_options=options)
    for n in range(4):
        small.cache(np.zeros)(200_000 + n)  # 1.6 MB each
    assert len(list((tmp_path / "s").rglob("result.npz"))) == 1
    with pytest.raises(ValueError, match="mmap_mode"):
        joblib.Memory(tmp_path, backend=BACKEND, mmap_mode="r")


def test_a_memory_of_ones_own_stays_as_it_is(tmp_path):
    own = joblib.Memory(tmp_path, verbose=0)
    assert memory_of(own) is own and memory_of(None).store_backend is None
    with pytest.raises(ValueError, match="memory"):
        memory_of(3)


# Rating files that change


def test_a_file_changed_with_size_and_stamp_kept_is_read_again(tmp_path, monkeypatch):
    parse = memory_of(tmp_path / "cache").cache(files._parse_ratings.func)
    monkeypatch.setattr(files, "_parse_ratings", parse)
    path = tmp_path / "u.txt"
    rng = np.random.default_rng([SEED, 6])
    for stars in rng.integers(1, 6, trials(6, 60)):
        path.write_text(f"1 10 {stars}\n2 10 3\n")
        os.utime(path, ns=(10**18, 10**18))
        assert files.read_ratings(path)["rating"].tolist() == [stars, 3]
    assert len(list(tmp_path.rglob("result.npz"))) <= 5


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "file_digest", lambda path: f"as of {time.time_ns()}")
    path = tmp_path / "u.txt"
    path.write_text("1 10 4\n")
    with pytest.raises(files.RatingFileError, match="changed while it was read"):
        files.read_ratings(path)


# Files written whole


@contextmanager
def small_files(n_bytes: int):
    "A limit on the size of files, which gives errors as a full disk does."
    if resource is None:
        pytest.skip("this platform has no RLIMIT_FSIZE")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("way", [Path.write_bytes, lambda p, b: np.frombuffer(b).tofile(p)])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, way):
    path = tmp_path / "model.npz"
    path.write_text("old")
    with small_files(1000), pytest.raises(OSError) as said, write_whole(path) as unfinished:
        way(unfinished, bytes(80_000))
    sentence = str(said.value)
    assert sentence.startswith(f"{path}: cannot be written, ") and ".part" not in sentence
    assert path.read_text() == "old" and names_in(tmp_path) == ["model.npz"]


@pytest.fixture
def full_disk(tmp_path):
    "A disk of one megabyte."
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        pytest.skip("this platform has no mount")
    if done.returncode:
        pytest.skip("a small disk cannot be mounted here: it takes root on Linux")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_takes_nothing(full_disk):
    path = full_disk / "model.npz"
    path.write_text("old")
    with pytest.raises(OSError, match=f"^{path}: cannot be written, the disk is full. Free"):
        write_arrays(path, dict(a=np.zeros(300_000)), {}, "model")
    assert path.read_text() == "old" and names_in(full_disk) == ["model.npz"]

    remembered = memory_of(full_disk / "cache").cache(np.zeros)
    with pytest.warns(UserWarning, match="the disk is full") as said:
        assert remembered(300_000).sum() == 0 and remembered(300_001).sum() == 0
    assert len(said) == 1 and str(full_disk / "cache") in str(said[0].message)
    assert sum(p.stat().st_size for p in full_disk.rglob("*") if p.is_file()) < 20_000
    assert remembered(10).sum() == 0 and remembered.check_call_in_cache(10)


def test_a_cache_without_a_place_returns_results_and_warns_once(tmp_path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    remembered = memory_of(taken).cache(table)
    with pytest.warns(UserWarning, match="is a file, not a folder. Choose another") as said:
        assert same(remembered(1), table(1)) and same(remembered(2), table(2))
    assert len(said) == 1 and taken.read_text() == "a file"

    remembered = memory_of(tmp_path / "small").cache(table)
    with small_files(1000), pytest.warns(UserWarning, match="files may not grow") as said:
        assert same(remembered(1), table(1)) and same(remembered(2), table(2))
    assert len(said) == 1 and not [p for p in tmp_path.rglob("*") if p.suffix == ".part"]

    remembered = memory_of(tmp_path / "gone").cache(table)
    for _ in range(2):
        assert same(remembered(1), table(1)) and remembered.check_call_in_cache(1)
        (tmp_path / "gone").rename(tmp_path / f"moved {time.time_ns()}")


def without_root() -> list[str]:
    "What a command begins with, so that permissions hold for it."
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv")
    rights = "-dac_override,-dac_read_search,-fowner"
    return ["setpriv", f"--bounding-set={rights}", f"--inh-caps={rights}"]


@posix
def test_what_may_not_be_written_is_told_and_kept(tmp_path):
    code = """if True:
        import sys
        from thu_big_data_ml._files_and_devices import write_whole
        for path in sys.argv[1:]:
            try:
                with write_whole(path) as unfinished:
                    unfinished.write_text("new")
                print("written")
            except PermissionError as error:
                print(error)"""
    for folder, mode in (("closed", 0o555), ("open", 0o755), ("blind", 0o333)):
        (tmp_path / folder).mkdir()
        for name in ("file", "protected"):
            (tmp_path / folder / name).write_text("old")
        (tmp_path / folder / "protected").chmod(0o444)
        (tmp_path / folder).chmod(mode)
    asked = ["closed/file", "closed/new", "closed/sub/new", "open/protected", "blind/file"]
    paths = [str(tmp_path / name) for name in asked]
    command = [*without_root(), sys.executable, "-c", code, *paths]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    for folder in tmp_path.iterdir():
        folder.chmod(0o755)
    for path, line in zip(paths[:4], done.stdout.splitlines()[:4], strict=True):
        assert line.startswith(f"{path}: cannot be written, you may not write there."), done
    assert done.stdout.endswith("written\n")
    found = [path.read_text() for path in sorted(tmp_path.glob("*/*"))]
    assert found == ["new", "old", "old", "old", "old", "old"], found


@posix
@pytest.mark.parametrize(
    ("name", "cure"),
    [
        ("folder", "it is a folder. Name a file in it"),
        ("file/below", "a part of its path is a file, not a folder"),
        ("file/far/below", "a part of its path is a file, not a folder"),
        ("loop", "its symbolic links lead in a circle"),
        ("pipe", "it is no ordinary file"),
        ("n" * 256, "the name is too long"),
        ("é" * 128, "the name is too long"),
    ],
)
def test_paths_that_cannot_be_written_are_refused_before_the_work(tmp_path, name, cure):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe")
    before = names_in(tmp_path)
    path = tmp_path / name
    with pytest.raises(OSError) as said, write_whole(path):
        raise AssertionError("the work began")
    assert str(said.value).startswith(f"{path}: cannot be written, {cure}")
    assert said.value.errno and type(said.value) is type(OSError(said.value.errno, ""))
    assert names_in(tmp_path) == before


def test_errors_of_other_files_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), write_whole(tmp_path / "a"):
        (tmp_path / "nowhere").read_text()
    with pytest.raises(KeyboardInterrupt), write_whole(tmp_path / "a") as unfinished:
        unfinished.write_text("half")
        raise KeyboardInterrupt
    assert names_in(tmp_path) == []


@posix
def test_names_links_and_permissions_are_kept(tmp_path):
    for name in ("n" * 255, "é" * 127, "[*].txt", " ", "a\nb"):
        for text in "12":
            with write_whole(tmp_path / name) as unfinished:
                unfinished.write_text(text)
        assert (tmp_path / name).read_text() == "2"
    assert len(names_in(tmp_path)) == 5

    (tmp_path / "far").mkdir()
    (tmp_path / "link").symlink_to("far/file")
    before = os.umask(0o027)
    try:
        with write_whole(tmp_path / "link") as unfinished:
            unfinished.write_text("1")
    finally:
        os.umask(before)
    target = tmp_path / "far" / "file"
    assert (tmp_path / "link").is_symlink() and target.read_text() == "1"
    assert target.stat().st_mode & 0o777 == 0o640
    target.chmod(0o604)
    with write_whole(tmp_path / "link") as unfinished:
        unfinished.write_text("2")
    assert target.read_text() == "2" and target.stat().st_mode & 0o777 == 0o604


# Several processes


killed_in_the_middle = """if True:
    import sys, time
    from thu_big_data_ml._files_and_devices import write_whole
    for number in range(10**9):
        with write_whole(sys.argv[1]) as unfinished, open(unfinished, "w") as file:
            for _ in range(50):
                file.write(f"{number}\\n" * 500)
                file.flush()
        print(number, flush=True)"""


@posix
def test_a_killed_write_leaves_the_old_file_and_is_tidied_up(tmp_path):
    path = tmp_path / "results" / "table.csv"
    rng = np.random.default_rng([SEED, 7])
    n_left = 0
    for _ in range(trials(6, 60)):
        command = [sys.executable, "-c", killed_in_the_middle, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root) as running:
            running.stdout.readline()
            time.sleep(rng.uniform(0, 0.02))
            running.send_signal(signal.SIGKILL)
        lines = path.read_text().split("\n")
        assert len(lines) == 25_001 and len(set(lines)) == 2  # all of one write
        n_left += len(names_in(path.parent)) - 1
        with write_whole(path) as unfinished:
            unfinished.write_text("mine")
        assert names_in(path.parent) == ["table.csv"]
    assert n_left > 0


@posix
def test_only_what_is_left_over_is_removed(tmp_path):
    path, letters = tmp_path / "a.npz", "0123456789abcdef" * 2
    others = [".a.npz.backup.part", f".a.npz.{letters}", f".b.npz.{letters}.part", "a.npz.part"]
    for name in (*others, f".a.npz.{letters}.part"):
        (tmp_path / name).write_text("x")
    with write_whole(path) as slow:
        slow.write_text("slow")
        with write_whole(path) as fast:
            fast.write_text("fast")
        assert slow.exists() and path.read_text() == "fast"
    assert path.read_text() == "slow" and names_in(tmp_path) == sorted([*others, "a.npz"])


def write_often(path: Path, letter: str, n: int):
    for k in range(n):
        with write_whole(path) as unfinished:
            unfinished.write_text(letter * (1000 * (k % 7) + 1))


def remember_often(folder: Path, n: int):
    "As much by fork as by chance: one entry, dropped and asked for by all."
    remembered = memory_of(folder).cache(table)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for k in range(n):
            assert same(remembered(5), table(5))
            if k % 3 == 0:
                remembered.call(5)


def in_processes(targets: list):
    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=target, args=words) for target, *words in targets]
    for process in running:
        process.start()
    yield from iter(lambda: any(process.is_alive() for process in running), False)
    for process in running:
        process.join()
        assert process.exitcode == 0


@posix
def test_writers_at_once_mix_nothing(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("start")
    seen = set()
    n = trials(60, 2000)
    for _ in in_processes([(write_often, path, letter, n) for letter in "abcd"]):
        text = path.read_text()
        assert text == "start" or set(text) == {text[0]}
        seen.add(text[0])
        time.sleep(0.002)
    assert names_in(tmp_path) == ["result.txt"]


@posix
def test_processes_at_once_on_one_entry_mix_nothing(tmp_path):
    n = trials(25, 500)
    for _ in in_processes([(remember_often, tmp_path, n)] * 4):
        time.sleep(0.02)
    assert len(list(tmp_path.rglob("result.npz"))) == 1
    assert not list(tmp_path.rglob("*.part"))


# Folders and devices


@pytest.mark.parametrize("value", ["", "  "])
def test_an_empty_variable_counts_as_not_set(monkeypatch, value):
    monkeypatch.setenv("THU_BIG_DATA_ML_DATA", value)
    assert data_folder() == root / "data"


def test_the_data_folder_of_a_variable(monkeypatch, tmp_path):
    for value in ("~/ratings", "~nobody-here/x", "relative", str(tmp_path / "x" / ".." / "y")):
        monkeypatch.setenv("THU_BIG_DATA_ML_DATA", value)
        assert data_folder().is_absolute() and ".." not in data_folder().parts
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("THU_BIG_DATA_ML_DATA", "~/ratings")
    if os.name == "posix":
        assert data_folder() == tmp_path / "ratings"


def test_a_user_without_a_home_gets_no_folder_called_tilde(monkeypatch, tmp_path):
    monkeypatch.delenv("THU_BIG_DATA_ML_DATA", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: SimpleNamespace(origin="/x/y/z.py"))
    monkeypatch.setattr("platformdirs.user_data_path", lambda _: Path("~/.local/share/us"))
    assert data_folder() == Path(tempfile.gettempdir(), "thu_big_data_ml")


def test_a_data_folder_that_is_a_file_is_told_at_the_first_write(tmp_path, monkeypatch):
    (tmp_path / "taken").touch()
    monkeypatch.setenv("THU_BIG_DATA_ML_DATA", str(tmp_path / "taken"))
    with pytest.warns(UserWarning, match="is a file, .* which THU_BIG_DATA_ML_DATA can name"):
        assert same(memory_of(data_folder() / "cache").cache(table)(5), table(5))
    with pytest.raises(OSError, match="is a file, .* which THU_BIG_DATA_ML_DATA can name"):
        write_whole(data_folder() / "sample" / "README.txt").__enter__()


@pytest.mark.parametrize(
    "device", ["gpu", "CPU", "cuda:-1", "cuda:", "", 3, True, b"cpu", "meta", [], "x" * 999]
)
def test_a_device_that_is_none_is_told_what_there_is(device):
    with pytest.raises(ValueError, match="it is 'auto', 'cpu', 'cuda'") as said:
        get_device(device)
    assert len(str(said.value)) < 220


@pytest.mark.parametrize("device", ["cuda:99", "mps:7", "xpu:99", "cpu:1"])
def test_a_device_that_is_absent_is_told(device):
    with pytest.raises(RuntimeError, match=f"{device}.*Use device='auto'"):
        get_device(device)


def test_notes_of_the_cache_are_json(entry):
    _, path = entry
    assert json.loads(path.with_name("metadata.json").read_text())["input_args"] == dict(n="5")
    assert joblib_memory.backend == BACKEND
