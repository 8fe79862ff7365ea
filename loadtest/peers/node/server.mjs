// A chat as most are built on Socket.IO: say who you are, join rooms, send; each message is
// validated, stored if a store is named, acknowledged, and emitted to its room.
//
//   node server.mjs --port 9001 [--store mongodb://…] [--redis redis://…]
import { createServer } from "node:http";
import { parseArgs } from "node:util";
import { randomBytes } from "node:crypto";
import { createAdapter } from "@socket.io/redis-adapter";
import { MongoClient, ObjectId } from "mongodb";
import { createClient } from "redis";
import { Server } from "socket.io";

const { values: options } = parseArgs({
  options: {
    port: { type: "string" },
    store: { type: "string" },
    redis: { type: "string" },
  },
});

const messages = options.store ? await openStore(options.store) : null;
const http = createServer();
const io = new Server(http, { serveClient: false });
if (options.redis) {
  const publisher = createClient({ url: options.redis });
  const subscriber = publisher.duplicate();
  await Promise.all([publisher.connect(), subscriber.connect()]);
  io.adapter(createAdapter(publisher, subscriber));
}

io.use((socket, next) => {
  const user = socket.handshake.auth?.token;
  if (typeof user !== "string" || user.length === 0) return next(new Error("unauthorized"));
  socket.data.user = user;
  next();
});

io.on("connection", (socket) => {
  socket.on("join", (room, ack) => {
    socket.join(room);
    ack({ ok: true });
  });
  socket.on("send_msg", async (request, ack) => {
    const problem = validate(socket, request);
    if (problem) return ack({ ok: false, error: problem });
    const message = compose(socket.data.user, request);
    try {
      if (messages) await messages.insertOne(message);
    } catch {
      return ack({ ok: false, error: "unavailable" });
    }
    ack({ ok: true, message });
    socket.to(message.conversationId).emit("receive_msg", message);
  });
});

http.listen(Number(options.port), "127.0.0.1", 4096);
process.on("SIGTERM", () => process.exit(0));

async function openStore(url) {
  const client = await new MongoClient(url, {
    writeConcern: { w: "majority", journal: true },
  }).connect();
  const collection = client.db().collection("messages");
  await collection.createIndex({ conversationId: 1, createdAt: 1 });
  return collection;
}

function validate(socket, request) {
  const { conversationId, content } = request ?? {};
  if (typeof conversationId !== "string" || !socket.rooms.has(conversationId)) return "not_found";
  if (typeof content !== "string") return "invalid";
  const length = content.trim().length;
  return length > 0 && length <= 4000 ? null : "invalid";
}

function compose(user, request) {
  const now = new Date().toISOString();
  return {
    // Without a store an ObjectId costs more than it is worth here.
    _id: messages ? new ObjectId() : randomId(),
    conversationId: request.conversationId,
    sender: user,
    content: request.content,
    type: "text",
    status: "sent",
    readBy: [],
    edited: false,
    deleted: false,
    attachments: [],
    clientMsgId: request.clientMsgId ?? null,
    createdAt: now,
    updatedAt: now,
  };
}

function randomId() {
  return randomBytes(12).toString("hex");
}
