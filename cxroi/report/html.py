"""HTML pages that need nothing beside themselves: one for each notebook, one for the report.

Text is escaped, HTML from outputs is reduced to harmless tags, pictures and fonts are embedded, and links lead to
pages of the run only.
"""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

from cxroi.language import Code, Language
from cxroi.report.model import Figure, Report
from cxroi.report.notebook import Cell, Notebook, joined, tags
from cxroi.report.stopped import Stop

IMAGES = ("image/svg+xml", "image/png", "image/jpeg")
TRACEBACK_LINES = 20
_SCROLL = '<div class="scroll" tabindex="0">'
MINUS = re.compile(r"(?<![\w.,-])-(?=[\d₫$€£¥])")
_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PAGE = re.compile(r"(#[\w-]+|[\w-]+\.(html|ipynb|csv|json|pdf|xlsx|pptx)(#[\w-]+)?)")
_TABLE = ("table", "thead", "tbody", "tfoot", "tr", "th", "td", "caption", "colgroup", "col")
_BLOCK = ("p", "div", "ul", "ol", "li", "dl", "dt", "dd", "pre", "blockquote", "figure", "figcaption", "hr")
_PHRASE = ("span", "b", "i", "em", "strong", "sub", "sup", "small", "code", "br")
_KEPT = frozenset({*_TABLE, *_BLOCK, *_PHRASE, "h2", "h3", "h4", "h5", "h6"})
_VOID = frozenset({"br", "hr", "col"})
_MUTED = frozenset({"script", "style", "iframe", "object", "noscript", "template", "svg", "math", "title", "select"})
_ATTRIBUTES = {
    "class": re.compile(r"[\w -]+"),
    "colspan": re.compile(r"\d{1,3}"),
    "rowspan": re.compile(r"\d{1,5}"),
    "scope": re.compile(r"(row|col)(group)?"),
}


@dataclass(frozen=True)
class Heading:
    """A heading of a page: its level (1–6), anchor and words."""

    level: int
    anchor: str
    text: str


@dataclass(frozen=True)
class Block:
    """A piece of a page: finished, safe HTML, or text that the template escapes."""

    kind: Literal["html", "code", "text", "error"]
    content: Markup | str
    details: str = ""


def render_notebook(
    notebook: Notebook,
    *,
    title: str,
    lang: Code,
    failure: str = "",
    code: bool = True,
    back: str = "",
    stop: Stop | None = None,
) -> str:
    """Page of an executed notebook.

    Parameters
    ----------
    notebook
        Executed notebook.
    title
        Title of the page where the notebook has no heading of level 1.
    lang
        Language of the page's own words.
    failure
        Why the notebook stopped, shown at the top; empty where it ran through.
    code
        Whether code is kept, behind a closed fold, or absent.
    back
        File name of the page that this one belongs to; empty for none.
    stop
        Where and why it stopped and what to do next, in place of the bare ``failure``.
    """
    language = Language(lang)
    headings: list[Heading] = []
    blocks: list[Block] = []
    for cell in notebook["cells"]:
        if "remove-cell" not in tags(cell):
            blocks += _cell_blocks(cell, headings, language, code)
    first = next((heading.text for heading in headings if heading.level == 1), title)
    contents = [heading for heading in headings if heading.level in (2, 3)]
    return _template("notebook.html.j2").render(
        title=first,
        language=language,
        styles=styles(),
        contents=contents,
        blocks=blocks,
        failure=failure,
        back=back,
        stop=stop,
    )


def without_links(page: str, absent: Collection[str]) -> str:
    """The page with links to pages that are not there as plain words.

    Examples
    --------
    >>> without_links('see <a href="06_case.html#costs">06_case</a>', ["06_case"])
    'see 06_case'
    """
    names = "|".join(map(re.escape, absent))
    return re.sub(rf'<a href="(?:{names})\.html(?:#[\w-]+)?">(.*?)</a>', r"\1", page) if names else page


def render_report(report: Report) -> str:
    """Page of the executive report; only where a reader can move assumptions it holds a script, named by its hash."""
    contents = [Heading(2, section.id, section.title) for section in report.sections]
    return _template("report.html.j2").render(
        title=report.title,
        language=Language(report.lang),
        styles=styles(),
        contents=contents,
        report=report,
        script=what_if_script() if report.what_if else "",
    )


def render_page(template: str, *, title: str, language: Language, **parts: Any) -> str:
    """Page of a template of its own, in the dress of all pages."""
    return _template(template).render(title=title, language=language, styles=styles(), contents=[], **parts)


@cache
def what_if_script() -> Markup:
    """The script behind a page's what-if part, as it stands in the page."""
    return Markup(files("cxroi.report").joinpath("templates", "what_if.js").read_text(encoding="utf-8"))


@cache
def styles() -> Markup:
    """Style sheet of every page, with both fonts embedded."""
    return Markup(_template("style.css.j2").render(fonts={"400": _font("Regular"), "700": _font("Bold")}))


def safe_html(text: str) -> Markup:
    """HTML reduced to tables, lists and phrases: no script, style, link, picture or foreign attribute.

    Examples
    --------
    >>> str(safe_html("<p onclick='x()'>a<script>x()</script> &lt;b</p>"))
    '<p>a &lt;b</p>'
    """
    cleaner = _Cleaner()
    cleaner.feed(text)
    cleaner.close()
    return Markup(cleaner.result())


def safe_markdown(text: str, headings: list[Heading]) -> Markup:
    """HTML of a Markdown text; its headings get anchors and are appended to ``headings``."""
    tokens = _markdown().parse(text)
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type == "heading_open" and following is not None:
            words = _words(following.children or [])
            anchor = _anchor(words, headings)
            token.attrSet("id", anchor)
            headings.append(Heading(int(token.tag[1]), anchor, words))
        if token.children:
            token.children = _tame(token.children)
    html = _markdown().renderer.render(tokens, _markdown().options, {})
    return Markup(
        html.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    )


def data_uri(media: str, content: bytes) -> str:
    """Address of an embedded file."""
    return f"data:{media};base64,{base64.b64encode(content).decode('ascii')}"


def _cell_blocks(cell: Cell, headings: list[Heading], language: Language, code: bool) -> list[Block]:
    source = joined(cell["source"])
    if cell["cell_type"] == "markdown":
        return [Block("html", safe_markdown(source, headings))]
    if cell["cell_type"] != "code":
        return []
    shown = code and source.strip() and "remove-input" not in tags(cell)
    blocks = [Block("code", source)] if shown else []
    if "remove-output" in tags(cell):
        return blocks
    alts = _alts(cell.get("metadata", {}))
    for output in cell.get("outputs", []):
        blocks += _output_blocks(output, alts, headings, language)
    return blocks


def _output_blocks(output: dict[str, Any], alts: list[str], headings: list[Heading], language: Language) -> list[Block]:
    if output["output_type"] == "error":
        lines = _COLOUR.sub("", "\n".join(output["traceback"])).splitlines()
        return [Block("error", f"{output['ename']}: {output['evalue']}", "\n".join(lines[-TRACEBACK_LINES:]))]
    data = output.get("data", {})
    if "text/html" in data:
        return [Block("html", safe_html(joined(data["text/html"])))]
    for media in IMAGES:
        if media in data:
            own = _alts(output.get("metadata", {})) or _alts(output.get("metadata", {}).get(media, {}))
            return [Block("html", _picture(media, joined(data[media]), own or alts, language))]
    if "text/markdown" in data:
        return [Block("html", safe_markdown(joined(data["text/markdown"]), headings))]
    plain = data.get("text/latex", data.get("text/plain"))
    return [] if plain is None else [Block("text", joined(plain))]


def _alts(metadata: dict[str, Any]) -> list[str]:
    alt = metadata.get("alt", [])
    return [alt] if isinstance(alt, str) else list(alt)


def _picture(media: str, content: str, alts: list[str], language: Language) -> Markup:
    image = content.encode() if media == "image/svg+xml" else base64.b64decode(content)
    alt = alts.pop(0) if alts else language.text("page.picture")
    return Markup('<figure><img src="{}" alt="{}"></figure>').format(data_uri(media, image), alt)


def _anchor(words: str, headings: Sequence[Heading]) -> str:
    plain = unicodedata.normalize("NFKD", words.replace("đ", "d").replace("Đ", "D")).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "part"
    taken = {heading.anchor for heading in headings}
    number = 2
    anchor = slug
    while anchor in taken:
        anchor, number = f"{slug}-{number}", number + 1
    return anchor


def _words(tokens: Iterable[Token]) -> str:
    return "".join(token.content for token in tokens if token.type in ("text", "code_inline"))


def _tame(tokens: list[Token]) -> list[Token]:
    """Tokens of a line without foreign pictures, and with links to pages of the run only; other addresses as text."""
    tame: list[Token] = []
    pending: list[str] = []  # of each open link: the address to write after it, or nothing
    for token in tokens:
        if token.type == "image":
            tame.append(_text(token.content))
        elif token.type == "link_open":
            address = str(token.attrGet("href") or "")
            is_page = _PAGE.fullmatch(address) is not None
            pending.append("" if is_page else address)
            if is_page:
                token.attrs = {"href": re.sub(r"\.ipynb(?=#|$)", ".html", address)}
                tame.append(token)
        elif token.type == "link_close":
            address = pending.pop()
            tame.append(_text(f" ({address})") if address else token)
        else:
            tame.append(token)
    return tame


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _font(weight: str) -> str:
    return data_uri("font/woff2", files("cxroi").joinpath("fonts", f"NotoSans-{weight}.woff2").read_bytes())


def _script_hash(script: str) -> str:
    """Source of a script for a content security policy: the hash of exactly this text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode('ascii')}'"


def _inert(data: str) -> Markup:
    """JSON that can stand in a script element: nothing in it ends the element or a line of it."""
    signs = ("<", ">", "&", "\u2028", "\u2029")
    for sign in signs:
        data = data.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(data)


def _figure_uri(figure: Figure) -> str:
    return data_uri(figure.media, figure.image)


@cache
def _markdown() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("cxroi.report"), autoescape=True, undefined=StrictUndefined, finalize=_unbroken
    )
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters |= {"figure_uri": _figure_uri, "script_hash": _script_hash, "inert": _inert}
    return environment


def _unbroken(value: object) -> object:
    """Text in which a minus never parts from its number at the end of a line."""
    return MINUS.sub("\u2011", value) if type(value) is str else value


def _template(name: str) -> Template:
    return _environment().get_template(name)


class _Cleaner(HTMLParser):
    """Writes the allowed tags that it hears, and closes what was left open."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._open: list[str] = []
        self._muted: list[str] = []

    def result(self) -> str:
        return "".join(self._parts) + "".join(self._closing(tag) for tag in reversed(self._open))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _MUTED:
            self._muted.append(tag)
        elif not self._muted and tag in _KEPT:
            kept = [
                f' {name}="{escape(value)}"'
                for name, value in attrs
                if value and name in _ATTRIBUTES and _ATTRIBUTES[name].fullmatch(value)
            ]
            box = _SCROLL if tag == "table" else ""
            self._parts.append(f"{box}<{tag}{''.join(kept)}>")
            if tag not in _VOID:
                self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _MUTED:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if self._muted:
            if tag == self._muted[-1]:
                self._muted.pop()
        elif tag in self._open:
            while (last := self._open.pop()) != tag:
                self._parts.append(self._closing(last))
            self._parts.append(self._closing(tag))

    def handle_data(self, data: str) -> None:
        if not self._muted:
            self._parts.append(escape(data, quote=False))

    @staticmethod
    def _closing(tag: str) -> str:
        return "</table></div>" if tag == "table" else f"</{tag}>"
