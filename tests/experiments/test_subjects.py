"""Only what is classified correctly is attacked, and whom there is to attack depends on the files that are there."""

import pytest
import torch
from torch import nn

from lib.data import downloads
from lib.experiments import photographs
from lib.experiments.photographs import PROBE
from lib.measures.intervals import percent
from lib.networks import imagenet
from lib.store import Store
from tests.pictures_made import WNIDS, tiny_imagenet

torch.set_num_threads(1)

CPU = torch.device("cpu")
NUM_VALUES = 3 * 224 * 224
WHOLE = ["SqueezeNet 1.1", "AlexNet"]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Brightest(nn.Module):
    """Class 0, 1 or 2: which of red, green and blue is brightest on average."""

    def __init__(self, *sharpness: float):
        super().__init__()
        self.sharpness = nn.Parameter(torch.tensor(sharpness or (20.0,)), requires_grad=False)

    def forward(self, inputs):
        return self.sharpness * inputs.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return tiny_imagenet(tmp_path_factory.mktemp("data"), per_class=4)


@pytest.fixture(scope="module")
def backbone():
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return imagenet.AlexNet().eval().requires_grad_(False)


def test_ranks_count_the_classes_before_the_right_one(tiny):
    assert photographs.ranks(Brightest(), tiny.train, CPU).tolist() == [0] * 12
    assert photographs.ranks(Brightest(-20.0), tiny.train, CPU).tolist() == [2] * 12
    no_green = photographs.ranks(Brightest(20.0, 0.0, 20.0), tiny.train, CPU)
    assert no_green[tiny.train.labels != 1].tolist() == [0] * 8
    assert no_green[tiny.train.labels == 1].tolist() == [2] * 4


def test_only_pictures_that_are_classified_correctly_are_attacked(tiny):
    found = photographs.subject(Brightest(20.0, 0.0, 20.0), tiny.train, num_attacked=3, fixed=2, device=CPU)
    assert found.labels.tolist() == [0, 0, 0]  # green is never right, blue is what all will be turned into
    assert found.inputs.shape == (3, NUM_VALUES)
    assert found.top1 == percent(8, 12)
    assert found.top5.value == 100
    assert (found.network(found.inputs).argmax(dim=1) == found.labels).all()
    with pytest.raises(ValueError, match="only 0 are classified correctly"):
        photographs.subject(Brightest(-20.0), tiny.train, num_attacked=3, fixed=2, device=CPU)


def test_goals_are_one_class_for_all_and_wrong_ones_by_lot(tiny):
    found = photographs.subject(Brightest(), tiny.train, num_attacked=12, fixed=2, device=CPU)
    assert len(found.labels) == 8
    goals = found.goals(generator())
    assert list(goals) == ["to thing 3", "to random classes"]
    assert goals["to thing 3"].tolist() == [2] * 8
    drawn = goals["to random classes"]
    assert (drawn != found.labels).all()
    assert set(drawn.tolist()) == {0, 1, 2}
    assert torch.equal(drawn, found.goals(generator())["to random classes"])


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ((), []),
        (("SqueezeNet 1.1",), []),
        (("SqueezeNet 1.1", "imagenet-sample"), ["SqueezeNet 1.1"]),
        (("AlexNet", "Tiny ImageNet"), [PROBE]),
        (("AlexNet", "imagenet-sample"), ["AlexNet"]),
        (tuple(photographs.WANTED), [*WHOLE, PROBE]),
    ],
)
def test_which_networks_the_files_suffice_for(there, expected, backbone):
    everything = dict.fromkeys(photographs.WANTED) | {"SqueezeNet 1.1": imagenet.SqueezeNet(), "AlexNet": backbone}
    assert photographs.networks({name: everything[name] for name in there}) == expected


def test_without_its_fully_connected_layers_alexnet_is_attacked_as_features_only():
    found, _ = downloads.gather(photographs.WANTED, download=False)
    if "AlexNet" not in found or not imagenet.absent(found["AlexNet"]):
        pytest.skip("DATA_DIR has no AlexNet of which a part is missing")
    assert "AlexNet" not in photographs.networks(found)


def test_alexnets_features_get_a_layer_that_classifies(tiny, backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "GOLDFISH", WNIDS[1])
    found = {"AlexNet": backbone, "Tiny ImageNet": tiny}
    under_attack, trained = photographs.subjects(found, photographs.SCALES["paper"], Store(tmp_path), CPU)
    assert list(under_attack) == list(trained) == [PROBE]
    train, result = trained[PROBE]
    assert len(train) == 12
    assert result.losses[-1] < result.losses[0]
    subject = under_attack[PROBE]
    assert (subject.words[subject.fixed], subject.top1.value, subject.top1.n) == ("thing 2", 100, 3)
    assert subject.labels.tolist() == [0, 2]
