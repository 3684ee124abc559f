"""States on disk: the same run to the bit, and whole at every moment."""

import contextlib
import errno
import functools
import os
import resource
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manualbp as bp
from manualbp import saving, training
from manualbp.training import State, TrainingError, train
from tests.runs import Clock, bits

# Half precision, a last batch that is smaller, an update every other batch, and Adam's moments
NETWORK = bp.mlp((3, 4, 2), activation=bp.tanh)
ADAM = optax.adam(0.1)
rng = np.random.default_rng(0)
X = jnp.asarray(rng.normal(size=(10, 3)), jnp.bfloat16)
CLASSES = rng.integers(0, 2, 10)
CHILD = Path(__file__).parent.parent


def run(optimizer=ADAM, network=NETWORK, **options):
    options = {"epochs": None, "batch_size": 4, "update_every": 8} | options
    with jax.numpy_dtype_promotion("standard"):  # as Optax wants it
        return train(network, (X, CLASSES), optimizer, **options)


@functools.cache
def whole():
    """Three epochs of three batches, without a pause."""
    return run(steps=9)


@pytest.fixture
def busy(monkeypatch):
    monkeypatch.setattr(training, "time", Clock())
    monkeypatch.setattr(training, "_FIRST_STEPS", 1)


# To predict with


def test_parameters_alone(tmp_path):
    path = tmp_path / "run.npz"
    result = run(steps=2, save=path)
    assert bits(saving.load_params(path, NETWORK)) == bits(result.params)


@pytest.mark.parametrize("widths", [(3, 5, 2), (3, 2), (3, 4, 4, 2)])
def test_parameters_of_another_network(tmp_path, widths):
    path = tmp_path / "run.npz"
    run(steps=1, save=path)
    with pytest.raises(ValueError, match=r"load_params: expected a state with .*, got one with"):
        saving.load_params(path, bp.mlp(widths, activation=bp.tanh))


# The same run


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_a_resumed_run_is_the_same_run(steps, tmp_path):
    """At the end of an epoch and within, with accumulators half full and empty."""
    path = tmp_path / "state.npz"
    first = run(steps=steps, save=path)
    full = int(first.state.sums[1])
    assert full == {0: 0, 1: 4, 2: 0}[steps % 3]
    assert any(np.any(s) for s in jax.tree.leaves(first.state.sums[0])) == bool(full)
    for resume in (first.state, path, str(path)):
        last = run(steps=9, resume=resume)
        assert bits(last.state) == bits(whole().state)
        assert jax.tree.structure(last.state) == jax.tree.structure(whole().state)
        losses = [*first.history.step_loss, *last.history.step_loss]
        assert losses == whole().history.step_loss.tolist()
    assert bits(saving.load(path, first.state)) == bits(first.state)


def test_resumed_again_and_again_in_the_same_file(tmp_path, compilations):
    path = tmp_path / "state.npz"
    whole()
    run(steps=1, save=path)
    run(steps=2, resume=path, save=path)  # the first resumed run compiles what places its state
    before = compilations()
    for steps in range(3, 10):
        run(steps=steps, resume=path, save=path)
    assert compilations() == before
    assert bits(saving.load(path, whole().state)) == bits(whole().state)
    assert os.listdir(tmp_path) == ["state.npz"]


def test_the_state_is_a_pytree():
    doubled = jax.tree.map(lambda a: a, whole().state)
    assert isinstance(doubled, State)
    assert bits(doubled) == bits(whole().state)
    assert all(isinstance(a, jax.Array) for a in jax.tree.leaves(whole().state))


class Named(NamedTuple):
    file: jax.Array
    allow_pickle: jax.Array


TREES = {
    "an array": jnp.arange(3.0),
    "nothing": (),
    "numbers": {"a": 1.5, "b": (2, True)},
    "keys": (jax.random.key(1), jax.random.key(2, impl="rbg"), jax.random.PRNGKey(3)),
    "dtypes": [
        jnp.asarray([0.1, -2.0, np.nan, 0.0], d)
        for d in ("bfloat16", "float16", "float32", "float8_e4m3fn", "complex64", "bool")
    ],
    "a name that np.savez takes": Named(jnp.ones(2), jnp.ones(3)),
    "names of files": {"../a": jnp.ones(1), "a/b": jnp.ones(2), "a": {"b": jnp.zeros((0, 3))}},
}


@pytest.mark.parametrize("name", TREES)
def test_any_tree_of_arrays(name, tmp_path):
    saving.save(tmp_path / "tree.npz", TREES[name])
    found = saving.load(tmp_path / "tree.npz", TREES[name])
    assert jax.tree.structure(found) == jax.tree.structure(TREES[name])
    assert bits(found) == bits(TREES[name])


# Another process: Ctrl-C, kill -9, no room

SCRIPT = """
import signal, sys
import jax, jax.numpy as jnp, numpy as np
sys.path[:0] = {places!r}
import test_saving
from manualbp import training
signal.signal(signal.SIGINT, signal.default_int_handler)
training._SECONDS = 0.01
found = test_saving.run(steps=10**7, save={path!r})
print(found.stopped, int(found.state.step))
"""


@contextlib.contextmanager
def other_process(path):
    """A run that would take hours, once it has saved its state."""
    script = SCRIPT.format(places=[str(CHILD), str(CHILD / "tests")], path=str(path))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    child = subprocess.Popen([sys.executable, "-c", script], text=True, **pipes)
    try:
        for _ in range(1200):
            if path.exists() or child.poll() is not None:
                break
            time.sleep(0.1)
        assert path.exists(), child.communicate()
        yield child
    finally:
        child.kill()
        child.communicate()


def test_ctrl_c_in_another_process_and_resumed_in_this_one(tmp_path):
    path = tmp_path / "state.npz"
    with other_process(path) as child:
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
    state = saving.load(path, whole().state)
    step = int(state.step)
    assert (child.returncode, out) == (0, f"interrupted {step}\n")
    text = f"train: interrupted after step {step}; resume={str(path)!r} goes on from there\n"
    assert err == text
    assert bits(state) == bits(run(steps=step).state)
    assert bits(run(steps=step + 4, resume=path).state) == bits(run(steps=step + 4).state)
    assert os.listdir(tmp_path) == ["state.npz"]


def test_killed_in_the_middle(tmp_path):
    path = tmp_path / "state.npz"
    with other_process(path) as child:
        first = path.stat().st_ino
        while path.stat().st_ino == first:  # until it is replaced at least once
            time.sleep(0.001)
        child.kill()
    state = saving.load(path, whole().state)
    step = int(state.step)
    assert bits(state) == bits(run(steps=step).state)
    assert bits(run(steps=step + 4, resume=path, save=path).state) == bits(
        run(steps=step + 4).state
    )
    assert [name for name in os.listdir(tmp_path) if name.endswith(".npz")] == ["state.npz"]


def test_ctrl_c_says_how_to_go_on(tmp_path, capsys):
    path, before = tmp_path / "state.npz", signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = run(epochs=3, save=path, on_epoch=lambda *_: signal.raise_signal(signal.SIGINT))
    finally:
        signal.signal(signal.SIGINT, before)
    assert found.stopped == "interrupted"
    text = f"train: interrupted after step 3; resume={str(path)!r} goes on from there\n"
    assert capsys.readouterr().err == text
    assert bits(run(steps=9, resume=path).state) == bits(whole().state)


# No room on the disk


def no_room(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_room_at_the_end(tmp_path, monkeypatch):
    path = tmp_path / "state.npz"
    first = run(steps=4, save=path)
    old = path.read_bytes()
    monkeypatch.setattr(os, "fsync", no_room)
    text = (
        rf"^train: could not save to {path}: No space left on device: free space or choose another "
        r"place, then manualbp\.saving\.save\(path, error\.result\.state\)$"
    )
    with pytest.raises(TrainingError, match=text) as caught:
        run(steps=9, resume=path, save=path)
    assert bits(caught.value.result.state) == bits(whole().state)
    assert caught.value.result.stopped == "steps"
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["state.npz"]
    monkeypatch.undo()
    assert bits(saving.load(path, first.state)) == bits(first.state)
    saving.save(path, caught.value.result.state)
    assert bits(saving.load(path, first.state)) == bits(whole().state)


def test_no_room_on_the_way(tmp_path, monkeypatch, busy):
    """One warning, and training goes on; at the end there is room again."""
    path, fsync, failures = tmp_path / "state.npz", os.fsync, []

    def sometimes(file):
        if len(failures) < 3:
            failures.append(1)
            no_room()
        fsync(file)

    monkeypatch.setattr(os, "fsync", sometimes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = run(steps=60, save=path)
    assert len(failures) == 3
    assert [str(w.message) for w in caught] == [
        f"train: could not save to {path}: No space left on device; what was there still is, and "
        "training goes on"
    ]
    assert caught[0].filename == __file__
    assert bits(saving.load(path, found.state)) == bits(found.state) == bits(run(steps=60).state)


def test_a_file_that_may_not_grow(tmp_path):
    """What the system says in the middle of writing, and not at once."""
    path = tmp_path / "state.npz"
    saving.save(path, {"a": jnp.ones(3)})
    old = path.read_bytes()
    for large in ({"a": jnp.ones(50000)}, {f"a{i}": jnp.ones(500) for i in range(50)}):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20000, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                saving.save(path, large)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == ["state.npz"]


def test_what_is_on_disk_on_the_way_is_of_the_run(tmp_path, monkeypatch, busy):
    path, seen, save = tmp_path / "state.npz", [], saving.save

    def look(where, state):
        save(where, state)
        seen.append(saving.load(where, state))

    monkeypatch.setattr(saving, "save", look)
    run(steps=40, save=path)
    assert len(seen) > 4
    assert len({int(state.step) for state in seen}) == len(seen)
    for state in seen:
        assert bits(state) == bits(run(steps=int(state.step)).state)


LINEAR = bp.mlp((3, 1), loss=bp.squared_error)
DIVERGES = bp.gradient_descent(3.0)


def test_what_is_on_disk_always_has_a_finite_loss(tmp_path, monkeypatch, busy):
    path, seen, save = tmp_path / "state.npz", [], saving.save
    monkeypatch.setattr(saving, "save", lambda p, state: (save(p, state), seen.append(state)))
    data = (np.ones((10, 3), np.float32), np.ones((10, 1), np.float32))
    text = r"^train: expected a finite loss, .*; the state before it is in .*state\.npz$"
    with pytest.raises(TrainingError, match=text) as caught:
        train(LINEAR, data, DIVERGES, epochs=99, batch_size=4, save=path)
    assert len(seen) > 3
    good = caught.value.result.state
    assert bits(saving.load(path, good)) == bits(good) == bits(seen[-1])
    for state in seen:
        step = int(state.step) + 1
        found = train(LINEAR, data, DIVERGES, steps=step, batch_size=4, resume=state)
        assert np.isfinite(found.history.step_loss).all()


# What is not the state of this run


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "state.npz"
    saving.save(path, whole().state)
    return path


def test_no_byte_can_break_it_unseen(tmp_path):
    """Every cut, and a change of every byte: an error of one line, or the same state."""
    tree, path = {"a": jnp.arange(3.0), "b": jnp.ones(2, jnp.bfloat16)}, tmp_path / "tree.npz"
    saving.save(path, tree)
    content = path.read_bytes()
    changed = [content[:i] + bytes([b ^ 0x41]) + content[i + 1 :] for i, b in enumerate(content)]
    said = []
    for new in [content[:i] for i in range(len(content))] + changed:
        path.write_bytes(new)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's, of headers
                found = saving.load(path, tree)
        except ValueError as e:
            said.append(str(e))
        else:
            assert bits(found) == bits(tree)
    assert len(said) > len(content)
    text = f"load: expected a state at {path}, got a file that is none or broken: "
    for one in said:
        assert one.startswith((text, "load: expected a state with "))
        assert "\n" not in one


@pytest.mark.parametrize("content", [b"", b"a state", b"PK\x03\x04"])
def test_files_that_are_no_state(content, tmp_path):
    path = tmp_path / "state.npz"
    path.write_bytes(content)
    text = (
        rf"^load: expected a state at {path}, got a file that is none or broken: look at the path"
    )
    with pytest.raises(ValueError, match=text):
        run(steps=9, resume=path)
    np.save(tmp_path / "array.npy", np.ones(3))
    os.replace(tmp_path / "array.npy", path)
    with pytest.raises(ValueError, match=text):
        run(steps=9, resume=path)
    assert path.exists()


def test_nothing_to_resume(tmp_path):
    text = rf"^load: expected a state at {tmp_path}/no\.npz, got nothing: look at the path$"
    with pytest.raises(FileNotFoundError, match=text):
        run(steps=9, resume=tmp_path / "no.npz")
    (tmp_path / "state.pickle").write_bytes(b"")
    text = (
        r"^load: expected a state at .*state\.pickle, got a file without \.npz: look at the path$"
    )
    with pytest.raises(ValueError, match=text):
        run(steps=9, resume=tmp_path / "state.pickle")


def test_the_state_of_another_run(saved):
    end = ": resume with the network, optimizer and accumulators that it was saved from$"
    wide = bp.mlp((3, 5, 2), activation=bp.tanh)
    text = (
        r"^load: expected a state with params\[0\]\.w of bfloat16 of shape \(3, 5\), got one with "
        r"params\[0\]\.w of bfloat16 of shape \(3, 4\)"
    )
    with pytest.raises(ValueError, match=text + end):
        run(steps=9, network=wide, resume=saved)
    text = (
        r"^load: expected a state with no optimizer\[0\]\.count, got one with optimizer\[0\]\.count"
    )
    with pytest.raises(ValueError, match=text + r" of int32 of shape \(\)" + end):
        run(steps=9, optimizer=bp.gradient_descent(0.1), resume=saved)
    text = r"^load: expected a state with no sums\[0\]\[0\]\.w, got one with sums\[0\]\[0\]\.w of "
    with pytest.raises(ValueError, match=text):
        run(steps=9, update_every=None, resume=saved)
    single = bp.Network(NETWORK.rule, NETWORK.loss, (3, 4, 2), lambda key, _: float32())
    with pytest.raises(
        ValueError, match=r"params\[0\]\.w of float32 .* params\[0\]\.w of bfloat16"
    ):
        run(steps=9, network=single, resume=saved)


def float32():
    return jax.tree.map(lambda p: p.astype(jnp.float32), whole().params)


# Where to save


def test_what_exists_is_not_overwritten(saved):
    old = saved.read_bytes()
    text = (
        rf"^train: expected nothing at {saved}, got a state that would be lost: "
        rf"resume='{saved}', or remove it$"
    )
    for resume in (None, whole().state):
        with pytest.raises(FileExistsError, match=text):
            run(steps=12, save=saved, resume=resume)
    assert saved.read_bytes() == old


def test_no_folder_to_save_in(tmp_path):
    text = rf"^train: expected the folder {tmp_path}/no to save in, got none: make it first$"
    with pytest.raises(FileNotFoundError, match=text):
        run(steps=9, save=tmp_path / "no" / "state.npz")


def test_without_orbax(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax", None)
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    text = r"^save: expected orbax-checkpoint for a folder of states, which is not installed: pip "
    with pytest.raises(ImportError, match=text):
        run(steps=9, save=tmp_path / "states")
    with pytest.raises(ImportError, match=text):
        run(steps=9, resume=tmp_path)
    assert os.listdir(tmp_path) == []


# Folders of Orbax


@pytest.fixture
def orbax():
    return pytest.importorskip("orbax.checkpoint")


def test_a_folder_of_states(orbax, tmp_path, busy):
    path = tmp_path / "states"
    path.mkdir()  # an empty folder has nothing to lose
    first = run(steps=4, save=path)
    assert bits(saving.load(path, first.state)) == bits(first.state)
    for steps in (5, 9):
        last = run(steps=steps, resume=path, save=path)
    assert bits(last.state) == bits(whole().state)
    assert bits(saving.load(path, last.state)) == bits(last.state)
    assert len(list(path.iterdir())) == 2
    with pytest.raises(FileExistsError, match="got a state that would be lost"):
        run(steps=9, save=path)
    with pytest.raises(ValueError, match=r"^load: expected a state with no optimizer\[0\]\.count"):
        run(steps=9, optimizer=bp.gradient_descent(0.1), resume=path)


def test_a_folder_without_a_state(orbax, tmp_path):
    text = rf"^load: expected a state in {tmp_path}, got a folder without one$"
    with pytest.raises(ValueError, match=text):
        run(steps=9, resume=tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_broken_folder(orbax, tmp_path):
    path = tmp_path / "states"
    run(steps=4, save=path)
    (path / "7").mkdir()
    text = (
        rf"^load: expected a state in {path}, got one that is broken: move its newest folder away"
    )
    with pytest.raises(ValueError, match=text) as caught:
        run(steps=9, resume=path)
    assert "\n" not in str(caught.value)


def test_no_room_in_a_folder(orbax, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise ValueError("OUT_OF_RANGE: Error writing: No space left on device")

    monkeypatch.setattr(orbax.CheckpointManager, "save", full)
    with pytest.raises(TrainingError, match=r"could not save to .*: Orbax: OUT_OF_RANGE: .*: free"):
        run(steps=9, save=tmp_path / "states")
