"""What the book says of the recorded benchmark is what stands there, and bounds hold after rounding."""

import pytest

from lib.record import benchmark, ledger

FACTS = {
    "machine": {"processor": "a processor"},
    "threads": 1,
    "networks": {
        name: {
            "methods": {
                "ours": {"ms": 2.0, "lengths": "0.102 0.204 0.9"},
                "tight": {"ms": 4.0, "lengths": "0.1 0.2"},
                "ddn100": {"ms": 3.0, "distortion": {"value": 0.9}},  # on fewer images: its ratio counts
                "cw": {"ms": 82.0, "distortion": {"value": 0.1}, "num_images": 30},
            },
            "time_ratio_vs_ddn100": time,
            "distortion_ratio_vs_ddn100": 1.00001,
            "tight_distortion_ratio_vs_ddn100": 0.8,
            "tight_share_shorter_ddn100": 0.0,
            "tight_share_shorter_cw": 0.101,
            "time_ratio_vs_scipy": 1 / 99.9,
            "tight_distortion_ratio_vs_cw": 0.99901,
        }
        for name, time in zip((*benchmark.SMOOTH, benchmark.KINKED), (0.5, 0.611, 0.3, 9.0), strict=True)
    },
}


def test_a_point_is_a_methods_time_and_how_much_longer_it_is_on_the_same_images():
    points = benchmark.points(FACTS)
    assert list(points) == list(FACTS["networks"])
    found = points["100-100-10"]
    assert list(found) == [benchmark.TITLES[method] for method in ("ours", "tight", "ddn100", "cw")]
    assert found[benchmark.TITLES["ours"]] == pytest.approx((2, 2))
    assert found[benchmark.TITLES["tight"]] == (4, 0)
    assert found[benchmark.TITLES["ddn100"]] == pytest.approx((3, 25))


def test_bounds_are_over_the_smooth_networks_and_rounded_to_the_safe_side():
    bounds = benchmark.bounds(FACTS)
    assert bounds["ddn_time"] == "0.62"
    assert bounds["ddn_length"] == "1.0001"
    assert bounds["scipy_speedup"] == "99"
    assert bounds["conv_ddn"] == "+0.0"
    assert bounds["smooth_length"] == "0.9991"
    assert bounds["conv_length"] == "-0.1"
    assert bounds["conv_rival"] == benchmark.TITLES["cw"]
    assert (bounds["conv_share"], bounds["conv_num"]) == ("10", "30")


def test_over_the_nearest_are_the_means_of_who_is_compared_and_the_best_of_them_is_named():
    exact = {"num_images": 80, "success": {"value": 0.975}}
    small = {
        "methods": {"exact": exact},
        "over_exact": {"ours": 1.03, "tight": 1.004, "ddn1000": 1.0312, "cw": 1.025, "fmn100": 1.0, "exact": 1.0},
        "tight_distortion_ratio_vs_cw": 0.98,
        "tight_distortion_ratio_vs_ddn1000": 0.97,
    }
    over = benchmark.over_the_nearest({"networks": {benchmark.SMALL: small}})
    assert over == {"num": "78", "tight": "0.40", "best": "2.50", "best_peer": benchmark.TITLES["cw"]}


def test_the_machine_in_words():
    assert benchmark.machine(FACTS) == "a processor, 1 thread"


def test_every_method_of_the_recorded_run_has_a_name_and_is_shown():
    facts = ledger.benchmark()
    points = benchmark.points(facts)
    for network, figures in facts["networks"].items():
        assert set(figures["methods"]) <= set(benchmark.TITLES)
        if network in points:
            assert len(points[network]) == len(figures["methods"])
    assert set(points) == {*benchmark.SMOOTH, benchmark.KINKED}


def test_recorded_bounds_hold_for_every_smooth_network():
    facts = ledger.benchmark()
    bounds = {name: float(value) for name, value in benchmark.bounds(facts).items() if name != "conv_rival"}
    for name in benchmark.SMOOTH:
        figures = facts["networks"][name]
        assert figures["time_ratio_vs_ddn100"] <= bounds["ddn_time"]
        assert figures["distortion_ratio_vs_ddn100"] <= bounds["ddn_length"]
        for peer in benchmark.PEERS:
            assert figures.get(f"tight_distortion_ratio_vs_{peer}", 0) <= bounds["smooth_length"]
        assert 1 / figures["time_ratio_vs_scipy"] >= bounds["scipy_speedup"]
