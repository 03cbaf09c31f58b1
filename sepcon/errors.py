"""The one exception whose message is meant for the person at the terminal."""

import re


class SepconError(Exception):
    """Bad input or a bad environment, told in one line.

    The message says what went wrong, where (file, argument, step), what was found, what was
    expected and how to cure it. The command line prints it without a traceback.
    """


def one_line(error: BaseException) -> str:
    """Returns an exception's message folded to a single line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def raised_in_graph(error: BaseException) -> SepconError | None:
    """Returns the bad input behind an error of TensorFlow, of a function that a graph called.

    TensorFlow keeps of an exception its type, its message and the traceback, as text.
    """
    match = re.search(
        r"(?:AudioError|SepconError): (.+?)\n\s*Traceback \(most recent call last\)",
        str(error),
        re.DOTALL,
    )
    return None if match is None else SepconError(match[1])


def printable(text: str) -> str:
    """Returns text in which what a terminal would not show as it is stands escaped.

    File names may hold line breaks, escape sequences, and bytes that are no valid UTF-8.
    """
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in text
    )
