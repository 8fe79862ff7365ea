/**
 * Finds web addresses in a message. The text stays text: what comes out is a list of pieces, each
 * shown as a text node, and only `http:` and `https:` addresses become links.
 */

export type Piece = { readonly text: string; readonly href?: string };

const CANDIDATE = /\bhttps?:\/\/[^\s<>"'`]+/giu;
/** What ends a sentence rather than an address. */
const TRAILING = /[.,;:!?…]+$/u;

function href(text: string): string | null {
  try {
    const url = new URL(text);
    const isWeb = url.protocol === 'http:' || url.protocol === 'https:';
    // An address with a name before the host is more often bait than a link.
    return isWeb && url.hostname !== '' && url.username === '' ? url.href : null;
  } catch {
    return null;
  }
}

/** Without punctuation after it, and without a bracket that was opened before it. */
function trimmed(text: string): string {
  let end = text;
  for (;;) {
    const shorter = end.replace(TRAILING, '');
    const closes = shorter.endsWith(')') && count(shorter, ')') > count(shorter, '(');
    const next = closes ? shorter.slice(0, -1) : shorter;
    if (next === end) return end;
    end = next;
  }
}

const count = (text: string, character: string) => text.split(character).length - 1;

export function pieces(text: string): readonly Piece[] {
  const found: Piece[] = [];
  let from = 0;
  for (const match of text.matchAll(CANDIDATE)) {
    const shown = trimmed(match[0]);
    const address = href(shown);
    if (address === null) continue;
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: shown, href: address });
    from = match.index + shown.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}
