// A balancer with no memory at all: every request goes to the next gateway, whatever it belongs to.
import http from 'node:http';
import { HOST } from './process.mjs';

/**
 * Starts it before `nodes`; those that refuse a connection are passed over. `statuses` counts what
 * was answered, by status.
 */
export async function startBalancer(nodes) {
  let turn = 0;
  const statuses = new Map();
  const count = (status) => statuses.set(status, (statuses.get(status) ?? 0) + 1);

  function attempt(request, body, tries, answer, fail) {
    turn += 1;
    const { port } = nodes[turn % nodes.length];
    const { method, url, headers } = request;
    const passed = http.request({ host: HOST, port, method, path: url, headers, agent: false });
    passed.on('error', (error) => {
      if (error.code === 'ECONNREFUSED' && tries < nodes.length) attempt(request, body, tries + 1, answer, fail);
      else fail();
    });
    answer(passed);
    passed.end(body);
  }

  const server = http.createServer(async (request, response) => {
    const parts = [];
    for await (const part of request) parts.push(part);
    const fail = () => {
      count(502);
      if (!response.headersSent) response.writeHead(502);
      response.end();
    };
    const answer = (passed) => {
      passed.on('response', (from) => {
        count(from.statusCode);
        response.writeHead(from.statusCode, from.headers);
        from.pipe(response);
        from.on('error', () => response.destroy());
      });
      response.on('close', () => passed.destroy());
    };
    attempt(request, Buffer.concat(parts), 1, answer, fail);
  });
  server.on('upgrade', (request, client, head) => {
    client.on('error', () => {});
    const head101 = ({ rawHeaders }) => {
      const lines = [];
      for (let i = 0; i < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
      return `HTTP/1.1 101 Switching Protocols\r\n${lines.join('\r\n')}\r\n\r\n`;
    };
    const answer = (passed) => {
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
        count(from.statusCode);
        from.resume();
        client.end(`HTTP/1.1 ${from.statusCode} Refused\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`);
      });
    };
    attempt(request, undefined, 1, answer, () => client.destroy());
  });
  await new Promise((resolve, reject) => server.listen(0, HOST, resolve).on('error', reject));
  const { port } = server.address();
  return {
    port,
    url: `http://${HOST}:${port}`,
    statuses,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
