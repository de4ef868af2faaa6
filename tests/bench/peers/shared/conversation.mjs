// What an adapter in JavaScript is made of: the same roles and conversation as in conversation.py, which explains them.
import fs from "node:fs";
import readline from "node:readline";

const BATCH = 500;
const CALLERS = 2;
const CREATE_MS = 20_000;

export const given = JSON.parse(process.env.PEER);
const now = () => Number(process.hrtime.bigint());
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export function noting() {
  const file = fs.openSync(given.starts, "a");
  return (index) => fs.writeSync(file, `${index} ${process.hrtime.bigint()}\n`);
}

export async function run({ client, work, prepare, serve }) {
  const role = process.argv[2];
  if (role === "serve") console.log(JSON.stringify(serve(given)));
  else if (role === "speak") await speak(await client(given));
  else await { prepare, work }[role]?.(given);
}

async function speak(client) {
  console.log(JSON.stringify({ ready: true }));
  for await (const line of readline.createInterface({ input: process.stdin })) {
    console.log(JSON.stringify(await answer(client, JSON.parse(line))));
  }
  await client.close();
}

async function answer(client, asked) {
  const indexes = Array.from({ length: asked.count }, (_, turn) => asked.first + turn);
  const at = [];
  const refused = [];
  const one = async (index) => {
    at.push([index, now()]);
    let timer;
    const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("no answer")), CREATE_MS)));
    try {
      await Promise.race([client.create(index), late]);
    } catch (error) {
      refused.push([index, String(error).slice(0, 300)]);
    } finally {
      clearTimeout(timer);
    }
  };
  const each = async (left, create) => {
    for (let next = left.next(); !next.done; next = left.next()) await create(next.value);
  };
  const begun = now();
  if (asked.do === "create_many") {
    const batches = [];
    for (let start = 0; start < indexes.length; start += BATCH) batches.push(indexes.slice(start, start + BATCH));
    const left = batches.values();
    await Promise.all(Array.from({ length: CALLERS }, () => each(left, (batch) => client.createMany(batch))));
  } else if (asked.do === "create_each") {
    const left = indexes.values();
    await Promise.all(Array.from({ length: asked.callers }, () => each(left, one)));
  } else {
    const calls = [];
    for (const [turn, index] of indexes.entries()) {
      const due = begun / 1e6 + turn * asked.every * 1e3 - now() / 1e6;
      if (due > 0) await sleep(due);
      calls.push(one(index));
    }
    await Promise.all(calls);
  }
  return { begun, ended: now(), at, refused };
}
