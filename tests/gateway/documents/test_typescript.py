"""The exported types compile in strict mode, let right calls through, and refuse wrong ones."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.documents.catalog import Catalog, catalog_of
from gateway.documents.place import Place
from gateway.documents.typescript import NAME, typescript
from gateway.documents.typescript_types import TypeScript, comment
from gateway.routes.json_schema import JsonSchema
from gateway.routes.model import Route
from handlers.registry import BUILT_IN
from tests.gateway.documents.odd_schemas import odd_schemas
from tests.gateway.documents.own_types import OWN
from tests.support.node import environment, tool

CLIENT = Path(__file__).parents[3] / "clients/javascript"
WAIT_SECONDS = 60

ORDER = {
    "type": "object",
    "properties": {"sku": {"$ref": "#/$defs/Sku"}, "inner": {"$ref": "#"}, "odd": {"$ref": "#/$defs/a~1b"}},
    "required": ["sku"],
    "additionalProperties": False,
    "$defs": {"Sku": {"type": "integer", "minimum": 1}, "a/b": {"enum": ["x"]}},
}
ROUTES = (
    Route("orders.create", data=JsonSchema(ORDER), reply=JsonSchema({"type": "object"})),
    Route("orders.list"),
    Route("bills.*"),
)

SETTINGS = {
    "compilerOptions": {
        "strict": True,
        "exactOptionalPropertyTypes": True,
        "noUncheckedIndexedAccess": True,
        "noEmit": True,
        "target": "ES2022",
        "lib": ["ES2022", "DOM", "DOM.Iterable"],
        "module": "ESNext",
        "moduleResolution": "bundler",
        "types": [],
        "paths": {"gateway-client": ["./client/gateway-client.d.ts"]},
    },
    "include": ["*.ts", "client/*.d.ts"],
}

RIGHT = """\
import { connect } from "gateway-client";
import type { GatewayErrors, OwnErrors, Tree, SendMessage } from "./messages";

const gateway = connect("https://chat.example.com");

// Built-in messages: either a text or a body.
const sent = await gateway.call("chat.send", { room: "lobby", text: "hi" });
const words: string | undefined = sent.message.text;
await gateway.call("chat.send", { room: "lobby", body: [1, { two: 2 }], reply_to: null });
const draft: SendMessage = { room: "lobby", text: "hi", body: null };
await gateway.call("chat.edit", { room: "lobby", message_id: "a.1", text: "hi" });
await gateway.call("announce", { body: false });
await gateway.call("chat.history", { room: "lobby" });
await gateway.call("chat.history", { room: "lobby", before: 7, limit: 20 });
await gateway.call("chat.history", { room: "lobby", after: 7, before: null });
await gateway.call("room.update", { room: "lobby", private: true });
await gateway.call("room.update", { room: "lobby", title: "x", signals: false });
await gateway.call("ping");
await gateway.call("room.list");
await gateway.call("echo", [1, "two", null]);
await gateway.call("presence.set", { room: "lobby", state: null });

// A reply with two forms.
const joined = await gateway.call("room.join", { room: "lobby", since: { epoch: "k3f9", offset: 5 } });
if (joined.recovered === true) {
  const first = joined.events[0]?.data.id;
} else {
  const newest: string | undefined = joined.messages[0]?.text;
}
const resumed = await gateway.call("room.resume", { rooms: [{ room: "lobby" }] });
for (const room of resumed.rooms) {
  if ("error" in room) {
    const status: number = room.error.status;
  } else {
    const members: number = room.members;
  }
}

// Own messages: recursion, unions, any JSON, and names with dashes and other letters.
const tree: Tree = { name: "oak", children: [{ name: "twig", children: [], parent: null }] };
const planted = await gateway.call("tree.plant", tree);
const deep: string | undefined = planted.children[0]?.children[0]?.name;
await gateway.call("zoo.open", { first: { kind: "cat" }, others: [{ kind: "dog", tricks: ["sit"] }, "snake", null] });
const zoo = await gateway.call("zoo.open", { first: { kind: "dog" } });
const lives: number = zoo.first.kind === "cat" ? zoo.first.lives : zoo.first.tricks.length;
const odd = await gateway.call("odd-one", { anything: new Map(), pair: [1, "a"], "with-dash": "x", größe: "m" });
await gateway.call("odd-one", { anything: 1, one_of: true });
const colour: "red" | "green" = odd.colour;
const size: number | undefined = odd.size?.depth;
const second: string = odd.pair[1];
const dashed: string = odd["with-dash"];
await gateway.call("odd_one", { anything: null, level: 2, point: { x: 1, y: 2 }, numbers: { a: 1 } });
const page = await gateway.call("größe/ü");
const name: string | undefined = page.items[0]?.name;
const sum: number = await gateway.call("数", [1, 2]);
await gateway.call("pay", { card: "1234" });
await gateway.call("pay", { cash: 20, currency: "CHF" });
await gateway.call("pay.back", { card: "1234" });
await gateway.call("class");
await gateway.call("__proto__");
await gateway.call('a "quoted" \\\\ type');

// Streams.
const story = gateway.stream("story.tell");
for await (const chunk of story) {
  const piece: string = typeof chunk === "string" ? chunk : chunk.name;
}
const told: number = (await story.reply).words;
const whole = await gateway.call("story.tell");
const all: string = whole.text ?? String(whole.items?.length) + whole.words;

// Events.
for await (const message of gateway.events("chat.message")) {
  const sender: string = message.sender;
}
gateway.on("story-told", (event) => {
  const pages: number | string = event.pages;
  const parent: string | undefined = event.tree?.parent?.name;
});
gateway.on("hotel.room", (event) => event.number.toFixed());
gateway.on("room.updated", (event) => event.room.name.length);

// Messages of routes.
await gateway.call("orders.create", { sku: 7, inner: { sku: 8 }, odd: "x" });
await gateway.call("orders.list", { anything: 1 });

const missing: GatewayErrors["not_found"] = 40400;
const gone: OwnErrors["sold_out"] = 60001;
"""

WRONG = [
    'gateway.call("chat.send", { room: "lobby" })',
    'gateway.call("chat.send", { room: "lobby", text: "hi", body: 1 })',
    'gateway.call("chat.send", { room: "lobby", text: null })',
    'gateway.call("chat.send", { room: "lobby", body: null })',
    'gateway.call("chat.send", { text: "hi" })',
    'gateway.call("chat.send", { room: "lobby", text: "hi", txet: 1 })',
    'gateway.call("chat.send")',
    'gateway.call("chat.sned", { room: "lobby", text: "hi" })',
    'gateway.call("chat.history", { room: "lobby", before: 7, after: 1 })',
    'gateway.call("room.update", { room: "lobby" })',
    'gateway.call("room.update", { room: "lobby", title: null })',
    'gateway.call("room.role", { room: "lobby", user: "bobby", role: "king" })',
    'gateway.call("ping", { now: true })',
    '(await gateway.call("chat.send", { room: "lobby", text: "hi" })).message.text.length',
    '(await gateway.call("room.join", { room: "lobby" })).events.length',
    '(await gateway.call("room.join", { room: "lobby" })).missing',
    'gateway.call("tree.plant", { name: "oak", children: [{ name: 1 }] })',
    'gateway.call("zoo.open", { first: { kind: "snake" } })',
    'gateway.call("zoo.open", { first: { kind: "cat", tricks: [] } })',
    'gateway.call("odd-one", { anything: 1, pair: [1, 2] })',
    'gateway.call("odd-one", { anything: 1, pair: [1] })',
    'gateway.call("odd-one", { anything: 1, colour: "blue" })',
    'gateway.call("odd-one", { anything: 1, level: 3 })',
    'gateway.call("odd-one", { anything: 1, always: "no" })',
    'gateway.call("odd-one", { anything: 1, numbers: { a: "b" } })',
    'gateway.call("odd-one", {})',
    '(await gateway.call("odd-one", { anything: 1 })).anything.length',
    'gateway.call("数", ["1"])',
    'gateway.call("pay", { card: "1234", cash: 1 })',
    'gateway.call("pay", {})',
    'gateway.call("pay.back", { card: "1234", cash: 1 })',
    '(await gateway.call("class")).length',
    '(await gateway.stream("story.tell").reply).text',
    'for await (const chunk of gateway.stream("story.tell")) chunk.length',
    'gateway.call("orders.create", { sku: "7" })',
    'gateway.call("orders.create", { sku: 7, inner: {} })',
    'gateway.call("orders.create", { sku: 7, odd: "y" })',
    'gateway.call("bills.pay", {}).then((reply: string, other: number) => reply)',
    'gateway.on("story-told", (event) => event.tree.name)',
    'gateway.on("story-told", (event) => event.title.toFixed())',
    'gateway.events("chat.massage")',
    'const status: import("./messages").OwnErrors["sold_out"] = 40400',
    'const empty: import("./messages").Empty = { x: 1 }',
]


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return catalog_of(BUILT_IN | OWN, ROUTES)


@pytest.mark.server
def test_right_calls_compile_in_strict_mode_and_wrong_ones_do_not(catalog: Catalog, tmp_path: Path) -> None:
    (tmp_path / "client").mkdir()
    for file in CLIENT.glob("*.d.ts"):
        if file.name != "react.d.ts":  # which needs the types of React
            shutil.copy(file, tmp_path / "client")
    (tmp_path / NAME).write_text(typescript(catalog, Place())[NAME])
    (tmp_path / "tsconfig.json").write_text(json.dumps(SETTINGS))
    (tmp_path / "right.ts").write_text(RIGHT)
    (tmp_path / "examples.ts").write_text("\n".join(examples_with_types(catalog)))
    (tmp_path / "odd.ts").write_text("\n".join(TypeScript(odd_schemas(seed=17)).declarations()))
    wrong = (f"// @ts-expect-error\nasync function wrong{at}() {{ {line}; }}" for at, line in enumerate(WRONG))
    (tmp_path / "wrong.ts").write_text(
        "\n".join(['import { connect } from "gateway-client";', 'const gateway = connect("http://x");', *wrong])
    )
    done = subprocess.run(
        [tool("tsc"), "--project", str(tmp_path), "--pretty", "false"],
        capture_output=True,
        text=True,
        env=environment(),
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("", 0)


def examples_with_types(catalog: Catalog) -> Iterator[str]:
    """Lines that compile if each example has the type that the file says."""
    yield 'import type { GatewayEvents, GatewayMessages, OwnEvents, OwnMessages } from "./messages";'
    yield "type Messages = GatewayMessages & OwnMessages;\ntype Events = GatewayEvents & OwnEvents;"
    values = [
        *((f"Messages[{json.dumps(each.type)}]['data']", one) for each in catalog.messages for one in each.examples),
        *(
            (f"Messages[{json.dumps(each.type)}]['reply']", one)
            for each in catalog.messages
            for one in each.reply_examples
        ),
        *((f"Events[{json.dumps(each.type)}]", one) for each in catalog.events for one in each.examples),
    ]
    for number, (type_, value) in enumerate(values):
        yield f"export const example{number}: {type_} = {json.dumps(value)};"


def test_the_javascript_client_ships_the_types_of_the_gateway() -> None:
    assert (CLIENT / NAME).read_text() == typescript(catalog_of(BUILT_IN), Place())[NAME], (
        "write it again: gateway export typescript --force -o clients/javascript"
    )


def test_the_types_of_the_gateway_alone_fill_no_map_of_an_application() -> None:
    [(name, text)] = typescript(catalog_of(BUILT_IN), Place()).items()
    assert name == "messages.d.ts"
    assert "declare module" not in text
    assert "Own" not in text


def test_an_application_s_types_are_in_the_maps_of_the_client_and_the_gateway_s_are_not(catalog: Catalog) -> None:
    text = typescript(catalog, Place())[NAME]
    own = text.partition("export interface OwnMessages {")[2]
    assert '"tree.plant": { data: Tree; reply: TreePlantTree };' in own
    assert '"chat.send"' not in own
    assert "interface Messages extends OwnMessages {}" in own


def test_each_type_says_what_it_is_for(catalog: Catalog) -> None:
    text = typescript(catalog, Place())[NAME]
    assert "/** A tree, which has trees. */\nexport interface Tree {" in text
    assert "   * The token needs the scope `chat:write`.\n" in text
    assert "A `*\\/` in a text ends no comment." in text


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        (True, "unknown"),
        (False, "never"),
        ({}, "unknown"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "(string | null)[]"),
        ({"type": "array"}, "unknown[]"),
        (
            {"prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 1, "items": False},
            "[string, number?]",
        ),
        ({"prefixItems": [{"type": "string"}], "minItems": 1}, "[string, ...unknown[]]"),
        ({"type": "object"}, "{ [key: string]: unknown }"),
        ({"type": "object", "additionalProperties": False}, "{ [key: string]: never }"),
        ({"type": "object", "additionalProperties": {"type": "null"}}, "{ [key: string]: null }"),
        ({"patternProperties": {"^a": {"type": "string"}}}, "{ [key: string]: string }"),
        (
            {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "integer"}},
            '{ [key in "a" | "b"]?: number }',
        ),
        (
            {"properties": {"a": {"type": "string"}}, "additionalProperties": True},
            "{ a?: string; [key: string]: unknown }",
        ),
        ({"const": {"a": [1, None], "b-c": "x"}}, '{ a: [1, null]; "b-c": "x" }'),
        ({"enum": ["a|b", 'c"d', True, 1.5]}, '"a|b" | "c\\"d" | true | 1.5'),
        ({"enum": []}, "never"),
        ({"const": "zero\u200bwidth"}, '"zero\\u200bwidth"'),
        ({"anyOf": [{"type": "string"}, {}]}, "unknown"),
        ({"anyOf": [{"const": "a|b"}], "type": "string"}, 'string & "a|b"'),
        (
            {"allOf": [{"$ref": "#/components/schemas/A"}, {"properties": {"x": {"type": "string"}}}]},
            "A & { x?: string }",
        ),
        ({"allOf": [{"type": ["string", "null"]}, {"minLength": 1}]}, "string | null"),
        ({"$ref": "#/components/schemas/Nowhere"}, "unknown"),
        ({"$ref": "https://example.com/schema"}, "unknown"),
        ({"$ref": "#/components/schemas/A/properties/b~1c"}, "ABC"),
        ({"type": "strange"}, "unknown"),
        (
            {"properties": {"constructor": {}, "a b": {}}, "required": ["a b"]},
            '{ constructor?: unknown; "a b": unknown }',
        ),
        (
            {"properties": {"a": {"type": "string"}, "b": {}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
            "{ a: string; b?: null } | { a?: never; b: unknown }",
        ),
        (
            {"properties": {"a": {}}, "anyOf": [{"type": "object", "required": ["a"]}, {"maxProperties": 3}]},
            "{ a?: unknown }",
        ),
    ],
)
def test_each_kind_of_schema_has_its_type(schema: Any, text: str) -> None:
    types = TypeScript({"A": {"properties": {"b/c": {"type": "string"}}}})
    assert types.text_of(schema) == text


def test_a_type_that_is_nothing_but_itself_is_anything() -> None:
    schemas: dict[str, Any] = {
        "Self": {"$ref": "#/components/schemas/Self"},
        "One": {"anyOf": [{"$ref": "#/components/schemas/Other"}, {"type": "null"}]},
        "Other": {"allOf": [{"$ref": "#/components/schemas/One"}]},
        "Json": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/components/schemas/Json"}}]},
    }
    assert TypeScript(schemas).declarations() == [
        "export type Self = unknown;",
        "export type One = unknown;",
        "export type Other = unknown;",
        "export type Json = string | Json[];",
    ]


def test_a_type_with_the_name_of_a_map_has_another() -> None:
    types = TypeScript({"OwnMessages": {"type": "string"}}, ["OwnMessages"])
    assert types.declarations() == ["export type OwnMessages2 = string;"]


def test_a_comment_ends_where_it_should() -> None:
    assert comment("") == []
    assert comment("ends */ here") == ["/** ends *\\/ here */"]
    assert comment("one\n\ntwo") == ["/**", " * one", " *", " * two", " */"]
