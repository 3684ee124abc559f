"""Five lecture notes on backpropagation, every equation transcribed as printed.

Each note has one module, and each equation one `Claim`: what is printed, what it should equal,
and, where those differ, the equation that holds. The notes, and the lines that `Claim.place`
counts in the text of each:

- 000: slides, "A Neuron" to "Training Algorithm"
- 001: CS60010 Deep Learning, Spring 2021, Sudeshna Sarkar, module 2 part 4
- 002: "Lecture 10. Backpropagation Algorithm (BP)"
- 003: CS114B Lab 5, "Neural Networks", Kenneth Lai, 2022
- 004: IM5062 Deep learning and its applications, "Basic Neural Networks (3/3)", Spring 2024
"""

from . import note_000, note_001, note_002, note_003, note_004
from ._claim import Claim

NOTES: dict[str, tuple[Claim, ...]] = {
    "000": note_000.CLAIMS,
    "001": note_001.CLAIMS,
    "002": note_002.CLAIMS,
    "003": note_003.CLAIMS,
    "004": note_004.CLAIMS,
}
CLAIMS: tuple[Claim, ...] = tuple(claim for claims in NOTES.values() for claim in claims)

__all__ = ["CLAIMS", "NOTES", "Claim"]
