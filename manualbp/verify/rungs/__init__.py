"""The rungs: each turns a question and points into findings."""
