/** Why something was not done, for a program to decide by and for a person to read. */

import type { ErrorBody, ErrorCode } from './contract';

/** The server said no. Nothing of the request was stored. */
export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: ErrorCode;
  readonly fields: Readonly<Record<string, string>>;
  /** When a new try may succeed, if the server said so. */
  readonly retryAfterMs: number | null;

  constructor(body: ErrorBody) {
    super(body.message);
    this.code = body.code;
    this.fields = body.fields ?? {};
    this.retryAfterMs = body.retryAfterMs ?? null;
  }
}

/** No answer came: what became of the request is unknown. */
export class Unreachable extends Error {
  override readonly name = 'Unreachable';

  constructor(message = 'the server cannot be reached') {
    super(message);
  }
}

/** Whether the same request may succeed a little later. */
export function isPassing(error: unknown): boolean {
  if (error instanceof Unreachable) return true;
  return (
    error instanceof Refused &&
    ['unavailable', 'rate_limited', 'internal', 'unauthorized', 'token_expired'].includes(
      error.code,
    )
  );
}

/** What the person is told. */
export function explain(error: unknown): string {
  if (error instanceof Unreachable) return `${sentence(error.message)}. Please try again.`;
  if (error instanceof Refused) {
    switch (error.code) {
      case 'rate_limited':
        return 'That was too fast. Please wait a moment and try again.';
      case 'unavailable':
      case 'internal':
        return 'The server cannot do this just now. Please try again.';
      case 'not_found':
        return 'This is not there any more, or not yours to see.';
      case 'forbidden':
        return 'You may not do this.';
      default:
        return sentence(error.message);
    }
  }
  return 'Something went wrong. Please try again.';
}

/** Server texts are lower case without a final dot. */
export function sentence(text: string): string {
  return text === '' ? '' : `${text[0]?.toUpperCase() ?? ''}${text.slice(1)}`;
}
