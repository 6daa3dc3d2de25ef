// A real Nostr relay and a real wallet service (NIP-47) in one process. Its invoices come from a
// stand-in for Core Lightning, as those of a wallet come from its node; or it is a wallet of a real
// LNbits, which pays.
//
//   node service.mjs <port> cln <clnrest url> <rune> <wallet secret> <client pubkey> <nip04|nip44>
//   node service.mjs <port> lnbits <url> <admin key> <wallet secret> <client pubkey> <nip04|nip44>
//
// It prints "ready" when the wallet listens on the relay.

import { createRequire } from "node:module";
import { WebSocketServer, WebSocket } from "ws";
import { NWCWalletService, NWCWalletServiceKeyPair } from "@getalby/sdk/nwc";
import { finalizeEvent } from "nostr-tools/pure";

const require = createRequire(import.meta.url);
const { NostrRelay } = require("@nostr-relay/core");
const { EventRepositorySqlite } = require("@nostr-relay/event-repository-sqlite");
const { Validator } = require("@nostr-relay/validator");

globalThis.WebSocket = WebSocket;
const [port, kind, url, credential, walletSecret, clientPubkey, encryption] = process.argv.slice(2);

const repository = new EventRepositorySqlite(":memory:");
await repository.init();
const relay = new NostrRelay(repository);
const validator = new Validator();
const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port) });
server.on("connection", (socket) => {
  relay.handleConnection(socket);
  socket.on("message", async (data) => {
    try {
      await relay.handleMessage(socket, await validator.validateIncomingMessage(data));
    } catch (error) {
      socket.send(JSON.stringify(["NOTICE", String(error)]));
    }
  });
  socket.on("close", () => relay.handleDisconnect(socket));
});
await new Promise((resolve) => server.on("listening", resolve));

const call = async (method, body) => {
  const reply = await fetch(`${url}/v1/${method}`, {
    method: "POST",
    headers: { rune: credential, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
};
const lnbits = async (method, path, body) => {
  const headers = { "x-api-key": credential, "content-type": "application/json" };
  const reply = await fetch(`${url}/api/v1/${path}`, { method, headers, body: JSON.stringify(body) });
  return { ok: reply.ok, status: reply.status, ...(await reply.json()) };
};
const refused = (code) => ({ result: undefined, error: { code, message: code } });

// As wallets do, it says nothing of what it does not know.
const transaction = (invoice) => ({
  type: "incoming",
  state: invoice.status === "paid" ? "settled" : invoice.status === "expired" ? "expired" : "pending",
  invoice: invoice.bolt11,
  description: invoice.description,
  payment_hash: invoice.payment_hash,
  amount: invoice.amount_received_msat ?? invoice.amount_msat,
  fees_paid: 0,
  created_at: invoice.expires_at - 600,
  expires_at: invoice.expires_at,
  settled_at: invoice.paid_at,
  metadata: JSON.parse(invoice.label),
});

const wallet = new NWCWalletService({ relayUrls: [`ws://127.0.0.1:${port}`] });
const keys = new NWCWalletServiceKeyPair(walletSecret, clientPubkey);
const seller = {
  async makeInvoice({ amount, description, expiry, metadata }) {
    const label = JSON.stringify(metadata ?? {});
    const made = await call("invoice", { amount_msat: amount, description, expiry, label });
    const { invoices } = await call("listinvoices", { payment_hash: made.payment_hash });
    return { result: transaction(invoices[0]), error: undefined };
  },
  async lookupInvoice({ payment_hash }) {
    const { invoices } = await call("listinvoices", { payment_hash });
    if (invoices.length === 0) return refused("NOT_FOUND");
    return { result: transaction(invoices[0]), error: undefined };
  },
};
// What this wallet sent; LNbits shows what it received under the same hash.
const sent = async (payment_hash) => {
  const found = await lnbits("GET", `payments/${payment_hash}`);
  return found.details?.amount < 0 ? found : undefined;
};
const payer = {
  async payInvoice({ invoice }) {
    const paid = await lnbits("POST", "payments", { out: true, bolt11: invoice });
    if (!paid.ok) {
      return refused(/insufficient/i.test(paid.detail) ? "INSUFFICIENT_BALANCE" : "PAYMENT_FAILED");
    }
    const { preimage, details } = await sent(paid.payment_hash);
    return { result: { preimage, fees_paid: Math.abs(details.fee) }, error: undefined };
  },
  async lookupInvoice({ payment_hash }) {
    const found = await sent(payment_hash);
    if (!found) return refused("NOT_FOUND");
    const { details, paid, status, preimage } = found;
    const now = Math.floor(Date.now() / 1000);
    return {
      result: {
        type: "outgoing",
        state: paid ? "settled" : status === "failed" ? "failed" : "pending",
        invoice: details.bolt11,
        preimage: paid ? preimage : undefined,
        payment_hash,
        amount: -details.amount,
        fees_paid: Math.abs(details.fee),
        created_at: now,
        settled_at: paid ? now : undefined,
      },
      error: undefined,
    };
  },
  async getBalance() {
    const { balance } = await lnbits("GET", "wallet");
    return { result: { balance }, error: undefined };
  },
};
const methods = {
  cln: ["make_invoice", "lookup_invoice"],
  lnbits: ["pay_invoice", "lookup_invoice", "get_balance"],
}[kind];
const notifications = kind === "cln" ? ["payment_received"] : [];
if (encryption === "nip44") {
  await wallet.publishWalletServiceInfoEvent(walletSecret, methods, notifications);
} else {
  // An older wallet does not say what it can decrypt.
  const info = { kind: 13194, created_at: Math.floor(Date.now() / 1000), tags: [], content: methods.join(" ") };
  await relay.handleEvent(finalizeEvent(info, Buffer.from(walletSecret, "hex")));
}
await wallet.subscribe(keys, kind === "cln" ? seller : payer);
console.log("ready");

// It says what it received, in the encryption that the connection uses.
for (let lastpay_index = 0; kind === "cln"; ) {
  let paid;
  try {
    paid = await call("waitanyinvoice", { lastpay_index, timeout: 60 });
  } catch {
    // Nothing was paid for a while, or the test is over.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    continue;
  }
  lastpay_index = paid.pay_index;
  const { invoices } = await call("listinvoices", { payment_hash: paid.payment_hash });
  const notification = { ...transaction(invoices[0]), preimage: paid.payment_preimage };
  const content = JSON.stringify({ notification_type: "payment_received", notification });
  const cipher = encryption === "nip44" ? "nip44_v2" : "nip04";
  const event = {
    kind: encryption === "nip44" ? 23197 : 23196,
    created_at: Math.floor(Date.now() / 1000),
    tags: [["p", clientPubkey]],
    content: await wallet.encrypt(keys, content, cipher),
  };
  await Promise.any(wallet.pool.publish(wallet.relayUrls, await wallet.signEvent(event, walletSecret)));
}
