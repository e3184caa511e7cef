"What a user installs and imports: light, complete, and without traces."

import os
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from sklearn.base import clone
from sklearn.utils.validation import check_memory

root = Path(__file__).resolve().parents[1]
modules = sorted(
    ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
    for path in (root / "thu_big_data_ml").rglob("*.py")
)


def run_python(code: str, *words: str, **options) -> str:
    "What a fresh interpreter prints for `code`."
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def home_in(folder: Path) -> dict:
    "An environment whose user, caches and data live in `folder`."
    here = dict(
        HOME=str(folder), USERPROFILE=str(folder), THU_BIG_DATA_ML_DATA=str(folder / "data")
    )
    rest = {k: v for k, v in os.environ.items() if not k.startswith("XDG_")}
    return rest | here | dict(PYTHONPATH=str(root))


def test_importing_creates_nothing(tmp_path):
    code = "import sys, importlib; [importlib.import_module(name) for name in sys.argv[1:]]"
    run_python(code, *modules, cwd=tmp_path, env=home_in(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_memory_makes_its_folder_at_the_first_cached_call(tmp_path):
    code = """
from thu_big_data_ml.help import data_path, joblib_memory
from sklearn.utils.extmath import softmax
remembered = joblib_memory.cache(softmax)
joblib_memory.clear(warn=False)
assert not data_path.exists()
import numpy as np
assert remembered(np.eye(2))[0].sum() == 1
assert remembered.check_call_in_cache(np.eye(2)) and (data_path / "cache").is_dir()
joblib_memory.clear(warn=False)
assert not remembered.check_call_in_cache(np.eye(2))
"""
    run_python(code, cwd=tmp_path, env=home_in(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_the_memory_is_a_memory_of_joblib():
    from thu_big_data_ml.evaluation.tuning import CachedScore
    from thu_big_data_ml.help import joblib_memory

    assert isinstance(joblib_memory, joblib.Memory) and check_memory(joblib_memory) is joblib_memory
    copy = clone(CachedScore(None, memory=joblib_memory)).memory
    assert copy.store_backend.location == joblib_memory.store_backend.location


def test_where_nothing_can_be_written_nothing_is_remembered(tmp_path):
    from thu_big_data_ml.help import joblib_memory

    (tmp_path / "taken").write_text("a file, not a folder")
    memory = joblib.Memory(tmp_path / "taken" / "cache", backend=joblib_memory.backend, verbose=0)
    remembered = memory.cache(os.path.basename)
    with pytest.warns(joblib.memory.CacheWarning, match="THU_BIG_DATA_ML_DATA"):
        assert remembered("some/path") == "path"
    assert (tmp_path / "taken").read_text() == "a file, not a folder"
