// BullMQ: a queue on Redis.
import { Queue, Worker } from "bullmq";
import { noting, run } from "./conversation.mjs";

// Finished jobs are removed, as its documentation advises: else Redis keeps them all in memory.
const options = { removeOnComplete: true };

function connection(given) {
  const { hostname, port } = new URL(given.redis);
  return { host: hostname, port: Number(port) };
}

await run({
  work(given) {
    const started = noting();
    const worker = new Worker("bench", async (job) => started(job.data.index), {
      connection: { ...connection(given), maxRetriesPerRequest: null },
      concurrency: given.slots,
    });
    worker.on("error", (error) => console.error(String(error)));
  },

  async client(given) {
    const queue = new Queue("bench", { connection: connection(given) });
    queue.on("error", (error) => console.error(String(error)));
    await queue.waitUntilReady();
    return {
      create: (index) => queue.add("noop", { index }, options),
      createMany: (indexes) => queue.addBulk(indexes.map((index) => ({ name: "noop", data: { index }, opts: options }))),
      close: () => queue.close(),
    };
  },
});
