"""MNIST is found whole wherever it lies and whoever served it, or what is wrong is named with a cure."""

import gzip
import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from lib.data import downloads, mnist_lookup, sources
from lib.data.downloads import DataError
from lib.data.mnist_lookup import MissingDataError
from tests.faults import no_file_larger_than
from tests.mnist_made import CONTENTS, NAMES, SHAPES, idx, put, tiny

pytestmark = pytest.mark.usefixtures("nowhere")


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
    assert mnist_lookup.FILES[0].sha256[:8] in split.provenance


def as_torchvision(folder):
    put(folder / "MNIST/raw")
    return put(folder / "MNIST/raw", compress=False)


def as_kaggle(folder):
    """A dot for the second hyphen, and each file once more in a folder of its own name."""
    for name, content in CONTENTS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / name).write_bytes(content)
        (folder / name.replace("-idx", ".idx")).write_bytes(content)


def as_kaggle_unpacked(folder):
    for name, content in CONTENTS.items():
        (folder / name).mkdir(parents=True)
        (folder / name / name).write_bytes(content)


def as_links(folder):
    put(folder / "elsewhere")
    (folder / "mnist").symlink_to("elsewhere")


@pytest.mark.parametrize("lay", [as_torchvision, as_kaggle, as_kaggle_unpacked, as_links])
@pytest.mark.parametrize("name", ["data", "data sets", "Données"])
def test_folders_are_read_as_other_tools_leave_them(tmp_path, monkeypatch, lay, name):
    lay(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert sources.load("mnist", name).source == "mnist"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert sources.load("mnist", f"~/{name}").source == "mnist"


@pytest.mark.faults
@pytest.mark.parametrize("place", ["data", "cache"])
def test_a_folder_in_a_files_place_is_named(tmp_path, place):
    put(tmp_path / place, {name: CONTENTS[name] for name in NAMES[1:]})
    (tmp_path / place / NAMES[0]).mkdir()
    with pytest.raises(DataError, match=f"lacks {NAMES[0]}"):
        sources.load("mnist", tmp_path / "data")


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
    "magic number": (IMAGES, b"\1" + CONTENTS[IMAGES][1:], "wrong checksum"),
    "fewer images": (IMAGES, tiny((5, 28, 28)), "truncated"),
    "more images": (IMAGES, tiny((7, 28, 28)), "too long"),
    "labels as images": (IMAGES, CONTENTS[LABELS], "truncated"),
    "other pixels": (IMAGES, CONTENTS[IMAGES][:-1] + b"\0", "wrong checksum"),
    "label out of range": (LABELS, CONTENTS[LABELS][:-1] + b"\x0a", "wrong checksum"),
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
    expected = (str(tmp_path / place), file, hashlib.sha256(CONTENTS[file]).hexdigest(), mnist_lookup.MIRRORS[0])
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
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (address,))
    split = sources.load("auto")
    assert split.source == "mnist"
    assert str(tmp_path / "cache") in split.provenance
    assert cached(tmp_path) == sorted(f"{name}.gz" for name in NAMES)
    before = list(requests)
    assert sources.load("mnist").train.identity == split.train.identity
    assert requests == before


def test_what_a_server_unpacked_is_kept_under_the_bare_name(tmp_path, monkeypatch, mirror):
    address, _ = mirror({f"{name}.gz": content for name, content in CONTENTS.items()})
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (address,))
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
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (one, mirror(bodies)[0]))
    assert sources.load("mnist").source == "mnist"
    assert cached(tmp_path) == sorted(bodies)


class Unruly(BaseHTTPRequestHandler):
    """A server that answers a HEAD as it should, and a GET as the class attribute `how` says."""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.send_response(200)
        self.end_headers()

    def do_GET(self):
        self.close_connection = True
        getattr(self, self.how.replace(" ", "_"))()

    def drips(self):
        """A byte now and then, for ever: no read ever times out."""
        self.send_response(200)
        self.end_headers()
        while not self.server.released.wait(0.02):
            self.wfile.write(b"x")

    def drips_its_head(self):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not self.server.released.wait(0.02):
            self.wfile.write(b"x")

    def hangs(self):
        self.server.released.wait(30)

    def stops_short_of_its_length(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(gzip.compress(CONTENTS[NAMES[0]]))

    def redirects_in_a_circle(self):
        self.send_response(302)
        self.send_header("Location", self.path)
        self.end_headers()

    def redirects_to_a_page(self):
        if self.path == "/login":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>log in</html>")
        else:
            self.send_response(302)
            self.send_header("Location", "/login")
            self.end_headers()

    def hangs_up(self):
        pass


@pytest.fixture
def unruly():
    """`unruly(how)` starts a server that misbehaves in that way, and returns its address."""
    servers = []

    def serve(how):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("How", (Unruly,), {"how": how}))
        server.released = threading.Event()
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield serve
    for server in servers:
        server.released.set()
        server.shutdown()
        server.server_close()


@pytest.mark.faults
@pytest.mark.parametrize(
    "how",
    [
        "drips",
        "drips its head",
        "hangs",
        "hangs up",
        "stops short of its length",
        "redirects in a circle",
        "redirects to a page",
    ],
)
def test_a_server_that_misbehaves_is_left_for_the_next_within_a_bounded_time(
    tmp_path, monkeypatch, mirror, unruly, how
):
    monkeypatch.setattr(downloads, "READ_TIMEOUT", 0.3)
    monkeypatch.setattr(downloads, "BLOCK", 2**10)
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (unruly(how), mirror(zipped())[0]))
    assert sources.load("mnist").source == "mnist"
    assert cached(tmp_path) == sorted(zipped())


@pytest.mark.faults
def test_a_redirect_to_the_right_file_is_followed(tmp_path, monkeypatch, mirror, unruly):
    right, _ = mirror(zipped())
    monkeypatch.setattr(Unruly, "elsewhere", lambda self: self._to(right + self.path[1:]), raising=False)
    monkeypatch.setattr(Unruly, "_to", redirect, raising=False)
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (unruly("elsewhere"),))
    assert sources.load("mnist").source == "mnist"


def redirect(handler, url):
    handler.send_response(302)
    handler.send_header("Location", url)
    handler.end_headers()


@pytest.mark.faults
def test_a_full_disk_is_missing_data_and_leaves_nothing_half_written(tmp_path, monkeypatch, mirror):
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (mirror(zipped())[0],))
    with no_file_larger_than(100), pytest.raises(MissingDataError, match=r"cannot be written \(File too large\)"):
        sources.load("mnist")
    assert cached(tmp_path) == []


@pytest.mark.faults
def test_garbage_everywhere_is_an_error_and_is_not_kept(tmp_path, monkeypatch, mirror):
    address, _ = mirror({**zipped(), f"{NAMES[2]}.gz": b"<html>log in</html>"})
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (address,))
    with pytest.raises(DataError, match=f"No mirror served {NAMES[2]}") as caught:
        sources.load("auto")
    assert not isinstance(caught.value, MissingDataError)
    assert mnist_lookup.FILES[2].sha256 in str(caught.value)
    assert cached(tmp_path) == sorted(f"{name}.gz" for name in NAMES[:2])


def test_only_what_the_cache_lacks_is_fetched(tmp_path, monkeypatch, mirror):
    put(tmp_path / "cache", {name: CONTENTS[name] for name in NAMES[:3]})
    address, requests = mirror(zipped())
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (address,))
    sources.load("mnist")
    assert [request for request in requests if request.startswith("GET")] == [f"GET {NAMES[3]}.gz"]


@pytest.mark.faults
def test_a_download_that_breaks_off_is_missing_data(monkeypatch, mirror):
    bodies = zipped()
    del bodies[f"{NAMES[3]}.gz"]
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (mirror(bodies)[0],))
    assert "the download failed" in sources.load("auto").provenance
    with pytest.raises(MissingDataError, match="HTTPError"):
        sources.load("mnist")


@pytest.mark.faults
def test_a_cache_that_cannot_be_written_is_missing_data(tmp_path, monkeypatch, mirror):
    (tmp_path / "cache").write_text("a file where a folder should be")
    monkeypatch.setattr(mnist_lookup, "MIRRORS", (mirror(zipped())[0],))
    assert "cannot be written" in sources.load("auto").provenance


@pytest.mark.faults
def test_no_network_is_found_out_once(monkeypatch):
    asked = []
    monkeypatch.setenv("OFFLINE", "")
    monkeypatch.setattr(mnist_lookup, "MIRRORS", ("http://one.invalid/", "http://two.invalid/"))

    def refuse(url, **kwargs):
        asked.append(url)
        raise mnist_lookup.requests.ConnectionError

    monkeypatch.setattr(mnist_lookup.requests, "head", refuse)
    for _ in range(2):
        assert "no mirror could be reached" in sources.load("auto").provenance
    assert sorted(asked) == [f"http://{host}.invalid/{NAMES[0]}.gz" for host in ("one", "two")]


@pytest.mark.faults
def test_a_resolver_that_hangs_does_not_hold_us_up(monkeypatch):
    release = threading.Event()
    monkeypatch.setenv("OFFLINE", "")
    monkeypatch.setattr(mnist_lookup, "CONNECT_TIMEOUT", 0.2)

    def hang(url, **kwargs):
        release.wait(30)
        raise mnist_lookup.requests.ConnectionError

    monkeypatch.setattr(mnist_lookup.requests, "head", hang)
    try:
        assert mnist_lookup._reachable(("http://hangs.invalid/",)) == ()
    finally:
        release.set()


def test_offline_asks_nobody(monkeypatch):
    asked = []
    monkeypatch.setattr(mnist_lookup.requests, "head", lambda url, **kwargs: asked.append(url))
    assert "OFFLINE is set" in sources.load("auto").provenance
    assert not asked
