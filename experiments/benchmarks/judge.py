"""How long does the judge take at real sizes, in which memory, beside check_grads of JAX?

Each question is asked in a process of its own, warm: a small one has been judged before. Rules are
those that people write by hand; arguments are an eighth, a quarter, a half and the whole of the
size, to show how time and memory grow. A question that is not done after --limit seconds is
stopped.

    python experiments/benchmarks/judge.py                   all
    python experiments/benchmarks/judge.py --only attention  some
    python experiments/benchmarks/judge.py --quick           an eighth of each size
"""

import functools
import json
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.test_util import check_grads
from measure import COLORS, finish, options, plt, target

import manualbp as bp
from manualbp.verify import check

SHARES = (0.125, 0.25, 0.5, 1.0)


def custom(value, residuals, pull, nondiff=()):
    """A jax.custom_vjp of a value, what it keeps, and a backward pass."""
    rule = jax.custom_vjp(value, nondiff_argnums=nondiff)
    rule.defvjp(lambda *args: (value(*args), residuals(*args)), pull)
    return rule


def sizes(share, *whole):
    """Sizes times a share, at least 2."""
    return [max(2, int(n * share)) for n in whole]


def normal(*shapes, dtype=np.float32, scale=1.0):
    rng = np.random.default_rng(0)
    return [jnp.asarray(scale * rng.normal(size=s), dtype) for s in shapes]


# Questions: share of the full size -> rule, arguments


def dense_tanh(share):
    n, k, m = sizes(share, 512, 512, 512)

    def value(x, w, b):
        return jnp.tanh(x @ w + b)

    def pull(kept, dy):
        x, w, y = kept
        dz = dy * (1 - y * y)
        return dz @ w.T, x.T @ dz, dz.sum(0)

    x, w, b = normal((n, k), (k, m), (m,))
    return custom(value, lambda x, w, b: (x, w, value(x, w, b)), pull), (x, w / np.sqrt(k), b)


def attention(share, dtype=np.float32):
    t, d = sizes(share**0.5, 128, 64)
    mask = np.tril(np.ones((t, t), bool))

    def weights(q, k):
        scores = jnp.einsum("bthd,bshd->bhts", q, k) / np.sqrt(d).astype(q.dtype)
        scores = jnp.where(mask, scores, jnp.finfo(q.dtype).min)
        return jax.nn.softmax(scores.astype(np.float32)).astype(q.dtype)

    def value(q, k, v):
        return jnp.einsum("bhts,bshd->bthd", weights(q, k), v)

    def pull(kept, dy):
        q, k, v, p = kept
        dv = jnp.einsum("bhts,bthd->bshd", p, dy)
        dp = jnp.einsum("bthd,bshd->bhts", dy, v)
        ds = p * (dp - jnp.sum(p * dp, axis=-1, keepdims=True)) / np.sqrt(d).astype(q.dtype)
        return jnp.einsum("bhts,bshd->bthd", ds, k), jnp.einsum("bhts,bthd->bshd", ds, q), dv

    def residuals(q, k, v):
        return q, k, v, weights(q, k)

    return custom(value, residuals, pull), normal(*[(1, t, 4, d)] * 3, dtype=dtype)


def cross_entropy(share):
    n, classes = sizes(share**0.5, 32, 32_000)

    def value(z, labels):
        picked = jnp.take_along_axis(z, labels[:, None], axis=1)[:, 0]
        return jax.nn.logsumexp(z, axis=1) - picked

    def pull(kept, dy):
        z, labels = kept
        p = jax.nn.softmax(z)
        return dy[:, None] * (p - jax.nn.one_hot(labels, z.shape[1], dtype=z.dtype)), None

    (z,) = normal((n, classes))
    labels = jnp.asarray(np.random.default_rng(1).integers(0, classes, n))
    return custom(value, lambda *args: args, pull), (z, labels)


def fused_cross_entropy(share):
    n, features, classes = sizes(share ** (1 / 3), 32, 256, 32_000)

    def value(x, w, labels):
        z = x @ w
        picked = jnp.take_along_axis(z, labels[:, None], axis=1)[:, 0]
        return jnp.sum(jax.nn.logsumexp(z, axis=1) - picked)

    def pull(kept, dy):
        x, w, labels = kept
        dz = jax.nn.softmax(x @ w)
        dz = dy * dz.at[jnp.arange(len(labels)), labels].add(-1)
        return dz @ w.T, x.T @ dz, None

    x, w = normal((n, features), (features, classes))
    labels = jnp.asarray(np.random.default_rng(1).integers(0, classes, n))
    return custom(value, lambda *args: args, pull), (x, w / np.sqrt(features), labels)


def layer_norm(share):
    n, d = sizes(share**0.5, 32, 4096)

    def normalized(x):
        centred = x - x.mean(-1, keepdims=True)
        inverse = lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)
        return centred * inverse, inverse

    def value(x, scale, shift):
        return normalized(x)[0] * scale + shift

    def pull(kept, dy):
        x, scale = kept
        xhat, inverse = normalized(x)
        dxhat = dy * scale
        means = dxhat.mean(-1, keepdims=True), (dxhat * xhat).mean(-1, keepdims=True)
        return inverse * (dxhat - means[0] - xhat * means[1]), (dy * xhat).sum(0), dy.sum(0)

    return custom(value, lambda x, scale, _: (x, scale), pull), normal((n, d), (d,), (d,))


def rms_norm(share):
    n, d = sizes(share**0.5, 32, 4096)

    def value(x, scale):
        return x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * scale

    def pull(kept, dy):
        x, scale = kept
        inverse = lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)
        dxhat = dy * scale
        dot = jnp.mean(dxhat * x, -1, keepdims=True)
        return inverse * dxhat - inverse**3 * dot * x, (dy * x * inverse).sum(0)

    return custom(value, lambda *args: args, pull), normal((n, d), (d,))


def convolution(share):
    n, c, side, out = sizes(share**0.25, 8, 16, 16, 32)
    layout = ("NCHW", "OIHW", "NCHW")

    def value(x, w):
        return lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=layout)

    def pull(kept, dy):
        x, w = kept
        flipped = w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3)
        dx = lax.conv_general_dilated(dy, flipped, (1, 1), "SAME", dimension_numbers=layout)
        dw = lax.conv_general_dilated(
            x.transpose(1, 0, 2, 3), dy.transpose(1, 0, 2, 3), (1, 1), [(1, 1), (1, 1)],
            dimension_numbers=layout,
        )  # fmt: skip
        return dx, dw.transpose(1, 0, 2, 3)

    x, w = normal((n, c, side, side), (out, c, 3, 3))
    return custom(value, lambda *args: args, pull), (x, w / np.sqrt(9 * c))


def recurrent(share):
    steps, n, d = sizes(share ** (1 / 3), 256, 32, 64)

    def states(w, h, xs):
        def step(h, x):
            h = jnp.tanh(x + h @ w)
            return h, h

        return lax.scan(step, h, xs)[1]

    def value(w, h, xs):
        return states(w, h, xs)[-1]

    def pull(kept, dy):
        w, h, _, hs = kept
        before = jnp.concatenate([h[None], hs[:-1]])

        def step(carry, row):
            dh, dw = carry
            now, last = row
            dz = dh * (1 - now * now)
            return (dz @ w.T, dw + last.T @ dz), dz

        (dh, dw), dxs = lax.scan(step, (dy, jnp.zeros_like(w)), (hs, before), reverse=True)
        return dw, dh, dxs

    w, h, rows = normal((d, d), (n, d), (steps, n, d))
    rule = custom(value, lambda w, h, xs: (w, h, xs, states(w, h, xs)), pull)
    return rule, (0.5 * w / np.sqrt(d), h, rows)


def moe(share):
    n, d = sizes(share**0.5, 256, 128)
    experts = 8
    rng = np.random.default_rng(1)
    chosen = jnp.asarray(np.argsort(rng.random((n, experts)))[:, :2])

    def value(x, gates, chosen):
        order = jnp.argsort(chosen.ravel(), stable=True)
        sent = x[order // 2]
        back = jnp.zeros((2 * n, d), x.dtype).at[order].set(sent)
        return jnp.sum(back.reshape(n, 2, d) * gates[:, :, None], axis=1)

    def pull(kept, dy):
        x, gates, _ = kept
        return dy * gates.sum(1, keepdims=True), jnp.repeat((dy * x).sum(1), 2).reshape(n, 2), None

    x, gates = normal((n, d), (n, 2))
    return custom(value, lambda *args: args, pull), (x, gates, chosen)


def embedding(share):
    words, d = sizes(share**0.5, 32_000, 256)
    tokens = jnp.asarray(np.random.default_rng(1).integers(0, min(words, 40), 64))

    def value(table, tokens):
        return table[tokens]

    def pull(kept, dy):
        tokens, rows = kept
        return jnp.zeros((rows, dy.shape[-1]), dy.dtype).at[tokens].add(dy), None

    (table,) = normal((words, d))
    rule = custom(value, lambda t, i: (i, t.shape[0]), pull)
    rule.defvjp(lambda t, i: (value(t, i), i), lambda i, dy: (
        jnp.zeros((words, d), dy.dtype).at[i].add(dy), None))  # fmt: skip
    return rule, (table, tokens)


def fixed_point(share):
    (n,) = sizes(share, 64)

    def solve(w, b):
        def step(z):
            return jnp.tanh(w @ z + b)

        return lax.while_loop(
            lambda c: jnp.max(jnp.abs(c[0] - c[1])) > 1e-7,
            lambda c: (step(c[0]), c[0]), (step(jnp.zeros_like(b)), jnp.zeros_like(b)),
        )[0]  # fmt: skip

    def pull(kept, dz):
        w, z = kept
        slope = 1 - z * z
        u = jnp.linalg.solve((jnp.eye(n, dtype=z.dtype) - slope[:, None] * w).T, dz)
        return jnp.outer(slope * u, z), slope * u

    w, b = normal((n, n), (n,))
    return custom(solve, lambda w, b: (w, solve(w, b)), pull), (0.3 * w / np.sqrt(n), b)


def catalogue(_):
    return bp.silu, (jnp.linspace(-2, 2, 6),)


# Name -> question, target in seconds and in MB
QUESTIONS = {
    "dense + tanh 512 x 512 x 512": (dense_tanh, 5, 1000),
    "attention [1, 128, 4, 64], causal": (attention, 10, 1500),
    "the same in bfloat16": (functools.partial(attention, dtype=jnp.bfloat16), 10, 1500),
    "cross-entropy 32 x 32,000": (cross_entropy, 10, 1500),
    "fused with 256 features": (fused_cross_entropy, 10, 1500),
    "layer norm 32 x 4,096": (layer_norm, 5, 1000),
    "RMS norm 32 x 4,096": (rms_norm, 5, 1000),
    "convolution 8 x 16 x 16 x 16, 32 channels": (convolution, 10, 1000),
    "recurrent cell, 256 steps, 32 x 64": (recurrent, 10, 1000),
    "mixture of experts 256 x 128, 2 of 8": (moe, 5, 1000),
    "embedding 32,000 x 256": (embedding, 5, 1500),
    "fixed point, 64 unknowns": (fixed_point, 10, 1000),
    "silu of the catalogue": (catalogue, 1, 500),
}


def ask(name, share):
    """In a process of its own: seconds and MB of the judge, and what it says; of check_grads."""
    question = QUESTIONS[name][0]
    check(bp.tanh, jnp.linspace(-1.0, 1.0, 3))
    rule, args = question(share)
    start = time.perf_counter()
    report = check(rule, *args)
    seconds, peak = time.perf_counter() - start, peak_of_this_process()
    floating = [i for i, x in enumerate(args) if jnp.issubdtype(x.dtype, jnp.floating)]

    def of_floating(*xs):
        return rule(*(xs[floating.index(i)] if i in floating else x for i, x in enumerate(args)))

    start = time.perf_counter()
    try:
        check_grads(of_floating, tuple(args[i] for i in floating), 1, ["rev"])
        theirs = "passes"
    except Exception as error:
        theirs = type(error).__name__
    return {
        "numbers": sum(x.size for x in args), "seconds": seconds, "MB": peak,
        "verdict": report.verdict, "exact": dict(report.decided_by),
        "check_grads seconds": time.perf_counter() - start, "check_grads": theirs,
    }  # fmt: skip


def peak_of_this_process():
    """Its largest resident memory, in MB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def asked(name, share, limit):
    """What `ask` finds, or that it was stopped."""
    command = [sys.executable, __file__, "--ask", name, str(share)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=True)
    except subprocess.TimeoutExpired:
        return {"seconds": float("nan"), "MB": float("nan"), "verdict": f"none after {limit:g} s"}
    return json.loads(done.stdout.splitlines()[-1])


def draw(found):
    """Time and memory over the numbers that are asked about, a line a question."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 5))
    for k, (name, rows) in enumerate(found.items()):
        done = [row for row in rows if "numbers" in row]
        for axis, what in zip(axes, ("seconds", "MB"), strict=True):
            axis.loglog(
                [row["numbers"] for row in done], [row[what] for row in done], "-o",
                color=COLORS[k % len(COLORS)], markersize=4, label=name,
                linestyle="--" if k >= len(COLORS) else "-",
            )  # fmt: skip
            axis.set_xlabel("numbers in the arguments")
            axis.set_ylabel({"MB": "peak memory, MB"}.get(what, what))
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def main():
    parser = options(__doc__)
    parser.add_argument("--only", default="", metavar="WORDS", help="questions whose name has it")
    parser.add_argument("--limit", type=float, default=300, help="seconds a question (default 300)")
    parser.add_argument("--ask", nargs=2, metavar=("NAME", "SHARE"), help="one, and print it")
    args = parser.parse_args()
    if args.ask:
        print(json.dumps(ask(args.ask[0], float(args.ask[1]))))
        return
    names = [name for name in QUESTIONS if args.only in name]
    if not names:
        parser.error(f"--only: expected a part of {', '.join(QUESTIONS)}")
    shares = SHARES[:1] if args.quick else SHARES
    found, rows, targets = {}, [], []
    for name in names:
        found[name] = [asked(name, share, args.limit) for share in shares]
        last = found[name][-1]
        theirs = last.get("check_grads seconds", float("nan"))
        rows.append([
            name, last.get("numbers", 0), last["verdict"], round(last["seconds"], 1),
            round(last["MB"]), round(theirs, 1), last.get("check_grads", ""),
        ])  # fmt: skip
        _, seconds, megabytes = QUESTIONS[name]
        targets.append(target(f"{name}: seconds", last["seconds"], seconds))
        targets.append(target(f"{name}: MB", last["MB"], megabytes))
    columns = ["question", "numbers", "verdict", "seconds", "MB", "check_grads, s", "it says"]
    title = "Questions of real size"
    finish(args, "judge", title, columns, rows, targets, draw(found), growth=found)


if __name__ == "__main__":
    main()
