"""A browser without a window, driven over a pipe by Chrome's own protocol."""

import base64
import contextlib
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from started import processes_of

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def found():
    """The browser on this machine; None if there is none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One page. problems: what it wrote as an error, or raised; requests: what it asked for beside its own file."""

    def __init__(self, width=1440, height=900):
        self._home = tempfile.TemporaryDirectory(prefix="atoll-browser-", ignore_cleanup_errors=True)
        theirs, self._write = os.pipe()
        self._read, answers = os.pipe()
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--force-color-profile=srgb",
            "--hide-scrollbars",
            f"--user-data-dir={self._home.name}",
            f"--window-size={width},{height}",
            "--remote-debugging-pipe",
        ]
        # The browser reads its commands from descriptor 3 and answers on 4.
        shell = f'exec "$@" 3<&{theirs} 4>&{answers}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", found(), *options],
            pass_fds=(theirs, answers),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs)
        os.close(answers)
        self._numbers, self._rest, self._session = itertools.count(1), b"", None
        self.problems, self.requests = [], []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(f"{domain}.enable")
        self.size(width, height)

    def size(self, width, height, scale=1):
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )

    def dark(self, is_dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}]
        self.ask("Emulation.setEmulatedMedia", features=features)

    def open(self, file):
        """Open a page; returns the processor seconds that it takes until it says that it is ready."""
        began = self.busy()
        self.problems.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=Path(file).resolve().as_uri())
        self.until("document.documentElement?.dataset.ready === 'yes'")
        return self.busy() - began

    def busy(self):
        """Processor seconds of the browser with all its processes, which other work of the machine does not change."""
        ticks = 0
        for pid in (self._process.pid, *processes_of(self._process.pid)):
            with contextlib.suppress(OSError):
                ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def until(self, condition, seconds=60):
        """Wait until something is true of the page."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"never true: {condition}; {self.problems}"
            time.sleep(0.02)

    def evaluate(self, expression):
        """The value of a JavaScript expression, also of one that is promised."""
        found = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def click(self, selector):
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, selector, text):
        """Click the element that says this."""
        every = f"[...document.querySelectorAll({json.dumps(selector)})]"
        self.evaluate(f"{every}.find(one => one.innerText.includes({json.dumps(text)})).click()")

    def key(self, key, text=None):
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, **({"text": text} if text else {}))

    def tab(self):
        """Go to what has the focus next, which only a key with its number does."""
        for kind in ("rawKeyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    def text(self, selector):
        return self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")

    def screenshot(self, file, **options):
        Path(file).write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", **options)["data"]))

    def ask(self, method, **parameters):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._note(answer)

    def _next(self):
        while b"\0" not in self._rest:
            assert select.select([self._read], [], [], 60)[0], "the browser says nothing"
            read = os.read(self._read, 1 << 20)
            assert read, "the browser has ended"
            self._rest += read
        one, _, self._rest = self._rest.partition(b"\0")
        return json.loads(one)

    def _note(self, event):
        told = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.problems.append(told["exceptionDetails"])
            case "Runtime.consoleAPICalled" if told["type"] in ("error", "warning", "assert"):
                self.problems.append(told["args"])
            case "Log.entryAdded" if told["entry"]["level"] in ("error", "warning"):
                self.problems.append(told["entry"]["text"])
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])

    def close(self):
        with contextlib.suppress(AssertionError, OSError):
            self.ask("Browser.close")
        os.close(self._write)
        os.close(self._read)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._home.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
