"""One of two processes that share a batch, run by test_many_devices.py.

python -m tests.one_of_two_processes PORT 0 OUT.npz
python -m tests.one_of_two_processes PORT 1 OUT.npz
"""

import sys

import jax
import numpy as np

EXAMPLES, STEPS = 24, 3


def problem():
    """What both processes, and the test, make alike."""
    import manualbp as bp

    rng = np.random.default_rng(0)
    x = rng.normal(size=(EXAMPLES, 6)).astype(np.float32)
    y = rng.integers(0, 3, EXAMPLES).astype(np.int32)
    network = bp.mlp((6, 8, 3), activation=bp.prelu)
    return network, network.init(jax.random.key(0)), x, y


def train(network, params, x, y):
    """A few steps of gradient descent; the losses and the parameters."""

    def step(params, x, y):
        loss, grads = network.loss_and_grad(params, x, y)
        return loss, jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)

    losses = []
    for _ in range(STEPS):
        loss, params = jax.jit(step)(params, x, y)
        losses.append(loss)
    return jax.tree.leaves((losses, params))


def main():
    port, process, out = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    jax.config.update("jax_num_cpu_devices", 2)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator_address=f"127.0.0.1:{port}",
        coordinator_bind_address=f"127.0.0.1:{port}",  # for nobody outside
        num_processes=2,
        process_id=process,
        initialization_timeout=60,
    )
    assert (jax.device_count(), jax.local_device_count()) == (4, 2)
    import manualbp as bp

    network, params, x, y = problem()
    mesh = jax.sharding.Mesh(jax.devices(), ("data",))
    own = slice(process * EXAMPLES // 2, (process + 1) * EXAMPLES // 2)
    batch = bp.place_batch(mesh, x[own], y[own])
    assert batch[0].shape == x.shape
    assert not batch[0].is_fully_addressable
    leaves = train(network, bp.place_params(mesh, params), *batch)
    if process == 0:
        np.savez(out, *map(np.asarray, leaves))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main()
