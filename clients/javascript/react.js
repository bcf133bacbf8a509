// Hooks for React: a component sees the connection, a room, an event or the answer of a call.

import {
  createContext, createElement, useCallback, useContext, useEffect, useInsertionEffect, useRef, useState,
  useSyncExternalStore,
} from "react";
import { viewOf } from "./room-view.js";

/** @import { Gateway, State } from "./gateway-client.js" */
/** @import { Connection } from "./react.js" */

const Context = createContext(/** @type {Gateway | null} */ (null));

/** @param {{gateway: Gateway, children?: import("react").ReactNode}} props */
export function GatewayProvider({ gateway, children }) {
  return createElement(Context.Provider, { value: gateway }, children);
}

/** @param {Gateway} [given] @returns {Gateway} */
export function useGateway(given) {
  const provided = useContext(Context);
  const gateway = given ?? provided;
  if (gateway) return gateway;
  throw new Error("expected a gateway or a GatewayProvider");
}

/** @param {Gateway} [given] @returns {Connection} */
export function useConnection(given) {
  const gateway = useGateway(given);
  const subscribe = useCallback((/** @type {() => void} */ tell) => {
    const off = gateway.onState(tell);
    if (gateway.state === "idle") gateway.open().catch(() => {}); // the state says why
    return off;
  }, [gateway]);
  // A server, and the page that takes over from it, know no connection.
  const state = useSyncExternalStore(subscribe, () => gateway.state, () => /** @type {State} */ ("idle"));
  const why = useSyncExternalStore(subscribe, () => gateway.why, () => null);
  return { state, why, user: state === "idle" ? null : gateway.user };
}

/** @param {string} name @param {Gateway} [given] */
export function useRoom(name, given) {
  const view = viewOf(useGateway(given).room(name));
  return useSyncExternalStore(view.subscribe, view.get, () => view.initial);
}

/** @param {string} type @param {(data: any) => void} fn @param {Gateway} [given] */
export function useEvent(type, fn, given) {
  const gateway = useGateway(given);
  const newest = useRef(fn);
  // At once, since an event may come before the other effects.
  useInsertionEffect(() => {
    newest.current = fn;
  });
  useEffect(() => gateway.on(type, (data) => newest.current(data)), [gateway, type]);
}

/** @param {string} type @param {Gateway} [given] @returns {any} */
export function useCall(type, given) {
  const gateway = useGateway(given);
  const life = useRef(/** @type {any} */ (null));
  const [{ data, error, pending }, show] = useState(/** @type {any} */ ({ error: null }));
  // Before the other effects, since these may call.
  useInsertionEffect(() => {
    const own = (life.current = new AbortController());
    return () => own.abort();
  }, [gateway, type]);

  const call = useCallback((/** @type {any} */ data, /** @type {any} */ options) => {
    const answer = gateway.call(type, data, { ...options, signal: life.current.signal });
    show((/** @type {any} */ now) => ({ ...now, error: null, pending: answer }));
    /** @param {{data?: any, error?: unknown}} result */
    const settle = (result) => {
      show((/** @type {any} */ now) => (now.pending === answer ? { ...now, ...result, pending: null } : now));
    };
    answer.then((data) => settle({ data }), (error) => settle({ error }));
    return answer;
  }, [gateway, type]);

  return { data, error, isPending: !!pending, call };
}
