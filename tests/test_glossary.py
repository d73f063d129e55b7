"""Names are made of words that are plain English, or that `docs/glossary.md` explains."""

import ast
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parent.parent

# Words of plain English, of Python, JAX and MLIR, that names use as everybody does.
ORDINARY = frozenset(
    [
        "abbreviation",
        "absent",
        "across",
        "alive",
        "alternative",
        "argument",
        "around",
        "array",
        "arrive",
        "asked",
        "atoll",
        "attributes",
        "auto",
        "automatically",
        "axes",
        "axis",
        "bar",
        "barrier",
        "base",
        "batch",
        "begin",
        "behind",
        "beside",
        "bindings",
        "body",
        "bound",
        "builder",
        "byte",
        "cache",
        "calling",
        "calls",
        "cannot",
        "carried",
        "case",
        "chain",
        "chart",
        "check",
        "choice",
        "cli",
        "clock",
        "close",
        "command",
        "compared",
        "comparison",
        "compilation",
        "compile",
        "compiler",
        "compiling",
        "component",
        "computation",
        "contents",
        "contiguous",
        "contraction",
        "control",
        "conversion",
        "converting",
        "copy",
        "cost",
        "count",
        "counter",
        "crash",
        "cross",
        "cut",
        "data",
        "dead",
        "decided",
        "decision",
        "demo",
        "dependence",
        "dependency",
        "described",
        "device",
        "diagnostic",
        "difference",
        "direct",
        "divider",
        "divisible",
        "division",
        "drop",
        "dualpipe",
        "dump",
        "elementwise",
        "emit",
        "emitter",
        "empty",
        "end",
        "entry",
        "equal",
        "error",
        "example",
        "executable",
        "expectation",
        "expected",
        "explorer",
        "export",
        "failed",
        "failure",
        "feedback",
        "feeder",
        "fetch",
        "fetched",
        "field",
        "file",
        "filling",
        "find",
        "fitting",
        "flat",
        "fold",
        "folder",
        "followed",
        "for",
        "forward",
        "free",
        "frontend",
        "function",
        "gantt",
        "garbage",
        "gather",
        "give",
        "gradient",
        "greedy",
        "group",
        "header",
        "here",
        "hide",
        "improve",
        "in",
        "index",
        "inline",
        "input",
        "inspectable",
        "instruction",
        "interleaved",
        "interpretation",
        "interpreted",
        "ir",
        "join",
        "kept",
        "kind",
        "known",
        "labelling",
        "language",
        "last",
        "late",
        "leaf",
        "least",
        "leaves",
        "leaving",
        "libraries",
        "life",
        "limits",
        "linear",
        "live",
        "load",
        "loaded",
        "local",
        "locations",
        "lost",
        "lower",
        "main",
        "make",
        "maker",
        "manager",
        "many",
        "measured",
        "measurement",
        "measuring",
        "memory",
        "mesh",
        "message",
        "method",
        "mlir",
        "model",
        "module",
        "moves",
        "name",
        "native",
        "needed",
        "nested",
        "network",
        "no",
        "normalize",
        "not",
        "notebook",
        "numbering",
        "offered",
        "on",
        "one",
        "opened",
        "operations",
        "operator",
        "opt",
        "option",
        "order",
        "others",
        "outline",
        "output",
        "own",
        "page",
        "panel",
        "parameter",
        "partial",
        "partition",
        "peak",
        "picture",
        "ping",
        "place",
        "planned",
        "platforms",
        "print",
        "problem",
        "process",
        "progress",
        "propagation",
        "property",
        "put",
        "pytree",
        "quantities",
        "range",
        "reader",
        "reading",
        "ready",
        "reason",
        "receive",
        "record",
        "recorder",
        "reduction",
        "reference",
        "registry",
        "repetition",
        "report",
        "resolve",
        "resume",
        "rewrite",
        "ring",
        "room",
        "run",
        "running",
        "runtime",
        "same",
        "saving",
        "scalars",
        "scatter",
        "search",
        "send",
        "several",
        "shape",
        "shardings",
        "show",
        "signature",
        "simulate",
        "simulation",
        "size",
        "slept",
        "sort",
        "sorted",
        "source",
        "speed",
        "splitter",
        "splitting",
        "stablehlo",
        "started",
        "stats",
        "straight",
        "sum",
        "table",
        "text",
        "thread",
        "throttle",
        "time",
        "timer",
        "timing",
        "tracebacks",
        "tree",
        "types",
        "unable",
        "unite",
        "unknown",
        "up",
        "update",
        "usage",
        "use",
        "v",
        "value",
        "verify",
        "waiting",
        "walk",
        "wanted",
        "watch",
        "way",
        "while",
        "whole",
        "work",
        "writer",
        "writing",
    ]
)

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


def entries():
    """The words that the glossary explains."""
    text = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \|", text, re.MULTILINE)
    return {word for row in rows for word in row.split()}


def names():
    """Every module, folder and class, with where it stands."""
    for folder in ("checkpoint", "compiler", "passes", "runtime"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            path = file.relative_to(ROOT)
            yield path, path.stem if path.stem != "__init__" else path.parent.name
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    yield path, node.name


def stems(word):
    """The word, and what it may be a form of."""
    yield word
    for ending, instead in (("s", ""), ("es", ""), ("d", ""), ("ed", ""), ("ing", ""), ("ies", "y"), ("ting", "t")):
        if word.endswith(ending):
            yield word.removesuffix(ending) + instead


def test_every_word_of_a_name_is_known():
    known = entries() | ORDINARY
    unknown = {
        f"{word} ({path}: {name})"
        for path, name in names()
        for word in map(str.lower, _WORD.findall(name))
        if known.isdisjoint(stems(word))
    }
    assert not unknown, "explain it in docs/glossary.md, or use a word that is there"


def test_no_ordinary_word_is_in_the_glossary():
    assert not ORDINARY & entries()


def test_every_ordinary_word_is_used():
    used = {stem for _, name in names() for word in _WORD.findall(name) for stem in stems(word.lower())}
    assert not ORDINARY - used


def test_no_two_public_classes_are_called_alike():
    places = {}
    for path, name in names():
        if name[0].isupper():
            places.setdefault(name, set()).add(path)
    assert not {name: paths for name, paths in places.items() if len(paths) > 1}
