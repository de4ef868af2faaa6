// Counts the bytes of its parameters: replace this with your own work.
//
// `input` is the parsed JSON, or text; what is returned is the output. `pawl` has log, progress, http, secret, config,
// cancelRequested. An Error with a `code` fails the task with it, `retryable: true` lets it be tried again.

function execute_task(input) {
  if (input === undefined) throw Object.assign(new Error("parameters: some are needed"), { code: "INVALID_INPUT" });
  pawl.log("counting");
  pawl.progress(50);
  const text = typeof input === "string" ? input : JSON.stringify(input);
  return { bytes: encodeURIComponent(text).replace(/%../g, "x").length };
}
