"""Opens pages of records in a real browser: on a phone nothing is cut off, and nothing is asked of any other server."""

from __future__ import annotations

import functools
import html
import http.server
import json
import re
import shutil
import subprocess
import threading
from datetime import UTC, datetime

import pytest
from ansible_collections.slipway.laravel.plugins.plugin_utils.report_html import write_pages
from records import HOSTILE, Told, full_release, release

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    # The browser has requests of its own, to its maker; they get nowhere.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
PAGES = ["index", "usual", "hostile", "fleet", "killed"]
# That what a page asks for elsewhere would be seen.
CONTROL = "http://control.invalid/seen.png"
# Shows each page as wide as a phone, and says what sticks out, what it loaded and whether one of its scripts ran.
FRAMES = """<!DOCTYPE html>%s<img src="%s"><pre id="found"></pre><script>
onload = () => {
  const found = [...document.querySelectorAll("iframe")].map((frame) => {
    const page = frame.contentDocument, wide = [...page.body.querySelectorAll("*")].filter((one) => {
      const box = one.getBoundingClientRect();
      return box.width > 1 && (box.right > 360.5 || box.left < -0.5);
    });
    return {
      title: page.title, width: page.documentElement.scrollWidth, wide: wide.map((one) => one.outerHTML.slice(0, 200)),
      loaded: frame.contentWindow.performance.getEntriesByType("resource").map((one) => one.name),
      arabic: [...page.querySelectorAll("[lang=ar]")].map((one) => frame.contentWindow.getComputedStyle(one).direction),
      ran: Boolean(frame.contentWindow.ran), scripts: page.querySelectorAll("script, img, iframe").length,
    };
  });
  document.getElementById("found").textContent = JSON.stringify(found);
};
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here; Debian has it as a package")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args):
        self.server.asked.append(self.path)


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """Return what the browser found in each page, what it asked our server for, and every address that it asked."""
    home = tmp_path_factory.mktemp("pages")
    text = f"{HOSTILE}<script>ran = 1</script><img src=x onerror='ran = 1'>{'long' * 200}"
    full_release(home, "usual")
    full_release(home, "hostile", text=text, version=text, user=text, hosts=["ip-10-0-12-34." * 18, text])
    fleet = Told(home, "fleet", hosts=[f"web{number}.eu-central.example.com" for number in range(60)])
    for phase in ("preflight", "stage", "switch"):
        fleet.phase(phase, 2)
    fleet.enter()
    release(home, "killed", outcome="killed")
    write_pages(str(home), datetime.now(UTC))
    frames = "".join(
        f'<iframe width="360" height="700" style="border: 0" src="{name}.html"></iframe>' for name in PAGES
    )
    (home / "frames.html").write_text(FRAMES % (frames, CONTROL))

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(home)))
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        result = subprocess.run(
            [
                CHROMIUM,
                *FLAGS,
                f"--user-data-dir={home}/profile",
                f"--log-net-log={home}/net.json",
                "--dump-dom",
                f"http://127.0.0.1:{server.server_port}/frames.html",
            ],
            capture_output=True,
            text=True,
            timeout=180,
            check=True,
        )
    finally:
        server.shutdown()
        server.server_close()
    found = re.search(r'<pre id="found">(.*?)</pre>', result.stdout, re.DOTALL)
    assert found, result.stdout[-2000:] + result.stderr[-2000:]
    pages = dict(zip(PAGES, json.loads(html.unescape(found[1])), strict=True))
    argv = [CHROMIUM, *FLAGS, f"--user-data-dir={home}/profile", f"--print-to-pdf={home}/usual.pdf"]
    subprocess.run([*argv, home / "usual.html"], capture_output=True, timeout=180, check=True)
    pages["usual"]["printed"] = (home / "usual.pdf").read_bytes()
    log = (home / "net.json").read_text().splitlines()
    # An event is a line; those of the browser itself have no page that they come from.
    requests = [line for line in log if '"initiator":"http://127.0.0.1:' in line]
    addresses = {re.search(r'"url":"([^"]*)', line)[1] for line in requests if '"url":"' in line}
    return pages, server.asked, {url for url in addresses if not url.startswith("http://127.0.0.1:")}


@pytest.mark.parametrize("name", PAGES)
def test_nothing_sticks_out_on_a_phone(seen, name):
    page = seen[0][name]
    assert (page["width"], page["wide"]) == (360, [])


@pytest.mark.parametrize("name", PAGES)
def test_page_loads_nothing_and_runs_nothing(seen, name):
    page = seen[0][name]
    assert (page["loaded"], page["ran"], page["scripts"]) == ([], False, 0)
    assert page["title"].startswith("Releases of" if name == "index" else "Release ")


def test_arabic_runs_from_right_to_left(seen):
    arabic = seen[0]["usual"]["arabic"]
    assert (len(arabic) > 10, set(arabic)) == (True, {"rtl"})


def test_page_is_printed_on_a4(seen):
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", seen[0]["usual"]["printed"])
    assert {(round(float(width)), round(float(height))) for width, height in boxes} == {(595, 842)}


def test_nobody_else_is_asked_for_anything(seen):
    _pages, asked, elsewhere = seen
    pages = {f"/{name}.html" for name in [*PAGES, "frames"]}
    # The icon is that of the page around them.
    assert {path for path in asked if path != "/favicon.ico"} == pages
    assert elsewhere == {CONTROL}
