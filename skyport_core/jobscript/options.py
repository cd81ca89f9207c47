"""The words of ``#SBATCH`` lines, taken apart as sbatch does it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping

from .draft import Directive
from .errors import ScriptError, shown
from .source import Line


def options(line: Line, known: Mapping[str, str], short: Mapping[str, str]) -> Iterator[Directive]:
    """The options of a line with their values, under their long names.

    Parameters
    ----------
    line : Line
        What to read.
    known : mapping
        Long names: "=" the option needs a value, "?" it may have one (after ``=``), "" none.
    short : mapping
        The long names of letters.

    Raises ScriptError. An option may be cut as long as it stays unambiguous, as with getopt_long.
    """
    rest = iter(_words(line))
    for word in rest:
        if word.startswith("--") and len(word) > 2:
            yield _long(line, word[2:], rest, known)
        elif word.startswith("-") and len(word) > 1:
            yield from _letters(line, word[1:], rest, known, short)
        else:
            raise ScriptError(
                f"{shown(word)} is no option; options begin with '-'", line.number, line.dialect
            )


def _long(line: Line, text: str, rest: Iterator[str], known: Mapping[str, str]) -> Directive:
    given, equals, value = text.partition("=")
    name = _whole(line, given, known)
    directive = Directive(line.number, f"{line.dialect} --{name}", value)
    if equals and not known[name]:
        raise directive.error("is a value, but the option takes none")
    if not equals and known[name] == "=":
        return Directive(line.number, directive.name, _next(directive, rest))
    return directive


def _letters(
    line: Line, text: str, rest: Iterator[str], known: Mapping[str, str], short: Mapping[str, str]
) -> Iterator[Directive]:
    while text:
        letter, text = text[0], text[1:]
        if letter not in short:
            raise ScriptError(
                f"there is no option -{letter}; known are {' '.join(sorted(short))}",
                line.number,
                line.dialect,
            )
        name = short[letter]
        directive = Directive(line.number, f"{line.dialect} --{name}")
        if known[name] == "=":
            text, value = "", text or _next(directive, rest)
            yield Directive(line.number, directive.name, value)
        else:
            yield directive


def _next(directive: Directive, rest: Iterator[str]) -> str:
    value = next(rest, None)
    if value is None:
        raise directive.error("needs a value")
    return value


def _whole(line: Line, given: str, known: Mapping[str, str]) -> str:
    if given in known:
        return given
    fits = [name for name in known if given and name.startswith(given)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        message = f"--{given} may be {', '.join('--' + name for name in sorted(fits))}"
    else:
        near = difflib.get_close_matches(given[:40], known, n=1)
        hint = f"; did you mean --{near[0]}?" if near else ""
        message = f"there is no option {shown('--' + given)}{hint}"
    raise ScriptError(message, line.number, line.dialect)


def _words(line: Line) -> list[str]:
    """Words with quotes and backslashes undone; a ``#`` that begins a word begins a comment."""
    found: list[str] = []
    word: list[str] | None = None
    quote = ""
    text = iter(line.text)
    for char in text:
        if char == "\\" and quote != "'":
            word = [*(word or []), next(text, "\\")]
        elif quote:
            if char == quote:
                quote = ""
            else:
                word = word or []
                word.append(char)
        elif char in "'\"":
            quote, word = char, word or []
        elif char.isspace():
            if word is not None:
                found.append("".join(word))
            word = None
        elif char == "#" and word is None:
            break
        else:
            word = word or []
            word.append(char)
    if quote:
        raise ScriptError("no closing quotation", line.number, line.dialect)
    return found if word is None else [*found, "".join(word)]
