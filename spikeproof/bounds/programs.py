"""How is a mixed-integer linear program written down, and when has it no solution? By scipy's HiGHS."""

from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, vstack

Numbers = np.ndarray | float
INFEASIBLE = 2  # as `milp` says it


@dataclass(frozen=True, eq=False)
class Expression:
    """Affine functions of a program's variables: ``matrix @ variables + constant``, one a row."""

    matrix: csr_array  # [n, V]; variables that came later count with 0
    constant: np.ndarray  # [n]

    def mapped(self, weights: csr_array, bias: Numbers) -> "Expression":
        return Expression(weights @ self.matrix, weights @ self.constant + bias)

    def times(self, factor: Numbers) -> "Expression":
        """With one factor, or one a row."""
        rows = np.broadcast_to(np.asarray(factor, dtype=float), self.constant.shape)
        return Expression(csr_array(self.matrix.multiply(rows[:, None])), self.constant * rows)

    def chosen(self, rows: np.ndarray) -> "Expression":
        return Expression(self.matrix[rows], self.constant[rows])

    def plus(self, other: "Expression") -> "Expression":
        width = max(self.matrix.shape[1], other.matrix.shape[1])
        one, two = widened(self.matrix, width), widened(other.matrix, width)
        return Expression(one + two, self.constant + other.constant)

    def minus(self, other: "Expression") -> "Expression":
        return self.plus(other.times(-1.0))


@dataclass(eq=False)
class Program:
    """Variables within bounds, and rows ``low <= expression <= high``; `clear` is how far from thresholds they keep."""

    clear: float = 0.0
    low: list[np.ndarray] = field(default_factory=list)
    high: list[np.ndarray] = field(default_factory=list)
    whole: list[np.ndarray] = field(default_factory=list)
    rows: list[tuple[csr_array, np.ndarray, np.ndarray]] = field(default_factory=list)
    width: int = 0

    def variables(self, low: np.ndarray, high: np.ndarray, *, whole: bool = False) -> Expression:
        """New ones ``[n]``; `whole` ones are integers, unless the program is solved as a linear one."""
        count, before = len(low), self.width
        self.low.append(low)
        self.high.append(high)
        self.whole.append(np.full(count, int(whole)))
        self.width += count
        return Expression(csr_array(eye_array(count, self.width, k=before)), np.zeros(count))

    def hold(self, expression: Expression, low: Numbers, high: Numbers) -> None:
        """From now on every row of `expression` lies between `low` and `high`."""
        shift = expression.constant
        self.rows.append((expression.matrix, low - shift, high - shift))

    def solved(self, beside: Expression, most: float, *, whole: bool, seconds: float) -> tuple[bool | None, np.ndarray]:
        """Whether it has a solution in which `beside`, one row, is `most` at most, and the variables of one.

        None where the time was too short. HiGHS forgives 1e-7 in a row, and 1e-6 in an integer.
        """
        rows = [*self.rows, (beside.matrix, np.full(1, -np.inf), most - beside.constant)]
        matrix = vstack([widened(each, self.width) for each, _, _ in rows], format="csr")
        low, high = (np.concatenate([np.atleast_1d(row[side]) for row in rows]) for side in (1, 2))
        found = milp(
            np.zeros(self.width),
            constraints=LinearConstraint(matrix, low, high),
            bounds=Bounds(np.concatenate(self.low), np.concatenate(self.high)),
            integrality=np.concatenate(self.whole) if whole else None,
            options={"time_limit": max(seconds, 0.01)},
        )
        if found.x is not None:
            return True, found.x
        return (False if found.status == INFEASIBLE else None), np.empty(0)


def widened(matrix: csr_array, width: int) -> csr_array:
    """With columns of zeros at its end."""
    return csr_array((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))
