"""HTML out of texts: entities become characters, elements go, what only looks like HTML stays.

A scanner of our own and not ``html.parser``: that one takes ``<y>`` in ``x<y>z`` and ``<b and c>`` for elements, loses
all behind an unclosed ``<script>``, and patch releases of Python changed how it reads broken markup, so that equal
recipes would give unequal datasets. Names, attributes and raw-text elements are as in the HTML
Standard, section 13.2; entities are the standard library's table.
"""

from __future__ import annotations

import html
import re

# One string each: eighty quoted words would say no more.
_INLINE = (
    "a|abbr|acronym|b|bdi|bdo|big|blink|cite|code|data|del|dfn|em|font|i|ins|kbd|label|mark|nobr|q|rb|rp|rt|rtc|ruby|"
    "s|samp|small|span|strike|strong|sub|sup|time|tt|u|var|wbr|o:p"
)
_BLOCK = (
    "address|applet|area|article|aside|audio|base|basefont|bgsound|blockquote|body|br|button|canvas|caption|center|col|"
    "colgroup|datalist|dd|details|dialog|dir|div|dl|dt|embed|fieldset|figcaption|figure|footer|form|frame|frameset|h1|"
    "h2|h3|h4|h5|h6|head|header|hgroup|hr|html|iframe|img|input|legend|li|link|listing|main|map|marquee|menu|meta|"
    "meter|nav|noframes|noscript|object|ol|optgroup|option|output|p|param|picture|pre|progress|script|section|select|"
    "slot|source|style|summary|svg|table|tbody|td|template|textarea|tfoot|th|thead|title|tr|track|ul|video|xmp"
)
_FLAGS = (
    "allowfullscreen|async|autofocus|autoplay|checked|compact|controls|default|defer|disabled|formnovalidate|hidden|"
    "inert|ismap|itemscope|loop|multiple|muted|nohref|noresize|noshade|novalidate|nowrap|open|readonly|required|"
    "reversed|selected"
)
_INSIDE_A_LINE = frozenset(_INLINE.split("|"))
#: name="value", name='value', name=value, or a flag alone. `<b and c>` is thus no element.
_ATTRIBUTE = r"""[^\s"'<>/=]{1,100}\s{0,9}=\s{0,9}(?>"[^"]*"|'[^']*'|[^\s"'=<>`]+)|(?:""" + _FLAGS + r")(?![\w=])"
_TAG = re.compile(rf"<(/?)({_INLINE}|{_BLOCK})((?>(?:\s+|/)(?>{_ATTRIBUTE})?)*)\s*>", re.IGNORECASE)
_DECLARATION = re.compile(
    r"<!doctype\b[^<>]*>|<\?xml\b[^<>]*>|<!\[(?:end)?if\b[^<>]*>|<!\[cdata\[|\]\]>", re.IGNORECASE
)
_ENTITY = re.compile(r"&(#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
#: `&amp;amp;lt;`, escaped again and again, is one character.
_NESTED = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);)+(?=[#A-Za-z])")
_RAW = (
    (re.compile("<!--"), re.compile("-->")),
    (re.compile(r"<script(?=[\s>/])", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style(?=[\s>/])", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
)
_COMPARED = frozenset("abiqsu")  # elements of one letter, which are variables as well: `x<b>y`


def strip(text: str) -> str:
    """The text of a piece of HTML, or the same text where there is none.

    Inline elements leave nothing, others a line break; comments, scripts and styles go with what is in them when they
    are closed. An element of one letter without attributes counts only where the text also closes it. What escapes hid
    is stripped by the next round (`ftdeploy.prepare.clean` repeats until nothing changes).
    """
    if "&" in text:
        text = _ENTITY.sub(_character, _NESTED.sub("&", text))
    if "<" not in text or ">" not in text:
        return text
    for opening, closing in _RAW:
        text = _without(text, opening, closing)
    closed = {found[2].lower() for found in _TAG.finditer(text) if found[1]}

    def gone(found: re.Match[str]) -> str:
        name = found[2].lower()
        if name in _COMPARED and not found[1] and not found[3].strip() and name not in closed:
            return found[0]
        return "" if name in _INSIDE_A_LINE else "\n"

    return _DECLARATION.sub("", _TAG.sub(gone, text))


def _character(found: re.Match[str]) -> str:
    return html.unescape(found[0])


def _without(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """Without what stands between the two, from left to right, in linear time; what is never closed stays."""
    kept, place = [], 0
    while (start := opening.search(text, place)) and (end := closing.search(text, start.end())):
        kept += [text[place : start.start()], "\n"]
        place = end.end()
    return "".join([*kept, text[place:]]) if place else text
