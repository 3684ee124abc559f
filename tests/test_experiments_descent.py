"""What the experiments on descent say of the note's numbers, of steps, and of batches."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("sklearn")

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture
def experiment(monkeypatch):
    """A function: the module of an experiment, which imports its neighbours by plain names."""
    monkeypatch.syspath_prepend(EXPERIMENTS)
    return importlib.import_module


@pytest.fixture
def _float64():
    with jax.enable_x64(True):
        yield


@pytest.mark.usefixtures("_float64")
def test_every_printed_number_of_note_004_is_right_to_its_digits(experiment):
    note = experiment("note_004")
    found, steps, tables = note.sentiment(), note.mini(2), note.tables()
    rows = note.printed_numbers(found, steps, tables)
    assert len(rows) == 16
    assert {note.judged(printed, exact) for *_, printed, exact in rows} == {"exact", "rounded"}
    np.testing.assert_allclose(found["loss y=0"], 1.1939858079049308, rtol=1e-14)
    np.testing.assert_allclose(steps[1]["loss"], 0.40318604888545784, rtol=1e-14)
    second = [0.24954366834955016, 0.16636244556636676, 0.08318122278318338]
    np.testing.assert_allclose(steps[2]["theta"], second, rtol=1e-14)
    for _, literal, _, truth in note.misprints(found, tables):
        assert abs(literal - truth) > 0.1


@pytest.mark.parametrize(
    ("printed", "exact", "expected"),
    [("0.70", 0.6969, "rounded"), ("0.71", 0.6969, "wrong"), ("-1.5", -1.5, "exact")],
)
def test_how_a_printed_number_is_judged(experiment, printed, exact, expected):
    assert experiment("note_004").judged(printed, exact) == expected


def test_graph_backwards(experiment):
    values, gradients, _ = experiment("note_004").graph(3.0, 1.0, -2.0)
    assert values["L"] == -10
    assert gradients == {"a": -2, "b": -4, "c": 5, "d": -2, "e": -2, "L": 1}


@pytest.mark.usefixtures("_float64")
def test_steps_beyond_the_limit_diverge(experiment):
    paths = experiment("descent_paths")
    surface, hessian = paths.valley()
    for row in paths.growth(surface, hessian, (0.6, 0.98, 1.02), steps=40):
        grows = row["rate / limit"] > 1
        assert (row["loss at end"] > row["loss at start"]) == grows
        np.testing.assert_allclose(row["measured"], row["predicted"], rtol=1e-6)


@pytest.mark.usefixtures("_float64")
def test_gradients_of_the_surfaces_are_those_of_autodiff(experiment):
    paths = experiment("descent_paths")
    weights = jnp.array([0.7, -0.4])
    for surface in (paths.overlapping(), paths.two_minima(), paths.valley()[0]):
        want = jax.jit(jax.grad(lambda w, of=surface: of.at(w)[0]))(weights)
        np.testing.assert_allclose(jax.jit(surface.at)(weights)[1], want, rtol=1e-12, atol=1e-15)


@pytest.mark.usefixtures("_float64")
def test_two_minima_and_a_saddle(experiment):
    surface = experiment("descent_paths").two_minima()
    ends = [surface.descend(jnp.array(s), 0.5, 4000)[0][-1] for s in ((2.5, -0.5), (-2.5, 0.5))]
    # the data are those of w = (1.5, 1), and of (-1.5, -1)
    np.testing.assert_allclose(ends, [[1.5, 1.0], [-1.5, -1.0]], rtol=1e-4)
    assert not np.any(surface.at(jnp.zeros(2))[1])


@pytest.mark.usefixtures("_float64")
def test_separable_classes_have_no_minimum(experiment):
    paths = experiment("descent_paths")
    path, losses = paths.separable().descend(jnp.zeros(2), 2.0, 4000)
    norms = np.linalg.norm(path, axis=1)
    assert np.all(np.diff(norms) > 0)
    assert losses[-1] < losses[400] / 5
    # where labels are flipped it comes to rest
    path, _ = paths.separable(flipped=5).descend(jnp.zeros(2), 2.0, 4000)
    np.testing.assert_allclose(np.linalg.norm(path[-1]), np.linalg.norm(path[2000]), rtol=0.01)
    assert norms[-1] > 1.1 * norms[2000]


def test_noise_of_the_gradient_falls_as_the_batch_grows(experiment):
    batches = experiment("batch_sizes")
    (x, y), _ = batches.digits(0)
    data = x[:200], y[:200]
    network = batches.network()
    params = network.init(jax.random.key(0))
    found = batches.noise(network, params, data, (1, 4, 16, 64), draws=200, seed=0)
    for row in found["rows"]:
        for name in ("with", "without"):
            off = row[f"{name}, measured"] - row[f"{name}, predicted"]
            assert abs(off) < 4 * row[f"{name}, error"]
        assert row["one pass - mean of singles"] < 1e-6
