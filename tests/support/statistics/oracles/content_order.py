"""The order of `frame_store.content_order.bisected` in plain Python: node by node, with its unbounded integers."""

import math


def bisected_plainly(points, *, num_rounds=8):
    """Places of points (lists of whole numbers) in content order."""
    nodes = [list(range(len(points)))]
    while any(len(node) > 2 for node in nodes):
        means = [_mean(points, node) for node in nodes]
        halves = []
        for number, node in enumerate(nodes):
            if len(node) <= 2:
                halves.append(node)
                continue
            axis = _axis(points, node, num_rounds)
            before, after = means[number - 1], means[(number + 1) % len(nodes)]
            onwards = sum(a * (n - p) for a, n, p in zip(axis, after, before, strict=True))
            first = next((number for number in axis if number), 0)
            if onwards < 0 or (onwards == 0 and first < 0):
                axis = [-number for number in axis]
            along = {place: sum(a * x for a, x in zip(axis, points[place], strict=True)) for place in node}
            ranked = sorted(node, key=lambda place: (along[place], place))
            middle = (len(node) + 1) // 2
            halves += [ranked[:middle], ranked[middle:]]
        nodes = halves
    return [place for node in nodes for place in sorted(node)]


def _mean(points, node):
    """In eighths."""
    return [8 * sum(points[place][c] for place in node) // len(node) for c in range(len(points[0]))]


def _axis(points, node, num_rounds):
    sides = range(len(points[0]))
    centre = [sum(points[place][c] for place in node) // len(node) for c in sides]
    centred = [[points[place][c] - centre[c] for c in sides] for place in node]
    matrix = [[sum(row[a] * row[b] for row in centred) for b in sides] for a in sides]
    largest = max(abs(number) for row in matrix for number in row)
    exponent = math.frexp(largest)[1]
    matrix = [[round(math.ldexp(number, 24 - exponent)) for number in row] for row in matrix]
    widest = max(sides, key=lambda c: (matrix[c][c], -c))
    vector = [row[widest] for row in matrix]
    for _ in range(num_rounds):
        vector = _scaled(vector, 20)
        vector = [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]
    return [max(-127, min(127, number)) for number in _scaled(_scaled(vector, 20), 7)]


def _scaled(vector, bits):
    largest = max(1.0, *(abs(float(number)) for number in vector))
    return [round(number / largest * 2.0**bits) for number in vector]
