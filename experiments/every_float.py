"""How large is the error at every float there is, of our gradients and of jax.grad's?

Each rule of the library that works entry by entry is evaluated at every float16 and bfloat16 there
is and at four million float32 numbers spread over the whole line (--full: at all 2^32; that takes
an hour, and goes on where it was interrupted). The truth beside it is float64, itself checked in
exact arithmetic. What people use today (jax.nn, Optax, jax.grad of them) gets the same treatment.

    python experiments/every_float.py                           all rules, three dtypes
    python experiments/every_float.py --rules sigmoid,tanh      some
    python experiments/every_float.py --dtypes float32 --full   every float32

Look at the pictures: the number line from -inf to inf in steps of one bit pattern, and above it
the largest error of the derivative, ours and jax.grad's. A finished sweep is kept in --work and
read from there the next time.
"""

import functools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import keep, options, show

import manualbp as bp
from manualbp._rule import argument_names
from manualbp.verify import accuracy
from manualbp.verify.ask.definitions import base_name
from manualbp.verify.cases import BOUNDS, OF_VECTORS, bound_of
from manualbp.verify.floats.peers import peer_of

DTYPES = ("float16", "bfloat16", "float32")
# Of the other arguments, in a full sweep: one set where many would take a day
ONE_SET = {"slope": (0.25,), "beta": (1.0,), "labels": (0.25,), "variance": (0.25,)}
ONE_SET |= {"targets": (0.25,)}
ABOVE, IN_TERMS = "above 4 ULP", "above 4 ULP of the largest term"
NANS = ("NaN, truth is not", "infinite, truth is finite")


def rules():
    return {base_name(rule): rule for rule in bp.RULES if base_name(rule) not in OF_VECTORS}


def sweeps(rule, dtype, full, work, seed):
    """Of the rule and of what people use today, with the same truth: a list of such pairs.

    Each pair tries every float, or some; a float32 rule of several arguments gets both: some with
    many sets of the other arguments, every one with one set.
    """
    peer = peer_of(rule)
    one = {k: v for k, v in ONE_SET.items() if k in argument_names(rule)}

    def pair(extent, others=None):
        return [
            accuracy(
                function,
                dtype,
                truth=rule,
                others=others,
                exhaustive=extent == "every",
                checkpoint=work / f"{base_name(rule)}.{dtype}.{extent}.{who}.npz",
                seed=seed,
            )
            for who, function in (("ours", rule), ("peer", peer))
        ]

    if dtype != "float32":
        return [pair("every")]
    # full sweeps that were made before are better than a sample
    made = (work / f"{base_name(rule)}.{dtype}.every.{who}.npz" for who in ("ours", "peer"))
    every = full or all(f.exists() for f in made)
    some = [pair("some")] if one or not every else []
    return some + ([pair("every", one)] if every else [])


def slopes(sweep):
    """The derivatives, that in the argument swept first."""
    return sorted(sweep.parts[1:], key=lambda part: part.name != f"d{sweep.argument}")


def worst(parts):
    return max(parts, key=lambda part: part.term_ulps)


def number(x):
    return f"{x:.3g}" if x < 1000 else f"{x:.0e}".replace("e+0", "e").replace("e+", "e")


def place(part):
    return ", ".join(f"{x:.6g}" for x in part.term_at)


def tried(sweep, rule):
    """How many inputs, and what the other arguments were."""
    many, each = len(sweep.others), sweep.inputs // len(sweep.others)
    names = [name for name in argument_names(rule) if name != sweep.argument]
    if many > 1:
        return f"{each:,} x {many} of {', '.join(names)}"
    given = ", ".join(f"{k} = {v:g}" for k, v in zip(names, sweep.others[0], strict=False))
    return f"{each:,}, {given}" if given else f"{each:,}"


def row(rule, dtype, ours, peer):
    """One line of the table."""
    value, slope = ours.parts[0], worst(ours.parts[1:])
    theirs = worst(peer.parts[1:])
    parts = ours.parts
    return {
        "rule": rule.name,
        "dtype": dtype,
        "inputs": ours.inputs,
        "tried": tried(ours, rule),
        "value": value.term_ulps,
        "derivative": slope.term_ulps,
        "at": place(max(value, slope, key=lambda p: p.term_ulps)),
        "of truth": max(p.ulps for p in parts),
        "above 4": sum(p.count(IN_TERMS) for p in parts),
        "NaN": sum(p.count(kind) for p in parts for kind in NANS),
        "NaN lost": sum(p.count("not NaN, truth is") for p in parts),
        "jax.grad": theirs.term_ulps,
        "jax.grad at": place(theirs),
        "jax.grad above 4": sum(p.count(IN_TERMS) for p in peer.parts[1:]),
        "jax.grad NaN": sum(p.count(kind) for p in peer.parts for kind in NANS),
        "limits": list(ours.limits),
        "truth ULPs": ours.truth_ulps,
        "seconds": ours.seconds + peer.seconds,
    }


def short(sweep):
    """The numbers of a sweep, histograms to three digits and the first twenty intervals."""
    plain = sweep.to_dict()
    for part in plain["parts"]:
        part["exponents"] = [[x, float(f"{ulps:.3g}"), n] for x, ulps, n in part["exponents"]]
        for found in part["findings"].values():
            found["intervals"] = found["intervals"][:20]
    return plain


# Pictures


@functools.cache
def ticks(dtype):
    """Powers of two, as far along the line as each stands: by bit patterns, zero in the middle."""
    info = jnp.finfo(dtype)
    half = 2 ** (info.bits - 1)
    low, high = info.minexp, info.maxexp
    step = {5: 8, 8: 64}[info.nexp]
    powers = [p for p in range(-1024, 1024, step) if low < p < high]
    at, names = [half], ["0"]
    for p in powers:
        up = (p - low + 1) << info.nmant
        at += [half + up, half - up]
        names += [f"$2^{{{p}}}$", f"$-2^{{{p}}}$"]
    return at, names


def curve(axes, part, dtype, color, label, alpha=1.0):
    half = 2 ** (jnp.finfo(dtype).bits - 1)
    x = np.linspace(0, 2 * half, len(part.curve), endpoint=False)
    y = np.where(part.curve > 0, np.maximum(part.curve, 0.03), np.nan)
    axes.plot(x, y, ".", ms=2, color=color, alpha=alpha, label=label, rasterized=True)
    for kind in NANS:
        for low, high in part.findings[kind].intervals if kind in part.findings else ():
            ends = [_key(v, dtype) for v in (low, high)]
            axes.axvspan(*ends, ymin=0.94, color=color, lw=0)


def _key(x, dtype):
    """How far along the line a float stands."""
    info = jnp.finfo(dtype)
    bits = int(np.asarray(x, jnp.dtype(dtype)).view(f"u{info.bits // 8}"))
    half = 2 ** (info.bits - 1)
    return bits + half if bits < half else 2 * half - 1 - bits


def panel(axes, ours, peer, dtype):
    """The derivative's error along the number line, jax.grad's and ours."""
    mine, theirs = slopes(ours)[0], slopes(peer)[0]
    curve(axes, theirs, dtype, "#D55E00", "jax.grad of what people use")
    curve(axes, mine, dtype, "#0072B2", "by hand")
    wanted = "wanted: 1 ULP in half precision, 4 in float32"
    axes.axhline(BOUNDS[dtype], color="black", lw=0.8, ls="--", label=wanted)
    axes.set(yscale="log", ylim=(0.02, 3 * 2 ** (jnp.finfo(dtype).nmant + 1)))
    low, high = (_key(sign * np.inf, dtype) for sign in (-1, 1))
    axes.set_xlim(low, high)
    at, names = ticks(dtype)
    axes.set_xticks(at, names)


def picture(name, found):
    """One rule: a panel for each sweep."""
    figure, axes = plt.subplots(len(found), 1, figsize=(9, 2.6 * len(found)), squeeze=False)
    for ax, (dtype, ours, peer) in zip(axes[:, 0], found, strict=True):
        panel(ax, ours, peer, dtype)
        some = f"{ours.inputs // len(ours.others):,} of the 2$^{{32}}$ inputs"
        many = len(ours.others)
        given = f"worst of {many} sets" if many > 1 else "one set"
        title = f"{dtype}: {'every input' if ours.exhaustive else some}"
        title += f", {given} of other arguments" if ours.others[0] else ""
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_ylabel("largest error, ULP")
    line = "the number line, every bit pattern as wide as any other (no dot: no error)"
    axes[-1, 0].set_xlabel(f"{ours.argument}: {line}")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.suptitle(f"The derivative of {name} in {ours.argument} along the line of floats")
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, markerscale=6, frameon=False
    )
    return figure


def overview(found, dtype):
    """All rules in one dtype, as small multiples."""
    columns = 4
    lines = math.ceil(len(found) / columns)
    figure, axes = plt.subplots(
        lines, columns, figsize=(13, 2.0 * lines), sharex=True, sharey=True, squeeze=False
    )
    for ax, (name, (ours, peer)) in zip(axes.flat, found.items(), strict=False):
        panel(ax, ours, peer, dtype)
        ax.set_title(name, fontsize=9)
        ax.set_xticks(ticks(dtype)[0][:1], ticks(dtype)[1][:1])
    for ax in list(axes.flat)[len(found) :]:
        ax.axis("off")
    figure.suptitle(
        f"Errors of derivatives along the line of {dtype}, from $-\\infty$ to $\\infty$"
    )
    figure.supylabel("largest error, ULP")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=3, markerscale=6, frameon=False
    )
    return figure


# Tables


def violations(rule, dtype, ours):
    """What exceeds the bounds that all rules should keep, in words, and why."""
    lines = [f"{rule.name}, {dtype}: {text}" for text in ours.limits]
    cause = bound_of(rule.name, dtype)[1]
    for part in ours.parts:
        if part.term_ulps > BOUNDS[dtype]:
            count = part.count(IN_TERMS)
            many = f", above 4 at {count:,} inputs" if count else ""
            at = ", ".join(f"{x:.9g}" for x in part.term_at)
            because = f": {cause}" if cause else ""
            lines.append(
                f"{rule.name}, {dtype}: {part.name} {part.term_ulps:.3g} ULP at {at}{many}{because}"
            )
        for kind, found in part.findings.items():
            if kind in (ABOVE, IN_TERMS, "relative error above 1e-3"):
                continue
            first = ", ".join(f"{x:.9g}" for x in found.first)
            lines.append(
                f"{rule.name}, {dtype}: {part.name}: {kind}: {found.count} inputs, at {first} "
                f"{found.got:.6g} where {found.expected:.6g} is right"
            )
    return lines


def markdown(rows, lines, names):
    head = (
        "rule",
        "dtype",
        "inputs",
        "by hand: value \\| derivative",
        "where",
        "above 4 ULP",
        "NaN or inf",
    )
    head += ("`jax.grad`", "where", "above 4 ULP", "NaN or inf")
    device = f"JAX {jax.__version__}, {jax.default_backend()}, {jax.devices()[0].device_kind}"
    text = ["# Every float there is", "", f"{device}; `python experiments/every_float.py --full`."]
    text += ["The largest errors in ULPs of the truth or, where that passes through zero, of its"]
    text += [
        "largest term, the arguments there, and how many inputs are off by more than 4 ULP, or"
    ]
    text += ["NaN or infinite where the truth is not. `jax.grad` is that of what people use today"]
    text += ["(`jax.nn`, Optax; the textbook formula where they have none):"]
    text += ["", f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for r in rows:
        cells = [
            f"`{r['rule']}`",
            r["dtype"],
            r["tried"],
            f"{number(r['value'])} \\| {number(r['derivative'])}",
        ]
        cells += [r["at"], r["above 4"], r["NaN"], number(r["jax.grad"]), r["jax.grad at"]]
        cells += [r["jax.grad above 4"], r["jax.grad NaN"]]
        text.append(f"| {' | '.join(map(str, cells))} |")
    text += ["", "## Beyond the bounds", "", "4 ULP in float32, 1 in half precision:", ""]
    text += [f"- {line}" for line in lines] or ["Nothing."]
    text += ["", "## Pictures", ""]
    text += [f"![{name}](../pictures/every_float_{name}.png)" for name in names]
    return "\n".join(text) + "\n"


def main():
    parser = options(__doc__)
    parser.add_argument("--rules", default=",".join(rules()), help="names, with commas between")
    parser.add_argument("--dtypes", default=",".join(DTYPES), help="with commas between")
    parser.add_argument("--full", action="store_true", help="all 2^32 numbers of float32")
    parser.add_argument("--work", type=Path, help="folder of sweeps, default OUT/work")
    args = parser.parse_args()
    chosen, dtypes = args.rules.split(","), args.dtypes.split(",")
    for given, known in ((chosen, rules()), (dtypes, DTYPES)):
        for name in given:
            if name not in known:
                parser.error(f"expected names of {', '.join(known)}, got {name!r}")
    work = args.work or args.out / "work"
    work.mkdir(parents=True, exist_ok=True)
    rows, lines, all_found = [], [], {}
    for name in chosen:
        rule = rules()[name]
        found = [
            (d, ours, peer)
            for d in dtypes
            for ours, peer in sweeps(rule, d, args.full, work, args.seed)
        ]
        all_found[name] = {d: (ours, peer) for d, ours, peer in found}  # the last: every input
        rows += [row(rule, *each) for each in found]
        for d, ours, _ in found:
            lines += violations(rule, d, ours)
        plain = {d: [[short(o), short(p)] for k, o, p in found if k == d] for d in dtypes}
        keep(args.out, f"every_float_{name}", picture(rule.name, found), {"sweeps": plain})
    for d in dtypes:
        figure = overview({name: found[d] for name, found in all_found.items()}, d)
        keep(args.out, f"every_float_{d}", figure, {"rows": [r for r in rows if r["dtype"] == d]})
    columns = ("rule", "dtype", "tried", "value", "derivative", "above 4", "NaN")
    columns += ("jax.grad", "jax.grad above 4", "jax.grad NaN")
    heads = ("rule", "dtype", "inputs", "value", "slope", ">4", "NaN", "jax.grad", ">4", "NaN")
    show("largest errors in ULPs", heads, [[r[c] for c in columns] for r in rows])
    report = args.out / "results" / "every_float.md"
    report.write_text(markdown(rows, lines, [*dtypes, *chosen]))
    print(*lines, f"wrote {report}", sep="\n")


if __name__ == "__main__":
    main()
