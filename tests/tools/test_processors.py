"""Other processors: settings that the shell cannot spoil, and roundings that are small and reproducible."""

import itertools
import subprocess

import pytest
import torch

from tests.rounding import other_rounding
from tools import processors

CHOICES = {
    "MKL_CBWR": (None, "COMPATIBLE"),
    "ATEN_CPU_CAPABILITY": (None, "avx2"),
    "OMP_NUM_THREADS": ("1", "2"),
}


def test_any_two_choices_of_kernels_vectors_and_threads_meet_in_a_setting_or_in_make_test():
    make_test = {"OMP_NUM_THREADS": "1"}  # tests/conftest.py
    tried = [make_test, *(setting.variables for setting in processors.SETTINGS)]
    assert set(CHOICES) == processors.CHOSEN
    for (one, values), (other, others) in itertools.combinations(CHOICES.items(), 2):
        met = {(variables.get(one), variables.get(other)) for variables in tried}
        assert met == set(itertools.product(values, others))
    assert any("--rounding" in setting.options for setting in processors.SETTINGS)


def test_files_without_numerical_tests_are_not_even_imported(monkeypatch):
    monkeypatch.setattr("sys.argv", ["processors"])
    files = processors.marked()
    assert "tests/attacks/test_tight.py" in files
    assert "tests/tools/test_book.py" not in files
    assert processors.command(processors.SETTINGS[0])[-len(files) :] == files


@pytest.mark.parametrize("failing", [None, "COMPATIBLE"])
def test_one_setting_that_fails_fails_all_and_the_shells_own_choice_is_unheard(failing, monkeypatch, capsys):
    monkeypatch.setenv("MKL_CBWR", "SSE4_2")
    monkeypatch.setattr("sys.argv", ["processors"])
    seen = []

    def pytest_ends(command, env, **_):
        seen.append(env.get("MKL_CBWR"))
        return subprocess.CompletedProcess(command, int(env.get("MKL_CBWR") == failing is not None), "the last line")

    monkeypatch.setattr(subprocess, "run", pytest_ends)
    assert processors.main() == (failing is not None)
    assert len(seen) == len(processors.SETTINGS)
    assert "SSE4_2" not in seen
    assert "the last line" in capsys.readouterr().out


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_another_rounding_is_within_a_unit_reproducible_and_another_for_another_batch(dtype):
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(20, 30, generator=generator, dtype=dtype), torch.rand(30, 5, generator=generator, dtype=dtype)
    true = a.double() @ b.double()
    with other_rounding(0):
        first, again, fewer = a @ b, a @ b, a[:19] @ b
    with other_rounding(1):
        other = a @ b
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(first.double(), true, rtol=40 * eps, atol=0)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[:19], fewer)


def test_backward_passes_round_otherwise_too():
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.rand(6, 10, generator=generator), torch.rand(3, 10, generator=generator)

    def gradient():
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad((leaf @ weight.T).square().sum(), leaf)[0]

    plain = gradient()
    with other_rounding(0):
        otherwise = gradient()
    torch.testing.assert_close(otherwise, plain, rtol=1e-4, atol=1e-6)
    assert not torch.equal(otherwise, plain)
