// Published JavaScript clients of the scheme Payment pay for jokes, each request by itself, and say
// so: one line of JSON for each. Their wallet is a shim that pays at the simulated node.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fetchWithMpp } from "@getalby/lightning-tools/402/mpp";
import { Credential, Method, Receipt, z } from "mppx";
import { Mppx } from "mppx/client";

const joke = `${process.env.TOLLWAY_GATEWAY_URL}/api/joke`;
const paid = [];

async function pay(invoice) {
  const answer = await fetch(`${process.env.TOLLWAY_WALLET_URL}/sim/v1/pay`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ invoice }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  const { preimage } = await answer.json();
  paid.push(preimage);
  return preimage;
}

function version(folder) {
  const file = new URL(`${folder}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(file, "utf8")).version;
}

async function hashOf(preimage) {
  const hash = await crypto.subtle.digest("SHA-256", Buffer.from(preimage, "hex"));
  return Buffer.from(hash).toString("hex");
}

// Asks twice: each time the client has to pay, to be served, and to get the receipt of its payment.
async function row(client, folder, ask) {
  const before = paid.length;
  let served = 0;
  let reason = "";
  try {
    for (let n = 0; n < 2; n += 1) {
      const answer = await ask();
      assert.equal(answer.status, 200, await answer.clone().text());
      assert.equal(typeof (await answer.clone().json()).joke, "string");
      const receipt = Receipt.fromResponse(answer);
      assert.equal(receipt.method, "lightning");
      assert.equal(receipt.reference, await hashOf(paid.at(-1)));
      served += 1;
    }
  } catch (error) {
    reason = `; failed: ${error}`.replaceAll("\n", " ");
  }
  const result = `paid ${paid.length - before}, served ${served}${reason}`;
  console.log(JSON.stringify({ client, version: version(folder), rail: "Payment", result }));
}

// It reads the first of several challenges alone, and does not say itself what it wants.
const wallet = { payInvoice: async ({ invoice }) => ({ preimage: await pay(invoice) }) };
const headers = { "accept-payment": "lightning/charge" };
await row(
  "npm @getalby/lightning-tools, fetchWithMpp",
  "../node_modules/@getalby/lightning-tools",
  () => fetchWithMpp(joke, { headers: { ...headers } }, { wallet }),
);

// The package brings the protocol, and leaves methods that it does not know to its user.
const charge = Method.from({
  name: "lightning",
  intent: "charge",
  schema: {
    credential: { payload: z.object({ preimage: z.string() }) },
    request: z.object({
      amount: z.string(),
      currency: z.literal("sat"),
      methodDetails: z.object({ invoice: z.string(), network: z.string(), paymentHash: z.string() }),
    }),
  },
});
const mppx = Mppx.create({
  polyfill: false,
  methods: [
    Method.toClient(charge, {
      async createCredential({ challenge }) {
        const preimage = await pay(challenge.request.methodDetails.invoice);
        return Credential.serialize({ challenge, payload: { preimage } });
      },
    }),
  ],
});
await row("npm mppx, charge", "node_modules/mppx", () => mppx.fetch(joke));
