"""The documents say what is so: links lead somewhere, commands and settings exist, tables equal the code."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runtime import settings
from runtime.settings_sources import NOT_SETTINGS, PREFIXES
from tests.architecture import doc_tables
from tests.architecture.doc_tables import ROOT, TABLES

DOCUMENTS = doc_tables.documents()
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
EACH = pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)

FENCE = re.compile(r"^```([\w-]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
SETTING = re.compile(rf"(?<![\w.])(?:{'|'.join(PREFIXES)})[A-Z0-9_]+\b")
SHELLS = {"", "sh", "console", "bash"}
NOT_OURS = {"MILLRACE_TEST_POSTGRES_URL", "MILLRACE_TEST_KAFKA"}
"""Read by the test kit."""


def text_of(path: Path) -> str:
    return path.read_text()


def prose_of(path: Path) -> str:
    return FENCE.sub("", text_of(path))


def slug(heading: str) -> str:
    """As GitHub names a heading in a link."""
    return re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).replace(" ", "-")


def anchors(path: Path) -> set[str]:
    return (
        {slug(heading) for heading in HEADING.findall(FENCE.sub("", text_of(path)))} if path.suffix == ".md" else set()
    )


def example_modules(path: Path) -> list[str]:
    """Modules that the document itself makes."""
    return re.findall(r'Module\("(\w+)"', text_of(path))


# Links and names.


@EACH
def test_links_lead_somewhere(path: Path) -> None:
    broken = []
    for _, target in LINK.findall(prose_of(path)):
        if re.match(r"[a-z]+://", target):
            continue
        name, _, anchor = target.partition("#")
        there = (path.parent / name).resolve() if name else path
        if not (there.exists() and there.is_relative_to(ROOT)) or (anchor and anchor not in anchors(there)):
            broken.append(target)
    assert not broken


@EACH
def test_a_test_that_is_named_is_there(path: Path) -> None:
    """A link to a test file is named after a function in it: the proof of what is claimed beside it."""
    for name, target in LINK.findall(prose_of(path)):
        file = (path.parent / target).resolve()
        if not file.is_relative_to(ROOT / "tests") or file.suffix != ".py":
            continue
        defined = {
            node.name
            for node in ast.walk(ast.parse(file.read_text()))
            if isinstance(node, ast.AsyncFunctionDef | ast.FunctionDef)
        }
        assert name.strip("`") in defined, f"{target} has no function {name}"


@EACH
def test_a_path_that_is_named_is_there(path: Path) -> None:
    places = (
        "contracts/",
        "adapters/",
        "modules/",
        "runtime/",
        "migrations/",
        "tests/",
        "docs/",
        "catalog/",
        "benchmarks/",
    )
    examples = tuple(f"modules/{name}/" for name in re.findall(r'Module\("(\w+)"', text_of(path)))
    named = {
        code for code in INLINE.findall(prose_of(path)) if code.startswith(places) and not code.startswith(examples)
    }
    assert not [name for name in named if not re.search(r"[A-Z<{*…]", name) and not (ROOT / name).exists()]


def test_every_guarantee_names_its_proof() -> None:
    section = re.split(r"^## ", text_of(ROOT / "README.md"), flags=re.MULTILINE)
    [table] = [part for part in section if part.startswith("What is guaranteed")]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    assert rows
    assert not [row for row in rows if not re.search(r"\]\(tests/[\w/]+\.py\)", row)]


# Commands and settings.


def commands_in(path: Path) -> Iterator[str]:
    """What a reader would type: lines of shell blocks, and code that begins with one of our commands."""
    for language, block in FENCE.findall(text_of(path)):
        if language in SHELLS:
            yield from block.replace("\\\n", " ").splitlines()
    yield from INLINE.findall(prose_of(path))


def words_of(line: str) -> list[str]:
    """The words of our command in a line, or none."""
    line = re.sub(r"^\$ ", "", line.strip())
    if not re.match(r"([A-Z_]+=\S* )*(\.venv/bin/)?(millrace|\./task|faststream) |\./task$", line):
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = []
    for word in lexer:
        if set(word) <= set("|&;<>()"):
            break
        words.append(word)
    while "=" in words[0]:
        words.pop(0)
    return [words[0].removeprefix(".venv/bin/"), *words[1:]]


def fault_of(words: list[str]) -> str:
    """What is wrong with a command, if anything."""
    name, *rest = words
    if name == "millrace":
        return millrace_fault(rest)
    if name == "./task":
        targets = yaml.safe_load((ROOT / "Taskfile.yml").read_text())["tasks"]
        if rest and rest[0] not in targets:
            return f"Taskfile.yml has no target {rest[0]}"
        return millrace_fault(["run", *rest[2:]]) if rest[:2] == ["run", "--"] else ""
    return ""


def millrace_fault(words: list[str]) -> str:
    command, path = doc_tables.root_command(), "millrace"
    while words and hasattr(command, "commands") and not words[0].startswith("-"):
        word = words.pop(0)
        if word in ("…", "MODULE"):
            return ""
        if word not in command.commands:
            return f"{path} has no command {word}"
        command, path = command.commands[word], f"{path} {word}"
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        option = word.partition("=")[0]
        if option.startswith("--") and option not in known | {"--help"}:
            return f"{path} has no option {option}"
    return ""


@EACH
def test_commands_exist(path: Path) -> None:
    own = set(example_modules(path))
    typed = {line: words for line in commands_in(path) if (words := words_of(line))}
    faults = {line: fault_of(words) for line, words in typed.items() if not own & set(words[1:3])}
    assert not {line: fault for line, fault in faults.items() if fault}


def test_a_wrong_command_would_be_seen() -> None:
    assert words_of("$ LOG_LEVEL=debug .venv/bin/millrace jobs list --output json | jq .") == [
        *("millrace", "jobs", "list", "--output", "json")
    ]
    assert not words_of("millrace_jobs.py")
    assert not fault_of(["millrace", "jobs", "list", "--state", "failed"])
    assert fault_of(["millrace", "jobs", "lst"])
    assert fault_of(["millrace", "jobs", "list", "--stat", "failed"])
    assert fault_of(["./task", "nothing"])


@EACH
def test_settings_exist(path: Path) -> None:
    known = {*settings.KEYS.values(), *NOT_SETTINGS, *NOT_OURS}
    assert not [name for name in SETTING.findall(text_of(path)) if name not in known]


# Tables.


@EACH
def test_tables_equal_the_code(path: Path) -> None:
    for name, written in doc_tables.in_document(text_of(path)):
        assert written == TABLES[name](), "run `./task tables` and commit what it wrote"


def test_every_table_stands_somewhere() -> None:
    written = [name for path in DOCUMENTS for name, _ in doc_tables.in_document(text_of(path))]
    assert sorted(written) == sorted(TABLES)


# Examples; `test_doc_examples.py` runs them.


@EACH
def test_python_in_a_document_can_be_read(path: Path) -> None:
    for language, block in FENCE.findall(text_of(path)):
        if language == "python":
            ast.parse(block)


@EACH
def test_no_place_of_one_machine_is_named(path: Path) -> None:
    assert not re.findall(r"/(?:root|work|home)/\w+", text_of(path))


def test_decisions_are_numbered_without_a_gap() -> None:
    files = sorted(path.name for path in (ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [name[:4] for name in files] == [f"{number:04}" for number in range(len(files))]
    for name in files:
        text = text_of(ROOT / "docs" / "decisions" / name)
        assert text.startswith(f"# {int(name[:4])}. "), name
        assert HEADING.findall(text)[1:] == [
            "What we met",
            "What we decided",
            "What follows",
            "What else was looked at",
        ], name
