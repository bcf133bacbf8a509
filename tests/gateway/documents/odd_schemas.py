"""Schemas made by chance, out of all words of JSON Schema: also such as no developer would write."""

from collections.abc import Callable
from random import Random
from typing import Any

from gateway.documents.components import REF

NAMES = [f"T{number}" for number in range(200)]
KEYS = ["a", "b", "with-dash", "größe", "__proto__", "constructor", "a b", 'q"uote', "1", "class", "x\u2028y"]
TYPES = ["string", "number", "integer", "boolean", "null", "array", "object", "strange", ["string", "null"], []]
DATA = [1, -1.5, "a", None, True, [1, "x"], {"k": {"z": []}}, "*/", "`${x}`", "a\nb", "b|c", []]
REFERENCES = ["#/components/schemas/Nope", "#/x", 5, *(REF + name for name in NAMES), f"{REF}T1/properties/a"]
RULES: list[Any] = [
    {"required": ["a"]},
    {"required": ["b"], "properties": {"b": {"not": {"type": "null"}}}},
    {"not": {"required": ["a"]}},
    {"properties": {"a": {"const": 1}}},
    {"required": ["c-d"], "properties": {"c-d": {"type": "string"}}},
]


def odd_schemas(seed: int) -> dict[str, Any]:
    """Return schemas with names, which refer to each other."""
    made = _Maker(Random(seed))
    return {name: made.schema(0) for name in NAMES}


class _Maker:
    def __init__(self, chance: Random) -> None:
        self.chance = chance

    def schema(self, level: int) -> Any:
        if level > 4:
            return self.chance.choice([{}, {"type": "string"}])
        if self.chance.random() < 0.15:
            return self._with_rule(level)
        words = self.chance.sample(list(_WORDS), self.chance.choice([0, 1, 1, 2, 2, 3, 4]))
        return {word: _WORDS[word](self, level + 1) for word in words}

    def _with_rule(self, level: int) -> Any:
        word = self.chance.choice(["oneOf", "anyOf"])
        return {"properties": {key: self.schema(level + 1) for key in "ab"}, word: self.chance.sample(RULES, 2)}

    def any(self, level: int) -> Any:
        return self.schema(level) if self.chance.random() < 0.9 else self.chance.choice([True, False])

    def some(self, level: int) -> Any:
        return [self.any(level) for _ in range(self.chance.randint(0, 3))]

    def named(self, level: int) -> Any:
        return {key: self.any(level) for key in self.keys()}

    def keys(self) -> list[str]:
        return self.chance.sample(KEYS, self.chance.randint(0, 3))


_WORDS: dict[str, Callable[[_Maker, int], Any]] = {
    "type": lambda made, _: made.chance.choice(TYPES),
    "const": lambda made, _: made.chance.choice(DATA),
    "enum": lambda made, _: made.chance.sample(DATA, made.chance.randint(0, 3)),
    "default": lambda made, _: made.chance.choice(DATA),
    "description": lambda made, _: made.chance.choice(["text", "*/ end", "a\n\nb", "@default x"]),
    "$ref": lambda made, _: made.chance.choice(REFERENCES),
    **dict.fromkeys(["anyOf", "oneOf", "allOf", "prefixItems"], _Maker.some),
    **dict.fromkeys(["not", "items", "propertyNames", "additionalProperties"], _Maker.any),
    **dict.fromkeys(["properties", "patternProperties"], _Maker.named),
    "required": lambda made, _: made.keys(),
    **dict.fromkeys(["minItems", "maxItems", "minLength"], lambda made, _: made.chance.randint(0, 3)),
}
