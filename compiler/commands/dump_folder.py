"""A folder with one numbered file of IR a pass, in the order in which they ran."""

import re
from pathlib import Path

from atoll.compiler.errors import AtollError, UsageError

_OURS = re.compile(r"\d{2,}-[a-z0-9-]+\.mlir")


class DumpFolder:
    """Writes `00-input.mlir`, `01-inline-calls.mlir` and so on."""

    def __init__(self, path: Path, source: Path | None = None) -> None:
        """Make the folder; what an earlier dump left there goes, so that the files are those of one run.

        source: the file that is read, which must not go with them.
        """
        if source is not None and source.resolve().parent == path.resolve():
            raise UsageError(f"{source} would be overwritten", str(path), "name another folder for the dump")
        self.path = path
        self.count = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            for left in path.iterdir():
                if _OURS.fullmatch(left.name):
                    left.unlink()
        except OSError as error:
            raise self._refusal(error) from None

    def write(self, name: str, text: str) -> Path:
        file = self.path / f"{self.count:02d}-{name}.mlir"
        self.count += 1
        try:
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise self._refusal(error) from None
        return file

    def _refusal(self, error: OSError) -> AtollError:
        return UsageError(
            f"cannot write IR here: {error.strerror}", str(self.path), "name a folder that can be written"
        )
