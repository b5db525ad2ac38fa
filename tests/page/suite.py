"""The page of a gateway in a real browser: what it says, how it is used by keyboard, and how fluid it stays."""

import argparse
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from browser import Browser

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target").absolute()
NODES, CHANGES = 10_000, 300
PICTURES = ROOT / "docs/images"

# What the issue of the page promises, in ms.
FIRST_VIEW = 1000
MAX_FRAME_MS = 100
# A heap grows and shrinks; a leak of one changed node per change would be 20 MB a minute.
GROWTH = 4_000_000  # bytes
# 10,000 nodes, 32,768 changes and 65,536 entries of history: this many MB.
BOUND = 160

# Notes every frame and every long task from before the page's own script runs.
OBSERVE = """
window.seen = { frames: [], tasks: [], first: 0, all: 0 };
new PerformanceObserver((list) => { for (const entry of list.getEntries()) seen.tasks.push([entry.startTime, entry.duration]); })
  .observe({ type: "longtask", buffered: true });
let before = 0;
requestAnimationFrame(function next(now) {
  if (before) seen.frames.push(now - before);
  before = now;
  if (!seen.first && document.querySelector("#space .row .name .line")?.textContent) seen.first = now;
  if (!seen.all && document.querySelector("#link")?.dataset.link === "live") seen.all = now;
  requestAnimationFrame(next);
});
"""
ROWS = 'document.querySelectorAll("#space .row:not([hidden])").length'


class Checks:
    """What was found, as it is found."""

    def __init__(self) -> None:
        self.failed = 0

    def that(self, sentence: str, holds: object, found: object = "") -> None:
        self.failed += not holds
        print(f"{'ok  ' if holds else 'FAIL'} {sentence}{f': {found}' if found != '' else ''}", flush=True)


def serve(nodes: int, changes: int) -> tuple[subprocess.Popen, str]:
    """A gateway's page over nodes that only seem to exist, and its address."""
    program = os.environ.get("CROWDED_PAGE") or TARGET / "x86_64-unknown-linux-gnu/debug/examples/crowded_page"
    process = subprocess.Popen([program, str(nodes), str(changes)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    address = process.stdout.readline().strip()
    if not address:
        sys.exit("the page is not served")
    return process, address


def first_view(browser: Browser, address: str, check: Checks) -> None:
    browser.screen(1440, 900)
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=OBSERVE)
    browser.call("Page.navigate", url=address)
    browser.wait_for("window.seen?.all")
    first, every, script = browser.run('[seen.first, seen.all, performance.getEntriesByName(new URL("page.js", location).href)[0].responseEnd]')
    found = f"the first rows after {first:.0f} ms, all {NODES:,} nodes after {every:.0f} ms, the script after {script:.0f} ms"
    check.that(f"nodes are seen within {FIRST_VIEW} ms of the navigation", first <= FIRST_VIEW, found)
    check.that("the whole list is known", browser.wait_for(f'document.querySelector("#count").textContent === "{NODES:,} nodes"'))
    rows = browser.run('document.querySelectorAll("#space .row").length')
    check.that("only the rows in sight exist", 10 < rows < 60, rows)


def policy(browser: Browser, address: str, check: Checks) -> None:
    requests = [event["params"]["request"]["url"] for event in browser.events if event["method"] == "Network.requestWillBeSent"]
    foreign = [url for url in requests if not url.startswith(address)]
    check.that("nothing is asked of anybody else", requests and not foreign, foreign or f"{len(requests)} requests")
    complaints = [event["params"] for event in browser.events if event["method"] in ("Log.entryAdded", "Runtime.exceptionThrown")]
    check.that("the browser has nothing to complain of", not complaints, json.dumps(complaints)[:400] if complaints else "")
    refused = browser.run("""(() => { try { document.body.innerHTML = "<b>x</b>"; return false; } catch { return true; } })()""")
    check.that("the policy refuses markup from texts", refused)


def frames(browser: Browser, seconds: float) -> tuple[float, float, int]:
    """Longest frame and longest task in ms, and the frames, while somebody scrolls through all of it."""
    browser.run("seen.frames.length = 0; seen.tasks.length = 0; 0")
    browser.run(f"""new Promise((done) => {{
      const scroll = document.querySelector("#scroll");
      const began = performance.now();
      requestAnimationFrame(function step(now) {{
        scroll.scrollTop = (1 - Math.cos((now - began) / 1500)) / 2 * scroll.scrollHeight;
        if (now - began < {seconds * 1000}) requestAnimationFrame(step); else done(0);
      }});
    }})""")
    frame, task, count = browser.run("[Math.max(...seen.frames), Math.max(0, ...seen.tasks.map((task) => task[1])), seen.frames.length]")
    return frame, task, count


def fluid(browser: Browser, check: Checks) -> None:
    for sort in ("name", "progress", "since"):
        browser.run(f'document.querySelector("[data-sort={sort}] button").click()')
        frame, task, count = frames(browser, 6)
        found = f"longest frame {frame:.0f} ms, longest task {task:.0f} ms, {count} frames in 6 s"
        check.that(f"no frame over {MAX_FRAME_MS} ms while it scrolls, sorted by {sort}, {CHANGES} changes per second",
                   max(frame, task) <= MAX_FRAME_MS, found)
    browser.run('document.querySelector("[data-sort=name] button").click()')
    browser.run("seen.tasks.length = 0; 0")
    for text in ("rack1", "rack12", "hall=2", ""):
        browser.run(f'document.querySelector("#text").value = "{text}"; document.querySelector("#text").dispatchEvent(new Event("input"))')
        browser.run("new Promise((done) => setTimeout(done, 300))")
    task = browser.run("Math.max(0, ...seen.tasks.map((task) => task[1]))")
    check.that(f"no task over {MAX_FRAME_MS} ms while somebody filters", task <= MAX_FRAME_MS, f"{task:.0f} ms")


# Whether the view, in which changed nodes were moved one by one, is what sorting all nodes makes of it.
IN_ORDER = """(() => {
  list.builtAt = -Infinity;
  list.rebuild(performance.now());
  const sorted = list.sorted(nodes.all.values());
  return sorted.length === list.view.length && sorted.every((node, index) => node === list.view[index] && node.index === index) && sorted.length;
})()"""


def order(browser: Browser, check: Checks) -> None:
    """The order of rows after some seconds of changes, in each way to sort and with nodes that come into the filter and leave it."""
    for sort in ("name", "state", "doing", "progress", "since"):
        for descending in ("false", "true"):
            for states in ('"working"', '"idle", "failed"', ""):
                browser.run(f"list.states = new Set([{states}]); list.sortBy('{sort}', {descending}); 0")
                browser.run("new Promise((done) => setTimeout(done, 700))")
                rows = browser.run(IN_ORDER)
                if not rows:
                    check.that(f"rows are in order of {sort}, descending: {descending}, states: {states}", False)
    browser.run("list.states = new Set(); list.sortBy('name', false); 0")
    check.that("rows are in order in each way to sort, while nodes change", browser.run(IN_ORDER) == NODES)


def resident(process: subprocess.Popen) -> float:
    """Memory of a process in MB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1000  # type: ignore[index]


def memory(browser: Browser, gateway: subprocess.Popen, minutes: float, check: Checks) -> None:
    def heap() -> int:
        # What the test itself has noted would grow with every frame.
        browser.run("seen.frames = []; seen.tasks = []; 0")
        browser.call("HeapProfiler.collectGarbage")
        return browser.call("Runtime.getHeapUsage")["usedSize"]

    nodes = 'document.querySelectorAll("*").length'
    heap_before, nodes_before = heap(), browser.run(nodes)
    until = time.monotonic() + minutes * 60
    while time.monotonic() < until:
        time.sleep(min(15, max(0.1, until - time.monotonic())))
        print(f"     heap {heap() / 1e6:.1f} MB, gateway {resident(gateway):.0f} MB", flush=True)
    grown, elements = heap() - heap_before, browser.run(nodes) - nodes_before
    check.that(f"the heap is as large after {minutes:g} min as before", grown < GROWTH, f"{heap_before / 1e6:.1f} MB, {grown / 1e6:+.1f} MB")
    check.that(f"the gateway's memory is bounded by {BOUND} MB", resident(gateway) < BOUND, f"{resident(gateway):.0f} MB")
    check.that("and so is the number of elements", abs(elements) < 200, f"{nodes_before}, {elements:+d}")


def filters(browser: Browser, check: Checks) -> None:
    def fill(text: str) -> None:
        browser.run(f'document.querySelector("#text").value = {json.dumps(text)}; document.querySelector("#text").dispatchEvent(new Event("input"))')

    fill("rack=12")
    check.that("a label selects its nodes and no others", browser.wait_for('document.querySelector("#count").textContent === "40 of 10,000 nodes"'))
    fill("rack=12 rack12-7")
    check.that("words and labels together select one", browser.wait_for(f"{ROWS} === 1"))
    fill("no such node")
    check.that("that nothing fits is said", browser.wait_for('document.querySelector("#empty").textContent === "No node fits the filter."'))
    fill("")
    browser.run('document.querySelector("#states [data-state=failed]").click()')
    states = '[...document.querySelectorAll("#space .row:not([hidden]) .state")].map((cell) => cell.textContent)'
    browser.wait_for(f'{states}.every((state) => state === "Failed")')
    check.that("a state selects the nodes that are in it", True)
    browser.run('document.querySelector("#states [data-state=failed]").click()')
    browser.wait_for(f"{ROWS} > 10")


def keyboard(browser: Browser, check: Checks) -> None:
    order = []
    browser.run("document.activeElement.blur()")
    for _ in range(14):
        browser.key("Tab")
        order.append(browser.run('document.activeElement.id || document.activeElement.textContent.trim() || document.activeElement.tagName'))
    is_in_order = order[0].startswith("Skip") and order[1] == "text" and "grid" in order
    check.that("Tab goes from the skip link over the filters to the grid", is_in_order, order)
    browser.run('document.querySelector("#grid").focus()')
    browser.key("Home")
    browser.key("ArrowDown")
    browser.key("ArrowDown")
    active = 'document.getElementById(document.querySelector("#grid").getAttribute("aria-activedescendant"))'
    browser.wait_for(f'{active}?.getAttribute("aria-rowindex") === "4"')
    check.that("arrow keys move, and the row that is meant is named", browser.run(f'{active}.getAttribute("aria-selected")') == "true")
    browser.key("End")
    browser.wait_for(f'{active}?.getAttribute("aria-rowindex") === "{NODES + 1}"')
    check.that("End goes to the last of all nodes", True)
    browser.key("Enter")
    browser.wait_for('document.activeElement.id === "node-title" && document.querySelector("#node-body .history")')
    check.that("Enter opens the node with its history and goes there", browser.run("location.hash").startswith("#"))
    browser.key("Escape")
    check.that("Escape goes back to the grid", browser.run('document.querySelector("#node").hidden && document.activeElement.id') == "grid")


def spoken(browser: Browser, check: Checks) -> None:
    tree = browser.call("Accessibility.getFullAXTree")["nodes"]
    found: dict[str, list[str]] = {}
    for node in tree:
        if not node.get("ignored"):
            found.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role, name in (("grid", "Nodes"), ("search", ""), ("searchbox", "Filter by name, UUID, command or label"), ("region", "Last events"),
                       ("main", ""), ("banner", ""), ("columnheader", "Progress"), ("status", "")):
        check.that(f"a screen reader finds {role} {name!r}", name in found.get(role, []), found.get(role, [])[:4])
    nameless = [role for role in ("button", "combobox", "searchbox", "progressbar", "heading") for name in found.get(role, []) if not name]
    check.that("nothing that one can use is without a name", not nameless, nameless or "")
    live = browser.run('[...document.querySelectorAll("[aria-live], [role=status], [role=log], [role=alert]")].map((element) => element.id)')
    check.that("only the connection and the count are spoken by themselves", sorted(live) == ["count", "link"], live)


# Relative luminance as WCAG defines it, of every text that is in sight, against what is behind it.
CONTRAST = """(() => {
  const parse = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((part) => part / 255).map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length < 4 || color[3] > 0.99) return color;
    }
    return [255, 255, 255];
  };
  const worst = { ratio: 99, text: "" };
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest(".unseen, .skip, noscript, [inert]")) continue;
    const [a, b] = [luminance(parse(getComputedStyle(element).color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst.ratio) Object.assign(worst, { ratio, text: element.textContent.trim().slice(0, 40) });
  }
  return worst;
})()"""


def open_busy_node(browser: Browser) -> None:
    browser.wait_for('list.view.filter((node) => node.group === "working").length > 3')
    busy = 'list.view.filter((node) => node.group === "working" && node.row.command.phase === "write_image")[2].uuid'
    browser.run(f"details.open({busy})")
    browser.wait_for('document.querySelector("#node-body .history li")')


def looks(browser: Browser, check: Checks, pictures: Path) -> None:
    pictures.mkdir(parents=True, exist_ok=True)
    browser.run('document.activeElement.blur(); document.querySelector("#sort").value = "state"; list.sortBy("state", false)')
    for name, width, height, dark, phone in (("desktop", 1280, 760, False, False), ("dark", 1280, 760, True, False), ("phone", 390, 800, False, True),
                                             ("phone-dark", 390, 800, True, True)):
        browser.screen(width, height, dark=dark, phone=phone)
        browser.run('new Promise((done) => setTimeout(done, 1600))')
        worst = browser.run(CONTRAST)
        check.that(f"every text has a contrast of 4.5 ({name})", worst["ratio"] >= 4.5, f"{worst['ratio']:.1f} {worst['text']!r}")
        wide = browser.run("document.documentElement.scrollWidth > innerWidth")
        check.that(f"nothing is wider than the screen ({name})", not wide)
        browser.picture(pictures / f"page-{name}.png")
        if name in ("dark", "phone"):
            open_busy_node(browser)
            browser.run('new Promise((done) => setTimeout(done, 1600))')
            worst = browser.run(CONTRAST)
            check.that(f"and in the details of a node ({name})", worst["ratio"] >= 4.5, f"{worst['ratio']:.1f} {worst['text']!r}")
            browser.picture(pictures / f"page-{name}-node.png")
            browser.run('document.querySelector("#close").click()')


def still(browser: Browser, check: Checks) -> None:
    browser.screen(1280, 760, calm=True)
    moving = browser.run("""document.getAnimations().length
      + [...document.querySelectorAll(".bar i")].filter((bar) => getComputedStyle(bar).transitionDuration !== "0s").length""")
    check.that("nothing moves by itself where less motion is wished", moving == 0, moving)


def survives(browser: Browser, gateway: subprocess.Popen, check: Checks) -> None:
    gateway.kill()
    gateway.wait()
    browser.wait_for('document.querySelector("#link").textContent === "Connecting again"')
    check.that("a gateway that has gone is said", True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for how long memory is watched")
    parser.add_argument("--pictures", type=Path, default=TARGET / "page/pictures", help=f"where screenshots go; {PICTURES} are those of the docs")
    arguments = parser.parse_args()
    directory = TARGET / "page"
    directory.mkdir(parents=True, exist_ok=True)
    check = Checks()
    gateway, address = serve(NODES, CHANGES)
    browser = None
    try:
        browser = Browser(directory)
        first_view(browser, address, check)
        filters(browser, check)
        order(browser, check)
        keyboard(browser, check)
        spoken(browser, check)
        looks(browser, check, arguments.pictures)
        still(browser, check)
        browser.screen(1440, 900)
        fluid(browser, check)
        memory(browser, gateway, arguments.minutes, check)
        policy(browser, address, check)
        survives(browser, gateway, check)
    finally:
        if browser:
            browser.close()
        gateway.kill()
        gateway.wait()
    sys.exit(f"{check.failed} checks failed" if check.failed else 0)


if __name__ == "__main__":
    main()
