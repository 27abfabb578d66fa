"""Check the built site: dead links, plain names, pages that scroll sideways.

Usage: python docs/check_site.py [folder of the html]
With a headless chromium, pages are opened at the widths of a desktop and a
telephone, too.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

WIDTHS = (1300, 390)
#: Names in the guide that may be plain: of objects that are not documented here.
PLAIN = {"ValueError", "TypeError"}
#: Pages outside of the guide whose names must be links.
OWN = ("getting_started", "index", "install", "mathematics", "migration")


class Page(HTMLParser):
    """Links and anchors of a page, and code that refers to an object without a link."""

    def __init__(self, path):
        super().__init__()
        self.links, self.anchors, self.plain = [], set(), []
        self.depth = self.in_link = 0
        self.reading = False
        self.feed(path.read_text())

    def handle_starttag(self, tag, attrs):
        """Note an anchor or a link."""
        attrs = dict(attrs)
        self.anchors.add(attrs.get("id"))
        if tag == "a":
            self.in_link += 1
            self.links.append(attrs.get("href", ""))
        elif tag in ("img", "script"):
            self.links.append(attrs.get("src") or "")
        elif (
            tag == "code" and "xref" in (attrs.get("class") or "") and not self.in_link
        ):
            self.reading = True

    def handle_endtag(self, tag):
        """Leave a link or a name."""
        if tag == "a":
            self.in_link -= 1
        if tag == "code":
            self.reading = False

    def handle_data(self, data):
        """Note a plain name."""
        if self.reading:
            self.plain.append(data)


def dead_links(root, pages):
    """Return the links inside the site that lead nowhere, by page."""
    found = []
    for path, page in pages.items():
        for link in page.links:
            if not link or re.match(r"(\w+:|//)", link):
                continue
            file, _, anchor = unquote(link).partition("#")
            target = (path.parent / file.partition("?")[0]).resolve() if file else path
            if not target.exists():
                found.append(f"{path.relative_to(root)}: {link}")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                found.append(f"{path.relative_to(root)}: {link}")
    return found


def plain_names(root, pages):
    """Return the names in the guide that are no links, by page."""
    return [
        f"{path.relative_to(root)}: {name}"
        for path, page in pages.items()
        if path.parent.name == "user_guide" or path.stem in OWN
        for name in page.plain
        if name not in PLAIN
    ]


def looked_at(root, paths, browser):
    """Return what a browser finds: wide pages, errors of scripts, bare formulas."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for width in WIDTHS:
            frame = Path(folder) / "frame.html"
            for path in paths:
                # A frame of the wanted width: headless windows are at least 500 wide.
                frame.write_text(
                    f"<iframe src='file://{path}' width={width} height=900></iframe>"
                    "<pre id=out></pre><script>onload = () => setTimeout(() => {"
                    "const d = document.querySelector('iframe').contentDocument;"
                    "document.querySelector('#out').textContent = JSON.stringify({"
                    "wide: d.documentElement.scrollWidth,"
                    "bare: d.querySelectorAll('.math').length -"
                    "d.querySelectorAll('.math mjx-container').length"
                    "}) }, 3000)</script>"
                )
                arguments = ["--headless", "--no-sandbox", "--disable-gpu"]
                arguments += [
                    "--allow-file-access-from-files",
                    "--disable-web-security",
                ]
                arguments += ["--enable-logging=stderr", "--virtual-time-budget=8000"]
                arguments += [f"--user-data-dir={folder}/profile", "--dump-dom"]
                ran = subprocess.run(
                    [browser, *arguments, f"file://{frame}"],
                    capture_output=True,
                    text=True,
                    timeout=120,
                )
                name = f"{path.relative_to(root)} at {width}"
                answer = re.search(r"<pre id=\"out\">(.*?)</pre>", ran.stdout)
                facts = json.loads(answer[1]) if answer and answer[1] else {}
                if facts.get("wide", 0) > width + 1 or not facts:
                    found.append(f"{name}: scrolls sideways, {facts}")
                if facts.get("bare"):
                    found.append(f"{name}: {facts['bare']} formulas are not drawn")
                for line in ran.stderr.splitlines():
                    if "CONSOLE" in line and re.search(r"rror", line):
                        found.append(f"{name}: {line[line.index('CONSOLE') :]}")
    return found


def main(root):
    """Print what is wrong; return how much."""
    root = Path(root).resolve()
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    pages = {path: page for path, page in pages.items() if "_static" not in path.parts}
    found = dead_links(root, pages) + plain_names(root, pages)
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser:
        paths = [
            path for path in pages if path.parent.name not in ("generated", "gallery")
        ]
        found += looked_at(root, paths, browser)
    print(f"{len(pages)} pages", "looked at" if browser else "no browser", sep=", ")
    print(*found, f"{len(found)} faults", sep="\n")
    return len(found)


if __name__ == "__main__":
    folder = Path(__file__).parent / "_build" / "html"
    sys.exit(min(1, main(sys.argv[1] if len(sys.argv) > 1 else folder)))
