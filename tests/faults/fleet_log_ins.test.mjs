// A fleet's store and its Redis break while everybody refreshes all the time and some log out. Nobody is
// signed out who did not ask for it, and nobody's socket outlives a log-out, wherever it is.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { ask, device, person, rest } from '../harness/people.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';
import { scaled } from '../harness/speed.mjs';

const PEOPLE = 16;
/** How long people refresh before a fault, and after it. */
const CALM_MS = 1_500;

/** Somebody who refreshes all the time, and repeats with the same token what was answered 503. */
class Stayer {
  constructor(fleet, i, who) {
    Object.assign(this, { fleet, i, token: who.refreshToken, refreshed: 0, repeated: 0, refused: null, stopped: false });
  }

  async run() {
    for (let call = 0; !this.stopped; call += 1) {
      // Any node answers, and a repetition may meet another one.
      const api = rest(this.fleet.node(this.i + call).url);
      const answer = await api.post('/auth/refresh', { refreshToken: this.token }, { timeout: scaled(15_000) }).catch(() => null);
      if (answer?.status === 200) {
        this.token = answer.data.refreshToken;
        this.refreshed += 1;
      } else if (answer === null || answer.status === 503) {
        this.repeated += 1;
        await sleep(200);
      } else {
        this.refused = `${answer.status} ${JSON.stringify(answer.data)} after ${this.refreshed} refreshes`;
        return;
      }
    }
  }
}

/** Everybody refreshes; `fault` breaks the store, and gives what heals it. */
async function refreshThrough(name, fleet, fault) {
  const people = await Promise.all(Array.from({ length: PEOPLE }, (_, i) => person(fleet.node(i), 'stayer')));
  const sockets = await Promise.all(people.map((who, i) => device(fleet.node(i), who, { reconnection: false })));
  const stayers = people.map((who, i) => new Stayer(fleet, i, who));
  const leavers = await Promise.all(Array.from({ length: 4 }, (_, i) => person(fleet.node(i), 'leaver')));
  const leaving = await Promise.all(leavers.map((who, i) => device(fleet.node(i), who, { reconnection: false })));
  try {
    const all = Promise.all(stayers.map((stayer) => stayer.run()));
    await sleep(CALM_MS);
    let logOuts;
    const heal = await fault(() => {
      logOuts = leavers.map((who, i) => rest(fleet.node(i + 1).url).post('/auth/logout', { refreshToken: who.refreshToken }));
    });
    await heal?.();
    const answers = (await Promise.all(logOuts)).map(({ status }) => status);
    // Whatever they were told, and though nobody repeats it.
    for (const socket of leaving) {
      await socket.hears('server_closing', ({ reason }) => reason === 'kicked', 20_000);
    }
    await sleep(CALM_MS);
    const before = stayers.map(({ refreshed }) => refreshed);
    await until('everybody to refresh again', () => stayers.every(({ refreshed, refused }, i) => refused || refreshed > before[i]), 20_000);
    stayers.forEach((stayer) => {
      stayer.stopped = true;
    });
    await all;
    const sum = (field) => stayers.reduce((n, stayer) => n + stayer[field], 0);
    const signedOut = stayers.map(({ refused }) => refused).filter(Boolean);
    console.log(`${name}: ${sum('refreshed')} refreshes, ${sum('repeated')} repeated, log-outs answered ${answers}, ${signedOut.length} of ${PEOPLE} signed out`);
    assert.deepEqual(signedOut, []);
    for (const [i, socket] of sockets.entries()) {
      assert.ok(socket.connected, `socket ${i} stayed: ${JSON.stringify(socket.of('server_closing'))}`);
    }
  } finally {
    stayers.forEach((stayer) => {
      stayer.stopped = true;
    });
    [...sockets, ...leaving].forEach((socket) => socket.disconnect());
  }
}

describe('log-ins of a fleet on a replica set of three', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ nodes: 2, store: 'replicaSet' });
  });
  after(() => fleet?.stop());

  const scenario = (name, fault) =>
    it(name, { timeout: scaled(120_000) }, () =>
      refreshThrough(name, fleet, async (logOut) => {
        const broken = fault(fleet.mongo);
        // While there is no primary.
        await sleep(300);
        logOut();
        const heal = await broken;
        await fleet.mongo.writable();
        return heal;
      }));

  scenario('the primary is killed', (mongo) => mongo.killPrimary());
  scenario('the primary is stopped for a while', (mongo) => mongo.pausePrimary());
  scenario('the primary steps down', (mongo) => mongo.stepDown());
});

describe('log-ins of a fleet on a replica set that elects slowly', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ nodes: 2, store: 'slowReplicaSet' });
  });
  after(() => fleet?.stop());

  it('stay when the primary cannot reach most members for some seconds', { timeout: scaled(120_000) }, () =>
    refreshThrough('no majority for 5 s', fleet, async (logOut) => {
      const thaw = await fleet.mongo.freezeSecondaries();
      logOut();
      await sleep(5_000);
      return thaw;
    }));
});

describe('log-outs of a fleet that loses its Redis', () => {
  let fleet;
  let proxy;
  before(async () => {
    fleet = await startFleet({
      nodes: 2,
      flagsOf: async (i, { redis }) => {
        // The last node reaches Redis by a network of its own.
        if (i !== 1) return {};
        proxy = await startProxy(redis.port);
        return { backplane: `redis://${HOST}:${proxy.port}` };
      },
    });
  });
  after(async () => {
    await fleet?.stop();
    await proxy?.stop();
  });

  it('end sockets on a node that is cut off', { timeout: scaled(60_000) }, async () => {
    const [here, there] = [fleet.node(0), fleet.node(1)];
    const ann = await person(here, 'cut');
    const login = async () => (await rest(here.url).post('/auth/login', { login: ann.username, password: ann.password })).data;
    const [out, stays] = [await login(), await login()];
    const socketOf = ({ accessToken }) => device(there, { token: accessToken }, { reconnection: false });
    const [leaving, staying] = [await socketOf(out), await socketOf(stays)];
    proxy.freeze();
    await until('the node to notice', async () => (await total([there], 'syncchat_backplane_connected')) === 0, 15_000);
    assert.equal((await rest(here.url).post('/auth/logout', { refreshToken: out.refreshToken })).status, 204);
    const began = Date.now();
    // Long before the comparison at rest.
    await leaving.hears('server_closing', ({ reason }) => reason === 'kicked');
    console.log(`cut off from redis: the socket ended after ${Date.now() - began} ms`);
    assert.ok((await ask(staying, 'sync', { all: true })).ok);
    proxy.heal();
    await until('the node to be back', async () => (await total([there], 'syncchat_backplane_connected')) === 1, 15_000);
    assert.ok((await ask(staying, 'sync', { all: true })).ok);
    staying.disconnect();
  });
});
