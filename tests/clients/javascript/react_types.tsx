// What TypeScript accepts and refuses of the hooks. A line below `@ts-expect-error` must be wrong.

import { connect, type Gateway, type Gap, type Message, type Refused, type State, type Why } from "gateway-client";
import { GatewayProvider, useCall, useConnection, useEvent, useGateway, useRoom } from "gateway-client/react";

declare module "gateway-client" {
  interface Messages {
    "dice.roll": { data: { sides: number }; reply: { value: number } };
    "dice-tray/leeren": { data: { all?: boolean }; reply: { was: number } };
  }
  interface Events {
    "dice.rolled": { value: number };
  }
}

declare const name: string;
const gateway: Gateway = connect("https://chat.example.com");

export const page = <GatewayProvider gateway={gateway}><p /></GatewayProvider>;
// @ts-expect-error The gateway is missing.
export const without = <GatewayProvider><p /></GatewayProvider>;
// @ts-expect-error A URL is no gateway.
export const wrong = <GatewayProvider gateway="https://chat.example.com" />;

export function Connection() {
  const given: Gateway = useGateway(gateway);
  const { state, why, user }: { state: State; why: Why | null; user: string | null } = useConnection(given);
  const connection = useConnection();
  // @ts-expect-error The state is the gateway's.
  connection.state = "open";
  // @ts-expect-error There is no such state.
  if (state === "online") return null;
  return <p>{state} {why?.message} {user}</p>;
}

export function Room() {
  const room = useRoom("lobby", gateway);
  const messages: readonly Message[] = room.messages;
  const gap: Gap | null = room.gap;
  const why: Refused | null = room.why;
  room.send("Hello").then(({ message, duplicate }) => [message.id, duplicate]);
  room.send({ text: "Hello", reply_to: "a.1" }, { client_id: "a1", signal: AbortSignal.timeout(1) });
  room.send({ body: { any: 1 } });
  room.older(10).then(() => room.discard("a1"));
  // @ts-expect-error A message has a text or a body.
  room.send({ reply_to: "a.1" });
  // @ts-expect-error The list belongs to the view.
  room.messages.push(messages[0]);
  // @ts-expect-error A room has a name.
  useRoom();
  return <p>{gap?.reason} {why?.status} {room.typing.join()} {room.sending[0]?.error?.message} {room.hasOlder}</p>;
}

export function Events() {
  useEvent("chat.message", ({ sender, offset }) => sender.at(offset));
  useEvent("dice.rolled", ({ value }) => value.toFixed(), gateway);
  useEvent("*", (event) => event.type === "chat.read" && event.data.offset.toFixed());
  useEvent(name, (data) => data.anything);
  // @ts-expect-error This event has no colour.
  useEvent("dice.rolled", ({ colour }) => colour);
  // @ts-expect-error There is no such event.
  useEvent("chat.massage", () => {});
  // @ts-expect-error The function is missing.
  useEvent("chat.message");
  return null;
}

export function Calls() {
  const { call, data, error, isPending } = useCall("dice.roll");
  const value: number | undefined = data?.value;
  const shown: Error | null = error;
  call({ sides: 6 }, { timeout: 1000 }).then((reply): number => reply.value);
  useCall("room.list").call();
  useCall("dice-tray/leeren").call().then(({ was }) => was.toFixed());
  useCall(name, gateway).call({ anything: 1 }).then((reply) => reply.anything);
  // @ts-expect-error A die has sides.
  call({});
  // @ts-expect-error A number is wanted.
  call({ sides: "6" });
  // @ts-expect-error Data is needed.
  call();
  // @ts-expect-error There is no such message.
  useCall("dice.rol");
  // @ts-expect-error The reply has no colour.
  return <p>{value} {shown?.message} {isPending} {data.colour}</p>;
}
