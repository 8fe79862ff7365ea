// A real replica set of three: whoever is primary can be killed, paused or told to step down.
import { access, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { MongoClient } from 'mongodb';
import { mongodArgs, mongodBinary } from './mongod.mjs';
import { HOST, freePort, start, stop, tempDir, until } from './process.mjs';

/** Elections take about two seconds, or, with MongoDB's own settings, begin after ten. */
const ELECTIONS = {
  quick: { electionTimeoutMillis: 1000, heartbeatIntervalMillis: 200, heartbeatTimeoutSecs: 1 },
  slow: {},
};

/** Starts the three and waits for a primary. */
export async function startReplicaSet({ elections = 'quick' } = {}) {
  await access(mongodBinary).catch(() => {
    throw new Error(`no mongod at ${mongodBinary}: run tests/services.sh`);
  });
  const { dir, remove } = await tempDir('mongo3');
  const members = [];
  for (let i = 0; i < 3; i += 1) {
    const dbpath = path.join(dir, String(i));
    await mkdir(dbpath);
    const port = await freePort();
    const launch = () => start(mongodBinary, mongodArgs(port, dbpath));
    members.push({ port, launch, running: launch() });
  }
  for (const member of members) {
    // A client whose first connection failed stays closed, so each try has its own.
    const connect = () =>
      new MongoClient(`mongodb://${HOST}:${member.port}/?directConnection=true`, {
        serverSelectionTimeoutMS: 500,
        socketTimeoutMS: 1_000,
      }).connect();
    member.direct = await until('a mongod to answer', connect, 30_000);
  }
  const admin = (member) => member.direct.db('admin');
  await admin(members[0]).command({
    replSetInitiate: {
      _id: 'rs',
      members: members.map(({ port }, i) => ({ _id: i, host: `${HOST}:${port}` })),
      settings: ELECTIONS[elections],
    },
  });
  const says = async (member) => {
    try {
      return await admin(member).command({ hello: 1 });
    } catch {
      return {};
    }
  };
  /** The member that is primary; another one than `not`, where that is given. */
  const primary = (not) =>
    until(
      'a primary',
      async () => {
        const live = members.filter((member) => member !== not);
        const answers = await Promise.all(live.map(says));
        return live.find((_, i) => answers[i].isWritablePrimary);
      },
      30_000,
    );
  const first = await primary();
  // One that dies before the others have copied everything takes the set with it.
  const whole = async () => {
    const answers = await Promise.all(members.filter((member) => member !== first).map(says));
    return answers.every((answer) => answer.secondary);
  };
  await until('the others to follow', whole, 30_000);
  return {
    url: (db) => `mongodb://${members.map(({ port }) => `${HOST}:${port}`).join(',')}/${db}?replicaSet=rs`,
    primary,
    /**
     * Waits until most members take a write: a new primary is not enough, for a secondary that was
     * copying from the old one has to notice first.
     */
    async writable() {
      const writeConcern = { w: 'majority', j: true, wtimeoutMS: 30_000 };
      await until('most members to take a write', async () => {
        await (await primary()).direct.db('probe').collection('writes').insertOne({}, { writeConcern });
        return true;
      }, 30_000);
    },
    /** Kills the primary, waits for the next; gives what brings the killed one back. */
    async killPrimary() {
      const was = await primary();
      was.running.child.kill('SIGKILL');
      await was.running.exited;
      await primary(was);
      return async () => {
        was.running = was.launch();
        await until('the member to be back', async () => (await says(was)).secondary, 30_000);
      };
    },
    /** Stops the primary with SIGSTOP, waits for the next; gives what lets it go on. */
    async pausePrimary() {
      const was = await primary();
      was.running.child.kill('SIGSTOP');
      await primary(was);
      return async () => {
        was.running.child.kill('SIGCONT');
        await until('the member to be back', async () => (await says(was)).secondary, 30_000);
      };
    },
    /**
     * Stops both others with SIGSTOP: the primary takes writes that are not durable. It steps down when
     * an election's time has passed. Gives what lets them go on.
     */
    async freezeSecondaries() {
      const is = await primary();
      const others = members.filter((member) => member !== is);
      others.forEach(({ running }) => running.child.kill('SIGSTOP'));
      return () => others.forEach(({ running }) => running.child.kill('SIGCONT'));
    },
    /** Makes the primary step down and waits for the next. */
    async stepDown() {
      const was = await primary();
      // Refused while the others lag, and without an answer in time when it waits for them.
      const ask = () => admin(was).command({ replSetStepDown: 12, secondaryCatchUpPeriodSecs: 5 });
      await until('the primary to step down', async () => {
        await ask().catch(() => {});
        return !(await says(was)).isWritablePrimary;
      }, 30_000);
      await primary();
    },
    async stop() {
      await Promise.all(members.map((member) => member.direct.close()));
      await Promise.all(members.map((member) => stop(member.running, 'SIGKILL')));
      await remove();
    },
  };
}
