"""The rendered book in a real browser: every page, from disk and from a server, on a laptop and on a phone."""

from __future__ import annotations

import functools
import http.server
import re
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urldefrag, urlsplit

import nbformat
import pytest
import yaml

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: the pages were not looked at")

#: Run in a page once its math is typeset; says what is wrong with it, by kind.
INSPECT = r"""
() => {
  const brief = (text) => text.trim().slice(0, 80);
  const visible = (node) => node.offsetParent !== null;
  const raw = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode;
    if (node.parentElement.closest("code, pre, script, style, noscript, mjx-container, .onlyprint")) continue;
    if (/\\\(|\\\[|\$[^$\s][^$]*\$|\{(prf:ref|eq|numref|term|cite)\}/.test(node.data)) raw.push(brief(node.data));
  }
  const untypeset = [...document.querySelectorAll(".math")].filter((node) => !node.querySelector("mjx-container"));
  const room = document.documentElement;
  const images = [...document.querySelectorAll("img")];
  const printed = [...document.querySelectorAll(".output.stream pre")].filter(visible);
  const named = (img) => /\.(png|svg|jpe?g)$|^_?images\//.test(img.alt) || img.alt.trim().split(/\s+/).length < 2;
  return {
    "raw markup": raw,
    "math not typeset": untypeset.map((node) => brief(node.textContent)),
    "math error": [...document.querySelectorAll("mjx-merror")].map((node) => brief(node.textContent)),
    "sideways scroll": room.scrollWidth > room.clientWidth ? [`${room.scrollWidth} px in ${room.clientWidth} px`] : [],
    "printed text cut off": printed.filter((p) => p.scrollWidth > p.clientWidth + 1).map((p) => brief(p.textContent)),
    "image not loaded": images.filter((img) => !img.complete || !img.naturalWidth).map((img) => img.src),
    "image without words": images.filter(named).map((img) => `${img.src} says ${img.alt}`),
    "headings": [...document.querySelectorAll("h1")].filter(visible).length === 1 ? [] : ["not exactly one h1"],
  };
}
"""


def pages(site: Path) -> list[str]:
    """Every page of the site, below its folder."""
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html") if "_static" not in path.parts)


@dataclass
class Visits:
    """What was found on all pages, by kind."""

    count: int = 0
    found: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, where: str, what: str) -> None:
        self.found.setdefault(kind, []).append(f"{where}: {what}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def origins(site: Path) -> Iterator[dict[str, str]]:
    """The site from disk and from a server on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"file": site.as_uri(), "http": f"http://127.0.0.1:{server.server_port}"}
    server.shutdown()


def open_page(page: Page, address: str) -> None:
    """Open a page and wait until its math is typeset and its images are there."""
    page.goto(address, wait_until="load")
    page.evaluate("() => window.MathJax?.startup?.promise")


def looked_at(site: Path) -> list[str]:
    """The pages to open in a browser: all, but of the source listings, which one template makes, only every tenth."""
    listings = [name for name in pages(site) if name.startswith("_modules/mmc/")]
    return [name for name in pages(site) if name not in set(listings) - set(listings[::10])]


@pytest.fixture(scope="module")
def visits(site: Path, browser: Browser, origins: dict[str, str]) -> Visits:
    """The pages twice: from disk at laptop width in light, from a server at phone width in dark."""
    seen = Visits()
    for kind, width, mode in (("file", 1280, "light"), ("http", 390, "dark")):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=mode)
        page, where, origin = context.new_page(), [""], origins[kind]

        def hear(message: Any, where: list[str] = where) -> None:
            if message.type == "error":
                seen.add("console error", where[0], message.text[:200])

        def ask(request: Any, where: list[str] = where, origin: str = origin) -> None:
            if not request.url.startswith((origin, "data:", "blob:")):
                seen.add("request leaves", where[0], request.url)

        def answer(response: Any, where: list[str] = where) -> None:
            if response.status >= 400:
                seen.add("request failed", where[0], f"{response.status} {response.url}")

        def fail(request: Any, where: list[str] = where) -> None:
            if request.failure != "net::ERR_ABORTED":  # that is the browser, on its way to the next page
                seen.add("request failed", where[0], f"{request.failure} {request.url}")

        page.on("console", hear)
        page.on("pageerror", lambda error, where=where: seen.add("console error", where[0], str(error)[:200]))
        page.on("request", ask)
        page.on("response", answer)
        page.on("requestfailed", fail)
        for name in looked_at(site):
            where[0] = f"{name} ({kind}, {width} px, {mode})"
            seen.count += 1
            if name == "index.html":  # it only leads on to the first page
                page.goto(f"{origin}/{name}")
                page.wait_for_url("**/preface.html")
                continue
            open_page(page, f"{origin}/{name}")
            for what, found in page.evaluate(INSPECT).items():
                for text in found:
                    seen.add(what, where[0], text)
        context.close()
    return seen


@needs_browser
@pytest.mark.parametrize(
    "kind",
    [
        "console error",
        "request failed",
        "request leaves",
        "raw markup",
        "math not typeset",
        "math error",
        "sideways scroll",
        "printed text cut off",
        "image not loaded",
        "image without words",
        "headings",
    ],
)
def test_no_page_shows(visits: Visits, site: Path, kind: str) -> None:
    assert visits.count == 2 * len(looked_at(site)) > 80
    assert not visits.found.get(kind, []), "\n".join(visits.found[kind][:20])


@needs_browser
def test_the_checks_see_a_broken_page(browser: Browser, tmp_path: Path) -> None:
    """The guard's guard: a page with every fault, and each is found."""
    broken = tmp_path / "broken.html"
    broken.write_text(
        '<h1>a</h1><h1>b</h1><p>see $x$ and \\(y\\)</p><span class="math">z</span><mjx-merror>e</mjx-merror>'
        '<img src="missing.png" alt="missing.png"><div style="width: 3000px">wide</div>'
        '<div class="output stream"><pre style="width: 9ch; overflow: auto">a printed sentence</pre></div>'
    )
    page = browser.new_page()
    page.goto(broken.as_uri())
    found = page.evaluate(INSPECT)
    assert all(found.values()), [kind for kind, what in found.items() if not what]
    page.close()


@needs_browser
def test_search_finds_a_theorem_from_disk(site: Path, browser: Browser) -> None:
    chapter = next(page for page in sorted((site / "notebooks").glob("*.html")) if "proof theorem" in page.read_text())
    page = browser.new_page()
    open_page(page, chapter.as_uri())
    title = page.locator(".proof.theorem .admonition-title").first.inner_text()
    word = max(re.findall(r"[A-Za-z]{4,}", title.split("(", 1)[-1]) or ["Theorem"], key=len)
    page.locator(".search-button__button:visible").first.click()
    page.keyboard.type(word)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html*")
    hits = page.locator("#search-results a")
    hits.first.wait_for()
    assert chapter.name in " ".join(link.get_attribute("href") or "" for link in hits.all())
    assert page.locator(".search-button-field:visible").count() == 1, "one search button, not two"
    page.close()


@needs_browser
def test_the_switch_turns_the_lights_off_and_on(site: Path, browser: Browser) -> None:
    page = browser.new_page(color_scheme="light")
    open_page(page, (site / "book" / "preface.html").as_uri())

    def brightness() -> float:
        color = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return sum(map(float, re.findall(r"[\d.]+", color)[:3])) / 3

    seen = {}
    for _ in range(3):
        seen[page.evaluate("() => document.documentElement.dataset.mode")] = brightness()
        page.locator(".theme-switch-button:visible").first.click()
    assert set(seen) == {"auto", "light", "dark"}
    assert seen["dark"] < 60 and seen["light"] > 200
    page.close()


class Tags(HTMLParser):
    """The links, the fetched addresses and the ids of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        elif tag in {"link", "script", "img", "source", "iframe"}:
            self.fetched += [values[key] for key in ("href", "src") if values.get(key)]


@pytest.fixture(scope="module")
def tags(site: Path) -> dict[Path, Tags]:
    return {site / name: Tags((site / name).read_text(encoding="utf-8")) for name in pages(site)}


def test_no_internal_link_is_broken(tags: dict[Path, Tags]) -> None:
    broken = []
    for page, found in tags.items():
        for link in found.links:
            address, anchor = urldefrag(link)
            if urlsplit(link).scheme or link == "#":
                continue
            target = (page.parent / unquote(address)).resolve() if address else page
            if not target.exists():
                broken.append(f"{page.name}: no page {link}")
            elif anchor and target in tags and unquote(anchor) not in tags[target].ids:
                broken.append(f"{page.name}: no anchor {link}")
    assert not broken, "\n".join(broken[:20])


def test_nothing_is_fetched_from_elsewhere(site: Path, tags: dict[Path, Tags]) -> None:
    away = [f"{page.name}: {link}" for page, found in tags.items() for link in found.fetched if urlsplit(link).scheme]
    hosts = re.compile(r"unpkg\.com|jsdelivr|cdnjs|googleapis|gstatic|hypothes\.is")
    away += [f"{page.name}: {host}" for page in tags for host in hosts.findall(page.read_text(encoding="utf-8"))]
    for sheet in (site / "_static").rglob("*.css"):
        away += [
            f"{sheet.name}: {use}" for use in re.findall(r"(?:url\(|@import )['\"]?https?:[^)]*", sheet.read_text())
        ]
    assert not away, "\n".join(sorted(set(away))[:20])


def test_each_chapter_hands_out_its_notebook(site: Path, tags: dict[Path, Tags]) -> None:
    chapters = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert chapters
    for name in chapters:
        page = site / "notebooks" / f"{name}.html"
        [link] = {link for link in tags[page].links if "/_sources/" in link and link.endswith(".ipynb")}
        nbformat.validate(nbformat.read(page.parent / link, as_version=4))


def test_every_module_is_in_the_api_reference(tags: dict[Path, Tags]) -> None:
    ids = {found for page, kept in tags.items() if page.parent.name == "api" for found in kept.ids}
    files = [
        path.relative_to(ROOT).with_suffix("") for path in (ROOT / "mmc").rglob("*.py") if path.name != "__init__.py"
    ]
    missing = [".".join(file.parts) for file in files if "module-" + ".".join(file.parts) not in ids]
    assert files and not missing


def test_no_launch_button_without_an_address(tags: dict[Path, Tags]) -> None:
    settings = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    if settings["repository"]["url"]:
        pytest.skip("the address of the repository is set")
    launch = [
        link for found in tags.values() for link in found.links if re.search("colab|binder|github.com/OWNER", link)
    ]
    assert not launch
