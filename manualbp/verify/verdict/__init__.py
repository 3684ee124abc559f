"""From findings to a verdict, and the evidence that teaches."""
