// What the page says of problems, in sentences.

import { Lost, Refused } from "./client/gateway-client.js";

/** @import { Why } from "../../clients/javascript/gateway-client.js" */

/** For the reasons that are the client's own. All others are words of the gateway. */
const OWN_REASONS = {
  lost: "The connection was lost.",
  no_token: "No new token came.",
  silent: "The gateway does not answer.",
  unreachable: "The gateway is out of reach.",
};

/** Return a problem as the outcome. Throw any other error: it is a mistake of this page. @returns {Refused | Lost} */
export function asProblem(error) {
  if (error instanceof Refused || error instanceof Lost) return error;
  throw error;
}

/** Whether the outcome of a call is none that it wants. */
export function isProblem(outcome) {
  return outcome instanceof Error;
}

/** @param {Refused | Lost} problem */
export function wordsOf(problem) {
  if (problem instanceof Lost) return problem.sent ? "The connection was lost before the answer came." : "Not connected.";
  const { message, details, retryAfterMs: wait } = problem;
  // The client joins one room as a list of one.
  const fields = details.map(({ field, message }) => `${field.replace(/^data\.(rooms\.\d+\.)?/, "")}: ${message}.`);
  return fields.join(" ") || sentence(message) + (wait ? ` Try again in ${seconds(wait)}.` : "");
}

/** Return why the connection has ended. @param {Why} why */
export function reasonOf({ reason }) {
  return OWN_REASONS[reason] ?? sentence(reason.replaceAll("_", " "));
}

export function sentence(text) {
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}

export function seconds(milliseconds) {
  return `${Math.max(0, Math.ceil(milliseconds / 1000))}\u00a0s`;
}
