"""Counting, Bayes and total probability: a Bayesian network over a table of categorical columns.

    p(x_1, ..., x_n) = p(x_root) prod_i p(x_i | x_parent(i))                         a tree, so one parent each
    p(x_i = a | parent = b) = (count(a, b) + s) / (count(b) + s * values of x_i)     maximum likelihood, smoothed

The tree is the one of greatest likelihood, the maximum spanning tree of the mutual information of pairs (Chow and Liu
1968). Every question about some of the columns is answered by summing over the others (total probability), from the
leaves to the root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
SMOOTHING = 1.0


def probabilities(values: NDArray[np.int64], size: int, smoothing: float = SMOOTHING) -> Array:
    """Return the probability (size,) of each value by counting, as if each had been seen `smoothing` times more."""
    counts = np.bincount(values, minlength=size) + smoothing
    result: Array = counts / counts.sum()
    return result


def conditional(child: NDArray[np.int64], parent: NDArray[np.int64], sizes: tuple[int, int], smoothing: float) -> Array:
    """Return p(child = a | parent = b) as (values of parent, values of child), each row of sum 1."""
    return np.stack([probabilities(child[parent == value], sizes[0], smoothing) for value in range(sizes[1])])


def mutual_information(a: NDArray[np.int64], b: NDArray[np.int64], sizes: tuple[int, int]) -> float:
    """Return how many nats two columns say about each other, by their observed shares: 0 where they are independent."""
    joint = np.zeros(sizes)
    np.add.at(joint, (a, b), 1 / len(a))
    apart = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / apart[seen])).sum())


def chow_liu(table: NDArray[np.int64], sizes: Sequence[int]) -> list[int]:
    """Return the parent of each column of a table (N, n), -1 for the root, column 0: Prim's maximum spanning tree."""
    count = len(sizes)
    shared = np.array([[mutual_information(table[:, i], table[:, j], (sizes[i], sizes[j])) for j in range(count)]
                       for i in range(count)])  # fmt: skip
    parents, inside = [-1] * count, [0]
    while len(inside) < count:
        outside = [column for column in range(count) if column not in inside]
        parent, child = max(((i, j) for i in inside for j in outside), key=lambda pair: shared[pair])
        parents[child] = parent
        inside.append(child)
    return parents


@dataclass(frozen=True)
class BayesTree:
    """A Bayesian network of named columns: `tables[i]` is p(x_i | parent), (values of the parent, values of x_i)."""

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    parents: tuple[int, ...]
    tables: tuple[Array, ...]

    @staticmethod
    def fit(
        columns: Mapping[str, Sequence[str]], table: NDArray[np.int64], smoothing: float = SMOOTHING
    ) -> BayesTree:
        """Return the network of a table (N, n) with columns of named values; the first column is the root."""
        values = tuple(map(tuple, columns.values()))
        sizes = [len(own) for own in values]
        parents = chow_liu(table, sizes)
        tables = [
            probabilities(table[:, i], sizes[i], smoothing)[None] if parent < 0
            else conditional(table[:, i], table[:, parent], (sizes[i], sizes[parent]), smoothing)
            for i, parent in enumerate(parents)
        ]  # fmt: skip
        return BayesTree(tuple(columns), values, tuple(parents), tuple(tables))

    def _order(self) -> list[int]:
        """Return the columns so that parents come before children."""
        order = [self.parents.index(-1)]
        for column in order:  # grows while it is read
            order += [child for child, parent in enumerate(self.parents) if parent == column]
        return order

    def _messages(self, given: Mapping[str, int]) -> list[Array]:
        """Return, of each column and value, the probability of what is `given` in it and below it, (values,) each."""
        below = [np.ones(len(own)) for own in self.values]
        for name, value in given.items():
            column = self.names.index(name)
            below[column] = below[column] * (np.arange(len(below[column])) == value)
        for column in reversed(self._order()[1:]):
            below[self.parents[column]] = below[self.parents[column]] * (self.tables[column] @ below[column])
        return below

    def probability(self, given: Mapping[str, int], condition: Mapping[str, int] | None = None) -> float:
        """Return p(given | condition), the rest summed over; `given` and `condition` are names to numbers of values.

        Raises ValueError where the condition itself cannot be.
        """
        condition = condition or {}
        if any(condition.get(name, value) != value for name, value in given.items()):
            return 0.0
        both, alone = (self._root_sum({**given, **condition}), self._root_sum(condition))
        if alone == 0:
            raise ValueError("what is given has probability 0")
        return both / alone

    def _root_sum(self, given: Mapping[str, int]) -> float:
        root = self._order()[0]
        return float(self.tables[root][0] @ self._messages(given)[root])

    def marginal(self, name: str, condition: Mapping[str, int] | None = None) -> Array:
        """Return the probability of each value of a column, given others."""
        size = len(self.values[self.names.index(name)])
        return np.array([self.probability({name: value}, condition) for value in range(size)])

    def sample(self, count: int, seed: int, condition: Mapping[str, int] | None = None) -> NDArray[np.int64]:
        """Return `count` rows (count, n) drawn from the network, all with the values of `condition`."""
        rng, below = np.random.default_rng(seed), self._messages(condition or {})
        rows = np.zeros((count, len(self.names)), np.int64)
        for column in self._order():
            parent = self.parents[column]
            before = np.zeros(count, np.int64) if parent < 0 else rows[:, parent]
            chance = self.tables[column][before] * below[column]
            chance = (chance / chance.sum(axis=1, keepdims=True)).cumsum(axis=1)
            rows[:, column] = (rng.random((count, 1)) > chance).sum(axis=1)
        return rows

    def log_likelihood(self, table: NDArray[np.int64]) -> float:
        """Return the mean log probability, in nats, of the rows of a table (N, n)."""
        total = np.zeros(len(table))
        for column, parent in enumerate(self.parents):
            before = 0 if parent < 0 else table[:, parent]
            total += np.log(self.tables[column][before, table[:, column]])
        return float(total.mean())
