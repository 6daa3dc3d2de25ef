// Published JavaScript clients pay for a joke, each in its own way, and say so: one line of JSON
// for each. Only their wallet is ours, a shim that pays at the simulated node.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { fetch402 } from "@getalby/lightning-tools/402";
import { fetchWithL402 } from "@getalby/lightning-tools/402/l402";
import axios from "axios";

const require = createRequire(import.meta.url);
const { Lsat } = require("lsat-js");
const { MemoryTokenStore, PaymentResult, Wallet, setupL402Interceptor } = require("l402");

const joke = `${process.env.TOLLWAY_GATEWAY_URL}/api/joke`;
let payments = 0;

async function pay(invoice) {
  const answer = await fetch(`${process.env.TOLLWAY_WALLET_URL}/sim/v1/pay`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ invoice }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  payments += 1;
  return (await answer.json()).preimage;
}

function version(name) {
  const file = new URL(`node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

// Asks twice: the client has to pay once and to be served twice.
async function row(client, name, rail, calls) {
  const before = payments;
  let served = 0;
  let reason = "";
  try {
    for (const call of calls) {
      const answer = await call();
      assert.equal(answer.status, 200);
      assert.equal(typeof answer.body.joke, "string");
      served += 1;
    }
  } catch (error) {
    reason = `; failed: ${error}`.replaceAll("\n", " ");
  }
  const times = payments - before === 1 ? "once" : payments - before;
  const result = `paid ${times}, served ${served}${reason}`;
  console.log(JSON.stringify({ client, version: version(name), rail, result }));
}

const read = async (answer) => ({ status: answer.status, body: await answer.json() });
const alby = { payInvoice: async ({ invoice }) => ({ preimage: await pay(invoice) }) };
for (const [name, fetcher] of Object.entries({ fetch402, fetchWithL402 })) {
  let credentials;
  await row(`npm @getalby/lightning-tools, ${name}`, "@getalby/lightning-tools", "L402", [
    async () => {
      const answer = await fetcher(joke, {}, { wallet: alby });
      credentials = answer.payment.credentials;
      return read(answer);
    },
    async () => read(await fetcher(joke, {}, { wallet: alby, credentials })),
  ]);
}

class SimulatedNode extends Wallet {
  async payInvoice(invoice) {
    return new PaymentResult(await pay(invoice), true);
  }
}
const http = axios.create({ proxy: false });
setupL402Interceptor(http, new SimulatedNode(), new MemoryTokenStore());
const get = async () => {
  const answer = await http.get(joke);
  return { status: answer.status, body: answer.data };
};
await row("npm l402", "l402", "L402", [get, get]);

// lsat-js reads challenges and writes credentials; the requests are fetch's.
let lsat;
const withLsat = async () =>
  read(await fetch(joke, { headers: { authorization: lsat.toToken() } }));
await row("npm lsat-js", "lsat-js", "L402, answers LSAT", [
  async () => {
    const challenge = await fetch(joke);
    assert.equal(challenge.status, 402);
    lsat = Lsat.fromHeader(challenge.headers.get("www-authenticate"));
    lsat.setPreimage(await pay(lsat.invoice));
    return withLsat();
  },
  withLsat,
]);
