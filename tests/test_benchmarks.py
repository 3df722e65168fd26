"""The benchmark measures what it says: same images for everybody, ratios that agree with the parts."""

import json

import pytest
import torch

from benchmarks import paired, peers, report, scaling
from benchmarks.attack import (
    OURS,
    Counted,
    compare,
    compare_untargeted,
    measure,
    over_exact,
    ratio,
    share_shorter,
    table,
)
from lib.attacks import exact, penalized
from lib.data import dataset, sources
from lib.experiments import digits
from lib.networks import mnist, training

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def problem():
    train, test, *_ = sources.embedded()
    spec = mnist.SPECS["softmax 1e-2"]
    network = mnist.build(spec, torch.Generator().manual_seed(0))
    training.fit(network, train.inputs, train.labels, spec.decay)
    images = test.take(12)
    targets = penalized.random_targets(images.labels, dataset.NUM_CLASSES, torch.Generator().manual_seed(1))
    return network.requires_grad_(False), images.inputs, targets


def test_bisection_finds_what_the_search_finds(problem):
    network, inputs, targets = problem
    few = slice(0, 3)
    ours = penalized.find_adversarial(network, inputs[few], targets[few]).distortion
    bisected = peers.scipy_bisection(network, inputs[few], targets[few])
    # Twelve bisections of a price over three decades leave 0.2 % in c, and the minimiser of the last success is kept.
    torch.testing.assert_close(penalized.distortion(bisected, inputs[few]), ours, rtol=2e-2, atol=0)


def test_figures_are_those_of_the_same_images(problem):
    network, inputs, targets = problem
    figures = compare(network, inputs, targets, inputs, budget=2, with_peers=False)
    ours = penalized.find_adversarial(network, inputs, targets)
    optimum = exact.minimum_perturbation(network[0], inputs, targets)
    methods = figures["methods"]
    assert {run["num_images"] for run in methods.values()} == {12}
    assert methods["ours"]["distortion"]["value"] == pytest.approx(ours.distortion.mean().item(), rel=1e-5)
    assert methods["ours"]["gradients"] == pytest.approx(ours.num_evaluations.double().mean().item(), rel=0.2)
    assert methods["ours"]["success"]["value"] == methods["tight"]["success"]["value"] == 1
    assert figures["speedup_vs_scipy"] == pytest.approx(methods["scipy"]["ms"] / methods["ours"]["ms"])
    assert 0.99 < figures["distortion_ratio_vs_scipy_same_search"] < 1.01
    assert figures["distortion_ratio_vs_exact"] == pytest.approx(
        (ours.distortion.mean() / optimum.distortion.mean()).item(), rel=1e-4
    )
    assert 1 <= figures["exact_gap_linear"] < 1.0005
    assert table({"softmax": figures}, OURS).count("softmax") == len(methods)
    each = [float(length) for length in methods["ours"]["lengths"].split()]
    assert each == pytest.approx(ours.distortion.tolist(), rel=1e-4)
    assert figures["tight_share_shorter_exact"] == 0


def test_untargeted_figures_are_of_the_images_that_are_given_their_labels(problem):
    network, inputs, _ = problem
    labels = network(inputs).argmax(dim=1)
    labels[0] = (labels[0] + 1) % 10  # misread: nothing to look for
    figures = compare_untargeted(network, inputs, labels, budget=2, with_peers=False)
    nearest, tightened = (figures["methods"][name] for name in ("nearest", "nearest_tight"))
    assert nearest["num_images"] == 11
    assert nearest["success"]["value"] == tightened["success"]["value"] == 1
    assert 0.9 < tightened["distortion"]["value"] / nearest["distortion"]["value"] <= 1.001


def test_a_peer_is_shorter_where_it_is_by_more_than_rounding_or_alone_succeeds():
    def run(lengths, success):
        return {"distortion": torch.tensor(lengths), "success": torch.tensor(success)}

    ours = run([1.0, 1.0, 1.0, 1.0, 1.0], [True, True, True, True, False])
    theirs = run([0.9995, 0.99, 0.5, 1.0], [True, True, False, True])
    assert share_shorter(ours, theirs) == 1 / 4
    assert share_shorter(theirs, ours) == 1 / 4  # where theirs failed
    alone = run([1.0] * 5, [True] * 5)
    assert share_shorter(ours, alone) == 1 / 5


def test_of_a_small_rectified_network_everybody_is_held_against_the_nearest_image():
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(30, 6), torch.nn.ReLU(), torch.nn.Linear(6, 4))
    network.eval().requires_grad_(False)
    inputs = torch.rand(12, 30, generator=generator)
    network[-1].bias -= network(inputs).mean(dim=0)  # all classes are about as likely
    targets = network(inputs).topk(2).indices[:, 1]
    figures = compare(network, inputs, targets, inputs, budget=2, with_peers=False)
    methods, over = figures["methods"], figures["over_exact"]
    assert methods["exact"]["num_images"] == 12
    assert methods["exact"]["success"]["value"] == methods["tight"]["success"]["value"] > 0.9
    assert over["exact"] == 1
    assert all(value >= 1 - 1e-5 for value in over.values())
    assert over["tight"] <= over["ours"] * (1 + 1e-4)
    assert over["tight"] == pytest.approx(figures["tight_distortion_ratio_vs_exact"])
    failed = {"success": torch.tensor([True, False]), "distortion": torch.tensor([2.0, 9.0])}
    assert over_exact(failed, {"success": torch.ones(3, dtype=torch.bool), "distortion": torch.ones(3)}) == 2


def test_a_slow_method_gets_fewer_images_and_ratios_are_over_those(problem):
    network, inputs, targets = problem
    more, more_targets = inputs.repeat(3, 1), targets.repeat(3)
    fast = measure(lambda n, x, t: penalized.find_adversarial(n, x, t).adversarial, network, more, more_targets, 100)
    slow = measure(peers.scipy_in_our_search, network, more, more_targets, budget=0)
    assert (fast["num_images"], slow["num_images"]) == (36, 20)
    expected = fast["distortion"][:20].mean() / slow["distortion"].mean()
    assert ratio(fast, slow) == pytest.approx(expected.item())
    missed = fast | {"success": fast["success"].clone(), "distortion": fast["distortion"].clone()}
    missed["success"][3], missed["distortion"][3] = False, 0.0
    assert ratio(missed, slow) == float("inf")
    slow["success"][5:] = False
    assert ratio(fast, slow) == pytest.approx((fast["distortion"][:5].mean() / slow["distortion"][:5].mean()).item())


def test_the_readme_tells_the_recorded_figures():
    """Run `python -m benchmarks.report` after a new benchmarks/attack.json."""
    facts = json.loads((report.HERE / "attack.json").read_text())
    assert (report.HERE / "README.md").read_text().endswith(report.HEADING + "\n" + report.report(facts))


def test_gradients_are_counted(problem):
    network, inputs, targets = problem
    counted = Counted(network)
    penalized.loss_gradient(counted, inputs, targets)
    counted(inputs)
    assert counted.num_gradients == 12
    few = slice(0, 2)
    peers.scipy_in_our_search(counted, inputs[few], targets[few])  # on a copy
    assert counted.num_gradients > 12


def test_foolbox_agrees_about_who_succeeds(problem):
    pytest.importorskip("foolbox", reason="benchmarks/requirements.txt is not installed")
    network, inputs, targets = problem
    adversarial = peers.foolbox_attack("DDNAttack", steps=100)(network, inputs, targets)
    assert (network(adversarial).argmax(dim=1) == targets).all()
    assert ((adversarial >= 0) & (adversarial <= 1)).all()


@pytest.mark.parametrize(
    ("name", "targeted", "options"),
    [("fmn", True, {"norm": 2, "steps": 100}), ("pdgd", True, {}), ("alma", True, {}), ("sdf", False, {})],
)
def test_adversarial_librarys_attacks_are_called_as_they_want(problem, name, targeted, options):
    pytest.importorskip("adv_lib", reason="benchmarks/requirements.txt is not installed")
    network, inputs, targets = problem
    classes = targets if targeted else network(inputs).argmax(dim=1)
    adversarial = peers.adversarial_library_attack(name, targeted, **options)(network, inputs, classes)
    assert ((network(adversarial).argmax(dim=1) == classes) == targeted).any()  # FMN needs more steps for the rest
    assert ((adversarial >= 0) & (adversarial <= 1)).all()
    assert not adversarial.requires_grad


def test_scaling_reports_every_field(monkeypatch):
    monkeypatch.setattr(scaling, "SIDES", (14, 28))
    monkeypatch.setattr(scaling, "NUM_IMAGES", (10,))
    monkeypatch.setattr(scaling, "BATCH", 100)
    run = digits.begin("benchmark", "quick", "digits", "cpu", seed=0)
    figures = scaling.measure(run, ["softmax 1e-4"])
    assert figures.keys() == set(scaling.FIELDS)
    assert [f["num_images"] for f in figures["images"]] == [10, len(run.train)]
    assert all(f["images_per_second"] > 0 and f["memory_mb"] >= 0 for f in figures["images"])
    floor = figures["floor"]["softmax 1e-4"]
    assert 0 < floor["fraction_of_floor_reached"] < 1
    full_memory = 4 * 784 * floor["gradients"] * (2 * 11 + 2)
    assert 0.05 * full_memory < floor["history_bytes"] < 0.6 * full_memory  # each minimisation starts without history
    assert figures["stationary"]["softmax 1e-4"] >= 0.95
    assert sum(figures["operations"]["softmax 1e-4"].values()) <= 1


def test_resizing_there_and_back_keeps_the_image():
    images = torch.rand(3, 784).view(3, 1, 28, 28)
    smooth = torch.nn.functional.avg_pool2d(images, 5, stride=1, padding=2, count_include_pad=False).flatten(1)
    back = scaling.resized(scaling.resized(smooth, 28, 56), 56, 28)
    assert (back - smooth).abs().max() < 0.1


def test_a_tree_beside_itself_finds_the_same(tmp_path):
    network = mnist.build(mnist.SPECS["softmax 1"], torch.Generator().manual_seed(1)).requires_grad_(False)
    inputs = torch.rand(4, 784, generator=torch.Generator().manual_seed(0))
    targets = network(inputs).topk(2).indices[:, 1]
    file = tmp_path / "networks.safetensors"
    paired.save({"softmax 1": network}, {"inputs": inputs, "targets": targets}, file)
    first, again = (paired.in_tree(report.HERE.parent, file) for _ in range(2))
    assert first.keys() == {"softmax 1, attack", "softmax 1, tight"}
    for case, found in first.items():
        assert found["success"] == 4
        assert found["distortion"] == again[case]["distortion"]
        assert paired.ratios([(first, again)], case)[0] > 0
