"""The recorded figures as the tables of benchmarks/README.md.

python -m benchmarks.report      # rewrites everything below the README's heading "Recorded"
"""

import json
from pathlib import Path

from lib.store import files

HERE = Path(__file__).parent
HEADING = "## Recorded\n"
TITLES = {
    "ours": "**the paper's attack, ours**",
    "tight": "**the tight attack, ours**",
    "scipy": "SciPy, twelve bisections",
    "scipy_same_search": "SciPy, our search",
    "ddn100": "DDN, 100 steps",
    "ddn1000": "DDN, 1000 steps",
    "fmn100": "FMN, 100 steps",
    "fmn1000": "FMN, 1000 steps",
    "pdgd1000": "PDGD, 1000 steps",
    "alma1000": "ALMA, 1000 steps",
    "cw": "Carlini & Wagner, 9 x 1000",
    "brendel_bethge": "Brendel & Bethge, 1000 steps",
    "exact": "the exact optimum",
}
UNTARGETED = {
    "nearest": "**the nearest class's attack, ours**",
    "nearest_tight": "**tightened, ours**",
    "sdf": "SuperDeepFool",
    "ddn100": "DDN, 100 steps",
    "fmn100": "FMN, 100 steps",
}


def report(facts: dict) -> str:
    """Markdown: one table of methods for each network, then growth, floor and profile."""
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    lines = [
        f"`attack.json`, measured {facts['date'][:10]} at commit {facts['commit'][:10]} on {facts['machine']['cores']} "
        f"core(s) of {facts['machine']['processor']}, device {facts['device']}, {facts['threads']} thread(s); "
        f"{versions}; {facts['data']['name']}, networks of profile {facts['profile']}.",
        "",
    ]
    for network, figures in facts["networks"].items():
        lines += [f"### {network}", "", *_methods(figures, TITLES, ("", "tight_")), "", *_bars(figures), ""]
    for network, figures in facts.get("untargeted", {}).items():
        lines += [f"### {network}, any other class", ""]
        lines += [*_methods(figures, UNTARGETED, ("nearest_", "nearest_tight_")), ""]
    lines += _growth(facts["scaling"]) if "scaling" in facts else []
    return "\n".join(lines).rstrip() + "\n"


def _methods(figures: dict, titles: dict[str, str], prefixes: tuple[str, str]) -> list[str]:
    """A line a method; `prefixes` of our two, and how often a peer is shorter is told beside the second."""
    rows = [
        "| method | images | success | distortion | gradients | ms an image | the first is | the second is | images on "
        "which it is shorter than the second |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    optimum = figures.get("over_exact", {})
    if optimum:
        rows = [rows[0] + " over the optimum |", rows[1] + "--:|"]
    for name, run in figures["methods"].items():
        ratios = [_ratio(figures.get(f"{prefix}distortion_ratio_vs_{name}")) for prefix in prefixes]
        share = figures.get(f"{prefixes[1]}share_shorter_{name}")
        distortion = f"{run['distortion']['value']:.5f}" if run["distortion"] else ""
        cells = [
            titles[name], run["num_images"], f"{100 * run['success']['value']:.1f} %", distortion,
            f"{run['gradients']:.1f}" if run["gradients"] else "", f"{run['ms']:.2f}", *ratios,
            "" if share is None else f"{100 * share:.1f} %",
        ]  # fmt: skip
        if optimum:
            cells.append(f"{100 * (optimum[name] - 1):+.2f} %" if name != "exact" else "")
        rows.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return rows


def _ratio(value: float | None) -> str:
    return "" if value is None else f"x {value:.5f}"


def _bars(figures: dict) -> list[str]:
    keys = [
        "speedup_vs_scipy", "speedup_vs_scipy_same_search", "distortion_ratio_vs_scipy_same_search",
        "time_ratio_vs_ddn100", "distortion_ratio_vs_ddn100", "tight_time_ratio_vs_ddn100", "tight_time_ratio_vs_cw",
        "tight_distortion_ratio_vs_cw", "exact_gap_linear",
    ]  # fmt: skip
    return [", ".join(f"`{key}` {figures[key]:.6g}" for key in keys if key in figures) + "."]


def _growth(facts: dict) -> list[str]:
    images = [
        f"| {f['num_images']:,} | {f['images_per_second']:,.0f} | {f['memory_mb']:.0f} | {f['answers_mb']:.0f} |"
        for f in facts["images"]
    ]
    pixels = [
        f"| {f['pixels']:,} | {f['ms']:.2f} | {f['gradients']:.1f} | {f['distortion']:.4f} |" for f in facts["pixels"]
    ]
    floors = [_floor(name, figures) for name, figures in facts["floor"].items()]
    shares = [
        f"- {name}: " + ", ".join(f"`{op}` {100 * share:.0f} %" for op, share in operations.items())
        for name, operations in facts["operations"].items()
    ]
    stationary = ", ".join(f"{name} {100 * share:.0f} %" for name, share in facts["stationary"].items())
    seconds = ", ".join(f"{name} {value:.0f}" for name, value in facts["table2_seconds"].items())
    return [
        f"What follows was measured in a run of its own, {facts['date'][:10]}, at commit {facts['commit'][:10]}.", "",
        "### Growth with the number of images (100-100-10, the paper's attack)", "",
        "| images | images a second | memory, MB | of that the answers |", "|--:|--:|--:|--:|", *images, "",
        "### Growth with the number of pixels (512 images, the same network behind a resize)", "",
        "| pixels | ms an image | gradients | distortion |", "|--:|--:|--:|--:|", *pixels, "",
        "### The floor", "",
        "| network | gradients an image | us a gradient | its history, us | floor, us an image | measured | reached |",
        "|---|--:|--:|--:|--:|--:|--:|", *floors, "",
        "### Where the processor's time goes", "", *shares, "",
        "### How often the tight attack ends stationary (100 images)", "", stationary + ".", "",
        "### The paper's attack on all 60,000 training images, seconds", "", seconds + ".", "",
    ]  # fmt: skip


def _floor(name: str, figures: dict) -> str:
    history_us = figures["history_bytes"] / figures["bandwidth_gb_per_s"] / 1000
    cells = [
        name, f"{figures['gradients']:.1f}", f"{figures['gradient_us']:.1f}", f"{history_us:.1f}",
        f"{figures['floor_us']:.0f}", f"{figures['measured_us']:.0f}",
        f"{100 * figures['fraction_of_floor_reached']:.0f} %",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    readme = HERE / "README.md"
    head = readme.read_text(encoding="utf-8").split(HEADING)[0]
    text = head + HEADING + "\n" + report(json.loads((HERE / "attack.json").read_text(encoding="utf-8")))
    files.replace(readme, text.encode())


if __name__ == "__main__":
    main()
