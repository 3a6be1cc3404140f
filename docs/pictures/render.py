"""A Markdown file as GitHub shows it, as a picture.

`python docs/pictures/render.py IN.md OUT.png [--comment] [--width 390] [--scale 2]`

GitHub's own style sheet and Mermaid come as npm packages into build/pictures, once; Chromium takes the picture. Needed:
npm, chromium and a Chinese font (`apt-get install chromium fonts-noto-cjk`). Without OUT.png the HTML page is written.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"github-markdown-css": "5.9.0", "mermaid": "11.12.0"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
COMMENT = """<div class="head"><b>github-actions</b><span class="bot">bot</span> commented</div>"""
PAGE = """<!doctype html><html lang="{language}"><head><meta charset="utf-8"><base href="{base}">
<link rel="stylesheet" href="{style}"><style>
  html, body {{ margin: 0; background: var(--bgColor-default, #fff); }}
  .frame {{ width: {width}px; box-sizing: border-box; padding: {padding}; }}
  .markdown-body {{ box-sizing: border-box; }}
  .markdown-body .alert {{ padding: 0 1em; border-left: .25em solid #0969da; margin-bottom: 1rem; }}
  .box {{ border: 1px solid #d1d9e0; border-radius: 6px; overflow: hidden; }}
  .box > .head {{ font: 14px -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; color: #59636e;
                  background: #f6f8fa; border-bottom: 1px solid #d1d9e0; padding: 8px 16px; }}
  .box > .head b {{ color: #1f2328; }} .box > .markdown-body {{ padding: 16px; }}
  .bot {{ border: 1px solid #d1d9e0; border-radius: 2em; padding: 0 7px; font-size: 12px; margin: 0 .4em; }}
</style></head><body><div class="frame"><div class="{box}">{head}<article class="markdown-body">
{body}
</article></div></div>{script}<script>
  const done = () => {{ document.documentElement.dataset.height =
    Math.ceil(document.querySelector('.frame').getBoundingClientRect().height); }};
  window.addEventListener('load', async () => {{
    if (window.mermaid) {{
      mermaid.initialize({{startOnLoad: false}});
      await mermaid.run({{querySelector: '.mermaid'}});
    }}
    done();
  }});
</script></body></html>
"""


def body(text: str) -> str:
    """The HTML of GitHub's Markdown: tables, strikethrough, raw HTML, task lists, alerts, heading anchors, Mermaid."""
    parser = MarkdownIt("commonmark", {"html": True, "linkify": False}).enable(["table", "strikethrough"])
    made = parser.render(text)
    made = re.sub(r'<pre><code class="language-mermaid">(.*?)</code></pre>', r'<pre class="mermaid">\1</pre>', made,
                  flags=re.DOTALL)  # fmt: skip
    made = re.sub(r"<li>(<p>)?\[([ x])\]", _box, made)
    made = re.sub(r"<blockquote>\s*<p>\[!(NOTE|TIP|IMPORTANT|WARNING|CAUTION)\]", _alert, made)
    return re.sub(r"<h([1-6])>(.*?)</h\1>", _heading, made)


def _box(found: re.Match[str]) -> str:
    ticked = " checked" if found[2] == "x" else ""
    return f'<li class="task-list-item">{found[1] or ""}<input type="checkbox" disabled{ticked}>'


def _alert(found: re.Match[str]) -> str:
    return f'<blockquote class="alert"><p><b>{found[1].capitalize()}</b></p><p>'


def _heading(found: re.Match[str]) -> str:
    plain = html.unescape(re.sub(r"<[^>]+>", "", found[2]))
    anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
    return f'<h{found[1]} id="{anchor}">{found[2]}</h{found[1]}>'


def packages() -> Path:
    """The folder of the npm packages, installed where they are missing."""
    folder = ROOT / "build" / "pictures"
    there = [folder / "node_modules" / name / "package.json" for name in PACKAGES]
    pinned = [f"{name}@{version}" for name, version in PACKAGES.items()]
    if [json.loads(file.read_text())["version"] if file.exists() else "" for file in there] != [*PACKAGES.values()]:
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["npm", "install", "--silent", "--prefix", folder, *pinned], check=True)
    return folder / "node_modules"


def page(source: Path, width: int, comment: bool, dark: bool) -> str:
    """The whole HTML page of `source`; links and pictures are taken from the folder it lies in."""
    text = source.read_text(encoding="utf-8")
    style = f"github-markdown-css/github-markdown-{'dark' if dark else 'light'}.css"
    mermaid = f'<script src="{(packages() / "mermaid/dist/mermaid.min.js").as_uri()}"></script>'
    return PAGE.format(
        language="zh-Hant-TW" if re.search(r"[\u4e00-\u9fff]", text) else "en",
        base=source.resolve().parent.as_uri() + "/", style=(packages() / style).as_uri(), width=width,
        padding="16px" if comment or width < 768 else "32px", box="box" if comment else "plain",
        head=COMMENT if comment else "", body=body(text), script=mermaid if "```mermaid" in text else "",
    )  # fmt: skip


def picture(made: str, target: Path, width: int, scale: float) -> None:
    """Ask Chromium how high the page is, then for a picture of exactly that size."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        sys.exit("no Chromium here. Fix: apt-get install chromium fonts-noto-cjk")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "page.html"
        file.write_text(made, encoding="utf-8")
        base = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--hide-scrollbars", "--allow-file-access-from-files", f"--user-data-dir={folder}/profile",
                "--virtual-time-budget=20000", f"--force-device-scale-factor={scale}"]  # fmt: skip
        dumped = subprocess.run([*base, f"--window-size={width},1000", "--dump-dom", file.as_uri()],
                                capture_output=True, text=True, check=True).stdout  # fmt: skip
        height = re.search(r'data-height="(\d+)"', dumped)
        if height is None:
            sys.exit(f"Chromium did not finish the page of {target}")
        shot = Path(folder) / "shot.png"
        subprocess.run([*base, f"--window-size={width},{height[1]}", f"--screenshot={shot}", file.as_uri()],
                       capture_output=True, check=True)  # fmt: skip
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(shot, target)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="IN.md")
    parser.add_argument("target", type=Path, nargs="?", metavar="OUT.png")
    parser.add_argument("--width", type=int, default=1012, help="pixels: 1012 is GitHub's column, 390 a phone")
    parser.add_argument("--scale", type=float, default=1, help="2 for a sharp picture in a README")
    parser.add_argument("--comment", action="store_true", help="in the frame of a pull request's comment")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    made = page(options.source, options.width, options.comment, options.dark)
    if options.target:
        picture(made, options.target, options.width, options.scale)
    else:
        sys.stdout.write(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
