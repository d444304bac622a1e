"""Three contest problems of our own in CodeContests' format, with programs in three languages."""

from __future__ import annotations

from typing import Any

PYTHON_SUM = "a, b = map(int, input().split())\nprint(a + b)\n"
CPP_SUM = "#include <iostream>\nint main() { long long a, b; std::cin >> a >> b; std::cout << a + b << '\\n'; }\n"
JAVA_SUM = """import java.util.Scanner;
public class Sum {
    public static void main(String[] args) {
        Scanner in = new Scanner(System.in);
        System.out.println(in.nextLong() + in.nextLong());
    }
}
"""
PYTHON_ROOT = "print(float(input()) ** 0.5)\n"
PYTHON_SHOUT = "print(input().upper())\n"


def tests(*pairs: tuple[str, str]) -> dict[str, list[str]]:
    return {"input": [i for i, _ in pairs], "output": [o for _, o in pairs]}


def row(name: str, description: str, public: Any, generated: Any, right: Any, wrong: Any) -> dict[str, Any]:
    none = tests()
    return {
        "name": name,
        "description": description,
        "public_tests": public,
        "private_tests": none,
        "generated_tests": generated,
        "solutions": {"language": [n for n, _ in right], "solution": [c for _, c in right]},
        "incorrect_solutions": {"language": [n for n, _ in wrong], "solution": [c for _, c in wrong]},
        "time_limit": {"seconds": 2, "nanos": 500_000_000},
        "memory_limit_bytes": 256 << 20,
        "input_file": "",
        "output_file": "",
    }


ROWS = [
    row(
        "1_A. Sum",
        "Read two whole numbers and print their sum.",
        tests(("1 2\n", "3\n")),
        tests(*((f"{i} {i * i}\n", f"{i + i * i}\n") for i in range(-5, 12))),
        [(2, CPP_SUM), (3, PYTHON_SUM), (4, JAVA_SUM), (1, "print input()")],
        [(3, "a, b = map(int, input().split())\nprint(abs(a + b))\n"), (2, CPP_SUM.replace("a + b", "a - b"))],
    ),
    row(
        "2_B. Root",
        "Read a number and print its square root to five digits.",
        tests(("4\n", "2.0\n")),
        tests(("2\n", "1.41421356\n"), ("0\n", "0\n")),
        [(3, PYTHON_ROOT)],
        [(3, "print(float(input()) / 2)\n")],
    ),
    row(
        "3_C. Shout",
        "Print the word in any case.",
        tests(("abc\n", "ABC\n")),
        # a false negative of the kind that the data set has: the second output is wrong
        tests(("x\n", "y\n")),
        [(3, PYTHON_SHOUT)],
        [],
    ),
    row("4_D. Picture", "Look at <image> and guess.", tests(("1\n", "1\n")), tests(), [(3, PYTHON_SUM)], []),
]
