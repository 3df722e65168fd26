"""An artifact is whole or it is not there; a key finds its own artifact and no other."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lib.store.artifacts import Artifact, Artifacts, StoreWarning
from lib.store.identity import canonical, digest
from tests.faults import heed_permissions, needs_permissions, no_file_larger_than

REPOSITORY = Path(__file__).parents[2]
KEY = {"network": "softmax", "decay": 1e-4}


@dataclass(frozen=True)
class Config:
    decay: float
    layers: tuple[int, ...]


@dataclass(frozen=True)
class OtherConfig:
    decay: float
    layers: tuple[int, ...]


@pytest.fixture
def store(tmp_path):
    return Artifacts(tmp_path / "store")


def artifact(value=1.0):
    return Artifact({"weight": torch.full((3, 4), value), "bias": torch.zeros(3)}, {"error": value})


def must_not_make():
    raise AssertionError("made again")


def file_of(store, suffix):
    (path,) = store.root.glob(f"*{suffix}")
    return path


# What is put in comes out


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]
)
def test_roundtrip_is_bit_exact(store, dtype):
    tensor = (torch.randn(5, 7, generator=torch.Generator().manual_seed(0)) * 3).to(dtype)
    store.get("kind", KEY, lambda: Artifact({"x": tensor}))
    back = store.get("kind", KEY, must_not_make).tensors["x"]
    assert back.dtype == dtype
    assert torch.equal(back, tensor)


def test_nan_and_infinity_survive(store):
    odd = torch.tensor([float("nan"), float("inf"), -0.0])
    back = store.get("kind", KEY, lambda: Artifact({"x": odd}))
    assert torch.equal(back.tensors["x"].view(torch.int32), odd.view(torch.int32))


def test_views_scalars_and_empty_tensors(store):
    base = torch.arange(12.0).reshape(3, 4)
    made = {"base": base, "transposed": base.T, "column": base[:, 1], "scalar": torch.tensor(2.0), "none": base[:0]}
    back = store.get("kind", KEY, lambda: Artifact(made)).tensors
    assert back.keys() == made.keys()
    assert all(torch.equal(back[name], tensor) for name, tensor in made.items())


def test_parameters_come_back_as_plain_tensors(store):
    layer = torch.nn.Linear(2, 3)
    back = store.get("kind", KEY, lambda: Artifact(dict(layer.named_parameters()))).tensors
    assert not any(tensor.requires_grad for tensor in back.values())
    layer.load_state_dict(back)


def test_the_first_answer_equals_the_later_ones(store):
    made = Artifact({}, {"curve": (1.0, 0.1 + 0.2), "done": True, "config": Config(0.1, (1,))})
    first, later = store.get("kind", KEY, lambda: made).info, store.get("kind", KEY, must_not_make).info
    assert first == later
    assert first["curve"] == [1.0, 0.1 + 0.2]


def test_made_once(store):
    calls = []
    for _ in range(3):
        store.get("kind", KEY, lambda: calls.append(1) or artifact())
    assert len(calls) == 1


def test_make_may_ask_for_another_artifact(store):
    def outer():
        return store.get("inner", KEY, artifact)

    assert torch.equal(store.get("outer", KEY, outer).tensors["weight"], artifact().tensors["weight"])


def test_root_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("STORE_DIR", raising=False)
    assert Artifacts().root == REPOSITORY / "_build" / "store"
    monkeypatch.setenv("STORE_DIR", str(tmp_path))
    assert Artifacts().root == tmp_path


# Keys


def test_key_does_not_depend_on_order():
    assert canonical({"a": 1, "b": {"c": 2, "d": 3}}) == canonical({"b": {"d": 3, "c": 2}, "a": 1})


def test_key_takes_configs_paths_and_tuples(store):
    key = {"config": Config(1e-4, (100, 100)), "path": Path("a") / "b", "none": None, "box": (0.0, float("inf"))}
    store.get("kind", key, artifact)
    store.get("kind", dict(reversed(key.items())), must_not_make)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 1.0),
        (1, True),
        (1, "1"),
        (None, "null"),
        (0.1 + 0.2, 0.3),
        (Config(0.1, (1,)), OtherConfig(0.1, (1,))),
        (Config(0.1, (1, 2)), Config(0.1, (12,))),
        ([1, [2]], [[1], 2]),
    ],
)
def test_close_keys_are_distinct(one, other):
    assert digest({"x": one}) != digest({"x": other})


@pytest.mark.parametrize("value", [{1, 2}, {1: "a"}, object(), Config, b"bytes", len])
def test_key_refuses_what_has_no_exact_text(store, value):
    with pytest.raises(TypeError, match="cannot be part of a key"):
        store.get("kind", {"x": value}, must_not_make)


@pytest.mark.parametrize("kind", ["", "a/b", "..", "a b"])
def test_kind_is_a_file_name(store, kind):
    with pytest.raises(ValueError, match="kind"):
        store.get(kind, KEY, must_not_make)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.dictionaries(st.text(), values, max_size=4)


def same(one, other):
    """Equality that tells 1, 1.0, True and the zeros apart."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


@settings(deadline=None)
@given(keys, keys)
def test_digests_are_equal_exactly_when_keys_are(one, other):
    assert (digest(one) == digest(other)) == same(one, other)


def test_distinct_keys_have_distinct_artifacts(store):
    for index in range(20):
        store.get("kind", {"index": index}, lambda index=index: artifact(float(index)))
    for index in range(20):
        assert store.get("kind", {"index": index}, must_not_make).info == {"error": float(index)}


def test_kinds_do_not_mix(store):
    store.get("one", KEY, lambda: artifact(1.0))
    assert store.get("two", KEY, lambda: artifact(2.0)).info == {"error": 2.0}


# Damage


def flip(path, position, bit=1):
    contents = bytearray(path.read_bytes())
    contents[position] ^= bit
    path.write_bytes(contents)


def assert_made_again(store, path):
    with pytest.warns(StoreWarning, match=path.name):
        assert store.get("kind", KEY, lambda: artifact(2.0)).info == {"error": 2.0}
    assert store.get("kind", KEY, must_not_make).info == {"error": 2.0}


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("kept", [0.0, 0.5, 0.99])
def test_truncated_is_made_again(store, suffix, kept):
    store.get("kind", KEY, artifact)
    path = file_of(store, suffix)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    assert_made_again(store, path)


@pytest.mark.parametrize("position", [0, 9, 100, -1])
def test_flipped_tensor_bit_is_made_again(store, position):
    store.get("kind", KEY, artifact)
    path = file_of(store, ".safetensors")
    flip(path, position)
    assert_made_again(store, path)


def test_no_flipped_bit_of_the_json_changes_what_is_read(store):
    store.get("kind", KEY, artifact)
    path = file_of(store, ".json")
    whole = path.read_bytes()
    for position in range(len(whole)):
        flip(path, position, 1 << position % 8)
        try:
            back = store.get("kind", KEY, must_not_make)
        except (AssertionError, StoreWarning):
            pass  # seen: `make` was asked for
        else:
            assert back.info == {"error": 1.0}
        path.write_bytes(whole)


def test_edited_info_is_made_again(store):
    store.get("kind", KEY, artifact)
    path = file_of(store, ".json")
    path.write_text(path.read_text().replace('"error": 1.0', '"error": 0.0'))
    assert_made_again(store, path)


@pytest.mark.parametrize("text", ["[]", "{}", "null", '{"sha256": 1, "record": 2}'])
def test_foreign_json_is_made_again(store, text):
    store.get("kind", KEY, artifact)
    path = file_of(store, ".json")
    path.write_text(text)
    assert_made_again(store, path)


def test_missing_tensors_are_made_again(store):
    store.get("kind", KEY, artifact)
    path = file_of(store, ".safetensors")
    path.unlink()
    assert_made_again(store, path)


def test_the_files_of_another_key_are_not_taken(store):
    store.get("kind", KEY, artifact)
    mine = file_of(store, ".json")
    other = Artifacts(store.root / "other")
    other.get("kind", {"network": "other"}, lambda: artifact(3.0))
    for suffix in (".json", ".safetensors"):
        file_of(other, suffix).replace(mine.with_suffix(suffix))
    with pytest.warns(StoreWarning, match="another key"):
        assert store.get("kind", KEY, artifact).info == {"error": 1.0}


def test_a_make_that_raises_leaves_nothing(store):
    with pytest.raises(ZeroDivisionError):
        store.get("kind", KEY, lambda: 1 / 0)
    assert {path.suffix for path in store.root.iterdir()} <= {".lock"}
    assert store.get("kind", KEY, artifact).info == {"error": 1.0}


def test_info_that_json_cannot_hold_leaves_nothing(store):
    with pytest.raises(TypeError):
        store.get("kind", KEY, lambda: Artifact({}, {"x": object()}))
    assert {path.suffix for path in store.root.iterdir()} <= {".lock"}


def test_a_damaged_artifact_whose_remaking_fails_stays_damaged(store):
    store.get("kind", KEY, artifact)
    path = file_of(store, ".safetensors")
    flip(path, -1)
    with pytest.warns(StoreWarning), pytest.raises(ZeroDivisionError):
        store.get("kind", KEY, lambda: 1 / 0)
    assert_made_again(store, path)


# Other processes

PREAMBLE = """
import os, pathlib, signal, sys, time, torch
from lib.store.artifacts import Artifact, Artifacts
root, log = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
def make():
    with log.open("a") as file:
        file.write("made\\n")
    time.sleep(0.5)
    return Artifact({"weight": torch.ones(1000)}, {"error": 1.0})
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""
GET = "Artifacts(root).get('kind', {'network': 'softmax', 'decay': 1e-4}, make)\n"
DEATHS = {
    "while making": "make = die\n",
    "half the tensors written": (
        "def fsync(file):\n    os.ftruncate(file, os.fstat(file).st_size // 2)\n    die()\nos.fsync = fsync\n"
    ),
    "tensors not yet renamed": "os.replace = lambda *names: die()\n",
    "JSON not yet renamed": (
        "rename = os.replace\nos.replace = lambda old, new: die() if new.suffix == '.json' else rename(old, new)\n"
    ),
}


def start(tmp_path, script):
    command = [sys.executable, "-c", PREAMBLE + script, str(tmp_path / "store"), str(tmp_path / "log")]
    return subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.faults
@pytest.mark.parametrize("death", DEATHS.values(), ids=DEATHS.keys())
def test_a_killed_process_leaves_nothing_that_reads_as_whole(store, tmp_path, death):
    with start(tmp_path, death + GET) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, output
    with pytest.raises(ZeroDivisionError):
        store.get("kind", KEY, lambda: 1 / 0)  # takes the lock, cleans up, finds nothing to read
    assert not list(store.root.glob(".*.tmp"))
    assert store.get("kind", KEY, lambda: artifact(2.0)).info == {"error": 2.0}


def test_two_processes_make_once_and_wait_in_silence(store, tmp_path):
    # Both import torch first and then start at the same moment.
    script = (
        "(log.parent / f'ready-{os.getpid()}').touch()\n"
        "while len(list(log.parent.glob('ready-*'))) < 2: time.sleep(0.01)\n" + GET
    )
    with start(tmp_path, script) as one, start(tmp_path, script) as other:
        outputs = [process.communicate(timeout=60)[0] for process in (one, other)]
    assert (one.returncode, other.returncode, outputs) == (0, 0, [b"", b""])
    assert (tmp_path / "log").read_text() == "made\n"
    assert store.get("kind", KEY, must_not_make).info == {"error": 1.0}


# Places that cannot be written


@pytest.mark.faults
def test_a_complete_store_needs_no_right_to_write(store, monkeypatch):
    store.get("kind", KEY, artifact)
    before = sorted(path.name for path in store.root.iterdir())
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
    store.root.chmod(0o500)
    try:
        assert store.get("kind", KEY, must_not_make).info == {"error": 1.0}
        with pytest.raises(PermissionError, match=r"lacks a result that has to be computed, .* STORE_DIR"):
            store.get("kind", {"another": 1}, must_not_make)
    finally:
        store.root.chmod(0o700)
    assert sorted(path.name for path in store.root.iterdir()) == before


@pytest.mark.faults
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_folder_in_an_artifacts_place_is_named_and_refused(store, suffix):
    store.get("kind", KEY, artifact)
    path = file_of(store, suffix)
    path.unlink()
    path.mkdir()
    with (
        pytest.warns(StoreWarning, match="is a folder"),
        pytest.raises(IsADirectoryError, match=rf"{path.name}.*remove"),
    ):
        store.get("kind", KEY, artifact)


@pytest.mark.faults
@pytest.mark.parametrize(
    "text",
    ["[" * 100_000 + "]" * 100_000, *(json.dumps({"sha256": digest(it), "record": it}) for it in ({}, {"kind": 1}))],
)
def test_what_is_sealed_and_no_record_of_ours_is_made_again(store, text):
    store.get("kind", KEY, artifact)
    file_of(store, ".json").write_text(text)
    with pytest.warns(StoreWarning, match="making it again"):
        assert store.get("kind", KEY, artifact).info == {"error": 1.0}


@pytest.mark.faults
@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_link_to_itself_is_named_and_made_again(store, suffix):
    store.get("kind", KEY, artifact)
    path = file_of(store, suffix)
    path.unlink()
    path.symlink_to(path)
    with pytest.warns(StoreWarning, match="link to itself"):
        assert store.get("kind", KEY, artifact).info == {"error": 1.0}
    assert not path.is_symlink()


@pytest.mark.faults
@pytest.mark.parametrize("name", ["{}.lock", ".{}.x.tmp"])
def test_a_folder_in_the_place_of_a_lock_or_of_a_leftover_is_named(store, name):
    store.get("kind", KEY, artifact)
    stem = file_of(store, ".json").stem
    for path in store.root.iterdir():
        path.unlink()
    (store.root / name.format(stem)).mkdir()
    with pytest.raises(PermissionError, match=rf"the store {store.root} .*{stem}"):
        store.get("kind", KEY, must_not_make)


@pytest.mark.faults
def test_nobodys_home_is_no_store():
    with pytest.raises(ValueError, match="STORE_DIR is no folder: ~nobody-of-that-name/x"):
        Artifacts("~nobody-of-that-name/x")


# A full disk


@pytest.mark.faults
@pytest.mark.parametrize("num_bytes", [0, 50, 200])
def test_a_full_disk_is_named_and_what_was_kept_stays(store, num_bytes):
    store.get("kind", KEY, artifact)
    with no_file_larger_than(num_bytes), pytest.raises(OSError, match=r"File too large.*(safetensors|json)"):
        store.get("kind", {"another": 1}, artifact)
    assert not list(store.root.glob(".*.tmp"))
    assert store.get("kind", KEY, must_not_make).info == {"error": 1.0}
    assert store.get("kind", {"another": 1}, lambda: artifact(2.0)).info == {"error": 2.0}


@pytest.mark.faults
@needs_permissions
def test_a_store_that_truly_cannot_be_written_is_read_and_named(store, tmp_path):
    """In a process that heeds permissions, as root's does not."""
    store.get("kind", KEY, artifact)
    store.root.chmod(0o500)
    script = PREAMBLE + GET + "Artifacts(root).get('other', {}, make)\n"
    command = [sys.executable, "-c", script, str(store.root), str(tmp_path / "log")]
    try:
        result = subprocess.run(
            command, cwd=REPOSITORY, preexec_fn=heed_permissions, capture_output=True, encoding="utf-8"
        )
    finally:
        store.root.chmod(0o700)
    assert not (tmp_path / "log").exists()
    assert result.stderr.splitlines()[-1].startswith("PermissionError: the store")


@pytest.mark.faults
def test_a_file_in_the_stores_place_is_named(tmp_path):
    (tmp_path / "store").write_text("no folder")
    with pytest.raises(PermissionError, match=r"the store .*store lacks a result .* set STORE_DIR"):
        Artifacts(tmp_path / "store").get("kind", KEY, artifact)
