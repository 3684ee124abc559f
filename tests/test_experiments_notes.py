"""What the experiments on the notes measure with, held to what is known."""

import importlib
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp as bp

pytest.importorskip("matplotlib", reason="the experiments draw")
pytest.importorskip("rich", reason="the experiments print tables")

EXPERIMENTS = str(Path(__file__).resolve().parent.parent / "experiments")


def experiment(name):
    """A script as a module; its folder leads the path, where it finds its `common`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXPERIMENTS)
        return importlib.import_module(name)


@pytest.fixture(scope="module")
def regions():
    return experiment("linear_regions")


def one_layer(w, b):
    return [(w, b), (np.ones((w.shape[1], 1)), np.zeros(1))]


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_lines_in_general_position_cut_the_plane_as_known(regions, n):
    found = regions.cells(one_layer(*regions.tangents(2, n)), regions.box(0, 1, 2))
    assert len(found) == 1 + n + math.comb(n, 2)


def test_lines_through_a_point_and_parallel_ones(regions):
    square = regions.box(-1, 1, 2)
    w = np.array([[1.0, 1.0, 0.0, 3.0], [0.0, 1.0, 1.0, -1.0]])
    assert len(regions.cells(one_layer(w, np.zeros(4)), square)) == 8
    parallel = np.array([[1.0, 2.0, -4.0], [0.0, 0.0, 0.0]])
    assert len(regions.cells(one_layer(parallel, np.array([0.0, 1.0, 1.0])), square)) == 4


def test_lines_that_touch_a_corner_or_an_edge_or_repeat_cut_nothing(regions):
    square = regions.box(0, 1, 2)
    w, b = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]), np.array([0.0, -1.0, 0.0])
    assert len(regions.cells(one_layer(w, b), square)) == 1
    twice = np.array([[1.0, 2.0, -1.0], [1.0, 2.0, -1.0]])
    assert len(regions.cells(one_layer(twice, np.array([-1.0, -2.0, 1.0])), square)) == 2


@pytest.mark.parametrize(
    ("d", "n", "depth"), [(1, 3, 1), (1, 3, 4), (1, 4, 3), (2, 4, 2), (2, 4, 3), (2, 5, 2)]
)
def test_the_construction_of_montufar_et_al_reaches_their_bound(regions, d, n, depth):
    found = regions.cells(regions.folding_network(d, n, depth), regions.box(0, 1, d))
    bound = regions.lower_bound(d, (n,) * depth)
    assert len(found) == regions.linear_regions(found) == bound
    assert bound <= regions.upper_bound(d, (n,) * depth)


def test_bounds_are_those_of_the_papers(regions):
    # floor(6/2)^2 floor(4/2)^2 (1 + 5 + 10), and 4 floor(3/1) breakpoints and one more piece
    assert regions.lower_bound(2, (6, 4, 5)) == 9 * 4 * 16
    assert regions.lower_bound(1, (3, 4)) == 3 * 5
    assert regions.upper_bound(2, (3, 3)) == 7 * 7
    assert regions.upper_bound(2, (1, 3)) == 2 * 4  # behind one unit all is a line


def test_each_region_has_the_affine_function_that_the_network_has_there(regions):
    """At a point inside every cell, and with a unit pattern that no other cell has."""
    widths = (4, 4, 4)
    (layers,) = regions.random_networks(1, 1, 2, widths)
    found = regions.cells(layers, regions.box(-3, 3, 2))
    corners = [np.array([[x / w, y / w] for x, y, w in c], float) for c, _ in found]
    inside = np.array([c.mean(axis=0) for c in corners])
    exact = np.array([float(out[0, 0]) for _, out in found])
    with jax.enable_x64(True):
        net = bp.mlp((2, *widths, 1), activation=bp.relu)
        params = [()] * (2 * len(layers))
        params[::2] = [bp.Dense(jnp.asarray(w), jnp.asarray(b)) for w, b in layers]
        slopes = jax.vmap(jax.grad(lambda x: net(tuple(params), x)[0]))(jnp.asarray(inside))
    # one scale for all functions: the first slope that is not 0 gives it
    at = int(np.argmax(np.abs(exact)))
    np.testing.assert_allclose(exact / exact[at], slopes[:, 0] / slopes[at, 0], atol=1e-9)
    patterns, h = [], inside
    for w, b in layers[:-1]:
        h = np.maximum(h @ w + b, 0)
        patterns.append(h > 0)
    assert len(np.unique(np.concatenate(patterns, axis=1), axis=0)) == len(found)
    area = sum(
        abs(np.sum(c[:, 0] * np.roll(c[:, 1], -1) - np.roll(c[:, 0], -1) * c[:, 1])) / 2
        for c in corners
    )
    assert area == pytest.approx(36)  # the cells fill the square


def test_cells_of_one_function_are_merged_where_they_touch(regions):
    # relu(-x) - relu(x) = -x is affine, though x = 0 cuts it
    layers = [(np.array([[1.0, -1.0]]), np.zeros(2)), (np.array([[-1.0], [1.0]]), np.zeros(1))]
    found = regions.cells(layers, regions.box(-1, 1, 1))
    assert (len(found), regions.linear_regions(found)) == (2, 1)
    # a bump: 0 on both sides of it, which do not touch
    w, b = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), np.array([1.0, 0.0, -1.0])
    layers = [(w, b), (np.array([[1.0], [-2.0], [1.0]]), np.zeros(1))]
    found = regions.cells(layers, regions.box(-2, 2, 2))
    assert (len(found), regions.linear_regions(found)) == (4, 4)
    # |x| - |y|: a quarter and the one across share a corner, which makes no neighbours
    w = np.array([[1.0, -1.0, 0.0, 0.0], [0.0, 0.0, 1.0, -1.0]])
    layers = [(w, np.zeros(4)), (np.array([[1.0], [1.0], [-1.0], [-1.0]]), np.zeros(1))]
    found = regions.cells(layers, regions.box(-1, 1, 2))
    assert (len(found), regions.linear_regions(found)) == (4, 4)
    quarter = [corners for corners, _ in found]
    assert [regions.neighbours(quarter[0], q) for q in quarter].count(False) == 1


def test_a_segment_has_the_pieces_of_its_breakpoints(regions):
    # relu(t - k/8) for k = 1..5 on the segment (t, 1 - t), which 3 inputs contain
    w = np.array([[1.0] * 5, [0.0] * 5, [0.0] * 5])
    layers = one_layer(w, -np.arange(1, 6) / 8)
    start = np.array([[1.0, 0.0], [-1.0, 1.0], [0.0, 2.0]])
    found = regions.cells(layers, regions.box(0, 1, 1), start)
    assert regions.linear_regions(found) == len(found) == 6
    ends = sorted(float(c[0]) / c[1] for corners, _ in found for c in corners)
    assert ends == [0, *np.repeat(np.arange(1, 6) / 8, 2), 1]


@pytest.mark.parametrize("gap", [0.05, 0.3])
def test_the_perceptron_stays_within_novikoffs_bound(gap):
    pytest.importorskip("sklearn", reason="two moons")
    perceptron = experiment("perceptron")
    x, y = perceptron.separable(np.random.default_rng(3), 60, gap)
    bound = perceptron.bound_of(x, y)
    weights, updates = perceptron.train(x, y, int(bound) + 2)
    assert updates[-1] == 0
    assert sum(updates) == len(weights) - 1 <= bound
    np.testing.assert_array_equal(perceptron.same_as_rule(weights[-1], x), y)


def test_the_margin_is_the_largest_one():
    pytest.importorskip("sklearn", reason="two moons")
    perceptron = experiment("perceptron")
    # (2, 0) and (-2, 0): w = (1, 0, 0) is 2 away from both
    assert perceptron.margin(np.array([[2.0, 0.0], [-2.0, 0.0]]), np.array([1, 0])) == 2


def test_xor_has_no_end_and_the_step_no_gradient():
    pytest.importorskip("sklearn", reason="two moons")
    perceptron = experiment("perceptron")
    x, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    _, updates = perceptron.train(x, y, 50)
    assert len(updates) == 50
    assert min(updates) > 0
    assert perceptron.gradient_through_the_step(x, y)[1] == 0


@pytest.mark.parametrize(("depth", "hidden"), [(2, "tanh"), (4, "sigmoid")])
def test_single_weights_are_the_matrix_form(depth, hidden):
    single_weights = experiment("single_weights")
    weights, x, y = single_weights.problem(np.random.default_rng(depth), depth)
    with jax.enable_x64(True):
        net = single_weights.network(depth, hidden)
        want = single_weights.by_matrices(net, weights, x, y)
    loss, gradients = single_weights.by_single_weights(weights, x, y, hidden)
    assert single_weights.ulps(loss, want[0]) <= 4
    for own, matrix in zip(gradients, want[1], strict=True):
        assert np.abs(own - matrix).max() <= 32 * np.spacing(np.abs(matrix).max())
    # as the note's summary prints delta_j the layers below the last are wrong
    _, printed = single_weights.by_single_weights(weights, x, y, hidden, slope=lambda net: 1.0)
    assert np.abs(printed[0] - gradients[0]).max() > 0.01 * np.abs(gradients[0]).max()
