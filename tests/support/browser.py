"""A page in a real browser: what axe-core says of it, and where its players are, at several widths.

Needs Chromium; axe-core is taken from the folder that SEPCON_AXE_CORE names (npm install axe-core).
"""

import contextlib
import functools
import http.server
import json
import os
import queue
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
AXE_FILE = Path(os.environ.get("SEPCON_AXE_CORE", "node_modules/axe-core")) / "axe.min.js"

_LOOK = """
// What is heard of the sounds of the first section after each press of a button.
async function playTogether() {
  const button = document.querySelector(".together");
  if (!button) return null;
  const section = button.closest("section");
  const sounds = [...section.querySelectorAll("audio")];
  const press = async (element, expected = false) => {
    element.click();
    for (let tries = 0; tries < 100 && expected !== sounds[0].paused; tries++) {
      await new Promise((done) => setTimeout(done, 20));
    }
    await new Promise((done) => setTimeout(done, 100));
    return sounds.map((sound) => (sound.paused ? "paused" : sound.muted ? "muted" : "heard"));
  };
  const [mute, solo] = [".mute", ".solo"].map((kind) => [...section.querySelectorAll(kind)]);
  return {
    play: await press(button),
    times: sounds.map((sound) => sound.currentTime),
    solo: await press(solo[0]),
    again: await press(solo[0]),
    mute: await press(mute[1]),
    stop: await press(button, true),
  };
}
(async () => {
  const box = (element) => {
    const bounds = element.getBoundingClientRect();
    return [bounds.left, bounds.right, bounds.width];
  };
  const found = {
    players: [...document.querySelectorAll("audio")].map(box),
    pictures: [...document.querySelectorAll(".clip img")].map(box),
    spans: [...document.querySelectorAll(".lane span")].map(box),
    wide: document.documentElement.scrollWidth,
    viewport: innerWidth,
    paper: getComputedStyle(document.body).backgroundColor,
    hidden_buttons: [...document.querySelectorAll("button")].filter((b) => !b.offsetWidth).length,
    violations: null,
  };
  if (window.axe) {
    const result = await axe.run();
    found.passes = result.passes.map((rule) => rule.id);
    const parts = (rule) => rule.nodes.map((node) => node.html.slice(0, 200));
    found.violations = result.violations.map((rule) => [rule.id, parts(rule)]);
  }
  found.together = await playTogether();
  fetch("/found", { method: "POST", body: JSON.stringify({ name: window.name, found }) });
})();
"""


def look_at(
    page: Path, widths: tuple[int, ...], profile: Path, *, dark: bool = False
) -> dict[int, dict]:
    """What the browser finds on a page at each width of its window, in real time.

    Args:
      page: the file; it is served with what is beside it.
      widths: in CSS pixels, each that of a frame.
      profile: folder for the browser.
      dark: whether the user wants dark pages.
    """
    axe = AXE_FILE.read_text(encoding="utf-8") if AXE_FILE.is_file() else ""
    scripts = f"<script>{axe}</script><script>{_LOOK}</script></body>"
    own = {
        "/looked_at.html": page.read_text(encoding="utf-8").replace("</body>", scripts),
        "/": "<!DOCTYPE html><title>frames</title>"
        + "".join(
            f'<iframe name="{width}" src="looked_at.html" width="{width}" height="800"></iframe>'
            for width in widths
        ),
    }
    found: queue.Queue[dict] = queue.Queue()
    handler = functools.partial(_Handler, own, found, directory=str(page.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with _chromium(f"http://127.0.0.1:{server.server_port}/", profile, dark):
            try:
                results = [found.get(timeout=60) for _ in widths]
            finally:
                server.shutdown()
    return {int(result["name"]): result["found"] for result in results}


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves pages of the test and files of a folder; takes what the pages send."""

    def __init__(self, own: dict[str, str], found: queue.Queue[dict], *arguments, **named) -> None:
        self._own, self._found = own, found
        super().__init__(*arguments, **named)

    def do_GET(self) -> None:
        if self.path not in self._own:
            return super().do_GET()
        content = self._own[self.path].encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    def do_POST(self) -> None:
        self._found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments) -> None:
        pass


@contextlib.contextmanager
def _chromium(address: str, profile: Path, dark: bool) -> Iterator[None]:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--mute-audio"]
    command += ["--blink-settings=preferredColorScheme=0"] if dark else []
    # A debugging port keeps it open.
    command += [f"--user-data-dir={profile}", "--remote-debugging-port=0"]
    command += ["--autoplay-policy=no-user-gesture-required", address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=20)
