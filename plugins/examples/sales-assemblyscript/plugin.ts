// Adds up a column of a table in CSV: "item,amount\npen,2.5\nink,4" becomes {"rows": 2, "sum": 6.5}.
//
// The config key `column` names the column, else it is `amount`. No quotes in fields: it is an example.
import * as pawl from "./pawl";

export function execute_task(): i32 {
  const wanted = pawl.config("column") == "" ? "amount" : pawl.config("column");
  const lines = pawl.text().trimEnd().split("\n");
  const column = lines[0].trimEnd().split(",").indexOf(wanted);
  if (column < 0) return pawl.fail("INVALID_INPUT", `parameters: the first line names no column "${wanted}"`);
  let sum: f64 = 0;
  for (let i = 1; i < lines.length; i++) {
    const fields = lines[i].trimEnd().split(",");
    const value = column < fields.length ? Number.parseFloat(fields[column]) : NaN;
    if (isNaN(value)) return pawl.fail("INVALID_INPUT", `parameters: line ${i + 1} has no number in "${wanted}"`);
    sum += value;
  }
  pawl.log(`added ${lines.length - 1} rows`);
  pawl.progress(100);
  pawl.output(`{"rows": ${lines.length - 1}, "sum": ${sum}}`);
  return 0;
}
