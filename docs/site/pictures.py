"""Draws the schedules in `docs/pictures/`, which `docs/concepts.md` shows.

    python docs/site/pictures.py

They are committed; `tests/test_reference.py` tells when they are old.
"""

from pathlib import Path

import atoll

PICTURES = Path(__file__).resolve().parent.parent / "pictures"


def pictures() -> dict[str, str]:
    """The text of each picture, by its file's name."""
    one, many = (atoll.schedule("1f1b", islands=3, microbatches=count) for count in (1, 6))
    split = atoll.schedule("zb-h1", islands=3, microbatches=6)
    drawn = {"one-batch": one, "microbatches": many, "split-backward": split}
    return {f"schedule-{name}.svg": schedule.svg() + "\n" for name, schedule in drawn.items()}


if __name__ == "__main__":
    for file, text in pictures().items():
        (PICTURES / file).write_text(text, encoding="utf-8")
