"""Only what is classified correctly is attacked, what is found is kept, and the tables say of it what is so."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from lib.attacks import penalized
from lib.attacks.arguments import AlreadyTargetsWarning
from lib.attacks.penalized import AttackConfig
from lib.attacks.tight import TightConfig
from lib.data import downloads
from lib.experiments import photographs, profiles, searches
from lib.experiments.photographs import COARSENED, PROBE, SHARP, TINY, Attacked, Subject
from lib.measures.intervals import percent
from lib.networks import imagenet
from lib.store import code
from lib.store.calls import Store
from tests.networks_made import TwoSided
from tests.pictures_made import WNIDS, tiny_imagenet

torch.set_num_threads(1)

CPU = torch.device("cpu")
NUM_VALUES = 3 * 224 * 224
WHOLE = ["SqueezeNet 1.1", "AlexNet"]
PAPER = profiles.PROFILES["paper"].photographs


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


@pytest.fixture(scope="module")
def linear() -> tuple[Subject, torch.Tensor]:
    """Pictures in the middle of the box and a linear network, and the classes that it does not give them."""
    inputs = 0.5 + 0.05 * torch.randn(6, NUM_VALUES, generator=generator(2))
    network = TwoSided(NUM_VALUES).eval()
    labels = network(inputs).argmax(dim=1)
    everything = percent(6, 6)
    return Subject(network, inputs, labels, ("no", "yes"), 1, everything, everything), 1 - labels


@pytest.fixture(scope="module")
def attacked(linear, tmp_path_factory) -> Attacked:
    return photographs.attack(*linear, AttackConfig(), Store(tmp_path_factory.mktemp("store")))


# --- Who is attacked ------------------------------------------------------------------------------


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
    under_attack, trained = photographs.subjects(found, PAPER, Store(tmp_path), CPU)
    assert list(under_attack) == list(trained) == [PROBE]
    assert trained[PROBE].losses[-1] < trained[PROBE].losses[0]
    subject = under_attack[PROBE]
    assert subject.num_train == 12
    assert (subject.words[subject.fixed], subject.top1.value, subject.top1.n) == ("thing 2", 100, 3)
    assert subject.labels.tolist() == [0, 2]


# --- The attack -----------------------------------------------------------------------------------


def exact_distances(subject: Subject) -> torch.Tensor:
    """To the plane between the two classes, root mean square over pixels."""
    weight = subject.network.weight
    return ((subject.inputs - 0.5) @ weight).abs() / weight.norm() / NUM_VALUES**0.5


def test_the_attack_is_that_of_section_4_1_and_finds_the_nearest_point_of_the_plane(linear, attacked):
    subject, targets = linear
    result = attacked.result
    assert result.success.all()
    assert ((result.distortion / exact_distances(subject) - 1).abs() < 1e-2).all()
    plain = penalized.find_adversarial(subject.network, subject.inputs, targets, AttackConfig())
    torch.testing.assert_close(result.distortion, plain.distortion, rtol=1e-3, atol=0)


def test_it_is_kept_and_not_made_again(linear, tmp_path, monkeypatch):
    subject, targets = linear
    monkeypatch.setattr(photographs, "ATTACKED", 4)
    store, cheap = Store(tmp_path), AttackConfig(tolerance=0.5, max_searches=1)
    first = photographs.attack(subject, targets, cheap, store)
    assert store.num_made == 2  # six pictures, four at a time
    again = photographs.attack(subject, targets, cheap, store)
    assert store.num_made == 2
    assert first.seconds == again.seconds > 0
    found = zip(vars(first.result).values(), vars(again.result).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in found)
    with pytest.warns(AlreadyTargetsWarning):  # the other classes are those that the network gives
        photographs.attack(subject, 1 - targets, cheap, store)
    assert store.num_made == 4


def test_another_code_of_the_network_is_another_attack(linear, attacked, tmp_path, monkeypatch):
    """Preprocessing is code, not weights: the same state dict with another one is another network."""
    subject, targets = linear
    store, cheap = Store(tmp_path), AttackConfig(tolerance=0.5, max_searches=1)

    def everything() -> None:
        photographs.attack(subject, targets, cheap, store)
        photographs.tightened(attacked, TightConfig(), store)
        searches.stopped_early(attacked.plain, 10, torch.rand(6, generator=generator()), cheap, store)

    everything()
    assert store.num_made == 3
    monkeypatch.setattr(code, "version", lambda sources: "edited")
    everything()
    assert store.num_made == 6


def test_the_first_pictures_and_what_was_found_for_them(attacked):
    some = attacked.first(2)
    assert len(some.subject.inputs) == len(some.subject.labels) == len(some.targets) == len(some.result.success) == 2
    assert torch.equal(some.result.adversarial, attacked.result.adversarial[:2])


def test_the_tight_attack_ends_on_the_plane_and_is_kept(attacked, tmp_path):
    store = Store(tmp_path)
    found = photographs.tightened(attacked, TightConfig(), store)
    assert found.success.all()
    torch.testing.assert_close(found.distortion, exact_distances(attacked.subject), rtol=1e-3, atol=0)
    again = photographs.tightened(attacked, TightConfig(), store)
    assert all(torch.equal(a, b) for a, b in zip(vars(found).values(), vars(again).values(), strict=True))
    assert store.num_made == 1


# --- The tables -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(attacked) -> dict[str, Attacked]:
    """One network, attacked to one class for all and to random ones, which are the same in this case."""
    return {"linear, to yes": attacked, f"linear, {photographs.RANDOM}": attacked}


def test_random_targets_are_told_apart_by_the_case(cases, attacked):
    assert photographs.at_random(cases) == {"linear": attacked}
    (name, pairs), *others = photographs.pairs(cases, num=2).items()
    assert (name, len(pairs), others) == ("linear", 2, [])
    for i, pair in enumerate(pairs):
        assert torch.equal(pair.original.flatten(), attacked.subject.inputs[i])
        assert torch.equal(pair.adversarial.flatten(), attacked.result.adversarial[i])
        assert pair.original.shape == photographs.SHAPE
        assert {pair.said, pair.says} == {"no", "yes"}
        for times, shown in pair.differences.items():
            expected = times * (pair.adversarial - pair.original) + 128 / 255
            torch.testing.assert_close(shown, expected.clamp(0, 1))


def test_lengths_are_those_of_the_result(cases, attacked):
    cells = photographs.lengths(cases)
    distortion = attacked.result.distortion
    assert cells["linear, to yes", "distortion"].value == pytest.approx(float(distortion.mean()))
    assert cells["linear, to yes", "root mean square"].value == pytest.approx(float(distortion.square().mean().sqrt()))
    assert cells["linear, to yes", "success (%)"] == percent(6, 6)
    assert cells["linear, to yes", "attack (s)"].value == attacked.seconds
    assert len(cells) == 2 * 4


def test_searches_compare_the_same_pictures_in_every_column(attacked, tmp_path):
    scale = replace(PAPER, num_coarse=4, attack=AttackConfig())
    cells = photographs.searched({"linear": attacked}, scale, 0, Store(tmp_path))
    assert [way for _, way in cells] == ["tight attack", "as found", "q = 10", "q = 100"]
    values = [estimate.value for estimate in cells.values()]
    assert values[0] <= values[1] * 1.001  # the tight attack is never longer
    assert values[1] < values[2] < values[3]
    assert len({estimate.n for estimate in cells.values()}) == 1
    nothing = replace(attacked, result=replace(attacked.result, c=torch.full((6,), torch.nan)))
    assert photographs.searched({"linear": nothing}, scale, 0, Store(tmp_path)) == {}


def test_transfers_hold_every_network_against_every_set(attacked):
    cells = photographs.transfers({"one": attacked, "two": attacked}, noise=0)
    assert len(cells) == 2 * 3 * 2 * 2
    assert cells["one: its own, as found", "one (%)"] == percent(6, 6)
    assert cells["one: its own, amplified", "two (%)"] == cells["two: its own, amplified", "one (%)"]
    told = {cell: estimate.value for cell, estimate in cells.items()}
    moves = photographs.amplified_moves(told, "one", "two")
    assert list(moves) == ["its own", "that of another", "noise"]
    assert moves["its own"] == told["one: its own, amplified", "two (%)"]


def test_detail_is_taken_away_step_by_step(linear):
    """A network that knows the mean colours only does not mind; rows are sets of pictures, the other network's last."""
    pictures = linear[0].inputs.clone()
    network = nn.Sequential(nn.Unflatten(1, photographs.SHAPE), Brightest())
    subject = replace(linear[0], network=network, inputs=pictures)
    assert photographs.resolution({}, noise=0) == {}
    cells = photographs.resolution({"SqueezeNet 1.1": subject}, noise=0)
    assert list(dict.fromkeys(row for row, _ in cells)) == [SHARP, *COARSENED.values()]
    leads = [cells[row, "lead"].value for row in (SHARP, *COARSENED.values())]
    assert leads == pytest.approx([leads[0]] * 3, rel=0.02)
    both = photographs.resolution({"SqueezeNet 1.1": subject, PROBE: subject}, noise=0)
    assert both[TINY, "lead"] == both[SHARP, "lead"]


def test_provenance_tells_weights_and_pictures_apart(linear):
    subject = linear[0]
    one = photographs.provenance({"a": subject})["a"]
    assert one["num_attacked"] == one["num_judged"] == 6
    other = photographs.provenance({"a": replace(subject, inputs=subject.inputs + 1)})["a"]
    assert other["weights"] == one["weights"]
    assert other["inputs"] != one["inputs"]


def test_accuracy_says_what_a_layer_of_our_own_was_trained_on(linear):
    subject = linear[0]
    cells = photographs.accuracy({"whole": subject, "ours": replace(subject, num_train=12)})
    assert cells["ours", "trained on"].value == 12
    assert ("whole", "trained on") not in cells
    assert cells["whole", "top-1 (%)"] == percent(6, 6)
