def disagreement(closed, point):
    return None
