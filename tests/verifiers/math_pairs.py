"""Pairs of answers and whether they are equal: half written by hand after what models write, half made from sympy."""

from __future__ import annotations

import random

# what the paper's first grader got wrong (tuples, intervals, matrices: equal texts that its sympy could not read) and
# other references as the MATH data set has them
EQUAL = r"""
\frac{1}{2} | 1/2
\frac{1}{2} | 0.5
\frac12 | \dfrac{1}{2}
\frac{3}{4} | \frac{6}{8}
-\frac{2}{3} | \frac{-2}{3}
-\frac{2}{3} | -2/3
\frac{7}{2} | 3.5
3\frac{1}{2} | 3\tfrac{1}{2}
.25 | 0.25
1,234 | 1234
1{,}234 | 1,234
10,\!000 | 10000
5 | 5.0
5 | 5.
-7 | \left(-7\right)
\$32{,}348 | 32348
\$18.90 | 18.9
x=5 | 5
5 | x = 5
x=5 | x = 5
y = 2x + 1 | 2x+1
(3,\frac{\pi}{2}) | \left( 3, \frac{\pi}{2} \right)
\left( 3, \frac{\pi}{2} \right) | (3, \pi/2)
(1,2) | \left(1, 2\right)
(-2, 1) | (-2,1)
(1,-2,3) | \left(1,-2,3\right)
\left(\frac{1}{2},-3\right) | (0.5, -3)
(0,9)\cup(9,36) | (0, 9) \cup (9, 36)
(0,9)\cup(9,36) | \left(0,9\right) \cup \left(9,36\right)
(9,36)\cup(0,9) | (0,9)\cup(9,36)
[1,2] | \left[1,2\right]
(2,12) \cup (12,102) | (2,12)\cup(12,102)
(-\infty,5] | (-\infty, 5]
(-\infty,-\frac{1}{2}) | \left(-\infty, -0.5\right)
x \in [-2,7] | [-2,7]
[-2,7] | x \in [-2,7]
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix} 1 \\ 2 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{bmatrix}1&2\\3&4\end{bmatrix}
\begin{pmatrix} -1/3 \\ 2/3 \\ 5/3 \end{pmatrix} | \begin{pmatrix} -\frac{1}{3} \\ \frac{2}{3} \\ \frac{5}{3} \end{pmatrix}
\begin{pmatrix} 0 & 0 & 0 \\ 0 & 1 & 0 \\ 0 & 0 & 0 \end{pmatrix} | \begin{pmatrix}0&0&0\\0&1&0\\0&0&0\end{pmatrix}
\left(\begin{array}{c}1\\2\end{array}\right) | \begin{pmatrix}1\\2\end{pmatrix}
1,2 | 2,1
1, 2 | 1 \text{ and } 2
1, 2, 3 | 3, 1, 2
3, 5, 7 | \{3,5,7\}
\{1,2\} | \{2, 1\}
\{1,2\} | 1, 2
\frac{1}{2}, -3 | -3, 0.5
x=1, x=2 | 2, 1
1 \pm \sqrt{19} | 1 - \sqrt{19}, 1+\sqrt{19}
1\pm\sqrt{19} | 1 \pm \sqrt{19}
\pm 3 | 3, -3
-2, 2 | \pm 2
5 \text{ or } 7 | 7, 5
5\text{ cm} | 5
5 | 5\text{ cm}
5\text{ cm} | 5 \text{ centimeters}
12 \text{ square units} | 12
12 | 12\text{ units}
15\text{ cm}^2 | 15 \text{ square centimeters}
\frac{9}{2}\text{ feet} | 4.5
720 \text{ pounds} | 720
6 \text{ minutes} | 6 minutes
3 dollars | 3
0.18 | \$0.18
30^\circ | 30
30^{\circ} | 30 \text{ degrees}
90 | 90^\circ
50\% | 50
50\% | 0.5
50 | 50\%
50\% | 50 \%
12.5\% | \frac{1}{8}
\sqrt{2} | \sqrt 2
3\sqrt{2} | \sqrt{18}
\frac{\sqrt{2}}{2} | \frac{1}{\sqrt{2}}
2\sqrt{3} | \sqrt{12}
\sqrt{3}+\sqrt{2} | \sqrt{2}+\sqrt{3}
\frac{1+\sqrt{5}}{2} | \frac12 + \frac{\sqrt5}{2}
\sqrt[3]{16} | 2\sqrt[3]{2}
2^{10} | 1024
10^{-3} | 0.001
4! | 24
\binom{5}{2} | 10
\pi | \pi
2\pi | 2 \pi
\frac{\pi}{4} | \pi/4
\frac{\pi}{4} | 0.25\pi
12\pi | 12 π
\sin 30^\circ | \sin(30^\circ)
x^2+2x+1 | (x+1)^2
x^2-1 | (x-1)(x+1)
(x+1)^2 | x^2 + 2x + 1
2(x+y) | 2x+2y
x^{2} | x^2
a+b | b+a
\frac{x+1}{2} | \frac{x}{2}+\frac12
\frac{a}{b} | a/b
3x^2y | 3yx^2
e^{2x} | e^{2x}
\log_2 8 | 3
\ln e | 1
x<5 | 5>x
x \le 3 | x \leq 3
x\geq 2 | x \ge 2
1<x<2 | 1 < x < 2
2+3i | 3i+2
-i | -i
i | \sqrt{-1}
\text{Evelyn} | Evelyn
\text{Evelyn} | evelyn
\text{(C)} | C
C | (C)
\text{B} | B
\text{even} | \text{Even}
\text{Monday} | \textbf{Monday}
\text{no solution} | No solution
\text{odd} | \mathrm{odd}
6 + 9i | 6+9i
1_{6} | 1_6
12_5 | 12_{5}
2516_8 | 2516_8
\infty | \infty
-\infty | -\infty
0.\overline{3} | \frac{1}{3}
\frac{3}{5}x | 0.6x
\langle 1,2\rangle | (1,2)
(1, 2) | \langle 1, 2 \rangle
y=-2x+3 | -2x+3
\boxed{7} | 7
x + 2y = 3 | 2y + x = 3
7.0 | 7
100000 | 10^5
\frac{1}{3} | 2/6
f(x)=x^2 | x^2
\dfrac{9}{7} | \frac{9}{7}
\text{Yes} | yes
\left[\frac12, 1\right) | [0.5, 1)
"""
DIFFERENT = r"""
\frac{1}{2} | \frac{1}{3}
\frac{1}{2} | 2
1/3 | 0.333
\frac{1}{3} | 0.333333
1234 | 1,235
12 | 21
5 | -5
3\frac{1}{2} | \frac{3}{2}
0.5 | 5
100 | 1000
7 | 7.5
(1,2) | (2,1)
(1,2) | [1,2]
[1,2) | (1,2]
(1,2) | (1,2,3)
(1,2,3) | (1,3,2)
(1,2) | 2,1
(3,\frac{\pi}{2}) | (3,\frac{\pi}{4})
(-\infty,5] | (-\infty,5)
(-\infty,5) | (5,\infty)
(0,9)\cup(9,36) | (0,9)\cup(9,35)
(0,9)\cup(9,36) | (0,36)
(0,9) | (0,9)\cup(9,36)
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix} 2 \\ 1 \end{pmatrix}
\begin{pmatrix} 1 \\ 2 \end{pmatrix} | \begin{pmatrix} 1 & 2 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{pmatrix} 1 & 3 \\ 2 & 4 \end{pmatrix}
\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix} | \begin{vmatrix} 1 & 2 \\ 3 & 4 \end{vmatrix}
1,2 | 1,3
1,2 | 1
1,2,3 | 1,2
\{1,2\} | \{1,2,3\}
\{1,2\} | (1,2)
1,1,2 | 1,2,2
\pm 3 | 3
3 | \pm 3
1\pm\sqrt{19} | 1+\sqrt{19}
5\text{ cm} | 5\text{ m}
5 \text{ hours} | 5 \text{ minutes}
15\text{ cm}^2 | 15\text{ cm}
5 \text{ dollars} | 5 \text{ cents}
50\% | 5
50\% | 0.05
50\% | 500
12.5\% | \frac{1}{6}
\sqrt{2} | 1.414214
\sqrt{2} | \sqrt{3}
3\sqrt{2} | \sqrt{17}
3\sqrt{2} | 2\sqrt{3}
\sqrt{5} | 5
\pi | 3.14
\pi | 3.141593
2\pi | \pi
3\pi | 3
3 | 3 \pi
3 \pi | 3 pi r
x^2+2x+1 | (x-1)^2
x^2-1 | (x-1)^2
2x+1 | 2x-1
x | y
x+1 | y+1
3x | 3
a | A
y=2x+1 | y=2x+2
x=5 | 6
x=5 | y=6
x<5 | x>5
x<5 | x \le 5
1<x<2 | 1<x<3
2+3i | 3+2i
i | -i
\text{Evelyn} | \text{Carla}
\text{even} | \text{neve}
\text{odd} | \text{even}
\text{live} | \text{evil}
\text{A} | \text{B}
\text{(C)} | \text{(D)}
\text{Monday} | \text{Tuesday}
\text{no solution} | 0
\text{no} | \text{on}
\infty | -\infty
\infty | 10000
12_5 | 12_6
12_5 | 12
0.\overline{3} | 0.3
2^{10} | 2^{11}
4! | 4
\log_2 8 | 8
10^{-3} | 0.0001
10^{20} | 10^{20}+1
12345678901234567890 | 12345678901234567891
0.1234567 | 0.1234569
5 or 7 | 5
\frac{a}{b} | \frac{b}{a}
e^{2x} | e^{x}
4 | 2+3
0 | 0.000001
1 | 0.999999
\frac{22}{7} | \pi
24 | 4
x^2 | x^3
7 | \text{seven apples}
2x+3y=6 | 2x+3y=7
"""


def by_hand() -> list[tuple[str, str, bool]]:
    return [
        (gold.strip(), answer.strip(), equal)
        for table, equal in ((EQUAL, True), (DIFFERENT, False))
        for line in table.strip().splitlines()
        for gold, _, answer in [line.partition("|")]
    ]


def from_sympy(count: int = 160) -> list[tuple[str, str, bool]]:
    """Equal forms of random expressions, and unequal ones that were changed in one place; equality holds by construction."""
    import sympy
    from sympy import Rational, latex, sqrt

    rng, x, y = random.Random(20240731), *sympy.symbols("x y")  # type: ignore[misc]

    def number() -> sympy.Rational:
        return Rational(rng.randint(-30, 30), rng.randint(1, 12))

    def surd() -> sympy.Expr:
        return number() + Rational(rng.randint(1, 9), rng.randint(1, 5)) * sqrt(rng.choice((2, 3, 5, 6, 7, 10)))

    def polynomial() -> sympy.Expr:
        a, b, c = (rng.randint(1, 6) for _ in range(3))
        return (a * x + b) * (x - c) + rng.choice((0, 1)) * y * rng.randint(1, 4)

    def plain(value: sympy.Expr) -> str:
        return f"{value.p}/{value.q}" if value.q != 1 else str(value.p)

    def forms(kind: str) -> tuple[str, str, str]:
        """A gold text, an equal one, an unequal one."""
        if kind == "fraction":
            v, f = number(), rng.randint(2, 5)
            return latex(v), f"\\frac{{{v.p * f}}}{{{v.q * f}}}", latex(v + Rational(1, rng.randint(2, 40)))
        if kind == "surd":
            v = surd()
            return latex(v), latex(sympy.together(v)), latex(v + rng.choice((1, -1)) * Rational(1, 7))
        if kind == "polynomial":
            p = polynomial()
            return latex(p), latex(sympy.expand(p)), latex(sympy.expand(p + x))
        if kind == "tuple":
            parts = [number() for _ in range(rng.randint(2, 4))]
            other = [*parts[:-1], parts[-1] + 1]
            inside = ", ".join(plain(v) for v in parts)
            return f"({', '.join(map(latex, parts))})", f"\\left({inside}\\right)", f"({', '.join(map(latex, other))})"
        if kind == "interval":
            a, b = sorted((number(), number() + 31))
            left, right = rng.choice("(["), rng.choice(")]")
            wrong = {"(": "[", "[": "("}[left]
            text = f"{left}{latex(a)},{latex(b)}{right}"
            return text, f"\\left{left} {plain(a)}, {plain(b)} \\right{right}", wrong + text[1:]
        if kind == "matrix":
            cells = [[number() for _ in range(2)] for _ in range(2)]
            matrix, other = sympy.Matrix(cells), sympy.Matrix(cells)
            other[1, 0] += 1
            rows = " \\\\ ".join(" & ".join(plain(v) for v in row) for row in cells)
            return latex(matrix), f"\\begin{{pmatrix}} {rows} \\end{{pmatrix}}", latex(other)
        if kind == "trigonometry":
            v = Rational(rng.randint(1, 11), rng.choice((6, 4, 3))) * sympy.pi
            return latex(sympy.cos(v)), latex(sympy.cos(v, evaluate=False)), latex(sympy.cos(v) + Rational(1, 9))
        roots = [number() for _ in range(2)]
        text = ", ".join(map(latex, roots))
        return text, ", ".join(map(plain, reversed(roots))), f"{text}, 99"

    kinds = ("fraction", "surd", "polynomial", "tuple", "interval", "matrix", "trigonometry", "roots")
    found = []
    for i in range(count // 2):
        gold, same, other = forms(kinds[i % len(kinds)])
        found += [(gold, same, True), (gold, other, False)]
    return found
