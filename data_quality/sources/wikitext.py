"""Wiki markup to plain text: what a reader of the article sees of its prose, in one linear pass.

Templates, tables, references, files and categories go; links leave their label; formulas leave their TeX. (What
mwparserfromhell 0.7.2 does not give: 20,000 open templates occupied it for minutes, and it keeps tables and captions.)
"""

import html
import re
from dataclasses import dataclass

MAX_DEPTH = 64
"""Templates and links nested more deeply are taken for text; bounds the work."""

_ALWAYS = frozenset({"file", "image", "media", "category"})
_DROPPED = (
    "ref", "references", "gallery", "score", "timeline", "style", "script", "templatestyles", "imagemap", "graph",
    "hiero", "mapframe", "maplink", "indicator", "section", "categorytree", "inputbox",
)  # fmt: skip
_KEPT = ("nowiki", "pre", "syntaxhighlight", "source", "math", "chem")
_LITERAL = ("syntaxhighlight", "source")  # of these, entities are text
_ELEMENT = re.compile(rf"<({'|'.join(_DROPPED + _KEPT)})\b([^<>]{{0,2000}})>", re.I)
# Every branch begins with a literal, which lets the engine leap; table marks stand at the beginning of a line only.
_TOKEN = re.compile(r"\{\{|\}\}|\[\[|\]\]|\n[:* ]{0,8}\{\||\n[ \t]{0,8}\|\}(?!\})")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,2000}>")
_BREAK = re.compile(r"<(?:br|hr|p|div|li)\b[^<>]{0,2000}>|</(?:p|div|li|blockquote)>", re.I)
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:|//)[^\s\[\]]{1,2000}[ \t]*([^\[\]\n]{0,2000})\]")
_QUOTES = re.compile(r"'{2,5}")
_MAGIC_WORD = re.compile(r"__[A-Z]{3,30}__")
_CONVERSION = re.compile(r"-\{([^{}]{0,2000})\}-")
_HEADING = re.compile(r"(={1,6})\s*(.+?)\s*\1\s*")
_EMPTY_BRACKETS = re.compile(r"[ \t]?(?:\([\s,;:.]{0,20}\)|（[\s，、；：,;]{0,20}）|\[[\s,;]{0,20}\])")
_AFTER_BRACKET = re.compile(r"([(（])[\s,;，；、]{1,20}")
_INTERLANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,12}){0,2}|simple")
# Templates that mark up the text they hold: its place among their parameters.
_TEXT_TEMPLATES = {
    "lang": 2,
    "transl": 2,
    "langx": 2,
    "nowrap": 1,
    "nobr": 1,
    "small": 1,
    "big": 1,
    "nihongo": 1,
    "abbr": 1,
}
_UNIT_TEMPLATES = frozenset({"convert", "cvt"})


@dataclass(frozen=True, slots=True)
class LinkPrefixes:
    """What before the colon of a link target makes it no text: names of file and category namespaces, lower case."""

    names: frozenset[str]

    @classmethod
    def of(cls, names: set[str]) -> "LinkPrefixes":
        """The names a wiki uses, besides those that every wiki knows."""
        return cls(_ALWAYS | names)


ENGLISH = LinkPrefixes(_ALWAYS)


def plain_text(wikitext: str, prefixes: LinkPrefixes = ENGLISH) -> str:
    """The prose of an article: paragraphs, headings that have text under them, list items after `- `."""
    text = _without_comments(wikitext)
    text = _without_elements(text)
    text = _without_braces(text, prefixes)
    text = _BREAK.sub("\n", text)
    text = _TAG.sub("", text)
    text = _EXTERNAL.sub(r"\1", text)
    text = _CONVERSION.sub(lambda match: _converted(match.group(1)), text)
    text = _QUOTES.sub("", text)
    text = _MAGIC_WORD.sub("", text)
    text = _AFTER_BRACKET.sub(r"\1", _EMPTY_BRACKETS.sub("", text))
    return html.unescape(_lines(text)).replace("\xa0", " ")


def _without_comments(text: str) -> str:
    parts: list[str] = []
    at = 0
    while (start := text.find("<!--", at)) >= 0:
        parts.append(text[at:start])
        end = text.find("-->", start + 4)
        if end < 0:
            return "".join(parts)  # as MediaWiki does
        at = end + 3
    parts.append(text[at:])
    return "".join(parts)


def _without_elements(text: str) -> str:
    """References and the like removed; what is verbatim (`<nowiki>`, `<math>`, ...) protected from the rest."""
    lower = text.lower()
    if len(lower) != len(text):  # a letter whose lower case is longer; positions would not agree
        lower = text
    unclosed: set[str] = set()
    parts: list[str] = []
    at = 0
    while (match := _ELEMENT.search(text, at)) is not None:
        parts.append(text[at : match.start()])
        name, at = match.group(1).lower(), match.end()
        if match.group(2).endswith("/") or name in unclosed:
            continue
        end = lower.find(f"</{name}", at)
        if end < 0:
            unclosed.add(name)
            continue
        if name in _KEPT:
            content = text[at:end] if name in _LITERAL else html.unescape(text[at:end])
            content = content.strip("\n") if name != "math" else f"${' '.join(content.split())}$"
            # One entity for each character that is markup; they are resolved at the very end.
            parts.append(re.sub(r"[\[\]{}|'=<>*#:;&_()（）-]", lambda mark: f"&#{ord(mark.group())};", content))
        at = text.find(">", end) + 1 or len(text)
    parts.append(text[at:])
    return "".join(parts)


def _without_braces(text: str, prefixes: LinkPrefixes) -> str:
    """Templates, tables and links resolved. An opener that nothing closes goes alone; what is in it stays."""
    out: list[str] = []
    open_frames: list[tuple[str, int]] = []
    at = 0
    text = "\n" + text
    for match in _TOKEN.finditer(text):
        out.append(text[at : match.start()])
        at = match.end()
        token = match.group()[-2:]
        if token in ("{{", "{|", "[["):
            if len(open_frames) < MAX_DEPTH:
                open_frames.append((token, len(out)))
            continue
        opener = {"}}": "{{", "|}": "{|", "]]": "[["}[token]
        depth = next((i for i in range(len(open_frames) - 1, -1, -1) if open_frames[i][0] == opener), None)
        # A link closes only what is directly around it; a table or template also what was left open inside it.
        if depth is None or (token == "]]" and depth != len(open_frames) - 1):
            continue
        start = open_frames[depth][1]
        del open_frames[depth:]
        inner = "".join(out[start:])
        del out[start:]
        if token == "]]":
            out.append(_link(inner, prefixes))
        elif token == "}}":
            out.append(_template(inner))
    out.append(text[at:])
    return "".join(out)


def _link(inner: str, prefixes: LinkPrefixes) -> str:
    target, bar, label = inner.partition("|")
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip().lower()
    if colon and (prefix in prefixes.names or (_INTERLANGUAGE.fullmatch(prefix) and not bar)):
        return ""
    return label if bar and label else target.strip().removeprefix(":").partition("#")[0] or target.strip()


def _template(inner: str) -> str:
    if len(inner) > 2000:
        return ""
    name, *parameters = inner.split("|")
    name = name.strip().lower()
    values = [value.strip() for value in parameters if "=" not in value]
    place = _TEXT_TEMPLATES.get(name, 1 if name.startswith("lang-") else 0)
    if place:
        return values[place - 1] if len(values) >= place else ""
    if name in _UNIT_TEMPLATES and len(values) >= 2:
        return " ".join(values[:2])
    return ""


def _converted(inner: str) -> str:
    """One variant of Chinese `-{zh-hans:...;zh-hant:...}-`: simplified if named, else the first."""
    variants = [part.partition(":") for part in inner.rpartition("|")[2].split(";")]
    if not any(colon for _, colon, _ in variants):
        return inner.rpartition("|")[2]
    named = {name.strip(): value.strip() for name, colon, value in variants if colon}
    return next((named[name] for name in ("zh-hans", "zh-cn", "zh") if name in named), next(iter(named.values()), ""))


def _lines(text: str) -> str:
    """List marks and indents made plain, headings without text under them left out, blank lines single."""
    kept: list[str] = []
    headings: list[tuple[int, str]] = []  # not yet known to have text
    for line in text.split("\n"):
        line = line.strip()
        heading = _HEADING.fullmatch(line) if line.startswith("=") and len(line) < 500 else None
        if heading is not None:
            level = len(heading.group(1))
            headings = [h for h in headings if h[0] < level] + [(level, heading.group(2))]
            continue
        if line[:1] in ("*", "#", ":", ";"):
            body = line.lstrip("*#:; ")
            line = f"- {body}" if body and line[0] in "*#" else body
        elif line.startswith(("|", "!")) or (line and not line.strip("-")):
            continue  # a row of a table that was never opened or closed, a rule
        if line:
            for _, title in headings:
                kept += ["", title, ""]
            headings = []
        kept.append(" ".join(line.split()) if "  " in line else line)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(kept)).strip()
