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
#: A frame of the wanted width, since headless windows are 500 wide or more; it opens
#: one page after the other, and waits for the formulas.
FRAME = """
<iframe width={width} height=900></iframe><pre id="out"></pre><script>
const frame = document.querySelector("iframe"), facts = [];
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
(async () => {{
  for (const address of {addresses}) {{
    const loaded = new Promise((done) => (frame.onload = done));
    frame.src = address;
    await loaded;
    const page = frame.contentDocument;
    const count = (selector) => page.querySelectorAll(selector).length;
    let bare = 0;
    for (let i = 0; i < 40; i++) {{
      bare = count(".math") - count(".math > mjx-container");
      if (bare <= 0) break;
      await sleep(200);
    }}
    await sleep(200);
    facts.push([page.documentElement.scrollWidth, Math.max(bare, 0)]);
  }}
  document.querySelector("#out").textContent = JSON.stringify(facts);
}})();
</script>"""


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
    for width in WIDTHS:
        with tempfile.TemporaryDirectory() as folder:
            frame = Path(folder) / "frame.html"
            addresses = json.dumps([path.as_uri() for path in paths])
            frame.write_text(FRAME.format(width=width, addresses=addresses))
            # Scripts may read the frame, which is a file, too.
            arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
            arguments += ["--allow-file-access-from-files", "--disable-web-security"]
            arguments += ["--enable-logging=stderr", "--virtual-time-budget=600000"]
            ran = subprocess.run(
                [browser, *arguments, f"--user-data-dir={folder}/profile", str(frame)],
                capture_output=True,
                text=True,
                timeout=600,
            )
        answer = re.search(r'<pre id="out">(\[.*?\])</pre>', ran.stdout)
        facts = json.loads(answer[1]) if answer else []
        if len(facts) < len(paths):
            found.append(f"only {len(facts)} of {len(paths)} pages opened at {width}")
        for path, (wide, bare) in zip(paths, facts, strict=False):
            name = f"{path.relative_to(root)} at {width}"
            if wide > width + 1:
                found.append(f"{name}: scrolls sideways, {wide} wide")
            if bare:
                found.append(f"{name}: {bare} formulas are not drawn")
        for line in ran.stderr.splitlines():
            if "CONSOLE" in line and "rror" in line:
                found.append(line[line.index("CONSOLE") :])
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
