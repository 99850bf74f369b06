"""Open the files of one table so that DuckDB can scan them.

Parquet is scanned where it lies. Text files and queries are first rewritten as Parquet in a private folder, in one
streaming pass: the fields of a text file stay texts (trimmed, composed, null where empty), so that every failing
conversion can be counted later.
"""

from __future__ import annotations

import codecs
import csv
import glob
import gzip
import io
import json
import os
import re
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, Literal

import duckdb

from cxroi.tables.contract import TABLES
from cxroi.tables.dataset import FILE_NAME, TableSource
from cxroi.tables.sql import identifier, listing, literal, normalised, select
from cxroi.tables.violation import Violation, statement

DELIMITERS = ",;\t|"
SUFFIXES = (".parquet", ".csv", ".csv.gz")
MAX_REJECTS = 100_000
POSITION_FILE = "cxroi file"
POSITION_ROW = "file_row_number"
BREAKS = "cxroi line breaks inside"


@dataclass(frozen=True)
class Part:
    """One file of a table: the original, what is scanned, and which records of a text file could not be read."""

    original: Path
    scanned: Path
    rejected: tuple[tuple[int, int], ...] = ()  # record number (header = 1), newlines inside it
    header_lines: int = 1
    delimiter: str = ","
    blank: tuple[int, ...] = ()  # lines outside cells that hold nothing


@dataclass(frozen=True)
class Source:
    """The opened files of one table.

    ``types`` maps the columns of the files to their DuckDB types, in the order of the files.
    """

    table: str
    kind: Literal["csv", "parquet", "sql"]
    parts: tuple[Part, ...]
    types: dict[str, str]
    rows: int
    options: TableSource
    violations: tuple[Violation, ...] = field(default=())
    read_by_query: tuple[Path, ...] = ()

    def scan(self, *, with_position: bool = False) -> str:
        """FROM text over all parts; with the file and the row in it where asked."""
        options = f", filename = {literal(POSITION_FILE)}, file_row_number = true" if with_position else ""
        # A folder called amount=1 is no column.
        options += ", union_by_name = true, hive_partitioning = false"
        return f"read_parquet({listing(str(part.scanned) for part in self.parts)}{options})"


Opened = Source | tuple[Violation, ...] | None


def open_table(
    connection: duckdb.DuckDBPyConnection, table: str, options: TableSource, *, folder: Path, private: Path
) -> Opened:
    """Open a table: a source, or why it can't be opened, or None where there is nothing to open."""
    if options.sql is not None:
        return _open_query(connection, table, options, folder=folder, private=private)
    files, violations = find_files(folder, table, options.file)
    if not files:
        return violations or None
    kind: Literal["csv", "parquet"] = "parquet" if files[0].name.lower().endswith(".parquet") else "csv"
    if any(file.name.lower().endswith(".parquet") != (kind == "parquet") for file in files):
        names = ", ".join(sorted({file.suffix for file in files}))
        message = f"the files of {table} must be of one format; they are {names}."
        return (statement(table, "mixed_formats", message, repair="Export all parts as CSV or all as Parquet."),)
    parts: list[Part] = []
    faults = list(violations)
    for number, file in enumerate(files):
        if kind == "parquet":
            parts.append(Part(file, _plain_path(file, private / f"{table}_{number:05d}.parquet")))
            continue
        part, found = _rewrite_text(connection, table, file, options, private / f"{table}_{number:05d}")
        faults += found
        if part is not None:
            parts.append(part)
    if not parts:
        return tuple(faults)
    return _describe(connection, Source(table, kind, tuple(parts), {}, 0, options, tuple(faults)))


def find_files(folder: Path, table: str, declared: str | None) -> tuple[list[Path], tuple[Violation, ...]]:
    """Files of a table: those declared (glob or folder allowed), or those of its own name."""
    if declared is not None:
        try:
            path = folder / declared
            found = [path] if path.exists() else [folder / name for name in _matching(declared, folder)]
        except (OSError, ValueError):
            found = []
        # A link may lead to a file, or to a folder above, a second time.
        files = sorted({os.path.realpath(file): file for one in sorted(found) for file in _expand(one)}.values())
        if files:
            return files, _passed_over(table, found)
        message = f"the file of {table} must exist; nothing matches {declared}."
        return [], (statement(table, "missing_file", message, repair=f"Correct tables.{table}.file in {FILE_NAME}."),)
    candidates = [folder / f"{table}{suffix}" for suffix in ("", *SUFFIXES)]
    present = [path for path in candidates if path.exists() and _expand(path)]
    if len(present) > 1:
        names = " and ".join(path.name for path in present)
        message = f"{table} must have one source; there are {names}."
        repair = f"Remove one, or name it in {FILE_NAME}: tables: {{{table}: {{file: {present[0].name}}}}}."
        return [], (statement(table, "ambiguous_file", message, repair=repair),)
    return (sorted(_expand(present[0])) if present else []), _passed_over(table, present)


def _matching(pattern: str, folder: Path) -> list[str]:
    return glob.glob(pattern, root_dir=folder, recursive=True)


def _expand(path: Path) -> list[Path]:
    return [file for file in _inside(path) if file.name.lower().endswith(SUFFIXES)] if path.is_dir() else [path]


def _inside(path: Path) -> list[Path]:
    """Files of a folder and its folders but hidden ones."""
    return [file for file in path.rglob("*") if file.is_file() and not file.name.startswith(".")]


def _passed_over(table: str, found: Iterable[Path]) -> tuple[Violation, ...]:
    """Notice of files in a folder of parts that are not read; a leading _ marks what is no part."""
    names = sorted(
        file.name
        for path in found
        if path.is_dir()
        for file in _inside(path)
        if not file.name.lower().endswith(SUFFIXES) and not file.name.startswith("_")
    )
    if not names:
        return ()
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    message = f"parts of {table} are read only where they end in .csv, .csv.gz or .parquet; not read: {', '.join(names[:5])}{more}."
    repair = "Save them as CSV or Parquet if they belong to the table."
    return (replace(statement(table, "file_not_read", message, repair=repair), severity="notice"),)


def _plain_path(file: Path, link: Path) -> Path:
    # DuckDB reads * ? [ ] in a path as a glob; a link with a harmless name stands for such a file.
    absolute = file.resolve()
    if not any(character in str(absolute) for character in "*?[]{}"):
        return absolute
    link.symlink_to(absolute)
    return link


def _describe(connection: duckdb.DuckDBPyConnection, source: Source) -> Opened:
    try:
        described = connection.execute("DESCRIBE " + select(["*"], source.scan())).fetchall()
        counted = connection.execute(select(["count(*)"], source.scan())).fetchall()
    except duckdb.Error as error:
        return (*source.violations, unreadable(source.table, source.parts, error))
    types = {str(name): str(kind) for name, kind, *_ in described if name != BREAKS}
    reserved = [name for name in types if name.casefold() in (POSITION_FILE, POSITION_ROW, BREAKS)]
    if reserved:
        message = f"no column of {source.table} may be called {reserved[0]}; that name is used while reading."
        repair = "Rename the column in the export, or leave it out."
        return (*source.violations, statement(source.table, "reserved_column", message, repair=repair))
    rows = counted[0][0]
    unread = sum(violation.count for violation in source.violations)
    violations = tuple(
        replace(violation, total=rows + unread) if violation.count else violation for violation in source.violations
    )
    return replace(source, types=types, rows=rows, violations=violations)


def unreadable(table: str, parts: Sequence[Part], error: Exception) -> Violation:
    """Violation of a file that can be opened but not read to its end, or whose columns do not fit the other parts."""
    text = str(error)
    named = next((part.original.name for part in parts if f'"{part.scanned}"' in text), f"a file of {table}")
    if kinds := re.search(r'column "(.+?)" from type (\w+).* to (?:type )?(\w+)', text):
        message = (
            f"the parts of {table} must hold {kinds[1]} in one type; {named} has {kinds[2]}, another part {kinds[3]}."
        )
        repair = "Export all parts with the same types."
        return statement(table, "unreadable_file", message, column=kinds[1], repair=repair)
    message = f"{named} can't be read to its end; it is damaged or not what its name says."
    return statement(table, "unreadable_file", message, repair="Export it again, or copy it again.")


def first_line(error: Exception) -> str:
    """First line of an engine's message, without its full stop."""
    return (str(error).strip().splitlines() or ["unknown reason"])[0].rstrip(".")


# ---------------------------------------------------------------------------------------------------- text files


def _open_bytes(file: Path) -> IO[bytes]:
    return gzip.open(file, "rb") if file.name.lower().endswith(".gz") else file.open("rb")  # type: ignore[return-value]


def _encoding(file: Path, declared: str | None) -> str:
    with _open_bytes(file) as stream:
        start = stream.read(4)
    if declared in (None, "utf-16"):
        if start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        # Without a mark, every second byte of Latin letters is zero; no other text has such bytes.
        if len(start) == 4 and [byte == 0 for byte in start] in ([False, True] * 2, [True, False] * 2):
            return "utf-16-be" if start[0] == 0 else "utf-16-le"
    return {"utf-8": "utf-8-sig", "windows-1252": "cp1252", "windows-1258": "cp1258"}.get(
        declared or "utf-8", declared or "utf-8"
    )


def _rewrite_text(
    connection: duckdb.DuckDBPyConnection, table: str, file: Path, options: TableSource, stem: Path
) -> tuple[Part | None, list[Violation]]:
    try:
        if packed := _packed(file):
            message = f"{file.name} must be CSV text; it is {packed}."
            return None, [statement(table, "unreadable_file", message, repair="Save it as CSV (UTF-8).")]
        encoding, text_file = _encoding(file, options.encoding), file
        if encoding != "utf-8-sig":
            text_file = stem.with_suffix(".csv")
            with _open_bytes(file) as stream, text_file.open("wb") as copy:
                _transcode(stream, copy, encoding)
        is_mixed, blank = _lines_of(text_file)
        if is_mixed:
            text_file = _with_one_line_end(text_file, stem.with_name(stem.name + "_lines.csv"))
            is_mixed, blank = _lines_of(text_file)
        header, header_lines, delimiter, widest = _header(text_file, options.delimiter)
    except UnicodeError:
        return None, [_wrong_encoding(table, file, options.encoding or "UTF-8")]
    except (OSError, EOFError, csv.Error, zlib.error) as error:
        reason = getattr(error, "strerror", None) or "it is damaged or not what its name says"
        message = f"{file.name} can't be read: {reason}."
        return None, [statement(table, "unreadable_file", message, repair="Export it again, or copy it again.")]
    if not header:
        message = f"{table} must have a header line and rows; {file.name} is empty."
        return None, [statement(table, "empty_table", message, repair="Export it again, or delete the file.")]
    faults = _header_faults(table, file, header, options, widest)
    if faults:
        return None, faults
    link = stem.with_name(stem.name + ("_text.csv.gz" if file.name.lower().endswith(".gz") else "_text.csv"))
    text_file = _plain_path(text_file, link)
    target = stem.with_suffix(".parquet")
    try:
        _copy_text(connection, text_file, target, header=header, delimiter=delimiter)
    except duckdb.Error as error:
        line = re.search(r"CSV Error on Line: (\d+)", str(error))
        where = f" (near line {line[1]})" if line else ""
        message = f"{file.name} can't be read as CSV{where}; its quotation marks or line ends do not fit together."
        return None, [statement(table, "broken_csv", message, repair="Export it again as CSV with quoted text.")]
    rejected, violation = _rejects(connection, table, file, text_file, columns=len(header))
    return Part(file, target, rejected, header_lines, delimiter, blank), [violation] if violation else []


def _packed(file: Path) -> str:
    """What a file is that is called CSV and is none; empty where it may be one."""
    with file.open("rb") as stream:
        start = stream.read(4)
    if start == b"PK\x03\x04":
        return "a workbook or another zipped file"
    if start.startswith(b"\x1f\x8b") and not file.name.lower().endswith(".gz"):
        return "compressed; call it .csv.gz"
    return "Parquet; call it .parquet" if start == b"PAR1" else ""


def _transcode(stream: IO[bytes], copy: IO[bytes], encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    for block in iter(lambda: stream.read(1 << 20), b""):
        copy.write(decoder.decode(block).encode("utf-8"))
    copy.write(decoder.decode(b"", final=True).encode("utf-8"))


def _lines_of(file: Path) -> tuple[bool, tuple[int, ...]]:
    """Whether line ends differ or are bare carriage returns, and the lines outside cells that hold nothing.

    Reads to the end, so that the check sum of a compressed file is looked at.
    """
    returns = feeds = both = quotes = 0
    blank: list[int] = []
    with _open_bytes(file) as stream:
        for block in _whole_lines(stream):
            returns, both = returns + block.count(b"\r"), both + block.count(b"\r\n")
            at, start, line = 0, 0, feeds + 1
            has_empty = block[:1] in b"\r\n" or b"\n\n" in block or b"\n\r\n" in block
            while has_empty and (found := _EMPTY_LINE.search(block, at)) is not None:
                end = found.end()
                quotes += block.count(b'"', start, end)
                line, start = line + block.count(b"\n", start, end), end
                if quotes % 2 == 0:
                    blank.append(line - 1)
                at = end - 1
            quotes += block.count(b'"', start)
            feeds += block.count(b"\n")
    return bool(returns) and not returns == both == feeds, tuple(blank)


_EMPTY_LINE = re.compile(rb"(?:^|\n)\r?\n")


def _whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Blocks that end with a line, and what is left."""
    rest = b""
    while block := stream.read(1 << 20):
        block = rest + block
        cut = block.rfind(b"\n") + 1
        rest = block[cut:]
        if cut:
            yield block[:cut]
        elif len(rest) > 1 << 26:
            yield rest
            rest = b""
    if rest:
        yield rest


def _with_one_line_end(file: Path, copy: Path) -> Path:
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    with _open_bytes(file) as stream, copy.open("wb") as target:
        for block in iter(lambda: stream.read(1 << 20), b""):
            target.write(decoder.decode(block.decode("latin-1")).encode("latin-1"))
        target.write(decoder.decode("", final=True).encode("latin-1"))
    return copy


def _header(file: Path, declared: str | None) -> tuple[list[str], int, str, int]:
    """Names of the columns, their lines, the delimiter, and the largest number of fields in the next few lines."""
    with _open_bytes(file) as stream:
        # Bytes that are no UTF-8 are found, with their lines, when the rows are read.
        text = codecs.getreader("utf-8-sig")(stream, "replace")
        first = text.readline()
        delimiter = declared or max(
            DELIMITERS, key=lambda mark: (_outside_quotes(first, mark), -DELIMITERS.index(mark))
        )
        reader = csv.reader(_lines(first, text), delimiter=delimiter, strict=False)
        names = next(reader, [])
        header_lines = max(reader.line_num, 1)
        following = [text.readline() for _ in range(5)]
    if any("\ufffd" in name for name in names):
        raise UnicodeError
    widest = max(_outside_quotes(line, mark) + 1 for line in following for mark in DELIMITERS)
    return [unicodedata.normalize("NFC", name).strip() for name in names], header_lines, delimiter, widest


def _lines(first: str, rest: Any) -> Iterator[str]:
    yield first
    yield from rest


def _outside_quotes(line: str, mark: str) -> int:
    return sum(piece.count(mark) for piece in line.split('"')[::2])


_VALUE = re.compile(r"[+-]?[\d.,]*\d|\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?|[A-Za-z]{0,4}-?\d{3,}|\S+@\S+")


def _header_faults(table: str, file: Path, header: list[str], options: TableSource, widest: int) -> list[Violation]:
    filled = [name for name in header if name]
    expected = {name.casefold() for name in (*TABLES[table].column, *options.columns.values())}
    named = expected & {name.casefold() for name in header}
    faults = []
    if len(filled) <= 1 < widest and not named:
        message = (
            f"the first line of {file.name} must hold the names of the columns; it seems to be a title or a setting."
        )
        repair = "Delete the lines above the names of the columns."
        return [statement(table, "no_header", message, repair=repair)]
    if not named and sum(_VALUE.fullmatch(name) is not None for name in filled) >= max(0.3 * len(filled), 1):
        message = f"the first line of {file.name} seems to be a row of data, not the names of the columns."
        repair = "Export the table with the names of its columns in the first line."
        return [statement(table, "no_header", message, repair=repair)]
    folded = [name.casefold() for name in header]
    twice = sorted({name for name, key in zip(header, folded, strict=True) if folded.count(key) > 1 and name})
    if twice:
        message = (
            f"the columns of {file.name} must have different names; {', '.join(twice)} stands there more than once."
        )
        faults.append(statement(table, "repeated_column", message, column=twice[0], repair="Rename or remove one."))
    return faults


def _copy_text(
    connection: duckdb.DuckDBPyConnection, text_file: Path, target: Path, *, header: list[str], delimiter: str
) -> None:
    columns = ", ".join(f"{literal(f'c{number}')}: 'VARCHAR'" for number in range(len(header)))
    scan = (
        f"read_csv({literal(str(text_file))}, header = true, auto_detect = false, delim = {literal(delimiter)}, "
        f"quote = '\"', escape = '\"', columns = {{{columns}}}, store_rejects = true, rejects_limit = {MAX_REJECTS}, "
        "max_line_size = 4194304, hive_partitioning = false)"
    )
    fields = [f"c{number}" for number in range(len(header))]
    named = [
        f"{normalised(field)} AS {identifier(name or f'column {number + 1}')}"
        for number, (field, name) in enumerate(zip(fields, header, strict=True))
    ]
    breaks = " + ".join(f"coalesce(length({field}) - length(replace({field}, chr(10), '')), 0)" for field in fields)
    named.append(f"{breaks} AS {identifier(BREAKS)}")
    connection.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
    connection.execute(f"COPY ({select(named, scan)}) TO {literal(str(target))} (FORMAT parquet)")


_REJECTED: dict[str, tuple[str, Callable[[int], str]]] = {
    "INVALID ENCODING": ("wrong_encoding", lambda columns: "must be UTF-8 text"),
    "TOO MANY COLUMNS": ("broken_csv", lambda columns: f"must have {columns} fields on every line"),
    "MISSING COLUMNS": ("broken_csv", lambda columns: f"must have {columns} fields on every line"),
    "UNQUOTED VALUE": ("broken_csv", lambda columns: "must close every quotation mark"),
}


def _rejects(
    connection: duckdb.DuckDBPyConnection, table: str, file: Path, text_file: Path, *, columns: int
) -> tuple[tuple[tuple[int, int], ...], Violation | None]:
    rows = connection.execute(
        select(
            ["line", "min(line_byte_position)", "min(error_type::VARCHAR)", "min(coalesce(csv_line, ''))"],
            "reject_errors",
            group="line",
            order="line",
        )
    ).fetchall()
    if not rows:
        return (), None
    rejected = tuple((int(line), str(text).rstrip("\r\n").count("\n")) for line, _, _, text in rows)
    _, position, kind, _ = rows[0]
    line = _line_at(text_file, int(position or 0))
    rule, must = _REJECTED.get(kind, ("broken_csv", lambda columns: "must be readable as CSV"))
    number = "1 line is not" if len(rows) == 1 else f"{len(rows):,} lines are not"
    message = f"{file.name} {must(columns)}; {number} like that (first: line {line})."
    repair = f'Export it again with text in quotation marks, or declare the delimiter: tables: {{{table}: {{delimiter: ";"}}}}.'
    if rule == "wrong_encoding":
        repair = _encoding_repair(table)
    if kind == "UNQUOTED VALUE":
        message = f"{message[:-1]}, and what follows it may be unread."
        repair = "Close the quotation mark, or write a quotation mark inside a text twice."
    return rejected, Violation(table, "", rule, len(rows), 0, line, "", message, repair, first_file=file.name)


def _line_at(file: Path, position: int) -> int:
    line, left = 1, max(position - 1, 0)
    with _open_bytes(file) as stream:
        while left > 0:
            block = stream.read(min(left, 1 << 20))
            if not block:
                break
            line, left = line + block.count(b"\n"), left - len(block)
    return line


def _wrong_encoding(table: str, file: Path, encoding: str) -> Violation:
    message = f"{file.name} must be {encoding} text; it can't be read as such."
    return statement(table, "wrong_encoding", message, repair=_encoding_repair(table))


def _encoding_repair(table: str) -> str:
    declared = f"tables: {{{table}: {{encoding: windows-1258}}}}"
    return (
        f"Save it as UTF-8, or declare in {FILE_NAME} what it is, if you know it: {declared} (older Vietnamese exports), "
        "windows-1252 (Western European), utf-16 (text of Excel); a wrong one garbles names."
    )


# ---------------------------------------------------------------------------------------------------- queries


def _open_query(
    connection: duckdb.DuckDBPyConnection, table: str, options: TableSource, *, folder: Path, private: Path
) -> Opened:
    try:
        serialized = connection.execute("SELECT json_serialize_sql(?)", [options.sql]).fetchall()[0][0]
        tree = json.loads(serialized)
    except (duckdb.Error, ValueError) as error:
        return (_bad_query(table, _reason(error, folder.resolve())),)
    if tree.get("error"):
        return (_bad_query(table, str(tree.get("error_message")).replace("can be serialized to json!", "are allowed")),)
    if len(tree["statements"]) != 1:
        return (_bad_query(table, f"there are {len(tree['statements'])} statements"),)
    files = _root_paths(tree, folder.resolve())
    target = private / f"{table}.parquet"
    query = f"FROM json_execute_serialized_sql({literal(json.dumps(tree))})"
    if _has_free_order(tree):
        query += " ORDER BY ALL"
    try:
        connection.execute(f"COPY ({query}) TO {literal(str(target))} (FORMAT parquet)")
    except duckdb.Error as error:
        return (_bad_query(table, _reason(_failure(connection, tree, error), folder.resolve())),)
    part = Part(Path(f"tables.{table}.sql"), target)
    return _describe(connection, Source(table, "sql", (part,), {}, 0, options, read_by_query=files))


def _bad_query(table: str, reason: str) -> Violation:
    message = f"tables.{table}.sql must be one SELECT that runs; {reason.rstrip('.')}."
    repair = (
        f"Correct it in {FILE_NAME}; file names in it are relative to the data set's folder, and "
        "read_csv('FILE', all_varchar = true) reads every column as text."
    )
    return statement(table, "bad_sql", message, repair=repair)


def _failure(connection: duckdb.DuckDBPyConnection, tree: Any, error: Exception) -> Exception:
    """Error of a parsed query as the query itself raises it; of a failure among the rows the parsed one says nothing."""
    try:
        text = connection.execute("SELECT json_deserialize_sql(?)", [json.dumps(tree)]).fetchall()[0][0]
        connection.execute("EXPLAIN ANALYZE " + text)
    except duckdb.Error as same:
        return same
    return error


def _reason(error: Exception, folder: Path) -> str:
    """Why a query failed, in words; what stands in the rows is never part of it."""
    kind, _, text = first_line(error).replace(f"{folder}{os.sep}", "").partition(": ")
    text = (text or kind).rstrip("!")
    if function := re.search(r"argument types '(\w+)\((.*)\)'", text):
        return f"{function[1]} can't be applied to {function[2].replace('STRING_LITERAL', 'a text')}"
    if twice := re.search(r'duplicate column name "(.*)"', text):
        return f"two columns have the name {twice[1]}"
    if "xtension" in text:
        return "it needs an extension that is not there; files must lie on this computer"
    if isinstance(error, (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException, duckdb.IOException)):
        return text
    if line := re.search(r"CSV Error on Line: (\d+)", text):
        return f"line {line[1]} of a CSV file can't be read"
    if form := re.search(r'format specifier "([^"]+)"', text):
        return f"a text does not follow the format {form[1]}"
    if re.search(r"(?i)(date|timestamp) (field format|out of range)", text):
        return "a text is no date"
    if target := re.search(r"""(?:['"] to|destination type) ([A-Z][A-Z0-9(,)]*)""", text):
        return f"a value can't be converted to {target[1]}"
    return "a function fails on what stands in a row"


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for child in tree.values():
            yield from _nodes(child)
    elif isinstance(tree, list):
        for child in tree:
            yield from _nodes(child)


def _root_paths(tree: Any, folder: Path) -> tuple[Path, ...]:
    """Make the file names in a parsed query relative to the folder, whatever the working directory is; return them."""
    files: list[str] = []
    for node in _nodes(tree):
        if node.get("type") == "BASE_TABLE":
            # Without quotation marks a file's name is parsed as schema and table.
            name = ".".join(part for part in (node.get("schema_name"), node.get("table_name")) if part)
            if any(mark in name for mark in "./*") and not os.path.isabs(name):
                rooted = _rooted(folder, name)
                node |= {"schema_name": "", "table_name": rooted, "qualified_name": {"path": [rooted]}}
                files.append(rooted)
        if node.get("type") == "TABLE_FUNCTION" and _reads_files(node["function"].get("function_name", "")):
            for argument in node["function"].get("arguments", []):
                expression = argument["expression"]
                listed = [inner["expression"] for inner in expression.get("arguments", [])]
                for constant in [expression, *listed]:
                    files += _root_constant(constant, folder)
    found = [
        Path(file) for name in files for file in ([name] if Path(name).is_file() else glob.glob(name, recursive=True))
    ]
    return tuple(sorted({file for file in found if file.is_file()}))


def _rooted(folder: Path, name: str) -> str:
    # Beside a pattern, brackets in the folder's own name would be read as one.
    is_pattern = any(mark in name for mark in "*?[")
    return os.path.join(glob.escape(str(folder)), name) if is_pattern else str(folder / name)


def _reads_files(function: str) -> bool:
    return function.startswith("read_") or function.endswith("_scan") or function == "glob"


def _root_constant(constant: dict[str, Any], folder: Path) -> list[str]:
    value = constant.get("literal", {})
    if constant.get("type") != "VALUE_CONSTANT" or value.get("kind") != "STRING":
        return []
    if not os.path.isabs(value["text"]) and "://" not in value["text"]:
        value["text"] = _rooted(folder, value["text"])
    return [value["text"]]


def _has_free_order(tree: Any) -> bool:
    # Grouping, joining and set operations give rows in an order that differs from run to run.
    free = {"JOIN", "SET_OPERATION_NODE", "DISTINCT_MODIFIER"}
    return any(
        node.get("type") in free
        or node.get("group_expressions")
        or node.get("aggregate_handling") == "FORCE_AGGREGATES"
        for node in _nodes(tree)
    )
