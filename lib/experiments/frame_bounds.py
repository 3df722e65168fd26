"""Frame bounds of whole networks as cells of tables (section 4.3, Table 5): which layers, and which numbers of each.

Rows are layers, "conv1, AlexNet" or "100-100-10, layer 2". Low and high of a cell are proven bounds, up to rounding.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from lib.experiments import photographs, seeds
from lib.experiments.digits import Experiment
from lib.measures import certificates, effects, intervals, spectral
from lib.measures.intervals import Estimate
from lib.measures.spectral import Convolution
from lib.networks import imagenet, mnist
from lib.networks.imagenet import Normalize
from lib.record import claims, markdown
from lib.record.ledger import Cells
from lib.record.tables import Table, Told, one_voice

DIGIT = (28, 28)
WANTED = photographs.WANTED | {"Caffe's network": imagenet.caffenet}  # all that the chapter reads, by who reads it
UNDER_ATTACK = ("SqueezeNet 1.1", photographs.PROBE)  # in Figure 5
FIRST = {"conv1, AlexNet": "AlexNet", "conv1, Caffe's": "Caffe's network"}
PER_PIXEL = "upper, of pixels in [0, 1]"
WAYS = ("upper", "upper on a torus", "upper as printed", "upper without a factor", "upper on the kernel's grid")
ALEXNET = {layer: f"{layer}, AlexNet" for layer in claims.NEAREST}

# --- The digits' networks -------------------------------------------------------------------------


def of_digits(networks: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The layers with weights of networks of section 2, in float64: {"100-100-10, layer 2": layer}."""
    chains = {name: certificates.as_layers(network) for name, network in networks.items()}
    return {
        f"{name}, layer {i}": layer
        for name, chain in chains.items()
        for i, layer in enumerate((x for x in chain if isinstance(x, (nn.Linear, nn.Conv2d))), start=1)
    }


def digits_bounds(layers: Mapping[str, nn.Module], run: Experiment) -> Cells:
    """Columns upper, least, lower of `of_digits`.

    A convolution's norm comes from an iteration: what it has reached is attained, and the torus sets the limit.
    Raises ValueError for a convolution too large for its least singular value to be exact.
    """
    cells = {}
    for row, layer in layers.items():
        if isinstance(layer, nn.Linear):
            lower, least, upper = map(effects.exactly, spectral.dense_bounds(layer.weight))
        else:
            lower, least, upper = _small_convolution(layer, run)
        cells |= {(row, "upper"): upper, (row, "least"): least, (row, "lower"): lower}
    return cells


def _small_convolution(layer: nn.Conv2d, run: Experiment) -> tuple[Estimate, Estimate, Estimate]:
    convolution = Convolution.of(layer, DIGIT)
    if math.prod(convolution.input_shape) > spectral.WRITTEN_DOWN:
        raise ValueError(f"{layer} on {DIGIT} pixels is too large to be written down")
    lower, least, upper = convolution.bounds(seeds.generator(run.seeds.noise), run.profile.num_lanczos)
    limit = spectral.lipschitz(layer, convolution.input_shape)
    return effects.exactly(lower), effects.exactly(least), Estimate(upper, upper, limit, 1)


def digits_spectra(layers: Mapping[str, nn.Module]) -> dict[str, dict[str, Tensor]]:
    """All singular values of each layer, by panel; the linear networks share one."""
    panels: dict[str, dict[str, Tensor]] = {}
    for row, layer in layers.items():
        name, number = row.split(", ")
        panel, line = ("softmax", name) if name in mnist.LINEAR else (name, number)
        dense = isinstance(layer, nn.Linear)
        values = torch.linalg.svdvals(layer.weight) if dense else _on_small_torus(layer)
        panels.setdefault(panel, {})[line] = values
    return panels


def _on_small_torus(layer: nn.Conv2d) -> Tensor:
    return spectral.torus_spectrum(Convolution.of(layer, DIGIT), 32)


def num_idle_directions(layers: Mapping[str, nn.Module]) -> int:
    """Of how many networks the last layer's least singular value is below a third of the one before it.

    layers : as from `of_digits`. To add one vector to all w_k changes no softmax, so the data say nothing about it.
    """
    last = {row.split(", ")[0]: layer for row, layer in layers.items()}
    ends = [torch.linalg.svdvals(layer.weight)[-2:] for layer in last.values()]
    return sum(bool(least < before / 3) for before, least in ends)


# --- Table 5 --------------------------------------------------------------------------------------


def public_layers(found: Mapping[str, object], device: torch.device) -> dict[str, Convolution]:
    """The layers that stand beside Table 5's, as far as their weights are there: "conv1, AlexNet", "conv1, Caffe's".

    found : networks by the names of `WANTED`. A dense layer is a convolution of a single pixel.
    """
    layers: dict[str, Convolution] = {}
    if alexnet := found.get("AlexNet"):
        dense = [layer for layer in alexnet.modules() if isinstance(layer, nn.Linear)]
        layers |= _numbered("conv{}, AlexNet", _met_by_picture(alexnet.features).values())
        layers |= _numbered("FC{}, AlexNet", [Convolution(x.weight[..., None, None], (1, 1)) for x in dense])
    if caffe := found.get("Caffe's network"):
        first_two = nn.Sequential(caffe.conv1, caffe.relu, caffe.pool, caffe.conv2)
        layers |= _numbered("conv{}, Caffe's", _met_by_picture(first_two).values())
    return {row: layer.to(device) for row, layer in layers.items()}


def _met_by_picture(network: nn.Module) -> dict[str, Convolution]:
    return spectral.convolutions(network, torch.zeros(1, *photographs.SHAPE).to(next(network.parameters())))


def _numbered(label: str, layers: Iterable[Convolution]) -> dict[str, Convolution]:
    return {label.format(i): layer for i, layer in enumerate(layers, start=1)}


def per_pixel(normalize: Normalize, layer: Convolution) -> Convolution:
    """A first convolution as a function of pixels in [0, 1]: the normalisation before it divides by `std`."""
    weight = layer.weight.flip(1) if normalize.bgr else layer.weight
    return replace(layer, weight=weight / normalize.std.to(weight))


def _norm(layer: Convolution, run: Experiment) -> Estimate:
    """The zero-padded operator's norm: what the iteration attained, and between that and the torus' norm the truth."""
    attained = run.store.call(spectral.largest_singular_value, layer, seeds.generator(run.seeds.noise))
    return Estimate(attained, attained, float(_spectrum(layer, run).max()), 1)


def _spectrum(layer: Convolution, run: Experiment) -> Tensor:
    """All its singular values on the smallest torus that it fits on; the shape is `spectral.torus_spectrum`'s."""
    return run.store.call(spectral.torus_spectrum, layer, spectral.torus_side(layer))


def spectra(layers: Mapping[str, Convolution], run: Experiment) -> dict[str, dict[str, Tensor]]:
    """Their spectra, for a panel for each network; rows are "layer, network"."""
    panels: dict[str, dict[str, Tensor]] = {}
    for row, layer in layers.items():
        name, network = row.split(", ")
        panels.setdefault(network, {})[name] = _spectrum(layer, run)
    return panels


def bounds(layer: Convolution, run: Experiment) -> dict[str, Estimate]:
    """The ends of a layer's spectrum by every way of computing them, by column. Of a dense layer both are exact."""
    values = _spectrum(layer, run)
    largest, least = float(values.max()), float(values.min())
    if layer.size == (1, 1):  # nothing wraps around a single pixel
        return {"upper": effects.exactly(largest), "least": effects.exactly(least)}
    stride = math.sqrt(math.prod(layer.stride))
    return {"upper": _norm(layer, run), "least": _least(layer, run)} | {
        column: effects.exactly(value)
        for column, value in {
            "upper on a torus": largest,
            "least on a torus": least,
            "upper as printed": largest / stride,
            "upper without a factor": largest * stride,
            "upper on the kernel's grid": spectral.norm_on_kernel_grid(layer),
        }.items()
    }


def _least(layer: Convolution, run: Experiment) -> Estimate:
    generator = seeds.generator(run.seeds.noise)
    attained = run.store.call(spectral.least_singular_value, layer, generator, run.profile.num_lanczos)
    return Estimate(attained, 0.0, attained, 1)


def table5(layers: Mapping[str, Convolution], found: Mapping[str, object], run: Experiment) -> Cells:
    """`bounds` of all `public_layers`, and the norms of first ones as functions of pixels in [0, 1]."""
    cells = {(row, column): e for row, layer in layers.items() for column, e in bounds(layer, run).items()}
    for row, network in FIRST.items():
        if row in layers:
            cells[row, PER_PIXEL] = _norm(per_pixel(found[network].normalize, layers[row]), run)
    return cells


# --- SqueezeNet -----------------------------------------------------------------------------------

PARTS = ("alone", "squeeze", "expand1x1", "expand3x3")
PLACES = (3, 4, 6, 7, 9, 10, 11, 12)  # of the modules in torchvision's list
FIRES = {place: f"fire{i}" for i, place in enumerate(PLACES, start=2)}  # their published names
MODULES = ("conv1", *FIRES.values(), "conv10")


def squeezenet_layers(found: Mapping[str, object], device: torch.device) -> dict[tuple[str, str], Convolution]:
    """The convolutions of SqueezeNet 1.1 by published module and part; none without its weights."""
    if "SqueezeNet 1.1" not in found:
        return {}
    layers = _met_by_picture(found["SqueezeNet 1.1"])
    return {_published_name(name): layer.to(device) for name, layer in layers.items()}


def _published_name(name: str) -> tuple[str, str]:
    """Module and part, from torchvision's name of a convolution of SqueezeNet."""
    group, number, *part = name.split(".")
    if part:
        return FIRES[int(number)], part[0]
    return ("conv1" if group == "features" else "conv10"), "alone"


def squeezenet(layers: Mapping[tuple[str, str], Convolution], run: Experiment) -> Cells:
    """Norms as applied, and least singular values on a torus; rows are modules, columns parts."""
    cells = {cell: _norm(layer, run) for cell, layer in layers.items()}
    least = {cell: float(_spectrum(layer, run).min()) for cell, layer in layers.items()}
    return cells | {(module, f"{part}, least"): effects.exactly(v) for (module, part), v in least.items()}


def squeezenet_spectra(layers: Mapping[tuple[str, str], Convolution], run: Experiment) -> dict[str, dict[str, Tensor]]:
    """Their spectra, for a panel for each part."""
    panels: dict[str, dict[str, Tensor]] = {}
    for (module, part), layer in layers.items():
        panels.setdefault(part, {})[module] = _spectrum(layer, run)
    return panels


# --- The first layer ------------------------------------------------------------------------------


def first_layer(found: Mapping[str, object], run: Experiment) -> Cells:
    """How far first convolutions stretch the perturbations of Figure 5, and random ones: means over its pictures.

    Of pixels in [0, 1]. Empty where the pictures are missing; "largest possible" is the norm.
    """
    if not photographs.networks(found):
        return {}
    subjects, _ = photographs.subjects(found, run.profile.photographs, run.store, run.device)
    cells = {}
    for name, subject in subjects.items():
        found_for = _attacked(subject, run)
        layer = first_convolution(subject.network[1]).to(run.device)
        drawn = torch.randn(found_for.shape, generator=seeds.generator(run.seeds.noise)).to(found_for)
        for column, each in {"adversarial": found_for, "random direction": drawn}.items():
            cells[name, f"growth, {column}"] = mean_growth(layer, each)
        cells[name, "largest possible"] = _norm(layer, run)
    return cells


def _attacked(subject: photographs.Subject, run: Experiment) -> Tensor:
    """What the attack added to each picture, (kinds of targets, N, pixels); zero where it failed."""
    goals = subject.goals(seeds.generator(run.seeds.targets))
    config = run.profile.photographs.attack
    found = [photographs.attack(subject, goal, config, run.store).result for goal in goals.values()]
    return torch.stack([result.adversarial - subject.inputs for result in found])


def first_convolution(network: nn.Module) -> Convolution:
    """Normalisation and first convolution of a network for pictures, as one linear map of pixels in [0, 1]."""
    network = getattr(network, "backbone", network)
    return per_pixel(network.normalize, next(iter(_met_by_picture(network.features).values())))


@torch.no_grad()
def mean_growth(layer: Convolution, perturbations: Tensor) -> Estimate:
    """|W r| / |r| of perturbations (kinds, N, pixels): mean over pictures of the mean over the kinds that are not 0."""
    lengths = perturbations.norm(dim=2)
    stretched = torch.stack([layer(each).norm(dim=1) for each in perturbations])
    growth = torch.where(lengths > 0, stretched / lengths, torch.nan).nanmean(dim=0)
    return intervals.mean(growth[~growth.isnan()].cpu().numpy())


# --- Pooling --------------------------------------------------------------------------------------


def pooling(expansion: float) -> Cells:
    """By how much the paper's own pooling was seen to expand a difference."""
    return {("3 x 3 windows every 2 pixels", "expansion"): effects.exactly(expansion)}


# --- Tables turned, and numbers for sentences -----------------------------------------------------


def by_layer(table: Table, columns: Mapping[str, str], printed: Mapping[str, str]) -> Table:
    """Table 5 with its networks side by side: rows are layers.

    columns : of ours to show, and what to call them, with {} for the network; printed : the same for the paper's.
    """

    def turned(cells: Cells) -> Cells:
        split = {(*row.split(", "), column): estimate for (row, column), estimate in cells.items() if column in columns}
        return {(layer, columns[column].format(network)): e for (layer, network, column), e in split.items()}

    digits = {(row, printed[column]): value for (row, column), value in table.digits.items() if column in printed}
    return replace(table, now=turned(table.now), recorded=turned(table.recorded), seeds={}, digits=digits)


def discrepancy(table: Table) -> float:
    """By which part this build's norms differ from those recorded, at the most; 0 where there is nothing to compare.

    The weights are public: whoever builds this must find the same. How far down an iteration came is not compared.
    """
    same = [cell for cell in table.now if cell in table.recorded and cell[1] != "least"]
    return max((abs(table.now[cell].value / table.recorded[cell].value - 1) for cell in same), default=0.0)


def slack(told: Told) -> float:
    """By which part a norm lies below that on its torus, at the most; nan where none is known."""
    rows = [row for row, column in told if column == "upper on a torus"]
    return max((1 - told[row, "upper"] / told[row, "upper on a torus"] for row in rows), default=math.nan)


def norms(told: Told, columns: Iterable[str] = ("upper",)) -> list[float]:
    """All norms of a table, those in `columns`, from the least to the largest; [nan] where there are none."""
    return sorted(value for (_, column), value in told.items() if column in columns) or [math.nan]


def times_off(table: Table, column: str, rows: Mapping[str, str] = claims.NEAREST) -> float:
    """The largest factor between a layer's number and the paper's last one; {layer: row} says whose is taken."""
    ours = np.array([table.told[row, column] for row in rows.values()])
    printed = np.array([table.printed[layer, "upper (v4)"] for layer in rows])
    return float(np.exp(np.abs(np.log(ours / printed)).max()))


def nearest_way(told: Told, row: str, printed: float) -> str:
    """Which of WAYS comes nearest to a printed norm of a layer; "not measured" if none is known."""
    known = [way for way in WAYS if (row, way) in told]
    return min(known, key=lambda way: abs(math.log(told[row, way] / printed)), default=markdown.UNKNOWN)


def product(told: Told, network: str, times: float = 1.0) -> float:
    """The product of the norms of a network's five convolutions, and of `times`, to three digits."""
    return _rounded(times * math.prod(told[f"conv{i}, {network}", "upper"] for i in range(1, 6)))


def printed_product(printed: Told, kind: str = "") -> float:
    """The product of the last version's norms of all layers whose names begin with `kind`, to three digits."""
    return _rounded(math.prod(v for (row, c), v in printed.items() if c == "upper (v4)" and row.startswith(kind)))


def _rounded(value: float) -> float:
    """To three digits, for a number so large that more of them would say nothing."""
    return float(f"{value:.3g}")


def beside_table5(small: Table, five: Table) -> tuple[float, float, float, float]:
    """How many norms SqueezeNet has, the least, the largest, and how many reach the least of Table 5's counterparts.

    nan where what it takes was not measured.
    """
    small, five = one_voice(small, five)
    ours, least = norms(small.told, PARTS), norms(five.told)[0]
    as_large = sum(value >= least for value in ours)
    if math.isnan(ours[0]) or math.isnan(least):
        as_large = math.nan
    return math.nan if math.isnan(ours[0]) else len(ours), ours[0], ours[-1], as_large


def series(upper: Table) -> dict[str, list[float]]:
    """The columns of the turned table as lists over its rows, nan where there is none: the paper's last, then ours."""
    paper = {"the paper (v4)": [upper.printed[row, "v4"] for row in upper.rows]}
    return paper | {network: [upper.told[row, network] for row in upper.rows] for network in ("Caffe's", "AlexNet")}
