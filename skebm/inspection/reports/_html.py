"""A page of HTML in one file: no address outside of it is asked for."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import Any

STYLE = """
body { font-family: sans-serif; color: #222; max-width: 60em; margin: 2em auto;
       padding: 0 1em; line-height: 1.45; }
h1, h2 { font-weight: 600; } h2 { margin-top: 2em; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; margin: 1em 0; display: block; overflow-x: auto; }
th, td { padding: 0.25em 0.8em; border-bottom: 1px solid #e4e4e4; text-align: left; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
img { max-width: 100%; height: auto; }
.found { background: #fff5e6; border-left: 4px solid #e08a00; padding: 0.5em 1em; }
"""


def page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page of parts that are HTML."""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            "</body>",
            "</html>",
            "",
        ]
    )


def heading(text: str) -> str:
    """Return a heading of a section."""
    return f"<h2>{escape(text)}</h2>"


def paragraph(text: str) -> str:
    """Return a paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def notes(sentences: Sequence[str]) -> str:
    """Return a list of sentences that a reader should see first; "" of none."""
    if not sentences:
        return ""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
    return f'<div class="found"><ul>{items}</ul></div>'


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return a table; numbers are rounded, what is None is a dash."""
    lines = ["<table>", "<thead><tr>"]
    lines += [f"<th>{escape(name)}</th>" for name in head]
    lines.append("</tr></thead><tbody>")
    for row in rows:
        lines.append(f"<tr>{''.join(map(cell, row))}</tr>")
    lines.append("</tbody></table>")
    return "\n".join(lines)


def cell(value: Any) -> str:
    """Return a cell of a table."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    kind = ' class="number"' if is_number else ""
    return f"<td{kind}>{escape(text_of(value))}</td>"


def text_of(value: Any) -> str:
    """Return a value in words or in four digits; a dash for None."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def picture(figure: Any, text: str) -> str:
    """Return a figure of matplotlib as an image inside the page.

    Parameters
    ----------
    figure : Figure
        The figure.
    text : str
        What it shows, for readers that see no images.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f'<p><img alt="{escape(text)}" src="data:image/png;base64,{data}"></p>'
