"""A headless Chromium that tests drive, over the DevTools protocol.

The protocol goes over a pipe, so that nothing is needed beside the browser: ``apt-get install chromium``, or any other
Chromium or Chrome whose path `FTDEPLOY_BROWSER` names. Tests skip where there is none, and fail instead where
`FTDEPLOY_REQUIRE_BROWSER` is 1.

Source: the protocol at chromedevtools.github.io/devtools-protocol; the pipe: content/browser/devtools of Chromium
(``--remote-debugging-pipe``: messages in JSON, each ended by a zero byte, read from descriptor 3, written to 4).
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
#: No sandbox: tests run as root in containers. The rest keeps the browser from talking to anybody else.
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
    "--hide-scrollbars", "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
#: Key name -> (code, virtual key code, text that it types).
_KEYS = {
    "Tab": ("Tab", 9, ""),
    "Enter": ("Enter", 13, "\r"),
    "Escape": ("Escape", 27, ""),
    " ": ("Space", 32, " "),
    "ArrowDown": ("ArrowDown", 40, ""),
}
_LONG = 2000
_MODIFIERS = {"Control": 2, "Shift": 8}


def find_browser() -> str:
    """The path of a browser.

    Skips or fails the test where there is none.
    """
    named = os.environ.get("FTDEPLOY_BROWSER")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    if found:
        return found
    message = "no browser is installed: apt-get install chromium (or name one with FTDEPLOY_BROWSER)"
    if os.environ.get("FTDEPLOY_REQUIRE_BROWSER") == "1":
        pytest.fail(message)
    pytest.skip(message)


class Browser:
    """A running browser; `open` gives a tab of it."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads = reads
        self._writes = writes
        self._buffer = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._writes, json.dumps(message).encode() + b"\0")
        while True:
            found = self._read()
            if found.get("id") != self._number:
                self.events.append(found)
                continue
            assert "error" not in found, f"{method}: {found['error']}"
            return dict(found["result"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            part = os.read(self._reads, 1 << 20)
            assert part, "the browser has ended"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    @contextmanager
    def open(self, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> Iterator[Tab]:
        """A tab of its own, with empty storage, at an address. Nothing may have gone wrong in it when the block ends.

        Args:
            url: where it goes.
            width: of the window, in pixels.
            height: of the window, in pixels.
            dark: whether the person prefers dark colours.
        """
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = Tab(self, session, context)
        for domain in ("Page", "Runtime", "Log", "Network"):
            tab.call(f"{domain}.enable")
        tab.size(width, height)
        tab.prefer(colours="dark" if dark else "light")
        tab.call("Emulation.setFocusEmulationEnabled", enabled=True)
        tab.go(url)
        yield tab
        assert tab.problems() == []
        self.call("Target.disposeBrowserContext", browserContextId=context)


class Tab:
    """One page in the browser."""

    def __init__(self, browser: Browser, session: str, context: str) -> None:
        self._browser = browser
        self.session = session
        self.context = context

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol on this tab."""
        return self._browser.call(method, session=self.session, **parameters)

    def go(self, url: str) -> None:
        """Go to an address and wait until the page there has run its script."""
        found = self.call("Page.navigate", url=url)
        assert "errorText" not in found, found
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def size(self, width: int, height: int) -> None:
        """Give the window a size in pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer(self, *, colours: str = "light", motion: str = "reduce") -> None:
        """What the person prefers: ``light`` or ``dark``; ``reduce``, so that nothing is looked at half way, or
        ``no-preference``."""
        wanted = {"prefers-color-scheme": colours, "prefers-reduced-motion": motion}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        self.call("Emulation.setEmulatedMedia", features=features)

    def ask(self, expression: str) -> Any:
        """The value of an expression of JavaScript, awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until an expression of JavaScript is true."""
        look = f"(() => {{ try {{ return Boolean({condition}); }} catch {{ return false; }} }})"
        self.ask(f"new Promise((go) => {{ const f = {look}; const g = () => f() ? go() : setTimeout(g, 10); g(); }})")

    def text(self, selector: str) -> str:
        """What people see of an element."""
        return str(self.ask(f"document.querySelector({json.dumps(selector)}).innerText"))

    def fill(self, selector: str, value: str) -> None:
        """Put a text into a field in the place of what is there, and the cursor behind it."""
        self.ask(f"document.querySelector({json.dumps(selector)}).focus()")
        self.ask("document.activeElement.select()")
        if len(value) < _LONG:
            self.call("Input.insertText", text=value)
        else:  # inserting takes time by the square of its lines, which pasting does not
            self.ask(f"document.activeElement.value = {json.dumps(value)}")
            self.ask("document.activeElement.dispatchEvent(new Event('input'))")

    def click(self, selector: str) -> None:
        """Click an element where it stands."""
        place = "(e => { e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect(); \
return [r.x + r.width / 2, r.y + r.height / 2]; })"
        x, y = self.ask(f"{place}(document.querySelector({json.dumps(selector)}))")
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, *held: str) -> None:
        """Press a key of the keyboard, with others held."""
        code, number, typed = _KEYS[key]
        modifiers = sum(_MODIFIERS[name] for name in held)
        common = {"key": key, "code": code, "windowsVirtualKeyCode": number, "modifiers": modifiers}
        text = {"text": typed} if typed and "Control" not in held else {}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **common, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def download_to(self, folder: Path) -> None:
        """Let downloads come to a folder."""
        self._browser.call("Browser.setDownloadBehavior", behavior="allow", browserContextId=self.context,
                           downloadPath=str(folder))  # fmt: skip

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write what is seen as a PNG; of the whole page, or of the window."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def problems(self, *, forget: bool = False) -> list[str]:
        """Exceptions of the script, violations of the policy and errors in the console; refused requests are none.

        Args:
            forget: they were wanted, and do not count from now on.
        """
        found = []
        for event in self._browser.events:
            if event.get("sessionId") != self.session:
                continue
            parameters = event["params"]
            if event["method"] == "Runtime.exceptionThrown":
                found.append(str(parameters["exceptionDetails"]))
            elif event["method"] == "Log.entryAdded" and parameters["entry"]["level"] == "error":
                if parameters["entry"]["source"] != "network":
                    found.append(str(parameters["entry"]))
            elif event["method"] == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "assert"):
                found.append(str(parameters))
        if forget:
            self._browser.events.clear()
        return found

    def addresses(self) -> list[str]:
        """Every address that was asked for something."""
        return [
            event["params"]["request"]["url"]
            for event in self._browser.events
            if event.get("sessionId") == self.session and event["method"] == "Network.requestWillBeSent"
        ]


@contextmanager
def running() -> Iterator[Browser]:
    """A browser with a profile of its own, ended with the block."""
    path = find_browser()
    theirs_reads, ours_writes = os.pipe()
    ours_reads, theirs_writes = os.pipe()
    # Above what they are duplicated to, or one would overwrite the other.
    far = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs_reads, theirs_writes)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, open(os.devnull, "wb") as nothing:  # noqa: PTH123  # no path but a device
        command = [path, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        actions = [
            (os.POSIX_SPAWN_DUP2, far[0], 3),
            (os.POSIX_SPAWN_DUP2, far[1], 4),
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 1),
            (os.POSIX_SPAWN_DUP2, nothing.fileno(), 2),
        ]
        process = os.posix_spawn(path, command, dict(os.environ), file_actions=actions, setpgroup=0)
        for end in (theirs_reads, theirs_writes, *far):
            os.close(end)
        try:
            yield Browser(ours_reads, ours_writes)
        finally:
            os.close(ours_writes)
            os.close(ours_reads)
            with suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
