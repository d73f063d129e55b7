"""What notebooks show of a value, beside what it prints."""

import html


def preformatted(text: str) -> str:
    """A text as HTML, with its lines and columns as they are."""
    return f"<pre>{html.escape(text)}</pre>"
