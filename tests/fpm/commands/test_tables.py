"""Answers as a person sees them: nothing lost, nothing taken for markup."""

from rich.console import Console

from fpm.commands.tables import SHOWN_ROWS, render


def shown(answer: object) -> str:
    console = Console(width=120, color_system=None)
    with console.capture() as capture:
        console.print(render(answer))  # type: ignore[arg-type]
    return capture.get()


def test_brackets_of_a_message_are_kept() -> None:
    assert "prices in [low, high] and [/red]" in shown([{"error": "prices in [low, high] and [/red]"}])


def test_a_record_shows_its_nested_records() -> None:
    text = shown({"home": ".fpm", "rank_ic": [{"stream": "dual", "share": 0.88712}], "none": None, "empty": []})
    assert "dual" in text and "0.8871" in text and ".fpm" in text


def test_what_does_not_fit_is_counted() -> None:
    assert "and 5 more: use --json" in shown([{"n": number} for number in range(SHOWN_ROWS + 5)])


def test_nothing_is_said_in_a_word() -> None:
    assert shown([]).strip() == "nothing"
