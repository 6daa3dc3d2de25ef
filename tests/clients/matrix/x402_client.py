"""The published Python client of x402 pays for jokes on a chain of the test's own, and says so: one
line of JSON."""

import asyncio
import base64
import json
import os
from importlib.metadata import version

from eth_account import Account
from x402 import x402Client
from x402.http.clients.httpx import x402HttpxClient
from x402.mechanisms.evm.exact.register import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner

JOKE = os.environ["TOLLWAY_GATEWAY_URL"] + "/api/joke"


async def main() -> None:
    client = x402Client()
    signer = EthAccountSigner(Account.from_key(os.environ["TOLLWAY_BUYER"]))
    register_exact_evm_client(client, signer)
    paid, served, reason = 0, 0, ""
    try:
        async with x402HttpxClient(client) as http:
            for _ in range(2):
                answer = await http.get(JOKE)
                if answer.status_code != 200:
                    raise AssertionError(f"answered {answer.status_code}: {answer.text}")
                receipt = json.loads(base64.b64decode(answer.headers["payment-response"]))
                paid += receipt["success"]
                served += "joke" in answer.json()
    except Exception as error:
        reason = f"; failed: {type(error).__name__}: {error}".replace("\n", " ")
    print(json.dumps({
        "client": "PyPI x402", "version": version("x402"), "rail": "x402 v2",
        "result": f"paid {paid}, served {served}{reason}",
    }))


asyncio.run(main())
