"""Takes the pictures of `docs/view.md`: trains the demo's model for some steps, and opens the page in a browser.

python tests/view/pictures.py
"""

import tempfile
from pathlib import Path

import jax
import numpy
from atoll.compiler.topology.devices import meshes_of
from atoll.examples.palm import model, toy
from atoll.examples.palm.data import batch
from atoll.examples.palm.sizes import TOY
from atoll.examples.palm.train import init_state
from browser import Browser

import atoll

PICTURES = Path(__file__).resolve().parent.parent.parent / "docs" / "pictures"
WIDTH, HEIGHT = 1280, 860

FEED_FORWARD = '@ layer["down"]'  # the line that costs most


def page(folder):
    """The page of the demo's step, once it has run."""
    islands = atoll.topology("4 x cpu[1]")
    meshes_of(islands)
    plan = atoll.Plan(stages=2, microbatches=2, schedule="zb-h1", replicas=2)
    with atoll.compile(toy.job, topology=islands, plan=plan) as step:
        key = jax.random.key(0, impl="rbg")
        state = jax.tree.map(numpy.asarray, jax.jit(init_state, static_argnums=1)(key, TOY))
        for number in range(10):
            state, _ = step(state, batch(number, TOY))
        with step.trace(folder / "trace.pftrace"):
            step(state, batch(10, TOY))
        step.view(folder / "step.html")
    return folder / "step.html"


def line_of(text):
    """The line of the model that has this; in what costs most it is named by its number."""
    [number] = [number for number, line in enumerate(Path(model.__file__).read_text().splitlines(), 1) if text in line]
    return number


def take_all(pictures):
    with tempfile.TemporaryDirectory() as folder, Browser(WIDTH, HEIGHT) as browser:
        browser.open(page(Path(folder)))
        take(browser, pictures / "view-overview.webp")
        browser.click("#tab-source")
        browser.press("#source-details button", f"model.py:{line_of(FEED_FORWARD)}")
        take(browser, pictures / "view-source.webp")
        browser.key("t", "t")
        browser.click("#tab-ir")
        browser.press(".ir .tools button", "changes")
        browser.press(".passes [role=option]", "split-backward")
        browser.until("document.querySelectorAll('#ir-text .come').length > 0")
        take(browser, pictures / "view-ir.webp")
        assert browser.problems == []


def take(browser, file):
    browser.evaluate("new Promise(done => setTimeout(done, 500))")
    browser.screenshot(file, format="webp", quality=60)


if __name__ == "__main__":
    take_all(PICTURES)
