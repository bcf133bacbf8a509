// The tokens of a log-in. Only the memory of this page has them, so a reload asks for the password again.

import type { TokenRequest } from "gateway-client";

interface Grant {
  access_token: string;
  refresh_token: string;
}

/** The gateway's answer is an error. */
export class Failed extends Error {
  constructor(readonly status: number, message: string) {
    super(message);
  }
}

export class Session {
  private constructor(private grant: Grant) {}

  static async logIn(username: string, password: string): Promise<Session> {
    return new Session(await requestToken({ username, password }));
  }

  static async register(username: string, password: string): Promise<Session> {
    await post("/users", JSON.stringify({ username, password }), { "Content-Type": "application/json" });
    return Session.logIn(username, password);
  }

  /** Return a token for the client. It asks once at a time, so a refresh token is used once. */
  getToken = async ({ reason, previous, signal }: TokenRequest): Promise<string | null> => {
    if (reason === "connect" && previous === undefined) return this.grant.access_token;
    try {
      const { refresh_token } = this.grant;
      this.grant = await requestToken({ grant_type: "refresh_token", refresh_token }, signal);
      return this.grant.access_token;
    } catch (error) {
      if (error instanceof Failed && error.status < 429) return null; // the session has ended: log in again
      throw error; // the client tries again later
    }
  };

  /** End the session, with all its tokens and connections. */
  async end(): Promise<void> {
    await post("/token/revoke", new URLSearchParams({ token: this.grant.refresh_token })).catch(() => {});
  }
}

function requestToken(form: Record<string, string>, signal?: AbortSignal): Promise<Grant> {
  return post("/token", new URLSearchParams(form), {}, signal);
}

async function post(path: string, body: BodyInit, headers: HeadersInit = {}, signal?: AbortSignal): Promise<any> {
  const response = await fetch(path, { method: "POST", body, headers, signal: signal ?? null });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Failed(response.status, answer.details?.[0]?.message ?? answer.message ?? response.statusText);
  return answer;
}
