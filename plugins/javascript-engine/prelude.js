/* What a plugin in JavaScript finds: `pawl`, and a console that writes to the task's log. */
"use strict";
const pawl = {
  /** One op of the guest ABI; its `ok`. An error of the op is thrown: `code`, `message`, `retryable`. */
  call(op, args = {}, name = "") {
    const reply = JSON.parse(__call(JSON.stringify({ op, name, args })));
    if (reply.error) throw Object.assign(new Error(reply.error.message), reply.error);
    return reply.ok;
  },
  log: (message, fields = {}, level = "info") => pawl.call("log", { level, message: String(message), fields }),
  progress: (percent, message = "") => pawl.call("progress", { percent, message }),
  /** Whether somebody wants the task to end. */
  cancelRequested: () => pawl.call("heartbeat").cancel_requested,
  secret: (name) => pawl.call("secret", {}, name).value,
  /** `request`: {url, method, headers, body, timeout_seconds, redirects}; gives {status, url, headers, body}. */
  http: (request) => pawl.call("http", request),
  /** A value of the job's config, or a fact of the task (`task.id`, `task.attempt`, ...). */
  config: (key) => __config(key),
};
const console = {};
for (const level of ["trace", "debug", "info", "warn", "error"])
  console[level] = (...words) => pawl.log(words.map((word) => (typeof word === "string" ? word : JSON.stringify(word) ?? String(word))).join(" "), {}, level);
console.log = console.info;

let __status = null;
function __failed(thrown) {
  const error = thrown instanceof Error ? thrown : new Error(typeof thrown === "string" ? thrown : JSON.stringify(thrown));
  const { code, retryable, retry_after_seconds } = typeof thrown === "object" && thrown !== null ? thrown : {};
  if (code === undefined && error.stack) console.error(`${error.name}: ${error.message}\n${error.stack}`);
  const found = { code: code ?? "PLUGIN_ERROR", message: error.message || error.name, retryable: retryable === true };
  if (typeof retry_after_seconds === "number") found.retry_after_seconds = retry_after_seconds;
  __error(JSON.stringify(found));
  __status = 1;
}
function __succeeded(output) {
  if (typeof output === "string") __output(output);
  else if (output !== undefined) __output(JSON.stringify(output));
  __status = 0;
}
function __run() {
  try {
    if (typeof execute_task !== "function") throw new Error("the script defines no function execute_task(input)");
    let input = __input();
    const type = pawl.config("task.content_type") ?? "";
    if (input === "") input = undefined;
    else if (type === "" || type.startsWith("application/json")) input = JSON.parse(input);
    const output = execute_task(input);
    if (output instanceof Promise) output.then(__succeeded).catch(__failed);
    else __succeeded(output);
  } catch (thrown) {
    __failed(thrown);
  }
}
function __end() {
  if (__status === null) __failed(new Error("the promise of execute_task never ends: nothing is left to wait for"));
  return __status;
}
