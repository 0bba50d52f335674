"""Debian's headless Chromium over its DevTools protocol, through a pipe: what a reader's browser makes of the site."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # the network is off, but for this machine itself
    "--window-size=1280,2000",
    "--remote-debugging-pipe",
)
SECONDS = 120.0  # for one answer, on a busy machine


class Tab:
    """One page at a time; its messages are kept until the next is opened.

    Attributes:
        events: What the browser has told of the page.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read, self._buffer = write, read, b""
        self._numbers = itertools.count(1)
        self._session: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def _message(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            chunk = os.read(self._read, 1 << 16)
            assert chunk, "Chromium has ended"
            self._buffer += chunk
        message, self._buffer = self._buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol, answered."""
        number = next(self._numbers)
        command = {"id": number, "method": method, "params": params, **self._session}
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while (message := self._message()).get("id") != number:
            self.events.append(message)
        assert "error" not in message, (method, message)
        return message["result"]

    def open(self, address: str) -> None:
        """Open a page, and wait until it asks its server for nothing more."""
        self.events = []
        loader = self.call("Page.navigate", url=address)["loaderId"]
        end = time.monotonic() + SECONDS
        while not any(
            event.get("method") == "Page.lifecycleEvent"
            and (event["params"]["name"], event["params"]["loaderId"]) == ("networkIdle", loader)
            for event in self.events
        ):
            assert time.monotonic() < end, f"{address} does not come to rest"
            self.events.append(self._message())

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def complaints(self) -> list[str]:
        """Errors and warnings in the console, uncaught exceptions, and requests that failed."""
        found = []
        for event in self.events:
            method, params = event.get("method"), event.get("params", {})
            bad_answer = method == "Network.responseReceived" and params["response"]["status"] >= 400
            bad_entry = method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning")
            bad_call = method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")
            if method in ("Runtime.exceptionThrown", "Network.loadingFailed") or bad_answer or bad_entry or bad_call:
                found.append(json.dumps(params)[:600])
        return found

    def requests(self) -> list[str]:
        """The addresses that the page asked for."""
        return [e["params"]["request"]["url"] for e in self.events if e.get("method") == "Network.requestWillBeSent"]


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A browser with an empty profile, ended on leaving."""
    assert PROGRAM is not None
    (commands, write), (read, answers) = os.pipe(), os.pipe()
    # The browser reads commands from descriptor 3 and answers on 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash"]
    process = subprocess.Popen(
        [*shell, PROGRAM, *FLAGS, f"--user-data-dir={profile}"],
        pass_fds=(commands, answers),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(commands)
    os.close(answers)
    try:
        yield Tab(write, read)
    finally:
        process.terminate()
        process.wait()
        os.close(write)
        os.close(read)
