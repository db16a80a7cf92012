"""What there is to say where there is no view: no entry, nothing here, the database is away, a refusal in words."""

from __future__ import annotations

from fpm.page.views import View


def no_entry() -> View:
    """For somebody without the cookie."""
    return View(
        "",
        "This page needs its link",
        "It opens for who started it.",
        todo=[("Open the link that `fpm page` printed: it works once, in one browser.", "fpm page")],
    )


def nothing_here() -> View:
    """For an address that no view has."""
    return View("", "There is nothing here", "The five views are above; a symbol is found with the search.")


def only_reading() -> View:
    """For a method that would write."""
    return View("", "This page only reads", "It answers GET and HEAD.")


def away() -> View:
    """For a database that does not answer."""
    return View(
        "",
        "The database does not answer",
        "Nothing is shown rather than something old.",
        todo=[
            ("Start the home's own server, or see to yours (FPM_DATABASE_URL), then load this page again.", "fpm setup")
        ],
    )


def ended() -> View:
    """For a question that was still open when the page was stopped."""
    return View("", "The page was stopped", "Nothing was changed.", todo=[("Start it again:", "fpm page")])


def refused(code: str, wrong: str, effect: str, todo: str) -> View:
    """For a question that has no answer, in the words of the command line."""
    return View("", wrong[:1].upper() + wrong[1:], f"{effect[:1].upper()}{effect[1:]}.", todo=[(f"{code}:", todo)])


def failed(number: str) -> View:
    """For a fault of the program; its log has the rest under the same number."""
    return View("", "Something failed here", f"Number {number}: the log of `fpm page` has the rest under it.")
