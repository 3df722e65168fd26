"""What is left of the networks in bytes answers as they do, and what it costs is counted."""

import json

import pytest
import torch
from torch import nn

from lib.data import sources
from lib.experiments import digits, live
from lib.measures.intervals import percent
from lib.record import ledger
from lib.store.calls import Store
from lib.store.files import ROOT

torch.set_num_threads(1)

NAMES = ("softmax 1e-2", "AE400-10")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = digits.begin("framework", "quick", "digits", "cpu", seed=0)
    vars(run)["store"] = Store(tmp_path_factory.mktemp("store"))
    return run


@pytest.fixture(scope="module")
def trained(run):
    return {name: run.trained(name) for name in NAMES}


def test_what_is_kept_answers_as_the_networks_do(run, trained):
    found = live.networks(live.packed(trained))
    assert list(found) == list(NAMES)
    for name, network in found.items():
        same = network(run.test.inputs).argmax(dim=1) == trained[name].network(run.test.inputs).argmax(dim=1)
        assert same.double().mean() > 0.98


def test_the_loss_is_the_difference_of_two_counts(run, trained):
    cells = live.lost(trained, live.networks(live.packed(trained)), run)
    for name in NAMES:
        whole = run.errors(trained[name])[live.ERROR].value
        assert cells[name, live.ERROR].value == pytest.approx(whole + cells[name, live.LOSS].value)
        assert cells[name, live.ERROR] == percent(
            round(cells[name, live.ERROR].value * len(run.test) / 100), len(run.test)
        )


def test_a_megabyte_is_enough(trained):
    assert len(live.packed(trained)) < 10**6
    assert set(json.loads(live.packed(trained))) == set(NAMES)


# --- On a page ------------------------------------------------------------------------------------


def test_before_anything_is_recorded_there_is_a_still_picture_and_no_script(tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    assert live.script() == ""
    assert live.element("../") == f'<img src="../{live.STILL}" alt="{live.WORDS}">'
    assert (ROOT / live.STILL).exists()


def test_what_is_recorded_is_what_the_page_attacks(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(ledger, "RESULTS", tmp_path)
    ledger.write(live.FILE, live.packed(trained))
    assert json.loads(live.packed(trained)) == json.loads(live.script().partition(" = ")[2].rstrip(";\n"))
    found = live.element("")
    assert 'data-labels="0123456789"' in found
    assert f'<img src="{live.STILL}" alt="{live.WORDS}">' in found


def test_one_digit_of_each_class_is_shown_and_most_networks_read_it():
    class First(nn.Module):
        """Reads every image as the class of the embedded digit that is most like it."""

        def forward(self, images):
            every = sources.embedded().test
            distances = torch.cdist(images, live.framed(every.inputs))
            return torch.zeros(len(images), 10).scatter_(1, every.labels[distances.argmin(dim=1)][:, None], 1.0)

    found = live.digits([First()])
    assert found.labels.tolist() == list(range(10))
    assert First()(found.inputs).argmax(dim=1).tolist() == list(range(10))


def test_a_framed_digit_lies_in_the_middle_and_keeps_its_ink():
    images = sources.embedded().test.inputs[:20]
    found = live.framed(images).view(-1, 28, 28)
    inside = found[:, 4:24, 4:24]
    assert found.sum() == pytest.approx(float(inside.sum()))
    torch.testing.assert_close(inside.mean(dim=(1, 2)), images.mean(dim=1), rtol=0.05, atol=0)
