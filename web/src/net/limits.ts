/** Every bound of the network side, with its unit and reason, in one place. */

/** An ack that has not come by then counts as lost; the request may be repeated. */
export const ACK_TIMEOUT_MS = 12_000;
/** A REST call without an answer. */
export const REST_TIMEOUT_MS = 15_000;

/** A connection that is not there by then is tried anew. */
export const CONNECT_TIMEOUT_MS = 8_000;
/** The first wait before a new connection; it doubles, with half of it random, … */
export const RECONNECT_FIRST_MS = 500;
/** … up to here. */
export const RECONNECT_MAX_MS = 10_000;
/** How much of the wait is random, so that a fleet's clients do not all return at once. */
export const RECONNECT_JITTER = 0.5;

/** A token is renewed this long before its end, or after two thirds of a short life. */
export const RENEW_LEAD_MS = 120_000;
/** A token with less than this left is not used for a new request. */
export const TOKEN_MARGIN_MS = 3_000;
/** Between tries to renew, or to log out, while the server cannot be reached. */
export const RENEW_RETRY_MS = 5_000;
/** Tries of one renewal whose token another tab replaced while it was refused. */
export const RENEWALS_MAX = 3;
/** Tries to tell the server of a log-out, in one page; the next page goes on. */
export const LOGOUT_TRIES_MAX = 12;

/** Messages on a page of history. */
export const PAGE = 50;
/** The same where many are new: the server's bound. */
export const PAGE_MAX = 200;
/**
 * Conversations named in one `sync`: about 30 bytes each, where the server takes messages of
 * 100,000 bytes. With more than this they are asked about in several requests.
 */
export const SYNC_CURSORS_MAX = 2_000;
/** Rounds of `sync` before a conversation that is still behind is reloaded from its end. */
export const SYNC_ROUNDS_MAX = 20;
/** Pages of the list of conversations that are read; more than anyone scrolls through. */
export const LIST_PAGES_MAX = 40;
/** People asked about in one `presence` request (the server's bound). */
export const PRESENCE_USERS_MAX = 500;
/** A gap may close by itself: my own message can be acknowledged before the one above it comes. */
export const GAP_PATIENCE_MS = 400;

/** Tries to send a message that the server cannot take just now; then it is shown as failed. */
export const SEND_TRIES_MAX = 8;
/** The wait after the first of them; it doubles, jittered, … */
export const SEND_RETRY_FIRST_MS = 500;
/** … up to here. */
export const SEND_RETRY_MAX_MS = 10_000;

/** Tries to begin a conversation while somebody waits for it; later tries are theirs. */
export const CREATE_TRIES_MAX = 3;
/** The wait after the first of them; it doubles, jittered. */
export const CREATE_RETRY_FIRST_MS = 1_000;

/** A server that asks to wait longer than this is not waited for: what was tried is shown as failed. */
export const SEND_WAIT_MAX_MS = 5_000;

/** A link to a file is used again for this share of its life. */
export const LINK_KEPT_SHARE = 0.5;
/** Links kept. */
export const LINKS_MAX = 500;
/** Files on their way at once, of all conversations; more are left out, and the page says so. */
export const UPLOADS_MAX = 50;
/** Those of them that are sent just now: browsers open few connections to one server. */
export const UPLOADS_RUNNING_MAX = 3;
/** An upload of which nothing moves for so long counts as broken off. */
export const UPLOAD_STALL_MS = 60_000;
/** Pictures that were uploaded here and are kept to be shown. */
export const PREVIEWS_MAX = 20;
/** How long a picture has to be on the screen before it is asked for: not while one scrolls by. */
export const PICTURE_DELAY_MS = 120;

/** Cursors are told at most this often for a conversation. */
export const MARK_EVERY_MS = 250;
/** `typing` is repeated this often while somebody types; the server lets it end after 6 s. */
export const TYPING_EVERY_MS = 3_000;
/** When the typing of somebody else ends without word. */
export const TYPING_LASTS_MS = 6_000;

/**
 * Messages held of a conversation that is not open: trimmed to the smaller number when it is left,
 * and when more than the larger have come. An open one holds what its reader scrolled through.
 */
export const LOG_KEPT = 500;
export const LOG_MAX = 1_000;

/** Conversations and messages of each that are kept for a start without connection. */
export const SNAPSHOT_CONVERSATIONS = 50;
export const SNAPSHOT_MESSAGES = 50;
/** The snapshot follows a change after this long. */
export const SNAPSHOT_DELAY_MS = 1_500;
