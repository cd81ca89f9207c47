"""The part of OData's filter language that Azure's list calls take."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

Test = Callable[[dict[str, Any]], bool]

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<punct>[(),])|(?P<word>[\w./-]+))", re.ASCII
)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda left, right: left == right,
    "ne": lambda left, right: left != right,
    "gt": lambda left, right: left > right,
    "ge": lambda left, right: left >= right,
    "lt": lambda left, right: left < right,
    "le": lambda left, right: left <= right,
}
_FUNCTIONS: dict[str, Callable[[str, str], bool]] = {
    "contains": lambda text, part: part in text,
    "startswith": lambda text, part: text.startswith(part),
    "endswith": lambda text, part: text.endswith(part),
}


class FilterError(ValueError):
    """The filter is not understood; the message says where."""


def compile_filter(text: str, fields: frozenset[str] | None = None) -> Test:
    """A test of rows from a filter such as ``a eq 'x' and (b eq 'y' or contains(c, 'z'))``.

    Parameters
    ----------
    text
        The filter; "" lets everything pass.
    fields
        Names that may occur, in their exact case; None allows any.

    Raises
    ------
    FilterError
        The filter cannot be understood.
    """
    if not text.strip():
        return lambda row: True
    parser = _Parser(text, fields)
    test = parser.either()
    if parser.peek():
        raise FilterError(f"unexpected '{parser.peek()}'")
    return test


class _Parser:
    def __init__(self, text: str, fields: frozenset[str] | None) -> None:
        self._tokens: list[str] = []
        self._fields = fields
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise FilterError(f"cannot read '{text[at:]}'")
            self._tokens.append(match.group().strip())
            at = match.end()
        self._at = 0

    def peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def next(self, expected: str = "") -> str:
        token = self.peek()
        if not token or (expected and token.lower() != expected):
            raise FilterError(f"expected {expected or 'more'}, found '{token}'")
        self._at += 1
        return token

    def either(self) -> Test:
        tests = [self.both()]
        while self.peek().lower() == "or":
            self.next()
            tests.append(self.both())
        return tests[0] if len(tests) == 1 else lambda row: any(test(row) for test in tests)

    def both(self) -> Test:
        tests = [self.single()]
        while self.peek().lower() == "and":
            self.next()
            tests.append(self.single())
        return tests[0] if len(tests) == 1 else lambda row: all(test(row) for test in tests)

    def single(self) -> Test:
        token = self.next()
        if token == "(":
            test = self.either()
            self.next(")")
            return test
        if token.lower() == "not":
            inner = self.single()
            return lambda row: not inner(row)
        if token.lower() in _FUNCTIONS:
            return self._call(_FUNCTIONS[token.lower()])
        name = self._field(token)
        operator = self.next().lower()
        if operator not in _COMPARE:
            raise FilterError(f"no operator '{operator}'")
        compare, value = _COMPARE[operator], self._value(self.next())
        return lambda row: row.get(name) is not None and compare(row[name], value)

    def _call(self, function: Callable[[str, str], bool]) -> Test:
        self.next("(")
        name = self._field(self.next())
        self.next(",")
        value = self._value(self.next())
        self.next(")")
        return lambda row: function(str(row.get(name, "")), str(value))

    def _field(self, name: str) -> str:
        if self._fields is not None and name not in self._fields:
            raise FilterError(f"no field '{name}'")
        return name

    def _value(self, token: str) -> Any:
        if token.startswith("'"):
            return token[1:-1].replace("''", "'")
        if token in ("true", "false"):
            return token == "true"
        try:
            return float(token)
        except ValueError:
            raise FilterError(f"'{token}' is no value") from None
