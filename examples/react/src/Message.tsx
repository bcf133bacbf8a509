import type { Message } from "gateway-client";
import type { Sending } from "gateway-client/react";
import type { ReactNode } from "react";
import { Avatar } from "./Avatar";
import { sentence } from "./LogIn";

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });
const TOGETHER_MS = 5 * 60_000;

/** A message, below the date if it is the first one of its day. */
export function Day({ message, before, children }: { message: Message; before: Message | undefined; children: ReactNode }) {
  const date = DATE.format(new Date(message.sent_at));
  const isFirst = !before || DATE.format(new Date(before.sent_at)) !== date;
  return (
    <>
      {isFirst && <h2 className="day">{date}</h2>}
      {children}
    </>
  );
}

export function Line({ message, before, isOwn }: { message: Message; before: Message | undefined; isOwn: boolean }) {
  const sentAt = new Date(message.sent_at);
  const isNext = before?.sender === message.sender && sentAt.getTime() - Date.parse(before.sent_at) < TOGETHER_MS;
  return (
    <article className="line" data-own={isOwn} data-next={isNext}>
      {!isOwn && <Avatar name={message.sender} />}
      <div>
        {!isNext && !isOwn && <strong>{message.sender}</strong>}
        <p className="bubble" data-deleted={message.deleted}>
          {textOf(message)}
          <time dateTime={message.sent_at}>{message.edited_at && "edited "}{TIME.format(sentAt)}</time>
        </p>
      </div>
    </article>
  );
}

function textOf({ text, body, deleted }: Message): string {
  if (deleted) return "This message was deleted.";
  return text ?? JSON.stringify(body);
}

/** A message of the user that the gateway does not have yet. */
export function SendingLine({ message, onAgain, onDrop }: { message: Sending; onAgain: () => void; onDrop: () => void }) {
  const { content, error } = message;
  return (
    <article className="line" data-own data-sending>
      <div>
        <p className="bubble">
          {typeof content === "string" ? content : "text" in content ? content.text : JSON.stringify(content.body)}
          {!error && <time>sending…</time>}
        </p>
        {error && (
          <p className="problem" role="alert">
            {sentence(error.message)} <button className="quiet" onClick={onAgain}>Try again</button>
            <button className="quiet" onClick={onDrop}>Drop</button>
          </p>
        )}
      </div>
    </article>
  );
}
