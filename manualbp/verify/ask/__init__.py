"""The question: what is judged, on which arguments, where."""
