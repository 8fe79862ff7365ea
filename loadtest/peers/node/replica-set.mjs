// Makes a lone mongod a replica set of one, and waits until it takes writes.
//
//   node replica-set.mjs PORT
import { MongoClient } from "mongodb";

const address = `127.0.0.1:${process.argv[2]}`;
const client = await new MongoClient(`mongodb://${address}/?directConnection=true`).connect();
const admin = client.db("admin");
await admin.command({ replSetInitiate: { _id: "rs", members: [{ _id: 0, host: address }] } });
while (!(await admin.command({ hello: 1 })).isWritablePrimary) {
  await new Promise((resolve) => setTimeout(resolve, 50));
}
await client.close();
