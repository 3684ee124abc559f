"""Programs in other numbers: one walk, its primitives, balls and formulas."""
