import { useState, type FormEvent } from "react";
import { Session } from "./session";

export function LogIn({ onEnter }: { onEnter: (session: Session) => void }) {
  const [problem, setProblem] = useState("");
  const [isBusy, setBusy] = useState(false);

  async function submit(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    const isNew = (event.nativeEvent as SubmitEvent).submitter?.id === "register";
    setBusy(true);
    setProblem("");
    try {
      const enter = isNew ? Session.register : Session.logIn;
      onEnter(await enter(String(form.get("name")), String(form.get("password"))));
    } catch (error) {
      setProblem(sentence((error as Error).message));
      setBusy(false);
    }
  }

  return (
    <main className="log-in">
      <form onSubmit={(event) => void submit(event)} aria-busy={isBusy}>
        <Logo />
        <h1>Welcome</h1>
        <p className="soft">Log in, or register a new name.</p>
        <label>
          Name
          <input name="name" autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus />
        </label>
        <label>
          Password
          <input name="password" type="password" autoComplete="current-password" required />
        </label>
        <p className="problem" role="alert">{problem}</p>
        <div className="buttons">
          <button className="primary" disabled={isBusy}>Log in</button>
          <button id="register" disabled={isBusy}>Register</button>
        </div>
      </form>
    </main>
  );
}

function Logo() {
  return (
    <svg className="logo" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M6 4h20a4 4 0 0 1 4 4v12a4 4 0 0 1-4 4H15l-7 6v-6H6a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z" />
    </svg>
  );
}

/** Return a message of the gateway as a sentence. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1).replace(/\.?$/, ".");
}
