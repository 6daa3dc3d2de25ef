// npm @getalby/lightning-tools pays twice: once by guessing the scheme, once as L402; and spends
// a credential again without paying.
import assert from "node:assert/strict";
import { fetch402 } from "@getalby/lightning-tools/402";
import { fetchWithL402 } from "@getalby/lightning-tools/402/l402";

const gateway = process.env.TOLLWAY_GATEWAY_URL;
const paid = [];
const wallet = {
  async payInvoice({ invoice }) {
    const answer = await fetch(`${process.env.TOLLWAY_WALLET_URL}/sim/v1/pay`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ invoice }),
    });
    assert.equal(answer.status, 200, await answer.clone().text());
    paid.push(invoice);
    return answer.json();
  },
};

for (const [name, fetcher] of Object.entries({ fetch402, fetchWithL402 })) {
  const answer = await fetcher(`${gateway}/api/joke`, {}, { wallet });
  const body = await answer.json();
  assert.equal(answer.status, 200, `${name}: ${JSON.stringify(body)}`);
  assert.equal(typeof body.joke, "string");
  assert.equal(answer.payment.amountSat, 20);
  assert.equal(answer.headers.get("x-toll-balance-msat"), "15000");

  const before = paid.length;
  const { credentials } = answer.payment;
  const again = await fetcher(`${gateway}/api/joke`, {}, { wallet, credentials });
  assert.equal(again.status, 200);
  assert.equal(again.headers.get("x-toll-balance-msat"), "10000");
  assert.equal(paid.length, before, `${name} paid for what was prepaid`);
  console.log(`@getalby/lightning-tools ${name}: paid once, served twice`);
}
