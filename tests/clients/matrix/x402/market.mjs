// A chain of its own with a token that knows EIP-3009, and a facilitator before it: the published
// one of @x402/evm. Says in one line of JSON where it is, and ends with its standard input.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import {
  createWalletClient, encodeAbiParameters, http as rpc, keccak256, pad, publicActions, toHex,
} from "viem";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

const require = createRequire(import.meta.url);
const solc = require("solc");
// Where clients know the chain's token to be.
const TOKEN = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";
const FUNDS = 1_000_000n;

const source = readFileSync(new URL("token.sol", import.meta.url), "utf8");
const compiled = JSON.parse(solc.compile(JSON.stringify({
  language: "Solidity",
  sources: { "token.sol": { content: source } },
  settings: {
    evmVersion: "paris",
    optimizer: { enabled: true },
    outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } },
  },
})));
const { abi, evm } = compiled.contracts["token.sol"].TestDollar;

const program = require.resolve("@foundry-rs/anvil-linux-amd64/bin/anvil");
const anvil = spawn(program, ["--port", "0", "--chain-id", String(baseSepolia.id)], {
  stdio: ["ignore", "pipe", "inherit"],
});
process.stdin.on("end", () => { anvil.kill(); process.exit(0); }).resume();
const chain = await new Promise((resolve, reject) => {
  let said = "";
  anvil.on("exit", (code) => reject(new Error(`the chain ended: ${code}`)));
  anvil.stdout.on("data", (part) => {
    said += part;
    const at = /Listening on ([0-9.:]+)/.exec(said);
    if (at) resolve(`http://${at[1]}`);
  });
});

const signer = createWalletClient({
  account: privateKeyToAccount(generatePrivateKey()), chain: baseSepolia, transport: rpc(chain),
}).extend(publicActions);
const buyer = generatePrivateKey();
const slot = keccak256(encodeAbiParameters(
  [{ type: "address" }, { type: "uint256" }], [privateKeyToAccount(buyer).address, 0n],
));
const call = (method, ...params) => signer.request({ method, params });
await call("anvil_setCode", TOKEN, `0x${evm.deployedBytecode.object}`);
await call("anvil_setStorageAt", TOKEN, slot, pad(toHex(FUNDS)));
await call("anvil_setBalance", signer.account.address, toHex(10n ** 18n));
const seller = privateKeyToAccount(generatePrivateKey()).address;
const balance = (address) =>
  signer.readContract({ address: TOKEN, abi, functionName: "balanceOf", args: [address] });

const facilitator = new x402Facilitator();
registerExactEvmScheme(facilitator, {
  signer: toFacilitatorEvmSigner({
    address: signer.account.address,
    readContract: (args) => signer.readContract(args),
    verifyTypedData: (args) => signer.verifyTypedData(args),
    writeContract: (args) => signer.writeContract(args),
    sendTransaction: (args) => signer.sendTransaction(args),
    waitForTransactionReceipt: (args) => signer.waitForTransactionReceipt(args),
    getCode: (args) => signer.getCode(args),
  }),
  networks: `eip155:${baseSepolia.id}`,
});

const server = http.createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const answer = async () => {
    if (request.url === "/balance") return { seller: String(await balance(seller)) };
    const { paymentPayload, paymentRequirements } = JSON.parse(body);
    return request.url === "/verify"
      ? facilitator.verify(paymentPayload, paymentRequirements)
      : facilitator.settle(paymentPayload, paymentRequirements);
  };
  try {
    const said = JSON.stringify(await answer());
    response.writeHead(200, { "content-type": "application/json" }).end(said);
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
server.listen(0, "127.0.0.1", () => {
  const url = `http://127.0.0.1:${server.address().port}`;
  console.log(JSON.stringify({ url, chain, buyer, seller, token: TOKEN }));
});
