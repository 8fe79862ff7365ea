/** Names for things that the server is to know again. */

/** 96 random bits; `randomUUID` is missing where the page came over plain HTTP. */
export function randomId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
