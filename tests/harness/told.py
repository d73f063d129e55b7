"""What an error says, apart from where: of what a test itself asks for, that is a line of the test."""

import re


def told(error):
    """Its sentence, without its place if that is a line of Python."""
    return re.sub(r"^\S+\.py:\d+: ", "", error.sentence)
