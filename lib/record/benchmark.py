"""The recorded run of benchmarks/attack.py, `ledger.benchmark()`, as a figure and as sentences: both attacks and peers.

Its ratios are of means over the images that both methods attacked; times are of one thread.
"""

import math
from collections.abc import Mapping

TITLES = {
    "ours": "ours, the paper's",
    "tight": "ours, tight",
    "scipy": "SciPy, bisections",
    "scipy_same_search": "SciPy, our search",
    "ddn100": "DDN, 100 steps",
    "ddn1000": "DDN, 1000 steps",
    "fmn100": "FMN, 100 steps",
    "fmn1000": "FMN, 1000 steps",
    "pdgd1000": "PDGD, 1000 steps",
    "alma1000": "ALMA, 1000 steps",
    "cw": "C&W, 9 × 1000",
    "brendel_bethge": "Brendel & Bethge",
    "exact": "exact optimum",
}
# The attacks of other libraries; of them the one that comes nearest to ours is told.
PEERS = ("ddn100", "ddn1000", "fmn100", "fmn1000", "pdgd1000", "alma1000", "cw", "brendel_bethge")
SMOOTH, KINKED = ("softmax 1e-4", "100-100-10", "200-200-10"), "Conv"
SMALL = "784-16-16-10"  # whose nearest images are known


def points(facts: Mapping) -> dict[str, dict[str, tuple[float, float]]]:
    """{network: {method: (milliseconds an image, per cent longer than the tight attack)}}."""
    return {
        network: {
            title: (figures["methods"][method]["ms"], _longer_than_tight(figures, method))
            for method, title in TITLES.items()
            if method in figures["methods"]
        }
        for network, figures in facts["networks"].items()
        if network in (*SMOOTH, KINKED)
    }


def _longer_than_tight(figures: Mapping, method: str) -> float:
    """By how many per cent a method's perturbations exceed the tight attack's, on the images that both attacked."""
    if method in ("ours", "tight"):  # which find an image each: on the first of them that both were given
        ours, tight = (list(map(float, figures["methods"][name]["lengths"].split())) for name in (method, "tight"))
        num = min(len(ours), len(tight))
        return 100 * (sum(ours[:num]) / sum(tight[:num]) - 1)
    return 100 * (1 / figures[f"tight_distortion_ratio_vs_{method}"] - 1)


def bounds(facts: Mapping) -> dict[str, str]:
    """What holds for every smooth network, and for Conv, as text; "at most" is rounded up, and "at least" down."""
    networks = facts["networks"]

    def worst(key: str) -> float:
        return max(networks[name][key] for name in SMOOTH if name in networks)

    kinked = networks[KINKED]
    length, rival = max((kinked[f"tight_distortion_ratio_vs_{peer}"], peer) for peer in _compared(kinked))

    return {
        "ddn_time": _up(worst("time_ratio_vs_ddn100"), 2),
        "ddn_length": _up(worst("distortion_ratio_vs_ddn100"), 4),
        "scipy_speedup": f"{math.floor(1 / worst('time_ratio_vs_scipy'))}",
        "smooth_length": _up(
            max(networks[n][f"tight_distortion_ratio_vs_{p}"] for n in SMOOTH for p in _compared(networks[n])), 4
        ),
        "conv_ddn": f"{100 * (kinked['distortion_ratio_vs_ddn100'] - 1):+.1f}",
        "conv_length": f"{100 * (length - 1):+.1f}",
        "conv_rival": TITLES[rival],
        "conv_share": f"{100 * kinked[f'tight_share_shorter_{rival}']:.0f}",
        "conv_num": f"{kinked['methods'][rival]['num_images']}",
    }


def over_the_nearest(facts: Mapping) -> dict[str, str]:
    """By how many per cent means exceed those of the nearest images, where these are known, as text."""
    figures = facts["networks"][SMALL]
    over = {name: 100 * (figures["over_exact"][name] - 1) for name in ("tight", *_compared(figures))}
    best = min(_compared(figures), key=over.get)
    return {
        "num": f"{figures['methods']['exact']['success']['value'] * figures['methods']['exact']['num_images']:.0f}",
        "tight": f"{over['tight']:.2f}",
        "best": f"{over[best]:.2f}",
        "best_peer": TITLES[best],
    }


def _compared(figures: Mapping) -> list[str]:
    """The peers that a network was attacked with."""
    return [peer for peer in PEERS if f"tight_distortion_ratio_vs_{peer}" in figures]


def machine(facts: Mapping) -> str:
    """On what it was measured, in words."""
    return f"{facts['machine']['processor']}, {facts['threads']} thread"


def _up(value: float, digits: int) -> str:
    return f"{math.ceil(value * 10**digits) / 10**digits:.{digits}f}"
