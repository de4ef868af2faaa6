// Restate: a durable execution server that keeps its own log; a service is called by it over HTTP/2.
import http2 from "node:http2";
import { createRequire } from "node:module";
import * as restate from "@restatedev/restate-sdk";
import * as clients from "@restatedev/restate-sdk-clients";
import { noting, run } from "./conversation.mjs";

// The SDK wants Node 22. This is all that it lacks on Node 20.
Promise.withResolvers ??= () => {
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  return made;
};

// A line for every call would be measured too.
const quiet = (meta, message) => {
  if (meta.level === "error" || meta.level === "warn") console.error(String(message));
};

const at = (port) => `http://127.0.0.1:${port}`;
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function service(started) {
  return restate.service({
    name: "bench",
    handlers: { noop: async (_context, index) => started(index) },
  });
}

// The server learns where the service is; the same again changes nothing.
async function registered(given) {
  for (let turn = 0; turn < 300; turn += 1) {
    try {
      const answer = await fetch(`${at(given.admin_port)}/deployments`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ uri: at(given.endpoint_port) }),
      });
      if (answer.ok) return;
    } catch {
      // not up yet
    }
    await sleep(100);
  }
  throw new Error("the service was not registered");
}

await run({
  serve(given) {
    const program = `@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`;
    return {
      command: [createRequire(import.meta.url).resolve(program), "--no-logo", "--listen-mode", "tcp"],
      environ: {
        RESTATE_BASE_DIR: `${given.folder}/restate`,
        RESTATE_NODE_NAME: "bench",
        RESTATE_BIND_ADDRESS: `127.0.0.1:${given.node_port}`,
        RESTATE_INGRESS__BIND_ADDRESS: `127.0.0.1:${given.port}`,
        RESTATE_ADMIN__BIND_ADDRESS: `127.0.0.1:${given.admin_port}`,
        RESTATE_DISABLE_TELEMETRY: "true",
        RESTATE_LOG_FILTER: "warn",
      },
    };
  },

  work(given) {
    const handler = restate.createEndpointHandler({ services: [service(noting())], logger: quiet });
    http2.createServer(handler).listen(given.endpoint_port, "127.0.0.1");
  },

  async client(given) {
    await registered(given);
    const ingress = clients.connect({ url: at(given.port) });
    const bench = ingress.serviceSendClient(service(() => {}));
    const create = (index) => bench.noop(index);
    return {
      create,
      // It has no call for many: all at once.
      createMany: (indexes) => Promise.all(indexes.map(create)),
      close() {},
    };
  },
});
