"""Where somebody lives: street addresses and postal codes. Cities have no form of their own and are not found."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ftdeploy.privacy.span import LINK, Locale, Span, matches, mentions, word_set

_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|"
    "PA|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY|PR|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|"
    "Delaware|"
    "Florida|Georgia|Hawaii|Idaho|Illinois|Indiana|Iowa|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|"
    "Michigan|"
    "Minnesota|Mississippi|Missouri|Montana|Nebraska|Nevada|New[ ](?:Hampshire|Jersey|Mexico|York)|North[ ](?:Carolina|"
    "Dakota)|Ohio|Oklahoma|Oregon|Pennsylvania|Rhode[ ]Island|South[ ](?:Carolina|Dakota)|Tennessee|Texas|Utah|Vermont|"
    "Virginia|Washington|West[ ]Virginia|Wisconsin|Wyoming"
)
_ZIP_STATE = re.compile(
    rf"\b(?:{_STATES})\.?,?[ ]{{1,2}}(?P<code>\d{{5}}(?:-\d{{4}})?)(?![\w]|[.,-]\d|[ ](?:people|units|shares|"
    rf"employees))"
)
_ZIP_LONG = re.compile(r"(?<![\w.,#$-])(?P<code>\d{5}-\d{4})(?![\w-])")
_SAYS_CODE = (
    r"zip(?:[ -]?codes?)?(?:\+4)?|postal[ ]codes?|post[ -]?codes?|PLZ|Postleitzahl|code[ ]postal|código[ ]postal|"
    r"C\.?P\.?|CAP|postcode"
)
_SAID = re.compile(
    rf"(?<!\w)(?:{_SAYS_CODE}){LINK}(?P<code>\d{{5}}(?:-\d{{4}})?|\d{{4}}[ ]?[A-Z]{{2}}|\d{{2}}-\d{{3}}|"
    rf"\d{{4}}-\d{{3}}|\d{{3}}[ ]\d\d|\d{{4}}|[A-Z]{{1,2}}\d[A-Z\d]?[ ]?\d[A-Z]{{2}}|[A-Z]\d[A-Z][ ]?\d[A-Z]\d)(?!\w)",
    re.IGNORECASE,
)
#: Areas of the Royal Mail: with them, "E10 5AB" is a postcode and "R22 4KW" is not.
_AREAS = (
    "AB|AL|B|BA|BB|BD|BH|BL|BN|BR|BS|BT|CA|CB|CF|CH|CM|CO|CR|CT|CV|CW|DA|DD|DE|DG|DH|DL|DN|DT|DY|E|EC|EH|EN|EX|FK|FY|G|"
    "GL|GU|GY|HA|HD|HG|HP|HR|HS|HU|HX|IG|IM|IP|IV|JE|KA|KT|KW|KY|L|LA|LD|LE|LL|LN|LS|LU|M|ME|MK|ML|N|NE|NG|NN|NP|NR|NW|"
    "OL|OX|PA|PE|PH|PL|PO|PR|RG|RH|RM|S|SA|SE|SG|SK|SL|SM|SN|SO|SP|SR|SS|ST|SW|SY|TA|TD|TF|TN|TQ|TR|TS|TW|UB|W|WA|WC|"
    "WD|"
    "WF|WN|WR|WS|WV|YO|ZE"
)
_BRITISH = re.compile(rf"(?<![\w-])(?P<code>(?:{_AREAS})\d[A-HJKPSTUW\d]?[ ]\d[ABD-HJLNP-UW-Z]{{2}})(?![\w-])")
_CANADIAN = re.compile(r"(?<![\w-])(?P<code>[ABCEGHJ-NPRSTVXY]\d[ABCEGHJ-NPRSTV-Z][ -]\d[ABCEGHJ-NPRSTV-Z]\d)(?![\w-])")
_DUTCH = re.compile(r"(?<![\w.,-])(?P<code>[1-9]\d{3}[ ]?(?!SA|SD|SS)[A-Z]{2})(?=,?[ ][A-Z][a-z])")
_COUNTRY = re.compile(r"(?<!\w)(?P<code>(?:D|F|A|CH|B|I|E|L|DK|SE?|DE|FR|AT|BE|IT|ES|NL|FI)-\d{4,5})(?=[ ][A-ZÀ-Ý])")
#: Street, then code and city: "Hauptstraße 5, 10115 Berlin".
_AFTER_STREET = re.compile(
    r"(?:\d[a-z]?|[^\W\d_])[,\n][ ]?(?P<code>\d{5}|\d{2}-\d{3}|(?!19|20)[1-9]\d{3})"
    r"(?=[ ][A-ZÀ-Ý][a-zß-ÿ]{2,}(?:[ .,;)\n]|$))"
)
_CITY = re.compile(
    r"(?<![\w.,-])(?P<code>\d{5})(?=[ ](?:Berlin|Hamburg|München|Munich|Köln|Cologne|Frankfurt|Stuttgart|Düsseldorf|"
    r"Leipzig|"
    r"Dortmund|Essen|Bremen|Dresden|Hannover|Nürnberg|Bonn|Heidelberg|Freiburg|Paris|Marseille|Lyon|Toulouse|Nice|"
    r"Nantes|"
    r"Strasbourg|Montpellier|Bordeaux|Lille|Rennes|Grenoble|Madrid|Barcelona|Valencia|Sevilla|Zaragoza|Málaga|Bilbao|"
    r"Roma|Rome|"
    r"Milano|Milan|Napoli|Torino|Turin|Palermo|Genova|Bologna|Firenze|Venezia|Helsinki|Stockholm|Praha|Warszawa)\b)"
)
_NOT_CODE = re.compile(
    r"\b(?:sku|part|item|order|model|ref|lot|batch|invoice|serial)(?:[ ](?:no\.?|number))?[ ]?[:#]?[ ]?\Z",
    re.IGNORECASE,
)
_CITY_CODE = re.compile(
    r"\b(?:in|aus|from|of|à|en|nach|to|near|at)[ ](?P<code>\d{5})(?=[ ][A-ZÀ-Ý][a-zß-ÿ]{2,}(?:[ .,;)\n]|$))"
)

_NAME = r"(?:[A-ZÀ-Ý][\w'.]*|\d{1,3}(?:st|nd|rd|th)|of|the|de|la|del|los|y|St\.)"
_KIND = (
    r"Streets?|St|Avenues?|Ave|Av|Roads?|Rd|Boulevards?|Blvd|Lanes?|Ln|Drives?|Dr|Courts?|Ct|Ways?|Places?|Pl|"
    r"Terrace|Ter|"
    r"Square|Sq|Highway|Hwy|Parkway|Pkwy|Circle|Cir|Trail|Trl|Close|Crescent|Cres|Gardens|Grove|Mews|Row|Walk|Alley|"
    r"Loop|"
    r"Plaza|Turnpike|Pike|Hill|Quay|Broadway|Path|Run|Bend|Esplanade"
)
_UNIT = (
    r"(?:,?[ ](?:Apt|Apartment|Suite|Ste|Unit|Flat|Floor|Fl|Room|Rm|Bldg|Building|#)\.?[ ]?#?[ ]?[A-Z\d][\w-]{0,5}\b)?"
)
_ENGLISH = re.compile(
    rf"(?<![\w.,$€£#-])(?:(?:Flat|Unit|Apt\.?|Apartment|Suite)[ ][\w-]{{1,5}},?[ ])?\d{{1,5}}(?:-\d{{1,5}}|"
    rf"[ ]?[A-Za-z]|[ ]½)?,?[ ](?:(?:N|S|E|W|NE|NW|SE|SW|North|South|East|West|Old|Upper|Lower)\.?[ ])?"
    rf"(?:{_NAME}[ ]){{1,4}}(?:{_KIND}|{_KIND.upper()})\b"
    rf"(?:[ ](?:N|S|E|W|NE|NW|SE|SW|North|South|East|West)\b)?\.?{_UNIT}"
)
_LOWER = re.compile(
    r"(?<![\w.,$€£#-])\d{1,5}[ ](?:(?:north|south|east|west|n|s|e|w)\.?[ ])?(?:[a-z]{3,20}[ ]){1,2}(?:street|avenue|"
    r"boulevard|road|ave|blvd|rd|drive|lane)\b"
)
_LIVES = re.compile(
    r"\b(?:liv(?:es?|ing)|resid(?:es?|ing)|address|home|moved|deliver(?:ed)?|ship(?:ped)?|mail|located|stays?|"
    r"staying)\b[^\n]{0,20}\Z",
    re.IGNORECASE,
)
_BROADWAY = re.compile(
    rf"(?<![\w.,$-])\d{{1,5}}[ ](?:(?:N|S|E|W)\.?[ ])?(?:Broadway|Avenue[ ]of[ ]the[ ]Americas|Avenue[ ][A-Z]\b|"
    rf"Highway[ ]\d{{1,3}}|Route[ ]\d{{1,3}}|County[ ]Road[ ]\d{{1,4}}){_UNIT}"
)
_PO_BOX = re.compile(
    r"(?<!\w)(?:P\.?[ ]?O\.?[ ]?Box|Post[ ]Office[ ]Box|Postfach|Boîte[ ]postale|B\.?P\.)[ ]#?\d[\d -]{0,9}\d?",
    re.IGNORECASE,
)
_GERMAN = re.compile(
    r"(?<!\w)(?:[A-ZÄÖÜ][\w.]*[- ]){0,3}(?:[A-ZÄÖÜ][\w-]{0,30}(?:stra(?:ß|ss)e|str\.|weg|platz|allee|gasse|ring|damm|"
    r"ufer|straat|laan|plein|gracht|kade|vägen|gatan|gade|vej|katu|gata)|(?:Stra(?:ß|ss)e|Str\.|Platz|Allee|Gasse|"
    r"Weg|Ring|Damm|Ufer)|(?:Am|An[ ]der|Im|In[ ]der|Auf[ ]de[mr]|Zu[mr]|Unter[ ]den|Hinter[ ]de[mr])"
    r"[ ](?:[A-ZÄÖÜ][\w-]+[ ]?){1,2})[ ]?\d{1,4}(?:[ ]?[a-zA-Z]\b)?(?:[-/]\d{1,4})?(?![\w%]|[.,]\d)"
)
_FRENCH = re.compile(
    r"(?<![\w.,-])\d{1,4}(?:[ ]?(?:bis|ter|quater))?,?[ ](?i:rue|avenue|av\.|boulevard|bd|place|chemin|impasse|quai|"
    r"allée|cours|route|square|passage)[ ](?i:(?:de[ ]la|de[ ]l'|de|du|des|d'|la|le|les|l'|saint|sainte)"
    r"[ ]?){0,2}[A-ZÀ-Ý][\w'-]*(?:[ -][A-ZÀ-Ý][\w'-]*){0,3}"
)
_SOUTHERN = re.compile(
    r"(?<!\w)(?:Calle|C/|Avenida|Avda\.?|Plaza|Paseo|Pº|Via|Viale|Piazza|Corso|Largo|Rua|Travessa|Praça|Carrer|ul\.|"
    r"ulica|al\.)[ ]?(?:(?:de|del|la|las|los|el|di|della|dei|do|da|dos)[ ]){0,2}[A-ZÀ-Ý][\w.'-]*(?:[ ](?:de|del|la|"
    r"di|da|do|e|y)){0,2}(?:[ ][A-ZÀ-Ý][\w.'-]*){0,3},?[ ](?:n\.?º?[ ]?)?\d{1,4}(?![\w%]|[.,]\d)"
)


def postcode(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """US ZIP codes after a state or a word, ZIP+4, British and Canadian ones by their form, other European ones where
    street, country or a word stands before.
    """
    five, letters = bool(_FIVE.search(text)), bool(_LETTERED.search(text))
    for pattern, confidence, likely in (
        (_CITY, 0.8, five), (_ZIP_STATE, 0.9, five), (_SAID, 0.85, mentions(text, _SAY_CODE)),
        (_BRITISH, 0.85, letters), (_CANADIAN, 0.85, letters), (_COUNTRY, 0.85, "-" in text),
        (_DUTCH, 0.7, True), (_ZIP_LONG, 0.6, five),
        (_AFTER_STREET, 0.65, "," in text or "\n" in text), (_CITY_CODE, 0.65, five),
    ):  # fmt: skip
        for match in pattern.finditer(text) if likely else ():
            if not _NOT_CODE.search(text[max(0, match.start("code") - 16) : match.start("code")]):
                yield Span(*match.span("code"), "postcode", confidence)


def address(text: str, locale: Locale) -> Iterator[Span]:  # noqa: ARG001  # the same everywhere
    """Streets with a house number, in English, German, Dutch, Nordic, French and southern order; post office boxes."""
    english, low = mentions(text, _STREETS), text.casefold()
    for pattern, confidence, likely in (
        (_ENGLISH, 0.8, english), (_BROADWAY, 0.75, mentions(text, _ROUTES)), (_PO_BOX, 0.9, mentions(text, _BOXES)),
        (_GERMAN, 0.8, any(part in low for part in _GERMAN_PARTS)), (_FRENCH, 0.8, mentions(text, _RUES)),
        (_SOUTHERN, 0.75, mentions(text, _CALLES)),
    ):  # fmt: skip
        if likely:
            yield from matches(pattern, text, "address", confidence)
    for match in _LOWER.finditer(text) if english else ():
        said = _LIVES.search(text[max(0, match.start() - 40) : match.start()])
        yield Span(*match.span(), "address", 0.75 if said else 0.55)


#: What the patterns above cannot do without.
_FIVE, _LETTERED = re.compile(r"\d{5}"), re.compile(r"\d[A-Z]")
_SAY_CODE = word_set("zip zipcode zipcodes postal post postcode postcodes plz postleitzahl código code p cp cap")
_STREETS = frozenset(re.sub(r"s\?", "", _KIND).casefold().split("|")) | word_set(
    "streets street avenues avenue roads road boulevards boulevard lanes lane drives drive courts court ways "
    "way places place mews gardens cres"
)
_ROUTES = frozenset({"broadway", "avenue", "highway", "route", "county"})
_BOXES = frozenset({"box", "postfach", "postale", "p"})
_GERMAN_PARTS = ("stra", "str.", "weg", "platz", "allee", "gasse", "ring", "damm", "ufer", "laan", "plein", "gracht",
                 "kade", "vägen", "gatan", "gade", "vej", "katu", "gata", "am ", "an der", "im ", "in der", "auf de",
                 "zu", "unter den", "hinter de")  # fmt: skip
_RUES = word_set("rue avenue av boulevard bd place chemin impasse quai allée cours route square passage")
_CALLES = word_set(
    "calle c avenida avda plaza paseo pº p via viale piazza corso largo rua travessa praça carrer ul ulica al"
)
