"""Public files are found where they lie, downloaded whole or not at all, and asked for by name and address."""

import functools
import hashlib
import http.server
import threading
import zipfile
from dataclasses import replace

import pytest

from lib.data import downloads
from lib.data.downloads import DataError, MissingFileError, PublicFile

CONTENTS = b"weights " * 1000


@pytest.fixture
def places(tmp_path, monkeypatch):
    """DATA_DIR and the cache, both empty."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("OFFLINE", raising=False)
    monkeypatch.setattr(downloads, "cache_dir", lambda: tmp_path / "cache")
    return tmp_path / "data", tmp_path / "cache"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A PublicFile that a server on this machine offers."""
    (tmp_path / "server").mkdir()
    (tmp_path / "server" / "net.pth").write_bytes(CONTENTS)
    handler = functools.partial(Quiet, directory=tmp_path / "server")
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/net.pth"
        checksum = f"sha256:{hashlib.sha256(CONTENTS).hexdigest()}"
        yield PublicFile("net.pth", "weights", url, checksum, {"part.st": "", "half.st": checksum})
        server.shutdown()


def put(path, contents=CONTENTS):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return path


def test_data_dir_comes_before_the_cache_and_the_cache_before_the_network(places, served):
    data_dir, cache = places
    downloaded = downloads.obtain(served)
    assert downloaded == cache / "net.pth"
    assert downloaded.read_bytes() == CONTENTS
    assert downloads.obtain(replace(served, url="http://127.0.0.1:1/")) == downloaded
    above = put(data_dir / "net.pth")
    assert downloads.obtain(served) == above
    inside = put(data_dir / "weights" / "net.pth")
    assert downloads.obtain(served) == inside


def test_an_alias_stands_in_for_the_file(places, served):
    alias = put(places[0] / "weights" / "part.st")
    assert downloads.obtain(served, download=False) == alias


def test_the_first_digits_of_the_checksum_are_enough(places, served):
    assert downloads.obtain(replace(served, checksum=served.checksum[:15])).read_bytes() == CONTENTS


@pytest.mark.faults
@pytest.mark.parametrize("name", ["net.pth", "half.st"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_file_that_lies_there_with_another_checksum_is_refused_with_a_cure(places, served, name, place):
    path = put(places[place] / name, CONTENTS[:-1] + b"x")
    with pytest.raises(DataError, match="is damaged or another file") as error:
        downloads.obtain(served)
    for part in (str(path), "replace or delete it", served.url):
        assert part in str(error.value)


@pytest.mark.faults
@pytest.mark.parametrize("damage", [lambda zipped: zipped[:-30], lambda zipped: b"<html>log in</html>"])
def test_where_no_checksum_lasts_only_a_whole_zip_is_kept(places, served, tmp_path, damage):
    unchecked = replace(served, checksum="")
    with zipfile.ZipFile(tmp_path / "server" / "net.pth", "w") as archive:
        archive.writestr("member", CONTENTS)
    zipped = (tmp_path / "server" / "net.pth").read_bytes()
    (tmp_path / "server" / "net.pth").write_bytes(damage(zipped))
    with pytest.raises(DataError, match="no whole zip archive"):
        downloads.obtain(unchecked)
    assert not list(places[1].glob("*.pth*part"))
    (tmp_path / "server" / "net.pth").write_bytes(zipped)
    assert downloads.obtain(unchecked).read_bytes() == zipped


@pytest.mark.faults
def test_a_file_with_another_checksum_is_refused_and_not_kept(places, served):
    with pytest.raises(DataError, match=r"another file: its sha256 is"):
        downloads.obtain(replace(served, checksum="sha256:0000"))
    assert not list(places[1].glob("net.pth*t*.part"))
    assert not (places[1] / "net.pth").exists()


@pytest.mark.faults
@pytest.mark.parametrize("how", ["not asked", "offline", "no server", "not found"])
def test_what_is_missing_is_named_with_its_address_and_place(places, served, monkeypatch, how):
    if how == "offline":
        monkeypatch.setenv("OFFLINE", "1")
    if how == "no server":
        served = replace(served, url="http://127.0.0.1:1/net.pth")
    if how == "not found":
        served = replace(served, url=served.url + "x")
    with pytest.raises(MissingFileError) as error:
        downloads.obtain(served, download=how != "not asked")
    for part in ("net.pth", served.url, served.checksum, "DATA_DIR/weights/", "make pictures"):
        assert part in str(error.value)
    assert str(places[0]) not in str(error.value)  # pages say it: they name no folder of the machine
    assert not (places[1] / "net.pth").exists()


def test_what_is_there_is_gathered_and_what_is_not_says_why(places, served):
    def there(download):
        return f"loaded, download={download}"

    def absent(download):
        return downloads.obtain(served, download=download)

    found, reasons = downloads.gather({"one": there, "other": absent}, download=False)
    assert found == {"one": "loaded, download=False"}
    assert list(reasons) == ["other"]
    assert served.url in reasons["other"]
    with pytest.raises(DataError):  # not missing: damaged
        downloads.gather(
            {"bad": lambda download: downloads.verify(put(places[0] / "x", b"other"), served.checksum, served.url)},
            download=False,
        )


def test_a_banner_names_what_there_is_and_of_the_rest_why_not():
    whole = downloads.banner({"SqueezeNet": object(), "pictures": object()}, {})
    assert "This build has SqueezeNet, pictures.\n" in whole
    assert "missing" not in whole
    lacking = downloads.banner({}, {"SqueezeNet": "put it there", "pictures": "put them there"})
    assert "This build has none of the files." in lacking
    assert "- **SqueezeNet** is missing: put it there.\n- **pictures** is missing: put them there.\n" in lacking


def test_verify_accepts_what_it_should(places, served):
    downloads.verify(put(places[0] / "x"), served.checksum, served.url)
    downloads.verify(put(places[0] / "x", b"other"), "", served.url)
