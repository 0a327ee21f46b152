"""Combinations in which every value of a dimension meets every value of every other one."""

import itertools

# How many ways of filling a combination are looked at before the best is taken.
TRIES = 8


def pairwise(dimensions, dice):
    """Yields {dimension: value}, few of them, until all pairs of values were met."""
    names = list(dimensions)
    open_pairs = {
        ((a, x), (b, y))
        for a, b in itertools.combinations(names, 2)
        for x in dimensions[a]
        for y in dimensions[b]
    }
    while open_pairs:
        # In an order of their own, so that runs do not differ by the order of a set.
        seeds = dice.sample(sorted(open_pairs, key=str), min(TRIES, len(open_pairs)))
        tried = [_fill(dict(seed), dimensions, open_pairs, dice) for seed in seeds]
        best = max(tried, key=lambda chosen: len(_pairs(chosen, names) & open_pairs))
        open_pairs -= _pairs(best, names)
        yield best


def _pairs(chosen, names):
    return set(itertools.combinations([(name, chosen[name]) for name in names], 2))


def _fill(chosen, dimensions, open_pairs, dice):
    """Chooses the other dimensions one by one, each for the most open pairs with what is chosen."""
    order = list(dimensions)
    for name in dice.sample(order, len(order)):
        if name in chosen:
            continue
        place = order.index(name)

        def gain(value):
            pairs = (
                (
                    ((other, taken), (name, value))
                    if order.index(other) < place
                    else ((name, value), (other, taken))
                )
                for other, taken in chosen.items()
            )
            return sum(pair in open_pairs for pair in pairs)

        values = list(dimensions[name])
        dice.shuffle(values)
        chosen[name] = max(values, key=gain)
    return chosen
