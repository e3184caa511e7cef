"Servers that misbehave: a file comes whole, or one sentence says what is wrong with which address."

import errno
import gzip
import hashlib
import multiprocessing
import shutil
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import requests
from trials import SEED, trials

import thu_big_data_ml.data.download as module
from thu_big_data_ml.data.download import _download_file, download_netflix

BODY = b"7 8 5 2005-09-06\n7 72 3 2005-09-07\n" * 2000
DIGEST = hashlib.sha256(BODY).hexdigest()
OTHER = BODY.replace(b"2005", b"2004")  # another version of the same length


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    "No pauses between tries, a short patience, no progress bars."
    monkeypatch.setattr(module, "_http_session", requests.Session)
    monkeypatch.setattr(module, "_patience", 0.3)
    monkeypatch.setenv("TQDM_DISABLE", "1")


@contextmanager
def serving(behave):
    "The address of a server that answers each request by `behave(handler, number)`."
    asked = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            asked.append(dict(self.headers))
            self.close_connection = True
            try:
                behave(self, len(asked))
            except OSError:
                pass  # the client has left

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    server.asked = asked
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.txt", asked
    finally:
        server.shutdown()
        server.server_close()


def answer(handler, body=BODY, status=200, sent=None, **headers):
    "One answer; headers by name with _ for -, a header None is left out."
    handler.send_response_only(status)
    headers = {"Content_Length": str(len(body)), "Connection": "close", **headers}
    for name, value in headers.items():
        if value is not None:
            handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body if sent is None else body[:sent])


def start_of(handler):
    "Where the request wants the answer to begin; 0 for the whole file."
    return int(handler.headers.get("Range", "bytes=0-").split("=")[1].rstrip("-"))


def well(handler, number, body=BODY, tag='"1"', cut=None):
    "A server as it should be, with ranges; `cut` breaks the first answer off."
    start = start_of(handler)
    if handler.headers.get("If-Range", tag) != tag:
        start = 0
    span = f"bytes {start}-{len(body) - 1}/{len(body)}" if start else None
    sent = cut if number == 1 else None
    answer(handler, body[start:], 206 if start else 200, sent, ETag=tag, Content_Range=span)


def left_over(folder):
    return sorted(p.name for p in folder.iterdir() if p.name != ".download.lock")


def test_a_transfer_that_breaks_off_is_continued(tmp_path):
    with serving(lambda h, n: well(h, n, cut=30_000)) as (url, asked):
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == BODY
    assert asked[-1]["Range"] == "bytes=30000-" and asked[-1]["If-Range"] == '"1"'
    assert left_over(tmp_path) == ["f.txt"]


def test_without_a_proof_of_the_version_nothing_is_spliced(tmp_path):
    def changing(h, n):
        answer(h, BODY if n == 1 else OTHER, sent=30_000 if n == 1 else None)

    with serving(changing) as (url, asked):
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == OTHER
    assert not any("Range" in a for a in asked)


def test_a_file_that_changes_between_two_requests_is_not_spliced(tmp_path):
    def changing(h, n):  # the third request finds another version of the same length
        well(h, n, *((BODY, '"1"') if n < 3 else (OTHER, '"2"')), cut=30_000)

    with serving(changing) as (url, _):
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == OTHER
    assert left_over(tmp_path) == ["f.txt"]


def test_a_server_that_ignores_if_range_is_noticed(tmp_path):
    def ignoring(h, n):
        if n < 3 or n > 3:
            return well(h, n, *((BODY, '"1"') if n < 3 else (OTHER, '"2"')), cut=30_000)
        span = f"bytes 30000-{len(BODY) - 1}/{len(BODY)}"
        answer(h, OTHER[30_000:], 206, ETag='"2"', Content_Range=span)

    with serving(ignoring) as (url, _):
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == OTHER


WRONG_PARTS = {
    "another start": dict(Content_Range=f"bytes 29999-{len(BODY) - 1}/{len(BODY)}"),
    "another end": dict(Content_Range=f"bytes 30000-{len(BODY) - 2}/{len(BODY)}"),
    "another total": dict(Content_Range=f"bytes 30000-{len(BODY) - 1}/{len(BODY) + 1}"),
    "no range": {},
    "nonsense": dict(Content_Range="bytes half-rest/some"),
    "not satisfiable": dict(status=416, Content_Range=f"bytes */{len(BODY)}"),
}


@pytest.mark.parametrize("wrong", WRONG_PARTS.values(), ids=WRONG_PARTS)
def test_a_wrong_part_is_thrown_away(tmp_path, wrong):
    def lying(h, n):
        if start_of(h) and n == 3:
            return answer(h, BODY[29_999:-1], **{"status": 206, "ETag": '"1"', **wrong})
        return well(h, n, cut=30_000)

    with serving(lying) as (url, _):
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == BODY


def test_a_range_answered_with_everything_begins_anew(tmp_path):
    def simple(h, n):
        answer(h, sent=30_000 if n == 1 else None, ETag='"1"')

    with serving(simple) as (url, _):
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == BODY


def test_an_unfinished_file_that_is_too_long_is_thrown_away(tmp_path):
    for extra in (b"", b"too much"):
        with serving(lambda h, n: well(h, n, cut=30_000)) as (url, _):
            with pytest.raises(ConnectionError, match="broke off 1 times"):
                _download_file(url, tmp_path / "f.txt", attempts=1)
            part = next(tmp_path.glob(".f.txt.*.part"))
            part.write_bytes(BODY + extra if extra else BODY[:-5])
            assert _download_file(url, tmp_path / "f.txt").read_bytes() == BODY
        (tmp_path / "f.txt").unlink()


def test_stale_parts_are_removed(tmp_path):
    (tmp_path / ".f.txt.0123abcd.part").write_bytes(BODY)
    (tmp_path / ".g.txt.0123abcd.part").write_bytes(BODY)
    with serving(well) as (url, _):
        _download_file(url, tmp_path / "f.txt")
    assert left_over(tmp_path) == [".g.txt.0123abcd.part", "f.txt"]


def slow_body(h, n):
    h.send_response_only(200)
    h.send_header("Content-Length", str(len(BODY)))
    h.end_headers()
    for at in range(100):
        h.wfile.write(BODY[at : at + 1])
        time.sleep(0.1)


def slow_headers(h, n):
    h.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(100):
        h.wfile.write(b"x")
        time.sleep(0.1)


def redirected(to):
    def behave(h, n):
        answer(h, b"", 302, Location=to) if h.path != "/login" else page(h, n)

    return behave


def page(h, n, **headers):
    answer(h, b"\n <!DOCTYPE html><p>Please log in</p>", **headers)


REFUSED = {
    "page called text": (lambda h, n: page(h, n, Content_Type="text/plain"), "a page|log in"),
    "page called html": (lambda h, n: page(h, n, Content_Type="text/html"), "html"),
    "page packed": (
        lambda h, n: answer(h, gzip.compress(b"<html>no</html>"), Content_Encoding="gzip"),
        "html",
    ),
    "JSON": (lambda h, n: answer(h, b'{"error": "expired"}'), "expired"),
    "empty": (lambda h, n: answer(h, b""), "empty"),
    "empty and chunked": (
        lambda h, n: answer(h, b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"),
        "not a file",
    ),
    "gone": (lambda h, n: answer(h, b"", 410), "HTTP 410"),
    "busy for ever": (lambda h, n: answer(h, b"", 503, Retry_After="100000"), "HTTP 503"),
    "a part unasked": (lambda h, n: answer(h, BODY[9:], 206), "HTTP 206"),
    "always short": (lambda h, n: answer(h, sent=100), "broke off 5 times"),
    "negative length": (lambda h, n: answer(h, Content_Length="-5"), "'-5' bytes"),
    "garbage length": (lambda h, n: answer(h, Content_Length="many"), "'many' bytes"),
    "two lengths": (lambda h, n: answer(h, Content_Length="10, 12"), "'10, 12'|cannot"),
    "gigantic length": (lambda h, n: answer(h, Content_Length="9" * 17), "are free"),
    "packed oddly": (lambda h, n: answer(h, Content_Encoding="br"), "'br'"),
    "gzip cut off": (
        lambda h, n: answer(h, gzip.compress(BODY)[:-9], Content_Encoding="gzip"),
        "gzip",
    ),
    "chunks that end too soon": (
        lambda h, n: answer(h, b"5\r\n7 8 5", Content_Length=None, Transfer_Encoding="chunked"),
        "broke off 5 times",
    ),
    "chunks of no length": (
        lambda h, n: answer(h, b"zz\r\n7 8 5", Content_Length=None, Transfer_Encoding="chunked"),
        "broke off 5 times",
    ),
    "no HTTP": (lambda h, n: h.wfile.write(b"220 ready\r\n"), "cannot be fetched"),
    "silent": (lambda h, n: time.sleep(1), "broke off|too slow"),
    "a byte at a time": (slow_body, "too slow"),
    "headers without end": (slow_headers, "too slow"),
    "a circle": (redirected("/file.txt"), "TooManyRedirects"),
    "to a login page": (redirected("/login"), "log in"),
    "to a file": (redirected("file:///etc/passwd"), "InvalidSchema"),
    "to nowhere": (redirected("http://"), "cannot be fetched"),
}


@pytest.mark.parametrize("behave, said", REFUSED.values(), ids=REFUSED)
def test_a_server_that_lies_is_told_in_one_sentence(tmp_path, behave, said):
    begin = time.monotonic()
    with serving(behave) as (url, _), pytest.raises(OSError, match=said) as error:
        _download_file(url, tmp_path / "f.txt", time_limit=0.5)
    assert time.monotonic() - begin < 8  # the slow ones take ten seconds
    assert isinstance(error.value, ConnectionError) or error.value.errno == errno.ENOSPC
    assert (url in str(error.value) or "f.txt" in str(error.value)) and len(str(error.value)) < 600
    assert not (tmp_path / "f.txt").exists()


def test_forms_of_a_whole_file(tmp_path):
    packed = gzip.compress(BODY)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:9], BODY[9:]))
    forms = {
        "chunked": lambda h, n: answer(
            h, chunks + b"0\r\n\r\n", Content_Length=None, Transfer_Encoding="chunked"
        ),
        "packed": lambda h, n: answer(h, packed, Content_Encoding="gzip"),
        "redirected": lambda h, n: redirected("/there")(h, n) if n == 1 else well(h, n),
        "too long": lambda h, n: answer(h, BODY + b"rubbish", Content_Length=str(len(BODY))),
    }
    for name, behave in forms.items():
        with serving(behave) as (url, _):
            assert _download_file(url, tmp_path / name).read_bytes() == BODY, name
    unknown = serving(lambda h, n: answer(h, Content_Length=None))
    with unknown as (url, _), pytest.warns(UserWarning, match="does not say how long"):
        assert _download_file(url, tmp_path / "unknown").read_bytes() == BODY


def test_a_published_digest_decides(tmp_path):
    with serving(well) as (url, asked):
        _download_file(url, tmp_path / "f.txt", sha256=DIGEST.upper())
        with pytest.raises(ValueError, match=r"f\.txt: is not the published file"):
            _download_file(url, tmp_path / "f.txt", sha256="0" * 64)  # it is there already
        with pytest.raises(ValueError, match="What came was removed"):
            _download_file(url, tmp_path / "g.txt", sha256="0" * 64)
    assert len(asked) == 2 and left_over(tmp_path) == ["f.txt"]


def test_a_digest_makes_it_safe_to_continue_without_a_proof(tmp_path):
    def bare(h, n):
        well(h, n, BODY if n < 3 else OTHER, None, cut=30_000)

    # the rest is of another version: it begins anew
    with serving(bare) as (url, _), pytest.raises(ValueError, match="is not the published file"):
        _download_file(url, tmp_path / "f.txt", sha256=DIGEST)
    assert left_over(tmp_path) == []
    with serving(lambda h, n: well(h, n, tag=None, cut=30_000)) as (url, asked):
        _download_file(url, tmp_path / "f.txt", sha256=DIGEST)
    assert "Range" in asked[-1]


def test_a_full_disk_names_the_file(tmp_path, monkeypatch):
    with serving(well) as (url, _):
        with monkeypatch.context() as patch:
            usage = shutil.disk_usage(tmp_path)._replace(free=100)
            patch.setattr(module.shutil, "disk_usage", lambda path: usage)
            with pytest.raises(OSError, match=r"f\.txt: needs 70,000 bytes, and 100 are free"):
                _download_file(url, tmp_path / "f.txt")
        with monkeypatch.context() as patch:
            patch.setattr(module, "open", open_full, raising=False)
            with pytest.raises(OSError, match=r"/f\.txt: cannot be written, the disk is full"):
                _download_file(url, tmp_path / "f.txt")
        (tmp_path / "file").write_text("")
        with pytest.raises(OSError, match=r"f\.txt: cannot be written"):
            _download_file(url, tmp_path / "file" / "f.txt")


class Full:
    "A file on a disk that is full."

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def write(self, block):
        raise OSError(errno.ENOSPC, "No space left on device")


def open_full(path, mode="r", **options):
    return Full() if "b" in mode and mode != "rb" else open(path, mode, **options)


def test_other_addresses_are_refused_by_name(tmp_path):
    for url in ("file:///etc/passwd", "ftp://example.org/users.txt", "users.txt", ""):
        with pytest.raises(ValueError, match="only http:// and https://"):
            _download_file(url, tmp_path / "f.txt")
    with pytest.raises(ConnectionError, match="cannot be fetched"):
        _download_file("http:///nothing", tmp_path / "f.txt")
    for wrong in (
        dict(urls={"users.txt": "http://127.0.0.1:9/"}),
        dict(urls=None),
        dict(urls=7),
        dict(urls="http://127.0.0.1:9", sha256={"users.txt": "abc"}),
        dict(urls="http://127.0.0.1:9", sha256={"user.txt": DIGEST}),
        dict(urls="http://127.0.0.1:9", time_limit=0),
        dict(urls="http://127.0.0.1:9", time_limit=float("nan")),
        dict(urls="http://127.0.0.1:9", time_limit="1"),
    ):
        with pytest.raises((ValueError, TypeError), match="must"):
            download_netflix(folder=tmp_path, **wrong)


def slowly(h, n):
    time.sleep(0.05)
    well(h, n)


def test_downloads_at_once_share_one_file(tmp_path):
    got = []
    with serving(slowly) as (url, asked):
        work = [
            threading.Thread(target=lambda: got.append(_download_file(url, tmp_path / "f.txt")))
            for _ in range(6)
        ]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(10)
        assert len(got) == 6 and len(asked) == 1
    assert (tmp_path / "f.txt").read_bytes() == BODY and left_over(tmp_path) == ["f.txt"]


def test_processes_at_once_share_one_file(tmp_path):
    fork = multiprocessing.get_context("fork")
    with serving(slowly) as (url, asked):
        work = [fork.Process(target=_download_file, args=(url, tmp_path / "f.txt")) for _ in "ab"]
        for process in work:
            process.start()
        for process in work:
            process.join(10)
        assert [process.exitcode for process in work] == [0, 0]
    assert len(asked) == 1 and (tmp_path / "f.txt").read_bytes() == BODY


def test_a_killed_download_is_continued(tmp_path):
    stop = threading.Event()

    def holding(h, n):
        if n > 1:
            return well(h, n)
        answer(h, sent=30_000, ETag='"1"')
        return stop.wait(5)

    with serving(holding) as (url, asked):
        work = multiprocessing.get_context("fork").Process(
            target=_download_file, args=(url, tmp_path / "f.txt")
        )
        work.start()
        while not any(p.stat().st_size == 30_000 for p in tmp_path.glob(".f.txt.*.part")):
            time.sleep(0.01)
        work.kill()
        work.join()
        stop.set()
        assert _download_file(url, tmp_path / "f.txt").read_bytes() == BODY
    assert asked[-1]["Range"] == "bytes=30000-" and left_over(tmp_path) == ["f.txt"]


def test_servers_that_misbehave_at_random(tmp_path):
    "Whatever a server does, the file is one of its versions, or an error names the address."
    rng = np.random.default_rng([SEED, 13])
    outcomes = {"file": 0, "error": 0}
    for trial in range(trials(25, 1500)):
        plan = rng.integers(0, 8, 12)
        cuts = rng.integers(0, len(BODY), 12)

        def behave(h, n, plan=plan, cut=cuts):
            body, tag = ((BODY, '"1"'), (OTHER, '"2"'))[int(plan[n % 12] == 1)]
            if plan[n % 12] == 7:
                return answer(h, b"", 500)
            if plan[n % 12] < 3:
                return well(h, 2, body, tag)
            if plan[n % 12] == 3 and start_of(h):  # ignores If-Range
                span = f"bytes {start_of(h)}-{len(body) - 1}/{len(body)}"
                return answer(h, body[start_of(h) :], 206, ETag=tag, Content_Range=span)
            return well(h, 1, body, tag, cut=int(cut[n % 12]))

        path = tmp_path / f"{trial}.txt"
        with serving(behave) as (url, _):
            try:
                assert _download_file(url, path, time_limit=5).read_bytes() in (BODY, OTHER)
                outcomes["file"] += 1
            except ConnectionError as error:
                assert url in str(error)
                outcomes["error"] += 1
    assert outcomes["file"] > outcomes["error"] / 4, outcomes
