// The published JavaScript client of x402 pays for jokes on a chain of the test's own, and says so:
// one line of JSON for each version of the protocol.
import { readFileSync } from "node:fs";
import { x402Client } from "@x402/core/client";
import { registerExactEvmScheme } from "@x402/evm/exact/client";
import { decodePaymentResponseHeader, wrapFetchWithPayment } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const joke = `${process.env.TOLLWAY_GATEWAY_URL}/api/joke`;
const file = new URL("node_modules/@x402/fetch/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(file, "utf8"));

// A client of the first version reads the body alone.
async function bodyAlone(...args) {
  const answer = await fetch(...args);
  const headers = new Headers(answer.headers);
  headers.delete("payment-required");
  return new Response(answer.body, { status: answer.status, headers });
}

for (const [form, fetcher] of [["v2", fetch], ["v1", bodyAlone]]) {
  const signer = privateKeyToAccount(process.env.TOLLWAY_BUYER);
  const paying = wrapFetchWithPayment(fetcher, registerExactEvmScheme(new x402Client(), { signer }));
  let [paid, served, reason] = [0, 0, ""];
  try {
    for (let n = 0; n < 2; n += 1) {
      const answer = await paying(joke);
      const text = await answer.text();
      if (answer.status !== 200) throw new Error(`answered ${answer.status}: ${text}`);
      const receipt =
        answer.headers.get("payment-response") ?? answer.headers.get("x-payment-response");
      paid += Number(decodePaymentResponseHeader(receipt).success);
      served += Number(typeof JSON.parse(text).joke === "string");
    }
  } catch (error) {
    reason = `; failed: ${error}`.replaceAll("\n", " ");
  }
  console.log(JSON.stringify({
    client: "npm @x402/fetch", version, rail: `x402 ${form}`,
    result: `paid ${paid}, served ${served}${reason}`,
  }));
}
