// A real Nostr relay and a real wallet service (NIP-47) in one process. Its invoices come from a
// stand-in for Core Lightning, as those of a wallet come from its node.
//
//   node service.mjs <port> <clnrest url> <rune> <wallet secret> <client pubkey> <nip04|nip44>
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
const [port, url, rune, walletSecret, clientPubkey, encryption] = process.argv.slice(2);

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
    headers: { rune, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!reply.ok) throw new Error(await reply.text());
  return reply.json();
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
const methods = ["make_invoice", "lookup_invoice"];
if (encryption === "nip44") {
  await wallet.publishWalletServiceInfoEvent(walletSecret, methods, []);
} else {
  // An older wallet does not say what it can decrypt.
  const info = { kind: 13194, created_at: Math.floor(Date.now() / 1000), tags: [], content: methods.join(" ") };
  await relay.handleEvent(finalizeEvent(info, Buffer.from(walletSecret, "hex")));
}
await wallet.subscribe(keys, {
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
});
console.log("ready");
