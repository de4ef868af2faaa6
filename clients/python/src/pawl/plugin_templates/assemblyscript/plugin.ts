// Counts the bytes of its parameters: replace this with your own work.
import * as pawl from "./pawl";

export function execute_task(): i32 {
  const input = pawl.input();
  if (input.length == 0) return pawl.fail("INVALID_INPUT", "parameters: some are needed");
  pawl.log("counting");
  pawl.progress(50);
  pawl.output(`{"bytes": ${input.length}}`);
  return 0;
}
