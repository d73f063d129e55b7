"""What takes long to make, such as what was compiled ahead, on disk, by what it was made of."""

import hashlib
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import jax

log = logging.getLogger(__name__)

# Where it is, if the user says so; else beside what jax keeps, or where programs keep what they can make again.
VARIABLE = "ATOLL_CACHE_DIR"

# How the names of files end that have what was compiled.
COMPILED = ".tpu"


@dataclass(frozen=True)
class Cache:
    """A folder with a file for each thing that was made. What cannot be read or written is made again.

    suffix: of the names of its files, which says what they have.
    """

    folder: Path
    suffix: str = COMPILED

    @classmethod
    def usual(cls, suffix: str = COMPILED) -> "Cache":
        """The folder of `ATOLL_CACHE_DIR`; `atoll` in jax's cache, if that is set; or else in the user's own."""
        if named := os.environ.get(VARIABLE):
            return cls(Path(named), suffix)
        of_jax: str | None = jax.config.jax_compilation_cache_dir  # type: ignore[attr-defined] # jax's
        own = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        return cls(Path(of_jax or own) / "atoll", suffix)

    def find(self, key: str) -> bytes | None:
        """What was kept under a key; None if nothing was, or if it is not what was kept."""
        try:
            content = self._file(key).read_bytes()
        except OSError:
            return None
        checksum, found = content[:32], content[32:]
        return found if hashlib.sha256(found).digest() == checksum else None

    def keep(self, key: str, content: bytes) -> None:
        """Keep something, never half of it."""
        file = self._file(key)
        draft = file.with_name(f"{file.name}.{os.getpid()}.draft")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            draft.write_bytes(hashlib.sha256(content).digest() + content)
            draft.replace(file)
        except OSError as error:
            log.info("nothing is kept in %s: %s", self.folder, error.strerror)
            with suppress(OSError):
                draft.unlink(missing_ok=True)

    def _file(self, key: str) -> Path:
        return self.folder / f"{key}{self.suffix}"


def key_of(*parts: object) -> str:
    """A key that differs where any part differs; parts are bytes, or have a text that tells all of them."""
    digest = hashlib.sha256()
    for part in parts:
        content = part if isinstance(part, bytes) else repr(part).encode()
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()
