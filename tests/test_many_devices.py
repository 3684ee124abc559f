"""Gradients on several devices and in several processes, simulated on the CPU."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from manualbp.verify.ask.problem import quick_options
from tests.on_eight_devices import CHECKS
from tests.one_of_two_processes import problem, train

ROOT = Path(__file__).parents[1]
SECONDS = 240  # far more than is needed: what hangs must fail


def start(module, *args, **environment):
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": "", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.{module}", *map(str, args)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outputs(*processes):
    """What each printed; all have ended when this returns, and those that hung fail."""
    end = time.monotonic() + SECONDS
    printed = []
    try:
        for process in processes:
            printed.append(process.communicate(timeout=max(1, end - time.monotonic()))[0])
    except subprocess.TimeoutExpired:
        pytest.fail(f"{processes[len(printed)].args} did not end within {SECONDS} seconds")
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    for process, text in zip(processes, printed, strict=True):
        assert process.returncode == 0, text
    return printed


@pytest.fixture(scope="module")
def eight_devices():
    options = {"xla_force_host_platform_device_count": 8, **quick_options()}
    flags = " ".join(f"--{name}={value}".lower() for name, value in options.items())
    (text,) = outputs(start("on_eight_devices", XLA_FLAGS=flags))
    result = json.loads(text[text.index('{"devices"') :])
    assert result["devices"] == 8
    return result["checks"]


@pytest.mark.parametrize("name", CHECKS)
def test_on_eight_devices(name, eight_devices):
    error = eight_devices[name]["error"]
    assert error is None, error


def test_two_processes_with_half_the_batch_each_train_like_one(tmp_path):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    out = tmp_path / "out.npz"
    outputs(*(start("one_of_two_processes", port, process, out) for process in (0, 1)))
    want = train(*problem())
    with np.load(out) as got:
        assert len(got.files) == len(want)
        for name, leaf in zip(got.files, want, strict=True):
            # a few steps of sums in another order
            np.testing.assert_allclose(got[name], leaf, rtol=1e-5, atol=1e-6)


def test_what_hangs_fails(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "SECONDS", 1)
    alone = start("one_of_two_processes", 1, 1, "unused")  # nobody listens there
    with pytest.raises(pytest.fail.Exception, match="did not end within 1 seconds"):
        outputs(alone)
    assert alone.poll() is not None


def test_one_device_is_a_mesh_too():
    import manualbp as bp

    network, params, x, y = problem()
    mesh = jax.sharding.Mesh(jax.devices()[:1], ("data",))
    got = network.loss_and_grad(bp.place_params(mesh, params), *bp.place_batch(mesh, x, y))
    jax.tree.map(np.testing.assert_array_equal, got, network.loss_and_grad(params, x, y))
