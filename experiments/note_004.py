"""Do the worked examples of note 004 come out as printed, when done by hand-derived rules?

The sentiment example, the mini-sentiment step, the tables of cross-entropies and the graph of
L = c (a + 2 b), in float64. Each printed number stands beside the exact one and is judged:
"exact", "rounded" (right to the digits printed), or "wrong".

    python experiments/note_004.py

Look at: the table "as printed, and exact" (every number printed is right to its digits), the
table of equations that are not (their misprints give other numbers), and in the picture the
graph, where each gradient is the one behind it times the slope of the edge.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from common import COLORS, keep, options, show
from matplotlib import pyplot as plt

import manualbp as bp

# Note 004, the sentiment example: weights, features, bias
W = (2.5, -5.0, -1.2, 0.5, 2.0, 0.7)
X = (3.0, 2.0, 1.0, 3.0, 0.0, 4.19)
B = 0.1
SENTIMENT = "'sentiment example'"

# Note 004, 'Working through an example': two features, y = 1, a start at 0
MINI_X, MINI_RATE = (3.0, 2.0), 0.1
MINI = "'Example of gradient descent'"

# Note 004, tables of 'Multiclass cross-entropy loss' and 'Question?': rows of (y, prediction)
CLASSES = (
    ((1, 0, 0), (0.5, 0.3, 0.2)),
    ((0, 1, 0), (0.1, 0.2, 0.7)),
    ((0, 0, 1), (0.4, 0.2, 0.4)),
    ((0, 1, 0), (0.3, 0.5, 0.2)),
    ((1, 0, 0), (0.4, 0.1, 0.5)),
)
BINARY = ((1, 0.7), (0, 0.1), (0, 0.8), (0, 0.5), (1, 0.4))
LABELS = (
    ((1, 1, 0), (0.5, 0.4, 0.2)),
    ((0, 1, 1), (0.1, 0.4, 0.7)),
    ((1, 0, 1), (0.8, 0.2, 0.4)),
    ((0, 1, 0), (0.3, 0.5, 0.6)),
    ((1, 0, 0), (0.5, 0.9, 0.5)),
)

# Note 004, 'Example: L(a, b, c) = c(a+2b)'. The figure with its numbers is lost: c = -2 follows
# from the printed dL/da = -2 * 1, a = 3 is a number that was left over, b = 1 is a guess
GRAPH = {"a": 3.0, "b": 1.0, "c": -2.0}


def logistic(w, b):
    """Logistic regression, and its parameters."""
    network = bp.mlp((len(w), 1), loss=bp.sigmoid_binary_cross_entropy)
    return network, (bp.Dense(jnp.array(w)[:, None], jnp.array([b])), ())


def sentiment():
    """The logit, both probabilities, losses and gradients of the sentiment example."""
    network, params = logistic(W, B)
    x = jnp.array([X])
    z = network(params, x)[0, 0]
    found = {"logit": z, "p+": bp.sigmoid(z), "p-": bp.sigmoid(-z)}
    with_count = jnp.array([(*X[:-1], math.log(66))])
    found["logit with ln 66"] = network(params, with_count)[0, 0]
    for y in (1, 0):
        loss, ((dw, db), _) = network.loss_and_grad(params, x, jnp.array([[float(y)]]))
        found |= {f"loss y={y}": loss, f"dw y={y}": dw[:, 0], f"db y={y}": db[0]}
    return {name: np.asarray(v).tolist() for name, v in found.items()}


def mini(steps):
    """Losses, gradients and theta = (w1, w2, b) before each step of the mini example."""
    network, params = logistic((0.0, 0.0), 0.0)
    x, y = jnp.array([MINI_X]), jnp.ones((1, 1))
    rows = []
    for _ in range(steps + 1):
        loss, grad = network.loss_and_grad(params, x, y)
        flat = [np.concatenate([p[0].w[:, 0], p[0].b]).tolist() for p in (params, grad)]
        rows.append({"loss": float(loss), "theta": flat[0], "gradient": flat[1]})
        params = jax.tree.map(lambda p, g: p - MINI_RATE * g, params, grad)
    return rows


def tables():
    """Losses of each row of the three tables."""
    y, p = (jnp.array(v, float) for v in zip(*CLASSES, strict=True))
    found = {"classes": bp.cross_entropy(p, y)}
    y, p = (jnp.array(v, float) for v in zip(*BINARY, strict=True))
    found["binary"] = bp.binary_cross_entropy(p, y)
    y, p = (jnp.array(v, float) for v in zip(*LABELS, strict=True))
    found["several labels"] = jnp.sum(bp.binary_cross_entropy(p, y), axis=1)
    return {name: np.asarray(v).tolist() for name, v in found.items()}


def graph(a, b, c):
    """L = c (a + 2 b) forward and backward, node by node.

    Returns:
      The value and the gradient of each node, and the slope of each edge.
    """
    d = 2 * b
    e = a + d
    values = {"a": a, "b": b, "c": c, "d": d, "e": e, "L": c * e}
    # from node to node: the derivative of the second by the first
    slopes = {("e", "L"): c, ("c", "L"): e, ("a", "e"): 1.0, ("d", "e"): 1.0, ("b", "d"): 2.0}
    gradients = {"L": 1.0}
    for (node, after), slope in slopes.items():  # the order in which the chain rule goes back
        gradients[node] = gradients[after] * slope
    return values, gradients, slopes


def judged(printed, exact):
    """How a printed number stands to the exact one."""
    digits = len(printed.partition(".")[2])
    if math.isclose(float(printed), exact, rel_tol=1e-12, abs_tol=1e-12):
        return "exact"
    # 0.5 of the last digit printed, and a little for what binary fractions do to a tie
    return "rounded" if abs(float(printed) - exact) <= 0.5000001 * 10.0**-digits else "wrong"


def printed_numbers(found, steps, rows):
    """(quantity, place, as printed, exact) of each number that the note prints."""
    gradient, theta = steps[0]["gradient"], steps[1]["theta"]
    values, slopes = rows["classes"], graph(**GRAPH)
    counts = bp.training.batches(jax.random.key(0), 0, 1000, 500)[1]
    return [
        ("x6 = ln 66", SENTIMENT, "4.19", math.log(66)),
        ("logit w . x + b", SENTIMENT, "0.833", found["logit"]),
        ("p(+|x)", SENTIMENT, "0.70", found["p+"]),
        ("loss, y = 1", SENTIMENT, "0.36", found["loss y=1"]),
        ("p(-|x)", SENTIMENT, "0.30", found["p-"]),
        ("loss, y = 0", SENTIMENT, "1.2", found["loss y=0"]),
        ("cross-entropy of cat", "'Example' [cat, dog, egg]", "0.693", values[0]),
        ("sigma(0)", MINI, "0.5", float(bp.sigmoid(0.0))),
        ("dL/dw1 at 0", MINI, "-1.5", gradient[0]),
        ("dL/dw2 at 0", MINI, "-1.0", gradient[1]),
        ("dL/db at 0", MINI, "-0.5", gradient[2]),
        ("w1 after a step", MINI, "0.15", theta[0]),
        ("w2 after a step", MINI, "0.1", theta[1]),
        ("b after a step", MINI, "0.05", theta[2]),
        ("dL/da of c(a+2b)", "'Example' of the graph", "-2", slopes[1]["a"]),
        ("iterations an epoch, 1000 by 500", "'Epochs, Batch, Iteration'", "2", float(len(counts))),
    ]


def misprints(found, rows):
    """(equation as printed, its number, what holds, its number)."""
    z, f = found["logit"], jnp.array([1.0, 0.0])
    log_sum = float(bp.logsumexp(f))
    literal = -float(np.log(bp.sigmoid(1 - (z - B) + B)))
    y, p = LABELS[0]
    _, gradients, _ = graph(**GRAPH)
    return [
        ("-log sigma(1 - w.x + b)", literal, "-log sigma(-(w.x + b))", found["loss y=0"]),
        ("-f_y - log sum exp f, f = (1, 0)", -1 - log_sum, "-(f_y - log sum exp f)", log_sum - 1),
        (
            "several labels: -sum y log p, row 1",
            -sum(yi * math.log(pi) for yi, pi in zip(y, p, strict=True)),
            "with -(1 - y) log(1 - p) too",
            rows["several labels"][0],
        ),
        (
            "dL/dc explained by dL/da = -2 * 1",
            gradients["a"],
            "dL/dc = e",
            gradients["c"],
        ),
    ]


def draw_graph(ax, values, gradients, slopes):
    """Nodes with their value above and gradient below, edges with their slope."""
    at = {
        "a": (0, 1.4),
        "b": (0, 0),
        "c": (0, -1.5),
        "d": (1.5, 0),
        "e": (3, 0.7),
        "L": (4.5, -0.4),
    }
    says = {"d": "d = 2b", "e": "e = a + d", "L": "L = c e"}
    for (node, after), slope in slopes.items():
        arrow = {"arrowstyle": "-|>", "shrinkA": 21, "shrinkB": 21, "color": "0.35"}
        ax.annotate("", at[after], at[node], arrowprops=arrow)
        # nearer to the node the edge leaves, where no other label stands
        x, y = (0.55 * s + 0.45 * t for s, t in zip(at[node], at[after], strict=True))
        label = f"$\\partial {after}/\\partial {node}$ = {slope:g}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
        ax.text(x, y, label, ha="center", va="center", fontsize=8, color="0.25", bbox=box)
    for node, (x, y) in at.items():
        ax.plot(x, y, "o", ms=36, mfc="white", mec="0.2")
        ax.text(x, y, node, ha="center", va="center", fontsize=13, style="italic")
        ax.text(x, y + 0.33, says.get(node, node) + f" = {values[node]:g}", ha="center",
                color=COLORS[0], fontweight="bold", va="bottom")  # fmt: skip
        label = f"$\\partial L/\\partial {node}$ = {gradients[node]:g}"
        ax.text(x, y - 0.33, label, ha="center", va="top", color=COLORS[1], fontweight="bold")
    ax.set(xlim=(-0.8, 5.2), ylim=(-2.2, 2.1), title="L = c (a + 2b): each gradient is the next "
           "one's times the edge's slope")  # fmt: skip
    ax.text(3.1, 1.85, "forward: values", color=COLORS[0], fontweight="bold")
    ax.text(3.1, 1.6, "backward: gradients", color=COLORS[1], fontweight="bold")
    ax.axis("off")


def draw_loss(ax, steps):
    """The loss of the mini example against steps."""
    losses = [row["loss"] for row in steps]
    ax.plot(losses, "o-", ms=4)
    for i, note in ((0, "start: $\\log 2$"), (1, r"the note's step: $\theta$ = (.15, .1, .05)")):
        ax.annotate(f"{note}, loss {losses[i]:.4f}", (i, losses[i]), (i + 2.2, losses[i]),
                    va="center", arrowprops={"arrowstyle": "-", "color": "0.5"})  # fmt: skip
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="steps of gradient descent", ylabel="binary cross-entropy (nats)", ylim=(0, 0.75),
           xlim=(-0.5, len(losses) - 0.5),
           title=f"Mini-sentiment example, $\\eta$ = {MINI_RATE}")  # fmt: skip


def main():
    parser = options(__doc__, steps=20)
    chosen = parser.parse_args()
    if not 2 <= chosen.steps <= 10000:
        parser.error(f"--steps: expected 2 to 10000, got {chosen.steps}")
    with jax.enable_x64(True):
        found, steps, rows = sentiment(), mini(chosen.steps), tables()
        numbers = printed_numbers(found, steps, rows)
        wrong = misprints(found, rows)
    checked = [(*row, judged(row[2], row[3])) for row in numbers]
    show("Note 004: numbers as printed, and exact", ("quantity", "place", "printed", "exact", ""),
         [(*row[:3], f"{row[3]:.10g}", row[4]) for row in checked])  # fmt: skip
    show("Equations misprinted: what they give as printed, and what holds",
         ("as printed", "gives", "holds", "gives"),
         [(a, f"{b:.6f}", c, f"{d:.6f}") for a, b, c, d in wrong])  # fmt: skip
    show("Not printed: gradients of the sentiment example", ("y", "dL/db", "dL/dw"),
         [(y, f"{found[f'db y={y}']:.6f}",
           " ".join(f"{g:.6f}" for g in found[f"dw y={y}"])) for y in (1, 0)])  # fmt: skip
    show("Not printed: losses of the tables' rows", ("table", "rows", "sum", "mean"),
         [(name, " ".join(f"{v:.6f}" for v in row), f"{sum(row):.6f}",
           f"{sum(row) / len(row):.6f}") for name, row in rows.items()])  # fmt: skip
    show("The mini example goes on", ("step", "loss", "theta", "gradient"),
         [(i, f"{row['loss']:.6f}", *(" ".join(f"{v:.6f}" for v in row[k])
           for k in ("theta", "gradient")))
          for i, row in enumerate(steps) if i in (0, 1, 2, len(steps) - 1)])  # fmt: skip

    figure, axes = plt.subplots(1, 2, figsize=(13, 5), width_ratios=(3, 2))
    values, gradients, slopes = graph(**GRAPH)
    draw_graph(axes[0], values, gradients, slopes)
    draw_loss(axes[1], steps)
    keys = ("quantity", "place", "printed", "exact", "judged")
    keep(chosen.out, "note_004", figure, {
        "printed": [dict(zip(keys, row, strict=True)) for row in checked],
        "misprints": [dict(zip(("as printed", "gives", "holds", "truth"), row, strict=True))
                      for row in wrong],
        "sentiment": found, "tables": rows, "mini": steps,
        "graph": {"values": values, "gradients": gradients,
                  "slopes": {f"d{t}/d{s}": v for (s, t), v in slopes.items()}},
    })  # fmt: skip


if __name__ == "__main__":
    main()
