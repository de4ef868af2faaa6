// Adds up orders by customer, the largest first:
// [{"customer": "Ada", "amount": 5}, ...] becomes {"customers": [["Ada", 5], ...], "total": 5}.
//
// The config key `currency` is put beside the total, the config key `rates_url` says where its rate is asked for.

function execute_task(orders) {
  if (!Array.isArray(orders)) throw invalid("parameters: a list of orders is needed");
  const rate = rateOf(pawl.config("currency"));
  const sums = new Map();
  orders.forEach(({ customer, amount }, index) => {
    if (typeof customer !== "string") throw invalid(`parameters[${index}].customer: a text is needed`);
    if (!Number.isFinite(amount)) throw invalid(`parameters[${index}].amount: a number is needed`);
    sums.set(customer, (sums.get(customer) ?? 0) + amount * rate);
  });
  pawl.log("added", { orders: orders.length, customers: sums.size });
  const customers = [...sums].sort(([a, x], [b, y]) => y - x || a.localeCompare(b));
  return { customers, total: customers.reduce((total, [, sum]) => total + sum, 0) };
}

function rateOf(currency) {
  const url = pawl.config("rates_url");
  if (currency === undefined || url === undefined) return 1;
  const answer = pawl.http({ url: `${url}/${currency}`, timeout_seconds: 5 });
  if (answer.status !== 200)
    throw Object.assign(new Error(`no rate for ${currency}: ${answer.status}`), { code: "NO_RATE", retryable: true, retry_after_seconds: 30 });
  return JSON.parse(answer.body).rate;
}

function invalid(message) {
  return Object.assign(new Error(message), { code: "INVALID_INPUT" });
}
