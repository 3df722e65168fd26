"""MNIST is read whole and right or not at all, wherever it lies and whoever served it."""

import gzip
import hashlib
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from lib.data import mnist_files, sources
from lib.data.dataset import DataError, disjoint_halves
from lib.data.mnist_files import MissingDataError, read_idx
from tests.mnist_made import CONTENTS, NAMES, SHAPES, idx, put, tiny

pytestmark = pytest.mark.usefixtures("nowhere")

REAL_DATA_DIR = os.environ.get("DATA_DIR")


# IDX


@pytest.mark.parametrize("wrap", [bytes, gzip.compress], ids=["raw", "gzip"])
def test_read_idx_whatever_the_name(tmp_path, wrap):
    path = tmp_path / "any.name"
    path.write_bytes(wrap(idx((2, 3), [0, 1, 2, 3, 254, 255])))
    tensor = read_idx(path)
    assert tensor.dtype == torch.uint8
    assert tensor.tolist() == [[0, 1, 2], [3, 254, 255]]


BROKEN = {
    "empty": (b"", "truncated"),
    "short header": (idx((2, 3), [])[:7], "truncated"),
    "short body": (idx((2, 3), [1] * 5), "truncated, 5 bytes where .* promises 6"),
    "no body": (idx((2, 3), []), "truncated"),
    "long body": (idx((2, 3), [1] * 7), "too long"),
    "not IDX": (b"<html>Not found</html>", "magic number"),
    "floats": (idx((2,), [0] * 8, dtype=13), "magic number"),
    "no dimension": (idx((), [1]), "magic number"),
    "cut gzip": (gzip.compress(bytes(1000))[:-9], "corrupt gzip"),
    "gzip with a flipped bit": (gzip.compress(idx((2,), [1, 2]))[:-6] + b"x" * 6, "corrupt gzip"),
    "only gzip's magic": (b"\x1f\x8b", "corrupt gzip"),
    "bytes after gzip": (gzip.compress(idx((2,), [1, 2])) + b"garbage", "corrupt gzip"),
}


@pytest.mark.faults
@pytest.mark.parametrize(("contents", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_read_idx_says_what_is_broken(tmp_path, contents, message):
    path = tmp_path / "file"
    path.write_bytes(contents)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.faults
def test_read_idx_of_no_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_idx(tmp_path / "absent")
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path)


# Where MNIST is looked for


@pytest.mark.parametrize("compress", [True, False], ids=["gzip", "raw"])
@pytest.mark.parametrize("subfolder", [".", "mnist"])
@pytest.mark.parametrize("by", ["argument", "environment"])
def test_data_dir(tmp_path, monkeypatch, compress, subfolder, by):
    put(tmp_path / "data" / subfolder, compress=compress)
    if by == "environment":
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    split = sources.load("mnist", tmp_path / "data" if by == "argument" else None)
    assert (split.source, split.train.name, split.test.name) == ("mnist", "mnist-train", "mnist-test")
    assert (len(split.train), len(split.test)) == (6, 4)
    assert str(tmp_path / "data") in split.provenance
    assert mnist_files.FILES[0].sha256[:8] in split.provenance


def test_pixels_become_0_to_1_and_labels_classes(tmp_path):
    split = sources.load("mnist", put(tmp_path / "data"))
    pattern = torch.arange(6 * 784).reshape(6, 784) % 256
    assert torch.equal(split.train.inputs, pattern.float() / 255)
    assert split.train.labels.tolist() == [0, 1, 2, 3, 4, 5]


def test_data_dir_without_mnist_goes_on_to_the_cache_and_says_so(tmp_path):
    (tmp_path / "data").mkdir()
    put(tmp_path / "cache")
    split = sources.load("mnist", tmp_path / "data")
    assert f"DATA_DIR={tmp_path / 'data'} holds no MNIST" in split.provenance
    assert str(tmp_path / "cache") in split.provenance


def test_data_dir_comes_before_the_cache(tmp_path):
    put(tmp_path / "cache", dict.fromkeys(NAMES, b"damaged"))
    assert sources.load("mnist", put(tmp_path / "data")).source == "mnist"


@pytest.mark.faults
@pytest.mark.parametrize("name", ["auto", "mnist"])
@pytest.mark.parametrize("missing", NAMES)
def test_a_missing_file_is_named(tmp_path, name, missing):
    put(tmp_path / "data", {other: CONTENTS[other] for other in NAMES if other != missing})
    with pytest.raises(DataError, match=f"lacks {missing} ") as caught:
        sources.load(name, tmp_path / "data")
    assert hashlib.sha256(CONTENTS[missing]).hexdigest() in str(caught.value)


IMAGES, LABELS = NAMES[0], NAMES[1]
DAMAGE = {
    "truncated": (IMAGES, CONTENTS[IMAGES][:-1], "truncated"),
    "magic number": (IMAGES, b"\1" + CONTENTS[IMAGES][1:], "magic number"),
    "fewer images": (IMAGES, tiny((5, 28, 28)), "shape"),
    "labels as images": (IMAGES, CONTENTS[LABELS], "shape"),
    "other pixels": (IMAGES, CONTENTS[IMAGES][:-1] + b"\0", "wrong checksum"),
    "label out of range": (LABELS, CONTENTS[LABELS][:-1] + b"\x0a", "label 10"),
    "another label": (LABELS, CONTENTS[LABELS][:-1] + b"\0", "wrong checksum"),
}


@pytest.mark.faults
@pytest.mark.parametrize("name", ["auto", "mnist"])
@pytest.mark.parametrize("place", ["data", "cache"])
@pytest.mark.parametrize(("file", "contents", "message"), DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_an_error_even_in_auto(tmp_path, name, place, file, contents, message):
    put(tmp_path / place, {**CONTENTS, file: contents})
    with pytest.raises(DataError, match=message) as caught:
        sources.load(name, tmp_path / "data")
    assert not isinstance(caught.value, MissingDataError)
    expected = (str(tmp_path / place), file, hashlib.sha256(CONTENTS[file]).hexdigest(), mnist_files.MIRRORS[0])
    assert all(part in str(caught.value) for part in expected)


@pytest.mark.faults
def test_a_corrupt_gzip_is_an_error_even_in_auto(tmp_path):
    put(tmp_path / "data")
    path = tmp_path / "data" / f"{IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match="corrupt gzip"):
        sources.load("auto", tmp_path / "data")


# Downloads, from servers on this machine


@pytest.fixture
def mirror(monkeypatch):
    """`mirror(contents)` starts a server of these files, and returns its address and the list of its requests."""
    servers = []
    monkeypatch.setenv("OFFLINE", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def serve(contents):
        requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                body = contents.get(self.path.strip("/"))
                requests.append(f"{self.command} {self.path.strip('/')}")
                self.send_response(404 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                return body

            def do_GET(self):
                self.wfile.write(self.do_HEAD() or b"")

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/", requests

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def zipped(contents=CONTENTS):
    return {f"{name}.gz": gzip.compress(content) for name, content in contents.items()}


def nobody():
    """An address of this machine where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def cached(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock")


def test_download_fills_the_cache_once(tmp_path, monkeypatch, mirror):
    address, requests = mirror(zipped())
    monkeypatch.setattr(mnist_files, "MIRRORS", (address,))
    split = sources.load("auto")
    assert split.source == "mnist"
    assert str(tmp_path / "cache") in split.provenance
    assert cached(tmp_path) == sorted(f"{name}.gz" for name in NAMES)
    before = list(requests)
    assert sources.load("mnist").train.identity == split.train.identity
    assert requests == before


def test_what_a_server_unpacked_is_kept_under_the_bare_name(tmp_path, monkeypatch, mirror):
    address, _ = mirror({f"{name}.gz": content for name, content in CONTENTS.items()})
    monkeypatch.setattr(mnist_files, "MIRRORS", (address,))
    assert sources.load("mnist").source == "mnist"
    assert cached(tmp_path) == sorted(NAMES)


@pytest.mark.faults
@pytest.mark.parametrize("first", ["nobody", "not found", "garbage", "other pixels", "cut"])
def test_the_next_mirror_is_tried(tmp_path, monkeypatch, mirror, first):
    bodies = zipped()
    bad = {
        "not found": {},
        "garbage": dict.fromkeys(bodies, b"<html>log in</html>"),
        "other pixels": {name: gzip.compress(idx(SHAPES[0], bytes(6 * 784))) for name in bodies},
        "cut": {name: body[:-10] for name, body in bodies.items()},
    }
    one = nobody() if first == "nobody" else mirror(bad[first])[0]
    monkeypatch.setattr(mnist_files, "MIRRORS", (one, mirror(bodies)[0]))
    assert sources.load("mnist").source == "mnist"
    assert cached(tmp_path) == sorted(bodies)


@pytest.mark.faults
def test_garbage_everywhere_is_an_error_and_is_not_kept(tmp_path, monkeypatch, mirror):
    address, _ = mirror({**zipped(), f"{NAMES[2]}.gz": b"<html>log in</html>"})
    monkeypatch.setattr(mnist_files, "MIRRORS", (address,))
    with pytest.raises(DataError, match=f"No mirror served {NAMES[2]}") as caught:
        sources.load("auto")
    assert not isinstance(caught.value, MissingDataError)
    assert mnist_files.FILES[2].sha256 in str(caught.value)
    assert cached(tmp_path) == sorted(f"{name}.gz" for name in NAMES[:2])


def test_only_what_the_cache_lacks_is_fetched(tmp_path, monkeypatch, mirror):
    put(tmp_path / "cache", {name: CONTENTS[name] for name in NAMES[:3]})
    address, requests = mirror(zipped())
    monkeypatch.setattr(mnist_files, "MIRRORS", (address,))
    sources.load("mnist")
    assert [request for request in requests if request.startswith("GET")] == [f"GET {NAMES[3]}.gz"]


@pytest.mark.faults
def test_a_download_that_breaks_off_is_missing_data(monkeypatch, mirror):
    bodies = zipped()
    del bodies[f"{NAMES[3]}.gz"]
    monkeypatch.setattr(mnist_files, "MIRRORS", (mirror(bodies)[0],))
    assert "the download failed" in sources.load("auto").provenance
    with pytest.raises(MissingDataError, match="HTTPError"):
        sources.load("mnist")


@pytest.mark.faults
def test_a_cache_that_cannot_be_written_is_missing_data(tmp_path, monkeypatch, mirror):
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setattr(mnist_files, "MIRRORS", (mirror(zipped())[0],))
    assert "cannot be written" in sources.load("auto").provenance


@pytest.mark.faults
def test_no_network_is_found_out_once(monkeypatch):
    asked = []
    monkeypatch.setenv("OFFLINE", "")
    monkeypatch.setattr(mnist_files, "MIRRORS", ("http://one.invalid/", "http://two.invalid/"))

    def refuse(url, **kwargs):
        asked.append(url)
        raise mnist_files.requests.ConnectionError

    monkeypatch.setattr(mnist_files.requests, "head", refuse)
    for _ in range(2):
        assert "no mirror could be reached" in sources.load("auto").provenance
    assert sorted(asked) == [f"http://{host}.invalid/{NAMES[0]}.gz" for host in ("one", "two")]


@pytest.mark.faults
def test_a_resolver_that_hangs_does_not_hold_us_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setenv("OFFLINE", "")
    monkeypatch.setattr(mnist_files, "CONNECT_TIMEOUT", 0.2)

    def hang(url, **kwargs):
        release.wait(30)
        raise mnist_files.requests.ConnectionError

    monkeypatch.setattr(mnist_files.requests, "head", hang)
    try:
        assert mnist_files._reachable(("http://hangs.invalid/",)) == ()
    finally:
        release.set()


def test_offline_asks_nobody(monkeypatch):
    asked = []
    monkeypatch.setattr(mnist_files.requests, "head", lambda url, **kwargs: asked.append(url))
    assert "OFFLINE is set" in sources.load("auto").provenance
    assert not asked


# The real thing


@pytest.mark.skipif(not REAL_DATA_DIR, reason="DATA_DIR is not set: no MNIST to read")
def test_the_real_mnist(monkeypatch):
    monkeypatch.undo()
    if not any(mnist_files._find(Path(REAL_DATA_DIR).expanduser())):
        pytest.skip(f"DATA_DIR={REAL_DATA_DIR} holds no MNIST")
    train, test, source, _ = sources.load("auto")
    assert (source, len(train), len(test)) == ("mnist", 60_000, 10_000)
    assert train.labels.bincount().tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert train.inputs.mean().item() == pytest.approx(0.1307, abs=5e-5)
    assert train.inputs.std().item() == pytest.approx(0.3081, abs=5e-5)
    one, two = disjoint_halves(train, torch.Generator().manual_seed(0))
    assert len(one) == len(two) == 30_000
