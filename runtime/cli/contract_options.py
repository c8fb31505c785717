"""A contract as a command's options: names, help and bounds come from its fields, and so do the faults.

To Typer every option is text; msgspec reads all of them together, so that every fault is told at once.
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer

from runtime import arguments
from runtime.descriptor import Argument, arguments_of

_PREFIX = "field_"
_BARE = "bare_word"
_LONGEST_DEFAULT = 40
_OPTION = re.compile(r"--?[A-Za-z]")


class OptionsOf:
    """The options of one contract.

    The first required field can be given without its name. Fields whose `Meta(extra={"argument": "ID"})` says so are
    given in no other way, in their order; `Meta(extra={"complete": names})` offers what the function `names` returns.
    """

    def __init__(self, contract: type[msgspec.Struct]) -> None:
        self.contract = contract
        self.arguments = arguments_of(contract)
        self._fields = {field.encode_name: field for field in msgspec.structs.fields(contract)}
        extras = {name: _extra(field.type) for name, field in self._fields.items()}
        self._only_bare = {name: str(extra["argument"]) for name, extra in extras.items() if "argument" in extra}
        self._complete: dict[str, Callable[[], list[str]]] = {
            name: extra["complete"] for name, extra in extras.items() if "complete" in extra
        }
        required = [one.name for one in self.arguments if one.required]
        self._bare = [*self._only_bare] or required[:1]

    def parameters(self) -> list[inspect.Parameter]:
        """For the signature of the function that Typer sees."""
        made = [_parameter(f"{_BARE}_{place}", self._argument(name)) for place, name in enumerate(self._bare)]
        named = [one for one in self.arguments if one.name not in self._only_bare]
        return made + [_parameter(_PREFIX + one.name, self._option(one)) for one in named]

    def read(self, given: dict[str, Any], loose: Sequence[str]) -> tuple[msgspec.Struct | None, list[str]]:
        """The contract, or everything that is wrong with what was given; `loose` is what no option has taken."""
        bare = [given.pop(f"{_BARE}_{place}", None) for place in range(len(self._bare))]
        words = [*(word for word in bare if word is not None), *loose]
        values = {name.removeprefix(_PREFIX): value for name, value in given.items() if value is not None}
        faults = self._take_loose(words, values)
        for one in self.arguments:
            if one.name in values:
                faults += _decode_json(one, values)
        found = arguments.field_faults(self.contract, values, strict=False)
        faults += [f"{self._shown(field)}: {fault}" if field else fault for field, fault in found]
        if faults:
            return None, faults
        try:
            return msgspec.convert(values, self.contract, strict=False), []
        except msgspec.ValidationError as error:
            return None, [str(error)]

    def example(self, command: str) -> str:
        """The shortest command line that could work."""
        required = [one for one in self.arguments if one.required and one.name not in self._only_bare]
        shown = [f"{one.option} {_metavar(one)}" for one in required]
        return " ".join([command, *self._only_bare.values(), *shown])

    def _take_loose(self, words: list[str], values: dict[str, Any]) -> list[str]:
        """Words that no option has taken: the bare one, options that don't exist, and what is too much."""
        faults = []
        bare: list[str] = []
        waiting = False
        for word in words:
            if _OPTION.match(word):
                faults.append(self._unknown(word.partition("=")[0]))
                waiting = "=" not in word
            elif waiting:
                waiting = False  # the value of the unknown option
            else:
                bare.append(word)
        for name, word in zip(self._bare, bare, strict=False):
            if name in values:
                faults.append(f"{self._shown(name)}: given twice, as {word!r} too")
            values[name] = word
        return faults + [f"{word!r}: an argument too much" for word in bare[len(self._bare) :]]

    def _unknown(self, flag: str) -> str:
        known = {one.option[2:]: one.option for one in self.arguments if one.name not in self._only_bare}
        near = [known[name] for name in difflib.get_close_matches(flag.lstrip("-"), known, n=1)]
        hint = f"did you mean {near[0]}?" if near else "--help lists those that there are"
        return f"{flag}: no such option; {hint}"

    def _shown(self, field: str) -> str:
        if field in self._only_bare:
            return self._only_bare[field]
        return next((one.option for one in self.arguments if one.name == field), field)

    def _argument(self, name: str) -> Any:
        one = next(one for one in self.arguments if one.name == name)
        only = self._only_bare.get(name)
        option = typer.Argument(
            metavar=only if only and one.required else f"[{only or name.upper()}]",
            help=_help(one, self._choices(name)) if only else f"The same as {one.option}.",
            show_default=False,
            autocompletion=self._completing(name),
        )
        return Annotated[str | None, option]

    def _option(self, one: Argument) -> Any:
        if one.type == "boolean":
            both = one.required or one.nullable or one.default is True
            flags = f"{one.option}/--no-{one.option[2:]}" if both else one.option
            return Annotated[bool | None, typer.Option(flags, help=_help(one, []), show_default=False)]
        option = typer.Option(
            one.option,
            metavar=_metavar(one),
            help=_help(one, self._choices(one.name)),
            show_default=False,
            autocompletion=self._completing(one.name),
        )
        repeated = one.type == "array"
        return Annotated[list[str] | None, option] if repeated else Annotated[str | None, option]

    def _choices(self, name: str) -> list[str]:
        return arguments.choices_of(self._fields[name].type)

    def _completing(self, name: str) -> Callable[[], list[str]] | None:
        choices = self._choices(name)
        return self._complete.get(name) or ((lambda: choices) if choices else None)


def _parameter(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _extra(type_: Any) -> Mapping[str, Any]:
    metadata = getattr(type_, "__metadata__", ())
    return next((one.extra for one in metadata if isinstance(one, msgspec.Meta) and one.extra), {})


def _metavar(one: Argument) -> str:
    return (one.format or {"string": "text", "array": "text", "object": "json"}.get(one.type, one.type)).upper()


def _help(one: Argument, choices: list[str]) -> str:
    text = one.description.replace("[", "\\[")
    notes = [f"one of {', '.join(choices)}"] if choices else []
    if one.required:
        notes.append("required")
    elif one.default not in (None, False, "", [], {}):
        default = msgspec.json.encode(one.default).decode().strip('"')
        notes.append(f"default: {default[:_LONGEST_DEFAULT]}")
    notes += [f"{word} {bound}" for word, bound in _bounds(one.bounds)]
    if one.type == "array":
        notes.append("can be repeated")
    return text + (f" [dim]({'; '.join(notes)})[/dim]" if notes else "")


def _bounds(bounds: Mapping[str, Any]) -> list[tuple[str, Any]]:
    words = {"minimum": "from", "maximum": "to", "exclusiveMinimum": "above", "exclusiveMaximum": "below"}
    return [(word, bounds[bound]) for bound, word in words.items() if bound in bounds]


def _decode_json(one: Argument, values: dict[str, Any]) -> list[str]:
    """What is no single value is given as JSON."""
    if one.type != "object":
        return []
    try:
        values[one.name] = msgspec.json.decode(values[one.name])
    except msgspec.DecodeError as error:
        del values[one.name]
        return [f"{one.option}: not JSON: {error}"]
    return []
