// A balancer with no memory at all: every request goes to the next gateway, whatever it belongs to.
import http from 'node:http';
import { HOST } from './process.mjs';

/** Refusals that are kept word for word; beyond that they are only counted. */
const REFUSALS_KEPT = 50;

/**
 * Starts it before `nodes`; those that refuse a connection are passed over. `statuses` counts what
 * was answered, by status; `refusals` keeps the first noes to requests of sessions, with what was
 * asked. Handshakes are only counted: a gateway that drains refuses them.
 */
export async function startBalancer(nodes) {
  let turn = 0;
  const statuses = new Map();
  const refusals = [];
  const count = (status) => statuses.set(status, (statuses.get(status) ?? 0) + 1);

  /** Counts a no, and keeps it if it is one to a session. */
  function refuse({ method, url }, body, port, { statusCode: status = 502, message = '' }) {
    count(status);
    const refusal = { at: Date.now(), method, url, sent: String(body ?? '').slice(0, 200), port, status, said: message };
    if (url.includes('sid=') && refusals.length < REFUSALS_KEPT) refusals.push(refusal);
    return refusal;
  }

  /** Counts an answer. */
  function note(request, body, port, from) {
    if (from.statusCode < 300) return count(from.statusCode);
    const refusal = refuse(request, body, port, { statusCode: from.statusCode });
    from.on('data', (chunk) => {
      refusal.said = (refusal.said + chunk).slice(0, 200);
    });
  }

  function attempt(request, body, answer, fail, tries = 1, first = (turn += 1)) {
    const { port } = nodes[(first + tries) % nodes.length];
    const { method, url, headers } = request;
    const passed = http.request({ host: HOST, port, method, path: url, headers, agent: false });
    passed.on('error', (error) => {
      if (error.code === 'ECONNREFUSED' && tries < nodes.length) attempt(request, body, answer, fail, tries + 1, first);
      else fail(error, port);
    });
    answer(passed, port);
    passed.end(body);
  }

  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const body = Buffer.concat(parts);
    const fail = (error, port) => {
      // A client that went away was not refused.
      if (response.destroyed) return;
      refuse(request, body, port, error);
      if (!response.headersSent) response.writeHead(502);
      response.end();
    };
    const answer = (passed, port) => {
      passed.on('response', (from) => {
        note(request, body, port, from);
        response.writeHead(from.statusCode, from.headers);
        from.pipe(response);
        from.on('error', () => response.destroy());
      });
      response.on('close', () => passed.destroy());
    };
    attempt(request, body, answer, fail);
  });
  server.on('upgrade', (request, client, head) => {
    client.on('error', () => {});
    const head101 = ({ rawHeaders }) => {
      const lines = [];
      for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
      return `HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`;
    };
    const answer = (passed, port) => {
      passed.on('upgrade', (from, upstream, rest) => {
        count(101);
        upstream.on('error', () => client.destroy());
        client.write(head101(from));
        client.write(rest);
        upstream.write(head);
        upstream.pipe(client);
        client.pipe(upstream);
        client.on('close', () => upstream.destroy());
      });
      passed.on('response', (from) => {
        note(request, undefined, port, from);
        from.resume();
        client.end(`HTTP/1.1 ${from.statusCode} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      });
    };
    attempt(request, undefined, answer, (error, port) => {
      if (client.destroyed) return;
      refuse(request, undefined, port, error);
      client.destroy();
    });
  });
  await new Promise((resolve, reject) => server.listen(0, HOST, resolve).on('error', reject));
  const { port } = server.address();
  return {
    port,
    url: `http://${HOST}:${port}`,
    statuses,
    refusals,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
