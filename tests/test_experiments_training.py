"""Experiments on training, made short: what each of them says must hold in a few steps too."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

for needed in ("matplotlib", "optax", "rich", "sklearn"):
    pytest.importorskip(needed)

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture
def experiment(monkeypatch):
    """A script as a module; scripts import what they share as `common`."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    with jax.numpy_dtype_promotion("standard"):  # as where the scripts run, and as Optax needs it
        yield importlib.import_module


def test_by_hand_and_by_jax_grad_stay_together_in_float64(experiment):
    lockstep = experiment("lockstep")
    run = lockstep.lockstep("tanh", "adam", "float64", steps=60, seed=1)  # over an epoch
    assert run["difference"].shape == (60,)
    assert run["difference"].max() < 1e-12
    assert run["loss by hand"].dtype == np.float64
    assert run["loss by hand"][-1] < run["loss by hand"][0]
    assert run["as train"]


def test_lockstep_sees_a_gradient_that_is_wrong_by_one_part_in_a_million(experiment, monkeypatch):
    lockstep = experiment("lockstep")
    rule, function = lockstep.ACTIVATIONS["tanh"]
    wrong = (rule, lambda z: (1 + 1e-6) * function(z))
    monkeypatch.setitem(lockstep.ACTIVATIONS, "tanh", wrong)
    run = lockstep.lockstep("tanh", "sgd", "float64", steps=5, seed=1)
    assert run["difference"].max() > 1e-9


def test_updates_inside_the_backward_loop_follow_no_gradient(experiment):
    """Erratum 32 of note 001: exact in the last layer, and wrong in proportion to eta below."""
    sgd = experiment("sgd_neural_net")
    T = 20
    network, W, (x, y), samples = sgd.setting(0, T)

    def run(rate, inside):
        etas = jnp.full(T, rate, jnp.float32)
        _, (_, error) = sgd.sgd_neural_net(network, W, x, y, samples, etas, inside)
        return np.asarray(error)

    small, large = run(0.01, inside=True), run(0.02, inside=True)
    assert small[:, -1].max() < 1e-6
    assert (small[0, :-1] > 1e-3).all()
    np.testing.assert_allclose(large[0, :-1] / small[0, :-1], 2, rtol=0.05)

    # moved out, it is the gradient
    assert run(0.01, inside=False).max() < 1e-6


def test_a_staircase_of_steep_sigmoids_errs_by_no_more_than_its_bound(experiment):
    universal = experiment("universal_approximation")
    found = []
    for width in (9, 99):
        largest, _ = universal.errors(*universal.staircase(width))
        bound = universal.STEEPEST / (width + 1)
        assert largest <= 1.001 * bound
        found.append(largest)
    assert found[1] < 0.15 * found[0]  # as 1/width


def test_data_of_the_plane_have_both_classes_equally(experiment):
    boundaries = experiment("decision_boundaries")
    for name, (x, y) in boundaries.data_sets(0).items():
        assert x.shape == (2 * boundaries.POINTS, 2), name
        assert set(np.unique(y)) == {0, 1}, name
        assert 0.4 < float(jnp.mean(y)) < 0.6, name


@pytest.mark.parametrize(
    "script",
    ["digits", "lockstep", "sgd_neural_net", "decision_boundaries", "universal_approximation"],
)
def test_a_bad_option_is_one_line(experiment, monkeypatch, capsys, script):
    option = {"lockstep": "--steps", "sgd_neural_net": "--T", "universal_approximation": "--steps"}
    monkeypatch.setattr("sys.argv", [script, option.get(script, "--epochs"), "0"])
    with pytest.raises(SystemExit):
        experiment(script).main()
    assert "expected at least" in capsys.readouterr().err.splitlines()[-1]
